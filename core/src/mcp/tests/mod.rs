//! The protocol against recorded shapes and against servers that misbehave.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::needless_pass_by_value)]

mod http;
mod names;
mod session;
mod stdio;

use std::time::Duration;

use serde_json::{Value, json};

use crate::gateway::Input;
use crate::ids::{AgentId, CallId, RunId, SessionKey};
use crate::testing::World;
use crate::tools::{Caller, ToolContext, ToolOutcome};

use super::settings::{McpServerSettings, McpTransport};

fn server(name: &str, transport: McpTransport) -> McpServerSettings {
    McpServerSettings {
        name: name.to_owned(),
        enabled: true,
        transport,
        timeout: Duration::from_secs(60),
        allow: Vec::new(),
        deny: Vec::new(),
    }
}

fn caller() -> ToolContext {
    ToolContext {
        caller: Caller::Run { run: RunId::new("nobody"), id: "1".to_owned() },
        agent: AgentId::new("main"),
        session: SessionKey::new("agent:main:main"),
        owner: true,
        untrusted: false,
    }
}

fn call(world: &mut World, name: &str, arguments: Value) -> CallId {
    let call = world.gateway.call_tool(caller(), name, &arguments);
    world.input(Input::Timeout);
    call
}

fn ended(world: &World, call: CallId) -> Option<ToolOutcome> {
    let all: Vec<_> = world.gateway.tools.told.iter().filter(|(told, _)| *told == call).collect();
    assert!(all.len() <= 1, "one outcome at most: {all:?}");
    all.first().map(|(_, outcome)| outcome.clone())
}

/// The tools of servers that a run would be offered.
fn offered(world: &World) -> Vec<String> {
    let all = world.gateway.tools_for(&caller()).into_iter().map(|spec| spec.name);
    all.filter(|name| name.contains("__")).collect()
}

fn state(world: &World, place: usize) -> &'static str {
    world.gateway.tools.mcp.servers().nth(place).unwrap().state
}

fn answer(id: &Value, result: Value) -> String {
    json!({"jsonrpc": "2.0", "id": id, "result": result}).to_string()
}

/// As `@modelcontextprotocol/server-everything` answers.
fn hello() -> Value {
    json!({
        "protocolVersion": "2025-06-18",
        "capabilities": {"tools": {"listChanged": true}, "logging": {}, "prompts": {}},
        "serverInfo": {"name": "example-servers/everything", "title": "Everything", "version": "1.0.0"},
        "instructions": "Testing the protocol",
    })
}

fn tools(names: &[&str]) -> Value {
    let tools: Vec<Value> = names
        .iter()
        .map(|name| {
            json!({
                "name": name,
                "description": format!("does {name}"),
                "inputSchema": {"type": "object", "properties": {"message": {"type": "string"}}, "required": ["message"]},
                "annotations": {"readOnlyHint": true},
            })
        })
        .collect();
    json!({"tools": tools})
}
