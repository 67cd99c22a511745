//! Which gateway a node belongs to, and what it shows there (spec 08 S-21, S-30).
//!
//! Without `--url` it is the gateway of the state directory, as every other command finds it. With `--url` or a setup
//! code only what the command line says is shown there, and what that very origin gave to this node before.

use std::time::SystemTime;

use telson_core::auth::Secret;
use telson_core::config::Failure;
use telson_core::nodehost::{Address, Credential};
use url::Url;

use crate::cli::args::Client as ClientArgs;
use crate::cli::error::CliError;
use crate::cli::target::{self, Target};
use crate::cli::trust::{self, Asked};
use crate::config::Places;
use crate::tls::Trust;

use super::NodeRun;
use super::setup::SetupCode;

/// A gateway to belong to.
#[derive(Debug)]
pub(super) struct NodeTarget {
    /// Where it may be found. Not empty.
    pub(super) gateways: Vec<Address>,
    /// Its shared secret.
    pub(super) credential: Credential,
    /// The token of a setup code.
    pub(super) setup: Option<Secret>,
    /// Which certificate is believed.
    pub(super) trust: Trust,
    /// What the configuration warns of.
    pub(super) warnings: Vec<String>,
}

fn refuse(message: String) -> CliError {
    CliError::new(Failure::ArgInvalid, message)
}

impl NodeTarget {
    /// The gateway that the options name, else the local one.
    pub(super) fn resolve(places: &Places, args: &NodeRun) -> Result<Self, CliError> {
        if let Some(code) = &args.setup_code {
            return Self::of_code(places, args, code);
        }
        match &args.url {
            Some(url) => {
                let credential = match (&args.token, &args.password) {
                    (Some(token), _) => Credential::Token(token.clone()),
                    (None, Some(password)) => Credential::Password(password.clone()),
                    (None, None) => Credential::Nothing,
                };
                let gateways = vec![address(places, "--url", url)?];
                let trust = trust(places, &gateways, args.tls_fingerprint.as_deref())?;
                Ok(Self { gateways, credential, setup: None, trust, warnings: Vec::new() })
            }
            None => Self::local(places, args),
        }
    }

    fn of_code(places: &Places, args: &NodeRun, code: &Secret) -> Result<Self, CliError> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let now = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        let code = SetupCode::read(code.expose(), now)
            .map_err(|problem| refuse(format!("--setup-code: the code cannot be used: {problem}")))?;
        // One address that is unusable from here does not spoil the others.
        let (good, bad): (Vec<_>, Vec<_>) =
            code.urls.iter().map(|url| address(places, "--setup-code", url)).partition(Result::is_ok);
        let gateways: Vec<Address> = good.into_iter().flatten().collect();
        if let (true, Some(Err(problem))) = (gateways.is_empty(), bad.into_iter().next()) {
            return Err(problem);
        }
        let fingerprint = args.tls_fingerprint.as_deref().or(code.fingerprint.as_deref());
        // A pin is for TLS: where there is one, an address without it is left out.
        let gateways: Vec<Address> = if fingerprint.is_some() && gateways.iter().any(is_secure) {
            gateways.into_iter().filter(is_secure).collect()
        } else {
            gateways
        };
        let fingerprint =
            fingerprint.filter(|_| args.tls_fingerprint.is_some() || gateways.iter().any(is_secure));
        let trust = trust(places, &gateways, fingerprint)?;
        Ok(Self {
            gateways,
            credential: Credential::Nothing,
            setup: Some(code.token),
            trust,
            warnings: Vec::new(),
        })
    }

    fn local(places: &Places, args: &NodeRun) -> Result<Self, CliError> {
        let client = ClientArgs {
            token: args.token.clone(),
            password: args.password.clone(),
            tls_fingerprint: args.tls_fingerprint.clone(),
            ..ClientArgs::default()
        };
        let Target { url, credential, trust, warnings, .. } = Target::resolve(places, &client)?;
        let credential = match credential {
            target::Credential::Nothing => Credential::Nothing,
            target::Credential::Token(token) => Credential::Token(token),
            target::Credential::Password(password) => Credential::Password(password),
        };
        let gateways = vec![Address { origin: trust::origin(&url)?, url, token: None }];
        Ok(Self { gateways, credential, setup: None, trust, warnings })
    }
}

/// A URL, if a secret may go there.
fn address(places: &Places, flag: &str, url: &str) -> Result<Address, CliError> {
    let parsed = Url::parse(url).map_err(|error| refuse(format!("{flag}: {error}")))?;
    if !parsed.username().is_empty() || parsed.password().is_some() {
        return Err(refuse(format!(
            "{flag}: the URL contains a user name or password; use --token or --password"
        )));
    }
    trust::clear_text(&parsed, flag, &places.env)?;
    Ok(Address { url: url.to_owned(), origin: trust::origin(url)?, token: None })
}

fn is_secure(address: &Address) -> bool {
    address.origin.starts_with("wss://")
}

/// Which certificate is believed: the one that is named, or those that were agreed to for these origins.
fn trust(places: &Places, gateways: &[Address], fingerprint: Option<&str>) -> Result<Trust, CliError> {
    let mut pins = Vec::new();
    for gateway in gateways {
        let asked = Asked { fingerprint, ..Asked::default() };
        if let (Trust::Pinned(pinned), _) = trust::resolve(&places.state, &gateway.url, asked)? {
            pins.extend(pinned);
        }
    }
    pins.sort_unstable();
    pins.dedup();
    Ok(if pins.is_empty() { Trust::Public } else { Trust::Pinned(pins) })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use clap::Parser as _;
    use serde_json::json;
    use telson_core::config::Environment;

    use super::*;
    use crate::cli::args::{Cli, Command};
    use crate::cli::node::Node;
    use crate::tls::Pin;

    fn resolve(dir: &std::path::Path, args: &[&str]) -> Result<NodeTarget, CliError> {
        let env: Environment = [("OPENCLAW_GATEWAY_TOKEN".to_owned(), "the-token-of-this-host".to_owned())]
            .into_iter()
            .collect();
        let places = Places::resolve(Some(dir), None, env).unwrap();
        let line = ["telson", "node", "run"].iter().chain(args);
        let Command::Node { command: Node::Run(run) } = Cli::try_parse_from(line).unwrap().command else {
            panic!("node run")
        };
        NodeTarget::resolve(&places, &run)
    }

    fn shown(target: &NodeTarget) -> Option<&str> {
        match &target.credential {
            Credential::Token(secret) | Credential::Password(secret) => Some(secret.expose()),
            Credential::Nothing => None,
        }
    }

    #[test]
    fn a_secret_of_this_machine_goes_to_its_own_gateway_only() {
        let temp = tempfile::tempdir().unwrap();
        let local = resolve(temp.path(), &[]).unwrap();
        assert_eq!(
            (local.gateways[0].origin.as_str(), shown(&local)),
            ("ws://127.0.0.1:18789", Some("the-token-of-this-host"))
        );
        let elsewhere = resolve(temp.path(), &["--url", "wss://elsewhere.example"]).unwrap();
        assert_eq!(
            (elsewhere.gateways[0].origin.as_str(), shown(&elsewhere)),
            ("wss://elsewhere.example:443", None)
        );
    }

    #[test]
    fn secrets_do_not_go_over_plain_text_to_public_hosts() {
        let temp = tempfile::tempdir().unwrap();
        for url in [
            "ws://8.8.8.8",
            "ws://192.168.1.2",
            "ws://127.evil.com",
            "ws://example.org.",
            "ws://127.0.0.1.nip.io:1",
            "http://127.0.0.1",
            "ws://u:p@127.0.0.1",
            "x",
        ] {
            assert_eq!(
                resolve(temp.path(), &["--url", url]).unwrap_err().failure,
                Failure::ArgInvalid,
                "{url}"
            );
        }
        assert!(resolve(temp.path(), &["--url", "ws://127.0.0.1:18789"]).is_ok());
    }

    #[test]
    fn a_pin_is_for_tls() {
        let temp = tempfile::tempdir().unwrap();
        let pin = "ab".repeat(32);
        let pinned = resolve(temp.path(), &["--url", "wss://10.0.0.1", "--tls-fingerprint", &pin]).unwrap();
        assert_eq!(pinned.trust, Trust::Pinned(vec![Pin::parse(&pin).unwrap()]));
        assert!(resolve(temp.path(), &["--url", "ws://10.0.0.1", "--tls-fingerprint", &pin]).is_err());
        assert!(resolve(temp.path(), &["--url", "wss://10.0.0.1", "--tls-fingerprint", "abc"]).is_err());
    }

    #[test]
    fn a_setup_code_names_the_gateway_and_its_certificate() {
        let temp = tempfile::tempdir().unwrap();
        let code = |content: serde_json::Value| URL_SAFE_NO_PAD.encode(content.to_string());
        let pin = "cd".repeat(32);
        let full = code(json!({"url": "ws://127.0.0.1:7", "urls": ["wss://box.local:7", "ws://8.8.8.8"],
            "bootstrapToken": "once", "tlsFingerprint": pin}));
        let target = resolve(temp.path(), &["--setup-code", &full]).unwrap();
        let origins: Vec<&str> = target.gateways.iter().map(|gateway| gateway.origin.as_str()).collect();
        assert_eq!(origins, ["wss://box.local:7"], "the pinned certificate is asked for");
        assert_eq!(target.setup.unwrap().expose(), "once");
        assert_eq!(target.trust, Trust::Pinned(vec![Pin::parse(&pin).unwrap()]));
        let public = code(json!({"url": "ws://8.8.8.8", "bootstrapToken": "once"}));
        assert!(resolve(temp.path(), &["--setup-code", &public]).is_err());
    }
}
