//! openclaw 2026.1.29, the command line of protocol 3.

use serde_json::{Value, json};
use telson_tests::on_both_binaries;
use telson_tests::support::binary::Binary;
use telson_tests::support::client::Dialect;
use telson_tests::support::command::Outcome;
use telson_tests::support::gateway::{Gateway, Home};
use telson_tests::support::packages;

on_both_binaries!(
    its_gateway_call_reaches_any_method,
    its_health_command_prints_the_health,
    its_status_finds_the_gateway_reachable,
    its_agent_command_prints_the_answer,
    its_sessions_command_succeeds,
    a_wrong_token_is_told_to_its_user,
);

const WORDS: &str = "what moves the sea but tide and moon";

/// Runs openclaw in a home of its own against the gateway.
fn openclaw(gateway: &Gateway, token: &str, arguments: &[&str]) -> Outcome {
    let mut command = packages::node(&packages::module("openclaw/openclaw.mjs"));
    command
        .args(arguments)
        .env("HOME", gateway.home.path("client-home"))
        .env("OPENCLAW_STATE_DIR", gateway.home.path("client-home/state"))
        .env("OPENCLAW_GATEWAY_PORT", gateway.address.port().to_string())
        .env("OPENCLAW_GATEWAY_TOKEN", token)
        .env("OPENCLAW_NO_RESPAWN", "1")
        .env("OPENCLAW_HIDE_BANNER", "1")
        .env("NO_COLOR", "1")
        .env_remove("TELSON_INTEROP");
    Outcome::of(&mut command)
}

/// The JSON document in an output that may have other lines before it.
fn document(outcome: &Outcome) -> Value {
    let start = outcome.stdout.find(['{', '[']).unwrap_or_else(|| panic!("no JSON: {outcome:#?}"));
    serde_json::from_str(&outcome.stdout[start..]).unwrap_or_else(|error| panic!("{error}: {outcome:#?}"))
}

fn its_gateway_call_reaches_any_method(binary: Binary) {
    let gateway = Home::new(binary).start();
    let token = gateway.token();
    let health = openclaw(&gateway, &token, &["gateway", "call", "health", "--json"]).success();
    assert_eq!(document(&health)["ok"], json!(true));
    let params =
        json!({"sessionKey": "main", "message": "hello", "idempotencyKey": "from-openclaw"}).to_string();
    let sent = openclaw(&gateway, &token, &["gateway", "call", "chat.send", "--params", &params, "--json"]);
    assert_eq!(document(&sent.success())["runId"], json!("from-openclaw"));
}

fn its_health_command_prints_the_health(binary: Binary) {
    let gateway = Home::new(binary).start();
    let outcome = openclaw(&gateway, &gateway.token(), &["health", "--json"]).success();
    let health = document(&outcome);
    assert_eq!(health["ok"], json!(true), "{health:#}");
    assert_eq!(health["defaultAgentId"], json!("main"), "{health:#}");
    let outcome = openclaw(&gateway, &gateway.token(), &["health"]).success();
    assert!(outcome.stdout.contains("main"), "{outcome:#?}");
}

fn its_status_finds_the_gateway_reachable(binary: Binary) {
    let gateway = Home::new(binary).start();
    let outcome = openclaw(&gateway, &gateway.token(), &["status", "--json"]).success();
    let status = document(&outcome);
    assert_eq!(status["gateway"]["reachable"], json!(true), "{status:#}");
    assert_eq!(status["gateway"]["self"]["version"], json!(env!("CARGO_PKG_VERSION")), "{status:#}");
    let probe = openclaw(&gateway, &gateway.token(), &["gateway", "probe"]).success();
    assert!(probe.stdout.contains("Reachable: yes"), "{probe:#?}");
}

fn its_agent_command_prints_the_answer(binary: Binary) {
    let gateway = Home::new(binary).start();
    let token = gateway.token();
    let outcome = openclaw(&gateway, &token, &["agent", "--agent", "main", "--message", WORDS]).success();
    assert!(outcome.stdout.contains(WORDS), "{outcome:#?}");
    assert!(!outcome.stderr.contains("embedded"), "it ran at the gateway, not at the client: {outcome:#?}");
    let mut operator = gateway.operator(Dialect::V3);
    let history = operator.ask("chat.history", &json!({"sessionKey": "agent:main:main"}));
    assert_eq!(history["messages"].as_array().map(Vec::len), Some(2), "{history:#}");
}

fn its_sessions_command_succeeds(binary: Binary) {
    let gateway = Home::new(binary).start();
    let token = gateway.token();
    openclaw(&gateway, &token, &["agent", "--session-id", "s1", "--message", "hello"]).success();
    let list = openclaw(&gateway, &token, &["gateway", "call", "sessions.list", "--json"]).success();
    let list = document(&list);
    assert_eq!(list["count"], json!(1), "{list:#}");
    // This one reads the client's own files; a gateway must not get in its way.
    openclaw(&gateway, &token, &["sessions", "--json"]).success();
}

fn a_wrong_token_is_told_to_its_user(binary: Binary) {
    let gateway = Home::new(binary).start();
    let outcome = openclaw(&gateway, "not-the-token", &["gateway", "call", "health"]);
    assert_ne!(outcome.code, Some(0), "{outcome:#?}");
    let said = format!("{}{}", outcome.stdout, outcome.stderr);
    assert!(said.contains("gateway token mismatch"), "{outcome:#?}");
}
