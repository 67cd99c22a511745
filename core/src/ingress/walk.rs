//! The client's address in what trusted proxies have written (spec 01 §3.2, 05 D-32, 08 S-26).
//!
//! Each proxy appends the address that it saw, so the list is believed from the right, as far as the hops are
//! trusted. What stands further left may have been written by anybody.

use std::net::IpAddr;

use super::kind::Fault;
use crate::limits;

/// The first hop from the right that is neither trusted nor this host.
///
/// # Errors
///
/// [`Fault`] when the list names nobody. A hop that cannot be read ends the walk: what is left of it is hearsay.
pub(super) fn client<'a>(
    lines: impl DoubleEndedIterator<Item = &'a str>,
    is_trusted: impl Fn(IpAddr) -> bool,
) -> Result<IpAddr, Fault> {
    let mut fault = Fault::Unnamed;
    let hops = lines.rev().flat_map(|line| line.rsplit(','));
    for (position, hop) in hops.enumerate() {
        if position as u64 >= limits::PROXY_HOPS {
            return Err(Fault::Unreadable);
        }
        let addr = address(hop).ok_or(Fault::Unreadable)?;
        if !addr.is_loopback() && !is_trusted(addr) {
            return Ok(addr);
        }
        fault = Fault::OnlyProxies;
    }
    Err(fault)
}

/// An address as proxies write it: bare, with a port, in brackets, in quotes, with a zone. Obfuscated names,
/// `unknown` and unspecified addresses are none.
pub(super) fn address(text: &str) -> Option<IpAddr> {
    const LONGEST: usize = 64;
    let text = text.trim().trim_matches('"');
    if text.len() > LONGEST {
        return None;
    }
    let is_port = |port: &str| port.parse::<u16>().is_ok();
    let bare = match text.strip_prefix('[') {
        Some(rest) => {
            let (inside, after) = rest.split_once(']')?;
            let port = after.strip_prefix(':');
            (after.is_empty() || port.is_some_and(is_port)).then_some(inside)?
        }
        None => match text.split_once(':') {
            Some((v4, port)) if !port.contains(':') => is_port(port).then_some(v4)?,
            _ => text,
        },
    };
    let bare = bare.split_once('%').map_or(bare, |(addr, _)| addr);
    let addr = bare.parse::<IpAddr>().ok()?.to_canonical();
    (!addr.is_unspecified()).then_some(addr)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn walk(lines: &[&str]) -> Result<String, Fault> {
        let trusted = [IpAddr::from([10, 0, 0, 2]), IpAddr::from([10, 0, 0, 3])];
        client(lines.iter().copied(), |addr| trusted.contains(&addr)).map(|addr| addr.to_string())
    }

    #[test]
    fn the_rightmost_untrusted_hop_is_the_client() {
        for (lines, expected) in [
            (&["203.0.113.9"][..], "203.0.113.9"),
            (&["6.6.6.6, 203.0.113.9"], "203.0.113.9"),
            (&["6.6.6.6", "203.0.113.9"], "203.0.113.9"),
            (&["6.6.6.6, 203.0.113.9, 10.0.0.3"], "203.0.113.9"),
            (&["6.6.6.6, 203.0.113.9", "10.0.0.3, 127.0.0.1"], "203.0.113.9"),
            (&["127.0.0.1, 203.0.113.9"], "203.0.113.9"),
            (&["_hidden, unknown, 203.0.113.9"], "203.0.113.9"),
            (&["203.0.113.9:51515"], "203.0.113.9"),
            (&["[2001:db8::7]:51515"], "2001:db8::7"),
            (&["[2001:db8::7]"], "2001:db8::7"),
            (&["2001:DB8::7"], "2001:db8::7"),
            (&["fe80::7%eth0"], "fe80::7"),
            (&["::ffff:203.0.113.9"], "203.0.113.9"),
            (&["203.0.113.9,::ffff:10.0.0.2"], "203.0.113.9"),
            (&["\"203.0.113.9\""], "203.0.113.9"),
        ] {
            assert_eq!(walk(lines), Ok(expected.to_owned()), "{lines:?}");
        }
    }

    #[test]
    fn a_list_that_names_nobody_gives_no_address() {
        for (lines, expected) in [
            (&[][..], Fault::Unnamed),
            (&[""], Fault::Unreadable),
            (&["127.0.0.1"], Fault::OnlyProxies),
            (&["::1, 10.0.0.2, 127.9.9.9"], Fault::OnlyProxies),
            (&["203.0.113.9, unknown"], Fault::Unreadable),
            (&["203.0.113.9, _secret"], Fault::Unreadable),
            (&["203.0.113.9,"], Fault::Unreadable),
            (&["203.0.113.9, 0.0.0.0"], Fault::Unreadable),
            (&["203.0.113.9, ::"], Fault::Unreadable),
            (&["203.0.113.9:99999"], Fault::Unreadable),
            (&["[2001:db8::7"], Fault::Unreadable),
            (&["[2001:db8::7]x"], Fault::Unreadable),
            (&["127.1"], Fault::Unreadable),
            (&["0x7f.0.0.1"], Fault::Unreadable),
        ] {
            assert_eq!(walk(lines), Err(expected), "{lines:?}");
        }
        let long = ["127.0.0.1"; 1_024].join(",");
        assert_eq!(walk(&[&long]), Err(Fault::Unreadable), "10 kB of hops");
    }

    proptest! {
        /// Whatever a client writes into the list before the proxy appends, it does not move the address.
        #[test]
        fn what_a_client_writes_moves_nothing(written in ".{0,200}", newline in any::<bool>()) {
            let appended = format!("{written}, 203.0.113.9");
            let lines = if newline { vec![written.as_str(), "203.0.113.9"] } else { vec![appended.as_str()] };
            prop_assert_eq!(walk(&lines), Ok("203.0.113.9".to_owned()));
        }

        #[test]
        fn what_is_read_is_neither_unspecified_nor_mapped(text in "[0-9a-f:.\\[\\]%]{0,40}") {
            if let Some(addr) = address(&text) {
                prop_assert!(!addr.is_unspecified());
                prop_assert_eq!(addr, addr.to_canonical());
            }
        }
    }
}
