//! The nodes: machines that lend the assistant a camera, a canvas or a shell (spec 03 §2).

mod settings;

use std::time::Duration;

use crate::auth::Principal;
use crate::gateway::Gateway;
use crate::ids::ConnId;
use crate::store::{Record, Shelf};
use crate::time::Now;

pub use settings::NodeSettings;

/// The nodes. See the [module documentation](self).
#[derive(Default)]
pub struct Nodes {}

impl Nodes {
    /// Takes over what was kept.
    pub(crate) fn restore(&mut self, _now: Now, _shelf: Shelf, _records: Vec<Record>) {}

    /// When something is due.
    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        None
    }
}

impl Gateway {
    /// A connection is gone, whatever its role.
    pub(crate) fn node_gone(&mut self, _conn: ConnId, _principal: &Principal) {}

    /// Does what is due.
    pub(crate) fn node_timeouts(&mut self) {}
}
