//! `sessions_history`: the end of a session's transcript.

use serde::Deserialize;
use serde_json::{Value, json};
use telson_proto::params::Count;

use crate::gateway::Gateway;
use crate::ids::{CallId, SessionKey};
use crate::limits;
use crate::sessions::sanitise;
use crate::store::{Loaded, Query, StoreError, TranscriptEntry};

use super::super::arguments::read;
use super::super::calls::{Begun, Work};
use super::super::untrusted::wrap;
use super::super::{ToolContext, ToolOutcome};
use super::object;

const DEFAULT_LIMIT: usize = 50;
/// The longest message that is given whole, in characters.
const MAX_CHARS: usize = 4_000;
/// The most bytes of all messages together; older ones are left out.
const MAX_BYTES: usize = 80 * 1024;

pub(in crate::tools) const DESCRIPTION: &str = "Read the end of a conversation, oldest message first. sessionKey is a \
    key or a session id of sessions_list, or `current`. Tool results are left out unless includeTools is true.";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Arguments {
    session_key: String,
    #[serde(default)]
    limit: Option<Count<1, 500>>,
    #[serde(default)]
    include_tools: bool,
}

pub(in crate::tools) fn parameters() -> Value {
    let limit = "At most so many messages; 50 when left out.";
    object(
        &json!({
            "sessionKey": {"type": "string", "description": "Which conversation."},
            "limit": {"type": "integer", "minimum": 1, "maximum": 500, "description": limit},
            "includeTools": {"type": "boolean", "description": "Show the results of tools too."},
        }),
        &["sessionKey"],
    )
}

pub(in crate::tools) fn begin(
    gateway: &mut Gateway,
    call: CallId,
    context: &ToolContext,
    arguments: &Value,
) -> Result<Begun, ToolOutcome> {
    let arguments: Arguments = read(arguments)?;
    let key = gateway.session_for_tool(context, &arguments.session_key)?;
    let Some(session) = gateway.sessions.get(&key).map(|session| session.id.clone()) else {
        return Err(ToolOutcome::error("the session has just been removed"));
    };
    let limit = arguments.limit.map_or(DEFAULT_LIMIT, Count::as_len);
    let lines = if arguments.include_tools { limit } else { limit.saturating_mul(4) };
    let query = Query::Tail { session, limit: lines, max_bytes: MAX_BYTES * 8 };
    gateway.load(query, move |gateway, loaded| {
        let id = gateway.entropy.entry_id();
        let outcome = answer(&id, &key, limit, arguments.include_tools, loaded);
        gateway.finish_call(call, outcome);
    });
    Ok(Begun::Waits(Work::Store, limits::millis(limits::TOOL_MS)))
}

fn answer(
    id: &str,
    key: &SessionKey,
    limit: usize,
    tools: bool,
    loaded: Result<Loaded, StoreError>,
) -> ToolOutcome {
    let entries = match loaded {
        Ok(Loaded::Entries(entries)) => entries,
        Ok(_) => return ToolOutcome::error("the store answered another question"),
        Err(error) => return ToolOutcome::error(format!("the transcript cannot be read: {error}")),
    };
    let mut bytes = 0;
    let mut messages: Vec<Value> = Vec::new();
    for entry in entries.iter().rev() {
        let Some(message) = shown(entry, tools) else { continue };
        bytes += message.to_string().len();
        if messages.len() == limit || (bytes > MAX_BYTES && !messages.is_empty()) {
            break;
        }
        messages.push(message);
    }
    messages.reverse();
    let details = json!({"sessionKey": key, "count": messages.len(), "messages": messages});
    // What was said in another conversation came from whoever spoke there.
    let mut outcome = ToolOutcome::json(details);
    outcome.text = wrap(id, &format!("transcript of session {key}"), &outcome.text);
    outcome
}

fn shown(entry: &TranscriptEntry, tools: bool) -> Option<Value> {
    let message = entry.message.to_value();
    let role = message.get("role").and_then(Value::as_str)?;
    if !tools && !matches!(role, "user" | "assistant") {
        return None;
    }
    let text = sanitise::text_of(&message);
    let shown: String = text.chars().take(MAX_CHARS).collect();
    let cut = shown.len() < text.len();
    (!shown.trim().is_empty()).then(|| json!({"role": role, "at": entry.at, "text": shown, "cut": cut}))
}
