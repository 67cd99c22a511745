//! `sessions.preview`: the last messages of several sessions (spec 02 §14.2).

use serde::{Deserialize, Serialize};
use serde_json::Value;
use telson_proto::Json;
use telson_proto::Protocol;
use telson_proto::params::{Count, Text};

use crate::auth::{Effect, authorize};
use crate::gateway::{Answer, Call, Gateway, Reply};
use crate::ids::{SessionId, SessionKey, Ticket};
use crate::messages::Outcome;
use crate::store::{Loaded, Query, TranscriptEntry};

use super::{sanitise, title};

const MAX_KEYS: usize = 64;
const DEFAULT_ITEMS: u64 = 12;
const MAX_ITEMS: u64 = 50;
const DEFAULT_CHARS: u64 = 240;
const MAX_CHARS: u64 = 2_000;
/// How far back a transcript is read, in lines and in bytes.
const TAIL_LINES: usize = 200;
const TAIL_BYTES: usize = 1_048_576;

/// The parameters.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PreviewParams {
    keys: Vec<Text>,
    #[serde(default)]
    limit: Option<Count<1>>,
    #[serde(default)]
    max_chars: Option<Count<20>>,
}

#[derive(Debug, Serialize)]
struct PreviewResult {
    ts: u64,
    previews: Vec<Preview>,
}

/// The end of one conversation.
#[derive(Debug, Serialize)]
struct Preview {
    /// As the client spelled it.
    key: String,
    status: &'static str,
    items: Vec<Item>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Item {
    role: &'static str,
    text: String,
}

/// What is collected until every transcript has been read.
struct Collecting {
    ticket: Ticket,
    previews: Vec<Preview>,
    /// Transcripts to read yet: which preview they are for, and the incarnation.
    waiting: Vec<(usize, SessionKey, SessionId)>,
    limit: usize,
    max_chars: usize,
    protocol: Protocol,
}

/// `sessions.preview`: reads the end of each transcript, one after the other, and then answers.
pub(crate) fn preview(gateway: &mut Gateway, call: Call<PreviewParams>) -> Answer<()> {
    authorize(&call.principal, &Effect::ReadSessions)?;
    let params = &call.params;
    if params.keys.is_empty() {
        let reason = "must NOT have fewer than 1 items";
        return Err(super::methods::invalid("sessions.preview", "keys", &reason));
    }
    let bounded = |asked: Option<u64>, default: u64, most: u64| {
        usize::try_from(asked.unwrap_or(default).min(most)).unwrap_or(usize::MAX)
    };
    let mut collecting = Collecting {
        protocol: call.protocol(),
        previews: Vec::new(),
        waiting: Vec::new(),
        limit: bounded(params.limit.map(Count::get), DEFAULT_ITEMS, MAX_ITEMS),
        max_chars: bounded(params.max_chars.map(Count::get), DEFAULT_CHARS, MAX_CHARS),
        ticket: call.ticket,
    };
    for (place, spelling) in params.keys.iter().take(MAX_KEYS).enumerate() {
        let key = gateway.sessions.resolve(spelling.as_str()).ok();
        let session = key.as_ref().and_then(|key| gateway.sessions.stored(key));
        let shown = spelling.as_str().to_owned();
        let status = match session {
            None => "missing",
            Some(_) => "empty",
        };
        if let Some((key, session)) = session.filter(|(_, session)| session.last_seq > 0) {
            collecting.waiting.push((place, key.clone(), session.id.clone()));
        }
        collecting.previews.push(Preview { key: shown, status, items: Vec::new() });
    }
    gateway.collect_previews(collecting);
    Ok(Reply::Later)
}

impl Gateway {
    /// Reads the next transcript, or answers. One at a time: at most one tail is in memory.
    fn collect_previews(&mut self, mut collecting: Collecting) {
        let Some((place, key, session)) = collecting.waiting.pop() else {
            let result = PreviewResult { ts: self.now.wall, previews: collecting.previews };
            return self.reply(collecting.ticket, Outcome::ok(Json::of(&result)));
        };
        let query = Query::Tail { session, limit: TAIL_LINES, max_bytes: TAIL_BYTES };
        self.load(query, move |gateway, loaded| {
            let loaded = match loaded {
                Ok(Loaded::Entries(lines)) => Ok(gateway.sessions.on_branch(&key, lines)),
                Ok(_) | Err(_) => Err(()),
            };
            collecting.take(place, loaded);
            gateway.collect_previews(collecting);
        });
    }
}

impl Collecting {
    fn take(&mut self, place: usize, loaded: Result<Vec<TranscriptEntry>, ()>) {
        let items = loaded.map(|entries| self.items(&entries));
        let Some(preview) = self.previews.get_mut(place) else { return };
        match items {
            Ok(items) => {
                preview.status = if items.is_empty() { "empty" } else { "ok" };
                preview.items = items;
            }
            Err(()) => preview.status = "error",
        }
    }

    fn items(&self, entries: &[TranscriptEntry]) -> Vec<Item> {
        let newest = entries.iter().rev();
        let items = newest.filter_map(|entry| item(entry.message.to_value(), self.protocol, self.max_chars));
        let mut items: Vec<Item> = items.take(self.limit).collect();
        items.reverse();
        items
    }
}

/// What is shown of one message; `None` when there is nothing to show.
fn item(mut message: Value, protocol: Protocol, max_chars: usize) -> Option<Item> {
    if !sanitise::message(&mut message, protocol, None) {
        return None;
    }
    let role = role(message.get("role").and_then(Value::as_str).unwrap_or_default());
    let text = sanitise::text_of(&message);
    let text = match text.trim() {
        "" => without_text(&message)?,
        text => text.to_owned(),
    };
    Some(Item { role, text: title::shorten(&text, max_chars) })
}

fn role(role: &str) -> &'static str {
    match role.to_ascii_lowercase().as_str() {
        "user" => "user",
        "assistant" => "assistant",
        "system" => "system",
        "tool" | "toolresult" | "tool_result" => "tool",
        _ => "other",
    }
}

/// What stands for a message without text: the tools that it calls, or the kind of its media.
fn without_text(message: &Value) -> Option<String> {
    let blocks = message.get("content")?.as_array()?;
    let kind = |block: &Value| {
        block.get("type").and_then(Value::as_str).map(|t| t.to_ascii_lowercase().replace('_', ""))
    };
    let calls: Vec<&str> = blocks
        .iter()
        .filter(|block| matches!(kind(block).as_deref(), Some("toolcall" | "tooluse" | "functioncall")))
        .map(|block| block.get("name").and_then(Value::as_str).unwrap_or("tool"))
        .collect();
    if let [first, rest @ ..] = calls.as_slice() {
        return Some(match rest {
            [] => format!("call {first}"),
            [second] => format!("call {first}, {second}"),
            [second, more @ ..] => format!("call {first}, {second} +{}", more.len()),
        });
    }
    let media = blocks
        .iter()
        .filter_map(kind)
        .find(|kind| matches!(kind.as_str(), "image" | "audio" | "video" | "file"))?;
    Some(format!("[{media}]"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(message: Value) -> Option<(&'static str, String)> {
        item(message, Protocol::V3, 24).map(|item| (item.role, item.text))
    }

    #[test]
    fn messages_without_text_say_what_they_are() {
        let calls = |names: &[&str]| {
            let blocks: Vec<_> = names.iter().map(|name| json!({"type": "toolCall", "name": name})).collect();
            shown(json!({"role": "assistant", "content": blocks})).map(|(_, text)| text)
        };
        assert_eq!(calls(&["a"]).as_deref(), Some("call a"));
        assert_eq!(calls(&["a", "b"]).as_deref(), Some("call a, b"));
        assert_eq!(calls(&["a", "b", "c", "d"]).as_deref(), Some("call a, b +2"));
        let image = json!({"role": "user", "content": [{"type": "image", "data": "…"}]});
        assert_eq!(shown(image), Some(("user", "[image]".to_owned())));
        assert_eq!(shown(json!({"role": "assistant", "content": []})), None);
    }

    #[test]
    fn texts_are_sanitised_and_cut() {
        let user = json!({"role": "user", "content": "[WebChat me] hello there\n[message_id: run-1]"});
        assert_eq!(shown(user), Some(("user", "hello there".to_owned())));
        let long = json!({"role": "toolResult", "content": [{"type": "text", "text": "x".repeat(30)}]});
        assert_eq!(shown(long), Some(("tool", format!("{}...", "x".repeat(21)))));
    }
}
