//! Which addresses a request may reach whose URL came from a model, a message or a client (spec 04 §9).
//!
//! Pure judgement: a URL as it is written, and an address that a name was resolved to. Whoever fetches judges
//! both, and connects to an address that was judged.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Why a URL may not be fetched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Forbidden(String);

impl Forbidden {
    /// The host of a URL, or an address of it, is not public.
    pub fn host(host: &str) -> Self {
        Self(format!(
            "the host \"{}\" is not a public internet address; only public hosts are fetched",
            shown(host)
        ))
    }
}

/// A part of a URL as it may stand in an error: short, and without control characters.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(100).collect()
}

/// Judges a URL by what is written in it. Names are not resolved: their addresses are judged with [`is_public`].
///
/// # Errors
/// The scheme, credentials, a private host, or an address in a spelling that programs read differently.
pub fn judge_url(url: &str) -> Result<(), Forbidden> {
    let refuse =
        |text: &str| Forbidden(format!("the URL {text}; expected http://host/path or https://host/path"));
    if url.chars().any(|c| c.is_control() || c.is_whitespace() || c == '\\') {
        return Err(refuse("contains a space, a backslash or a control character"));
    }
    let Some((scheme, rest)) = url.split_once("://") else { return Err(refuse("has no scheme")) };
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return Err(refuse(&format!("has the scheme \"{}\"", shown(scheme))));
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return Err(refuse("contains credentials"));
    }
    judge_authority(authority).ok_or_else(|| refuse("has no usable host"))?
}

/// `None` when there is no host and port to be read.
fn judge_authority(authority: &str) -> Option<Result<(), Forbidden>> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (inside, behind) = rest.split_once(']')?;
            let addr: Ipv6Addr = inside.parse().ok()?;
            (Host::Addr(addr.into()), behind)
        }
        None => {
            let end = authority.find(':').unwrap_or(authority.len());
            let (name, port) = authority.split_at(end);
            (Host::Name(name), port)
        }
    };
    if !port.is_empty() {
        let digits = port.strip_prefix(':')?;
        if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
    }
    match host {
        Host::Addr(addr) if is_public(addr) => Some(Ok(())),
        Host::Addr(addr) => Some(Err(Forbidden::host(&addr.to_string()))),
        Host::Name(name) => judge_host(name),
    }
}

enum Host<'a> {
    Addr(IpAddr),
    Name(&'a str),
}

/// Judges a host that stands without brackets: a name, or an IPv4 address.
fn judge_host(host: &str) -> Option<Result<(), Forbidden>> {
    let name = host.strip_suffix('.').unwrap_or(host).to_lowercase();
    if name.is_empty() || name.contains('%') || name.split('.').any(str::is_empty) {
        return None;
    }
    if name.rsplit('.').next().is_some_and(is_number) {
        // What ends in a number is an address, and there is one right spelling of it.
        return Some(match name.parse::<Ipv4Addr>() {
            Ok(addr) if is_public(addr.into()) => Ok(()),
            Ok(_) => Err(Forbidden::host(host)),
            Err(_) => Err(Forbidden(format!(
                "the host \"{}\" is an odd spelling of an address; write an IPv4 address as four decimal numbers",
                shown(host)
            ))),
        });
    }
    let private = matches!(name.as_str(), "localhost" | "metadata.google.internal")
        || [".localhost", ".local", ".internal"].iter().any(|end| name.ends_with(end));
    Some(if private { Err(Forbidden::host(host)) } else { Ok(()) })
}

/// Whether URL parsers take a last label for a number (WHATWG URL, "ends in a number").
fn is_number(label: &str) -> bool {
    let hex = label.strip_prefix("0x").is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
    hex || label.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether an address belongs to the public internet.
pub fn is_public(addr: IpAddr) -> bool {
    match addr {
        IpAddr::V4(addr) => is_public_v4(addr),
        IpAddr::V6(addr) => match addr.to_ipv4_mapped() {
            Some(addr) => is_public_v4(addr),
            None => is_public_v6(addr),
        },
    }
}

fn is_public_v4(addr: Ipv4Addr) -> bool {
    !matches!(
        addr.octets(),
        [0 | 10 | 127 | 224..=255, ..]
            | [100, 64..=127, ..]
            | [169, 254, ..]
            | [172, 16..=31, ..]
            | [192, 0, 0 | 2, _]
            | [192, 88, 99, _]
            | [192, 168, ..]
            | [198, 18..=19, ..]
            | [198, 51, 100, _]
            | [203, 0, 113, _]
    )
}

/// Of IPv6 only 2000::/3 is handed out; what tunnels IPv4 or is for documents and tests is no destination.
fn is_public_v6(addr: Ipv6Addr) -> bool {
    match addr.segments() {
        // Teredo and its neighbours for special purposes; documentation; 6to4; documentation again.
        [0x2001, 0..=0x01ff, ..] | [0x2001, 0x0db8, ..] | [0x2002, ..] | [0x3fff, 0..=0x0fff, ..] => false,
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    /// The first and the last address of every range that is not public, and its neighbours that are.
    const PRIVATE: &[(&str, &str)] = &[
        ("0.0.0.0", "0.255.255.255"),
        ("10.0.0.0", "10.255.255.255"),
        ("100.64.0.0", "100.127.255.255"),
        ("127.0.0.0", "127.255.255.255"),
        ("169.254.0.0", "169.254.255.255"),
        ("172.16.0.0", "172.31.255.255"),
        ("192.0.0.0", "192.0.0.255"),
        ("192.0.2.0", "192.0.2.255"),
        ("192.168.0.0", "192.168.255.255"),
        ("198.18.0.0", "198.19.255.255"),
        ("198.51.100.0", "198.51.100.255"),
        ("203.0.113.0", "203.0.113.255"),
        ("224.0.0.0", "239.255.255.255"),
        ("240.0.0.0", "255.255.255.255"),
        ("::", "::1"),
        ("fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
        ("fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
        ("fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
        ("ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
        ("64:ff9b::", "64:ff9b::ffff:ffff"),
        ("64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff"),
        ("2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
        ("2001::", "2001:0:ffff:ffff:ffff:ffff:ffff:ffff"),
        ("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"),
        ("3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff"),
        ("::ffff:10.0.0.0", "::ffff:10.255.255.255"),
        ("::ffff:127.0.0.1", "::ffff:169.254.169.254"),
        ("::127.0.0.1", "::10.0.0.1"),
    ];

    const PUBLIC: &[&str] = &[
        "1.1.1.1",
        "8.8.8.8",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "169.253.255.255",
        "169.255.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "192.0.1.0",
        "192.0.3.0",
        "192.167.255.255",
        "192.169.0.0",
        "198.17.255.255",
        "198.20.0.0",
        "198.51.99.255",
        "198.51.101.0",
        "203.0.112.255",
        "203.0.114.0",
        "223.255.255.255",
        "2606:4700::1111",
        "2a00:1450::1",
        "2001:4860:4860::8888",
        "2003::1",
        "::ffff:8.8.8.8",
    ];

    #[test]
    fn only_addresses_of_the_public_internet_are_public() {
        for (first, last) in PRIVATE {
            for addr in [first, last] {
                assert!(!is_public(addr.parse().unwrap()), "{addr}");
            }
        }
        for addr in PUBLIC {
            assert!(is_public(addr.parse().unwrap()), "{addr}");
        }
    }

    #[test]
    fn a_url_is_refused_with_the_reason() {
        for (url, word) in [
            ("ftp://host/", "scheme \"ftp\""),
            ("file:///etc/passwd", "scheme"),
            ("nonsense", "no scheme"),
            ("http://user:word@host/", "credentials"),
            ("http://user@host/", "credentials"),
            ("http://a.example\\@localhost/", "backslash"),
            ("http://local host/", "space"),
            ("http://local\thost/", "control"),
            ("http:///path", "host"),
            ("http://?x", "host"),
            ("http://./", "host"),
            ("http://a..b/", "host"),
            ("http://host:port/", "host"),
            ("http://[::1/", "host"),
            ("http://[fe80::1%25eth0]/", "host"),
            ("http://loc%61lhost/", "host"),
            ("http://localhost/", "\"localhost\" is not a public"),
            ("HTTP://LocalHost.:80/", "not a public"),
            ("http://metadata.google.internal/computeMetadata", "not a public"),
            ("https://printer.local", "not a public"),
            ("https://a.b.internal?x", "not a public"),
            ("https://x.localhost#y", "not a public"),
            ("http://127.0.0.1:8080/", "not a public"),
            ("http://169.254.169.254/latest", "not a public"),
            ("http://[::ffff:10.0.0.1]/", "not a public"),
            ("http://[::1]:80/", "not a public"),
            ("http://127.1/", "odd spelling"),
            ("http://0x7f000001/", "odd spelling"),
            ("http://0x7f.0.0.1/", "odd spelling"),
            ("http://2130706433/", "odd spelling"),
            ("http://0177.0.0.1/", "odd spelling"),
            ("http://8.8.8.010/", "odd spelling"),
            ("http://8.8.8.8.8/", "odd spelling"),
            ("http://1.2.3.0x4./", "odd spelling"),
        ] {
            let judged = judge_url(url);
            assert!(judged.as_ref().is_err_and(|why| why.to_string().contains(word)), "{url}: {judged:?}");
        }
    }

    #[test]
    fn a_public_url_is_let_through() {
        for url in [
            "https://example.org",
            "http://example.org./a?b=http://localhost/#c@d",
            "HTTPS://Example.ORG:8443/a@b",
            "http://8.8.8.8/",
            "http://[2606:4700::1111]:80/",
            "http://localhost.example.org/",
            "http://internal/",
            "http://0x7f.example/",
            "https://b\u{fc}cher.example/",
        ] {
            assert_eq!(judge_url(url), Ok(()), "{url}");
        }
    }

    proptest! {
        #[test]
        fn a_mapped_address_is_judged_as_the_one_inside(bits: u32) {
            let inside = Ipv4Addr::from(bits);
            prop_assert_eq!(is_public(inside.to_ipv6_mapped().into()), is_public(inside.into()));
        }

        #[test]
        fn whatever_lies_in_a_private_range_is_private(range in 0..PRIVATE.len(), at: u128) {
            let (first, last) = PRIVATE[range];
            let addr: IpAddr = match (first.parse().unwrap(), last.parse().unwrap()) {
                (IpAddr::V4(first), IpAddr::V4(last)) => {
                    let width = u128::from(last.to_bits() - first.to_bits()) + 1;
                    Ipv4Addr::from_bits(first.to_bits() + u32::try_from(at % width).unwrap()).into()
                }
                (IpAddr::V6(first), IpAddr::V6(last)) => {
                    let (low, high) = (first.to_bits().min(last.to_bits()), first.to_bits().max(last.to_bits()));
                    let inside = [low, high][usize::from(at % 2 == 0)];
                    let whole = !first.to_string().contains('.') && high - low < u128::MAX;
                    Ipv6Addr::from_bits(if whole { low + at % (high - low + 1) } else { inside }).into()
                }
                _ => unreachable!("both ends of a range are of one family"),
            };
            prop_assert!(!is_public(addr), "{}", addr);
        }

        #[test]
        fn the_written_address_and_the_resolved_one_are_judged_alike(bits: u32) {
            let addr = Ipv4Addr::from(bits);
            prop_assert_eq!(judge_url(&format!("http://{addr}/")).is_ok(), is_public(addr.into()));
        }

        #[test]
        fn whatever_is_written_the_judgement_ends(url in "(https?://)?[\\[\\]a-z0-9.:@/%?#x-]{0,40}") {
            let _ = judge_url(&url);
        }
    }
}
