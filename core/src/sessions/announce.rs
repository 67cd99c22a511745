//! What the rest of the gateway needs of the sessions: storing a change, names, and news (spec 02 §20.9).

use serde::Serialize;
use telson_proto::{ErrorShape, EventName, Json, Protocol};

use crate::auth::Principal;
use crate::gateway::Gateway;
use crate::ids::{AgentId, ConnId, RunId, SessionId, SessionKey};
use crate::messages::{Audience, Down, Publish};
use crate::store::{Op, StoreError};

use super::Row;

/// Why a session changed, as `sessions.changed` says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    Create,
    Send,
    Patch,
    Reset,
    Delete,
    Abort,
    /// A run began; names it.
    RunStarted,
    /// A run is over, however it ended.
    RunEnded,
}

impl Reason {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Send => "send",
            Self::Patch => "patch",
            Self::Reset => "reset",
            Self::Delete => "delete",
            Self::Abort => "abort",
            Self::RunStarted => "agent.run.started",
            Self::RunEnded => "agent.input.settled",
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Changed<'a> {
    session_key: &'a SessionKey,
    agent_id: AgentId,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_id: Option<&'a SessionId>,
    reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    run_id: Option<&'a RunId>,
    ts: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    active_run_ids: Option<Vec<&'a RunId>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<Row<'a>>,
}

impl Gateway {
    /// The session that a client means. A v3 client hears of it by the name that it used [C-06].
    ///
    /// # Errors
    ///
    /// As [`super::Sessions::resolve`].
    pub(crate) fn canonical_for(
        &mut self,
        principal: &Principal,
        conn: ConnId,
        spelling: &str,
    ) -> Result<SessionKey, ErrorShape> {
        let key = self.sessions.resolve(spelling)?;
        // Told also when the client has come back to the canonical key: the last spelling counts.
        if principal.protocol == Protocol::V3 {
            self.tell(Down::Alias { conn, key: key.clone(), spelling: spelling.to_owned() });
        }
        Ok(key)
    }

    /// Writes what was changed of a session since the last call, together with `ops`, as one transaction.
    /// When the store fails the change is taken back before `then` runs.
    pub(crate) fn store_session(
        &mut self,
        key: &SessionKey,
        mut ops: Vec<Op>,
        then: impl FnOnce(&mut Self, Result<(), StoreError>) + Send + 'static,
    ) {
        let (op, change) = self.sessions.commit(key);
        ops.push(op);
        self.store(ops, move |gateway, result| {
            gateway.sessions.settle(&change, result.is_ok());
            then(gateway, result);
        });
    }

    /// Tells those who watch the list of sessions that one has changed. To be called when the change is on
    /// disk.
    pub(crate) fn announce_session(&mut self, key: &SessionKey, reason: Reason, run: Option<&RunId>) {
        let payload = Json::of(&Changed {
            session_key: key,
            agent_id: self.sessions.rules().agent_of(key),
            session_id: self.sessions.get(key).map(|session| &session.id),
            reason: reason.as_str(),
            run_id: run,
            ts: self.now.wall,
            active_run_ids: Some(self.sessions.active_runs(key).collect()),
            session: self.session_row(key, Protocol::V4),
        });
        self.publish_change(payload);
        self.api_session_moved(key);
    }

    /// The same for a session that is gone. It names the incarnation, because there may be a new one already,
    /// and shows nothing of that.
    pub(super) fn announce_removal(&mut self, key: &SessionKey, session: &SessionId) {
        let payload = Json::of(&Changed {
            session_key: key,
            agent_id: self.sessions.rules().agent_of(key),
            session_id: Some(session),
            reason: Reason::Delete.as_str(),
            run_id: None,
            ts: self.now.wall,
            active_run_ids: None,
            session: None,
        });
        self.publish_change(payload);
    }

    fn publish_change(&mut self, payload: Json) {
        self.publish(Publish {
            event: EventName::SessionsChanged,
            v3: None,
            v4: Some(payload),
            droppable: false,
            to: Audience::SessionList,
            state: None,
        });
    }
}
