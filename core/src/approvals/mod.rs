//! Approvals of commands: one question, one decision; and the standing policy (spec 03 §3).
//!
//! Somebody asks whether a command may run (`question` says what exactly), everyone who may decide hears of it,
//! and the first answer counts. The `ledger` writes the question before anybody hears of it and the decision
//! before anybody is answered. Without an answer nothing runs: not in time, nobody there, the store broken, the
//! gateway restarted [08 S-57]. A yes becomes a grant (`grants`) that lets exactly this run once.
//!
//! [`policy`] and [`evaluate`] judge commands without asking; `own_policy` keeps this gateway's own file.

mod display;
pub mod evaluate;
pub(crate) mod grants;
mod ledger;
mod methods;
mod node_policy;
mod own_policy;
mod plugin;
pub mod policy;
mod question;
mod record;
mod standing;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use telson_proto::Protocol;

use crate::gateway::Gateway;
use crate::ids::{ConnId, Ticket};
use crate::limits;
use crate::store::{Op, Record, Shelf};
use crate::time::Now;

pub(crate) use methods::{
    approval_get, approval_history, approval_resolve, exec_get, exec_list, exec_request, exec_resolve,
    exec_wait, grants_list, grants_revoke,
};
pub(crate) use node_policy::{node_policy_get, node_policy_set};
pub(crate) use own_policy::{policy_get, policy_set};
pub(crate) use plugin::{plugin_list, plugin_request, plugin_resolve, plugin_wait};

use grants::Grants;
use own_policy::OwnPolicy;
use question::Question;
use record::{Approval, Ending, Reason, State};
use standing::{Standing, StandingGrant};

/// The approvals. See the [module documentation](self).
#[derive(Default)]
pub struct Approvals {
    entries: BTreeMap<String, Entry>,
    /// Those that wait for an answer, by when they end.
    due: BTreeSet<(Duration, String)>,
    grants: Grants,
    standing: Standing,
    policy: OwnPolicy,
    /// What a restart has ended, to be written.
    interrupted: Vec<Op>,
}

/// One approval and those who wait for it.
struct Entry {
    record: Approval,
    /// What is asked; only until it is decided, and not for plugins.
    question: Option<Question>,
    /// When it ends by itself, on the monotonic clock.
    until: Duration,
    stage: Stage,
    waiters: Vec<Waiter>,
    /// How large the record is.
    bytes: usize,
}

/// Where an approval is on its way.
enum Stage {
    /// It is being written; nobody has heard of it.
    Writing,
    /// It waits for an answer.
    Waiting,
    /// Its end is being written; those who gave the same answer wait with it.
    Settling(Box<Settling>),
    /// It has ended.
    Over,
}

struct Settling {
    ending: Ending,
    answerers: Vec<Answerer>,
}

/// Somebody who waits for the decision.
struct Waiter {
    ticket: Ticket,
    /// Whether the answer says how it ended.
    with_reason: bool,
    /// Whether it is told as soon as others can hear of it.
    two_phase: bool,
    protocol: Protocol,
}

/// Somebody who has answered and waits until that is written.
struct Answerer {
    ticket: Ticket,
    /// Whether the result is the approval as well.
    with_approval: bool,
}

impl Approvals {
    /// Takes over what was kept. Questions that were open have ended with the process that asked them: whoever
    /// waited is gone, and nothing runs on an answer to them (spec 03 §3.8, 07 P-15).
    pub(crate) fn restore(&mut self, now: Now, shelf: Shelf, records: Vec<Record>) {
        for Record { key, record, .. } in records {
            let text = record.as_str();
            if shelf == Shelf::ApprovalPolicy {
                self.policy.restore(text);
            } else if key.starts_with(standing::KEY) {
                serde_json::from_str::<StandingGrant>(text).map(|grant| self.standing.restore(grant)).ok();
            } else if let Ok(record) = serde_json::from_str::<Approval>(text) {
                self.restore_approval(now, record);
            } else {
                tracing::warn!(target: "gateway", key, "an approval cannot be read and is left out");
            }
        }
    }

    fn restore_approval(&mut self, now: Now, mut record: Approval) {
        if record.state == State::Pending {
            record = record.ended(&Ending::unanswered(Reason::GatewayRestart), now.wall);
            self.interrupted.push(record.put());
        }
        let id = record.id.clone();
        let (bytes, until) = (record.bytes(), Duration::ZERO);
        let entry = Entry { record, question: None, until, stage: Stage::Over, waiters: Vec::new(), bytes };
        self.entries.insert(id, entry);
    }

    /// When something is due.
    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        self.due.first().map(|(at, _)| *at)
    }

    /// How far the approval of this id is.
    fn state(&self, id: &str) -> Option<State> {
        self.entries.get(id).map(|entry| entry.record.state)
    }

    fn pending(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values().filter(|entry| matches!(entry.stage, Stage::Waiting | Stage::Settling(_)))
    }

    /// Forgets what ended too long ago, and the oldest of too many or too much: the removals.
    fn make_room(&mut self, now: Now) -> Vec<Op> {
        let mut over: Vec<(u64, String, usize)> = self
            .entries
            .values()
            .filter(|entry| matches!(entry.stage, Stage::Over))
            .map(|entry| (entry.record.resolved_at_ms.unwrap_or(0), entry.record.id.clone(), entry.bytes))
            .collect();
        over.sort();
        let mut count = over.len();
        let mut bytes: usize = over.iter().map(|(.., bytes)| bytes).sum();
        let mut ops = Vec::new();
        for (at, id, size) in over {
            let old = now.wall.saturating_sub(at) > limits::APPROVALS_KEPT_MS;
            let many = count >= limits::length(limits::APPROVALS_KEPT)
                || bytes > limits::length(limits::APPROVALS_KEPT_BYTES);
            if !old && !many {
                break;
            }
            count -= 1;
            bytes -= size;
            self.entries.remove(&id);
            ops.push(Op::DeleteRecord { shelf: Shelf::Approvals, key: Approval::key(&id) });
        }
        ops
    }
}

impl Gateway {
    /// A connection is gone. Its questions stay: somebody may still answer them, and another connection of the
    /// same program may wait for that (spec 03 §3.1).
    pub(crate) fn approval_asker_gone(&mut self, conn: ConnId) {
        for entry in self.approvals.entries.values_mut() {
            entry.waiters.retain(|waiter| waiter.ticket.conn != conn);
            if let Stage::Settling(settling) = &mut entry.stage {
                settling.answerers.retain(|answerer| answerer.ticket.conn != conn);
            }
        }
    }

    /// Does what is due: questions that nobody has answered end, and allow nothing.
    pub(crate) fn approval_timeouts(&mut self) {
        while let Some((at, id)) = self.approvals.due.first().cloned() {
            if at > self.now.mono {
                break;
            }
            self.approvals.due.remove(&(at, id.clone()));
            self.settle(&id, Ending::unanswered(Reason::Timeout), None);
        }
    }

    /// Writes what the restart has ended.
    pub(crate) fn write_interrupted_approvals(&mut self) {
        let ops = std::mem::take(&mut self.approvals.interrupted);
        if !ops.is_empty() {
            self.store(ops, |_, _| {});
        }
    }
}
