//! The names under which a gateway may be reached, for the certificate that is made here.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// More names would only make handshakes long.
const MOST: usize = 64;

/// This host's names and addresses (spec 05 §7 [D-33]): `localhost`, the host name, the same below `.local`, the
/// loopback addresses, and every address that other machines may use, that of a tailnet among them. `further`
/// names follow, such as that of the tailnet.
pub fn names(host: &str, further: &[String]) -> Vec<String> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    list(host, interfaces.iter().map(if_addrs::Interface::ip), further)
}

fn list(host: &str, addresses: impl Iterator<Item = IpAddr>, further: &[String]) -> Vec<String> {
    let mut names = vec!["localhost".to_owned()];
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let first = host.split('.').next().unwrap_or_default().to_owned();
    names.extend([host, format!("{first}.local")].into_iter().filter(|name| is_name(name)));
    names.extend([IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()].map(|ip| ip.to_string()));
    names.extend(addresses.filter(is_shared).map(|ip| ip.to_string()));
    names.extend(further.iter().map(|name| name.to_ascii_lowercase()).filter(|name| is_name(name)));
    let mut seen = std::collections::BTreeSet::new();
    names.retain(|name| seen.insert(name.clone()));
    names.truncate(MOST);
    names
}

/// Whether other machines may know this host by the address.
fn is_shared(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => !ip.is_loopback() && !ip.is_unspecified() && !ip.is_link_local(),
        IpAddr::V6(ip) => !ip.is_loopback() && !ip.is_unspecified() && !ip.is_unicast_link_local(),
    }
}

/// Whether a text can stand in a certificate as a host name.
fn is_name(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    name.len() <= 253 && name.split('.').all(label)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_host_is_known_by_its_names_and_by_the_addresses_that_others_may_use() {
        let addresses =
            ["127.0.0.1", "192.168.1.4", "100.64.0.9", "169.254.3.3", "fe80::1", "fd00::7", "::1"];
        let addresses = addresses.map(|ip| ip.parse().unwrap());
        let tailnet = ["Box.tail1234.ts.net".to_owned(), "no name".to_owned()];
        let names = list("Box.example.org", addresses.into_iter(), &tailnet);
        let wanted = [
            "localhost",
            "box.example.org",
            "box.local",
            "127.0.0.1",
            "::1",
            "192.168.1.4",
            "100.64.0.9",
            "fd00::7",
            "box.tail1234.ts.net",
        ];
        assert_eq!(names, wanted);
    }

    #[test]
    fn a_host_without_a_usable_name_is_localhost() {
        let names = list("(none)", std::iter::empty(), &[]);
        assert_eq!(names, ["localhost", "127.0.0.1", "::1"]);
    }
}
