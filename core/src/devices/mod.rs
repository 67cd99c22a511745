//! The devices that may connect, and their tokens (spec 01 §5).
//!
//! A device is a key pair. It may connect in the roles and up to the scopes that it was approved for, and it
//! may hold a few tokens that stand in for the gateway's own secret. A device on the gateway's own host is
//! approved at once; any other waits for somebody's decision.
//!
//! Memory follows at once what a connect or a decision changes, and the row is written before either is
//! answered. A row that could not be written is remembered as such and goes with the device's next connect; a row
//! that is being written is written once more, so that nobody is told of what may still be lost.

mod decide;
mod issuer;
mod methods;
mod nodes;
mod pairing;
mod pending;
mod record;
mod rules;
mod secrets;
mod setup;
mod setup_methods;
#[cfg(test)]
mod tests;
mod upgrade;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use telson_proto::device::ApprovedVia;
use telson_proto::{Json, Protocol, Role, Scopes};

use crate::gateway::Gateway;
use crate::ids::{ConnId, DeviceId};
use crate::store::{DeviceRecord, Op, Record, Shelf};
use crate::time::{Now, earliest};

pub(crate) use decide::{approve, reject, remove, rename};
pub(crate) use methods::list;
pub(crate) use pairing::{Claim, Grant, PairingReason};
pub(crate) use pending::Asked;
use pending::Pending;
use record::Paired;
pub(crate) use record::{Held, Paired as PairedDevice, TokenFault, hash};
pub(crate) use secrets::{revoke, rotate};
use setup::Setups;
pub(crate) use setup::Shown;
pub(crate) use setup_methods::{issue, status};
use upgrade::Upgrades;
pub(crate) use upgrade::{request as request_upgrade, wait as wait_upgrade};

/// The devices. See the [module documentation](self).
#[derive(Default)]
pub struct Devices {
    paired: BTreeMap<DeviceId, Paired>,
    pub(crate) pending: Pending,
    pub(crate) setups: Setups,
    upgrades: Upgrades,
    /// Devices whose row on disk is behind.
    unsaved: BTreeSet<DeviceId>,
    /// How often each device's row is being written.
    writing: BTreeMap<DeviceId, u32>,
}

impl Devices {
    /// Takes over what was kept. A row that cannot be read gives its device no rights; it stays as it is.
    pub(crate) fn restore(&mut self, records: Vec<DeviceRecord>) {
        for DeviceRecord { id, record } in records {
            match serde_json::from_str(record.as_str()) {
                Ok(paired) => {
                    self.paired.insert(id, paired);
                }
                Err(error) => {
                    tracing::error!(
                        target: "gateway", device = %id, %error,
                        "a paired device's row cannot be read; the device must be approved again"
                    );
                }
            }
        }
    }

    /// Takes over requests and setup codes.
    pub(crate) fn restore_records(&mut self, now: Now, shelf: Shelf, records: Vec<Record>) {
        match shelf {
            Shelf::PairRequests => self.pending.restore(now, records),
            _ => self.setups.restore(now, records),
        }
    }

    /// When a request or a setup code ends.
    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        earliest(self.pending.next_deadline(), self.setups.next_deadline())
    }

    /// Checks a token that a proven device presents.
    pub(crate) fn check_token(
        &self,
        device: &DeviceId,
        role: Role,
        value: &str,
        protocol: Protocol,
    ) -> Result<Held, TokenFault> {
        self.paired.get(device).ok_or(TokenFault::NotPaired)?.check(role, value, protocol)
    }

    /// Whether the device is paired.
    pub(crate) fn is_paired(&self, device: &DeviceId) -> bool {
        self.paired.contains_key(device)
    }

    /// What the claim must be approved for, if anything.
    pub(crate) fn decide(&self, claim: &Claim) -> Option<PairingReason> {
        pairing::decide(self.paired.get(&claim.device), claim)
    }

    /// What the device is approved for.
    pub(crate) fn approvals(&self, device: &DeviceId) -> Option<(Vec<Role>, Scopes)> {
        let record = self.paired.get(device)?;
        Some((record.roles.iter().copied().collect(), record.scopes.clone()))
    }

    /// Approves a claim. Returns the id of the request that waited, if one did; its row is to be removed.
    pub(crate) fn approve(
        &mut self,
        now: Now,
        claim: &Claim,
        grant: &Grant,
        via: ApprovedVia,
    ) -> Option<String> {
        let old = self.paired.get(&claim.device);
        let record = pairing::approved(old, claim, grant, via, now.wall);
        self.paired.insert(claim.device.clone(), record);
        self.unsaved.insert(claim.device.clone());
        self.pending.take(&claim.device).map(|request| request.id().to_owned())
    }

    /// Forgets the devices that were approved silently as the same client and have not come back: another key
    /// has taken their place (spec 01 §5.2). Returns them; their rows are to be removed.
    pub(crate) fn supersede(
        &mut self,
        now: Now,
        claim: &Claim,
        is_connected: impl Fn(&DeviceId) -> bool,
    ) -> Vec<DeviceId> {
        const YOUNG_MS: u64 = 60_000;
        let mode = Some(&claim.client_mode).filter(|mode| !mode.is_empty());
        let over = |(id, record): &(&DeviceId, &Paired)| {
            **id != claim.device
                && record.approved_via == ApprovedVia::Silent
                && record.client_id.as_ref() == Some(&claim.client_id)
                && record.client_mode.as_ref() == mode
                && record.display_name == claim.display_name
                && record.approved_at_ms.saturating_add(YOUNG_MS) <= now.wall
                && !is_connected(id)
        };
        let over: Vec<DeviceId> = self.paired.iter().filter(over).map(|(id, _)| id.clone()).collect();
        for id in &over {
            self.paired.remove(id);
        }
        over
    }

    /// Notes that the claim waits for an approval.
    pub(crate) fn ask(&mut self, now: Now, claim: &Claim, fresh_id: impl FnOnce() -> String) -> Asked {
        let is_repair = self.is_paired(&claim.device);
        self.pending.ask(now, claim, is_repair, fresh_id)
    }

    /// Whether a device is approved for what a connection of it has.
    pub(crate) fn allows(&self, device: &DeviceId, role: Role, scopes: &Scopes, protocol: Protocol) -> bool {
        let record = self.paired.get(device);
        record.is_some_and(|record| record.roles.contains(&role) && record.scopes.covers(scopes, protocol))
    }

    /// Whether a device has a good token of this hash for the role.
    pub(crate) fn has_token(&self, device: &DeviceId, role: Role, hash: &str) -> bool {
        self.paired.get(device).is_some_and(|record| record.has_token(role, hash))
    }

    /// A device that is approved for the claim connects.
    pub(crate) fn connected(&mut self, now: Now, claim: &Claim) {
        let Some(record) = self.paired.get_mut(&claim.device) else { return };
        let stale = record
            .last_seen_at_ms
            .is_none_or(|last| last.abs_diff(now.wall) >= crate::limits::DEVICE_USED_STEP_MS);
        let changed = pairing::describe(record, claim);
        if stale {
            record.last_seen_at_ms = Some(now.wall);
        }
        if changed || stale {
            self.unsaved.insert(claim.device.clone());
        }
    }

    /// The device connected with this token.
    pub(crate) fn used_token(&mut self, now: Now, device: &DeviceId, role: Role, value: &str) {
        let Some(record) = self.paired.get_mut(device) else { return };
        if record.used(role, value, now.wall) {
            self.unsaved.insert(device.clone());
        }
    }

    /// Gives the device a new token of these scopes.
    pub(crate) fn add_token(&mut self, now: Now, device: &DeviceId, role: Role, value: &str, scopes: Scopes) {
        if let Some(record) = self.paired.get_mut(device) {
            record.add_token(role, value, scopes, now.wall);
            self.unsaved.insert(device.clone());
        }
    }

    /// The change that brings the device's row up to date, if it is behind or if nobody knows yet whether it is.
    /// [`Self::saved`] is to be told how it went.
    pub(crate) fn save(&mut self, device: &DeviceId) -> Option<Op> {
        let due = self.unsaved.contains(device) || self.writing.contains_key(device);
        due.then(|| self.write(device))
    }

    /// The change that brings the device's row up to date, in any case.
    fn write(&mut self, device: &DeviceId) -> Op {
        self.unsaved.remove(device);
        *self.writing.entry(device.clone()).or_default() += 1;
        match self.paired.get(device) {
            Some(record) => Op::PutDevice(DeviceRecord { id: device.clone(), record: Json::of(record) }),
            None => Op::DeleteDevice(device.clone()),
        }
    }

    /// How the writing of a device's row went.
    pub(crate) fn saved(&mut self, device: &DeviceId, written: bool) {
        if let Some(count) = self.writing.get_mut(device) {
            *count -= 1;
            if *count == 0 {
                self.writing.remove(device);
            }
        }
        if !written {
            self.unsaved.insert(device.clone());
        }
    }

    /// Takes a change back that could not be written, unless something else has happened to the device since.
    fn undo(&mut self, device: &DeviceId, changed: &Paired, before: Option<Paired>) {
        if self.paired.get(device) != Some(changed) {
            return;
        }
        match before {
            Some(before) => self.paired.insert(device.clone(), before),
            None => self.paired.remove(device),
        };
    }

    /// Everything that is known of devices and of requests that wait, for tests that compare it.
    #[cfg(test)]
    pub(crate) fn in_mind(&self) -> String {
        let pending: Vec<_> = self.pending.all().collect();
        format!("{:?} {pending:?} {:?} {:?}", self.paired, self.unsaved, self.writing)
    }

    /// A connection is gone; it waits for nothing any more.
    pub(crate) fn gone(&mut self, conn: ConnId) {
        self.upgrades.gone(conn);
    }
}

impl Gateway {
    /// Ends requests and setup codes whose time has come.
    pub(crate) fn device_timeouts(&mut self) {
        let expired = self.devices.pending.prune(self.now);
        self.devices.setups.prune(self.now);
        let mut ops = self.devices.pending.litter();
        ops.extend(self.devices.setups.litter());
        for id in expired {
            tracing::info!(target: "gateway", request = %id, "a pairing request has ended undecided");
            self.settle_upgrade(&id, &upgrade::Verdict::Expired);
        }
        if !ops.is_empty() {
            self.store(ops, |_, _| {});
        }
    }
}
