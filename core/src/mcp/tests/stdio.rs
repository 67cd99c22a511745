//! Servers that are processes.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use telson_proto::Protocol;

use super::super::settings::{McpServerSettings, McpTransport};
use super::{answer, call, ended, hello, offered, server, state, tools};
use crate::gateway::Input;
use crate::ids::ProcessId;
use crate::process::{ProcessEvent, ProcessSpec};
use crate::testing::World;

fn program(name: &str) -> McpServerSettings {
    let spec = ProcessSpec { program: name.to_owned(), args: Vec::new(), env: BTreeMap::new(), cwd: None };
    server(name, McpTransport::Stdio(spec))
}

fn world(servers: Vec<McpServerSettings>) -> World {
    World::with(|settings| settings.mcp = servers)
}

fn process(world: &World, name: &str) -> ProcessId {
    let found = world.processes.iter().rev().find(|(_, spec)| spec.program == name);
    found.expect("it was started").0
}

/// The last line that was written to a process.
fn heard(world: &World, id: ProcessId) -> Value {
    let mut lines = world.lines.iter().rev().filter(|(to, _)| *to == id);
    serde_json::from_str(&lines.next().expect("a line").1).unwrap()
}

fn say(world: &mut World, id: ProcessId, line: impl Into<String>) {
    world.input(Input::Process { id, event: ProcessEvent::Stdout(line.into()) });
}

fn reply(world: &mut World, id: ProcessId, result: Value) {
    let request = heard(world, id);
    say(world, id, answer(&request["id"], result));
}

/// Takes a server through its handshake.
fn ready(world: &mut World, name: &str, names: &[&str]) -> ProcessId {
    let id = process(world, name);
    reply(world, id, hello());
    reply(world, id, tools(names));
    id
}

#[test]
fn a_server_is_started_with_the_gateway_and_its_tools_are_called() {
    let mut world = world(vec![program("every")]);
    assert_eq!(offered(&world), Vec::<String>::new());
    let id = ready(&mut world, "every", &["echo", "add"]);
    assert_eq!(offered(&world), ["every__add", "every__echo"]);
    let call = call(&mut world, "every__echo", json!({"message": "hi"}));
    let asked = heard(&world, id);
    assert_eq!(
        (&asked["method"], &asked["params"]),
        (&json!("tools/call"), &json!({"name": "echo", "arguments": {"message": "hi"}}),)
    );
    say(&mut world, id, r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progress":1}}"#);
    reply(
        &mut world,
        id,
        json!({
            "content": [
                {"type": "text", "text": "Echo: hi"},
                {"type": "image", "data": "AAAA", "mimeType": "image/png"},
                {"type": "resource", "resource": {"uri": "file:///a", "text": "inside"}},
                {"type": "resource_link", "uri": "file:///b", "name": "b"},
                {"type": "audio", "data": "AAAA", "mimeType": "audio/wav"},
            ],
            "structuredContent": {"echo": "hi"},
        }),
    );
    let outcome = ended(&world, call).unwrap();
    for part in [
        "Source: MCP server every",
        "Echo: hi",
        "[resource file:///a]\ninside",
        "[resource b: file:///b]",
        "[audio audio/wav, 3 bytes, not shown]",
    ] {
        assert!(outcome.text.contains(part), "{part}: {}", outcome.text);
    }
    assert_eq!((outcome.images.len(), outcome.details), (1, Some(json!({"echo": "hi"}))));
    assert!(!outcome.is_error && world.gateway.tools.is_idle());
}

#[test]
fn errors_of_the_tool_and_of_the_protocol_are_errors_for_the_model() {
    let mut world = world(vec![program("s")]);
    let id = ready(&mut world, "s", &["t"]);
    let first = call(&mut world, "s__t", json!({}));
    reply(&mut world, id, json!({"content": [{"type": "text", "text": "no such file"}], "isError": true}));
    let outcome = ended(&world, first).unwrap();
    assert!(outcome.is_error && outcome.text.contains("no such file"));
    let second = call(&mut world, "s__t", json!({}));
    let asked = heard(&world, id)["id"].clone();
    say(&mut world, id, json!({"id": asked, "error": {"code": -32602, "message": "bad"}}).to_string());
    assert_eq!(ended(&world, second).unwrap().text, "MCP server s: bad (code -32602)");
}

#[test]
fn a_server_that_dies_ends_its_calls_and_is_started_again_ever_more_slowly() {
    let mut world = world(vec![program("s"), program("other")]);
    ready(&mut world, "other", &["t"]);
    let id = ready(&mut world, "s", &["t"]);
    let lost = call(&mut world, "s__t", json!({}));
    world.input(Input::Process { id, event: ProcessEvent::Exited("exit status: 1".to_owned()) });
    assert!(ended(&world, lost).unwrap().text.contains("the server has failed: exit status: 1"));
    assert_eq!((offered(&world), state(&world, 0)), (vec!["other__t".to_owned()], "resting"));
    for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
        world.advance(seconds * 1_000 - 1);
        assert_eq!(state(&world, 0), "resting", "{seconds} s");
        world.advance(1);
        assert_eq!(state(&world, 0), "starting", "{seconds} s");
        let id = process(&world, "s");
        world.input(Input::Process { id, event: ProcessEvent::Failed("no such program".to_owned()) });
    }
    world.advance(60_000);
    ready(&mut world, "s", &["t"]);
    assert_eq!(offered(&world), ["other__t", "s__t"]);
}

#[test]
fn a_call_that_is_given_up_is_cancelled_at_the_server_and_has_no_outcome() {
    let mut world = world(vec![program("s")]);
    let id = ready(&mut world, "s", &["t"]);
    let call = call(&mut world, "s__t", json!({}));
    let asked = heard(&world, id)["id"].clone();
    world.gateway.abort_tool(call);
    world.input(Input::Timeout);
    let cancelled = heard(&world, id);
    assert_eq!(
        (&cancelled["method"], &cancelled["params"]["requestId"]),
        (&json!("notifications/cancelled"), &asked)
    );
    say(&mut world, id, answer(&asked, json!({"content": []})));
    assert_eq!(ended(&world, call), None);
    assert!(world.gateway.tools.is_idle());
}

#[test]
fn a_slow_call_ends_in_time() {
    let mut world = world(vec![program("s")]);
    let id = ready(&mut world, "s", &["t"]);
    let call = call(&mut world, "s__t", json!({}));
    world.advance(60_000);
    assert!(ended(&world, call).unwrap().text.contains("has not answered in time"));
    assert_eq!(heard(&world, id)["method"], "notifications/cancelled");
    assert_eq!(state(&world, 0), "ready", "one slow call breaks nothing");
}

#[test]
fn noise_is_passed_over_but_not_without_end_and_a_huge_message_ends_the_server() {
    let mut world = world(vec![program("s")]);
    let id = ready(&mut world, "s", &["t"]);
    for _ in 0..30 {
        say(&mut world, id, "Server listening on stdio");
    }
    say(&mut world, id, "");
    say(&mut world, id, r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#);
    assert_eq!(state(&world, 0), "ready");
    for _ in 0..33 {
        say(&mut world, id, "{\"half");
    }
    assert_eq!(state(&world, 0), "resting");
    assert!(world.processes.is_empty(), "it is killed");
    world.advance(1_000);
    let id = ready(&mut world, "s", &["t"]);
    say(&mut world, id, "x".repeat(5_000_000));
    assert_eq!(state(&world, 0), "resting");
}

#[test]
fn a_server_that_says_nothing_is_started_again() {
    let mut world = world(vec![program("s")]);
    world.advance(30_000);
    assert_eq!(state(&world, 0), "resting");
    assert!(world.processes.is_empty());
}

#[test]
fn the_operator_and_the_session_may_leave_tools_out() {
    let mut settings = program("s");
    (settings.allow, settings.deny) = (vec!["re*".to_owned()], vec!["remove".to_owned()]);
    let mut off = program("off");
    off.enabled = false;
    let mut world = world(vec![settings, off]);
    assert_eq!(world.processes.len(), 1, "what is off is not started");
    ready(&mut world, "s", &["read", "remove", "write", "reset"]);
    assert_eq!(offered(&world), ["s__read", "s__reset"]);
    let client = world.operator(Protocol::V4);
    world.ask(client, "chat.send", json!({"sessionKey": "main", "message": "x", "idempotencyKey": "1"}));
    world.advance(5_000);
    let key = crate::ids::SessionKey::new("agent:main:main");
    let overrides = json!({"mcpToolsDeny": {"s": ["reset"]}});
    world.gateway.sessions.edit_quietly(&key, |entry| entry.set("toolOverrides", Some(overrides)));
    assert_eq!(offered(&world), ["s__read"]);
    let overrides = json!({"mcpServers": {"s": false}});
    world.gateway.sessions.edit_quietly(&key, |entry| entry.set("toolOverrides", Some(overrides)));
    assert_eq!(offered(&world), Vec::<String>::new());
    let refused = call(&mut world, "s__read", json!({}));
    assert_eq!(ended(&world, refused).unwrap().text, "Tool not available: s__read");
}

#[test]
fn the_lists_of_protocol_4_show_servers_tools_and_what_is_missing() {
    let mut world = world(vec![program("s"), program("slow")]);
    ready(&mut world, "s", &["echo"]);
    let client = world.operator(Protocol::V4);
    let effective = world.ask(client, "tools.effective", json!({"sessionKey": "main"}));
    let group = effective["groups"].as_array().unwrap().last().unwrap().clone();
    assert_eq!((&group["id"], &group["tools"][0]["mcpServer"]), (&json!("mcp"), &json!("s")));
    assert_eq!(
        (&group["tools"][0]["mcpToolName"], &group["tools"][0]["risk"]),
        (&json!("echo"), &json!("low"))
    );
    assert_eq!(effective["notices"][0]["servers"], json!(["slow"]));
    let catalog = world.ask(client, "tools.catalog", json!({}));
    assert_eq!(catalog["groups"].as_array().unwrap().last().unwrap()["id"], "mcp:s");
    let own = world.ask(client, "tools.catalog", json!({"includePlugins": false}));
    assert!(own["groups"].as_array().unwrap().iter().all(|group| group["source"] == "core"));
}

#[test]
fn servers_end_with_the_gateway() {
    let mut world = world(vec![program("s")]);
    ready(&mut world, "s", &["t"]);
    let open = call(&mut world, "s__t", json!({}));
    world.input(Input::Stop { reason: "test".to_owned(), restart_expected: None });
    assert!(ended(&world, open).unwrap().is_error);
    assert!(world.processes.is_empty() && world.stopped && world.gateway.tools.is_idle());
}
