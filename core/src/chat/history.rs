//! `chat.history` and `chat.startup` (spec 02 §7.2, §13, §20.5).

use serde_json::value::{RawValue, to_raw_value};
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
use crate::store::{self, Loaded, PageQuery, Place, Query, TranscriptEntry};

use super::session_named;

const DEFAULT_LIMIT: usize = 200;
/// How far back other branches than the active one are looked through, in messages.
pub(super) const MAX_REACH: usize = 20_000;
/// Beyond so many messages, or so many bytes, what is new is loaded as a page and not told as a delta.
const MAX_DELTA: usize = 200;
const MAX_DELTA_BYTES: usize = 1024 * 1024;

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
    asked: Asked,
}

/// What protocol 4 asks about words that may not have had their turn.
#[derive(Default)]
struct Asked {
    runs: Vec<RunId>,
    before: Option<usize>,
}

/// `chat.history`: a page of a session's transcript, the end as a rule.
pub(crate) fn history(gateway: &mut Gateway, call: Call<ChatHistoryParams>) -> Answer<Json> {
    let params = &call.params;
    closed(
        "chat.history",
        call.protocol(),
        &[
            ("agentId", params.agent_id.is_some()),
            ("cursor", params.cursor.is_some()),
            ("inputRunIds", params.input_run_ids.is_some()),
            ("maxBytes", params.max_bytes.is_some()),
            ("maxChars", params.max_chars.is_some()),
            ("messageId", params.message_id.is_some()),
            ("offset", params.offset.is_some()),
            ("pendingBefore", params.pending_before.is_some()),
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
) -> Answer<Json> {
    let Call { principal, ticket, params, .. } = call;
    let (principal, params) = (&*principal, &params);
    let asked = check(params, if startup.is_some() { "chat.startup" } else { "chat.history" })?;
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
        offset: params.offset.map_or(0, Count::as_len),
        around: params.message_id.as_ref().map(|id| id.as_str().to_owned()),
        max_chars: params.max_chars.map(Count::as_len),
        max_bytes: params.max_bytes.map_or(most, Count::as_len).min(most),
        startup,
        asked,
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
        (None, _) if params.cursor.is_some() => return Ok(Reply::Ready(reset())),
        (None, _) => {
            let empty = gateway.history_page(&page, None, &store::Page::default());
            return Ok(Reply::Ready(Json::of(&empty)));
        }
    };
    let runs = page.asked.runs.clone();
    let brief = page.protocol == Protocol::V4;
    if let Some(cursor) = &params.cursor {
        let Some(after) = read_cursor(cursor, &session) else { return Ok(Reply::Ready(reset())) };
        let (limit, max_bytes, place) = (MAX_DELTA, MAX_DELTA_BYTES, Place::After(after));
        let query = PageQuery { session: session.clone(), place, limit, max_bytes, brief, runs };
        gateway.load_page(&page.key.clone(), query, move |gateway, loaded| {
            let outcome = loaded.map(|loaded| gateway.history_delta(&page, &session, after, &loaded));
            gateway.reply(ticket, outcome.unwrap_or_else(Outcome::error));
        });
        return Ok(Reply::Later);
    }
    let place = match &page.around {
        None => Place::End(page.offset),
        Some(id) => Place::Around(id.clone()),
    };
    let (limit, max_bytes) = (page.limit, page.max_bytes);
    let query = PageQuery { session: session.clone(), place, limit, max_bytes, brief, runs };
    gateway.load_page(&page.key.clone(), query, move |gateway, loaded| {
        let outcome = match (loaded, &page.around) {
            (Err(error), _) => Outcome::error(error),
            (Ok(loaded), Some(id)) if loaded.entries.is_empty() => {
                Outcome::error(ErrorShape::invalid(format!("messageId not found: {id}")))
            }
            (Ok(loaded), _) => Outcome::ok(Json::of(&gateway.history_page(&page, Some(&session), &loaded))),
        };
        gateway.reply(ticket, outcome);
    });
    Ok(Reply::Later)
}

/// Refuses what cannot be asked together, and takes what is asked about waiting words.
fn check(params: &ChatHistoryParams, method: &str) -> Result<Asked, ErrorShape> {
    const MAX_RUNS: usize = 50;
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
    let runs = params.input_run_ids.as_deref().unwrap_or_default();
    if params.input_run_ids.is_some() && runs.is_empty() {
        return refuse("at /inputRunIds: must NOT have fewer than 1 items");
    }
    if runs.len() > MAX_RUNS {
        return refuse("at /inputRunIds: must NOT have more than 50 items");
    }
    Ok(Asked {
        runs: runs.iter().map(|run| RunId::new(run.as_str())).collect(),
        before: params.pending_before.map(Count::as_len),
    })
}

/// The place up to which a client knows a transcript; opaque for clients.
fn cursor(session: &SessionId, seq: u64) -> String {
    format!("{seq}.{session}")
}

fn read_cursor(cursor: &str, current: &SessionId) -> Option<u64> {
    let (seq, session) = cursor.split_once('.')?;
    (session == current.as_str()).then(|| seq.parse().ok())?
}

/// The answer to a cursor from which there is no way on: the client loads a page.
fn reset() -> Json {
    Json::of(&json!({"kind": "reset"}))
}

/// Whether the caller is a web page that draws the transcript.
fn is_browser(principal: &Principal) -> bool {
    let client = principal.declared.shown();
    client.mode == "webchat"
        || matches!(client.id.as_str(), "webchat-ui" | "openclaw-control-ui" | "clawdbot-control-ui")
}

impl Gateway {
    /// Loads a page of the active branch.
    fn load_page(
        &mut self,
        key: &SessionKey,
        query: PageQuery,
        then: impl FnOnce(&mut Self, Result<store::Page, ErrorShape>) + Send + 'static,
    ) {
        let key = key.clone();
        let branched = self.sessions.is_branched(&key);
        let asked = if branched {
            // The lines of other branches lie between those of this one.
            let max_bytes = limits::length(limits::HISTORY_BYTES) * 4;
            PageQuery { place: Place::End(0), limit: MAX_REACH, max_bytes, ..query.clone() }
        } else {
            query.clone()
        };
        self.load(Query::Page(asked), move |gateway, loaded| {
            let page = match loaded {
                Ok(Loaded::Page(all)) if branched => Ok(gateway.branch_page(&key, &query, all)),
                Ok(Loaded::Page(page)) => Ok(page),
                Ok(_) => Err(ErrorShape::unavailable("the store answered another question")),
                Err(error) => Err(error.into()),
            };
            then(gateway, page);
        });
    }

    /// A page of the active branch out of the end of the transcript.
    fn branch_page(&self, key: &SessionKey, query: &PageQuery, all: store::Page) -> store::Page {
        let words_of = all.words_of;
        let lines = self.sessions.on_branch(key, all.entries);
        let mut page = query.of(&lines);
        let begins = page.entries.first().is_none_or(|first| first.parent.is_none());
        page.earlier |= all.earlier && !begins;
        // From a line of another branch nothing leads on.
        page.later |= match query.place {
            Place::After(seq) => seq > 0 && !lines.iter().any(|line| line.seq == seq),
            _ => false,
        };
        store::Page { words_of, ..page }
    }

    /// The last messages of a session, oldest first, as protocol 4 shows them; none when there is no such session.
    pub(crate) fn last_messages(
        &mut self,
        key: &SessionKey,
        limit: usize,
        then: impl FnOnce(&mut Self, Result<Vec<Value>, ErrorShape>) + Send + 'static,
    ) {
        let Some(session) = self.sessions.get(key) else { return then(self, Ok(Vec::new())) };
        let max_bytes = limits::length(limits::HISTORY_BYTES);
        let (session, place) = (session.id.clone(), Place::End(0));
        let query = PageQuery { session, place, limit, max_bytes, brief: true, runs: Vec::new() };
        self.load_page(key, query, |gateway, page| {
            let messages = page.map(|page| page.entries.iter().filter_map(as_event).collect());
            then(gateway, messages);
        });
    }

    /// What was said since a cursor, or the advice to load a page.
    fn history_delta(&self, page: &Page, session: &SessionId, after: u64, loaded: &store::Page) -> Outcome {
        let bytes: usize = loaded.entries.iter().map(|entry| entry.message.as_str().len()).sum();
        // A place that the transcript does not reach was handed out before a write failed.
        let lost = loaded.entries.is_empty() && self.last_seq(&page.key) < after;
        if loaded.later || bytes > MAX_DELTA_BYTES || lost {
            return Outcome::ok(reset());
        }
        let last = loaded.entries.last().map_or(after, |entry| entry.seq);
        let messages: Vec<Value> = loaded.entries.iter().filter_map(|entry| shown(page, entry)).collect();
        let mut delta = json!({
            "kind": "delta",
            "messages": messages,
            "deltaCursor": cursor(session, last),
            "sessionInfo": self.session_row(&page.key, Protocol::V4),
        });
        let optional = [
            ("inFlightRun", self.in_flight(&page.key).and_then(|run| serde_json::to_value(run).ok())),
            ("pendingInputs", self.pending_inputs(&page.key, page.asked.before)),
            ("inputReceipts", self.input_receipts(page, loaded)),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                delta[name] = value;
            }
        }
        Outcome::ok(Json::of(&delta))
    }

    fn history_page(&self, page: &Page, session: Option<&SessionId>, loaded: &store::Page) -> ChatHistory {
        let entries = loaded.entries.iter().enumerate();
        let messages = entries.filter_map(|(at, entry)| Some((at, to_raw_value(&shown(page, entry)?).ok()?)));
        let (messages, first) = fit(messages.collect(), loaded.entries.len(), page.max_bytes);
        let entry = self.sessions.entry(&page.key);
        let thinking = entry.and_then(|entry| entry.thinking_level.clone());
        let later = (page.protocol == Protocol::V4).then(|| self.history_later(page, session, loaded, first));
        ChatHistory {
            session_key: page.shown_key.clone(),
            session_id: session.map(|session| session.as_str().to_owned()),
            thinking_level: thinking
                .unwrap_or_else(|| self.agents.thinking_default(&self.model_of(&page.key))),
            later,
            messages,
        }
    }

    /// What protocol 4 adds; `first` is the place of the first entry that was not left out for its size.
    fn history_later(
        &self,
        page: &Page,
        session: Option<&SessionId>,
        loaded: &store::Page,
        first: usize,
    ) -> ChatHistoryLater {
        let row = self.session_row(&page.key, Protocol::V4);
        let total = self.last_seq(&page.key);
        let length = |length: usize| u64::try_from(length).unwrap_or(u64::MAX);
        let paged = page.around.is_none();
        let at_end = paged && page.offset == 0;
        let has_more = loaded.earlier || first > 0;
        let entry = self.sessions.entry(&page.key);
        let verbose = entry.and_then(|entry| entry.verbose_level.clone());
        let last = loaded.entries.last().map_or(0, |entry| entry.seq);
        ChatHistoryLater {
            verbose_level: verbose.or_else(|| self.settings.agents.verbose_default.clone()),
            defaults: Json::of(&self.session_defaults()),
            session_info: row.map(|row| Json::of(&row)),
            offset: (paged && page.offset > 0).then(|| length(page.offset)),
            next_offset: (paged && has_more).then(|| length(page.offset + loaded.entries.len() - first)),
            has_more,
            total_messages: total,
            complete_snapshot: at_end && !has_more,
            delta_cursor: session.filter(|_| at_end).map(|session| cursor(session, last)),
            pending_inputs: self.pending_inputs(&page.key, page.asked.before),
            input_receipts: self.input_receipts(page, loaded),
            in_flight_run: self.in_flight(&page.key),
            agents_list: page.startup.as_ref().map(|_| Json::of(&self.agents_list(Protocol::V4))),
            metadata: page.startup.as_ref().map(|_| self.chat_metadata()),
            resolution: page.startup.as_ref().and_then(|paint| paint.resolution.clone()),
        }
    }

    fn last_seq(&self, key: &SessionKey) -> u64 {
        self.sessions.get(key).map_or(0, |session| session.last_seq)
    }

    /// The words that wait for their turn, the newest twenty before a place in the queue.
    fn pending_inputs(&self, key: &SessionKey, before: Option<usize>) -> Option<Value> {
        const MOST: usize = 20;
        let waiting = self.runs.waiting(key);
        if waiting.is_empty() {
            return None;
        }
        let end = before.map_or(waiting.len(), |before| (before - 1).min(waiting.len()));
        let first = end.saturating_sub(MOST);
        let items: Vec<Value> = waiting[first..end]
            .iter()
            .map(|run| {
                let (id, text, at) = (run.id(), run.words(), run.admitted_at());
                let content = json!([{"type": "text", "text": text}]);
                let message = json!({"role": "user", "content": content, "timestamp": at});
                json!({"id": id, "runId": id, "message": message, "acceptedAt": at, "state": "queued"})
            })
            .collect();
        let mut pending = json!({"items": items, "total": waiting.len()});
        if first > 0 {
            pending["nextBefore"] = (first + 1).into();
        }
        Some(pending)
    }

    /// Whether the words of the runs that were asked for have had their turn.
    fn input_receipts(&self, page: &Page, loaded: &store::Page) -> Option<Value> {
        let receipt = |run: &RunId| {
            if self.runs.get(run).is_some_and(|run| !run.has_begun()) {
                return Some(json!({"runId": run, "state": "pending"}));
            }
            let (_, id) = loaded.words_of.iter().find(|(of, _)| of == run)?;
            Some(json!({"runId": run, "state": "consumed", "consumedByEventId": id}))
        };
        let runs = &page.asked.runs;
        (!runs.is_empty()).then(|| runs.iter().filter_map(receipt).collect::<Vec<_>>().into())
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
    let bytes = entry.message.as_str().len();
    if protocol == Protocol::V4
        && let Some(brief) = store::brief(bytes, &message)
    {
        message = brief;
    }
    if !message.is_object() || !sanitise::message(&mut message, protocol, max_chars) {
        return None;
    }
    if draws {
        store::images_of(&mut message).for_each(add_source);
    }
    if protocol == Protocol::V4 {
        let mut about = json!({"id": entry.id, "seq": entry.seq});
        if sanitise::text_of(&message) == sanitise::TOO_LARGE {
            about["truncated"] = json!({"reason": "oversized", "bytes": bytes});
        }
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

fn add_source(block: &mut Value) {
    if let (Some(data), Some(mime)) = (block.get("data").cloned(), block.get("mimeType").cloned()) {
        block["source"] = json!({"type": "base64", "media_type": mime, "data": data});
    }
}

/// Leaves the oldest messages out until the rest fits, but keeps one. Messages come with their places among
/// `entries` entries; says at which of these the rest begins.
fn fit(
    mut messages: Vec<(usize, Box<RawValue>)>,
    entries: usize,
    max_bytes: usize,
) -> (Vec<Box<RawValue>>, usize) {
    let size = |message: &RawValue| message.get().len() + 1;
    let mut bytes = messages.iter().map(|(_, message)| size(message)).sum::<usize>() + 1;
    let mut left_out = 0;
    while bytes > max_bytes && left_out + 1 < messages.len() {
        bytes -= size(&messages[left_out].1);
        left_out += 1;
    }
    let first = match left_out {
        0 => 0,
        _ => messages.get(left_out).map_or(entries, |(at, _)| *at),
    };
    (messages.split_off(left_out).into_iter().map(|(_, message)| message).collect(), first)
}
