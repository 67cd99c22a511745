//! `GET /sessions/{key}/history`: the end of a transcript, page by page (spec 04 §13.1).

use serde_json::{Value, json};
use telson_proto::Protocol;

use super::errors::{Refusal, Spelling};
use super::route::Head;
use super::{Pending, Stage};
use crate::auth::{Effect, Principal, authorize};
use crate::gateway::Gateway;
use crate::http::HttpResponse;
use crate::ids::{HttpId, SessionId, SessionKey};
use crate::limits;
use crate::sessions::sanitise;
use crate::store::{Loaded, Query, TranscriptEntry};

const DEFAULT_LIMIT: usize = 200;
/// How far back a cursor reaches, in messages.
const MAX_REACH: u64 = 20_000;

/// A page that was asked for.
pub(super) struct Page {
    pub(super) key: SessionKey,
    limit: usize,
    /// Only what stands before this position.
    before: Option<u64>,
    /// Whether the client wants these messages only, and not each new one by itself.
    pub(super) windowed: bool,
}

impl Gateway {
    /// Answers with the newest messages of a session, or with those before a cursor.
    pub(super) fn session_history(&mut self, id: HttpId, head: &Head, principal: &Principal, raw: &str) {
        if let Err(refusal) = self.begin_history(id, head, principal, raw) {
            self.refuse_http(id, Spelling::Ok, &refusal);
        }
    }

    fn begin_history(
        &mut self,
        id: HttpId,
        head: &Head,
        principal: &Principal,
        raw: &str,
    ) -> Result<(), Refusal> {
        let key = self.session_in_path(raw)?;
        authorize(principal, &Effect::ReadSessions).map_err(|error| Refusal::of(&error))?;
        let most = limits::length(limits::HISTORY_MESSAGES);
        let limit = match head.query("limit").map(|limit| limit.parse::<usize>()) {
            None => DEFAULT_LIMIT,
            Some(Ok(limit)) if (1..=most).contains(&limit) => limit,
            Some(_) => return Err(Refusal::invalid(format!("limit must be a number from 1 to {most}"))),
        };
        let before = match head.query("cursor").map(|cursor| cursor.parse::<u64>()) {
            None => None,
            Some(Ok(cursor)) if cursor > 0 => Some(cursor),
            Some(_) => return Err(Refusal::invalid("cursor must be the nextCursor of an earlier page")),
        };
        let page = Page { key, limit, before, windowed: head.query("limit").is_some() || before.is_some() };
        if head.wants_events() {
            self.follow_session(id, principal.clone(), page);
            return Ok(());
        }
        let query = self.page_query(&page);
        self.api.pending.insert(id, Pending { spelling: Spelling::Ok, stage: Stage::Waiting });
        self.load(query, move |gateway, loaded| {
            if gateway.api.take(id).is_none() {
                return;
            }
            match loaded {
                Ok(Loaded::Entries(entries)) => {
                    gateway.respond(id, HttpResponse::json(200, page.body(entries).to_string()));
                }
                _ => gateway.refuse_http(id, Spelling::Ok, &Refusal::internal()),
            }
        });
        Ok(())
    }

    /// What to ask the store for a page. A session that is gone has an empty one.
    pub(super) fn page_query(&self, page: &Page) -> Query {
        let (session, last) = match self.sessions.get(&page.key) {
            Some(session) => (session.id.clone(), session.last_seq),
            None => (SessionId::new(""), 0),
        };
        // A page further back lies behind those that come after it.
        let behind = page.before.map_or(0, |before| (last + 1).saturating_sub(before)).min(MAX_REACH);
        let bytes = limits::length(limits::HISTORY_BYTES);
        Query::Tail {
            session,
            limit: page.limit + limits::length(behind),
            max_bytes: if behind == 0 { bytes } else { bytes * 4 },
        }
    }
}

impl Page {
    /// The page as the client gets it.
    pub(super) fn body(&self, mut entries: Vec<TranscriptEntry>) -> Value {
        let reached = entries.first().map(|entry| entry.seq);
        entries.retain(|entry| self.before.is_none_or(|before| entry.seq < before));
        entries.drain(..entries.len().saturating_sub(self.limit));
        // The newest messages as far as the bytes reach, but at least one.
        let mut bytes = 0;
        let mut first = None;
        let mut messages = Vec::new();
        for entry in entries.iter().rev() {
            let message = shown(entry);
            bytes += message.as_ref().map_or(0, |message| message.to_string().len());
            if bytes > limits::length(limits::HISTORY_BYTES) && first.is_some() {
                break;
            }
            first = Some(entry.seq);
            messages.extend(message);
        }
        messages.reverse();
        let first = first.or(reached);
        let has_more = first.is_some_and(|first| first > 1) && !entries.is_empty();
        let mut body = json!({
            "sessionKey": self.key,
            "items": messages,
            "messages": messages,
            "hasMore": has_more,
        });
        if let Some(first) = first.filter(|_| has_more) {
            body["nextCursor"] = first.to_string().into();
        }
        body
    }
}

/// An entry as people may see it; `None` when it is not for showing.
pub(super) fn shown(entry: &TranscriptEntry) -> Option<Value> {
    let mut message = entry.message.to_value();
    if !message.is_object() || !sanitise::message(&mut message, Protocol::V4, None) {
        return None;
    }
    message["__openclaw"] = json!({"id": entry.id, "seq": entry.seq});
    Some(message)
}
