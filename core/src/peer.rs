//! What the adapter saw of a client before it said anything: address and upgrade headers (spec 01 §3.2).

use std::net::{IpAddr, SocketAddr};

/// Where the adapter listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listening {
    /// The addresses of the gateway's port.
    pub addrs: Vec<SocketAddr>,
    /// The loopback address on which nothing but the tailnet's proxy is expected, if there is one.
    pub tailnet: Option<SocketAddr>,
}

/// The facts about the other end of a connection or HTTP request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The socket's address, with IPv4-mapped addresses unmapped.
    pub addr: IpAddr,
    /// The `Host` header.
    pub host: Option<String>,
    /// The `Origin` header.
    pub origin: Option<String>,
    /// Whether any header of a proxy was present: `Forwarded`, `X-Forwarded-*`, `X-Real-IP`, `Via`,
    /// `CF-Connecting-IP` or `Tailscale-*`.
    pub forwarded: bool,
}

impl Peer {
    /// A peer with an address and no headers.
    pub fn at(addr: IpAddr) -> Self {
        Self { addr: addr.to_canonical(), host: None, origin: None, forwarded: false }
    }

    /// Whether the client is on this host and nobody stands between: a loopback peer without proxy headers,
    /// and, for browsers, a page of this host [spec 01 §3.2, D7]. It shortens pairing and grants nothing.
    pub fn is_direct_local(&self) -> bool {
        self.addr.to_canonical().is_loopback()
            && !self.forwarded
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
        peer.forwarded = true;
        assert!(!peer.is_direct_local());
    }
}
