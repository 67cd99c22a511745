//! `chat.abort` and the words that stop (spec 02 §7.3, §11.2, §20.4).

use telson_proto::chat::{ChatAbortParams, ChatAborted};
use telson_proto::{ErrorShape, Json, Protocol, Scope};

use crate::auth::{Effect, Principal, authorize};
use crate::gateway::{Answer, Call, Gateway, Reply};
use crate::ids::{RunId, SessionKey, Ticket};
use crate::messages::Outcome;
use crate::sessions::{Reason, closed, keys};

use super::{owner, session_named};

/// `chat.abort`: ends one run of a session, or all; answers when they have ended.
pub(crate) fn abort(gateway: &mut Gateway, call: Call<ChatAbortParams>) -> Answer<()> {
    let Call { principal, ticket, params, .. } = call;
    closed("chat.abort", principal.protocol, &[("agentId", params.agent_id.is_some())])?;
    let principal = &*principal;
    let key =
        session_named(gateway, principal, &ticket, params.session_key.as_str(), params.agent_id.as_ref())?;
    authorize(principal, &Effect::AbortRun { session: key.clone() })?;
    let Some(run) = &params.run_id else {
        abort_all(gateway, principal, ticket, &key, "rpc")?;
        return Ok(Reply::Later);
    };
    let id = RunId::new(run.as_str());
    if let Some(run) = gateway.runs.get(&id) {
        if *run.key() != key {
            return Err(ErrorShape::invalid("runId does not match sessionKey"));
        }
        let agent = params.agent_id.as_ref().map(|agent| keys::normalise_agent(agent.as_str()));
        if agent.is_some_and(|agent| agent != *run.agent()) {
            return Err(ErrorShape::invalid("runId does not match agentId"));
        }
        if !may_abort(gateway, principal, &ticket, &id) {
            return Err(unauthorized());
        }
    }
    let abortable = gateway.runs.get(&id).is_some_and(crate::runs::Run::is_abortable);
    abort_runs(gateway, ticket, &key, if abortable { vec![id] } else { Vec::new() }, "rpc");
    Ok(Reply::Later)
}

/// A word that stops: every run of the session ends.
pub(super) fn stop(
    gateway: &mut Gateway,
    principal: &Principal,
    ticket: Ticket,
    key: &SessionKey,
) -> Result<(), ErrorShape> {
    authorize(principal, &Effect::AbortRun { session: key.clone() })?;
    abort_all(gateway, principal, ticket, key, "stop")
}

fn abort_all(
    gateway: &mut Gateway,
    principal: &Principal,
    ticket: Ticket,
    key: &SessionKey,
    reason: &'static str,
) -> Result<(), ErrorShape> {
    let runs = stoppable(gateway, principal, &ticket, key)?;
    abort_runs(gateway, ticket, key, runs, reason);
    Ok(())
}

/// The runs that end when a session is stopped: those that the caller may end, active or queued, and those
/// that the session's agent has started in sessions of their own [C-17].
///
/// # Errors
///
/// Something runs in the session, and all of it is somebody else's.
pub(crate) fn stoppable(
    gateway: &Gateway,
    principal: &Principal,
    ticket: &Ticket,
    key: &SessionKey,
) -> Result<Vec<RunId>, ErrorShape> {
    let abortable = |run: &RunId| gateway.runs.get(run).is_some_and(crate::runs::Run::is_abortable);
    let open = gateway.runs_of(key).into_iter().filter(abortable);
    let (mut own, foreign): (Vec<RunId>, Vec<RunId>) =
        open.partition(|run| may_abort(gateway, principal, ticket, run));
    if own.is_empty() && !foreign.is_empty() {
        return Err(unauthorized());
    }
    for child in gateway.sessions.descendants(key) {
        let open = gateway.runs_of(&child).into_iter().filter(abortable);
        own.extend(open.filter(|run| may_abort_child(gateway, principal, ticket, run)));
    }
    Ok(own)
}

/// The same for a run in a session that another session has started: one that no connection has begun belongs
/// to whoever may stop that other session.
pub(crate) fn may_abort_child(
    gateway: &Gateway,
    principal: &Principal,
    ticket: &Ticket,
    run: &RunId,
) -> bool {
    let inner = gateway.runs.get(run).is_some_and(|run| run.owner().is_inner());
    inner || may_abort(gateway, principal, ticket, run)
}

fn abort_runs(gateway: &mut Gateway, ticket: Ticket, key: &SessionKey, runs: Vec<RunId>, reason: &str) {
    for run in &runs {
        gateway.abort_run(run, reason);
    }
    let key = key.clone();
    let gone = runs.clone();
    gateway.when_gone(gone, move |gateway| {
        let answer = ChatAborted {
            ok: true,
            aborted: !runs.is_empty(),
            run_ids: runs.iter().map(|run| run.as_str().to_owned()).collect(),
        };
        if answer.aborted {
            gateway.announce_session(&key, Reason::Abort, None);
        }
        gateway.reply(ticket, Outcome::ok(Json::of(&answer)));
    });
}

/// On protocol 4 only the connection or the device that began a run may end it, or an administrator.
pub(crate) fn may_abort(gateway: &Gateway, principal: &Principal, ticket: &Ticket, run: &RunId) -> bool {
    principal.protocol == Protocol::V3
        || principal.holds(Scope::Admin)
        || gateway.runs.get(run).is_some_and(|run| run.owner().is(&owner(principal, ticket)))
}

fn unauthorized() -> ErrorShape {
    ErrorShape::invalid("unauthorized")
}
