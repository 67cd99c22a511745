//! `telson node run`: against the gateway of its machine, and against one that a test plays.

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::Instant;

use rustix::process::Signal;
use serde_json::{Value, json};
use telson_tests::on_every_runtime;
use telson_tests::support::PATIENCE;
use telson_tests::support::background::Background;
use telson_tests::support::binary::Binary;
use telson_tests::support::gateway::{Home, is_private};
use tungstenite::{Message, WebSocket};

on_every_runtime!(
    a_node_keeps_its_identity_to_itself,
    a_node_pairs_with_the_gateway_of_its_machine,
    a_node_comes_back_with_the_token_that_it_was_given,
    a_wrong_token_is_told_with_what_to_do,
    only_one_node_host_runs_on_a_state_directory,
    a_node_does_what_it_is_asked_for,
    a_node_kills_what_takes_too_long_or_is_taken_back,
    a_node_that_waits_for_approval_names_the_request,
    a_node_answers_the_operators_of_its_gateway,
);

fn node(home: &Home, arguments: &[&str]) -> Background {
    Background::start(home.command(&["node", "run"]).args(arguments))
}

fn a_node_keeps_its_identity_to_itself(binary: Binary) {
    let home = Home::new(binary);
    let first = home.run(&["node", "identity", "--json"]).success().json();
    assert_eq!(first["deviceId"].as_str().map(str::len), Some(64), "{first}");
    assert_eq!(home.run(&["node", "identity", "--json"]).success().json(), first);
    let file = home.state().join("node/identity.json");
    assert!(is_private(&file));
    std::fs::write(&file, "{").unwrap();
    let broken = home.run(&["node", "identity"]);
    assert!(broken.code != Some(0) && broken.stderr.contains("identity.json"), "{broken:#?}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "{", "it is left as it is");
}

fn a_node_pairs_with_the_gateway_of_its_machine(binary: Binary) {
    let gateway = Home::new(binary).start();
    let id = gateway.home.run(&["node", "identity", "--json"]).success().json()["deviceId"].clone();
    let node = node(&gateway.home, &["--name", "Build machine"]);
    let line = node.says("connected to ws://127.0.0.1");
    assert!(line.contains("protocol 4") && line.contains(id.as_str().unwrap()), "{line}");
    let devices = gateway.run(&["devices", "list", "--json"]).success().json();
    let paired = devices["paired"].as_array().unwrap();
    let own = paired.iter().find(|device| device["deviceId"] == id).unwrap();
    assert_eq!((&own["displayName"], &own["role"]), (&json!("Build machine"), &json!("node")), "{own:#}");
    assert_eq!(node.stop(), Some(0));
}

fn a_node_comes_back_with_the_token_that_it_was_given(binary: Binary) {
    let gateway = Home::new(binary).start();
    let first = node(&gateway.home, &["--url", &gateway.url(), "--token", &gateway.token()]);
    first.says("connected to");
    assert_eq!(first.stop(), Some(0));
    let file = gateway.home.state().join("node/device-auth.json");
    assert!(is_private(&file));
    let kept: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!(kept["gateways"].as_object().unwrap().len(), 1, "{kept:#}");
    let second = node(&gateway.home, &["--url", &gateway.url()]);
    second.says("connected to");
    second.signal(Signal::INT);
    drop(second);
    // Another origin does not see it, even if it is the same gateway.
    let elsewhere = format!("ws://localhost:{}", gateway.address.port());
    let third = node(&gateway.home, &["--url", &elsewhere]);
    third.says("paused: ");
    assert_eq!(third.stop(), Some(0));
}

fn a_wrong_token_is_told_with_what_to_do(binary: Binary) {
    let gateway = Home::new(binary).start();
    let node = node(&gateway.home, &["--url", &gateway.url(), "--token", "not-the-token-at-all", "--json"]);
    let told: Value = serde_json::from_str(&node.says("paused")).unwrap();
    assert!(told["reason"].as_str().unwrap().contains("token mismatch"), "{told}");
    assert!(told["advice"].as_str().unwrap().contains("telson token show"), "{told}");
    assert!(!node.text().contains("not-the-token-at-all"));
    assert_eq!(node.stop(), Some(0));
}

fn only_one_node_host_runs_on_a_state_directory(binary: Binary) {
    let home = Home::new(binary);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let first = node(&home, &["--url", &url, "--json"]);
    let _held = listener.accept().unwrap();
    let second = home.run(&["node", "run", "--url", &url]).failure(78);
    assert!(second.stderr.contains("another node host"), "{second:#?}");
    assert_eq!(first.stop(), Some(0));
}

/// A gateway that a test plays.
struct Played {
    socket: WebSocket<TcpStream>,
    greeting: Value,
}

impl Played {
    /// Waits for the node and hears its greeting.
    fn meet(listener: &TcpListener) -> Self {
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut played = Self { socket: tungstenite::accept(stream).unwrap(), greeting: Value::Null };
        played.event("connect.challenge", &json!({"nonce": "n", "ts": 1_769_700_000_000_u64}));
        played.greeting = played.hear();
        assert_eq!(played.greeting["method"], "connect");
        played
    }

    fn welcome(&mut self, protocol: u64) {
        let hello = json!({
            "type": "hello-ok", "protocol": protocol, "server": {"version": "9", "connId": "c"},
            "features": {"methods": ["node.invoke.progress"], "events": []}, "snapshot": {},
            "auth": {"role": "node", "scopes": [], "deviceToken": "given"},
            "policy": {"maxPayload": 524_288, "maxBufferedBytes": 1_572_864, "tickIntervalMs": 30_000},
        });
        let id = self.greeting["id"].clone();
        self.say(&json!({"type": "res", "id": id, "ok": true, "payload": hello}));
    }

    fn say(&mut self, frame: &Value) {
        self.socket.send(Message::text(frame.to_string())).unwrap();
    }

    fn event(&mut self, name: &str, payload: &Value) {
        self.say(&json!({"type": "event", "event": name, "payload": payload}));
    }

    fn hear(&mut self) -> Value {
        loop {
            if let Message::Text(text) = self.socket.read().unwrap() {
                return serde_json::from_str(&text).unwrap();
            }
        }
    }

    /// Waits for a request like this.
    fn until(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let frame = self.hear();
            if wanted(&frame) {
                return frame["params"].clone();
            }
        }
    }

    fn invoke(&mut self, id: &str, command: &str, params: &Value) {
        let payload = json!({"id": id, "nodeId": "n", "command": command, "paramsJSON": params.to_string()});
        self.event("node.invoke.request", &payload);
    }

    fn result(&mut self, id: &str) -> Value {
        self.until(|frame| frame["method"] == "node.invoke.result" && frame["params"]["id"] == id)
    }

    /// The payload of a result that is a success.
    fn payload(&mut self, id: &str) -> Value {
        let result = self.result(id);
        assert_eq!(result["ok"], true, "{result:#}");
        serde_json::from_str(result["payloadJSON"].as_str().unwrap()).unwrap()
    }
}

fn played(home: &Home, protocol: u64) -> (Played, Background) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let node = node(home, &["--url", &format!("ws://{}", listener.local_addr().unwrap()), "--token", "t"]);
    let mut gateway = Played::meet(&listener);
    gateway.welcome(protocol);
    (gateway, node)
}

fn allow_everything(home: &Home) {
    std::fs::create_dir_all(home.state()).unwrap();
    let policy = json!({"version": 1, "agents": {"main": {"security": "full", "ask": "off"}}});
    std::fs::write(home.state().join("exec-approvals.json"), policy.to_string()).unwrap();
}

fn a_node_does_what_it_is_asked_for(binary: Binary) {
    let home = Home::new(binary);
    let (mut gateway, node) = played(&home, 4);
    gateway.invoke("1", "system.which", &json!({"bins": ["sh", "no-such-program"]}));
    let found = gateway.payload("1")["bins"].clone();
    assert!(Path::new(found["sh"].as_str().unwrap()).is_absolute(), "{found}");
    assert_eq!(found.as_object().unwrap().len(), 1);
    gateway.invoke("2", "system.run", &json!({"command": ["echo", "x"]}));
    assert_eq!(gateway.result("2")["error"]["message"], "SYSTEM_RUN_DISABLED: security=deny");

    gateway.invoke("3", "system.execApprovals.get", &json!({}));
    let snapshot = gateway.payload("3");
    let file = json!({"version": 1, "agents": {"main": {"security": "full", "ask": "off"}}});
    gateway.invoke("4", "system.execApprovals.set", &json!({"file": file, "baseHash": snapshot["hash"]}));
    assert_eq!(gateway.payload("4")["file"]["agents"]["main"]["security"], "full");
    assert!(is_private(&home.state().join("exec-approvals.json")));

    let script = "echo out; echo err >&2; printf \"$TIDE|$LD_PRELOAD|$OPENCLAW_GATEWAY_TOKEN\"; exit 3";
    let params = json!({"command": ["/bin/sh", "-c", script], "env": {"TIDE": "moon", "LD_PRELOAD": "/x"}});
    gateway.invoke("5", "system.run", &params);
    let started = gateway.until(|frame| frame["params"]["event"] == "exec.started");
    assert!(started["payloadJSON"].as_str().unwrap().contains("echo out"), "{started}");
    let payload = gateway.payload("5");
    assert_eq!(payload["stdout"], "out\nmoon||");
    assert_eq!((&payload["stderr"], &payload["exitCode"]), (&json!("err\n"), &json!(3)), "{payload}");

    std::fs::create_dir(home.path("notes")).unwrap();
    std::fs::write(home.path("notes/tide"), "moon").unwrap();
    gateway.invoke("6", "fs.listDir", &json!({"path": "~/notes"}));
    assert_eq!(gateway.payload("6")["entries"], json!([{"name": "tide", "kind": "file", "size": 4}]));
    gateway.invoke("7", "browser.proxy", &json!({}));
    assert!(gateway.result("7")["error"]["message"].as_str().unwrap().contains("not supported"));
    assert_eq!(node.stop(), Some(0));
}

fn a_node_kills_what_takes_too_long_or_is_taken_back(binary: Binary) {
    let home = Home::new(binary);
    allow_everything(&home);
    let (mut gateway, node) = played(&home, 4);
    let endless =
        |mark: &str| json!(["/bin/sh", "-c", format!("sleep 600 & echo $! > {mark}; echo {mark}; wait")]);
    gateway.invoke("1", "system.run", &json!({"command": endless("one"), "timeoutMs": 300}));
    let payload = gateway.payload("1");
    assert_eq!((&payload["timedOut"], &payload["success"]), (&json!(true), &json!(false)), "{payload}");
    gateway.invoke("2", "system.run", &json!({"command": endless("two")}));
    let piece = gateway.until(|frame| frame["method"] == "node.invoke.progress");
    assert_eq!(
        (&piece["invokeId"], &piece["seq"], &piece["chunk"]),
        (&json!("2"), &json!(0), &json!("two\n"))
    );
    gateway.event("node.invoke.cancel", &json!({"id": "2", "nodeId": "n"}));
    assert_eq!(gateway.result("2")["error"]["message"], "cancelled by the gateway");
    assert_eq!(node.stop(), Some(0));
    for mark in ["one", "two"] {
        dies(std::fs::read_to_string(home.path(mark)).unwrap().trim());
    }
}

/// Waits until a process is dead, buried or not.
fn dies(id: &str) {
    let late = Instant::now() + PATIENCE;
    while std::fs::read_to_string(format!("/proc/{id}/stat")).is_ok_and(|stat| !stat.contains(") Z ")) {
        assert!(Instant::now() < late, "process {id} is still alive");
        std::thread::yield_now();
    }
}

fn a_node_that_waits_for_approval_names_the_request(binary: Binary) {
    let home = Home::new(binary);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let node = node(&home, &["--url", &format!("ws://{}", listener.local_addr().unwrap()), "--token", "t"]);
    let mut gateway = Played::meet(&listener);
    let id = gateway.greeting["id"].clone();
    let error =
        json!({"code": "NOT_PAIRED", "message": "pairing required", "details": {"requestId": "77aa-1"}});
    gateway.say(&json!({"type": "res", "id": id, "ok": false, "error": error}));
    node.says("openclaw devices approve 77aa-1");
    node.signal(Signal::HUP);
    Played::meet(&listener).welcome(3);
    node.says("protocol 3");
    assert_eq!(node.stop(), Some(0));
}

fn a_node_answers_the_operators_of_its_gateway(binary: Binary) {
    let gateway = Home::new(binary).start();
    allow_everything(&gateway.home);
    let node = node(&gateway.home, &[]);
    node.says("connected to");
    let call = |method: &str, params: &Value| {
        gateway.run(&["call", method, &params.to_string(), "--json"]).success().json()
    };
    let waiting = call("node.pair.list", &json!({}))["pending"][0].clone();
    call("node.pair.approve", &json!({"requestId": waiting["requestId"]}));
    node.says("approved at the gateway");
    let invoke = |command: &str, params: Value| {
        let id = &waiting["nodeId"];
        let asked = json!({"nodeId": id, "command": command, "params": params, "idempotencyKey": command});
        call("node.invoke", &asked)["payload"].clone()
    };
    let found = invoke("system.which", json!({"bins": ["sh"]}));
    assert!(Path::new(found["bins"]["sh"].as_str().unwrap()).is_absolute(), "{found}");
    let ran = invoke("system.run", json!({"command": ["echo", "tide"]}));
    assert_eq!((&ran["stdout"], &ran["exitCode"]), (&json!("tide\n"), &json!(0)), "{ran}");
    assert_eq!(node.stop(), Some(0));
}
