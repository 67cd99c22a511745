//! Nodes: a machine lends its abilities, and is asked for them.

use serde_json::{Value, json};
use telson_tests::on_every_runtime;
use telson_tests::support::binary::Binary;
use telson_tests::support::client::{Client, Dialect, Greeting};
use telson_tests::support::device::Device;
use telson_tests::support::gateway::{Gateway, Home};

on_every_runtime!(
    a_node_of_protocol_3_is_asked_and_answers,
    a_node_of_protocol_4_waits_for_an_approval,
    a_node_hears_what_it_subscribed_to,
    what_is_denied_stays_denied,
    the_command_line_shows_approves_asks_names_and_removes_a_node,
);

const COMMANDS: &[&str] = &["system.which", "system.notify"];

fn node(gateway: &Gateway, dialect: Dialect, device: &Device) -> Client {
    let token = gateway.token();
    Client::connect(gateway.address, &Greeting::node(dialect, &token, device, COMMANDS))
        .expect("the node is let in")
}

fn invoke(device: &Device, key: &str) -> Value {
    json!({"nodeId": device.id(), "command": "system.which", "params": {"bins": ["sh"]}, "idempotencyKey": key,
           "timeoutMs": 20_000})
}

/// The node waits to be asked and answers.
fn serve(node: &mut Client) {
    let sent = node.event("node.invoke.request", |_| true);
    assert_eq!(sent["paramsJSON"], json!("{\"bins\":[\"sh\"]}"));
    let result = json!({
        "id": sent["id"], "nodeId": sent["nodeId"], "ok": true, "payloadJSON": "{\"bins\":{\"sh\":\"/bin/sh\"}}",
    });
    assert_eq!(node.ask("node.invoke.result", &result), json!({"ok": true}));
}

fn a_node_of_protocol_3_is_asked_and_answers(binary: Binary) {
    let gateway = Home::new(binary).start();
    let device = Device::new(31);
    let mut shed = node(&gateway, Dialect::V3, &device);
    assert_eq!(shed.hello["policy"]["maxPayload"], json!(26_214_400), "pictures are large");
    for dialect in [Dialect::V3, Dialect::V4] {
        let mut desk = gateway.operator(dialect);
        let asked = desk.request("node.invoke", &invoke(&device, "k"));
        serve(&mut shed);
        let answer = desk.response(&asked).expect("the node has answered");
        assert_eq!(answer["payload"]["bins"]["sh"], json!("/bin/sh"));
    }
    let mut desk = gateway.operator(Dialect::V3);
    let asked = desk.request("node.invoke", &invoke(&device, "k2"));
    shed.event("node.invoke.request", |_| true);
    shed.leave();
    let refused = desk.response(&asked).expect_err("the node is gone");
    assert_eq!(refused["message"], json!("Error: node disconnected (system.which)"));
    let refused = desk.call("node.invoke", &invoke(&device, "k3")).expect_err("the node is gone");
    assert_eq!(refused["details"]["code"], json!("NOT_CONNECTED"));
}

fn a_node_of_protocol_4_waits_for_an_approval(binary: Binary) {
    let gateway = Home::new(binary).start();
    let device = Device::new(32);
    let mut desk = gateway.operator(Dialect::V4);
    let mut shed = node(&gateway, Dialect::V4, &device);
    let request = desk.event("node.pair.requested", |_| true);
    assert_eq!(request["requiredApproveScopes"], json!(["operator.pairing", "operator.admin"]));
    let refused = desk.call("node.invoke", &invoke(&device, "k")).expect_err("it waits");
    assert_eq!(refused["details"]["reason"], json!("command not approved"));
    desk.ask("node.pair.approve", &json!({"requestId": request["requestId"]}));
    assert_eq!(shed.event("node.pair.resolved", |_| true)["decision"], json!("approved"));
    let asked = desk.request("node.invoke", &invoke(&device, "k"));
    serve(&mut shed);
    desk.response(&asked).expect("it is approved");

    // The approval survives a power failure.
    let home = gateway.kill();
    let gateway = Gateway::start(&home, &[]);
    let mut shed = node(&gateway, Dialect::V4, &device);
    let mut desk = gateway.operator(Dialect::V4);
    let asked = desk.request("node.invoke", &invoke(&device, "k"));
    serve(&mut shed);
    desk.response(&asked).expect("it is still approved");
}

fn a_node_hears_what_it_subscribed_to(binary: Binary) {
    let gateway = Home::new(binary).start();
    for (seed, dialect) in [(33, Dialect::V3), (34, Dialect::V4)] {
        let mut shed = node(&gateway, dialect, &Device::new(seed));
        let mut desk = gateway.operator(Dialect::V4);
        let tell =
            |event: &str| json!({"event": event, "payloadJSON": "{\"sessionKey\":\"agent:main:main\"}"});
        shed.ask("node.event", &tell("chat.subscribe"));
        let key = format!("run-{seed}");
        let send = json!({"sessionKey": "main", "message": "what moves the sea", "idempotencyKey": key});
        desk.ask("chat.send", &send);
        let events = shed.chat_of(&key);
        assert_eq!(events.last().expect("an end")["state"], json!("final"));
        let refused = shed.call("node.list", &json!({})).expect_err("a node is no operator");
        assert_eq!(refused["message"], json!("unauthorized role: node"));
    }
}

fn what_is_denied_stays_denied(binary: Binary) {
    let home = Home::new(binary);
    home.configure("{gateway: {nodes: {denyCommands: [\"system.which\"]}}}");
    let gateway = home.start();
    let device = Device::new(35);
    let _shed = node(&gateway, Dialect::V3, &device);
    let mut desk = gateway.operator(Dialect::V3);
    let refused = desk.call("node.invoke", &invoke(&device, "k")).expect_err("it is denied");
    assert_eq!(refused["message"], json!("node command not allowed"));
    assert_eq!(refused["details"], json!({"reason": "command not allowlisted", "command": "system.which"}));
    let row = desk.ask("node.describe", &json!({"nodeId": device.id()}));
    assert_eq!(row["commands"], json!(["system.notify"]));
}

fn the_command_line_shows_approves_asks_names_and_removes_a_node(binary: Binary) {
    let gateway = Home::new(binary).start();
    assert_eq!(gateway.run(&["nodes"]).success().stdout, "No nodes.\n");
    let device = Device::new(36);
    let mut shed = node(&gateway, Dialect::V4, &device);
    let pending = gateway.run(&["nodes", "pending", "--json"]).success().json();
    let request = pending["pending"][0]["requestId"].as_str().expect("it waits").to_owned();
    let table = gateway.run(&["nodes", "pending"]).success();
    assert!(table.stdout.contains(&request) && table.stdout.contains("system.which"), "{table:#?}");
    gateway.run(&["nodes", "approve", &request]).success();
    assert_eq!(gateway.run(&["nodes", "pending"]).success().stdout, "Nothing waits.\n");
    let id = device.id();
    gateway.run(&["nodes", "rename", &id[..8], "--name", "Garden shed"]).success();
    let list = gateway.run(&["nodes", "list"]).success();
    assert!(list.stdout.contains("Garden shed") && list.stdout.contains("connected"), "{list:#?}");
    let answered = std::thread::scope(|scope| {
        let asked = scope.spawn(|| {
            let params = "{\"bins\":[\"sh\"]}";
            gateway.run(&["nodes", "invoke", "garden shed", "system.which", "--params", params])
        });
        serve(&mut shed);
        asked.join().expect("the command ends")
    });
    assert!(answered.success().stdout.contains("/bin/sh"));
    let described = gateway.run(&["nodes", "describe", "Garden shed", "--json"]).success().json();
    assert_eq!(described["approvalState"], json!("approved"));
    gateway.run(&["nodes", "invoke", &id, "system.which", "--params", "[]"]).failure(2);
    gateway.run(&["nodes", "remove", &id]).success();
    assert!(shed.closed().is_some(), "its connection has ended");
    assert_eq!(gateway.run(&["nodes"]).success().stdout, "No nodes.\n");
    let missing = gateway.run(&["nodes", "describe", "nobody"]);
    assert_ne!(missing.code, Some(0), "{missing:#?}");
}
