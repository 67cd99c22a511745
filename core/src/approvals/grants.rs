//! Leave to run one command once, made by an answer (08 S-53, S-55).
//!
//! A grant is bound to all that was shown, can be used once, and for two minutes. It lives in memory only: after
//! a restart nothing that was allowed before may run.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use telson_proto::approval::Decision;

use super::question::{Node, Question};
use super::record::State;
use crate::auth::Principal;
use crate::gateway::Gateway;
use crate::ids::DeviceId;
use crate::limits;
use crate::time::Now;

/// The grants that have not been used.
#[derive(Default)]
pub(super) struct Grants {
    grants: BTreeMap<String, Grant>,
}

struct Grant {
    question: Question,
    decision: Decision,
    /// Who asked.
    actor: String,
    /// Until when, on the monotonic clock.
    until: Duration,
}

/// Why a command may not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum GrantFault {
    /// The caller names no approval.
    #[error("approval required: ask with exec.approval.request and name its id as runId")]
    MissingRunId,
    /// There is no such approval.
    #[error("unknown approval id: ask with exec.approval.request and name its id as runId")]
    UnknownApprovalId,
    /// It waits for an answer, or the answer was no; or nothing that was approved is this.
    #[error("approval required: this command was not approved")]
    ApprovalRequired,
    /// It was approved too long ago, used already, or nobody answered.
    #[error("approval expired: an approval can be used once, shortly after the answer; ask again")]
    ApprovalExpired,
    /// It was approved for another node.
    #[error("approval is for another node")]
    NodeMismatch,
    /// It was approved with other words, another directory, other variables, another session or agent.
    #[error("approval is for another command: what runs must be what was shown")]
    RequestMismatch,
}

impl GrantFault {
    /// The code in `details`.
    pub(crate) const fn code(self) -> &'static str {
        match self {
            Self::MissingRunId => "MISSING_RUN_ID",
            Self::UnknownApprovalId => "UNKNOWN_APPROVAL_ID",
            Self::ApprovalRequired => "APPROVAL_REQUIRED",
            Self::ApprovalExpired => "APPROVAL_EXPIRED",
            Self::NodeMismatch => "APPROVAL_NODE_MISMATCH",
            Self::RequestMismatch => "APPROVAL_REQUEST_MISMATCH",
        }
    }
}

impl Grants {
    /// A question was answered with yes.
    pub(super) fn add(&mut self, now: Now, id: &str, question: Question, decision: Decision, actor: &str) {
        self.grants.retain(|_, grant| grant.until > now.mono);
        let until = now.mono + limits::millis(limits::APPROVAL_USE_MS);
        self.grants.insert(id.to_owned(), Grant { question, decision, actor: actor.to_owned(), until });
    }
}

impl Gateway {
    /// Uses the approval of this id up for `system.run` with these parameters on this node.
    ///
    /// # Errors
    ///
    /// [`GrantFault`]; an approval that does not fit is not used up.
    pub(crate) fn take_grant(
        &mut self,
        run_id: &str,
        node: &DeviceId,
        params: &Value,
    ) -> Result<Decision, GrantFault> {
        let (id, now) = (run_id, self.now);
        if id.is_empty() {
            return Err(GrantFault::MissingRunId);
        }
        let grants = &mut self.approvals.grants.grants;
        let Some(grant) = grants.get(id).filter(|grant| grant.until > now.mono) else {
            return Err(match self.approvals.state(id) {
                None => GrantFault::UnknownApprovalId,
                Some(State::Pending | State::Denied) => GrantFault::ApprovalRequired,
                Some(State::Allowed | State::Expired | State::Cancelled) => GrantFault::ApprovalExpired,
            });
        };
        grant.question.fits(node, params)?;
        let decision = grant.decision;
        grants.remove(id);
        Ok(decision)
    }

    /// The same for clients that cannot name an approval: the oldest one of the same caller that fits.
    ///
    /// # Errors
    ///
    /// [`GrantFault::ApprovalRequired`] when none does.
    pub(crate) fn take_matching_grant(
        &mut self,
        asker: &Principal,
        node: &DeviceId,
        params: &Value,
    ) -> Result<Decision, GrantFault> {
        let (now, actor) = (self.now, asker.actor());
        let grants = &mut self.approvals.grants.grants;
        let fits = |grant: &Grant| {
            grant.until > now.mono && grant.actor == actor && grant.question.fits(node, params).is_ok()
        };
        let oldest = grants.iter().filter(|(_, grant)| fits(grant)).min_by_key(|(_, grant)| grant.until);
        let id = oldest.map(|(id, _)| id.clone()).ok_or(GrantFault::ApprovalRequired)?;
        grants.remove(&id).map(|grant| grant.decision).ok_or(GrantFault::ApprovalRequired)
    }
}

impl Question {
    /// Whether `system.run` with these parameters on this node is what was asked.
    pub(super) fn fits(&self, node: &DeviceId, params: &Value) -> Result<(), GrantFault> {
        match &self.node {
            Node::One(id) if id == node.as_str() => {}
            Node::Unsaid => {}
            Node::One(_) | Node::None => return Err(GrantFault::NodeMismatch),
        }
        let argv: Option<Vec<String>> = params
            .get("command")
            .and_then(Value::as_array)
            .and_then(|words| words.iter().map(|word| word.as_str().map(str::to_owned)).collect());
        let argv = argv.filter(|argv| !argv.is_empty()).ok_or(GrantFault::RequestMismatch)?;
        let text = |name: &str| match params.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(GrantFault::RequestMismatch),
        };
        let env: BTreeMap<String, String> = match params.get("env") {
            None | Some(Value::Null) => BTreeMap::new(),
            Some(env) => serde_json::from_value(env.clone()).map_err(|_| GrantFault::RequestMismatch)?,
        };
        let same = self.allows(&argv, text("rawCommand")?.as_deref())
            && self.cwd == text("cwd")?
            && self.env == env
            && self.agent == text("agentId")?
            && self.session == text("sessionKey")?;
        if same { Ok(()) } else { Err(GrantFault::RequestMismatch) }
    }
}
