//! What waits for one node (spec 03 §2.10): requests of operators, at most one of each kind, and commands that it
//! could not take while it was in the background. Pure; expired things are gone at the next look.

use serde::{Deserialize, Serialize};
use telson_proto::node::{Priority, WorkAction, WorkItem, WorkKind};

use crate::limits;

/// How long a command waits for a node to come back to the foreground.
const ACTION_MS: u64 = 600_000;
/// How long a request waits when nobody says.
pub(super) const USUAL_MS: u64 = 86_400_000;

/// The queue of a node. See the [module documentation](self).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Work {
    /// Raised by each change.
    #[serde(default)]
    pub(super) revision: u64,
    #[serde(default)]
    items: Vec<WorkItem>,
    #[serde(default)]
    actions: Vec<WorkAction>,
}

impl Work {
    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty() && self.actions.is_empty()
    }

    /// Lets a request wait. One of the same kind that waits already is returned instead, and whether it is new.
    pub(super) fn enqueue(
        &mut self,
        now_ms: u64,
        kind: WorkKind,
        priority: Priority,
        lifetime_ms: u64,
        fresh_id: impl FnOnce() -> String,
    ) -> (WorkItem, bool) {
        self.prune(now_ms);
        if let Some(waiting) = self.items.iter().find(|item| item.kind == kind) {
            return (waiting.clone(), false);
        }
        let item = WorkItem {
            id: fresh_id(),
            kind,
            priority,
            created_at_ms: now_ms,
            expires_at_ms: Some(now_ms.saturating_add(lifetime_ms)),
        };
        self.items.push(item.clone());
        self.revision += 1;
        (item, true)
    }

    /// Takes the most urgent requests out; those that `may` refuses are dropped. Whether more waits.
    pub(super) fn drain(
        &mut self,
        now_ms: u64,
        most: usize,
        may: impl Fn(WorkKind) -> bool,
    ) -> (Vec<WorkItem>, bool) {
        let before = self.items.len();
        self.prune(now_ms);
        self.items.retain(|item| may(item.kind));
        self.items.sort_by_key(|item| (item.priority, item.created_at_ms));
        let rest = self.items.split_off(most.min(self.items.len()));
        let taken = std::mem::replace(&mut self.items, rest);
        if before != self.items.len() {
            self.revision += 1;
        }
        (taken, !self.items.is_empty())
    }

    /// Whether a request for the node's state waits.
    pub(super) fn asks_for_status(&self) -> bool {
        self.items.iter().any(|item| item.kind == WorkKind::Status)
    }

    /// Lets a command wait. False when too many do.
    pub(super) fn defer(&mut self, now_ms: u64, action: WorkAction) -> bool {
        self.prune(now_ms);
        if self.actions.len() >= limits::length(limits::NODE_ACTIONS) {
            return false;
        }
        self.actions.push(action);
        self.revision += 1;
        true
    }

    /// The commands that wait, oldest first; those that `may` refuses are dropped. Whether any was.
    pub(super) fn pull(&mut self, now_ms: u64, may: impl Fn(&str) -> bool) -> (Vec<WorkAction>, bool) {
        let before = self.actions.len();
        self.prune(now_ms);
        self.actions.retain(|action| may(&action.command));
        (self.actions.clone(), before != self.actions.len())
    }

    /// Commands are done. Those of them that waited, and how many still do.
    pub(super) fn acknowledge(&mut self, now_ms: u64, ids: &[&str]) -> (Vec<String>, usize) {
        self.prune(now_ms);
        let done = |action: &WorkAction| ids.contains(&action.id.as_str());
        let acked: Vec<String> =
            self.actions.iter().filter(|action| done(action)).map(|a| a.id.clone()).collect();
        self.actions.retain(|action| !done(action));
        if !acked.is_empty() {
            self.revision += 1;
        }
        (acked, self.actions.len())
    }

    fn prune(&mut self, now_ms: u64) {
        self.items.retain(|item| item.expires_at_ms.is_none_or(|end| end > now_ms));
        self.actions.retain(|action| action.enqueued_at_ms.saturating_add(ACTION_MS) > now_ms);
    }
}
