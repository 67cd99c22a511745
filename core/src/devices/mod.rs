//! The devices that may connect, and their tokens (spec 01 §5).
//!
//! A device is a key pair. It may connect in the roles and up to the scopes that it was approved for, and it
//! may hold a few tokens that stand in for the gateway's own secret. A device on the gateway's own host is
//! approved at once; any other waits for somebody's decision.
//!
//! Memory follows at once what a connect changes and the row is written before the connect is answered. A row
//! that could not be written is remembered as such and goes with the device's next connect.

mod methods;
mod nodes;
mod pairing;
mod pending;
mod record;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use telson_proto::device::ApprovedVia;
use telson_proto::{Json, Protocol, Role, Scopes};

use crate::gateway::Gateway;
use crate::ids::DeviceId;
use crate::store::{DeviceRecord, Op, Record, Shelf};
use crate::time::Now;

pub(crate) use methods::list;
pub(crate) use pairing::{Claim, PairingReason};
use pending::Pending;
use record::Paired;
pub(crate) use record::{Held, Paired as PairedDevice, TokenFault};

/// The devices. See the [module documentation](self).
#[derive(Default)]
pub struct Devices {
    paired: BTreeMap<DeviceId, Paired>,
    pending: Pending,
    /// Devices whose row on disk is behind.
    unsaved: BTreeSet<DeviceId>,
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
    pub(crate) fn restore_records(&mut self, _now: Now, _shelf: Shelf, _records: Vec<Record>) {}

    /// When a request or a setup code ends.
    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        None
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

    /// Approves the claim without asking anybody. Returns the id of the request that waited, if one did.
    pub(crate) fn approve_silently(&mut self, now: Now, claim: &Claim) -> Option<String> {
        let old = self.paired.get(&claim.device);
        let record = pairing::approved(old, claim, ApprovedVia::Silent, now.wall);
        self.paired.insert(claim.device.clone(), record);
        self.unsaved.insert(claim.device.clone());
        self.pending.settle(&claim.device)
    }

    /// Notes that the claim waits for an approval. Returns the request's id.
    pub(crate) fn ask(&mut self, now: Now, claim: &Claim, fresh_id: impl FnOnce() -> String) -> String {
        let is_repair = self.is_paired(&claim.device);
        self.pending.ask(now, claim, is_repair, fresh_id)
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

    /// The change that brings the device's row up to date, if it is behind. It counts as written until
    /// [`Self::not_saved`] says otherwise.
    pub(crate) fn save(&mut self, device: &DeviceId) -> Option<Op> {
        if !self.unsaved.remove(device) {
            return None;
        }
        let record = self.paired.get(device)?;
        Some(Op::PutDevice(DeviceRecord { id: device.clone(), record: Json::of(record) }))
    }

    /// The device's row could not be written.
    pub(crate) fn not_saved(&mut self, device: &DeviceId) {
        if self.paired.contains_key(device) {
            self.unsaved.insert(device.clone());
        }
    }
}

impl Gateway {
    /// Ends requests and setup codes whose time has come.
    pub(crate) fn device_timeouts(&mut self) {}
}
