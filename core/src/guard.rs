//! Which URLs the gateway may fetch for strangers (spec 04 §9, 08 S-89).
//!
//! Scheme, credentials, names and address literals are judged here. What a name resolves to is judged by the
//! adapter, with [`is_public`], at the moment of connecting.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::peer::host_name;

/// Judges a URL that came from a model, a message or a client.
///
/// # Errors
///
/// Why it must not be fetched.
pub fn judge_url(url: &str) -> Result<(), String> {
    let no = |problem: &str| Err(problem.to_owned());
    let Some((scheme, rest)) = url.split_once("://") else { return no("it is no absolute URL") };
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return no("only http and https are fetched");
    }
    if url.chars().any(|c| c.is_whitespace() || c.is_control() || c == '\\') {
        return no("it contains a space, a control character or a backslash");
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return no("it contains a user name or password");
    }
    let name = host_name(authority).to_ascii_lowercase();
    let name = name.strip_suffix('.').unwrap_or(&name);
    if name.is_empty() {
        return no("it names no host");
    }
    if authority.starts_with('[') {
        return match name.parse::<Ipv6Addr>() {
            Ok(addr) if is_public(addr.into()) => Ok(()),
            Ok(_) => no("its address is not public"),
            Err(_) => no("its address cannot be read"),
        };
    }
    if let Ok(addr) = name.parse::<Ipv4Addr>() {
        return if is_public(addr.into()) { Ok(()) } else { no("its address is not public") };
    }
    // Octal, hexadecimal and short spellings of addresses: the last label of a name is never a number.
    let last = name.rsplit('.').next().unwrap_or_default();
    let numeric = last.starts_with(|c: char| c.is_ascii_digit())
        && last.chars().all(|c| c.is_ascii_hexdigit() || c == 'x');
    if numeric || !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_')) {
        return no("its host cannot be read");
    }
    let below = |suffix: &str| name == suffix || name.ends_with(&format!(".{suffix}"));
    if ["localhost", "local", "internal"].iter().any(|suffix| below(suffix)) {
        return no("its host is a name of a private network");
    }
    Ok(())
}

/// Whether an address is one of the public internet. IPv6 clothes of IPv4 addresses are looked through or refused.
pub fn is_public(addr: IpAddr) -> bool {
    match addr.to_canonical() {
        IpAddr::V4(addr) => is_public_v4(addr),
        IpAddr::V6(addr) => is_public_v6(addr),
    }
}

fn is_public_v4(addr: Ipv4Addr) -> bool {
    let [a, b, c, _] = addr.octets();
    !matches!(
        (a, b, c),
        (0 | 10 | 127 | 224..=255, _, _)
            | (100, 64..=127, _)
            | (169, 254, _)
            | (172, 16..=31, _)
            | (192, 0, 0 | 2)
            | (192, 168, _)
            | (198, 18 | 19, _)
            | (198, 51, 100)
            | (203, 0, 113)
    )
}

fn is_public_v6(addr: Ipv6Addr) -> bool {
    let [a, b, _, _, e, f, _, _] = addr.segments();
    // Global unicast only, without Teredo, documentation, ORCHID and 6to4.
    let global = a & 0xe000 == 0x2000;
    let special = match (a, b) {
        (0x2001, 0) | (0x2001, 0x0db8) | (0x2002, _) => true,
        (0x2001, b) => b < 0x0200,
        (0x3fff, b) => b < 0x1000,
        _ => false,
    };
    // ISATAP carries an IPv4 address in its last half.
    let isatap = matches!(e & !0x0200, 0) && f == 0x5efe;
    global && !special && !isatap
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_public_is_refused_in_every_spelling() {
        for url in [
            "ftp://a.example/",
            "a.example",
            "http:///x",
            "http://u:p@a.example/",
            "http://127.0.0.1/",
            "http://10.0.0.1:80/x",
            "http://169.254.169.254/latest/meta-data",
            "http://0x7f.1/",
            "http://0x7f000001/",
            "http://2130706433/",
            "http://0177.0.0.1/",
            "http://127.1/",
            "http://[::1]/",
            "http://[::ffff:10.0.0.1]/",
            "http://[64:ff9b::a00:1]/",
            "http://[2002:a00:1::]/",
            "http://[2001::1]/",
            "http://[fe80::1]/",
            "http://[fc00::1]/",
            "http://[ff02::1]/",
            "http://[2001:470::200:5efe:a00:1]/",
            "http://localhost/",
            "http://LOCALHOST./",
            "http://a.localhost/",
            "http://printer.local/",
            "http://metadata.google.internal/",
            "http://a.example\\@127.0.0.1/",
            "http://192.0.2.1/",
            "http://224.0.0.1/",
            "http://100.64.0.1/",
        ] {
            assert!(judge_url(url).is_err(), "{url}");
        }
    }

    #[test]
    fn what_is_public_is_allowed() {
        for url in [
            "http://a.example/",
            "https://8.8.8.8:8443/x?y#z",
            "https://[2606:4700::1111]/",
            "HTTPS://a.example.",
        ] {
            assert_eq!(judge_url(url), Ok(()), "{url}");
        }
    }
}
