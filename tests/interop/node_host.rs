//! Our node host against the gateway of openclaw 2026.1.29.

use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use telson_tests::on_both_binaries;
use telson_tests::support::background::Background;
use telson_tests::support::binary::{Binary, workspace};
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

    /// What an operator heard who asked the node for everything (`node-host.mjs`).
    fn asked(&self) -> Value {
        let mut command = packages::node(&workspace().join("tests/interop/node-host.mjs"));
        command
            .args([&format!("ws://127.0.0.1:{}", self.port), TOKEN])
            .env("HOME", self.home.path("client-home"));
        Outcome::of(&mut command).success().json()
    }

    /// The answer to a method, asked by the reference's own command line.
    fn call(&self, method: &str, params: &Value) -> Value {
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
        let outcome = Outcome::of(&mut command).success();
        let start = outcome.stdout.find('{').unwrap_or_else(|| panic!("no JSON: {outcome:#?}"));
        serde_json::from_str(&outcome.stdout[start..]).unwrap()
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
    assert!(line.contains("protocol 3"), "{line}");

    let asked = reference.asked();
    let row = &asked["nodes"][0];
    assert_eq!(
        (&row["displayName"], &row["connected"], &row["paired"]),
        (&json!("Our node"), &json!(true), &json!(true)),
        "{row:#}"
    );
    // What that gateway lets a node of this platform have.
    let commands = ["system.execApprovals.get", "system.execApprovals.set", "system.run", "system.which"];
    assert_eq!(row["commands"], json!(commands));
    let found = &asked["which"]["bins"];
    assert!(found["sh"].as_str().unwrap().ends_with("/sh"), "{found}");
    assert_eq!(found.as_object().unwrap().len(), 1, "{found}");
    // Whoever may write can claim an approval at that gateway: it counts for nothing.
    assert_eq!(asked["claimed"]["refused"], "SYSTEM_RUN_DISABLED: security=deny");
    assert_eq!(asked["set"]["file"]["agents"]["main"]["security"], "full", "{asked:#}");
    let ran = &asked["ran"];
    assert_eq!((&ran["stdout"], &ran["exitCode"]), (&json!("tide and moon\n"), &json!(0)), "{ran:#}");
    assert!(asked["absent"]["refused"].is_string(), "{asked:#}");

    // The same by the command line of the reference.
    let params = json!({
        "nodeId": row["nodeId"], "command": "system.run", "params": {"command": ["echo", "moon"]}, "idempotencyKey": "cli",
    });
    let answer = reference.call("node.invoke", &params);
    assert_eq!(answer["payload"]["stdout"], "moon\n", "{answer:#}");
    assert_eq!(node.stop(), Some(0));

    // It comes back with what it was given, without the token of the gateway.
    let again = start(&[]);
    again.says_within(SLOW, "connected to");
    assert_eq!(again.stop(), Some(0));
}
