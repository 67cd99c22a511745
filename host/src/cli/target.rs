//! Which gateway a command speaks to, and what it presents there (spec 05 §6.2 [D-30], §15.1).
//!
//! Without `--url` it is the gateway of the state directory, and the secret is found exactly as that gateway
//! finds it. With `--url` only what stands on the command line is sent: a local secret must not travel.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use telson_core::auth::Secret;
use telson_core::config::{Access, Failure, Flags};
use url::{Host, Url};

use crate::config::Places;
use crate::state::{Lock, stored_token};
use crate::tls::Trust;

use super::args::Client as ClientArgs;
use super::error::CliError;

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

/// A gateway to speak to.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) url: String,
    /// How the URL was found, in the words of the reference.
    pub(crate) source: &'static str,
    pub(crate) credential: Credential,
    /// Which certificate to believe.
    pub(crate) trust: Trust,
    /// What the configuration warns of.
    pub(crate) warnings: Vec<String>,
}

impl Target {
    /// The gateway that the options name, else the local one.
    pub(crate) fn resolve(places: &Places, args: &ClientArgs) -> Result<Self, CliError> {
        match &args.url {
            Some(url) => Self::named(url, args),
            None => Self::local(places, args),
        }
    }

    fn named(url: &str, args: &ClientArgs) -> Result<Self, CliError> {
        let refuse = |message: String| CliError::new(Failure::ArgInvalid, message);
        let parsed = Url::parse(url).map_err(|error| refuse(format!("--url: {error}")))?;
        let credential = match (&args.token, &args.password) {
            (Some(token), _) => Credential::Token(token.clone()),
            (None, Some(password)) => Credential::Password(password.clone()),
            (None, None) => {
                let refusal = refuse("--url needs --token or --password".to_owned());
                return Err(refusal
                    .hint("configured secrets are for this machine's gateway and are not sent elsewhere"));
            }
        };
        if !parsed.username().is_empty() || parsed.password().is_some() {
            return Err(refuse(
                "--url contains a user name or password; use --token or --password".to_owned(),
            ));
        }
        match parsed.scheme() {
            "wss" => {}
            "ws" if parsed.host().is_some_and(|host| is_near(&host)) => {}
            "ws" => {
                let refusal = refuse(
                    "--url: plain ws:// to a public address would send the secret in the clear".to_owned(),
                );
                return Err(refusal.hint("use wss://, or an SSH tunnel to a local port"));
            }
            other => return Err(refuse(format!("--url: the scheme is {other}; expected ws or wss"))),
        }
        Ok(Self {
            url: url.to_owned(),
            source: NAMED,
            credential,
            trust: Trust::Public,
            warnings: Vec::new(),
        })
    }

    fn local(places: &Places, args: &ClientArgs) -> Result<Self, CliError> {
        let flags = Flags { token: args.token.clone(), password: args.password.clone(), ..Flags::default() };
        let loaded = places.load(&flags)?;
        if loaded.remote {
            let error = CliError::new(
                Failure::ModeRemote,
                "gateway.mode is remote, and no --url says where the gateway is",
            );
            return Err(error.hint("pass --url with --token or --password, or set gateway.mode to local"));
        }
        // A running gateway may have been started with another port than the one that is configured.
        let running = Lock::holder(&places.state).map(|holder| holder.port).filter(|port| *port != 0);
        let port = running.unwrap_or(loaded.port);
        let credential = match loaded.access {
            Access::Open | Access::TrustedProxy(None) => Credential::Nothing,
            Access::Token(token) => Credential::Token(token),
            Access::Password(password) | Access::TrustedProxy(Some(password)) => {
                Credential::Password(password)
            }
            Access::MadeToken => stored_token(&places.state)?.map_or(Credential::Nothing, Credential::Token),
        };
        Ok(Self {
            url: format!("ws://{}:{port}", Ipv4Addr::LOCALHOST),
            source: "local loopback",
            credential,
            trust: Trust::Public,
            warnings: loaded.warnings.iter().map(ToString::to_string).collect(),
        })
    }
}

/// Whether plain text to a host stays on this machine, in its networks or in its tailnet.
pub(super) fn is_near(host: &Host<&str>) -> bool {
    match host {
        Host::Ipv4(ip) => is_private(*ip),
        Host::Ipv6(ip) => ip
            .to_ipv4_mapped()
            .map_or_else(|| is_private6(*ip), |ip| IpAddr::from(ip).is_loopback() || is_private(ip)),
        Host::Domain(name) => {
            let name = name.trim_end_matches('.').to_ascii_lowercase();
            let private = [".localhost", ".local", ".lan", ".internal", ".home.arpa", ".ts.net"];
            !name.contains('.') || private.iter().any(|ending| name.ends_with(ending))
        }
    }
}

fn is_private(ip: Ipv4Addr) -> bool {
    let [first, second, ..] = ip.octets();
    let shared = first == 100 && (64..128).contains(&second);
    ip.is_loopback() || ip.is_private() || ip.is_link_local() || shared
}

fn is_private6(ip: Ipv6Addr) -> bool {
    ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local()
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
            password: None,
            timeout: Some(1_000),
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
    fn plain_text_does_not_leave_the_private_networks() {
        let temp = tempfile::tempdir().unwrap();
        let places = places(temp.path(), &[]);
        let allowed = |url: &str| Target::resolve(&places, &args(Some(url), Some("t"))).is_ok();
        for url in [
            "ws://127.0.0.1:1",
            "ws://192.168.1.2",
            "ws://[::1]:7",
            "ws://box:1",
            "ws://pi.local",
            "ws://100.64.0.9",
        ] {
            assert!(allowed(url), "{url}");
        }
        for url in [
            "ws://8.8.8.8",
            "ws://example.org",
            "ws://[2001:db8::1]",
            "http://127.0.0.1",
            "ws://u:p@127.0.0.1",
            "x",
        ] {
            assert!(!allowed(url), "{url}");
        }
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
