//! The tailnet: the claim on its HTTPS name, and who its users are (spec 05 §8).
//!
//! The program `tailscale` is asked and told by processes: `claim` holds a foreground `serve` or `funnel` that
//! brings what comes through the tailnet to a listener of its own, `whois` asks whose an address is, `report`
//! reads what the program says. The route ends with the process that holds it, and that ends with the gateway.

mod ask;
mod claim;
mod report;
mod settings;
#[cfg(test)]
mod tests;
mod whois;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::gateway::Gateway;
use crate::ids::{ConnId, ProcessId};
use crate::peer::Listening;
use crate::process::ProcessEvent;
use crate::time::earliest;

use ask::{About, Question};
use claim::Claim;
pub use settings::{Exposure, TailscaleSettings};
pub(crate) use whois::Owner;
use whois::Whois;

/// The tailnet. See the [module documentation](self).
#[derive(Default)]
pub struct Tailscale {
    claim: Claim,
    whois: Whois,
    questions: BTreeMap<ProcessId, Question>,
    /// This machine's name in the tailnet.
    name: Option<String>,
}

impl Tailscale {
    /// When something is due.
    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        earliest(self.claim.next_deadline(), self.questions.values().map(|question| question.until).min())
    }

    /// What is missing although the operator wants it.
    pub(crate) fn degraded(&self) -> Option<&str> {
        self.claim.fault.as_deref().filter(|_| !self.claim.is_active())
    }

    /// A connection is gone.
    pub(crate) fn gone(&mut self, conn: ConnId) {
        self.whois.gone(conn);
    }

    /// The rules of trust have changed: nothing that was told under the old ones counts.
    pub(crate) fn forget_owners(&mut self) {
        self.whois.forget();
    }
}

impl Gateway {
    /// The adapter listens.
    pub(crate) fn listening(&mut self, listening: &Listening) {
        self.claim_for(listening.tailnet);
    }

    /// The gateway serves.
    pub(crate) fn start_tailscale(&mut self) {
        self.begin_claim();
    }

    /// The gateway stops: the route ends, and nobody is asked any more.
    pub(crate) fn stop_tailscale(&mut self) {
        self.end_claim();
        self.forget_questions(|_| true);
        self.owners_never_known();
    }

    /// Why the gateway stops by itself: the operator wants none that Tailscale does not stand in front of.
    pub fn tailnet_fault(&self) -> Option<&str> {
        self.tailscale.claim.fault.as_deref().filter(|_| self.tailscale.claim.fatal)
    }

    /// A process of the tailnet's program has moved.
    pub(crate) fn tailscale_moved(&mut self, id: ProcessId, event: ProcessEvent) {
        if self.tailscale.claim.is_held_by(id) {
            self.holder_moved(event);
        } else {
            self.question_moved(id, event);
        }
    }

    /// A question is answered; `None` when the program failed, or was too slow or too loud.
    fn tailscale_answered(&mut self, about: About, answer: Option<&str>) {
        match about {
            About::Daemon => self.daemon_answered(answer),
            About::Route => self.route_answered(answer),
            About::Address(address) => self.whois_answered(address, answer),
        }
    }

    /// Does what is due.
    pub(crate) fn tailscale_timeouts(&mut self) {
        self.question_timeouts();
        self.claim_timeouts();
    }
}

/// What a program wrote as it may stand in the log: short, and without control characters.
fn shown(line: &str) -> String {
    line.chars().filter(|c| !c.is_control()).take(256).collect()
}
