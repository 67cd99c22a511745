//! The place of one session: what it is, and what it was before changes that are not on disk yet.

use std::collections::VecDeque;

use super::Session;

/// A state of the place: a session, or none.
type State = Option<Session>;

/// See the [module documentation](self).
#[derive(Debug, Default)]
pub(super) struct Slot {
    current: State,
    /// What was there when the change that is being made began.
    draft: Option<Box<State>>,
    /// Changes on their way to the store, oldest first.
    pending: VecDeque<Pending>,
}

#[derive(Debug)]
struct Pending {
    revision: u64,
    /// What was there before the change.
    before: Box<State>,
    failed: bool,
}

impl Slot {
    pub(super) fn holding(session: Session) -> Self {
        Self { current: Some(session), ..Self::default() }
    }

    pub(super) fn current(&self) -> Option<&Session> {
        self.current.as_ref()
    }

    /// Replaces the state without a note of what was there.
    pub(super) fn put(&mut self, state: State) {
        self.current = state;
    }

    /// A change begins, unless one is being made.
    pub(super) fn begin(&mut self) {
        if self.draft.is_none() {
            self.draft = Some(Box::new(self.current.clone()));
        }
    }

    /// The change that is being made goes to the store under this number; numbers rise.
    pub(super) fn commit(&mut self, revision: u64) {
        self.begin();
        if let Some(before) = self.draft.take() {
            self.pending.push_back(Pending { revision, before, failed: false });
        }
    }

    /// The change is on disk, and with it every earlier one: rows are written whole.
    pub(super) fn stored(&mut self, revision: u64) {
        self.pending.retain(|change| change.revision > revision);
    }

    /// The change is not on disk. The state to restore, when nothing later builds on it.
    pub(super) fn failed(&mut self, revision: u64) -> Option<State> {
        for change in &mut self.pending {
            change.failed |= change.revision == revision;
        }
        if self.draft.is_some() { None } else { self.unwind() }
    }

    /// Drops the failed changes that nothing later builds on; the state before the first of them.
    fn unwind(&mut self) -> Option<State> {
        let mut restore = None;
        while self.pending.back().is_some_and(|change| change.failed) {
            restore = self.pending.pop_back().map(|change| *change.before);
        }
        restore
    }

    /// Whether the place holds nothing and waits for nothing.
    pub(super) fn is_idle(&self) -> bool {
        self.current.is_none() && self.draft.is_none() && self.pending.is_empty()
    }
}
