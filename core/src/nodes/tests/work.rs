//! [S-63] Work that waits for a node, and is looked at again when it is handed over.

use serde_json::{Value, json};
use telson_proto::Protocol;

use super::{Machine, machine};
use crate::ids::ConnId;
use crate::testing::World;

fn phone(conn: u64) -> Machine {
    Machine {
        platform: "ios 18",
        commands: vec!["camera.list", "location.get"],
        ..machine(conn, Protocol::V4)
    }
}

fn enqueue(world: &mut World, params: Value) -> Value {
    let operator = world.operator(Protocol::V4);
    let mut params = params;
    params["nodeId"] = json!("n1");
    world.ask(operator, "node.pending.enqueue", params)
}

fn kinds(answer: &Value) -> Vec<&str> {
    answer["items"].as_array().unwrap().iter().map(|item| item["type"].as_str().unwrap()).collect()
}

#[test]
fn requests_wait_for_a_node_across_restarts_and_are_taken_once() {
    let mut world = World::new();
    let node = world.approved_node(phone(1));
    world.lose(node);
    let queued = enqueue(&mut world, json!({"type": "location.request"}));
    assert_eq!((&queued["queued"]["priority"], &queued["wakeTriggered"]), (&json!("normal"), &json!(false)));
    let again = enqueue(&mut world, json!({"type": "location.request", "priority": "high"}));
    assert_eq!(again["queued"]["id"], queued["queued"]["id"], "one of each kind");
    enqueue(&mut world, json!({"type": "status.request", "priority": "high"}));
    let mut world = world.crash();
    let node = world.node(phone(2));
    let drained = world.ask(node, "node.pending.drain", json!({"maxItems": 1}));
    assert_eq!((kinds(&drained), &drained["hasMore"]), (vec!["status.request"], &json!(true)));
    let drained = world.ask(node, "node.pending.drain", json!({}));
    assert_eq!(kinds(&drained), ["location.request", "status.request"]);
    assert_eq!(drained["items"][1]["id"], "baseline-status");
    assert_eq!(drained["items"][1]["expiresAtMs"], json!(null));
    assert!(world.shelf.records.keys().all(|(shelf, _)| shelf.as_str() != "node-work"), "nothing is left");
}

#[test]
fn what_waits_too_long_or_is_no_longer_allowed_is_dropped() {
    let mut world = World::new();
    let node = world.approved_node(phone(1));
    enqueue(&mut world, json!({"type": "location.request", "expiresInMs": 1_000}));
    world.advance(1_001);
    let drained = world.ask(node, "node.pending.drain", json!({}));
    assert_eq!(kinds(&drained), ["status.request"]);
    enqueue(&mut world, json!({"type": "location.request"}));
    world.gateway.settings.nodes.deny.push("location.get".to_owned());
    let drained = world.ask(node, "node.pending.drain", json!({}));
    assert_eq!(kinds(&drained), ["status.request"], "it was allowed when it was asked for, and is not now");
}

fn in_the_background(world: &mut World, node: ConnId, command: &str) -> Value {
    let operator = world.operator(Protocol::V4);
    let call = world.invoke(operator, command, json!({"a": 1}));
    world.node_answers(
        node,
        json!({"ok": false, "error": {"code": "NODE_BACKGROUND_UNAVAILABLE", "message": "x"}}),
    );
    let error = world.reply(call).error.unwrap();
    json!({"code": error.details.unwrap().to_value()["code"], "retryable": error.retryable, "message": error.message})
}

#[test]
fn a_command_that_found_the_phone_in_the_background_waits_for_it() {
    let mut world = World::new();
    let node = world.approved_node(phone(1));
    let told = in_the_background(&mut world, node, "camera.list");
    assert_eq!(told["code"], "QUEUED_UNTIL_FOREGROUND");
    assert_eq!(told["retryable"], true);
    in_the_background(&mut world, node, "location.get");
    let mut world = world.crash();
    let node = world.node(phone(2));
    world.gateway.settings.nodes.deny.push("location.get".to_owned());
    let pulled = world.ask(node, "node.pending.pull", json!({}));
    let actions = pulled["actions"].as_array().unwrap().clone();
    assert_eq!(actions.len(), 1, "the one that is denied now is dropped");
    assert_eq!(
        (&actions[0]["command"], &actions[0]["paramsJSON"]),
        (&json!("camera.list"), &json!("{\"a\":1}"))
    );
    let ids = json!({"ids": [actions[0]["id"], "unknown"]});
    let acked = world.ask(node, "node.pending.ack", ids);
    assert_eq!(acked, json!({"nodeId": "n1", "ackedIds": [actions[0]["id"]], "remainingCount": 0}));
    in_the_background(&mut world, node, "camera.list");
    world.advance(600_001);
    assert_eq!(
        world.ask(node, "node.pending.pull", json!({}))["actions"],
        json!([]),
        "ten minutes are enough"
    );
}

#[test]
fn a_desktop_in_the_background_just_fails() {
    let mut world = World::new();
    let node = world.approved_node(machine(1, Protocol::V4));
    let told = in_the_background(&mut world, node, "system.which");
    assert_eq!((&told["code"], &told["message"]), (&json!(null), &json!("x")));
}

#[test]
fn who_is_not_paired_any_more_takes_nothing() {
    let mut world = World::new();
    let node = world.approved_node(phone(1));
    world.gateway.devices.drop_node(&crate::ids::DeviceId::new("n1")).unwrap();
    for (method, params) in [
        ("node.pending.drain", json!({})),
        ("node.pending.pull", json!({})),
        ("node.pending.ack", json!({"ids": ["x"]})),
    ] {
        let refused = world.refusal(node, method, params);
        assert_eq!(refused.details.unwrap().to_value()["code"], "PAIRING_CHANGED", "{method}");
    }
    let operator = world.operator(Protocol::V4);
    let params = json!({"nodeId": "n1", "type": "status.request"});
    assert_eq!(world.refusal(operator, "node.pending.enqueue", params).message, "unknown nodeId");
}
