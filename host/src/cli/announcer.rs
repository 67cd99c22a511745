//! Whether the gateway announces itself, and as what (spec 05 §9.1, 08 S-94).

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use telson_core::config::{Environment, Loaded, Mdns};

use crate::config::Places;
use crate::discovery::{Advert, AdvertFacts, Announcement, PORT};
use crate::state::{host_name, surroundings};
use crate::tls::Live;

/// The announcement of a gateway that is started and stopped.
#[derive(Clone)]
pub(crate) struct Announcer(Arc<Inner>);

struct Inner {
    wishes: Wishes,
    env: Environment,
    tls: Option<Arc<Live>>,
    running: Mutex<Option<Announcement>>,
}

/// What decides whether a gateway is announced.
#[derive(Clone, Copy, Debug)]
struct Wishes {
    /// `discovery.mdns.mode`.
    configured: Option<Mdns>,
    /// `--advertise`.
    flag: bool,
    /// `OPENCLAW_DISABLE_BONJOUR=1`.
    disabled: bool,
    /// Where nobody expects it unless it is asked for: on Linux, and in containers.
    quiet: bool,
}

impl Wishes {
    /// An unreachable announcement is noise and tells of the host [D-36].
    fn mode(self, direct: bool) -> Mdns {
        match (self.configured, self.flag) {
            _ if self.disabled => Mdns::Off,
            (None | Some(Mdns::Off), true) => Mdns::Minimal,
            (Some(mode), true) => mode,
            _ if !direct => Mdns::Off,
            (Some(mode), false) => mode,
            (None, false) if self.quiet => Mdns::Off,
            (None, false) => Mdns::Minimal,
        }
    }
}

impl Announcer {
    pub(crate) fn new(places: &Places, loaded: &Loaded, flag: bool, tls: Option<Arc<Live>>) -> Self {
        let wishes = Wishes {
            configured: loaded.mdns,
            flag,
            disabled: places.env.find("DISABLE_BONJOUR").is_some_and(|found| found.value == "1"),
            quiet: cfg!(target_os = "linux") || surroundings().container,
        };
        Self(Arc::new(Inner { wishes, env: places.env.clone(), tls, running: Mutex::default() }))
    }

    /// Begins, if the operator wants it, now that the gateway listens.
    pub(crate) fn start(&self, bound: &[SocketAddr]) {
        let open = bound.iter().map(SocketAddr::ip).filter(|ip| !ip.is_loopback());
        let mode = self.0.wishes.mode(open.clone().next().is_some());
        if mode == Mdns::Off {
            return;
        }
        let everywhere = open.clone().any(|ip| ip.is_unspecified());
        let addresses: Vec<IpAddr> = if everywhere { Vec::new() } else { open.collect() };
        let Some(port) = bound.first().map(SocketAddr::port) else { return };
        let facts = facts(&self.0.env, port, addresses, everywhere);
        let tls = self.0.tls.clone();
        let advert = move || {
            let tls = tls.as_ref().map(|live| live.leaf().certificate.to_string());
            Advert::of(&AdvertFacts { tls, ..facts.clone() }, mode)
        };
        match Announcement::start(PORT, advert) {
            Ok(announcement) => {
                *self.0.running.lock().unwrap_or_else(PoisonError::into_inner) = Some(announcement);
            }
            Err(error) => tracing::warn!(target: "discovery", "bonjour advertising failed: {error}"),
        }
    }

    /// Takes the announcement back.
    pub(crate) fn stop(&self) {
        let running = self.0.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(announcement) = running {
            announcement.stop();
        }
    }
}

fn facts(env: &Environment, port: u16, addresses: Vec<IpAddr>, everywhere: bool) -> AdvertFacts {
    let host = host_name();
    AdvertFacts {
        display_name: host.split('.').next().unwrap_or_default().to_owned(),
        host: env.find("MDNS_HOSTNAME").map(|found| found.value),
        port,
        direct: everywhere || !addresses.is_empty(),
        addresses,
        tls: None,
        tailnet_dns: None,
        ssh_port: env.find("SSH_PORT").and_then(|found| found.value.parse().ok()).unwrap_or(22),
        cli_path: std::env::current_exe().ok().map(|path| path.display().to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_is_announced_only_where_it_can_be_reached_and_is_wanted() {
        let mode = |configured, flag, disabled, quiet, direct| {
            Wishes { configured, flag, disabled, quiet }.mode(direct)
        };
        let (off, minimal, full) = (Mdns::Off, Mdns::Minimal, Mdns::Full);
        assert_eq!(mode(None, false, false, true, true), off, "Linux and containers are quiet");
        assert_eq!(mode(None, false, false, false, true), minimal);
        assert_eq!(mode(Some(full), false, false, true, true), full, "what is configured counts");
        assert_eq!(mode(Some(full), false, false, true, false), off, "but not where nobody comes in");
        assert_eq!(mode(None, true, false, true, false), minimal, "unless it is asked for by name");
        assert_eq!(mode(Some(full), true, false, true, false), full);
        assert_eq!(mode(Some(off), true, false, true, true), minimal);
        assert_eq!(mode(Some(off), false, false, false, true), off);
        assert_eq!(mode(Some(full), true, true, false, true), off, "the variable beats everything");
    }
}
