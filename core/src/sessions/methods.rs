//! `sessions.resolve` and `sessions.delete` (spec 02 §14.3, §14.6).

#![expect(clippy::needless_pass_by_value, reason = "the table of methods fixes the signatures")]

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use telson_proto::params::{Count, Text};
use telson_proto::{ErrorShape, Protocol};

use crate::auth::{Effect, Principal, authorize};
use crate::gateway::{Answer, Call, Gateway, Reply};
use crate::ids::{SessionId, SessionKey, Ticket};
use crate::messages::Outcome;
use crate::store::Op;

use super::keys::{self, Kind};
use super::row::display_name;
use super::{Session, Sessions};

/// How many candidates an ambiguous reference gets (spec 02 §20.4).
const MAX_CANDIDATES: usize = 10;

/// How often runs that begin while others are being interrupted are interrupted too.
pub(super) const INTERRUPTIONS: u8 = 8;

/// The parameters of `sessions.resolve`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ResolveParams {
    #[serde(default)]
    key: Option<Text>,
    #[serde(default)]
    session_id: Option<Text>,
    #[serde(default)]
    label: Option<Text<1, 512>>,
    #[serde(default)]
    agent_id: Option<Text>,
    #[serde(default)]
    spawned_by: Option<Text>,
    #[serde(default)]
    include_global: Option<bool>,
    #[serde(default)]
    include_unknown: Option<bool>,
    // protocol 4
    #[serde(default)]
    short_id: Option<Text>,
    #[serde(default)]
    allow_missing: Option<bool>,
    #[serde(default)]
    reference: Option<ReferenceParams>,
}

#[derive(Debug, Deserialize)]
struct ReferenceParams {
    key: Text,
}

/// The answer to `sessions.resolve`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Resolved {
    ok: bool,
    #[serde(flatten)]
    found: Option<Candidate>,
    #[serde(skip_serializing_if = "Option::is_none")]
    candidates: Option<Vec<Candidate>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Candidate {
    key: SessionKey,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<String>,
}

/// The parameters of `sessions.delete`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeleteParams {
    key: Text,
    #[serde(default)]
    delete_transcript: Option<bool>,
    #[serde(default)]
    agent_id: Option<Text>,
    #[serde(default)]
    expected_session_id: Option<Text>,
    #[serde(default)]
    expected_session_updated_at: Option<Count>,
    #[serde(default)]
    expected_lifecycle_revision: Option<Text>,
    #[serde(default)]
    archived_only: Option<bool>,
    /// Accepted without effect: there are no hooks.
    #[serde(default)]
    emit_lifecycle_hooks: Option<bool>,
}

#[derive(Debug, Serialize)]
struct DeleteResult {
    ok: bool,
    key: SessionKey,
    deleted: bool,
    archived: Vec<String>,
}

/// Refuses the parameters of protocol 4 on a protocol 3 connection, whose objects are closed (spec 02 §2.1).
pub(crate) fn closed(method: &str, protocol: Protocol, present: &[(&str, bool)]) -> Result<(), ErrorShape> {
    let later = present.iter().find(|(_, present)| *present).filter(|_| protocol == Protocol::V3);
    later.map_or(Ok(()), |(name, _)| {
        Err(ErrorShape::invalid(format!("invalid {method} params: at root: unexpected property '{name}'")))
    })
}

/// A refusal of one parameter in the wording of spec 02 §2.1.
pub(super) fn invalid(method: &str, path: &str, reason: &impl ToString) -> ErrorShape {
    let at = if path == "." { "root".to_owned() } else { format!("/{}", path.replace('.', "/")) };
    ErrorShape::invalid(format!("invalid {method} params: at {at}: {}", reason.to_string()))
}

/// The refusal of a request about another incarnation of the session than the present one.
pub(super) fn session_changed(key: &SessionKey) -> ErrorShape {
    ErrorShape::invalid(format!("session {key} has changed meanwhile; load it again"))
        .with_details(&serde_json::json!({"reason": "session-changed"}))
}

/// The refusal of a request about other settings of the session than the present ones.
pub(super) fn settings_changed(key: &SessionKey) -> ErrorShape {
    ErrorShape::invalid(format!("the settings of session {key} have changed meanwhile; load it again"))
        .with_details(&serde_json::json!({"reason": "session-settings-changed"}))
}

impl Sessions {
    /// The session that a client means, when it also names an agent: a key without an agent is then that
    /// agent's.
    ///
    /// # Errors
    ///
    /// As [`Self::resolve`]; also when key and agent contradict each other.
    pub(crate) fn resolve_for(&self, spelling: &str, agent: Option<&Text>) -> Result<SessionKey, ErrorShape> {
        let key = self.resolve(spelling)?;
        let Some(agent) = agent.map(|agent| keys::normalise_agent(agent.as_str())) else { return Ok(key) };
        if keys::is_reserved(&key) || self.rules().agent_of(&key) == agent {
            return Ok(key);
        }
        let names_agent =
            spelling.trim_start().get(..6).is_some_and(|head| head.eq_ignore_ascii_case("agent:"));
        if names_agent {
            let owner = self.rules().agent_of(&key);
            return Err(ErrorShape::invalid(format!(
                "session key {key} belongs to agent \"{owner}\", not to agent \"{agent}\""
            )));
        }
        self.resolve(&format!("agent:{agent}:{spelling}"))
    }
}

/// `sessions.resolve`: the canonical key of a session.
pub(crate) fn resolve(gateway: &mut Gateway, call: Call<ResolveParams>) -> Answer<Resolved> {
    authorize(&call.principal, &Effect::ReadSessions)?;
    let params = &call.params;
    closed(
        "sessions.resolve",
        call.protocol(),
        &[
            ("allowMissing", params.allow_missing.is_some()),
            ("reference", params.reference.is_some()),
            ("shortId", params.short_id.is_some()),
        ],
    )?;
    match find(&gateway.sessions, params) {
        Ok(found) => Ok(Reply::Ready(resolved(&gateway.sessions, found, call.protocol()))),
        Err(_) if params.allow_missing == Some(true) => {
            Ok(Reply::Ready(Resolved { ok: false, found: None, candidates: None }))
        }
        Err(error) => Err(error),
    }
}

/// The session whose id begins so, and the answer of `sessions.resolve` to that.
pub(crate) fn by_short_id(
    gateway: &Gateway,
    short: &Text,
    agent: Option<&Text>,
) -> (Option<SessionKey>, telson_proto::Json) {
    let params = ResolveParams {
        key: None,
        session_id: None,
        label: None,
        agent_id: agent.cloned(),
        spawned_by: None,
        include_global: None,
        include_unknown: None,
        short_id: Some(short.clone()),
        allow_missing: None,
        reference: None,
    };
    let sessions = &gateway.sessions;
    let found = find(sessions, &params).unwrap_or_default();
    let key = if let [only] = found.as_slice() { Some(only.clone()) } else { None };
    let resolution = match found.is_empty() {
        true => Resolved { ok: false, found: None, candidates: None },
        false => resolved(sessions, found, Protocol::V4),
    };
    (key, telson_proto::Json::of(&resolution))
}

/// The sessions that the parameters name; more than one only for a short id.
fn find(sessions: &Sessions, params: &ResolveParams) -> Result<Vec<SessionKey>, ErrorShape> {
    let key = params.key.as_ref().or(params.reference.as_ref().map(|reference| &reference.key));
    let named =
        [key.is_some(), params.session_id.is_some(), params.label.is_some(), params.short_id.is_some()];
    match named.iter().filter(|named| **named).count() {
        0 => return Err(ErrorShape::invalid("Either key, sessionId, or label is required")),
        1 => {}
        _ => return Err(ErrorShape::invalid("Provide either key, sessionId, or label (not multiple)")),
    }
    let missing = |what: &str| ErrorShape::invalid(format!("No session found: {what}"));
    let eligible = |key: &SessionKey, session: &Session| eligible(sessions, params, key, session);
    if let Some(spelling) = key {
        let key = sessions.resolve_for(spelling.as_str(), params.agent_id.as_ref())?;
        return sessions.get(&key).map(|_| vec![key]).ok_or_else(|| missing(spelling.as_str()));
    }
    if let Some(id) = &params.session_id {
        let found = sessions.by_id(&SessionId::new(id.as_str())).and_then(|key| sessions.stored(key));
        let found = found.filter(|(key, session)| eligible(key, session));
        return found.map(|(key, _)| vec![key.clone()]).ok_or_else(|| missing(id.as_str()));
    }
    if let Some(short) = &params.short_id {
        let wanted = short.as_str().to_ascii_lowercase();
        let all = sessions.in_order(None, false).filter(|(key, session)| eligible(key, session));
        let found = all.filter(|(_, session)| session.id.as_str().to_ascii_lowercase().starts_with(&wanted));
        let found: Vec<SessionKey> = found.map(|(key, _)| key.clone()).take(MAX_CANDIDATES).collect();
        return if found.is_empty() { Err(missing(short.as_str())) } else { Ok(found) };
    }
    let label = params.label.as_ref().map(|label| label.as_str().trim()).unwrap_or_default();
    let found = sessions.labelled(label).filter(|(key, session)| eligible(key, session));
    let found: Vec<SessionKey> = found.map(|(key, _)| key.clone()).collect();
    match found.as_slice() {
        [] => Err(ErrorShape::invalid(format!("No session found with label: {label}"))),
        [_] => Ok(found),
        many => {
            let keys: Vec<&str> = many.iter().map(SessionKey::as_str).collect();
            let keys = keys.join(", ");
            Err(ErrorShape::invalid(format!("Multiple sessions found with label: {label} ({keys})")))
        }
    }
}

/// Whether a session passes the narrowing parameters.
fn eligible(sessions: &Sessions, params: &ResolveParams, key: &SessionKey, session: &Session) -> bool {
    let shown = match keys::kind(key, None) {
        Kind::Global => params.include_global == Some(true) && params.agent_id.is_none(),
        Kind::Unknown => params.include_unknown == Some(true) && params.agent_id.is_none(),
        Kind::Direct | Kind::Group => true,
    };
    let agent = params.agent_id.as_ref().map(|id| keys::normalise_agent(id.as_str()));
    let parent = params.spawned_by.as_ref().map(Text::as_str);
    shown
        && agent.is_none_or(|agent| sessions.rules().agent_of(key) == agent)
        && parent.is_none_or(|parent| session.entry.spawned_by.as_deref() == Some(parent))
}

fn resolved(sessions: &Sessions, found: Vec<SessionKey>, protocol: Protocol) -> Resolved {
    let mut found: Vec<Candidate> = found
        .into_iter()
        .map(|key| match protocol {
            Protocol::V3 => Candidate { key, agent_id: None, display_name: None },
            Protocol::V4 => Candidate {
                agent_id: Some(sessions.rules().agent_of(&key).as_str().to_owned()),
                display_name: sessions
                    .entry(&key)
                    .and_then(|entry| Some(display_name(&key, entry)?.into_owned())),
                key,
            },
        })
        .collect();
    if found.len() == 1 {
        Resolved { ok: true, found: found.pop(), candidates: None }
    } else {
        Resolved { ok: false, found: None, candidates: Some(found) }
    }
}

/// The session that a request about it means, by whichever name the client uses.
pub(super) fn named(
    gateway: &mut Gateway,
    principal: &Arc<Principal>,
    ticket: &Ticket,
    spelling: &str,
    agent: Option<&Text>,
) -> Result<SessionKey, ErrorShape> {
    match agent {
        Some(_) => gateway.sessions.resolve_for(spelling, agent),
        None => gateway.canonical_for(principal, ticket.conn, spelling),
    }
}

pub(super) fn check_incarnation(
    gateway: &Gateway,
    key: &SessionKey,
    expected: Option<&SessionId>,
) -> Result<(), ErrorShape> {
    let current = gateway.sessions.get(key).map(|session| &session.id);
    if expected.is_some() && expected != current { Err(session_changed(key)) } else { Ok(()) }
}

impl Gateway {
    /// Calls `then` when nothing runs in the session any more. Runs that begin meanwhile are interrupted too,
    /// so that none lives on in a session that is gone [C-37]; when there is no end to them, the caller is told
    /// to try again.
    pub(super) fn when_idle(
        &mut self,
        ticket: Ticket,
        key: SessionKey,
        reason: &'static str,
        tries: u8,
        then: impl FnOnce(&mut Self, Ticket, SessionKey) + Send + 'static,
    ) {
        self.once_idle(key, reason, tries, move |gateway, idle| match idle {
            Ok(key) => then(gateway, ticket, key),
            Err(error) => gateway.reply(ticket, Outcome::error(error)),
        });
    }

    /// The same for callers that are no request.
    pub(super) fn once_idle(
        &mut self,
        key: SessionKey,
        reason: &'static str,
        tries: u8,
        then: impl FnOnce(&mut Self, Result<SessionKey, ErrorShape>) + Send + 'static,
    ) {
        if tries == 0 {
            let text = format!("Session {key} is still active; try again in a moment.");
            return then(self, Err(ErrorShape::unavailable(text).retry_after(1_000)));
        }
        let session = key.clone();
        self.interrupt_session(&session, reason, move |gateway| {
            if gateway.sessions.active_runs(&key).next().is_none() {
                then(gateway, Ok(key));
            } else {
                gateway.once_idle(key, reason, tries - 1, then);
            }
        });
    }
}

impl Session {
    /// The entry as clients see it.
    pub(super) fn on_the_wire(&self) -> Value {
        self.entry.on_the_wire(self.id.as_str(), self.updated_at)
    }
}

/// `sessions.delete`: removes a session. Running work is interrupted first [C-37].
pub(crate) fn delete(gateway: &mut Gateway, call: Call<DeleteParams>) -> Answer<()> {
    let params = call.params;
    closed(
        "sessions.delete",
        call.principal.protocol,
        &[
            ("agentId", params.agent_id.is_some()),
            ("archivedOnly", params.archived_only.is_some()),
            ("emitLifecycleHooks", params.emit_lifecycle_hooks.is_some()),
            ("expectedLifecycleRevision", params.expected_lifecycle_revision.is_some()),
            ("expectedSessionId", params.expected_session_id.is_some()),
            ("expectedSessionUpdatedAt", params.expected_session_updated_at.is_some()),
        ],
    )?;
    let key = named(gateway, &call.principal, &call.ticket, params.key.as_str(), params.agent_id.as_ref())?;
    let archived_only = params.archived_only == Some(true);
    authorize(
        &call.principal,
        &match archived_only {
            true => Effect::EndArchived { session: key.clone() },
            false => Effect::EndSession { session: key.clone() },
        },
    )?;
    if key == gateway.sessions.main_key() {
        return Err(ErrorShape::invalid(format!("Cannot delete the main session ({key}).")));
    }
    let guard = DeleteGuard {
        id: params.expected_session_id.map(|id| SessionId::new(id.as_str())),
        updated_at: params.expected_session_updated_at.map(Count::get),
        lifecycle: params.expected_lifecycle_revision.map(Text::into_string),
        archived_only,
    };
    guard.check(gateway, &key)?;
    let keep_transcript = params.delete_transcript == Some(false);
    gateway.when_idle(call.ticket, key, "delete", INTERRUPTIONS, move |gateway, ticket, session| {
        // The time stamp was compared before the interruption, which itself changes it.
        let guard = DeleteGuard { updated_at: None, ..guard };
        match guard.check(gateway, &session) {
            Ok(()) => gateway.delete_session(ticket, session, keep_transcript),
            Err(error) => gateway.reply(ticket, Outcome::error(error)),
        }
    });
    Ok(Reply::Later)
}

/// What must hold of a session that is to be deleted.
struct DeleteGuard {
    id: Option<SessionId>,
    updated_at: Option<u64>,
    lifecycle: Option<String>,
    archived_only: bool,
}

impl DeleteGuard {
    fn check(&self, gateway: &Gateway, key: &SessionKey) -> Result<(), ErrorShape> {
        let Some(session) = gateway.sessions.get(key) else { return Ok(()) };
        let other = self.id.as_ref().is_some_and(|id| *id != session.id)
            || self.updated_at.is_some_and(|at| at != session.updated_at)
            || self.lifecycle.as_deref().is_some_and(|revision| revision != session.lifecycle());
        if other {
            return Err(session_changed(key));
        }
        if self.archived_only && session.entry.archived != Some(true) {
            return Err(ErrorShape::invalid(format!("session {key} is not archived; archive it first")));
        }
        Ok(())
    }
}

impl Gateway {
    fn delete_session(&mut self, ticket: Ticket, key: SessionKey, keep_transcript: bool) {
        let Some(id) = self.sessions.get(&key).map(|session| session.id.clone()) else {
            let result = DeleteResult { ok: true, key, deleted: false, archived: Vec::new() };
            self.reply(ticket, Outcome::ok(telson_proto::Json::of(&result)));
            return;
        };
        self.sessions.remove(&key);
        let mut ops = Vec::new();
        let mut archived = Vec::new();
        if !keep_transcript {
            ops.push(Op::ArchiveTranscript { session: id.clone(), at: self.now.wall });
            archived.push(format!("{}#{id}", Self::store_path()));
        }
        let session = key.clone();
        self.store_session(&key, ops, move |gateway, stored| {
            let outcome = match stored {
                Ok(()) => {
                    gateway.announce_removal(&session, &id);
                    let result = DeleteResult { ok: true, key: session, deleted: true, archived };
                    Outcome::ok(telson_proto::Json::of(&result))
                }
                Err(error) => Outcome::error(error.into()),
            };
            gateway.reply(ticket, outcome);
        });
    }
}
