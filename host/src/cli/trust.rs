//! Which certificate a first-party client believes, and why: one answer for every command (spec 05 §7, 08 S-93).
//!
//! A pin on the command line goes before one of the configuration, that before one that the user agreed to
//! earlier; without any, the certificate must be publicly trusted. What the network announces is no source.

use telson_core::config::{Environment, Failure};
use telson_core::peer::is_loopback_name;
use url::{Host, Url};

use crate::state::StateDir;
use crate::tls::{Leaf, Pin, PinBook, Trust};

use super::error::CliError;
use super::term::{Output, Terminal};

/// Where a pin came from, so that a mismatch can name the remedy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PinSource {
    /// There is none.
    Nobody,
    /// `--tls-fingerprint`.
    Flag,
    /// `gateway.remote.tlsFingerprint`.
    Configuration,
    /// `tls pin`, or a first use.
    Book,
    /// The certificate's file on this machine.
    LocalFile,
}

/// What the options say about certificates.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Asked<'a> {
    /// `--tls-fingerprint`.
    pub(crate) fingerprint: Option<&'a str>,
    /// `--trust-on-first-use`.
    pub(crate) first_use: bool,
    /// `gateway.remote.tlsFingerprint`, when the URL is that of the configuration.
    pub(crate) configured: Option<&'a str>,
}

/// Finds out what to believe of the gateway at a URL.
///
/// # Errors
///
/// A fingerprint is none, a pin is asked for where there is no TLS, or the book of pins cannot be read.
pub(crate) fn resolve(state: &StateDir, url: &str, asked: Asked<'_>) -> Result<(Trust, PinSource), CliError> {
    let flag = asked.fingerprint.map(|text| ("--tls-fingerprint", text, PinSource::Flag));
    let configured =
        asked.configured.map(|text| ("gateway.remote.tlsFingerprint", text, PinSource::Configuration));
    let given = flag.or(configured);
    if !url.to_ascii_lowercase().starts_with("wss:") {
        let name = given.map(|(name, ..)| name).or(asked.first_use.then_some("--trust-on-first-use"));
        return match name {
            None => Ok((Trust::Public, PinSource::Nobody)),
            Some(name) => {
                let message = format!("{name}: {url} shows no certificate that could be pinned");
                Err(CliError::new(Failure::ArgInvalid, message).hint("use wss://"))
            }
        };
    }
    if let Some((name, text, source)) = given {
        let pin = Pin::parse(text)
            .map_err(|error| CliError::new(Failure::ArgInvalid, format!("{name}: {error}")))?;
        return Ok((Trust::Pinned(vec![pin]), source));
    }
    let origin = origin(url)?;
    match PinBook::open(state)?.get(&origin)? {
        Some(pin) => Ok((Trust::Pinned(vec![pin]), PinSource::Book)),
        None if asked.first_use => Ok((Trust::FirstUse, PinSource::Book)),
        None => Ok((Trust::Public, PinSource::Nobody)),
    }
}

/// Keeps the key of a certificate that the user wanted to believe at first use. A pin that is there is never
/// replaced by this.
pub(crate) fn remember(state: &StateDir, url: &str, leaf: Leaf) -> Result<(), CliError> {
    let (origin, mut book) = (origin(url)?, PinBook::open(state)?);
    if let Some(pin) = book.get(&origin)? {
        if leaf.is(pin) {
            return Ok(());
        }
        let message = format!("{origin} was pinned to {pin} meanwhile, and shows {}", leaf.key);
        return Err(CliError::new(Failure::TlsPin, message));
    }
    book.put(state, &origin, leaf.key)?;
    let output = Output { json: false, lines: false, terminal: Terminal::default() };
    output.note(&format!("{origin} is pinned from now on: the key of its certificate is {}", leaf.key));
    Ok(())
}

/// The origin of a URL under which its pin is kept.
pub(crate) fn origin(url: &str) -> Result<String, CliError> {
    PinBook::origin(url)
        .ok_or_else(|| CliError::new(Failure::ArgInvalid, format!("{url} is no URL of a gateway")))
}

/// What to do about another certificate than the pinned one.
pub(crate) fn remedy(source: PinSource, url: &str) -> String {
    let way = match source {
        PinSource::Flag | PinSource::Nobody => "pass it with --tls-fingerprint".to_owned(),
        PinSource::Configuration => "write it into gateway.remote.tlsFingerprint".to_owned(),
        PinSource::Book => format!("run: {{program}} tls pin {url} FINGERPRINT"),
        PinSource::LocalFile => {
            return "what answers there does not show this machine's certificate file: is another program on the port? \
                    If the file was exchanged just now, try again in a few seconds"
                .to_owned();
        }
    };
    format!("if the gateway's owner confirms the new fingerprint, {way}")
}

/// Refuses to send a secret in the clear to another machine (spec 08 S-30). The environment may allow it for
/// private networks; for public ones nothing does.
pub(crate) fn clear_text(url: &Url, name: &str, env: &Environment) -> Result<(), CliError> {
    let refuse = |message: String| CliError::new(Failure::ArgInvalid, format!("{name}: {message}"));
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    match url.scheme() {
        "wss" => Ok(()),
        "ws" if is_loopback_name(host) => Ok(()),
        "ws" if url.host().is_some_and(|host| is_private(&host)) => {
            if env.find("ALLOW_INSECURE_PRIVATE_WS").is_some_and(|found| found.value == "1") {
                return Ok(());
            }
            let refusal =
                refuse("plain ws:// to another machine would send the secret in the clear".to_owned());
            Err(refusal
                .hint("set gateway.tls.enabled there and use wss://, or an SSH tunnel to a local port")
                .hint("in a network that you trust: set TELSON_ALLOW_INSECURE_PRIVATE_WS=1"))
        }
        "ws" => {
            let refusal =
                refuse("plain ws:// to a public address would send the secret in the clear".to_owned());
            Err(refusal.hint("use wss://, or an SSH tunnel to a local port"))
        }
        other => Err(refuse(format!("the scheme is {other}; expected ws or wss"))),
    }
}

/// Whether a host is an address of a private network or of a tailnet. A name may lead anywhere and is none.
fn is_private(host: &Host<&str>) -> bool {
    match host {
        Host::Ipv4(ip) => {
            let [first, second, ..] = ip.octets();
            ip.is_private() || ip.is_link_local() || (first == 100 && (64..128).contains(&second))
        }
        Host::Ipv6(ip) => match ip.to_ipv4_mapped() {
            Some(ip) => is_private(&Host::Ipv4(ip)),
            None => ip.is_unique_local() || ip.is_unicast_link_local(),
        },
        Host::Domain(name) => {
            let name = name.trim_end_matches('.').to_ascii_lowercase();
            let private = [".local", ".lan", ".internal", ".home.arpa", ".ts.net"];
            !name.contains('.') || private.iter().any(|ending| name.ends_with(ending))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const PIN: &str = "0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f";
    const OTHER: &str = "1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e";

    fn state(dir: &std::path::Path) -> StateDir {
        StateDir::resolve(Some(dir), &Environment::default()).unwrap()
    }

    fn pinned(pin: &str) -> Trust {
        Trust::Pinned(vec![Pin::parse(pin).unwrap()])
    }

    #[test]
    fn the_flag_goes_before_the_configuration_and_that_before_the_book() {
        let temp = tempfile::tempdir().unwrap();
        let (state, url) = (state(temp.path()), "wss://Box.example:443/base");
        let asked = Asked { fingerprint: Some(PIN), configured: Some(OTHER), first_use: false };
        assert_eq!(resolve(&state, url, asked).unwrap(), (pinned(PIN), PinSource::Flag));
        let asked = Asked { fingerprint: None, ..asked };
        assert_eq!(resolve(&state, url, asked).unwrap(), (pinned(OTHER), PinSource::Configuration));
        let asked = Asked::default();
        assert_eq!(resolve(&state, url, asked).unwrap(), (Trust::Public, PinSource::Nobody));
        let leaf = Leaf { certificate: Pin::parse(OTHER).unwrap(), key: Pin::parse(PIN).unwrap() };
        remember(&state, url, leaf).unwrap();
        assert_eq!(resolve(&state, "wss://box.example", asked).unwrap(), (pinned(PIN), PinSource::Book));
        for elsewhere in ["wss://box.example:444", "wss://other.example", "wss://box.example.evil"] {
            assert_eq!(resolve(&state, elsewhere, asked).unwrap().0, Trust::Public, "{elsewhere}");
        }
    }

    #[test]
    fn first_use_never_replaces_a_pin() {
        let temp = tempfile::tempdir().unwrap();
        let (state, url) = (state(temp.path()), "wss://box.example:7");
        let asked = Asked { first_use: true, ..Asked::default() };
        assert_eq!(resolve(&state, url, asked).unwrap().0, Trust::FirstUse);
        let leaf = |key| Leaf { certificate: Pin::of(b"any"), key: Pin::parse(key).unwrap() };
        remember(&state, url, leaf(PIN)).unwrap();
        remember(&state, url, leaf(PIN)).unwrap();
        assert_eq!(remember(&state, url, leaf(OTHER)).unwrap_err().failure, Failure::TlsPin);
        assert_eq!(resolve(&state, url, asked).unwrap(), (pinned(PIN), PinSource::Book));
    }

    #[test]
    fn a_damaged_book_is_not_taken_for_an_empty_one() {
        let temp = tempfile::tempdir().unwrap();
        let state = state(temp.path());
        state.prepare().unwrap();
        for content in ["", "[]", "{\"pins\": {\"wss://box:1\": \"no pin\"}}"] {
            std::fs::write(state.run().join("pins.json"), content).unwrap();
            assert!(resolve(&state, "wss://box:1", Asked::default()).is_err(), "{content}");
        }
    }

    #[test]
    fn a_pin_without_tls_is_an_error() {
        let temp = tempfile::tempdir().unwrap();
        let state = state(temp.path());
        for asked in [
            Asked { fingerprint: Some(PIN), ..Asked::default() },
            Asked { configured: Some(PIN), ..Asked::default() },
            Asked { first_use: true, ..Asked::default() },
        ] {
            assert_eq!(resolve(&state, "ws://127.0.0.1:1", asked).unwrap_err().failure, Failure::ArgInvalid);
        }
        let asked = Asked { fingerprint: Some("ab"), ..Asked::default() };
        assert!(resolve(&state, "wss://box", asked).unwrap_err().message.contains("64 hexadecimal digits"));
    }

    #[test]
    fn a_secret_leaves_this_machine_in_tls_only() {
        let closed = Environment::default();
        let open = [("OPENCLAW_ALLOW_INSECURE_PRIVATE_WS".to_owned(), "1".to_owned())].into_iter().collect();
        let allowed =
            |url: &str, env: &Environment| clear_text(&Url::parse(url).unwrap(), "--url", env).is_ok();
        for url in
            ["ws://127.0.0.1:1", "ws://[::1]:7", "ws://localhost:7", "wss://example.org", "wss://8.8.8.8"]
        {
            assert!(allowed(url, &closed), "{url}");
        }
        for url in ["ws://192.168.1.2", "ws://box:1", "ws://pi.local", "ws://100.64.0.9", "ws://[fd00::1]"] {
            assert!(!allowed(url, &closed) && allowed(url, &open), "{url}");
        }
        for url in [
            "ws://8.8.8.8",
            "ws://example.org",
            "ws://[2001:db8::1]",
            "http://127.0.0.1",
            "ws://127.evil.example",
            "ws://localhost.evil.example",
            "ws://0.0.0.0",
        ] {
            assert!(!allowed(url, &closed) && !allowed(url, &open), "{url}");
        }
    }
}
