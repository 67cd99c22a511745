//! [P-31] Nodes come and go; nothing of an older connection touches a newer one.

use serde_json::{Value, json};
use telson_proto::{EventName, Protocol};

use super::machine;
use crate::testing::World;

fn listed(world: &mut World) -> Value {
    let operator = world.operator(Protocol::V4);
    world.ask(operator, "node.list", json!({}))["nodes"][0].clone()
}

#[test]
fn the_close_of_an_older_connection_never_evicts_the_newer_one() {
    for protocol in Protocol::ALL {
        let mut world = World::new();
        let old = world.approved_node(machine(1, protocol));
        let new = world.node(machine(2, protocol));
        let operator = world.operator(Protocol::V4);
        let call = world.invoke(operator, "system.which", json!({"bins": ["sh"]}));
        assert!(world.addressed(old, EventName::NodeInvokeRequest).is_empty(), "the newest is asked");
        world.lose(old);
        assert_eq!(listed(&mut world)["connected"], true);
        assert!(world.replies(call).is_empty(), "its invocation is still under way");
        world.node_answers(new, json!({"ok": true, "payloadJSON": "{\"bins\":{}}"}));
        assert_eq!(world.reply(call).payload.unwrap().to_value()["payload"], json!({"bins": {}}));
    }
}

#[test]
fn when_the_newer_one_closes_the_older_one_is_asked_again() {
    let mut world = World::new();
    let old = world.approved_node(machine(1, Protocol::V4));
    let new = world.node(machine(2, Protocol::V4));
    world.lose(new);
    assert_eq!(listed(&mut world)["connected"], true);
    let operator = world.operator(Protocol::V4);
    world.invoke(operator, "system.which", json!({}));
    assert_eq!(world.invocation(old)["command"], "system.which");
    world.lose(old);
    assert_eq!(listed(&mut world)["connected"], false);
}

#[test]
fn presence_and_the_list_of_nodes_agree_whatever_closes_first() {
    for order in [[1, 2, 3], [3, 2, 1], [2, 3, 1], [2, 1, 3], [1, 3, 2], [3, 1, 2]] {
        let mut world = World::new();
        let conns = [1, 2, 3].map(|number| world.node(machine(number, Protocol::V3)));
        for (gone, which) in order.into_iter().enumerate() {
            let connected = listed(&mut world)["connected"] == true;
            let operator = world.operator(Protocol::V4);
            let presence = world.ask(operator, "system-presence", json!({}));
            let shown = presence.as_array().unwrap().iter().find(|entry| entry["deviceId"] == "n1").unwrap();
            assert_eq!(connected, shown["reason"] == "connect", "after {gone} of {order:?}");
            assert!(connected);
            world.lose(conns[which - 1]);
        }
        assert_eq!(listed(&mut world)["connected"], false);
    }
}

#[test]
fn operators_of_protocol_4_are_told_that_a_node_came_and_went() {
    let mut world = World::new();
    let node = world.node(machine(1, Protocol::V4));
    world.lose(node);
    let told = world.events(EventName::NodePresence, Protocol::V4);
    let reasons: Vec<(&str, bool)> = told
        .iter()
        .map(|event| (event["reason"].as_str().unwrap(), event["connected"].as_bool().unwrap()))
        .collect();
    assert_eq!(reasons, [("connect", true), ("disconnect", false)]);
    assert!(world.events(EventName::NodePresence, Protocol::V3).is_empty());
}

#[test]
fn a_node_that_is_away_keeps_its_row() {
    let mut world = World::new();
    let node = world.approved_node(machine(1, Protocol::V4));
    let here = listed(&mut world);
    assert_eq!(here["approvalState"], "approved");
    assert_eq!(here["commands"], json!(["system.notify", "system.run", "system.which"]));
    world.lose(node);
    world.advance(1_000);
    let mut world = world.crash();
    let away = listed(&mut world);
    assert_eq!((&away["connected"], &away["paired"]), (&json!(false), &json!(true)));
    assert_eq!(away["commands"], here["commands"], "protocol 4 shows what is approved");
    assert_eq!(away["lastSeenReason"], "disconnect");
    let old = world.operator(Protocol::V3);
    let row = world.ask(old, "node.describe", json!({"nodeId": "n1"}));
    assert_eq!(row["commands"], json!([]), "protocol 3 does not");
    assert!(row.get("approvalState").is_none());
    assert_eq!(row["displayName"], "shed");
}

#[test]
fn the_operators_name_goes_before_the_nodes_own_and_stays() {
    let mut world = World::new();
    world.node(machine(1, Protocol::V3));
    let operator = world.operator(Protocol::V3);
    let params = json!({"nodeId": "n1", "displayName": " Garden shed "});
    assert_eq!(
        world.ask(operator, "node.rename", params),
        json!({"nodeId": "n1", "displayName": "Garden shed"})
    );
    let mut world = world.crash();
    world.node(machine(2, Protocol::V3));
    assert_eq!(listed(&mut world)["displayName"], "Garden shed");
    let operator = world.operator(Protocol::V3);
    for (params, message) in [
        (json!({"nodeId": "other", "displayName": "x"}), "unknown nodeId"),
        (json!({"nodeId": "n1", "displayName": "  "}), "displayName required"),
    ] {
        assert_eq!(world.refusal(operator, "node.rename", params).message, message);
    }
    let blank = world.refusal(operator, "node.describe", json!({"nodeId": " "}));
    assert_eq!(blank.message, "nodeId required");
}
