//! Pairing requests that wait for a decision (spec 01 §5.1, §5.2).
//!
//! They are kept in memory, one for each device, and for five minutes. There are at most
//! [`limits::PAIR_REQUESTS`], and of one address at most [`limits::PAIR_REQUESTS_PER_IP`]: a newer one
//! pushes the oldest out.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use telson_proto::device::PendingDevice;
use telson_proto::{Protocol, Role, Scopes};

use super::pairing::Claim;
use crate::ids::DeviceId;
use crate::limits;
use crate::time::Now;

/// The requests. See the [module documentation](self).
#[derive(Default)]
pub(crate) struct Pending {
    requests: BTreeMap<DeviceId, Request>,
    serial: u64,
}

struct Request {
    id: String,
    claim: Claim,
    roles: BTreeSet<Role>,
    scopes: Scopes,
    is_repair: bool,
    ts: u64,
    /// Until when it waits, on the monotonic clock.
    until: Duration,
    /// Tells requests of the same moment apart.
    serial: u64,
}

impl Pending {
    /// Notes what a device asks for and returns the request's id. A request that asks for no more than the one
    /// that waits renews it; otherwise one request with both takes its place, under the name that `fresh_id`
    /// gives.
    pub(crate) fn ask(
        &mut self,
        now: Now,
        claim: &Claim,
        is_repair: bool,
        fresh_id: impl FnOnce() -> String,
    ) -> String {
        self.prune(now);
        let until = now.mono + limits::millis(limits::PAIR_REQUEST_TTL_MS);
        let waiting = self.requests.remove(&claim.device);
        if waiting.is_none() {
            self.make_room(claim.remote_ip.as_deref());
        }
        self.serial += 1;
        let covers =
            |old: &Request| old.roles.contains(&claim.role) && old.scopes.covers(&claim.scopes, Protocol::V3);
        let request = match waiting {
            Some(old) if covers(&old) => Request { until, ..old },
            waiting => {
                let (roles, scopes) = waiting.map(|old| (old.roles, old.scopes)).unwrap_or_default();
                Request {
                    id: fresh_id(),
                    roles: roles.into_iter().chain([claim.role]).collect(),
                    scopes: scopes.union(&claim.scopes),
                    claim: claim.clone(),
                    is_repair,
                    ts: now.wall,
                    until,
                    serial: self.serial,
                }
            }
        };
        let id = request.id.clone();
        self.requests.insert(claim.device.clone(), request);
        id
    }

    /// The device has been approved: its request is settled.
    pub(crate) fn settle(&mut self, device: &DeviceId) -> Option<String> {
        self.requests.remove(device).map(|request| request.id)
    }

    /// The requests that wait, newest first, as a caller of this protocol sees them.
    pub(crate) fn list(&mut self, now: Now, protocol: Protocol) -> Vec<PendingDevice> {
        self.prune(now);
        let mut requests: Vec<&Request> = self.requests.values().collect();
        requests.sort_by_key(|request| std::cmp::Reverse((request.ts, request.serial)));
        requests.into_iter().map(|request| request.shown(protocol)).collect()
    }

    fn prune(&mut self, now: Now) {
        self.requests.retain(|_, request| request.until > now.mono);
    }

    fn make_room(&mut self, ip: Option<&str>) {
        let same_ip = |request: &Request| request.claim.remote_ip.as_deref() == ip;
        if self.requests.values().filter(|r| same_ip(r)).count() as u64 >= limits::PAIR_REQUESTS_PER_IP {
            self.drop_oldest(same_ip);
        }
        if self.requests.len() as u64 >= limits::PAIR_REQUESTS {
            self.drop_oldest(|_| true);
        }
    }

    fn drop_oldest(&mut self, among: impl Fn(&Request) -> bool) {
        let oldest = self.requests.iter().filter(|(_, r)| among(r)).min_by_key(|(_, r)| (r.until, r.serial));
        if let Some(device) = oldest.map(|(device, _)| device.clone()) {
            self.requests.remove(&device);
        }
    }
}

impl Request {
    fn shown(&self, protocol: Protocol) -> PendingDevice {
        let v4 = protocol == Protocol::V4;
        let claim = &self.claim;
        PendingDevice {
            request_id: self.id.clone(),
            device_id: claim.device.to_string(),
            public_key: claim.public_key.clone(),
            display_name: claim.display_name.clone(),
            platform: claim.platform.clone(),
            device_family: claim.device_family.clone().filter(|_| v4),
            client_id: Some(claim.client_id.clone()),
            client_mode: Some(claim.client_mode.clone()).filter(|mode| !mode.is_empty()),
            browser_origin: claim.origin.clone().filter(|_| v4),
            role: claim.role,
            roles: self.roles.iter().copied().collect(),
            scopes: self.scopes.clone(),
            remote_ip: claim.remote_ip.clone(),
            silent: false,
            is_repair: self.is_repair,
            ts: self.ts,
        }
    }
}
