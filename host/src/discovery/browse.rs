//! Looking for gateways.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use mdns_sd::{ResolvedService, ScopedIp, ServiceDaemon, ServiceEvent};

use super::SERVICE;
use super::beacon::Beacon;

/// So many gateways are enough; a network that answers with more is not one.
const MOST: usize = 256;

/// How long the responder may take to end.
const GOODBYE: Duration = Duration::from_millis(300);

/// Why nothing could be looked for.
#[derive(Debug, thiserror::Error)]
#[error("the local network cannot be asked: {0}")]
pub struct BrowseError(String);

/// Listens for gateways for some time, on this port of multicast DNS. Blocks: call it off the I/O threads.
///
/// # Errors
///
/// [`BrowseError`]. That nobody answers is none.
pub fn browse(port: u16, patience: Duration) -> Result<Vec<Beacon>, BrowseError> {
    let until = Instant::now() + patience;
    let fail = |error: mdns_sd::Error| BrowseError(error.to_string());
    let daemon = ServiceDaemon::new_with_port(port).map_err(fail)?;
    let events = daemon.browse(SERVICE).map_err(fail)?;
    let mut found: BTreeMap<String, Beacon> = BTreeMap::new();
    loop {
        match events.recv_deadline(until) {
            Ok(ServiceEvent::ServiceResolved(service)) if found.len() < MOST => {
                if let Some(beacon) = beacon(&service) {
                    found.insert(service.fullname.clone(), beacon);
                }
            }
            Ok(ServiceEvent::ServiceRemoved(_, fullname)) => {
                found.remove(&fullname);
            }
            Ok(_) => {}
            Err(_) => break,
        }
    }
    if let Ok(done) = daemon.shutdown() {
        let _ = done.recv_timeout(GOODBYE);
    }
    let mut beacons: Vec<Beacon> = found.into_values().collect();
    beacons.sort();
    Ok(beacons)
}

fn beacon(service: &ResolvedService) -> Option<Beacon> {
    let addresses = service.addresses.iter().map(|ip: &ScopedIp| -> IpAddr { ip.to_ip_addr() });
    let texts = service.txt_properties.iter();
    let texts = texts.map(|text| (text.key().to_owned(), text.val_str().to_owned())).collect();
    Beacon::of(&service.fullname, SERVICE, addresses, service.port, &texts)
}
