//! Pairing requests that wait for a decision (spec 01 §5.1, §5.2).
//!
//! There is one for each device. It waits for five minutes after it was last asked for, also across a restart.
//! There are at most [`limits::PAIR_REQUESTS`], and of one address at most [`limits::PAIR_REQUESTS_PER_IP`]: a
//! newer one pushes the oldest out. A request is on disk before anybody is told its name.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use telson_proto::device::PendingDevice;
use telson_proto::{Json, Protocol};

use super::pairing::{Claim, Grant};
use crate::ids::DeviceId;
use crate::limits;
use crate::store::{Op, Record, Shelf};
use crate::time::Now;

/// The requests. See the [module documentation](self).
#[derive(Default)]
pub(crate) struct Pending {
    requests: BTreeMap<DeviceId, Request>,
    serial: u64,
    /// Rows of requests that are no more.
    litter: Vec<Op>,
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    kept: Kept,
    /// Until when it waits, on the monotonic clock.
    until: Duration,
    /// Tells requests of the same moment apart.
    serial: u64,
    /// When the row on disk says that it was last asked for; `None` before it is on disk.
    on_disk: Option<u64>,
}

/// A request as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kept {
    id: String,
    claim: Claim,
    grant: Grant,
    is_repair: bool,
    ts: u64,
    refreshed_at_ms: u64,
}

/// What became of a wish.
#[derive(Debug, PartialEq)]
pub(crate) struct Asked {
    /// The request that waits for it.
    pub(crate) id: String,
    /// Whether nobody has heard of this request.
    pub(crate) is_new: bool,
    /// The request whose place it has taken.
    pub(crate) replaced: Option<String>,
    /// Whether the row must be written before the request is named.
    pub(crate) must_write: bool,
}

impl Pending {
    /// Takes over what was kept. Only the wall clock can tell how long a request has waited.
    pub(crate) fn restore(&mut self, now: Now, records: Vec<Record>) {
        for record in records {
            let kept: Kept = match serde_json::from_str(record.record.as_str()) {
                Ok(kept) => kept,
                Err(error) => {
                    tracing::error!(
                        target: "gateway", device = %record.key, %error,
                        "a pairing request's row cannot be read; the device must ask again"
                    );
                    continue;
                }
            };
            let age = now.wall.saturating_sub(kept.refreshed_at_ms);
            let left = limits::PAIR_REQUEST_TTL_MS.saturating_sub(age);
            if left == 0 || self.requests.len() as u64 >= limits::PAIR_REQUESTS {
                self.litter.push(delete(record.key));
                continue;
            }
            self.serial += 1;
            let on_disk = Some(kept.refreshed_at_ms);
            let until = now.mono + limits::millis(left);
            let request = Request { kept, until, serial: self.serial, on_disk };
            self.requests.insert(DeviceId::new(record.key), request);
        }
    }

    /// Notes what a device asks for. A wish for no more than the request that waits renews it; otherwise one
    /// request for both takes its place, under the name that `fresh_id` gives.
    pub(crate) fn ask(
        &mut self,
        now: Now,
        claim: &Claim,
        is_repair: bool,
        fresh_id: impl FnOnce() -> String,
    ) -> Asked {
        self.prune(now);
        let until = now.mono + limits::millis(limits::PAIR_REQUEST_TTL_MS);
        if let Some(waiting) = self.requests.get_mut(&claim.device)
            && waiting.covers(claim)
        {
            waiting.until = until;
            waiting.kept.refreshed_at_ms = now.wall;
            let must_write =
                waiting.on_disk.is_none_or(|at| at.abs_diff(now.wall) >= limits::DEVICE_USED_STEP_MS);
            return Asked { id: waiting.kept.id.clone(), is_new: false, replaced: None, must_write };
        }
        let waiting = self.requests.remove(&claim.device);
        if waiting.is_none() {
            self.make_room(claim.remote_ip.as_deref());
        }
        self.serial += 1;
        let id = fresh_id();
        let mut grant = claim.grant();
        if let Some(old) = &waiting {
            grant.roles.extend(&old.kept.grant.roles);
            grant.scopes = grant.scopes.union(&old.kept.grant.scopes);
        }
        let kept = Kept {
            id: id.clone(),
            claim: claim.clone(),
            grant,
            is_repair,
            ts: now.wall,
            refreshed_at_ms: now.wall,
        };
        let request = Request { kept, until, serial: self.serial, on_disk: None };
        self.requests.insert(claim.device.clone(), request);
        let replaced = waiting.map(|old| old.kept.id);
        Asked { id, is_new: true, replaced, must_write: true }
    }

    /// The row of a device's request.
    pub(crate) fn row(&self, device: &DeviceId) -> Option<Op> {
        let request = self.requests.get(device)?;
        let record = Json::of(&request.kept);
        Some(Op::PutRecord(Record { shelf: Shelf::PairRequests, key: device.to_string(), record }))
    }

    /// The row of this request is on disk.
    pub(crate) fn written(&mut self, device: &DeviceId, id: &str) {
        if let Some(request) = self.requests.get_mut(device).filter(|request| request.kept.id == id) {
            request.on_disk = Some(request.kept.refreshed_at_ms);
        }
    }

    /// The request of this name.
    pub(crate) fn find(&self, id: &str) -> Option<&Request> {
        self.requests.values().find(|request| request.kept.id == id)
    }

    /// Takes a device's request out, for good or until it is [put back](Self::put_back).
    pub(crate) fn take(&mut self, device: &DeviceId) -> Option<Request> {
        self.requests.remove(device)
    }

    /// A request that could not be decided waits on.
    pub(crate) fn put_back(&mut self, request: Request) {
        self.requests.entry(request.kept.claim.device.clone()).or_insert(request);
    }

    /// The requests that wait, newest first, as a caller of this protocol sees them.
    pub(crate) fn list(&mut self, now: Now, protocol: Protocol) -> Vec<PendingDevice> {
        self.prune(now);
        let mut requests: Vec<&Request> = self.requests.values().collect();
        requests.sort_by_key(|request| std::cmp::Reverse((request.kept.ts, request.serial)));
        requests.into_iter().map(|request| request.shown(protocol)).collect()
    }

    /// Every request: what was asked for, and whether it is on disk.
    #[cfg(test)]
    pub(crate) fn all(&self) -> impl Iterator<Item = (&str, &Grant, bool)> {
        self.requests.values().map(|r| (r.id(), r.grant(), r.on_disk.is_some()))
    }

    /// When the first request ends, or at once when rows are to be removed.
    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        if !self.litter.is_empty() {
            return Some(Duration::ZERO);
        }
        self.requests.values().map(|request| request.until).min()
    }

    /// Forgets the requests whose time is over. Returns their names.
    pub(crate) fn prune(&mut self, now: Now) -> Vec<String> {
        let over = |request: &Request| request.until <= now.mono;
        let gone: Vec<_> = self.requests.iter().filter(|(_, request)| over(request)).collect();
        let gone: Vec<_> =
            gone.into_iter().map(|(device, request)| (device.clone(), request.kept.id.clone())).collect();
        for (device, _) in &gone {
            self.drop(device);
        }
        gone.into_iter().map(|(_, id)| id).collect()
    }

    /// Takes the changes that remove the rows of requests that are no more.
    pub(crate) fn litter(&mut self) -> Vec<Op> {
        std::mem::take(&mut self.litter)
    }

    fn drop(&mut self, device: &DeviceId) {
        if self.requests.remove(device).is_some() {
            self.litter.push(delete(device.to_string()));
        }
    }

    fn make_room(&mut self, ip: Option<&str>) {
        let same_ip = |request: &Request| request.kept.claim.remote_ip.as_deref() == ip;
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
            self.drop(&device);
        }
    }
}

/// The change that removes the row of a device's request.
pub(crate) fn delete(device: impl Into<String>) -> Op {
    Op::DeleteRecord { shelf: Shelf::PairRequests, key: device.into() }
}

impl Request {
    /// Its name.
    pub(crate) fn id(&self) -> &str {
        &self.kept.id
    }

    /// What the device said when it asked last.
    pub(crate) fn claim(&self) -> &Claim {
        &self.kept.claim
    }

    /// What an approval gives.
    pub(crate) fn grant(&self) -> &Grant {
        &self.kept.grant
    }

    fn covers(&self, claim: &Claim) -> bool {
        // Exactly, without what one scope implies in a protocol: approvals are kept for both.
        let held = &self.kept.grant.scopes;
        self.kept.claim.public_key == claim.public_key
            && self.kept.grant.roles.contains(&claim.role)
            && claim.scopes.iter().all(|scope| held.iter().any(|held| held == scope))
    }

    /// The request as a client of this protocol sees it.
    pub(crate) fn shown(&self, protocol: Protocol) -> PendingDevice {
        let v4 = protocol == Protocol::V4;
        let Kept { id, claim, grant, is_repair, ts, .. } = &self.kept;
        PendingDevice {
            request_id: id.clone(),
            device_id: claim.device.to_string(),
            public_key: claim.public_key.clone(),
            display_name: claim.display_name.clone(),
            platform: claim.platform.clone(),
            device_family: claim.device_family.clone().filter(|_| v4),
            client_id: Some(claim.client_id.clone()),
            client_mode: Some(claim.client_mode.clone()).filter(|mode| !mode.is_empty()),
            browser_origin: claim.origin.clone().filter(|_| v4),
            role: claim.role,
            roles: grant.roles.iter().copied().collect(),
            scopes: grant.scopes.clone(),
            remote_ip: claim.remote_ip.clone(),
            // What may be approved without asking anybody never waits.
            silent: false,
            is_repair: *is_repair,
            ts: *ts,
        }
    }
}
