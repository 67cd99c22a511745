//! What the machines are told about the host.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::path::Path;

use telson_core::config::Surroundings;
use telson_core::settings::Facts;

use super::StateDir;

/// An address of the documentation range: asking for the route to it sends nothing and finds the LAN address.
const SOMEWHERE: (Ipv4Addr, u16) = (Ipv4Addr::new(192, 0, 2, 1), 9);

/// The address at which a tailnet's own resolver is reached.
const TAILNET: (Ipv4Addr, u16) = (Ipv4Addr::new(100, 100, 100, 100), 53);

/// The host and the process.
pub fn facts(state: &StateDir, config_file: &Path) -> Facts {
    let uname = rustix::system::uname();
    Facts {
        version: crate::cli::VERSION.to_owned(),
        host: host_name(),
        ip: route_to(SOMEWHERE).filter(|ip| !ip.is_loopback()).map(|ip| ip.to_string()),
        platform: platform(&uname.release().to_string_lossy()),
        device_family: family().to_owned(),
        config_path: config_file.display().to_string(),
        state_dir: state.path().display().to_string(),
        utc_offset_secs: jiff::tz::TimeZone::system().to_offset(jiff::Timestamp::now()).seconds(),
    }
}

/// This host's own name.
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// The system and its version, such as `linux 6.8.0`.
fn platform(release: &str) -> String {
    let system = if cfg!(target_os = "macos") { "macos" } else { std::env::consts::OS };
    format!("{system} {release}")
}

/// The kind of machine, as clients name it.
fn family() -> &'static str {
    if cfg!(target_os = "macos") {
        "Mac"
    } else if cfg!(windows) {
        "Windows"
    } else {
        "Linux"
    }
}

/// What decides where to listen.
pub fn surroundings() -> Surroundings {
    let container = ["/.dockerenv", "/run/.containerenv"].iter().any(|mark| Path::new(mark).exists());
    Surroundings { tailnet: route_to(TAILNET).filter(|ip| is_tailnet(&IpAddr::V4(*ip))), container }
}

/// Whether an address is one that tailnets use: 100.64.0.0/10, fd7a:115c:a1e0::/48 (spec 05 §6.1).
pub fn is_tailnet(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let [first, second, ..] = ip.octets();
            first == 100 && (64..128).contains(&second)
        }
        IpAddr::V6(ip) => matches!(ip.segments(), [0xfd7a, 0x115c, 0xa1e0, ..]),
    }
}

/// The own address from which packets to somewhere would leave. A datagram socket that is connected sends
/// nothing.
fn route_to(target: (Ipv4Addr, u16)) -> Option<Ipv4Addr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect(target).ok()?;
    match socket.local_addr().ok()?.ip() {
        IpAddr::V4(ip) if !ip.is_unspecified() => Some(ip),
        _ => None,
    }
}
