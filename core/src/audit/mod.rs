//! The book of deeds: who did what, from where, with which outcome (DESIGN.md, *Authority*; 08).
//!
//! A line is written in the same transaction as the change it tells of, or by itself when there is none. It
//! holds no secret and nobody's words. The dispatch of requests writes one for each call that asks for more than
//! reading and writing ([`Audited`]), and for each denial (`calls`); what repeats is counted (`fold`).

mod calls;
mod class;
mod fold;
mod methods;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::BTreeMap;

use telson_proto::ErrorShape;

use crate::auth::Principal;
use crate::gateway::Gateway;
use crate::store::{AuditRecord, Op};

pub use class::Audited;
pub(crate) use methods::list;

use calls::OpenCall;
use fold::Folds;

/// The most lines of domains that are remembered until their request is answered.
const MOST_TOLD: usize = 256;

/// What the book knows of the present. See the [module documentation](self).
#[derive(Default)]
pub struct Audit {
    /// Calls that will be noted when they are answered, by the serial of their ticket.
    open: BTreeMap<u64, OpenCall>,
    /// Lines that a domain has written itself, so that the dispatch does not repeat them: actor, action, outcome.
    told: RefCell<BTreeMap<(String, String, &'static str), u32>>,
    folds: Folds,
}

/// How something ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It was done.
    Done,
    /// It was refused, for this reason.
    Denied(String),
    /// It was tried and did not work, for this reason.
    Failed(String),
}

impl Verdict {
    fn parts(&self) -> (&'static str, Option<String>) {
        match self {
            Self::Done => ("ok", None),
            Self::Denied(reason) => ("denied", Some(reason.clone())),
            Self::Failed(reason) => ("failed", Some(reason.clone())),
        }
    }
}

impl From<&ErrorShape> for Verdict {
    fn from(error: &ErrorShape) -> Self {
        Self::Denied(error.message.clone())
    }
}

impl Audit {
    /// A domain has written a line itself.
    fn note_told(&self, actor: &str, action: &str, outcome: &'static str) {
        let mut told = self.told.borrow_mut();
        if told.len() >= MOST_TOLD {
            told.clear();
        }
        *told.entry((actor.to_owned(), action.to_owned(), outcome)).or_default() += 1;
    }

    /// Whether a domain has written this line; each counts once.
    fn was_told(&self, actor: &str, action: &str, outcome: &'static str) -> bool {
        let mut told = self.told.borrow_mut();
        let key = (actor.to_owned(), action.to_owned(), outcome);
        let Some(times) = told.get_mut(&key) else { return false };
        *times -= 1;
        if *times == 0 {
            told.remove(&key);
        }
        true
    }
}

impl Gateway {
    /// The line for a deed, to go into the transaction of the change itself. An action that is a method's name
    /// stands in for the line of that call.
    pub(crate) fn audit_op(&self, who: &Principal, action: &str, subject: &str, verdict: &Verdict) -> Op {
        let (outcome, reason) = verdict.parts();
        if class::is_method(action) {
            self.audit.note_told(&who.actor(), action, outcome);
        }
        Op::AppendAudit(AuditRecord {
            at: self.now.wall,
            actor: who.actor(),
            address: who.addr.to_string(),
            action: action.to_owned(),
            subject: subject.to_owned(),
            outcome: outcome.to_owned(),
            reason,
        })
    }

    /// Writes a line for a deed that changes nothing else.
    pub(crate) fn audit(&mut self, who: &Principal, action: &str, subject: &str, verdict: &Verdict) {
        let op = self.audit_op(who, action, subject, verdict);
        self.store(vec![op], |_, _| {});
    }
}
