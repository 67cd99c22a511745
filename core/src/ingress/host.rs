//! The name by which a client asks for this gateway (spec 08 S-19).
//!
//! Any site can let a name of its own lead to an address of this host, and its pages then count as this host's in a
//! browser. So a name must be known to be ours. Addresses cannot be borrowed that way.

use std::net::IpAddr;

use super::rules::Rules;
use super::stop::Stop;
use crate::peer::is_loopback_name;

/// Checks a `Host` header.
pub(super) fn check(rules: &Rules, host: &str) -> Result<(), Stop> {
    let name = name(host).ok_or(Stop::BadHost)?;
    let known = is_loopback_name(&name)
        || name.parse::<IpAddr>().is_ok()
        || [".local", ".ts.net"].iter().any(|suffix| name.len() > suffix.len() && name.ends_with(suffix))
        || rules.hosts.iter().any(|entry| fits(entry, &name));
    if known { Ok(()) } else { Err(Stop::ForeignHost(name)) }
}

/// Whether an entry of `gateway.allowedHosts` means this name: the name itself, `*.` and a suffix, or `*`.
fn fits(entry: &str, name: &str) -> bool {
    match entry.strip_prefix('*') {
        Some("") => true,
        Some(suffix) => suffix.starts_with('.') && name.len() > suffix.len() && name.ends_with(suffix),
        None => entry == name,
    }
}

/// The name in `host`, `host:port`, `[v6]` and `[v6]:port`, lower case; `None` when it is not written like that.
pub(super) fn name(host: &str) -> Option<String> {
    const LONGEST: usize = 255;
    let host = host.trim();
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => {
            let (name, after) = rest.split_once(']')?;
            name.parse::<std::net::Ipv6Addr>().ok()?;
            (name, after)
        }
        None => match host.find(':') {
            Some(colon) => host.split_at(colon),
            None => (host, ""),
        },
    };
    let port_fits = port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok());
    let letter = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    let name_fits = host.starts_with('[') || name.bytes().all(letter);
    let fits = port_fits && name_fits && !name.is_empty() && name.len() <= LONGEST;
    fits.then(|| name.to_ascii_lowercase())
}

/// The host of a web origin that the operator allows.
pub(super) fn of_origin(origin: &str) -> Option<String> {
    name(origin.split_once("://")?.1.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Rules {
        let hosts = ["box", "chat.example", "*.lan.example"].map(str::to_owned).to_vec();
        Rules { hosts, ..Rules::default() }
    }

    #[test]
    fn names_of_this_gateway_are_known() {
        for host in [
            "localhost",
            "LOCALHOST:18789",
            "127.0.0.1:1",
            "[::1]:18789",
            "[::1]",
            "192.168.1.2",
            "8.8.8.8:80",
            "[2001:db8::1]:443",
            "box",
            "Box:18789",
            "box.local",
            "box.tail1.ts.net",
            "chat.example:443",
            "a.lan.example",
        ] {
            assert_eq!(check(&rules(), host), Ok(()), "{host}");
        }
    }

    #[test]
    fn names_of_others_are_not_and_what_is_no_name_is_told_apart() {
        for host in [
            "evil.example",
            "evil.example:18789",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "localhost.",
            "127.0.0.1.",
            "2130706433",
            "0x7f.1",
            "box.evil.example",
            "lan.example",
            ".local",
            "evillocal",
            "chat.example.",
            "xn--bcher-kva.example",
        ] {
            assert!(matches!(check(&rules(), host), Err(Stop::ForeignHost(_))), "{host}");
        }
        let long = "a".repeat(300);
        for host in [
            "",
            ":80",
            "a b",
            "a/b",
            "a@localhost",
            "localhost:x",
            "localhost:99999",
            "[::1",
            "[localhost]",
            "bücher.example",
            "a,b",
            "\u{1b}[31m",
            &long,
        ] {
            assert_eq!(check(&rules(), host), Err(Stop::BadHost), "{host}");
        }
    }

    #[test]
    fn a_star_opens_to_every_name() {
        let rules = Rules { hosts: vec!["*".to_owned()], ..Rules::default() };
        assert_eq!(check(&rules, "anything.example"), Ok(()));
        assert_eq!(check(&rules, "not a name"), Err(Stop::BadHost));
    }
}
