//! Ends from outside: aborts, interrupted sessions, a stopping gateway, and the runs that the last process
//! left open (spec 02 §11) [C-17, C-19, C-29].

use std::collections::BTreeSet;

use crate::gateway::Gateway;
use crate::ids::{RunId, SessionKey};
use crate::messages::Outcome;
use crate::sessions::RunStatus;
use crate::store::{Op, OpenRun};

use super::admit::interrupted;
use super::memory::{Ended, How, timed_out};
use super::settle::End;
use super::{Family, Run, Stage, Watcher};

impl Gateway {
    /// Aborts a run, active or queued. One whose admission is not stored yet ends as soon as it is.
    pub(crate) fn abort_run(&mut self, id: &RunId, reason: &str) {
        let Some(run) = self.runs.open.get_mut(id) else { return };
        match run.stage {
            Stage::Admitting => run.cut = Some(reason.to_owned()),
            Stage::Settling => {}
            Stage::Waiting
            | Stage::Loading
            | Stage::Streaming { .. }
            | Stage::Calling(_)
            | Stage::Compacting(_) => {
                self.end_run(id, End::Aborted { reason: reason.to_owned() });
            }
        }
    }

    /// Calls `then` when none of `runs` is open any more.
    pub(crate) fn when_gone(
        &mut self,
        runs: impl IntoIterator<Item = RunId>,
        then: impl FnOnce(&mut Self) + Send + 'static,
    ) {
        let left: BTreeSet<RunId> = runs.into_iter().filter(|run| self.runs.open.contains_key(run)).collect();
        if left.is_empty() {
            then(self);
        } else {
            self.runs.watchers.push(Watcher { left, then: Box::new(then) });
        }
    }

    /// The open runs of a session, in no particular order of time.
    pub(crate) fn runs_of(&self, key: &SessionKey) -> Vec<RunId> {
        self.sessions.active_runs(key).cloned().collect()
    }

    /// Aborts every active or queued run of a session and calls `then` once none is open.
    pub(crate) fn interrupt_session(
        &mut self,
        key: &SessionKey,
        reason: &'static str,
        then: impl FnOnce(&mut Self) + Send + 'static,
    ) {
        let runs = self.runs_of(key);
        for run in &runs {
            self.abort_run(run, reason);
        }
        self.when_gone(runs, then);
    }

    /// Ends the runs that have not had their turn.
    pub(crate) fn abort_waiting_runs(&mut self, reason: &str) {
        let waiting: Vec<RunId> =
            self.runs.open.values().filter(|run| !run.has_begun()).map(|run| run.id.clone()).collect();
        for run in &waiting {
            self.abort_run(run, reason);
        }
    }

    /// Ends every run; those who wait for others are told that time is up.
    pub(crate) fn abort_all_runs(&mut self, reason: &str) {
        let open: Vec<RunId> = self.runs.open.keys().cloned().collect();
        for run in &open {
            self.abort_run(run, reason);
        }
        for (run, wait) in self.runs.waits.expired(std::time::Duration::MAX) {
            match self.runs.open.contains_key(&run) {
                true => self.runs.waits.add(run, std::time::Duration::MAX, wait),
                false => self.reply(wait.ticket, Outcome::ok(timed_out(&run))),
            }
        }
    }

    /// A run is out of the books: whoever waited for that goes on.
    pub(super) fn run_is_gone(&mut self, id: &RunId) {
        let mut ready = Vec::new();
        for mut watcher in std::mem::take(&mut self.runs.watchers) {
            watcher.left.remove(id);
            if watcher.left.is_empty() {
                ready.push(watcher.then);
            } else {
                self.runs.watchers.push(watcher);
            }
        }
        for then in ready {
            then(self);
        }
    }

    /// Closes the runs that were under way when the last process ended: their sessions are marked, and who
    /// repeats their keys learns what happened.
    pub(crate) fn close_interrupted(&mut self, open: Vec<OpenRun>) {
        let now = self.now;
        for OpenRun { run, session_key, answer_key, .. } in open {
            tracing::warn!(target: "gateway", %run, session = %session_key, "a restart has ended this run");
            let mut ops = vec![Op::CloseRun(run.clone())];
            let family = Family::of(&answer_key);
            if family != Family::Inner {
                let outcome = interrupted(family, &run);
                ops.extend(self.answers.record(&answer_key, &outcome, now));
                self.answers.finish(&answer_key, outcome, now);
            }
            let error = "interrupted by a restart of the gateway".to_owned();
            let ended = Ended { started_at: None, ended_at: now.wall, how: How::Failed { error } };
            self.runs.memory.remember(now.mono, run.clone(), ended);
            if self.sessions.get(&session_key).is_some() {
                self.sessions.note_run_end(now, &session_key, &run, RunStatus::Killed);
                self.store_session(&session_key, ops, |_, _| {});
            } else {
                self.store(ops, |_, _| {});
            }
        }
    }
}

impl Run {
    /// Whether an abort can still change how it ends.
    pub(crate) fn is_abortable(&self) -> bool {
        !self.is_settling() && self.cut.is_none()
    }
}
