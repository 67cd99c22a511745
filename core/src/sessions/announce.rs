//! What the rest of the gateway needs of the sessions: storing a change, names, and news (spec 02 §20.9).

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use telson_proto::{ErrorShape, EventName, Json, Protocol};

use crate::auth::Principal;
use crate::gateway::Gateway;
use crate::ids::{AgentId, ConnId, RunId, SessionId, SessionKey};
use crate::messages::{Audience, Down, Publish};
use crate::store::{Op, StoreError, TranscriptEntry};

use super::{Change, Row, SessionEntry, row};

/// So many ancestors of a session are told with it.
const MAX_ANCESTORS: usize = 64;

/// Why a session changed, as `sessions.changed` says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    Create,
    /// A new incarnation took the place of the old one because somebody wants a new conversation,
    New,
    /// or because somebody wants this one emptied.
    Reset,
    Send,
    /// As `Send`, in place of what was under way.
    Steer,
    Patch,
    Delete,
    Abort,
    /// A run began; names it.
    RunStarted,
    /// A run is over, however it ended.
    RunEnded,
    /// The transcript was cut.
    Compact,
    /// Another branch of the transcript is the conversation now.
    Branch,
}

impl Reason {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::New => "new",
            Self::Reset => "reset",
            Self::Send => "send",
            Self::Steer => "steer",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::Abort => "abort",
            Self::RunStarted => "agent.run.started",
            Self::RunEnded => "agent.input.settled",
            Self::Compact => "compact",
            Self::Branch => "branch",
        }
    }

    /// The same as a step of the conversation, which older clients read instead.
    fn phase(self, entry: Option<&SessionEntry>) -> Option<&'static str> {
        match self {
            Self::Send | Self::Steer => Some("message"),
            Self::RunStarted => Some("start"),
            Self::RunEnded => {
                let failed = entry.is_some_and(|entry| entry.status.as_deref() == Some("failed"));
                Some(if failed { "error" } else { "end" })
            }
            _ => None,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Changed<'a> {
    session_key: &'a SessionKey,
    reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    phase: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    run_id: Option<&'a RunId>,
    ts: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<&'a Row<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ancestor_sessions: Vec<Row<'a>>,
    #[serde(flatten)]
    about: About<'a>,
}

/// The row once more, flat; of a session that is gone no more than its names.
#[derive(Serialize)]
#[serde(untagged)]
enum About<'a> {
    Row(&'a Row<'a>),
    #[serde(rename_all = "camelCase")]
    Gone {
        agent_id: AgentId,
        #[serde(skip_serializing_if = "Option::is_none")]
        session_id: Option<&'a SessionId>,
    },
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MessageEvent<'a> {
    session_key: &'a SessionKey,
    agent_id: AgentId,
    message: Value,
    message_id: &'a str,
    message_seq: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    run_id: Option<&'a RunId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<Row<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Operation<'a> {
    operation_id: &'a str,
    operation: &'static str,
    phase: &'static str,
    session_key: &'a SessionKey,
    agent_id: AgentId,
    ts: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    completed: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
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

    /// Writes what was changed of several sessions, as one transaction.
    pub(super) fn store_sessions(
        &mut self,
        keys: &BTreeSet<SessionKey>,
        then: impl FnOnce(&mut Self, Result<(), StoreError>) + Send + 'static,
    ) {
        let (ops, changes): (Vec<Op>, Vec<Change>) = keys.iter().map(|key| self.sessions.commit(key)).unzip();
        self.store(ops, move |gateway, result| {
            for change in &changes {
                gateway.sessions.settle(change, result.is_ok());
            }
            then(gateway, result);
        });
    }

    /// Tells those who watch the list of sessions that one has changed, now or a moment later together with
    /// other changes. To be called when the change is on disk.
    pub(crate) fn announce_session(&mut self, key: &SessionKey, reason: Reason, run: Option<&RunId>) {
        if self.sessions.changes.note(self.now.mono, key, reason, run) {
            self.publish_session(key, reason, run);
        }
        self.api_session_moved(key);
    }

    /// The same for a session that is gone. It names the incarnation, because there may be a new one already,
    /// and shows nothing of that.
    pub(super) fn announce_removal(&mut self, key: &SessionKey, session: &SessionId) {
        self.sessions.changes.forget(key);
        let agent_id = self.sessions.rules().agent_of(key);
        let payload = Json::of(&Changed {
            session_key: key,
            reason: Reason::Delete.as_str(),
            phase: None,
            run_id: None,
            ts: self.now.wall,
            session: None,
            ancestor_sessions: Vec::new(),
            about: About::Gone { agent_id, session_id: Some(session) },
        });
        self.publish_later(EventName::SessionsChanged, payload, Audience::SessionList);
    }

    /// Tells those who watch the list that it is to be loaded again.
    pub(super) fn announce_list(&mut self, reason: &'static str) {
        let payload = Json::of(&serde_json::json!({"reason": reason, "ts": self.now.wall}));
        self.publish_later(EventName::SessionsChanged, payload, Audience::SessionList);
    }

    /// Tells those who watch a session's messages of a line of its transcript. To be called when the line is on
    /// disk, by whoever has appended it.
    pub(crate) fn announce_message(&mut self, key: &SessionKey, line: &TranscriptEntry) {
        if !self.sessions.watches.is_watched(key) {
            return;
        }
        let Some(message) = crate::chat::as_event(line) else { return };
        let payload = Json::of(&MessageEvent {
            session_key: key,
            agent_id: self.sessions.rules().agent_of(key),
            message,
            message_id: &line.id,
            message_seq: line.seq,
            run_id: line.run.as_ref(),
            session: self.session_row(key, Protocol::V4),
        });
        self.publish_later(EventName::SessionMessage, payload, Audience::SessionMessages(key.clone()));
    }

    /// Shows a tool of a session's run at work, given as an `agent` event of the session. On protocol 4 only
    /// clients that can show it hear of it: as they are told of the run when they take part in the session, as
    /// `session.tool` when they watch it.
    pub(crate) fn announce_tool(&mut self, event: Publish) {
        let Audience::Session(key) = event.to.clone() else { return self.publish(event) };
        let watched = self.sessions.watches.is_watched(&key);
        let copy = event.v4.clone().filter(|_| watched);
        self.publish(Publish { to: Audience::RunTools(key.clone()), ..event });
        if let Some(payload) = copy {
            self.publish_later(EventName::SessionTool, payload, Audience::SessionTools(key));
        }
    }

    /// Tells those who watch a session that its compaction begins, or (`completed`) that it is over.
    pub(crate) fn announce_compaction(
        &mut self,
        key: &SessionKey,
        operation: &str,
        completed: Option<bool>,
        reason: Option<&str>,
    ) {
        if !self.sessions.watches.is_watched(key) {
            return;
        }
        let payload = Json::of(&Operation {
            operation_id: operation,
            operation: "compact",
            phase: if completed.is_some() { "end" } else { "start" },
            session_key: key,
            agent_id: self.sessions.rules().agent_of(key),
            ts: self.now.wall,
            completed,
            reason,
        });
        self.publish_later(EventName::SessionOperation, payload, Audience::SessionMessages(key.clone()));
    }

    /// Tells of the changes that have waited long enough.
    pub(crate) fn session_timeouts(&mut self) {
        self.tell_changes(self.now.mono);
    }

    /// Tells of every change that waits.
    pub(crate) fn flush_session_changes(&mut self) {
        self.tell_changes(Duration::MAX);
    }

    fn tell_changes(&mut self, until: Duration) {
        while let Some((key, changes)) = self.sessions.changes.expired(self.now.mono, until) {
            for (reason, run) in changes {
                self.publish_session(&key, reason, run.as_ref());
            }
        }
    }

    fn publish_session(&mut self, key: &SessionKey, reason: Reason, run: Option<&RunId>) {
        let row = self.session_row(key, Protocol::V4);
        let payload = Json::of(&Changed {
            session_key: key,
            reason: reason.as_str(),
            phase: reason.phase(self.sessions.entry(key)),
            run_id: run,
            ts: self.now.wall,
            session: row.as_ref(),
            ancestor_sessions: self.ancestors(key),
            about: match &row {
                Some(row) => About::Row(row),
                None => About::Gone { agent_id: self.sessions.rules().agent_of(key), session_id: None },
            },
        });
        self.publish_later(EventName::SessionsChanged, payload, Audience::SessionList);
    }

    /// The rows of the session that has started this one, of the one that has started that, and so on.
    fn ancestors(&self, key: &SessionKey) -> Vec<Row<'_>> {
        let mut seen = BTreeSet::from([key.clone()]);
        let mut rows = Vec::new();
        let mut next = self.parent_of(key);
        while let Some(parent) =
            next.filter(|parent| rows.len() < MAX_ANCESTORS && seen.insert(parent.clone()))
        {
            let Some(row) = self.session_row(&parent, Protocol::V4) else { break };
            rows.push(row);
            next = self.parent_of(&parent);
        }
        rows
    }

    fn parent_of(&self, key: &SessionKey) -> Option<SessionKey> {
        row::parent(key, self.sessions.entry(key)?)
    }

    /// Sends an event that protocol 3 does not have.
    pub(super) fn publish_later(&mut self, event: EventName, payload: Json, to: Audience) {
        self.publish(Publish { event, v3: None, v4: Some(payload), droppable: false, to, state: None });
    }
}
