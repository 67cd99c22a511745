//! How the gateway is reached beyond its port: TLS, the announcement in the network, and, for the command line,
//! the gateway on another machine (spec 05 §3.1, §7, §9).

use super::access::Sources;
use super::build::{flag, text};
use super::check::Check;
use super::issue::Warning;
use super::tree::Node;
use crate::auth::Secret;

/// The files of the certificate, as the operator wrote them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsPlan {
    /// The certificate; the one in the state directory when unset.
    pub cert: Option<String>,
    /// Its key; the one in the state directory when unset.
    pub key: Option<String>,
    /// Further certificates of its chain.
    pub ca: Option<String>,
    /// Whether a missing pair is made, and renewed.
    pub generate: bool,
}

/// The gateway on another machine that the command line speaks to in mode `remote`.
#[derive(Clone, Debug, Default)]
pub struct Remote {
    /// Its URL.
    pub url: Option<String>,
    /// The token to present there, and nowhere else.
    pub token: Option<Secret>,
    /// The password to present there, and nowhere else.
    pub password: Option<Secret>,
    /// The fingerprint of its certificate or key.
    pub tls_fingerprint: Option<String>,
}

/// What the gateway tells the network of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mdns {
    /// Nothing.
    Off,
    /// What a client needs to connect.
    Minimal,
    /// What the operator of the machine may want to know too: the SSH port and where the program is.
    Full,
}

impl Mdns {
    /// The words of the configuration.
    pub(super) const WORDS: &[&str] = &["off", "minimal", "full"];

    fn parse(word: &str) -> Option<Self> {
        match word {
            "off" => Some(Self::Off),
            "minimal" => Some(Self::Minimal),
            "full" => Some(Self::Full),
            _ => None,
        }
    }
}

/// What the file says of TLS on the port; `None` leaves it in the clear.
pub(super) fn tls(root: &Node) -> Option<TlsPlan> {
    let of = |name: &str| text(root, &format!("gateway.tls.{name}"));
    let plan = TlsPlan {
        cert: of("certPath"),
        key: of("keyPath"),
        ca: of("caPath"),
        generate: flag(root, "gateway.tls.autoGenerate").unwrap_or(true),
    };
    flag(root, "gateway.tls.enabled").unwrap_or(false).then_some(plan)
}

/// The mode that the file asks for; `None` when it asks for none.
pub(super) fn mdns(root: &Node) -> Option<Mdns> {
    root.at("discovery.mdns.mode").and_then(Node::text).and_then(Mdns::parse)
}

/// The gateway on another machine.
pub(super) fn remote(root: &Node) -> Remote {
    let secret = |name: &str| text(root, &format!("gateway.remote.{name}")).map(Secret::new);
    Remote {
        url: text(root, "gateway.remote.url"),
        token: secret("token"),
        password: secret("password"),
        tls_fingerprint: text(root, "gateway.remote.tlsFingerprint"),
    }
}

impl Sources<'_> {
    /// Says that secrets travel in the clear where nothing else protects them (spec 08 S-30).
    pub(super) fn in_the_clear(&self, listen: &[std::net::SocketAddr], check: &mut Check<'_>) {
        let proxied = self.root.at("gateway.trustedProxies").is_some_and(|node| !node.items().is_empty());
        let tailnet = self.surroundings.tailnet.map(std::net::IpAddr::from);
        let open = listen.iter().map(std::net::SocketAddr::ip);
        let open = open.filter(|ip| !ip.is_loopback() && Some(*ip) != tailnet).count() > 0;
        if open && !proxied && tls(self.root).is_none() {
            let message =
                "other machines would send the secret in the clear; set gateway.tls.enabled to true";
            check.warnings.push(Warning::new("gateway.bind", message));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_of_the_table_is_a_mode() {
        assert!(Mdns::WORDS.iter().all(|word| Mdns::parse(word).is_some()));
    }
}
