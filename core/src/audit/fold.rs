//! What repeats is counted, so that nobody can fill the book.
//!
//! The first line of its kind is written at once. Those that follow within a minute are counted and become one
//! line at its end. Of denials there are so many kinds at most, of strangers fewer; beyond that they are counted
//! together. A deed that was done is never left out.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::gateway::{Gateway, Phase};
use crate::limits;
use crate::store::{AuditRecord, Op};
use crate::time::Now;

/// The most kinds of lines about strangers.
const STRANGERS: usize = 32;

/// What makes lines alike.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    actor: String,
    address: String,
    action: String,
    subject: String,
    outcome: String,
}

struct Fold {
    record: AuditRecord,
    more: u64,
}

/// The lines of the last minute. See the [module documentation](self).
#[derive(Default)]
pub(super) struct Folds {
    folds: BTreeMap<Kind, Fold>,
    /// When each ends, on the monotonic clock.
    due: VecDeque<(Duration, Kind)>,
}

impl Folds {
    /// The line to write now, if it is not counted instead.
    fn fold(&mut self, now: Now, mut record: AuditRecord) -> Option<AuditRecord> {
        let mut kind = Kind::of(&record);
        if !self.folds.contains_key(&kind) && self.is_full(&record) {
            if record.outcome != "denied" {
                return Some(record);
            }
            "others".clone_into(&mut record.actor);
            record.address.clear();
            "many".clone_into(&mut record.action);
            record.reason = None;
            kind = Kind::of(&record);
        }
        if let Some(fold) = self.folds.get_mut(&kind) {
            fold.more += 1;
            return None;
        }
        self.due.push_back((now.mono + limits::millis(limits::AUDIT_FOLD_MS), kind.clone()));
        self.folds.insert(kind, Fold { record: record.clone(), more: 0 });
        Some(record)
    }

    fn is_full(&self, record: &AuditRecord) -> bool {
        let strangers = || self.folds.keys().filter(|kind| kind.actor == "stranger").count();
        self.folds.len() >= limits::length(limits::AUDIT_FOLDED)
            || (record.actor == "stranger" && strangers() >= STRANGERS)
    }

    /// The lines whose minute is over, with how many more there were.
    fn ended(&mut self, now: Now, all: bool) -> Vec<AuditRecord> {
        let mut lines = Vec::new();
        while let Some((at, kind)) = self.due.pop_front() {
            if at > now.mono && !all {
                self.due.push_front((at, kind));
                break;
            }
            let Some(Fold { record, more }) = self.folds.remove(&kind) else { continue };
            if more > 0 {
                let seconds = limits::AUDIT_FOLD_MS / 1_000;
                let why = record.reason.as_ref().map_or_else(String::new, |why| format!("{why}; "));
                let reason = Some(format!("{why}{more} more within {seconds} s"));
                lines.push(AuditRecord { at: now.wall, reason, ..record });
            }
        }
        lines
    }
}

impl Kind {
    fn of(record: &AuditRecord) -> Self {
        let denied = record.outcome == "denied";
        Self {
            actor: record.actor.clone(),
            address: record.address.clone(),
            action: record.action.clone(),
            // Who is refused chooses the subject, and could make every line another one.
            subject: if denied { String::new() } else { record.subject.clone() },
            outcome: record.outcome.clone(),
        }
    }
}

impl super::Audit {
    /// When something is due.
    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        self.folds.due.front().map(|(at, _)| *at)
    }
}

impl Gateway {
    /// Writes a line, or counts it.
    pub(super) fn fold_line(&mut self, record: AuditRecord) {
        if !matches!(self.phase(), Phase::Serving | Phase::Stopping) {
            return; // There is no store to write to.
        }
        if let Some(record) = self.audit.folds.fold(self.now, record) {
            self.store(vec![Op::AppendAudit(record)], |_, _| {});
        }
    }

    /// Writes what was counted and whose time is over.
    pub(crate) fn audit_timeouts(&mut self) {
        let lines = self.audit.folds.ended(self.now, false);
        self.write_counts(lines);
    }

    /// Writes all that was counted: the gateway goes down.
    pub(crate) fn flush_audit(&mut self) {
        let lines = self.audit.folds.ended(self.now, true);
        self.write_counts(lines);
    }

    fn write_counts(&mut self, lines: Vec<AuditRecord>) {
        if !lines.is_empty() {
            self.store(lines.into_iter().map(Op::AppendAudit).collect(), |_, _| {});
        }
    }
}
