//! Who runs when (spec 02 §10): one run at a time in each session, and only so many at once in each lane.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::ids::{RunId, SessionKey};
use crate::time::earliest;

/// How a waiting run behaves beside others of its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Messages that wait together are answered together [C-27].
    Collects,
    /// The same; and the running turn takes it in when it can.
    Steers,
    /// The same, and it waits on: it was taken in and has a turn as well.
    Backlog,
    /// Each has a turn of its own.
    Alone,
}

impl Kind {
    const fn collects(self) -> bool {
        !matches!(self, Self::Alone)
    }
}

/// A lane that runs of many sessions share.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lane {
    /// What people ask.
    Main,
    /// Runs that tools have started.
    Subagent,
    /// Runs of jobs.
    Cron,
    /// Calls between agents.
    Nested,
    /// Any other.
    Named(String),
}

impl Lane {
    /// The lane of a name, or else of a session's kind.
    pub(super) fn of(name: Option<&str>, key: &SessionKey) -> Self {
        match name.map(str::trim).filter(|name| !name.is_empty()) {
            Some("main") => Self::Main,
            Some("subagent") => Self::Subagent,
            Some("cron") => Self::Cron,
            Some("nested") => Self::Nested,
            Some(other) => Self::Named(other.to_owned()),
            None if key.as_str().contains(":subagent:") => Self::Subagent,
            None if key.as_str().contains(":cron:") => Self::Cron,
            None => Self::Main,
        }
    }
}

/// A turn that may start: the runs that it answers, oldest first; the last one gives it its name.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Turn {
    pub(super) key: SessionKey,
    pub(super) runs: Vec<RunId>,
}

/// How many runs go at once in the lanes that have a width of their own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Widths {
    pub(super) main: usize,
    pub(super) subagent: usize,
}

/// The lanes.
#[derive(Debug)]
pub(super) struct Lanes {
    sessions: BTreeMap<SessionKey, Queue>,
    /// Idle sessions with waiting runs, in the order in which they asked for a place.
    ready: VecDeque<SessionKey>,
    active: BTreeMap<Lane, usize>,
    widths: Widths,
}

/// The runs of one session.
#[derive(Debug, Default)]
struct Queue {
    /// The lane of the turn under way.
    busy: Option<Lane>,
    waiting: VecDeque<Waiting>,
    /// Until when messages that are answered together are still awaited.
    quiet_at: Option<Duration>,
}

#[derive(Debug)]
struct Waiting {
    run: RunId,
    kind: Kind,
    lane: Lane,
}

impl Lanes {
    pub(super) fn new(widths: Widths) -> Self {
        Self { sessions: BTreeMap::new(), ready: VecDeque::new(), active: BTreeMap::new(), widths }
    }

    /// A run asks for its turn. While its session is busy, those that are answered together are awaited until
    /// `quiet_at`.
    pub(super) fn enter(&mut self, key: &SessionKey, run: RunId, kind: Kind, lane: Lane, quiet_at: Duration) {
        let queue = self.sessions.entry(key.clone()).or_default();
        let first = queue.waiting.is_empty();
        queue.waiting.push_back(Waiting { run, kind, lane });
        if queue.busy.is_some() {
            queue.quiet_at = kind.collects().then_some(quiet_at);
        } else if first {
            self.ready.push_back(key.clone());
        } else if queue.quiet_at.is_some() && kind.collects() {
            queue.quiet_at = Some(quiet_at);
        }
    }

    /// The next turn, if there is a place for it. It holds its place until [`Self::leave`].
    pub(super) fn next(&mut self, now: Duration) -> Option<Turn> {
        let place = self.ready.iter().position(|key| self.may_start(key, now))?;
        let key = self.ready.remove(place)?;
        let queue = self.sessions.get_mut(&key)?;
        let first = queue.waiting.pop_front()?;
        let mut runs = vec![first.run];
        while first.kind.collects()
            && let Some(next) = queue.waiting.pop_front_if(|next| next.kind.collects())
        {
            runs.push(next.run);
        }
        queue.quiet_at = None;
        *self.active.entry(first.lane.clone()).or_default() += 1;
        queue.busy = Some(first.lane);
        Some(Turn { key, runs })
    }

    fn may_start(&self, key: &SessionKey, now: Duration) -> bool {
        let Some(queue) = self.sessions.get(key) else { return false };
        let Some(first) = queue.waiting.front() else { return false };
        queue.quiet_at.is_none_or(|at| at <= now)
            && self.active.get(&first.lane).copied().unwrap_or(0) < self.width(&first.lane)
    }

    fn width(&self, lane: &Lane) -> usize {
        match lane {
            Lane::Main => self.widths.main.max(1),
            Lane::Subagent => self.widths.subagent.max(1),
            Lane::Cron | Lane::Nested | Lane::Named(_) => 1,
        }
    }

    /// When a turn becomes ready by time alone.
    pub(super) fn next_deadline(&self) -> Option<Duration> {
        // Those whose lane is full start when a place is free, not by time.
        let quiet = self.ready.iter().filter_map(|key| {
            let at = self.sessions.get(key)?.quiet_at?;
            self.may_start(key, at).then_some(at)
        });
        quiet.fold(None, |first, at| earliest(first, Some(at)))
    }

    /// The session's turn is over.
    pub(super) fn leave(&mut self, key: &SessionKey) {
        let Some(queue) = self.sessions.get_mut(key) else { return };
        let Some(lane) = queue.busy.take() else { return };
        if let Some(active) = self.active.get_mut(&lane) {
            *active -= 1;
            if *active == 0 {
                self.active.remove(&lane);
            }
        }
        if queue.waiting.is_empty() {
            self.sessions.remove(key);
        } else {
            self.ready.push_back(key.clone());
        }
    }

    /// A run waits no longer. Says whether it did wait.
    pub(super) fn withdraw(&mut self, key: &SessionKey, run: &RunId) -> bool {
        let Some(queue) = self.sessions.get_mut(key) else { return false };
        let before = queue.waiting.len();
        queue.waiting.retain(|waiting| waiting.run != *run);
        let waited = queue.waiting.len() < before;
        if queue.waiting.is_empty() && queue.busy.is_none() {
            self.sessions.remove(key);
            self.ready.retain(|ready| ready != key);
        }
        waited
    }

    /// What the running turn is to take in: those that steer wait no longer, those of a backlog wait on.
    pub(super) fn steering(&mut self, key: &SessionKey) -> Vec<(RunId, Kind)> {
        let Some(queue) = self.sessions.get_mut(key) else { return Vec::new() };
        let mut taken = Vec::new();
        queue.waiting.retain_mut(|waiting| match waiting.kind {
            Kind::Steers => {
                taken.push((waiting.run.clone(), Kind::Steers));
                false
            }
            Kind::Backlog => {
                taken.push((waiting.run.clone(), Kind::Backlog));
                waiting.kind = Kind::Collects;
                true
            }
            Kind::Collects | Kind::Alone => true,
        });
        taken
    }

    /// The messages that wait in a session, oldest first; not those that have turns of their own by nature.
    pub(super) fn waiting(&self, key: &SessionKey) -> impl Iterator<Item = &RunId> {
        let queue = self.sessions.get(key);
        queue.into_iter().flat_map(|queue| &queue.waiting).map(|waiting| &waiting.run)
    }

    /// Whether nothing runs and nothing waits.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.sessions.is_empty() && self.ready.is_empty() && self.active.is_empty()
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

    fn lanes(main: usize) -> Lanes {
        Lanes::new(Widths { main, subagent: 8 })
    }

    fn enter(lanes: &mut Lanes, session: &str, name: &str, kind: Kind) {
        let session = key(session);
        let lane = Lane::of(None, &session);
        lanes.enter(&session, run(name), kind, lane, Duration::ZERO);
    }

    fn started(lanes: &mut Lanes) -> Option<Vec<String>> {
        lanes.next(Duration::ZERO).map(|turn| turn.runs.iter().map(|run| run.as_str().to_owned()).collect())
    }

    #[test]
    fn one_run_at_a_time_in_a_session() {
        let mut lanes = lanes(4);
        enter(&mut lanes, "a", "1", Kind::Alone);
        enter(&mut lanes, "a", "2", Kind::Alone);
        enter(&mut lanes, "b", "3", Kind::Alone);
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
        let mut lanes = lanes(1);
        for name in ["c", "a", "b"] {
            enter(&mut lanes, name, name, Kind::Collects);
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
        let mut lanes = lanes(4);
        enter(&mut lanes, "a", "0", Kind::Collects);
        assert_eq!(started(&mut lanes), Some(vec!["0".to_owned()]));
        for (name, kind) in
            [("1", Kind::Collects), ("2", Kind::Collects), ("3", Kind::Alone), ("4", Kind::Collects)]
        {
            enter(&mut lanes, "a", name, kind);
        }
        let turns = [vec!["1", "2"], vec!["3"], vec!["4"]];
        for turn in turns {
            lanes.leave(&key("a"));
            assert_eq!(started(&mut lanes), Some(turn.into_iter().map(str::to_owned).collect()));
        }
    }

    #[test]
    fn a_run_may_leave_the_queue() {
        let mut lanes = lanes(1);
        enter(&mut lanes, "a", "1", Kind::Collects);
        enter(&mut lanes, "b", "2", Kind::Collects);
        assert!(lanes.withdraw(&key("a"), &run("1")));
        assert!(!lanes.withdraw(&key("a"), &run("1")));
        assert_eq!(started(&mut lanes), Some(vec!["2".to_owned()]));
        assert!(!lanes.withdraw(&key("b"), &run("2")), "it runs");
        lanes.leave(&key("b"));
        lanes.leave(&key("b"));
        assert!(lanes.is_empty());
    }

    #[test]
    fn lanes_do_not_hold_each_other_up() {
        let mut lanes = lanes(1);
        enter(&mut lanes, "a", "1", Kind::Alone);
        enter(&mut lanes, "b", "2", Kind::Alone);
        enter(&mut lanes, "agent:main:subagent:x", "3", Kind::Alone);
        assert_eq!(started(&mut lanes), Some(vec!["1".to_owned()]));
        assert_eq!(started(&mut lanes), Some(vec!["3".to_owned()]));
        assert_eq!(started(&mut lanes), None);
    }

    #[test]
    fn messages_for_a_busy_session_are_awaited_until_they_are_quiet() {
        let mut lanes = lanes(4);
        enter(&mut lanes, "a", "0", Kind::Collects);
        assert!(started(&mut lanes).is_some());
        for (name, quiet) in [("1", 100), ("2", 250)] {
            lanes.enter(&key("a"), run(name), Kind::Collects, Lane::Main, Duration::from_millis(quiet));
        }
        lanes.leave(&key("a"));
        assert_eq!(lanes.next_deadline(), Some(Duration::from_millis(250)));
        assert_eq!(lanes.next(Duration::from_millis(249)), None);
        let turn = lanes.next(Duration::from_millis(250)).map(|turn| turn.runs);
        assert_eq!(turn, Some(vec![run("1"), run("2")]));
        assert_eq!(lanes.next_deadline(), None);
    }

    #[test]
    fn what_steers_is_taken_in_and_a_backlog_waits_on() {
        let mut lanes = lanes(4);
        enter(&mut lanes, "a", "0", Kind::Collects);
        assert!(started(&mut lanes).is_some());
        enter(&mut lanes, "a", "1", Kind::Steers);
        enter(&mut lanes, "a", "2", Kind::Backlog);
        enter(&mut lanes, "a", "3", Kind::Alone);
        assert_eq!(lanes.steering(&key("a")), [(run("1"), Kind::Steers), (run("2"), Kind::Backlog)]);
        assert!(lanes.steering(&key("a")).is_empty());
        assert_eq!(lanes.waiting(&key("a")).cloned().collect::<Vec<_>>(), [run("2"), run("3")]);
    }
}
