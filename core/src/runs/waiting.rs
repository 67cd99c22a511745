//! Words that wait for their turn, for those who read a conversation (spec 02 §20.5, `pendingInputs`).

use crate::ids::{RunId, SessionKey};

use super::{Run, Runs};

impl Runs {
    /// The runs of a session that have not begun, in the order of their admission.
    pub(crate) fn waiting(&self, key: &SessionKey) -> Vec<&Run> {
        let mut waiting: Vec<&Run> =
            self.open.values().filter(|run| run.key == *key && !run.has_begun()).collect();
        waiting.sort_by_key(|run| run.admitted.mono);
        waiting
    }
}

impl Run {
    /// Its id.
    pub(crate) fn id(&self) -> &RunId {
        &self.id
    }

    /// The words that it answers.
    pub(crate) fn words(&self) -> &str {
        &self.ask.text
    }

    /// When it was admitted, in epoch milliseconds.
    pub(crate) fn admitted_at(&self) -> u64 {
        self.admitted.wall
    }
}
