//! `sessions_list`: the sessions that the caller may see.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use telson_proto::params::Count;

use crate::gateway::Gateway;
use crate::ids::{CallId, SessionKey};
use crate::sessions::keys;

use super::super::arguments::read;
use super::super::calls::Begun;
use super::super::{ToolContext, ToolOutcome};
use super::object;

const DEFAULT_LIMIT: usize = 50;

pub(in crate::tools) const DESCRIPTION: &str = "List conversations that you can reach, the most recent first, with \
    key, kind, title, model, tokens and the last words. Use the key with sessions_history, sessions_send or \
    session_status.";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Arguments {
    #[serde(default)]
    kinds: Vec<Kind>,
    #[serde(default)]
    limit: Option<Count<1, 200>>,
    #[serde(default)]
    active_minutes: Option<Count<1>>,
    #[serde(default)]
    search: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Main,
    Group,
    Cron,
    Hook,
    Node,
    Subagent,
    Other,
}

pub(in crate::tools) fn parameters() -> Value {
    let kinds = ["main", "group", "cron", "hook", "node", "subagent", "other"];
    let minutes = "Only those that changed in so many minutes.";
    object(
        &json!({
            "kinds": {"type": "array", "items": {"type": "string", "enum": kinds}, "description": "Only these kinds."},
            "limit": {"type": "integer", "minimum": 1, "maximum": 200, "description": "At most so many; 50 when left out."},
            "activeMinutes": {"type": "integer", "minimum": 1, "description": minutes},
            "search": {"type": "string", "description": "Only those whose key, label or title contains this."},
        }),
        &[],
    )
}

pub(in crate::tools) fn begin(
    gateway: &mut Gateway,
    _: CallId,
    context: &ToolContext,
    arguments: &Value,
) -> Result<Begun, ToolOutcome> {
    let arguments: Arguments = read(arguments)?;
    let limit = arguments.limit.map_or(DEFAULT_LIMIT, Count::as_len);
    let window = arguments.active_minutes.map(|minutes| minutes.get().saturating_mul(60_000));
    let since = window.map_or(0, |window| gateway.now.wall.saturating_sub(window));
    let search = arguments.search.map(|text| text.trim().to_lowercase()).filter(|text| !text.is_empty());
    let keeps = |key: &SessionKey, at: u64| {
        at >= since
            && (arguments.kinds.is_empty() || arguments.kinds.contains(&kind_of(gateway, key)))
            && gateway.sees(context, key)
            && search.as_deref().is_none_or(|wanted| matches(gateway, key, wanted))
    };
    let all = gateway.sessions.recent(None, usize::MAX);
    let rows: Vec<Value> = all
        .iter()
        .filter(|(key, at)| keeps(key, *at))
        .take(limit)
        .filter_map(|(key, _)| row(gateway, key))
        .collect();
    Ok(Begun::Done(ToolOutcome::json(json!({"count": rows.len(), "sessions": rows}))))
}

fn kind_of(gateway: &Gateway, key: &SessionKey) -> Kind {
    let rest = key.as_str().splitn(3, ':').nth(2).unwrap_or_default();
    let chat_type = gateway.sessions.entry(key).and_then(|entry| entry.chat_type.as_deref());
    if gateway.sessions.rules().is_main(key) {
        Kind::Main
    } else if keys::is_subagent(key) {
        Kind::Subagent
    } else if rest.starts_with("cron:") {
        Kind::Cron
    } else if rest.starts_with("hook:") {
        Kind::Hook
    } else if rest.starts_with("node-") || rest.starts_with("node:") {
        Kind::Node
    } else if keys::kind(key, chat_type) == keys::Kind::Group {
        Kind::Group
    } else {
        Kind::Other
    }
}

fn matches(gateway: &Gateway, key: &SessionKey, wanted: &str) -> bool {
    let entry = gateway.sessions.entry(key);
    let texts = entry.into_iter().flat_map(|entry| {
        [entry.label.as_deref(), entry.display_name.as_deref(), entry.first_message.as_deref()]
    });
    let mut all = texts.flatten().chain([key.as_str()]);
    all.any(|text| text.to_lowercase().contains(wanted))
}

fn row(gateway: &Gateway, key: &SessionKey) -> Option<Value> {
    let session = gateway.sessions.get(key)?;
    let entry = &session.entry;
    Some(json!({
        "key": key,
        "sessionId": session.id,
        "kind": kind_of(gateway, key),
        "label": entry.label,
        "displayName": entry.display_name,
        "title": entry.first_message,
        "lastMessage": entry.last_message,
        "channel": entry.last_channel,
        "model": gateway.shown_model(key, entry).to_string(),
        "totalTokens": entry.total(),
        "messages": session.last_seq,
        "spawnedBy": entry.spawned_by,
        "updatedAt": session.updated_at,
        "running": gateway.sessions.active_runs(key).next().is_some(),
    }))
}
