//! `openclaw node run` of openclaw 2026.1.29, the node host of protocol 3.

use std::process::{Child, Stdio};

use serde_json::{Value, json};
use telson_tests::on_both_binaries;
use telson_tests::support::binary::Binary;
use telson_tests::support::client::{Client, Dialect};
use telson_tests::support::gateway::{Gateway, Home};
use telson_tests::support::packages;

on_both_binaries!(it_pairs_and_does_what_it_is_asked_for,);

/// A process that does not outlive its test.
struct Node(Child);

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts the node host. It decides by a file of its own whether it runs programs; this one lets it.
fn node_host(gateway: &Gateway) -> Node {
    let home = gateway.home.path("node-home");
    std::fs::create_dir_all(home.join(".openclaw")).expect("a folder can be made");
    let rules = json!({"version": 1, "defaults": {"security": "full", "ask": "off"}, "agents": {}});
    std::fs::write(home.join(".openclaw/exec-approvals.json"), rules.to_string())
        .expect("a file can be written");
    let mut command = packages::node(&packages::module("openclaw/openclaw.mjs"));
    let port = gateway.address.port().to_string();
    command
        .args(["node", "run", "--host", "127.0.0.1", "--port", &port, "--display-name", "shed"])
        .env("HOME", &home)
        .env("OPENCLAW_STATE_DIR", home.join("state"))
        .env("OPENCLAW_GATEWAY_TOKEN", gateway.token())
        .env("OPENCLAW_NO_RESPAWN", "1")
        .env("OPENCLAW_HIDE_BANNER", "1")
        .env("NO_COLOR", "1")
        .env_remove("TELSON_INTEROP")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    Node(command.spawn().expect("Node.js starts"))
}

#[expect(clippy::needless_pass_by_value, reason = "callers write it in place")]
fn invoke(desk: &mut Client, node: &Value, command: &str, params: Value) -> Result<Value, Value> {
    let params = json!({
        "nodeId": node, "command": command, "params": params, "idempotencyKey": command, "timeoutMs": 20_000,
    });
    desk.call("node.invoke", &params)
}

fn it_pairs_and_does_what_it_is_asked_for(binary: Binary) {
    let gateway = Home::new(binary).start();
    let mut watcher = gateway.operator(Dialect::V4);
    let _host = node_host(&gateway);
    let came = watcher.event("node.presence", |presence| presence["connected"] == json!(true));
    let node = &came["nodeId"];
    let mut desk = gateway.operator(Dialect::V3);
    let row = desk.ask("node.describe", &json!({"nodeId": node}));
    assert_eq!((&row["displayName"], &row["paired"]), (&json!("shed"), &json!(true)), "{row:#}");
    let commands = row["commands"].as_array().expect("a list");
    assert!(commands.contains(&json!("system.run")), "{row:#}");

    let found =
        invoke(&mut desk, node, "system.which", json!({"bins": ["uname", "nosuchbin"]})).expect("an answer");
    assert!(
        found["payload"]["bins"]["uname"].as_str().is_some_and(|path| path.ends_with("/uname")),
        "{found:#}"
    );
    assert!(found["payload"]["bins"].get("nosuchbin").is_none(), "{found:#}");
    let run = invoke(&mut desk, node, "system.run", json!({"command": ["echo", "tide and moon"]}))
        .expect("an answer");
    assert_eq!(run["payload"]["stdout"], json!("tide and moon\n"), "{run:#}");
    assert_eq!(
        (&run["payload"]["success"], &run["payload"]["exitCode"]),
        (&json!(true), &json!(0)),
        "{run:#}"
    );
    let refused =
        invoke(&mut desk, node, "system.run", json!({"command": []})).expect_err("there is no command");
    assert_eq!(refused["details"]["nodeError"]["code"], json!("INVALID_REQUEST"), "{refused:#}");
}
