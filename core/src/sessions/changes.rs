//! When `sessions.changed` goes out (spec 02 §20.9).
//!
//! The first change of its kind in a session is told at once. The same kind again within 100 ms waits, and with
//! it whatever comes after it, until the session has been quiet for 100 ms, but no longer than 500 ms. Of each
//! kind the last one is told. So one change is never late, many are few, and their order stays.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::ids::{RunId, SessionKey};

use super::Reason;

/// How long a session must be quiet.
const QUIET: Duration = Duration::from_millis(100);
/// How long a change waits at most.
const PATIENCE: Duration = Duration::from_millis(500);

/// A change, and the run that it is about.
pub(super) type Change = (Reason, Option<RunId>);

/// The changes of the last moments. See the [module documentation](self).
#[derive(Debug, Default)]
pub(crate) struct Changes {
    recent: BTreeMap<SessionKey, Recent>,
    /// Sessions with changes that wait, by when they are told.
    due: BTreeSet<(Duration, SessionKey)>,
    /// Sessions without such, by when they are forgotten.
    idle: BTreeSet<(Duration, SessionKey)>,
}

/// The changes of one session.
#[derive(Debug, Default)]
struct Recent {
    /// What was told, and when.
    told: Vec<(Reason, Duration)>,
    waiting: Vec<Change>,
    /// Since when the oldest of them waits.
    since: Duration,
    /// Where the session stands in one of the two sets.
    place: Duration,
}

impl Changes {
    /// A change. Says whether it is to be told at once.
    pub(super) fn note(
        &mut self,
        now: Duration,
        key: &SessionKey,
        reason: Reason,
        run: Option<&RunId>,
    ) -> bool {
        self.forget_idle(now);
        let recent = self.recent.entry(key.clone()).or_default();
        let place = (recent.place, key.clone());
        self.due.remove(&place);
        self.idle.remove(&place);
        recent.told.retain(|(_, at)| *at + QUIET > now);
        let at_once = recent.waiting.is_empty() && recent.told.iter().all(|(told, _)| *told != reason);
        if at_once {
            recent.told.push((reason, now));
            recent.place = now + QUIET;
            self.idle.insert((recent.place, key.clone()));
        } else {
            if recent.waiting.is_empty() {
                recent.since = now;
            }
            recent.waiting.retain(|(waiting, _)| *waiting != reason);
            recent.waiting.push((reason, run.cloned()));
            recent.place = (now + QUIET).min(recent.since + PATIENCE);
            self.due.insert((recent.place, key.clone()));
        }
        at_once
    }

    /// The next session whose changes were to be told by `until`, with them.
    pub(super) fn expired(&mut self, now: Duration, until: Duration) -> Option<(SessionKey, Vec<Change>)> {
        let (_, key) = self.due.first().filter(|(at, _)| *at <= until)?.clone();
        let waiting = self.take(now, &key);
        Some((key, waiting))
    }

    /// The session is gone, and what was to be told of it too.
    pub(super) fn forget(&mut self, key: &SessionKey) {
        if let Some(recent) = self.recent.remove(key) {
            let place = (recent.place, key.clone());
            self.due.remove(&place);
            self.idle.remove(&place);
        }
    }

    /// When [`Self::expired`] has something to say.
    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        self.due.first().map(|(at, _)| *at)
    }

    fn take(&mut self, now: Duration, key: &SessionKey) -> Vec<Change> {
        let Some(recent) = self.recent.get_mut(key) else { return Vec::new() };
        self.due.remove(&(recent.place, key.clone()));
        let waiting = std::mem::take(&mut recent.waiting);
        recent.told = waiting.iter().map(|(reason, _)| (*reason, now)).collect();
        recent.place = now + QUIET;
        self.idle.insert((recent.place, key.clone()));
        waiting
    }

    fn forget_idle(&mut self, now: Duration) {
        while let Some((_, key)) = self.idle.first().filter(|(at, _)| *at <= now).cloned() {
            self.forget(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn key() -> SessionKey {
        SessionKey::new("agent:main:main")
    }

    #[test]
    fn one_change_of_each_kind_is_told_at_once() {
        let mut changes = Changes::default();
        for reason in [Reason::Create, Reason::Send, Reason::Patch] {
            assert!(changes.note(ms(0), &key(), reason, None), "{reason:?}");
        }
        assert!(!changes.note(ms(99), &key(), Reason::Patch, None));
        assert!(changes.note(ms(99), &SessionKey::new("other"), Reason::Patch, None));
        assert!(changes.note(ms(300), &SessionKey::new("other"), Reason::Patch, None), "it was long ago");
    }

    #[test]
    fn repeats_wait_for_quiet_and_the_last_of_each_kind_is_told_in_order() {
        let mut changes = Changes::default();
        let run = RunId::new("2");
        changes.note(ms(0), &key(), Reason::Patch, None);
        assert!(!changes.note(ms(10), &key(), Reason::Patch, None));
        assert!(!changes.note(ms(20), &key(), Reason::Send, Some(&RunId::new("1"))), "order stays");
        assert!(!changes.note(ms(30), &key(), Reason::Patch, None));
        assert!(!changes.note(ms(40), &key(), Reason::Send, Some(&run)));
        assert_eq!(changes.next_deadline(), Some(ms(140)));
        assert_eq!(changes.expired(ms(139), ms(139)), None);
        let told = changes.expired(ms(140), ms(140));
        assert_eq!(told, Some((key(), vec![(Reason::Patch, None), (Reason::Send, Some(run))])));
        assert_eq!((changes.expired(ms(900), ms(900)), changes.next_deadline()), (None, None));
    }

    #[test]
    fn a_session_that_is_never_quiet_is_told_of_every_half_second() {
        let mut changes = Changes::default();
        let mut told = Vec::new();
        for now in (0..2_000).step_by(50) {
            while changes.expired(ms(now), ms(now)).is_some() {
                told.push(now);
            }
            if changes.note(ms(now), &key(), Reason::Patch, None) {
                told.push(now);
            }
        }
        assert_eq!(told, [0, 550, 1_050, 1_550]);
    }

    #[test]
    fn what_is_quiet_or_gone_is_forgotten() {
        let mut changes = Changes::default();
        changes.note(ms(0), &key(), Reason::Patch, None);
        changes.note(ms(1), &key(), Reason::Patch, None);
        changes.forget(&key());
        assert!(changes.note(ms(2), &key(), Reason::Create, None));
        changes.note(ms(500), &SessionKey::new("other"), Reason::Patch, None);
        assert_eq!((changes.recent.len(), changes.due.len(), changes.idle.len()), (1, 0, 1));
    }
}
