//! The tailnet: the claim on its HTTPS name, and who its users are (spec 05 §8).

use std::time::Duration;

use crate::gateway::Gateway;
use crate::ids::ProcessId;
use crate::peer::Listening;
use crate::process::ProcessEvent;

/// The tailnet. See the [module documentation](self).
#[derive(Default)]
pub struct Tailscale {}

impl Tailscale {
    /// When something is due.
    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        None
    }
}

impl Gateway {
    /// The adapter listens.
    pub(crate) fn listening(&mut self, _listening: Listening) {}

    /// A process of the tailnet's program has moved.
    pub(crate) fn tailscale_moved(&mut self, _id: ProcessId, _event: ProcessEvent) {}

    /// Does what is due.
    pub(crate) fn tailscale_timeouts(&mut self) {}
}
