//! Who is at the other end of a connection or request: its address, its page, and how it came (spec 01 §3.2).
//!
//! The adapter makes a peer of what it saw. Until [`crate::ingress`] has looked at it, a peer that came through a
//! proxy is attributed to nobody; what is decided there can only make it more.

use std::net::{IpAddr, SocketAddr};

use crate::ingress::{Kind, Trail};

/// Where the adapter listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listening {
    /// The addresses of the gateway's port.
    pub addrs: Vec<SocketAddr>,
    /// The loopback address on which nothing but the tailnet's proxy is expected, if there is one.
    pub tailnet: Option<SocketAddr>,
}

/// On which listener something came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Listener {
    /// The gateway's port.
    #[default]
    Main,
    /// The loopback port on which nothing but the tailnet's proxy is expected.
    Tailnet,
}

/// The facts about the other end of a connection or HTTP request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The client's address: the socket's, or the one for which a trusted proxy vouches.
    pub addr: IpAddr,
    /// The socket's address, with IPv4-mapped addresses unmapped.
    pub socket: IpAddr,
    /// On which listener it came.
    pub listener: Listener,
    /// Whether the client speaks TLS, with the gateway or with a trusted proxy.
    pub secure: bool,
    /// The `Host` header; from a trusted proxy the host that its client asked for.
    pub host: Option<String>,
    /// The `Origin` header; several are joined, so that they match nothing.
    pub origin: Option<String>,
    /// How it came.
    pub kind: Kind,
    /// The headers of an upgrade, until they have been looked at; then those that a connect needs.
    pub trail: Trail,
    /// What follows the `?` in the target of an upgrade.
    pub query: Option<String>,
}

impl Peer {
    /// A peer with an address and no headers.
    pub fn at(addr: IpAddr) -> Self {
        Self::seen(addr, Listener::Main, &[])
    }

    /// A peer as an adapter sees it, with the lines of the request's head, names in lower case. The trail is left
    /// empty.
    pub fn seen(socket: IpAddr, listener: Listener, head: &[(String, String)]) -> Self {
        let socket = socket.to_canonical();
        let lines = |name: &str| {
            let values: Vec<&str> =
                head.iter().filter(|(found, _)| found == name).map(|(_, value)| value.as_str()).collect();
            (!values.is_empty()).then(|| values.join(", "))
        };
        Self {
            addr: socket,
            socket,
            listener,
            secure: false,
            host: lines("host"),
            origin: lines("origin"),
            kind: Kind::untrusting(socket, listener, head),
            trail: Trail::default(),
            query: None,
        }
    }

    /// Whether the client is on this host and nobody stands between: a loopback peer without proxy headers,
    /// and, for browsers, a page of this host [spec 01 §3.2, D7]. It shortens pairing and grants nothing.
    pub fn is_direct_local(&self) -> bool {
        self.kind == Kind::DirectLocal
            && (self.origin.is_none() || self.host_name().is_some_and(is_loopback_name))
    }

    /// Whether a browser's page stands behind it: it says where it is from.
    pub fn is_page(&self) -> bool {
        self.origin.as_deref().is_some_and(|origin| !origin.trim().is_empty())
    }

    /// The `Host` header without its port.
    pub fn host_name(&self) -> Option<&str> {
        self.host.as_deref().map(host_name)
    }
}

/// Cuts the port and the brackets of an IPv6 literal from `host:port`.
pub fn host_name(authority: &str) -> &str {
    if let Some(rest) = authority.strip_prefix('[') {
        return rest.split(']').next().unwrap_or(rest);
    }
    match authority.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !name.contains(':') => name,
        _ => authority,
    }
}

/// Whether a host name or address literal means this host. Names are compared whole: `127.evil.example`
/// is not a loopback name (spec 08 S-31).
pub fn is_loopback_name(name: &str) -> bool {
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|addr| addr.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Spec 08 S-31, S-113: what clients and servers have taken for this host, and what merely looks like it.
    #[test]
    fn sixty_host_names_are_told_apart() {
        let own = [
            "localhost",
            "LocalHost",
            "LOCALHOST",
            "127.0.0.1",
            "127.0.0.2",
            "127.1.2.3",
            "127.255.255.254",
            "127.0.0.0",
            "::1",
            "0:0:0:0:0:0:0:1",
            "0000:0000:0000:0000:0000:0000:0000:0001",
            "::ffff:127.0.0.1",
            "::ffff:7f00:1",
            "::FFFF:127.8.8.8",
        ];
        let foreign = [
            "",
            ".",
            "localhost.",
            "localhost..",
            "127.0.0.1.",
            "::1.",
            "localhost.localdomain",
            "localhost.evil.example",
            "evil.localhost",
            "localhost.local",
            "xlocalhost",
            "localhostx",
            "local host",
            "localhost ",
            " localhost",
            "localhost%00",
            "localhost\0",
            "loopback",
            "127.",
            "127",
            "127.1",
            "127.0.1",
            "127.0.0.1.evil.example",
            "127.evil.example",
            "127-0-0-1.example",
            "0127.0.0.1",
            "127.0.0.01",
            "0x7f.0.0.1",
            "0x7f000001",
            "2130706433",
            "017700000001",
            "127.0.0.256",
            "127.0.0.1:80",
            "127.0.0.1/8",
            "128.0.0.1",
            "126.255.255.255",
            "0.0.0.0",
            "0",
            "255.255.255.255",
            "10.0.0.1",
            "192.168.0.1",
            "169.254.169.254",
            "100.64.0.1",
            "::",
            "[::]",
            "[::1]",
            "::ffff:0:0",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "::2",
            "::1%lo",
            "fe80::1",
            "fd00::1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "\u{ff11}27.0.0.1",
            "l\u{f6}calhost",
            "xn--localhost",
            "ip6-localhost",
            "127.0.0.1@evil.example",
            "evil.example#127.0.0.1",
        ];
        assert!(own.len() + foreign.len() >= 60);
        for name in own {
            assert!(is_loopback_name(name), "{name}");
        }
        for name in foreign {
            assert!(!is_loopback_name(name), "{name}");
        }
    }

    #[test]
    fn loopback_is_decided_on_whole_names() {
        for name in ["localhost", "LOCALHOST", "127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1"] {
            assert!(is_loopback_name(name), "{name}");
        }
        for name in
            ["127.evil.example", "localhost.evil.example", "127.0.0.1.", "0.0.0.0", "::", "2130706433"]
        {
            assert!(!is_loopback_name(name), "{name}");
        }
    }

    #[test]
    fn a_page_of_another_host_is_not_local() {
        let mut peer = Peer::at(IpAddr::from([127, 0, 0, 1]));
        assert!(peer.is_direct_local());
        peer.origin = Some("http://rebound.example".into());
        peer.host = Some("rebound.example:18789".into());
        assert!(!peer.is_direct_local());
        peer.host = Some("[::1]:18789".into());
        assert!(peer.is_direct_local());
    }

    #[test]
    fn an_adapters_view_trusts_no_proxy() {
        let here = IpAddr::from([127, 0, 0, 1]);
        for name in ["forwarded", "x-forwarded-for", "x-real-ip", "via", "cf-ray", "tailscale-user-login"] {
            let peer = Peer::seen(here, Listener::Main, &[(name.to_owned(), "9.9.9.9".to_owned())]);
            assert!(!peer.is_direct_local(), "{name}");
            assert_eq!(peer.addr, here, "{name}");
        }
    }

    #[test]
    fn several_origins_are_none_that_is_allowed() {
        let line = |value: &str| ("origin".to_owned(), value.to_owned());
        let peer = Peer::seen(
            IpAddr::from([127, 0, 0, 1]),
            Listener::Main,
            &[line("http://localhost:1"), line("http://localhost:1")],
        );
        assert_eq!(peer.origin.as_deref(), Some("http://localhost:1, http://localhost:1"));
    }
}
