//! `sessions.abort`: what runs in a session ends (spec 02 §20.7).

use serde::{Deserialize, Serialize};
use telson_proto::params::Text;
use telson_proto::{ErrorShape, Json};

use crate::auth::{Effect, authorize};
use crate::chat;
use crate::gateway::{Answer, Call, Gateway, Reply};
use crate::ids::{RunId, SessionKey};
use crate::messages::Outcome;
use crate::runs::Run;

use super::announce::Reason;

/// The parameters.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AbortParams {
    #[serde(default)]
    key: Option<Text>,
    #[serde(default)]
    run_id: Option<Text>,
    #[serde(default)]
    agent_id: Option<Text>,
    #[serde(default)]
    clear_queued: Option<bool>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Aborted {
    ok: bool,
    aborted_run_id: Option<RunId>,
    status: &'static str,
}

/// `sessions.abort`: ends a run by its id, or the one that a session is at; with `clearQueued` also those that
/// wait behind it. Whose run it must be is the same as in `chat.abort`.
pub(crate) fn abort(gateway: &mut Gateway, call: Call<AbortParams>) -> Answer<()> {
    let Call { principal, ticket, params, .. } = call;
    let agent = params.agent_id.as_ref();
    let named =
        params.key.as_ref().map(|key| gateway.sessions.resolve_for(key.as_str(), agent)).transpose()?;
    let run = params.run_id.as_ref().map(|run| RunId::new(run.as_str()));
    let of_run = run.as_ref().and_then(|run| gateway.runs.get(run)).map(|run| run.key().clone());
    if named.is_some() && of_run.is_some() && named != of_run {
        return Err(ErrorShape::invalid("runId does not match sessionKey"));
    }
    let key = match (named.or(of_run), &run) {
        (Some(key), _) => key,
        (None, Some(_)) => {
            authorize(&principal, &Effect::AbortRun { session: gateway.sessions.main_key() })?;
            return nothing(gateway, &ticket);
        }
        (None, None) => return Err(ErrorShape::invalid("key or runId required")),
    };
    authorize(&principal, &Effect::AbortRun { session: key.clone() })?;
    let clear = params.clear_queued == Some(true);
    let wanted = wanted(gateway, &key, run.as_ref(), clear);
    let (own, foreign): (Vec<RunId>, Vec<RunId>) =
        wanted.into_iter().partition(|run| chat::may_abort(gateway, &principal, &ticket, run));
    if own.is_empty() && !foreign.is_empty() {
        return Err(ErrorShape::invalid("unauthorized"));
    }
    let Some(first) = own.first().cloned() else { return nothing(gateway, &ticket) };
    for run in &own {
        gateway.abort_run(run, "rpc");
    }
    gateway.when_gone(own, move |gateway| {
        gateway.announce_session(&key, Reason::Abort, Some(&first));
        let answer = Aborted { ok: true, aborted_run_id: Some(first), status: "aborted" };
        gateway.reply(ticket, Outcome::ok(Json::of(&answer)));
    });
    Ok(Reply::Later)
}

/// The runs to end, the one that has begun first.
fn wanted(gateway: &Gateway, key: &SessionKey, only: Option<&RunId>, clear_queued: bool) -> Vec<RunId> {
    let open = gateway.runs_of(key).into_iter();
    let mut runs: Vec<(bool, RunId)> = open
        .filter_map(|id| {
            let run = gateway.runs.get(&id).filter(|run| Run::is_abortable(run))?;
            let begun = run.has_begun();
            let named = only.is_some_and(|only| *only == id);
            let meant = if only.is_some() { named || clear_queued && !begun } else { begun || clear_queued };
            meant.then_some((!(named || only.is_none() && begun), id))
        })
        .collect();
    runs.sort();
    runs.into_iter().map(|(_, id)| id).collect()
}

fn nothing(gateway: &mut Gateway, ticket: &crate::ids::Ticket) -> Answer<()> {
    let answer = Aborted { ok: true, aborted_run_id: None, status: "no-active-run" };
    gateway.reply(ticket.clone(), Outcome::ok(Json::of(&answer)));
    Ok(Reply::Later)
}
