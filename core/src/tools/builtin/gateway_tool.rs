//! `gateway`: how the gateway is. For its owner alone.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::gateway::Gateway;
use crate::ids::CallId;

use super::super::arguments::read;
use super::super::calls::Begun;
use super::super::{ToolContext, ToolOutcome};
use super::object;

pub(in crate::tools) const DESCRIPTION: &str = "Ask the gateway about itself. Action `status` tells its version, how \
    long it runs, how many clients, sessions and runs there are, and the state of each tool server (MCP).";

#[derive(Deserialize)]
struct Arguments {
    action: Action,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Action {
    Status,
}

pub(in crate::tools) fn parameters() -> Value {
    object(
        &json!({"action": {"type": "string", "enum": ["status"], "description": "What to do."}}),
        &["action"],
    )
}

pub(in crate::tools) fn begin(
    gateway: &mut Gateway,
    _: CallId,
    _: &ToolContext,
    arguments: &Value,
) -> Result<Begun, ToolOutcome> {
    let Arguments { action: Action::Status } = read(arguments)?;
    let servers: Vec<Value> = gateway
        .tools
        .mcp
        .servers()
        .map(|server| {
            json!({"name": server.name, "state": server.state, "tools": server.tools, "problem": server.problem})
        })
        .collect();
    Ok(Begun::Done(ToolOutcome::json(json!({
        "version": gateway.settings.facts.version,
        "host": gateway.settings.facts.host,
        "platform": gateway.settings.facts.platform,
        "uptimeMs": gateway.uptime_ms(),
        "connections": gateway.connections(),
        "sessions": gateway.sessions.count(None),
        "openRuns": gateway.open_runs(),
        "defaultModel": gateway.agents.default_model().to_string(),
        "toolServers": servers,
    }))))
}
