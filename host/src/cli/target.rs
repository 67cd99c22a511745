//! Which gateway a command speaks to, and what it presents there (spec 05 §6.2 [D-30], §15.1).
//!
//! Without `--url` it is the gateway of the state directory, and the secret is found exactly as that gateway
//! finds it. With `--url` only what stands on the command line is sent: a local secret must not travel.

use std::net::Ipv4Addr;

use telson_core::auth::Secret;
use telson_core::config::{Access, Failure, Flags, Loaded};
use url::Url;

use crate::config::Places;
use crate::state::{Lock, StateDir, stored_token};
use crate::tls::{Leaf, Trust, read_leaf};

use super::args::Client as ClientArgs;
use super::error::CliError;
use super::tls;
use super::trust::{self, Asked, PinSource};

/// What to present.
#[derive(Clone, Debug)]
pub(crate) enum Credential {
    /// Nothing.
    Nothing,
    /// The shared token.
    Token(Secret),
    /// The shared password.
    Password(Secret),
}

impl Credential {
    /// The word for it.
    pub(crate) const fn as_str(&self) -> &'static str {
        match self {
            Self::Nothing => "none",
            Self::Token(_) => "token",
            Self::Password(_) => "password",
        }
    }
}

/// How the URL was found when the options name it.
pub(crate) const NAMED: &str = "cli --url";

/// How it was found when the configuration says that the gateway is elsewhere.
pub(crate) const REMOTE: &str = "config gateway.remote.url";

/// A gateway to speak to.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) url: String,
    /// How the URL was found, in the words of the reference.
    pub(crate) source: &'static str,
    pub(crate) credential: Credential,
    /// Which certificate to believe.
    pub(crate) trust: Trust,
    /// Why.
    pub(crate) pin_source: PinSource,
    /// Where pins are kept.
    state: StateDir,
    /// What the configuration warns of.
    pub(crate) warnings: Vec<String>,
}

impl Target {
    /// The gateway that the options name, else the one of the configuration, else the local one.
    pub(crate) fn resolve(places: &Places, args: &ClientArgs) -> Result<Self, CliError> {
        if let Some(url) = &args.url {
            return Self::named(places, url, args);
        }
        let flags = Flags { token: args.token.clone(), password: args.password.clone(), ..Flags::default() };
        let loaded = places.load(&flags)?;
        if loaded.remote { Self::remote(places, args, &loaded) } else { Self::local(places, args, loaded) }
    }

    /// Whether it is the gateway of this state directory.
    pub(crate) fn is_local(&self) -> bool {
        self.source == LOCAL
    }

    /// Keeps the certificate that the gateway showed, when the user wanted to believe it at first use. To be called
    /// before anything is sent.
    pub(crate) fn agree(&self, leaf: Option<Leaf>) -> Result<(), CliError> {
        match (&self.trust, leaf) {
            (Trust::FirstUse, Some(leaf)) => trust::remember(&self.state, &self.url, leaf),
            (Trust::FirstUse, None) => {
                Err(CliError::new(Failure::TlsFailed, format!("{} showed no certificate", self.url)))
            }
            (Trust::Public | Trust::Pinned(_), _) => Ok(()),
        }
    }

    fn named(places: &Places, url: &str, args: &ClientArgs) -> Result<Self, CliError> {
        let refuse = |message: String| CliError::new(Failure::ArgInvalid, message);
        let parsed = Url::parse(url).map_err(|error| refuse(format!("--url: {error}")))?;
        let credential = flag_credential(args).ok_or_else(|| {
            refuse("--url needs --token or --password".to_owned())
                .hint("configured secrets are for this machine's gateway and are not sent elsewhere")
        })?;
        if !parsed.username().is_empty() || parsed.password().is_some() {
            return Err(refuse(
                "--url contains a user name or password; use --token or --password".to_owned(),
            ));
        }
        trust::clear_text(&parsed, "--url", &places.env)?;
        let (trust, pin_source) = trust::resolve(&places.state, url, asked(args))?;
        let (state, url) = (places.state.clone(), url.to_owned());
        Ok(Self { url, source: NAMED, credential, trust, pin_source, state, warnings: Vec::new() })
    }

    /// The gateway of `gateway.remote`. What it is sent is what stands beside its URL or on the command line, never
    /// a secret of this machine's own gateway (spec 08 S-21).
    fn remote(places: &Places, args: &ClientArgs, loaded: &Loaded) -> Result<Self, CliError> {
        let remote = &loaded.remote_gateway;
        let Some(url) = remote.url.clone() else {
            let message = "gateway remote mode misconfigured: gateway.remote.url missing";
            let error = CliError::new(Failure::ModeRemote, message);
            return Err(
                error.hint("set it, or pass --url with --token or --password, or set gateway.mode to local")
            );
        };
        let parsed = Url::parse(&url)
            .map_err(|error| CliError::new(Failure::ConfigInvalid, format!("gateway.remote.url: {error}")))?;
        trust::clear_text(&parsed, "gateway.remote.url", &places.env)?;
        let configured = match (&remote.token, &remote.password) {
            (Some(token), _) => Credential::Token(token.clone()),
            (None, Some(password)) => Credential::Password(password.clone()),
            (None, None) => Credential::Nothing,
        };
        let asked = Asked { configured: remote.tls_fingerprint.as_deref(), ..asked(args) };
        let (trust, pin_source) = trust::resolve(&places.state, &url, asked)?;
        Ok(Self {
            url,
            source: REMOTE,
            credential: flag_credential(args).unwrap_or(configured),
            trust,
            pin_source,
            state: places.state.clone(),
            warnings: loaded.warnings.iter().map(ToString::to_string).collect(),
        })
    }

    fn local(places: &Places, args: &ClientArgs, loaded: Loaded) -> Result<Self, CliError> {
        // A running gateway may have been started with another port than the one that is configured.
        let running = Lock::holder(&places.state).filter(|holder| holder.port != 0);
        let port = running.as_ref().map_or(loaded.port, |holder| holder.port);
        let secure = running.as_ref().map_or(loaded.tls.is_some(), |holder| {
            if holder.listen.is_empty() { loaded.tls.is_some() } else { holder.tls }
        });
        let scheme = if secure { "wss" } else { "ws" };
        let url = format!("{scheme}://{}:{port}", Ipv4Addr::LOCALHOST);
        let (trust, pin_source) = if secure && args.tls_fingerprint.is_none() {
            (own_certificate(places, &loaded)?, PinSource::LocalFile)
        } else {
            trust::resolve(&places.state, &url, Asked { first_use: false, ..asked(args) })?
        };
        let credential = match loaded.access {
            Access::Open | Access::TrustedProxy(None) => Credential::Nothing,
            Access::Token(token) => Credential::Token(token),
            Access::Password(password) | Access::TrustedProxy(Some(password)) => {
                Credential::Password(password)
            }
            Access::MadeToken => stored_token(&places.state)?.map_or(Credential::Nothing, Credential::Token),
        };
        Ok(Self {
            url,
            source: LOCAL,
            credential,
            trust,
            pin_source,
            state: places.state.clone(),
            warnings: loaded.warnings.iter().map(ToString::to_string).collect(),
        })
    }
}

/// How it was found when nothing says otherwise.
const LOCAL: &str = "local loopback";

fn asked(args: &ClientArgs) -> Asked<'_> {
    Asked {
        fingerprint: args.tls_fingerprint.as_deref(),
        first_use: args.trust_on_first_use,
        configured: None,
    }
}

fn flag_credential(args: &ClientArgs) -> Option<Credential> {
    match (&args.token, &args.password) {
        (Some(token), _) => Some(Credential::Token(token.clone())),
        (None, Some(password)) => Some(Credential::Password(password.clone())),
        (None, None) => None,
    }
}

/// The certificate of this machine's own gateway, or its key. The file says which; nothing is made.
fn own_certificate(places: &Places, loaded: &Loaded) -> Result<Trust, CliError> {
    let files = tls::files(places, &loaded.tls.clone().unwrap_or_default());
    let leaf = read_leaf(&files.cert)?.ok_or_else(|| {
        let message = format!("there is no certificate: {} does not exist", files.cert.display());
        CliError::new(Failure::TlsFailed, message).hint("it is made at the start of: {program} gateway run")
    })?;
    Ok(Trust::Pinned(vec![leaf.certificate, leaf.key]))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use telson_core::config::Environment;

    use super::*;

    fn args(url: Option<&str>, token: Option<&str>) -> ClientArgs {
        ClientArgs {
            url: url.map(str::to_owned),
            token: token.map(Secret::new),
            timeout: Some(1_000),
            ..ClientArgs::default()
        }
    }

    fn places(dir: &std::path::Path, env: &[(&str, &str)]) -> Places {
        let env: Environment =
            env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Places::resolve(Some(dir), None, env).unwrap()
    }

    fn presented(target: &Target) -> Option<&str> {
        match &target.credential {
            Credential::Token(secret) | Credential::Password(secret) => Some(secret.expose()),
            Credential::Nothing => None,
        }
    }

    #[test]
    fn a_local_secret_never_goes_to_a_named_gateway() {
        let temp = tempfile::tempdir().unwrap();
        let places = places(temp.path(), &[("OPENCLAW_GATEWAY_TOKEN", "the-token-of-this-host")]);
        let error = Target::resolve(&places, &args(Some("wss://elsewhere.example"), None)).unwrap_err();
        assert_eq!(error.failure, Failure::ArgInvalid);
        let target =
            Target::resolve(&places, &args(Some("wss://elsewhere.example"), Some("theirs"))).unwrap();
        assert_eq!(presented(&target), Some("theirs"));
    }

    #[test]
    fn the_other_gateway_gets_its_own_secret_and_no_other() {
        let temp = tempfile::tempdir().unwrap();
        let places = places(temp.path(), &[("OPENCLAW_GATEWAY_TOKEN", "the-token-of-this-host")]);
        let write = |remote: &str| {
            let text = format!(
                "{{gateway: {{mode: 'remote', auth: {{token: 'the-token-of-the-file'}}, remote: {{{remote}}}}}}}"
            );
            std::fs::write(&places.config, text).unwrap();
        };
        write("");
        let error = Target::resolve(&places, &args(None, None)).unwrap_err();
        assert_eq!(error.message, "gateway remote mode misconfigured: gateway.remote.url missing");
        write("url: 'wss://box:7'");
        let target = Target::resolve(&places, &args(None, None)).unwrap();
        assert_eq!((target.url.as_str(), target.source, presented(&target)), ("wss://box:7", REMOTE, None));
        let pin = "0f".repeat(32);
        write(&format!("url: 'wss://box:7', token: 'their-token-1234', tlsFingerprint: '{pin}'"));
        let target = Target::resolve(&places, &args(None, None)).unwrap();
        assert_eq!(presented(&target), Some("their-token-1234"));
        assert_eq!(target.pin_source, PinSource::Configuration);
        let elsewhere = Target::resolve(&places, &args(Some("wss://elsewhere"), Some("given"))).unwrap();
        assert_eq!((presented(&elsewhere), elsewhere.pin_source), (Some("given"), PinSource::Nobody));
        assert!(Target::resolve(&places, &args(Some("wss://elsewhere"), None)).is_err());
        write("url: 'ws://192.168.1.7:7', token: 'their-token-1234'");
        let error = Target::resolve(&places, &args(None, None)).unwrap_err();
        assert!(error.message.contains("in the clear"), "{}", error.message);
    }

    #[test]
    fn the_local_gateway_is_known_by_its_own_file() {
        let temp = tempfile::tempdir().unwrap();
        let here = places(temp.path(), &[]);
        std::fs::write(&here.config, "{gateway: {tls: {enabled: true}}}").unwrap();
        let error = Target::resolve(&here, &args(None, None)).unwrap_err();
        assert_eq!(error.failure, Failure::TlsFailed, "nothing is made by asking");
        let files = tls::files(&here, &telson_core::config::TlsPlan { generate: true, ..Default::default() });
        let live = crate::tls::Live::open(files).unwrap();
        let target = Target::resolve(&here, &args(None, None)).unwrap();
        assert_eq!(target.url, "wss://127.0.0.1:18789");
        assert_eq!(target.trust, Trust::Pinned(vec![live.leaf().certificate, live.leaf().key]));
        here.state.prepare().unwrap();
        let holder = crate::state::Holder::this(&here.state, 4_567, &here.config);
        let clear = holder.listening(&["127.0.0.1:4567".parse().unwrap()], false);
        let _lock = Lock::take(&here.state, &clear, std::time::Duration::ZERO).unwrap();
        let target = Target::resolve(&here, &args(None, None)).unwrap();
        assert_eq!((target.url.as_str(), target.trust), ("ws://127.0.0.1:4567", Trust::Public));
    }

    #[test]
    fn the_local_gateway_is_found_as_it_was_started() {
        let temp = tempfile::tempdir().unwrap();
        let here = places(temp.path(), &[]);
        here.state.prepare().unwrap();
        let target = Target::resolve(&here, &args(None, None)).unwrap();
        assert_eq!((target.url.as_str(), presented(&target)), ("ws://127.0.0.1:18789", None));

        let token = crate::state::made_token(&here.state).unwrap();
        let holder = crate::state::Holder::this(&here.state, 4_567, &here.config);
        let lock = Lock::take(&here.state, &holder, std::time::Duration::ZERO).unwrap();
        let target = Target::resolve(&here, &args(None, None)).unwrap();
        assert_eq!((target.url.as_str(), presented(&target)), ("ws://127.0.0.1:4567", Some(token.expose())));
        drop(lock);

        let env = places(temp.path(), &[("OPENCLAW_GATEWAY_TOKEN", "token-of-the-env-12")]);
        std::fs::write(&env.config, "{gateway: {port: 5, auth: {token: 'token-of-the-file-1'}}}").unwrap();
        let target = Target::resolve(&env, &args(None, None)).unwrap();
        assert_eq!(
            (target.url.as_str(), presented(&target)),
            ("ws://127.0.0.1:5", Some("token-of-the-file-1"))
        );
        assert!(
            target.warnings.iter().any(|warning| warning.contains("OPENCLAW_GATEWAY_TOKEN")),
            "{:?}",
            target.warnings
        );
        let target = Target::resolve(&env, &args(None, Some("token-of-the-flag-1"))).unwrap();
        assert_eq!(presented(&target), Some("token-of-the-flag-1"));
    }
}
