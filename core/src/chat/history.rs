//! `chat.history` and `chat.startup` (spec 02 §7.2, §13, §20.5).

use serde_json::{Value, json};
use telson_proto::chat::{ChatHistory, ChatHistoryLater, ChatHistoryParams, InFlightRun};
use telson_proto::params::Count;
use telson_proto::{ErrorShape, Json, Protocol};

use crate::auth::{Effect, Principal, authorize};
use crate::gateway::{Answer, Call, Gateway, Reply};
use crate::ids::{RunId, SessionId, SessionKey};
use crate::limits;
use crate::messages::Outcome;
use crate::runs::Run;
use crate::sessions::{closed, sanitise};
use crate::store::{Loaded, Query, TranscriptEntry};

use super::session_named;

const DEFAULT_LIMIT: usize = 200;
/// How far back `offset` reaches, in messages.
pub(super) const MAX_REACH: usize = 20_000;
/// The longest message that protocol 4 shows whole, in bytes; images give way first.
const MAX_MESSAGE_BYTES: usize = 128 * 1024;

/// What a page of history is to be.
struct Page {
    key: SessionKey,
    shown_key: String,
    protocol: Protocol,
    /// The caller draws images itself and knows them by `source` [C-12].
    draws: bool,
    limit: usize,
    offset: usize,
    around: Option<String>,
    max_chars: Option<usize>,
    max_bytes: usize,
    startup: Option<FirstPaint>,
}

/// `chat.history`: the end of a session's transcript.
pub(crate) fn history(gateway: &mut Gateway, call: Call<ChatHistoryParams>) -> Answer<ChatHistory> {
    let params = &call.params;
    closed(
        "chat.history",
        call.protocol(),
        &[
            ("agentId", params.agent_id.is_some()),
            ("cursor", params.cursor.is_some()),
            ("maxBytes", params.max_bytes.is_some()),
            ("maxChars", params.max_chars.is_some()),
            ("messageId", params.message_id.is_some()),
            ("offset", params.offset.is_some()),
            ("sessionId", params.session_id.is_some()),
        ],
    )?;
    load(gateway, call, None)
}

/// What `chat.startup` adds to a page.
#[derive(Clone, Debug, Default)]
pub(super) struct FirstPaint {
    /// The answer to `sessions.resolve`, when the session was named by a short id.
    pub(super) resolution: Option<Json>,
}

/// Loads a page and answers with it.
pub(super) fn load(
    gateway: &mut Gateway,
    call: Call<ChatHistoryParams>,
    startup: Option<FirstPaint>,
) -> Answer<ChatHistory> {
    let Call { principal, ticket, params, .. } = call;
    let (principal, params) = (&*principal, &params);
    check_combination(params, if startup.is_some() { "chat.startup" } else { "chat.history" })?;
    let key =
        session_named(gateway, principal, &ticket, params.session_key.as_str(), params.agent_id.as_ref())?;
    authorize(principal, &Effect::ReadSessions)?;
    let most = limits::length(limits::HISTORY_BYTES);
    let page = Page {
        shown_key: match principal.protocol {
            Protocol::V3 => params.session_key.as_str().to_owned(),
            Protocol::V4 => key.as_str().to_owned(),
        },
        protocol: principal.protocol,
        draws: is_browser(principal),
        limit: params.limit.map_or(DEFAULT_LIMIT, Count::as_len),
        offset: params.offset.map_or(0, Count::as_len).min(MAX_REACH),
        around: params.message_id.as_ref().map(|id| id.as_str().to_owned()),
        max_chars: params.max_chars.map(Count::as_len),
        max_bytes: params.max_bytes.map_or(most, Count::as_len).min(most),
        startup,
        key,
    };
    let asked = params.session_id.as_ref().map(|id| SessionId::new(id.as_str()));
    let current = gateway.sessions.get(&page.key).map(|session| session.id.clone());
    let session = match (current, asked) {
        (Some(current), Some(asked)) if current != asked => {
            return Err(ErrorShape::invalid(
                "sessionId is not the current one of this sessionKey; load it again",
            )
            .with_details(&json!({"reason": "session-changed"})));
        }
        (Some(session), _) => session,
        (None, _) => return Ok(Reply::Ready(gateway.history_page(&page, None, &[]))),
    };
    // Beside the lines of a page there may be those of other branches.
    let branched = gateway.sessions.is_branched(&page.key);
    // A page further back lies behind those that come after it, and the page around a message anywhere.
    let (limit, max_bytes) = match (&page.around, page.offset) {
        (None, 0) if !branched => (page.limit, page.max_bytes),
        (None, _) if branched => (MAX_REACH, most * 4),
        (None, offset) => (page.limit + offset, most * 4),
        (Some(_), _) => (MAX_REACH, most * 4),
    };
    let query = Query::Tail { session: session.clone(), limit, max_bytes };
    gateway.load(query, move |gateway, loaded| {
        let outcome = match loaded {
            Ok(Loaded::Entries(entries)) => gateway.history_answer(&page, &session, entries),
            Ok(Loaded::Everything(_)) => {
                Outcome::error(ErrorShape::unavailable("the store answered another question"))
            }
            Err(error) => Outcome::error(error.into()),
        };
        gateway.reply(ticket, outcome);
    });
    Ok(Reply::Later)
}

fn check_combination(params: &ChatHistoryParams, method: &str) -> Result<(), ErrorShape> {
    let refuse = |detail: &str| Err(ErrorShape::invalid(format!("invalid {method} params: {detail}")));
    let (cursor, offset) = (params.cursor.is_some(), params.offset.is_some());
    let message = params.message_id.is_some();
    if cursor && (offset || message) {
        return refuse("cursor cannot be combined with offset or messageId");
    }
    if offset && message {
        return refuse("offset cannot be combined with messageId");
    }
    if params.session_id.is_some() && !message {
        return refuse("sessionId requires messageId");
    }
    if cursor {
        return refuse("at /cursor: unknown cursor; load without it");
    }
    Ok(())
}

/// Whether the caller is a web page that draws the transcript.
fn is_browser(principal: &Principal) -> bool {
    let client = principal.declared.shown();
    client.mode == "webchat"
        || matches!(client.id.as_str(), "webchat-ui" | "openclaw-control-ui" | "clawdbot-control-ui")
}

impl Gateway {
    /// The last messages of a session, oldest first, as protocol 4 shows them; none when there is no such session.
    pub(crate) fn last_messages(
        &mut self,
        key: &SessionKey,
        limit: usize,
        then: impl FnOnce(&mut Self, Result<Vec<Value>, ErrorShape>) + Send + 'static,
    ) {
        let Some(session) = self.sessions.get(key) else { return then(self, Ok(Vec::new())) };
        let max_bytes = limits::length(limits::HISTORY_BYTES);
        let reach = if session.is_branched() { MAX_REACH } else { limit };
        let query = Query::Tail { session: session.id.clone(), limit: reach, max_bytes };
        let key = key.clone();
        self.load(query, move |gateway, loaded| {
            let messages = match loaded {
                Ok(Loaded::Entries(entries)) => {
                    let entries = gateway.sessions.on_branch(&key, entries);
                    let last = entries.iter().skip(entries.len().saturating_sub(limit));
                    Ok(fit(last.filter_map(as_event).collect(), max_bytes).0)
                }
                Ok(_) => Err(ErrorShape::unavailable("the store answered another question")),
                Err(error) => Err(error.into()),
            };
            then(gateway, messages);
        });
    }

    fn history_answer(&self, page: &Page, session: &SessionId, entries: Vec<TranscriptEntry>) -> Outcome {
        let mut entries = self.sessions.on_branch(&page.key, entries);
        if let Some(id) = &page.around {
            let Some(at) = entries.iter().position(|entry| entry.id == *id) else {
                return Outcome::error(ErrorShape::invalid(format!("messageId not found: {id}")));
            };
            let after = page.limit / 2;
            entries.truncate(at + after + 1);
        } else {
            entries.truncate(entries.len().saturating_sub(page.offset));
        }
        entries.drain(..entries.len().saturating_sub(page.limit));
        Outcome::ok(Json::of(&self.history_page(page, Some(session), &entries)))
    }

    fn history_page(
        &self,
        page: &Page,
        session: Option<&SessionId>,
        entries: &[TranscriptEntry],
    ) -> ChatHistory {
        let earlier = entries.first().is_some_and(|first| first.seq > 1 && first.parent.is_some());
        let shown = entries.iter().filter_map(|entry| shown(page, entry)).collect();
        let (messages, left_out) = fit(shown, page.max_bytes);
        let entry = self.sessions.entry(&page.key);
        let thinking = entry.and_then(|entry| entry.thinking_level.clone());
        let has_more = left_out > 0 || earlier;
        ChatHistory {
            session_key: page.shown_key.clone(),
            session_id: session.map(|session| session.as_str().to_owned()),
            thinking_level: thinking
                .unwrap_or_else(|| self.agents.thinking_default(&self.model_of(&page.key))),
            later: (page.protocol == Protocol::V4)
                .then(|| self.history_later(page, messages.len(), has_more)),
            messages,
        }
    }

    fn history_later(&self, page: &Page, shown: usize, has_more: bool) -> ChatHistoryLater {
        let row = self.session_row(&page.key, Protocol::V4);
        let total = self.sessions.get(&page.key).map_or(0, |session| session.last_seq);
        let next = u64::try_from(page.offset + shown).unwrap_or(u64::MAX);
        let paged = page.around.is_none();
        let entry = self.sessions.entry(&page.key);
        let verbose = entry.and_then(|entry| entry.verbose_level.clone());
        ChatHistoryLater {
            verbose_level: verbose.or_else(|| self.settings.agents.verbose_default.clone()),
            defaults: Json::of(&self.session_defaults()),
            session_info: row.map(|row| Json::of(&row)),
            offset: (paged && page.offset > 0).then(|| u64::try_from(page.offset).unwrap_or(u64::MAX)),
            next_offset: (paged && has_more).then_some(next),
            has_more,
            total_messages: total,
            in_flight_run: self.in_flight(&page.key),
            agents_list: page.startup.as_ref().map(|_| Json::of(&self.agents_list(Protocol::V4))),
            metadata: page.startup.as_ref().map(|_| self.chat_metadata()),
            resolution: page.startup.as_ref().and_then(|paint| paint.resolution.clone()),
        }
    }

    /// The run of a session that is being answered now.
    fn in_flight(&self, key: &SessionKey) -> Option<InFlightRun> {
        let begun = |run: &RunId| Some((run.clone(), self.runs.get(run).filter(|run| run.has_begun())?));
        let (id, run): (RunId, &Run) = self.sessions.active_runs(key).find_map(begun)?;
        Some(InFlightRun { run_id: id.as_str().to_owned(), text: run.text().to_owned() })
    }
}

/// An entry as the caller may see it; `None` when it is not for showing.
fn shown(page: &Page, entry: &TranscriptEntry) -> Option<Value> {
    as_seen(entry, page.protocol, page.draws, page.max_chars)
}

/// An entry as those hear of it who watch its session; `None` when it is not for showing.
pub(crate) fn as_event(entry: &TranscriptEntry) -> Option<Value> {
    as_seen(entry, Protocol::V4, false, None)
}

pub(super) fn as_seen(
    entry: &TranscriptEntry,
    protocol: Protocol,
    draws: bool,
    max_chars: Option<usize>,
) -> Option<Value> {
    let mut message = entry.message.to_value();
    if protocol == Protocol::V4 && entry.message.as_str().len() > MAX_MESSAGE_BYTES {
        images_of(&mut message).for_each(leave_out);
    }
    if !message.is_object() || !sanitise::message(&mut message, protocol, max_chars) {
        return None;
    }
    if draws {
        images_of(&mut message).for_each(add_source);
    }
    if protocol == Protocol::V4 {
        let mut about = json!({"id": entry.id, "seq": entry.seq});
        if let Some(run) = &entry.run {
            about["runId"] = run.as_str().into();
        }
        if let Some(key) = message.get("idempotencyKey") {
            about["idempotencyKey"] = key.clone();
        }
        message["__openclaw"] = about;
    }
    Some(message)
}

fn images_of(message: &mut Value) -> impl Iterator<Item = &mut Value> {
    let blocks = message.get_mut("content").and_then(Value::as_array_mut);
    blocks.into_iter().flatten().filter(|block| block.get("type").is_some_and(|kind| kind == "image"))
}

fn leave_out(block: &mut Value) {
    let data = block.get("data").and_then(Value::as_str).map_or(0, str::len);
    *block =
        json!({"type": "image", "mimeType": block.get("mimeType"), "bytes": data / 4 * 3, "omitted": true});
}

fn add_source(block: &mut Value) {
    if let (Some(data), Some(mime)) = (block.get("data").cloned(), block.get("mimeType").cloned()) {
        block["source"] = json!({"type": "base64", "media_type": mime, "data": data});
    }
}

/// Leaves the oldest messages out until the rest fits, but keeps one. Says how many were left out.
fn fit(mut messages: Vec<Value>, max_bytes: usize) -> (Vec<Value>, usize) {
    let sizes: Vec<usize> = messages.iter().map(|message| message.to_string().len() + 1).collect();
    let mut bytes = sizes.iter().sum::<usize>() + 1;
    let mut left_out = 0;
    while bytes > max_bytes && left_out + 1 < sizes.len() {
        bytes -= sizes[left_out];
        left_out += 1;
    }
    messages.drain(..left_out);
    (messages, left_out)
}
