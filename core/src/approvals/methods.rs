//! The methods about approvals of commands, and of any kind.

use std::cmp::Reverse;

use serde::Serialize;
use serde_json::{Value, json};
use telson_proto::approval::{
    ApprovalView, ById, Decision, ExecRequest, ExecView, GrantId, GrantsQuery, HistoryQuery, Resolve, Waiting,
};
use telson_proto::params::{Count, NoParams, Text};
use telson_proto::{ErrorCode, ErrorShape, Json, Protocol};

use super::ledger::{NewApproval, answered};
use super::question::{self, Asked};
use super::record::{Approval, Ending, Kind, State};
use super::standing::StandingGrant;
use super::{Answerer, Entry, Stage};
use crate::auth::{Effect, authorize};
use crate::gateway::{Answer, Call, Gateway, Reply};
use crate::limits;
use crate::sessions::closed;

/// Ids that begin so belong to plugins.
pub(super) const PLUGIN_PREFIX: &str = "plugin:";

/// The longest id that a caller may choose.
const LONGEST_ID: usize = 256;

/// `exec.approval.request`: asks whether a command may run; answered when somebody has decided (spec 03 §3.2).
pub(crate) fn exec_request(gateway: &mut Gateway, call: Call<ExecRequest>) -> Answer<Json> {
    authorize(&call.principal, &Effect::RequestApproval)?;
    let protocol = call.protocol();
    closed("exec.approval.request", protocol, &call.params.later_members())?;
    let id = chosen_id(call.params.id.as_ref().map(Text::as_str))?.unwrap_or_else(|| gateway.entropy.uuid());
    let Asked { question, request, text, allowed } = question::ask(&call.params, protocol)?;
    let default = if protocol == Protocol::V4 { limits::APPROVAL_V4_MS } else { limits::APPROVAL_V3_MS };
    let timeout_ms = call.params.timeout_ms.map_or(default, Count::get).min(limits::APPROVAL_LONGEST_MS);
    let record = Approval {
        id,
        kind: Kind::Exec,
        request,
        text,
        digest: question.digest(),
        asked_by: call.principal.actor(),
        reviewers: call.params.approval_reviewer_device_ids.clone(),
        allowed,
        created_at_ms: gateway.now.wall,
        expires_at_ms: gateway.now.wall.saturating_add(timeout_ms),
        state: State::Pending,
        reason: None,
        decision: None,
        resolved_at_ms: None,
        resolved_by: None,
        reviewer: None,
    };
    let two_phase = call.params.two_phase == Some(true);
    let question = Some(question);
    gateway.ask_approval(NewApproval {
        record,
        question,
        timeout_ms,
        ticket: call.ticket,
        two_phase,
        protocol,
    })?;
    Ok(Reply::Later)
}

/// The id that a caller has chosen, if it has.
fn chosen_id(id: Option<&str>) -> Result<Option<String>, ErrorShape> {
    let Some(id) = id.map(str::trim).filter(|id| !id.is_empty()) else { return Ok(None) };
    if id.starts_with(PLUGIN_PREFIX) {
        return Err(ErrorShape::invalid(
            "approval ids that begin with plugin: are reserved; choose another one",
        ));
    }
    if matches!(id, "." | "..") || id.len() > LONGEST_ID || id.chars().any(char::is_control) {
        return Err(ErrorShape::invalid(format!(
            "approval id must be at most {LONGEST_ID} bytes without control characters, and neither . nor .."
        )));
    }
    Ok(Some(id.to_owned()))
}

/// `exec.approval.resolve`: the answer (spec 03 §3.3).
pub(crate) fn exec_resolve(gateway: &mut Gateway, call: Call<Resolve>) -> Answer<Json> {
    let later = [
        ("kind", call.params.kind.is_some()),
        ("reviewer", call.params.reviewer.is_some()),
        ("grantExpiresInDays", call.params.grant_expires_in_days.is_some()),
    ];
    closed("exec.approval.resolve", call.protocol(), &later)?;
    resolve(gateway, call, Some(Kind::Exec), false)
}

/// `approval.resolve`: the answer to a question of any kind, with the approval as it is then.
pub(crate) fn approval_resolve(gateway: &mut Gateway, call: Call<Resolve>) -> Answer<Json> {
    let kind = call.params.kind.as_deref().map(kind_of).transpose()?;
    resolve(gateway, call, kind, true)
}

pub(super) fn kind_of(word: &str) -> Result<Kind, ErrorShape> {
    [Kind::Exec, Kind::Plugin].into_iter().find(|kind| kind.as_str() == word).ok_or_else(|| {
        ErrorShape::invalid("kind must be exec or plugin: this gateway asks no other questions")
    })
}

/// Takes an answer. The first one counts; who repeats it hears that it is so.
pub(super) fn resolve(
    gateway: &mut Gateway,
    call: Call<Resolve>,
    kind: Option<Kind>,
    with_approval: bool,
) -> Answer<Json> {
    authorize(&call.principal, &Effect::DecideApproval)?;
    let protocol = call.protocol();
    let params = call.params;
    let decision =
        Decision::parse(params.decision.as_str()).ok_or_else(|| ErrorShape::invalid("invalid decision"))?;
    let id = params.id.as_str();
    let entry = gateway.approvals.entries.get_mut(id);
    let entry = entry.filter(|entry| kind.is_none_or(|kind| entry.record.kind == kind));
    let Some(entry) = entry.filter(|entry| !matches!(entry.stage, Stage::Writing)) else {
        return Err(unknown(protocol, None));
    };
    let answerer = Answerer { ticket: call.ticket, with_approval };
    match &mut entry.stage {
        Stage::Waiting => {}
        Stage::Settling(settling)
            if settling.ending.decision == Some(decision) && protocol == Protocol::V4 =>
        {
            settling.answerers.push(answerer);
            return Ok(Reply::Later);
        }
        Stage::Settling(settling) => return Err(too_late(protocol, settling.ending.decision, &entry.record)),
        Stage::Writing | Stage::Over => {
            let same = entry.record.decision == Some(decision) && protocol == Protocol::V4;
            if same || with_approval {
                return Ok(Reply::Ready(answered(&entry.record, with_approval, false)));
            }
            return Err(too_late(protocol, entry.record.decision, &entry.record));
        }
    }
    if !entry.record.may_answer(&call.principal) {
        let message = "this approval is for other devices: its asker has named those that may answer";
        return Err(ErrorShape::new(ErrorCode::Forbidden, message)
            .with_details(&json!({"reason": "APPROVAL_REVIEWER_MISMATCH"})));
    }
    if !entry.record.allowed.contains(&decision) {
        return Err(ErrorShape::invalid(format!("{} is unavailable for this command", decision.as_str())));
    }
    let days = grant_days(params.grant_expires_in_days, decision, entry)?;
    if days.is_some() {
        let (room, ops) = gateway.approvals.standing.make_room(gateway.now.wall);
        if !ops.is_empty() {
            gateway.store(ops, |_, _| {});
        }
        if !room {
            let message = format!(
                "there are {} standing grants; revoke some with exec.approval.grants.revoke",
                limits::STANDING_GRANTS
            );
            return Err(ErrorShape::invalid(message));
        }
    }
    let by = Some(call.principal.declared.shown().name().to_owned()).filter(|name| !name.is_empty());
    let ending = Ending { reviewer: params.reviewer, days, ..Ending::answer(decision, by) };
    gateway.settle(id, ending, Some(answerer));
    Ok(Reply::Later)
}

/// For how many days the same question is to be answered by itself.
fn grant_days(
    days: Option<Count<1, 3650>>,
    decision: Decision,
    entry: &Entry,
) -> Result<Option<u64>, ErrorShape> {
    match days {
        None => Ok(None),
        Some(days) if decision == Decision::AllowAlways && entry.record.kind == Kind::Exec => {
            Ok(Some(days.get()))
        }
        Some(_) => Err(ErrorShape::invalid(
            "grantExpiresInDays goes with the decision allow-always for a command only",
        )),
    }
}

/// The answer came when it was over. Protocol 3 knows one sentence for all of it; the cause stands beside it.
fn too_late(protocol: Protocol, decision: Option<Decision>, record: &Approval) -> ErrorShape {
    match (protocol, decision) {
        (Protocol::V4, Some(winner)) => ErrorShape::invalid("approval already resolved").with_details(
            &json!({"reason": "APPROVAL_ALREADY_RESOLVED", "decision": winner, "resolvedBy": record.resolved_by}),
        ),
        _ => unknown(protocol, Some(record)),
    }
}

/// There is nothing to be answered, and why.
pub(super) fn unknown(protocol: Protocol, record: Option<&Approval>) -> ErrorShape {
    let (code, cause) = match record.map(|record| record.state) {
        None => ("APPROVAL_NOT_FOUND", "no approval has this id, or it ended more than 30 days ago"),
        Some(State::Expired) => ("APPROVAL_EXPIRED", "nobody answered in time"),
        Some(State::Denied) if record.is_some_and(|record| record.decision.is_none()) => {
            ("APPROVAL_EXPIRED", "nobody was there who could have answered")
        }
        Some(State::Cancelled) => ("APPROVAL_CANCELLED", "the gateway was restarted before anybody answered"),
        Some(State::Pending) => ("APPROVAL_ALREADY_RESOLVED", "its end is being written"),
        Some(State::Allowed | State::Denied) => ("APPROVAL_ALREADY_RESOLVED", "somebody has answered"),
    };
    let message = match protocol {
        Protocol::V3 => "unknown approval id".to_owned(),
        Protocol::V4 => format!("unknown or expired approval id: {cause}"),
    };
    let decision = record.and_then(|record| record.decision);
    ErrorShape::invalid(message).with_details(&json!({"reason": code, "cause": cause, "decision": decision}))
}

/// `exec.approval.waitDecision`: answered when it is decided, or at once.
pub(crate) fn exec_wait(gateway: &mut Gateway, call: Call<ById>) -> Answer<Json> {
    authorize(&call.principal, &Effect::SeeApprovals)?;
    let protocol = call.protocol();
    gateway.wait_for_approval(call.params.id.as_str(), Kind::Exec, call.ticket, protocol)?;
    Ok(Reply::Later)
}

/// `exec.approval.get`: what an approval is about, by its id or the beginning of it.
#[expect(clippy::needless_pass_by_value, reason = "the table of methods fixes the signature")]
pub(crate) fn exec_get(gateway: &mut Gateway, call: Call<ById>) -> Answer<ExecView> {
    authorize(&call.principal, &Effect::SeeApprovals)?;
    let entry = gateway.approvals.find(call.params.id.as_str(), Some(Kind::Exec), call.protocol())?;
    Ok(Reply::Ready(entry.record.exec_view()))
}

/// `exec.approval.list`: what waits for an answer, the oldest first.
#[expect(clippy::needless_pass_by_value, reason = "the table of methods fixes the signature")]
pub(crate) fn exec_list(gateway: &mut Gateway, call: Call<NoParams>) -> Answer<Vec<Waiting>> {
    authorize(&call.principal, &Effect::SeeApprovals)?;
    Ok(Reply::Ready(gateway.approvals.list(Kind::Exec)))
}

/// The result of `approval.get`.
#[derive(Debug, Serialize)]
pub(crate) struct Single {
    approval: ApprovalView,
}

/// `approval.get`: an approval of any kind, with what became of it.
#[expect(clippy::needless_pass_by_value, reason = "the table of methods fixes the signature")]
pub(crate) fn approval_get(gateway: &mut Gateway, call: Call<ById>) -> Answer<Single> {
    authorize(&call.principal, &Effect::SeeApprovals)?;
    let entry = gateway.approvals.find(call.params.id.as_str(), None, call.protocol())?;
    Ok(Reply::Ready(Single { approval: entry.record.view() }))
}

/// A page of the ledger, newest first.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Page {
    items: Vec<ApprovalView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

/// `approval.history`: the ledger, newest first.
pub(crate) fn approval_history(gateway: &mut Gateway, call: Call<HistoryQuery>) -> Answer<Page> {
    authorize(&call.principal, &Effect::SeeApprovals)?;
    let params = call.params;
    let kind = params.kind.as_deref().map(kind_of).transpose()?;
    let after = params.cursor.as_ref().map(|cursor| place(cursor.as_str())).transpose()?;
    let now = gateway.now.wall;
    let recent = |record: &Approval| {
        record.resolved_at_ms.is_none_or(|at| now.saturating_sub(at) <= limits::APPROVALS_KEPT_MS)
    };
    let entries = gateway.approvals.entries.values().filter(|entry| matches!(entry.stage, Stage::Over));
    let mut records: Vec<&Approval> = entries
        .map(|entry| &entry.record)
        .filter(|record| recent(record) && kind.is_none_or(|kind| kind == record.kind))
        .filter(|record| {
            after.as_ref().is_none_or(|after| (record.created_at_ms, &record.id) < (after.0, &after.1))
        })
        .collect();
    records.sort_by_key(|record| Reverse((record.created_at_ms, record.id.clone())));
    let limit = params.limit.map_or(50, Count::as_len);
    let more = records.len() > limit;
    records.truncate(limit);
    let last = records.last().filter(|_| more);
    let next_cursor = last.map(|record| format!("{}:{}", record.created_at_ms, record.id));
    Ok(Reply::Ready(Page { items: records.into_iter().map(Approval::view).collect(), next_cursor }))
}

fn place(cursor: &str) -> Result<(u64, String), ErrorShape> {
    let read = cursor.split_once(':').and_then(|(at, id)| Some((at.parse().ok()?, id.to_owned())));
    read.ok_or_else(|| {
        ErrorShape::invalid(
            "invalid approval.history params: at /cursor: must be a nextCursor of this method",
        )
    })
}

/// The result of `exec.approval.grants.list`.
#[derive(Debug, Serialize)]
pub(crate) struct GrantList {
    grants: Vec<Value>,
}

/// `exec.approval.grants.list`: the questions that are answered by themselves.
#[expect(clippy::needless_pass_by_value, reason = "the table of methods fixes the signature")]
pub(crate) fn grants_list(gateway: &mut Gateway, call: Call<GrantsQuery>) -> Answer<GrantList> {
    authorize(&call.principal, &Effect::SeeApprovals)?;
    let mut grants = gateway.approvals.standing.list(gateway.now.wall);
    grants.truncate(call.params.limit.map_or(500, Count::as_len));
    Ok(Reply::Ready(GrantList { grants: grants.iter().map(StandingGrant::shown).collect() }))
}

/// `exec.approval.grants.revoke`: such a question is asked again from now on.
pub(crate) fn grants_revoke(gateway: &mut Gateway, call: Call<GrantId>) -> Answer<Json> {
    authorize(&call.principal, &Effect::DecideApproval)?;
    let outcome = |word: &str| Json::of(&json!({"outcome": word}));
    let now = gateway.now.wall;
    let grant = gateway.approvals.standing.get(call.params.grant_id.as_str());
    let Some(grant) = grant.filter(|grant| grant.expires_at_ms > now) else {
        return Ok(Reply::Ready(outcome("not-found")));
    };
    if grant.revoked_at_ms.is_some() {
        return Ok(Reply::Ready(outcome("already-revoked")));
    }
    let by = call.principal.declared.shown().name().to_owned();
    let revoked = StandingGrant { revoked_at_ms: Some(now), revoked_by: Some(by), ..grant.clone() };
    // It ends at once; should the store fail, it ends with this process at the latest, and the caller is told.
    gateway.approvals.standing.add(revoked.clone());
    let ticket = call.ticket;
    gateway.store(vec![revoked.put()], move |gateway, result| {
        let outcome = match result {
            Ok(()) => crate::messages::Outcome::ok(outcome("revoked")),
            Err(error) => {
                let restored = StandingGrant { revoked_at_ms: None, revoked_by: None, ..revoked };
                gateway.approvals.standing.add(restored);
                crate::messages::Outcome::error(error.into())
            }
        };
        gateway.reply(ticket, outcome);
    });
    Ok(Reply::Later)
}

impl super::Approvals {
    /// The approval of this id, or the only one whose id begins so.
    pub(super) fn find(
        &self,
        id: &str,
        kind: Option<Kind>,
        protocol: Protocol,
    ) -> Result<&Entry, ErrorShape> {
        let seen = |entry: &&Entry| {
            !matches!(entry.stage, Stage::Writing) && kind.is_none_or(|kind| entry.record.kind == kind)
        };
        if let Some(entry) = self.entries.get(id).filter(seen) {
            return Ok(entry);
        }
        let mut fitting = self
            .entries
            .range(id.to_owned()..)
            .take_while(|(name, _)| name.starts_with(id))
            .map(|(_, entry)| entry)
            .filter(seen);
        match (fitting.next(), fitting.next()) {
            (Some(entry), None) => Ok(entry),
            (Some(_), Some(_)) => Err(ErrorShape::invalid("ambiguous approval id prefix; use the full id")),
            (None, _) => Err(unknown(protocol, None)),
        }
    }

    /// What waits for an answer, the oldest first.
    pub(super) fn list(&self, kind: Kind) -> Vec<Waiting> {
        let mut records: Vec<&Approval> =
            self.pending().map(|entry| &entry.record).filter(|record| record.kind == kind).collect();
        records.sort_by_key(|record| record.created_at_ms);
        records.into_iter().map(|record| record.waiting(Protocol::V4, true)).collect()
    }
}
