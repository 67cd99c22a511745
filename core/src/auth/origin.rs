//! Where a browser's page may come from (spec 01 §3.11).
//!
//! A page of any site can open a socket to this host. Browsers say in `Origin` where the page is from, so a
//! connection with that header is let in only from pages that belong here.

use std::net::IpAddr;

use crate::peer::{Peer, is_loopback_name};

/// Why an origin is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OriginFault {
    /// There is none where there must be one, or it cannot be read.
    Unreadable,
    /// It is from elsewhere.
    Elsewhere,
}

impl OriginFault {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Unreadable => "origin missing or invalid",
            Self::Elsewhere => "origin not allowed",
        }
    }
}

/// Checks the origin of a connection. `required` says that the client is one that runs in a browser.
///
/// # Errors
///
/// [`OriginFault`] when the page is not allowed.
pub(crate) fn check(peer: &Peer, allowed: &[String], required: bool) -> Result<(), OriginFault> {
    let text = match peer.origin.as_deref().map(str::trim).filter(|text| !text.is_empty()) {
        Some(text) => text,
        None if required => return Err(OriginFault::Unreadable),
        None => return Ok(()),
    };
    if is_listed(text, allowed) {
        return Ok(());
    }
    let origin = Origin::parse(text).ok_or(OriginFault::Unreadable)?;
    let local = peer.is_direct_local();
    let same_host = peer.host.as_deref().is_some_and(|host| origin.is_at(host));
    let own = same_host && (is_private_name(&origin.host) || (local && is_loopback_name(&origin.host)));
    // A development server on another port of this host.
    let beside = local && is_loopback_name(&origin.host);
    if own || beside { Ok(()) } else { Err(OriginFault::Elsewhere) }
}

/// Whether the operator lists an origin.
pub(crate) fn is_listed(text: &str, allowed: &[String]) -> bool {
    let origin = Origin::parse(text.trim());
    allowed
        .iter()
        .map(|entry| entry.trim())
        .any(|entry| entry == "*" || (origin.is_some() && Origin::parse(entry) == origin))
}

/// Scheme, host and port, in lower case; the port is the scheme's own when none is written.
#[derive(Debug, PartialEq, Eq)]
struct Origin {
    scheme: String,
    host: String,
    port: Option<u16>,
}

impl Origin {
    fn parse(text: &str) -> Option<Self> {
        let text = text.to_ascii_lowercase();
        let (scheme, authority) = text.trim_end_matches('/').split_once("://")?;
        let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
        if scheme.is_empty() || !scheme.chars().all(word) {
            return None;
        }
        let (host, port) = split(authority)?;
        let port = port.or_else(|| default_port(scheme));
        Some(Self { scheme: scheme.to_owned(), host: host.to_owned(), port })
    }

    /// Whether the `Host` header names the same host and port.
    fn is_at(&self, host: &str) -> bool {
        let host = host.trim().to_ascii_lowercase();
        let Some((name, port)) = split(&host) else { return false };
        name == self.host && port.or_else(|| default_port(&self.scheme)) == self.port
    }
}

/// Cuts `host`, `host:port`, `[v6]` and `[v6]:port`.
fn split(authority: &str) -> Option<(&str, Option<u16>)> {
    let (host, rest) = match authority.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => match authority.split_once(':') {
            Some((host, _)) => (host, &authority[host.len()..]),
            None => (authority, ""),
        },
    };
    let foreign = |c: char| !c.is_ascii_graphic() || matches!(c, '/' | '@' | '?' | '#' | '\\' | ',');
    if host.is_empty() || host.contains(foreign) {
        return None;
    }
    match rest.strip_prefix(':') {
        Some(port) => Some((host, Some(port.parse().ok()?))),
        None if rest.is_empty() => Some((host, None)),
        None => None,
    }
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" | "ws" => Some(80),
        "https" | "wss" => Some(443),
        _ => None,
    }
}

/// Whether a host can only be reached from a private network: an address that is not routed, a multicast name
/// or a tailnet name.
fn is_private_name(host: &str) -> bool {
    match host.parse::<IpAddr>() {
        Ok(addr) => is_private_addr(addr.to_canonical()),
        Err(_) => host.ends_with(".local") || host.ends_with(".ts.net"),
    }
}

fn is_private_addr(addr: IpAddr) -> bool {
    match addr {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            v4.is_private() || v4.is_link_local() || (a == 100 && (64..128).contains(&b))
        }
        IpAddr::V6(v6) => v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(addr: [u8; 4], host: &str, origin: &str) -> Peer {
        Peer { host: Some(host.into()), origin: Some(origin.into()), ..Peer::at(IpAddr::from(addr)) }
    }

    #[track_caller]
    fn allows(peer: &Peer, expected: Result<(), OriginFault>) {
        assert_eq!(check(peer, &[], false), expected, "{peer:?}");
    }

    #[test]
    fn the_gateways_own_page_is_allowed() {
        allows(&peer([127, 0, 0, 1], "localhost:18789", "http://localhost:18789"), Ok(()));
        allows(&peer([127, 0, 0, 1], "127.0.0.1:18789", "http://LOCALHOST:5173"), Ok(()));
        allows(&peer([192, 168, 1, 9], "192.168.1.2:18789", "http://192.168.1.2:18789"), Ok(()));
        allows(&peer([100, 64, 0, 9], "100.64.0.2:18789", "http://100.64.0.2:18789"), Ok(()));
        allows(&peer([192, 168, 1, 9], "box.local:18789", "http://box.local:18789"), Ok(()));
        allows(&peer([10, 0, 0, 9], "box.tail1.ts.net", "https://box.tail1.ts.net"), Ok(()));
        allows(&peer([10, 0, 0, 9], "[fd00::2]:18789", "http://[fd00::2]:18789"), Ok(()));
    }

    #[test]
    fn other_pages_are_not() {
        let elsewhere = Err(OriginFault::Elsewhere);
        allows(&peer([127, 0, 0, 1], "localhost:18789", "https://evil.example"), elsewhere);
        allows(&peer([127, 0, 0, 1], "evil.example:18789", "http://evil.example:18789"), elsewhere);
        allows(&peer([192, 168, 1, 9], "192.168.1.2:18789", "http://192.168.1.2:80"), elsewhere);
        allows(&peer([192, 168, 1, 9], "8.8.8.8:18789", "http://8.8.8.8:18789"), elsewhere);
        allows(&peer([192, 168, 1, 9], "localhost:18789", "http://localhost:18789"), elsewhere);
        allows(&peer([127, 0, 0, 1], "localhost:1", "http://localhost.evil.example:1"), elsewhere);
        for unreadable in ["null", "http://", "http://a/b", "http://user@localhost:1", "localhost"] {
            allows(&peer([127, 0, 0, 1], "localhost:1", unreadable), Err(OriginFault::Unreadable));
        }
    }

    #[test]
    fn the_operator_can_allow_more() {
        let list = ["https://chat.example".to_owned()];
        let peer = peer([10, 0, 0, 9], "10.0.0.2:18789", "https://Chat.Example:443");
        assert_eq!(check(&peer, &list, true), Ok(()));
        assert_eq!(check(&peer, &["*".to_owned()], true), Ok(()));
    }

    #[test]
    fn a_client_without_origin_is_no_browser() {
        let peer = Peer::at(IpAddr::from([127, 0, 0, 1]));
        assert_eq!(check(&peer, &[], false), Ok(()));
        assert_eq!(check(&peer, &[], true), Err(OriginFault::Unreadable));
    }
}
