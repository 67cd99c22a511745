//! How runs ended, for those who ask later, and those who wait for an end (`agent.wait`, spec 02 §8.2).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use telson_proto::chat::AgentWaited;
use telson_proto::{Json, Protocol};

use crate::ids::{RunId, Ticket};
use crate::limits;

/// At most this many ended runs are remembered.
const MOST: usize = 2_000;

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(super) started_at: Option<u64>,
    pub(super) ended_at: u64,
    pub(super) how: How,
}

/// See [`Ended`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// With an answer.
    Done { stop_reason: &'static str },
    /// Cut short.
    Aborted { reason: String },
    /// Without an answer.
    Failed { error: String },
}

impl Ended {
    /// The answer to `agent.wait` [C-19].
    pub(crate) fn answer(&self, run: &RunId, protocol: Protocol) -> Json {
        let (status, error, stop_reason) = match (&self.how, protocol) {
            (How::Done { .. }, Protocol::V3) => ("ok", None, None),
            (How::Done { stop_reason }, Protocol::V4) => ("ok", None, Some(*stop_reason)),
            (How::Aborted { reason }, Protocol::V3) if reason == "timeout" => {
                ("error", Some("timeout"), None)
            }
            (How::Aborted { .. }, Protocol::V3) => ("error", Some("aborted"), None),
            (How::Aborted { reason }, Protocol::V4) => ("timeout", None, Some(reason.as_str())),
            (How::Failed { error }, _) => ("error", Some(error.as_str()), None),
        };
        let (started_at, ended_at) = (self.started_at, Some(self.ended_at));
        Json::of(&AgentWaited { run_id: run.as_str(), status, started_at, ended_at, error, stop_reason })
    }
}

/// The answer to `agent.wait` when the time is over; the run may go on.
pub(crate) fn timed_out(run: &RunId) -> Json {
    let run_id = run.as_str();
    Json::of(&AgentWaited {
        run_id,
        status: "timeout",
        started_at: None,
        ended_at: None,
        error: None,
        stop_reason: None,
    })
}

/// The runs that ended in the last ten minutes.
#[derive(Debug, Default)]
pub(super) struct Memory {
    ended: BTreeMap<RunId, Ended>,
    /// Oldest first. A run that has ended twice stands here twice.
    order: VecDeque<(Duration, RunId)>,
}

impl Memory {
    pub(super) fn remember(&mut self, now: Duration, run: RunId, ended: Ended) {
        self.order.push_back((now, run.clone()));
        self.ended.insert(run, ended);
        self.forget(now);
    }

    pub(super) fn get(&mut self, now: Duration, run: &RunId) -> Option<&Ended> {
        self.forget(now);
        self.ended.get(run)
    }

    fn forget(&mut self, now: Duration) {
        let life = limits::millis(limits::RUN_MEMORY_MS);
        while self.order.len() > MOST || self.order.front().is_some_and(|(at, _)| *at + life <= now) {
            let Some((_, run)) = self.order.pop_front() else { return };
            if !self.order.iter().any(|(_, later)| *later == run) {
                self.ended.remove(&run);
            }
        }
    }
}

/// Somebody waits for the end of a run.
#[derive(Clone, Debug)]
pub(crate) struct Wait {
    pub(crate) ticket: Ticket,
    pub(crate) protocol: Protocol,
}

/// Those who wait, by run and by the time at which they give up.
#[derive(Debug, Default)]
pub(super) struct Waits {
    by_run: BTreeMap<RunId, BTreeMap<u64, (Duration, Wait)>>,
    by_time: BTreeSet<(Duration, u64, RunId)>,
    serial: u64,
}

impl Waits {
    pub(super) fn add(&mut self, run: RunId, until: Duration, wait: Wait) {
        self.serial += 1;
        self.by_time.insert((until, self.serial, run.clone()));
        self.by_run.entry(run).or_default().insert(self.serial, (until, wait));
    }

    /// The run has ended: who waited for it.
    pub(super) fn ended(&mut self, run: &RunId) -> Vec<Wait> {
        let waits = self.by_run.remove(run).unwrap_or_default();
        for (serial, (until, _)) in &waits {
            self.by_time.remove(&(*until, *serial, run.clone()));
        }
        waits.into_values().map(|(_, wait)| wait).collect()
    }

    /// Who gives up by `now`.
    pub(super) fn expired(&mut self, now: Duration) -> Vec<(RunId, Wait)> {
        let mut expired = Vec::new();
        while self.by_time.first().is_some_and(|(until, ..)| *until <= now) {
            let Some((_, serial, run)) = self.by_time.pop_first() else { break };
            let Some(waits) = self.by_run.get_mut(&run) else { continue };
            let wait = waits.remove(&serial);
            if waits.is_empty() {
                self.by_run.remove(&run);
            }
            expired.extend(wait.map(|(_, wait)| (run, wait)));
        }
        expired
    }

    pub(super) fn next_deadline(&self) -> Option<Duration> {
        self.by_time.first().map(|(until, ..)| *until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ConnId;

    fn ended(at: u64) -> Ended {
        Ended { started_at: Some(1), ended_at: at, how: How::Done { stop_reason: "stop" } }
    }

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn wait(serial: u64) -> Wait {
        Wait { ticket: Ticket { conn: ConnId(1), id: serial.to_string(), serial }, protocol: Protocol::V3 }
    }

    #[test]
    fn a_run_is_remembered_for_ten_minutes() {
        let (mut memory, run) = (Memory::default(), RunId::new("r"));
        memory.remember(secs(0), run.clone(), ended(7));
        assert_eq!(memory.get(secs(599), &run), Some(&ended(7)));
        assert_eq!(memory.get(secs(600), &run), None);
    }

    #[test]
    fn the_memory_is_bounded() {
        let mut memory = Memory::default();
        for n in 0..10_000 {
            memory.remember(secs(0), RunId::new(format!("{n}")), ended(n));
        }
        assert_eq!((memory.ended.len(), memory.order.len()), (MOST, MOST));
        assert!(memory.get(secs(0), &RunId::new("9999")).is_some());
    }

    #[test]
    fn a_second_end_of_the_same_run_outlives_the_first() {
        let (mut memory, run) = (Memory::default(), RunId::new("r"));
        memory.remember(secs(0), run.clone(), ended(7));
        memory.remember(secs(300), run.clone(), ended(8));
        assert_eq!(memory.get(secs(600), &run), Some(&ended(8)));
        assert_eq!(memory.get(secs(900), &run), None);
    }

    #[test]
    fn waits_end_with_the_run_or_with_their_time() {
        let (mut waits, run, other) = (Waits::default(), RunId::new("r"), RunId::new("o"));
        waits.add(run.clone(), secs(30), wait(1));
        waits.add(run.clone(), secs(10), wait(2));
        waits.add(other.clone(), secs(20), wait(3));
        assert_eq!(waits.next_deadline(), Some(secs(10)));
        let expired = waits.expired(secs(10));
        assert_eq!(
            expired.iter().map(|(run, wait)| (run, wait.ticket.serial)).collect::<Vec<_>>(),
            [(&run, 2)]
        );
        assert_eq!(waits.ended(&run).iter().map(|wait| wait.ticket.serial).collect::<Vec<_>>(), [1]);
        assert_eq!(waits.next_deadline(), Some(secs(20)));
        assert_eq!(waits.expired(secs(99)).len(), 1);
        assert!(waits.by_run.is_empty() && waits.by_time.is_empty());
    }

    #[test]
    fn an_abort_is_told_in_the_callers_way() {
        let aborted = |reason: &str| Ended {
            started_at: None,
            ended_at: 9,
            how: How::Aborted { reason: reason.to_owned() },
        };
        let run = RunId::new("r");
        assert_eq!(
            aborted("rpc").answer(&run, Protocol::V3).as_str(),
            r#"{"runId":"r","status":"error","endedAt":9,"error":"aborted"}"#
        );
        assert_eq!(
            aborted("rpc").answer(&run, Protocol::V4).as_str(),
            r#"{"runId":"r","status":"timeout","endedAt":9,"stopReason":"rpc"}"#
        );
    }
}
