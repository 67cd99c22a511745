//! Who runs when (spec 02 §10): one run at a time in each session, and only so many at once in the main lane.

use std::collections::{BTreeMap, VecDeque};

use crate::ids::{RunId, SessionKey};

/// How a waiting run behaves beside others of its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Messages that wait together are answered together [C-27].
    Collects,
    /// Each has a turn of its own.
    Alone,
}

/// A turn that may start: the runs that it answers, oldest first; the last one gives it its name.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Turn {
    pub(super) key: SessionKey,
    pub(super) runs: Vec<RunId>,
}

/// The lanes.
#[derive(Debug)]
pub(super) struct Lanes {
    sessions: BTreeMap<SessionKey, Lane>,
    /// Idle sessions with waiting runs, in the order in which they asked for a place.
    ready: VecDeque<SessionKey>,
    active: usize,
    width: usize,
}

#[derive(Debug, Default)]
struct Lane {
    busy: bool,
    waiting: VecDeque<(RunId, Kind)>,
}

impl Lanes {
    pub(super) fn new(width: usize) -> Self {
        Self { sessions: BTreeMap::new(), ready: VecDeque::new(), active: 0, width: width.max(1) }
    }

    /// A run asks for its turn.
    pub(super) fn enter(&mut self, key: &SessionKey, run: RunId, kind: Kind) {
        let lane = self.sessions.entry(key.clone()).or_default();
        let first = lane.waiting.is_empty();
        lane.waiting.push_back((run, kind));
        if first && !lane.busy {
            self.ready.push_back(key.clone());
        }
    }

    /// The next turn, if there is a place for it. It holds its place until [`Self::leave`].
    pub(super) fn next(&mut self) -> Option<Turn> {
        if self.active >= self.width {
            return None;
        }
        let key = self.ready.pop_front()?;
        let lane = self.sessions.get_mut(&key)?;
        let (first, kind) = lane.waiting.pop_front()?;
        let mut runs = vec![first];
        while kind == Kind::Collects
            && let Some((run, _)) = lane.waiting.pop_front_if(|(_, kind)| *kind == Kind::Collects)
        {
            runs.push(run);
        }
        lane.busy = true;
        self.active += 1;
        Some(Turn { key, runs })
    }

    /// The session's turn is over.
    pub(super) fn leave(&mut self, key: &SessionKey) {
        let Some(lane) = self.sessions.get_mut(key).filter(|lane| lane.busy) else { return };
        lane.busy = false;
        self.active -= 1;
        if lane.waiting.is_empty() {
            self.sessions.remove(key);
        } else {
            self.ready.push_back(key.clone());
        }
    }

    /// A run waits no longer. Says whether it did wait.
    pub(super) fn withdraw(&mut self, key: &SessionKey, run: &RunId) -> bool {
        let Some(lane) = self.sessions.get_mut(key) else { return false };
        let before = lane.waiting.len();
        lane.waiting.retain(|(waiting, _)| waiting != run);
        let waited = lane.waiting.len() < before;
        if lane.waiting.is_empty() && !lane.busy {
            self.sessions.remove(key);
            self.ready.retain(|ready| ready != key);
        }
        waited
    }

    /// Whether nothing runs and nothing waits.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.sessions.is_empty() && self.ready.is_empty() && self.active == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> SessionKey {
        SessionKey::new(name)
    }

    fn run(name: &str) -> RunId {
        RunId::new(name)
    }

    fn started(lanes: &mut Lanes) -> Option<Vec<String>> {
        lanes.next().map(|turn| turn.runs.iter().map(|run| run.as_str().to_owned()).collect())
    }

    #[test]
    fn one_run_at_a_time_in_a_session() {
        let mut lanes = Lanes::new(4);
        lanes.enter(&key("a"), run("1"), Kind::Alone);
        lanes.enter(&key("a"), run("2"), Kind::Alone);
        lanes.enter(&key("b"), run("3"), Kind::Alone);
        assert_eq!(started(&mut lanes), Some(vec!["1".to_owned()]));
        assert_eq!(started(&mut lanes), Some(vec!["3".to_owned()]));
        assert_eq!(started(&mut lanes), None);
        lanes.leave(&key("a"));
        assert_eq!(started(&mut lanes), Some(vec!["2".to_owned()]));
        lanes.leave(&key("a"));
        lanes.leave(&key("b"));
        assert!(lanes.is_empty());
    }

    #[test]
    fn only_so_many_at_once_and_the_others_in_order() {
        let mut lanes = Lanes::new(1);
        for name in ["c", "a", "b"] {
            lanes.enter(&key(name), run(name), Kind::Collects);
        }
        for name in ["c", "a", "b"] {
            assert_eq!(started(&mut lanes), Some(vec![name.to_owned()]));
            assert_eq!(started(&mut lanes), None);
            lanes.leave(&key(name));
        }
        assert!(lanes.is_empty());
    }

    #[test]
    fn waiting_messages_are_answered_together_up_to_a_run_that_stands_alone() {
        let mut lanes = Lanes::new(4);
        lanes.enter(&key("a"), run("0"), Kind::Collects);
        assert_eq!(started(&mut lanes), Some(vec!["0".to_owned()]));
        for (name, kind) in
            [("1", Kind::Collects), ("2", Kind::Collects), ("3", Kind::Alone), ("4", Kind::Collects)]
        {
            lanes.enter(&key("a"), run(name), kind);
        }
        let turns = [vec!["1", "2"], vec!["3"], vec!["4"]];
        for turn in turns {
            lanes.leave(&key("a"));
            assert_eq!(started(&mut lanes), Some(turn.into_iter().map(str::to_owned).collect()));
        }
    }

    #[test]
    fn a_run_may_leave_the_queue() {
        let mut lanes = Lanes::new(1);
        lanes.enter(&key("a"), run("1"), Kind::Collects);
        lanes.enter(&key("b"), run("2"), Kind::Collects);
        assert!(lanes.withdraw(&key("a"), &run("1")));
        assert!(!lanes.withdraw(&key("a"), &run("1")));
        assert_eq!(started(&mut lanes), Some(vec!["2".to_owned()]));
        assert!(!lanes.withdraw(&key("b"), &run("2")), "it runs");
        lanes.leave(&key("b"));
        lanes.leave(&key("b"));
        assert!(lanes.is_empty());
    }
}
