//! Approvals of commands: one question, one decision; and the standing policy (spec 03 §3).

pub mod evaluate;
pub(crate) mod grants;
pub mod policy;
#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::gateway::Gateway;
use crate::ids::ConnId;
use crate::store::{Record, Shelf};
use crate::time::Now;

/// The approvals. See the [module documentation](self).
#[derive(Default)]
pub struct Approvals {}

impl Approvals {
    /// Takes over what was kept.
    pub(crate) fn restore(&mut self, _now: Now, _shelf: Shelf, _records: Vec<Record>) {}

    /// When something is due.
    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        None
    }
}

impl Gateway {
    /// A connection is gone; it may have asked for approvals.
    pub(crate) fn approval_asker_gone(&mut self, _conn: ConnId) {}

    /// Does what is due.
    pub(crate) fn approval_timeouts(&mut self) {}
}
