//! What is announced of a gateway (spec 05 §9.1).

use std::net::IpAddr;

use telson_core::config::Mdns;

/// The longest name of a service, in bytes (RFC 6763 §4.1.1).
const LONGEST_NAME: usize = 63;

/// The longest value of a key, in bytes: key, `=` and value share 255.
const LONGEST_VALUE: usize = 200;

/// What is known of the gateway and its host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdvertFacts {
    /// The name of the host as people call it.
    pub display_name: String,
    /// The host name to announce, of which the first label counts.
    pub host: Option<String>,
    /// The gateway's port.
    pub port: u16,
    /// Where it can be reached; empty for every address of the host.
    pub addresses: Vec<IpAddr>,
    /// Whether other machines can reach it.
    pub direct: bool,
    /// The fingerprint of its certificate, when it speaks TLS.
    pub tls: Option<String>,
    /// Its name in the tailnet.
    pub tailnet_dns: Option<String>,
    /// The host's SSH port.
    pub ssh_port: u16,
    /// Where the program is.
    pub cli_path: Option<String>,
}

/// A service as multicast DNS has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advert {
    /// The name of the instance.
    pub instance: String,
    /// The host name, ending in `.local.`.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The addresses; empty for every address of the host.
    pub addresses: Vec<IpAddr>,
    /// The texts, in their order.
    pub txt: Vec<(&'static str, String)>,
}

impl Advert {
    /// What to announce; `None` when nothing is.
    pub fn of(facts: &AdvertFacts, mode: Mdns) -> Option<Self> {
        let full = match mode {
            Mdns::Off => return None,
            Mdns::Minimal => false,
            Mdns::Full => true,
        };
        let label = label(facts.host.as_deref().unwrap_or_default());
        let name = cut(facts.display_name.trim(), LONGEST_NAME);
        let mut txt = vec![
            ("role", "gateway".to_owned()),
            ("gatewayPort", facts.port.to_string()),
            ("lanHost", format!("{label}.local")),
            ("displayName", name.to_owned()),
            ("transport", "gateway".to_owned()),
        ];
        if let Some(fingerprint) = &facts.tls {
            txt.push(("gatewayTls", "1".to_owned()));
            txt.push(("gatewayTlsSha256", fingerprint.clone()));
        }
        if facts.direct {
            txt.push(("gatewayDirectReachable", "1".to_owned()));
        }
        if full {
            txt.extend(facts.tailnet_dns.clone().map(|name| ("tailnetDns", name)));
            txt.push(("sshPort", facts.ssh_port.to_string()));
            txt.extend(facts.cli_path.clone().map(|path| ("cliPath", path)));
        }
        txt.iter_mut().for_each(|(_, value)| *value = cut(value, LONGEST_VALUE).to_owned());
        Some(Self {
            instance: instance(name),
            host: format!("{label}.local."),
            port: facts.port,
            addresses: facts.addresses.clone(),
            txt,
        })
    }
}

/// The name of the instance: the host's, and what the service is unless that is in it already.
fn instance(name: &str) -> String {
    const SUFFIX: &str = " (OpenClaw)";
    if name.to_lowercase().contains("openclaw") {
        return name.to_owned();
    }
    format!("{}{SUFFIX}", cut(name, LONGEST_NAME - SUFFIX.len()))
}

/// The first label of a host name, as far as it can be one.
fn label(host: &str) -> String {
    let first = host.split('.').next().unwrap_or_default();
    let usable = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let label: String = first.chars().filter(|c| usable(*c)).take(LONGEST_NAME).collect();
    if label.is_empty() { "openclaw".to_owned() } else { label }
}

/// The beginning of a text, at most so many bytes.
fn cut(text: &str, most: usize) -> &str {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}
