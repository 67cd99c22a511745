//! The book of deeds: who did what, from where, with which outcome (DESIGN.md, *Authority*; 08).
//!
//! A line is written in the same transaction as the change it tells of, or by itself when there is none. It
//! holds no secret and nobody's words.

use telson_proto::ErrorShape;

use crate::auth::Principal;
use crate::gateway::Gateway;
use crate::store::{AuditRecord, Op};

/// What the book knows of the present. See the [module documentation](self).
#[derive(Default)]
pub struct Audit {}

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

impl From<&ErrorShape> for Verdict {
    fn from(error: &ErrorShape) -> Self {
        Self::Denied(error.message.clone())
    }
}

impl Gateway {
    /// The line for a deed, to go into the transaction of the change itself.
    pub(crate) fn audit_op(&self, who: &Principal, action: &str, subject: &str, verdict: &Verdict) -> Op {
        let (outcome, reason) = match verdict {
            Verdict::Done => ("ok", None),
            Verdict::Denied(reason) => ("denied", Some(reason.clone())),
            Verdict::Failed(reason) => ("failed", Some(reason.clone())),
        };
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
