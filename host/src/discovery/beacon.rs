//! A gateway as somebody in the network announces it. Every word of it is hearsay.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Serialize;

/// The longest text that is kept, in characters.
const LONGEST: usize = 200;

/// What was found (spec 05 §15.6). Where to connect is told by host, port and URL, which come from the resolved
/// service alone; the members that come from its texts are hints for people.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Beacon {
    /// The name of the instance.
    pub instance_name: String,
    /// The name to show.
    pub display_name: String,
    /// Where it was found.
    pub domain: &'static str,
    /// The address to connect to.
    pub host: String,
    /// The port to connect to.
    pub port: u16,
    /// The URL to connect to.
    pub ws_url: String,
    /// Hint: its name in the local network.
    pub lan_host: Option<String>,
    /// Hint: its name in the tailnet.
    pub tailnet_dns: Option<String>,
    /// Hint: the port as the texts have it.
    pub gateway_port: Option<u16>,
    /// Hint: the SSH port of the host.
    pub ssh_port: Option<u16>,
    /// Hint: where the program is.
    pub cli_path: Option<String>,
    /// Hint: its role.
    pub role: Option<String>,
    /// Hint: how it is spoken to.
    pub transport: Option<String>,
    /// Whether it says that it speaks TLS.
    pub gateway_tls: bool,
    /// Hint: the fingerprint of its certificate. Never a reason to believe it.
    pub gateway_tls_sha256: Option<String>,
}

impl Beacon {
    /// Reads what was resolved; `None` when there is no address to connect to.
    pub fn of(
        fullname: &str,
        service: &str,
        addresses: impl IntoIterator<Item = IpAddr>,
        port: u16,
        texts: &BTreeMap<String, String>,
    ) -> Option<Self> {
        let address = best(addresses)?;
        let text = |key: &str| texts.get(key).map(|value| harmless(value)).filter(|value| !value.is_empty());
        let number = |key: &str| texts.get(key)?.trim().parse().ok();
        let instance = fullname.strip_suffix(service).unwrap_or(fullname).trim_end_matches('.');
        let instance_name = harmless(&instance.replace("\\.", ".").replace("\\\\", "\\"));
        let gateway_tls = texts.get("gatewayTls").is_some_and(|value| matches!(value.trim(), "1" | "true"));
        let scheme = if gateway_tls { "wss" } else { "ws" };
        let authority = match address {
            IpAddr::V4(ip) => format!("{ip}:{port}"),
            IpAddr::V6(ip) => format!("[{ip}]:{port}"),
        };
        Some(Self {
            display_name: text("displayName").unwrap_or_else(|| instance_name.clone()),
            instance_name,
            domain: "local.",
            host: address.to_string(),
            port,
            ws_url: format!("{scheme}://{authority}"),
            lan_host: text("lanHost"),
            tailnet_dns: text("tailnetDns"),
            gateway_port: number("gatewayPort"),
            ssh_port: number("sshPort"),
            cli_path: text("cliPath"),
            role: text("role"),
            transport: text("transport"),
            gateway_tls,
            gateway_tls_sha256: text("gatewayTlsSha256"),
        })
    }
}

/// The address to try: IPv4 before IPv6, and one that needs no scope before one that does.
fn best(addresses: impl IntoIterator<Item = IpAddr>) -> Option<IpAddr> {
    let rank = |ip: &IpAddr| match ip {
        IpAddr::V4(ip) => {
            (ip.is_unspecified() || ip.is_multicast(), ip.is_loopback(), ip.is_link_local(), false)
        }
        IpAddr::V6(ip) => {
            (ip.is_unspecified() || ip.is_multicast(), ip.is_loopback(), ip.is_unicast_link_local(), true)
        }
    };
    addresses.into_iter().min_by_key(|ip| (rank(ip), *ip)).filter(|ip| !rank(ip).0)
}

/// A text that can move no cursor and turn no line around, cut to a length.
fn harmless(text: &str) -> String {
    let turns =
        |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let mark = |c: char| if c.is_control() || turns(c) { '\u{fffd}' } else { c };
    text.trim().chars().take(LONGEST).map(mark).collect()
}
