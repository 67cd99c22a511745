//! `session_status`: where a session stands.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::gateway::Gateway;
use crate::ids::CallId;
use crate::sessions::SessionEntry;

use super::super::arguments::read;
use super::super::calls::Begun;
use super::super::{ToolContext, ToolOutcome};
use super::object;

pub(in crate::tools) const DESCRIPTION: &str = "Show where a session stands: its model, thinking level, used and \
    available tokens, running turns, and the present time in UTC. Without sessionKey it is about this session. Use it \
    whenever you are asked which model you are or what time it is.";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Arguments {
    #[serde(default)]
    session_key: Option<String>,
}

pub(in crate::tools) fn parameters() -> Value {
    object(
        &json!({
            "sessionKey": {"type": "string", "description": "A key of sessions_list; this session when left out."},
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
    let key = match arguments.session_key.as_deref().filter(|key| !key.trim().is_empty()) {
        Some(spelling) => gateway.session_for_tool(context, spelling)?,
        None => context.session.clone(),
    };
    let session = gateway.sessions.get(&key);
    let entry = session.map(|session| &session.entry);
    let model = gateway.model_of(&key);
    let thinking = entry.and_then(|entry| entry.thinking_level.clone());
    Ok(Begun::Done(ToolOutcome::json(json!({
        "sessionKey": key,
        "sessionId": session.map(|session| &session.id),
        "agentId": gateway.sessions.rules().agent_of(&key),
        "model": model.to_string(),
        "thinkingLevel": thinking.unwrap_or_else(|| gateway.agents.thinking_default(&model)),
        "contextTokens": gateway.agents.context_tokens(&model),
        "totalTokens": entry.map(SessionEntry::total),
        "messages": session.map(|session| session.last_seq),
        "updatedAt": session.map(|session| session.updated_at),
        "activeRuns": gateway.sessions.active_runs(&key).count(),
        "lastRunStatus": entry.and_then(|entry| entry.status.as_deref()),
        "spawnedBy": entry.and_then(|entry| entry.spawned_by.as_deref()),
        "nowMs": gateway.now.wall,
        "now": crate::runs::stamp(gateway.now.wall),
    }))))
}
