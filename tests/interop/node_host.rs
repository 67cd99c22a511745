//! Our node host against the gateway of openclaw 2026.1.29.

use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use telson_tests::on_both_binaries;
use telson_tests::support::background::Background;
use telson_tests::support::binary::Binary;
use telson_tests::support::command::Outcome;
use telson_tests::support::gateway::Home;
use telson_tests::support::packages;

on_both_binaries!(a_node_pairs_with_the_reference_and_does_what_it_is_asked_for);

const TOKEN: &str = "the-token-of-the-reference";

/// That gateway is slow to start, and slower on a busy machine.
const SLOW: Duration = Duration::from_secs(240);

/// The gateway of the reference, with a home below that of the test.
struct Reference<'a> {
    home: &'a Home,
    port: u16,
    _process: Background,
}

impl<'a> Reference<'a> {
    fn start(home: &'a Home) -> Self {
        std::fs::create_dir_all(home.path("reference/state")).unwrap();
        let config = json!({"gateway": {"mode": "local", "auth": {"mode": "token", "token": TOKEN}}});
        std::fs::write(home.path("reference/state/openclaw.json"), config.to_string()).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Self::command(home, port);
        command.args(["gateway", "run", "--allow-unconfigured", "--port", &port.to_string()]);
        let process = Background::start(&mut command);
        process.says_within(SLOW, "listening on ws://");
        Self { home, port, _process: process }
    }

    fn command(home: &Home, port: u16) -> Command {
        let mut command = packages::node(&packages::module("openclaw/openclaw.mjs"));
        command
            .env("HOME", home.path("reference"))
            .env("OPENCLAW_STATE_DIR", home.path("reference/state"))
            .env("OPENCLAW_GATEWAY_PORT", port.to_string())
            .env("OPENCLAW_GATEWAY_TOKEN", TOKEN)
            .env("OPENCLAW_NO_RESPAWN", "1")
            .env("OPENCLAW_HIDE_BANNER", "1")
            .env("NO_COLOR", "1")
            .env_remove("TELSON_INTEROP");
        for part in ["CHANNELS", "CANVAS_HOST", "BROWSER_CONTROL_SERVER", "CRON", "GMAIL_WATCHER"] {
            command.env(format!("OPENCLAW_SKIP_{part}"), "1");
        }
        command
    }

    /// The answer to a method, asked by the reference's own command line.
    fn call(&self, method: &str, params: &Value) -> Result<Value, String> {
        let mut command = Self::command(self.home, self.port);
        command.args([
            "gateway",
            "call",
            method,
            "--params",
            &params.to_string(),
            "--json",
            "--timeout",
            "60000",
        ]);
        let outcome = Outcome::of(&mut command);
        if outcome.code != Some(0) {
            return Err(format!("{}{}", outcome.stdout, outcome.stderr));
        }
        let start = outcome.stdout.find('{').unwrap_or_else(|| panic!("no JSON: {outcome:#?}"));
        Ok(serde_json::from_str(&outcome.stdout[start..]).unwrap())
    }

    fn invoke(&self, node: &str, command: &str, params: &Value) -> Result<Value, String> {
        let params = json!({"nodeId": node, "command": command, "params": params, "idempotencyKey": command, "timeoutMs": 60_000});
        self.call("node.invoke", &params).map(|answer| answer["payload"].clone())
    }
}

fn a_node_pairs_with_the_reference_and_does_what_it_is_asked_for(binary: Binary) {
    let home = Home::new(binary);
    let reference = Reference::start(&home);
    let url = format!("ws://127.0.0.1:{}", reference.port);
    let start = |arguments: &[&str]| {
        let mut command = home.command(&["node", "run", "--url", &url, "--name", "Our node"]);
        Background::start(command.args(arguments))
    };
    let node = start(&["--token", TOKEN]);
    let line = node.says_within(SLOW, "connected to");
    assert!(line.contains("version 2026.1.29") && line.contains("protocol 3"), "{line}");

    let list = reference.call("node.list", &json!({})).unwrap();
    let row = &list["nodes"][0];
    assert_eq!(
        (&row["displayName"], &row["connected"], &row["paired"]),
        (&json!("Our node"), &json!(true), &json!(true)),
        "{list:#}"
    );
    let commands = ["system.execApprovals.get", "system.execApprovals.set", "system.run", "system.which"];
    assert_eq!(row["commands"], json!(commands), "what that gateway lets a node of this platform have");
    let id = row["nodeId"].as_str().unwrap();

    let found = reference.invoke(id, "system.which", &json!({"bins": ["sh", "no-such-program"]})).unwrap();
    assert!(found["bins"]["sh"].as_str().unwrap().ends_with("/sh"), "{found}");
    assert_eq!(found["bins"].as_object().unwrap().len(), 1, "{found}");

    // Whoever may write can claim an approval at that gateway: it counts for nothing.
    let approved = json!({"command": ["echo", "tide"], "approved": true, "approvalDecision": "allow-once", "runId": "r"});
    let refused = reference.invoke(id, "system.run", &approved).unwrap_err();
    assert!(refused.contains("SYSTEM_RUN_DISABLED: security=deny"), "{refused}");

    let snapshot = reference.call("exec.approvals.node.get", &json!({"nodeId": id})).unwrap();
    let file = json!({"version": 1, "agents": {"main": {"security": "full", "ask": "off"}}});
    let set = json!({"nodeId": id, "file": file, "baseHash": snapshot["hash"]});
    let changed = reference.call("exec.approvals.node.set", &set).unwrap();
    assert_eq!(changed["file"]["agents"]["main"]["security"], "full", "{changed:#}");
    let ran = reference.invoke(id, "system.run", &json!({"command": ["echo", "tide and moon"]})).unwrap();
    assert_eq!((&ran["stdout"], &ran["exitCode"]), (&json!("tide and moon\n"), &json!(0)), "{ran:#}");
    assert_eq!(node.stop(), Some(0));

    // It comes back with what it was given, without the token of the gateway.
    let again = start(&[]);
    again.says_within(SLOW, "connected to");
    assert_eq!(again.stop(), Some(0));
}
