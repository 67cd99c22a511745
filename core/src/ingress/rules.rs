//! What the walls are made of: the operator's settings and the names of this host.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

use crate::settings::Settings;

/// What the operator says about proxies and names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IngressSettings {
    /// `gateway.trustedProxies`: whose word about addresses counts.
    pub trusted_proxies: Vec<IpNet>,
    /// `gateway.allowRealIpFallback`: whether a trusted proxy may say it in `X-Real-IP` instead.
    pub allow_real_ip: bool,
    /// `gateway.allowedHosts`, lower case: further names by which clients may ask for this gateway.
    pub allowed_hosts: Vec<String>,
    /// `gateway.http.securityHeaders.strictTransportSecurity`.
    pub strict_transport: Option<String>,
}

/// The rules, ready for use by both machines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    pub(super) trusted_proxies: Vec<IpNet>,
    pub(super) allow_real_ip: bool,
    /// Names by which clients may ask for this gateway, lower case.
    pub(super) hosts: Vec<String>,
    /// `gateway.controlUi.allowedOrigins`, lower case.
    pub(super) origins: Vec<String>,
    /// Headers of trusted proxies that a connect asks for.
    pub(super) kept: Vec<String>,
    pub(super) strict_transport: Option<String>,
}

impl Rules {
    /// The rules that follow from the settings.
    pub fn of(settings: &Settings) -> Self {
        let (auth, ingress) = (&settings.auth, &settings.auth.ingress);
        let host = settings.facts.host.to_ascii_lowercase();
        let label = host.split('.').next().unwrap_or_default().to_owned();
        let origins = auth.allowed_origins.iter();
        let origin_hosts = origins.filter_map(|origin| super::host::of_origin(origin));
        let own = [host, label].into_iter().filter(|name| !name.is_empty());
        Self {
            trusted_proxies: ingress.trusted_proxies.clone(),
            allow_real_ip: ingress.allow_real_ip,
            hosts: own.chain(ingress.allowed_hosts.iter().cloned()).chain(origin_hosts).collect(),
            origins: auth.allowed_origins.clone(),
            kept: auth.trusted_proxy.headers(),
            strict_transport: ingress.strict_transport.clone(),
        }
    }

    /// Whether the operator trusts what this address says about others.
    pub(super) fn trusts(&self, addr: IpAddr) -> bool {
        let addr = addr.to_canonical();
        self.trusted_proxies.iter().any(|network| network.contains(&addr))
    }
}

/// An address or network as the operator writes it; `::ffff:a.b.c.d/n` is the IPv4 network that it wraps.
pub fn network(text: &str) -> Option<IpNet> {
    let text = text.trim();
    let net = match text.parse::<IpNet>() {
        Ok(net) => net,
        Err(_) => IpNet::from(text.parse::<IpAddr>().ok()?),
    };
    match net {
        IpNet::V6(v6) => match v6.addr().to_ipv4_mapped() {
            Some(v4) => Some(IpNet::V4(Ipv4Net::new(v4, v6.prefix_len().checked_sub(96)?).ok()?)),
            None => Some(net),
        },
        IpNet::V4(_) => Some(net),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn networks_are_read_in_every_spelling() {
        for (text, inside, outside) in [
            ("10.0.0.2", "10.0.0.2", "10.0.0.3"),
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
            ("::1", "::1", "::2"),
            ("fd00::/8", "fd12::1", "fe80::1"),
            ("::ffff:10.0.0.0/104", "10.9.9.9", "11.0.0.1"),
            ("::ffff:10.0.0.2", "10.0.0.2", "10.0.0.3"),
        ] {
            let rules = Rules { trusted_proxies: vec![network(text).unwrap()], ..Rules::default() };
            assert!(rules.trusts(inside.parse().unwrap()), "{text} holds {inside}");
            assert!(!rules.trusts(outside.parse().unwrap()), "{text} does not hold {outside}");
        }
        let rules = Rules { trusted_proxies: vec![network("10.0.0.2").unwrap()], ..Rules::default() };
        assert!(rules.trusts("::ffff:10.0.0.2".parse().unwrap()));
        for text in ["", "10.0.0.0/33", "proxy", "10.0.0", "::ffff:10.0.0.0/8"] {
            assert_eq!(network(text), None, "{text}");
        }
    }
}
