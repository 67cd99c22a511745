//! [S-59] [S-60] What a node may be asked for is approved by somebody who may ask for it himself.

use serde_json::{Value, json};
use telson_proto::{EventName, Protocol, Scope, Scopes};

use super::{Machine, machine};
use crate::ids::ConnId;
use crate::store::StoreError;
use crate::testing::World;

fn pending(world: &mut World, conn: ConnId) -> Vec<Value> {
    world.ask(conn, "node.pair.list", json!({}))["pending"].as_array().unwrap().clone()
}

fn row(world: &mut World) -> Value {
    let operator = world.operator(Protocol::V4);
    world.ask(operator, "node.describe", json!({"nodeId": "n1"}))
}

fn with(scopes: &[Scope]) -> Scopes {
    scopes.iter().copied().collect()
}

#[test]
fn a_paired_device_is_good_for_nothing_until_its_commands_are_approved() {
    let mut world = World::new();
    let node = world.node(machine(1, Protocol::V4));
    let operator = world.operator(Protocol::V4);
    let call = world.invoke(operator, "system.which", json!({}));
    assert_eq!(
        world.reply(call).error.unwrap().details.unwrap().to_value()["reason"],
        "command not approved"
    );
    let request = pending(&mut world, operator).remove(0);
    assert_eq!(request["nodeId"], "n1");
    assert_eq!(request["commands"], json!(["system.notify", "system.run", "system.which"]));
    assert_eq!(request["requiredApproveScopes"], json!(["operator.pairing", "operator.admin"]));
    assert_eq!(request["silent"], true);
    assert_eq!(world.events(EventName::NodePairRequested, Protocol::V4), std::slice::from_ref(&request));
    let shown = row(&mut world);
    assert_eq!((&shown["approvalState"], &shown["commands"]), (&json!("pending-approval"), &json!([])));
    assert_eq!(shown["pendingRequestId"], request["requestId"]);

    let answer = world.ask(operator, "node.pair.approve", json!({"requestId": request["requestId"]}));
    assert_eq!(answer["node"]["commands"], request["commands"]);
    // The session that is there can be used at once.
    assert_eq!(row(&mut world)["commands"], request["commands"]);
    let told = world.addressed(node, EventName::NodePairResolved);
    assert_eq!((told.len(), &told[0]["decision"]), (1, &json!("approved")));
    assert_eq!(world.events(EventName::NodePairResolved, Protocol::V4).len(), 1);
    let call = world.invoke(operator, "system.which", json!({}));
    assert!(world.replies(call).is_empty());
    let again = world.refusal(operator, "node.pair.approve", json!({"requestId": request["requestId"]}));
    assert_eq!(again.message, "unknown requestId");
}

#[test]
fn a_device_that_is_removed_takes_what_it_was_approved_for_along() {
    let mut world = World::new();
    let node = world.approved_node(machine(1, Protocol::V4));
    let operator = world.operator(Protocol::V4);
    assert!(!world.shelf.records.is_empty());
    world.ask(operator, "device.pair.remove", json!({"deviceId": "n1"}));
    assert!(world.shelf.records.is_empty(), "{:?}", world.shelf.records);
    assert!(!world.gateway.conns.contains_key(&node));
    assert_eq!(world.ask(operator, "node.list", json!({}))["nodes"], json!([]));
}

#[test]
fn whoever_approves_must_be_able_to_ask_for_it() {
    for (commands, enough, short) in [
        (vec![], vec![Scope::Pairing], vec![Scope::Admin]),
        (vec!["system.notify"], vec![Scope::Pairing, Scope::Write], vec![Scope::Pairing]),
        (vec!["system.run"], vec![Scope::Pairing, Scope::Admin], vec![Scope::Pairing, Scope::Write]),
    ] {
        let mut world = World::new();
        world.node(Machine { commands: commands.clone(), ..machine(1, Protocol::V4) });
        let operator = world.operator(Protocol::V4);
        let id = pending(&mut world, operator)[0]["requestId"].clone();
        if !commands.is_empty() {
            let weak = world.client(Protocol::V4, with(&short), None);
            let refused = world.refusal(weak, "node.pair.approve", json!({"requestId": id}));
            assert_eq!(refused.code.as_str(), "FORBIDDEN", "{commands:?}");
            assert_eq!(world.shelf.audit.last().unwrap().outcome, "denied");
        }
        let strong = world.client(Protocol::V4, with(&enough), None);
        world.ask(strong, "node.pair.approve", json!({"requestId": id}));
        let line = world.shelf.audit.last().unwrap();
        assert_eq!((line.action.as_str(), line.outcome.as_str()), ("node.pair.approve", "ok"));
    }
}

#[test]
fn a_node_that_asks_for_more_keeps_what_it_had_and_waits_for_the_rest() {
    for protocol in Protocol::ALL {
        let mut world = World::new();
        let less = vec!["system.which"];
        let old = world.approved_node(Machine { commands: less.clone(), ..machine(1, protocol) });
        world.lose(old);
        let new = world.node(machine(2, protocol));
        assert_eq!(row(&mut world)["approvalState"], "pending-reapproval");
        assert_eq!(row(&mut world)["commands"], json!(less));
        let operator = world.operator(Protocol::V4);
        let first = pending(&mut world, operator)[0].clone();
        assert_eq!(first["isRepair"], true);
        world.lose(new);
        let again = world.node(machine(3, protocol));
        assert_eq!(
            pending(&mut world, operator)[0]["requestId"],
            first["requestId"],
            "the same is asked for"
        );
        // It asks for something else: who approves what he saw before approves nothing.
        world.lose(again);
        world.node(Machine { commands: vec!["system.which", "browser.proxy"], ..machine(4, protocol) });
        let refused = world.refusal(operator, "node.pair.approve", json!({"requestId": first["requestId"]}));
        assert_eq!(refused.message, "unknown requestId");
        assert_eq!(row(&mut world)["commands"], json!(less));
        // It asks for no more than it has: nothing waits any more.
        world.node(Machine { commands: less.clone(), ..machine(5, protocol) });
        assert!(pending(&mut world, operator).is_empty());
        assert_eq!(row(&mut world)["approvalState"], "approved");
    }
}

#[test]
fn on_the_old_protocol_a_node_of_this_host_with_the_gateways_secret_is_used_at_once() {
    let mut world = World::new();
    world.node(machine(1, Protocol::V3));
    let operator = world.operator(Protocol::V3);
    assert!(pending(&mut world, operator).is_empty());
    let call = world.invoke(operator, "system.which", json!({}));
    assert!(world.replies(call).is_empty(), "it is under way");
    let mut world = World::new();
    world.node(Machine { local: false, ..machine(1, Protocol::V3) });
    let operator = world.operator(Protocol::V3);
    assert_eq!(pending(&mut world, operator).len(), 1, "from elsewhere it waits");
    let id = pending(&mut world, operator)[0]["requestId"].clone();
    assert_eq!(
        world.ask(operator, "node.pair.reject", json!({"requestId": id})),
        json!({"requestId": id, "nodeId": "n1"})
    );
    assert!(pending(&mut world, operator).is_empty());
}

#[test]
fn a_machine_that_says_it_is_another_one_can_be_asked_for_nothing_of_the_host() {
    let mut world = World::new();
    let first = world.approved_node(machine(1, Protocol::V3));
    world.lose(first);
    world.node(Machine { platform: "darwin", ..machine(2, Protocol::V3) });
    assert_eq!(row(&mut world)["commands"], json!([]));
    let operator = world.operator(Protocol::V3);
    let call = world.invoke(operator, "system.run", json!({"command": ["id"]}));
    let refused = world.reply(call).error.unwrap();
    assert_eq!(refused.details.unwrap().to_value()["reason"], "command not allowlisted");
}

#[test]
fn approvals_survive_a_restart_and_requests_too() {
    let mut world = World::new();
    world.node(machine(1, Protocol::V4));
    let mut world = world.crash();
    let operator = world.operator(Protocol::V4);
    let id = pending(&mut world, operator)[0]["requestId"].clone();
    world.ask(operator, "node.pair.approve", json!({"requestId": id}));
    let mut world = world.crash();
    world.node(machine(2, Protocol::V4));
    assert_eq!(row(&mut world)["approvalState"], "approved");
}

#[test]
fn what_could_not_be_written_is_not_granted() {
    let mut world = World::new();
    world.node(machine(1, Protocol::V4));
    let operator = world.operator(Protocol::V4);
    let id = pending(&mut world, operator)[0]["requestId"].clone();
    world.broken = Some(StoreError::Full);
    for method in ["node.pair.approve", "node.pair.reject"] {
        let refused = world.refusal(operator, method, json!({"requestId": id}));
        assert!(refused.message.contains("disk"), "{method}: {}", refused.message);
        assert_eq!(pending(&mut world, operator)[0]["requestId"], id, "{method}");
        assert_eq!(row(&mut world)["commands"], json!([]));
    }
    let refused = world.refusal(operator, "node.pair.remove", json!({"nodeId": "n1"}));
    assert!(refused.message.contains("disk"));
    assert_eq!(row(&mut world)["paired"], true);
    world.broken = None;
    world.ask(operator, "node.pair.approve", json!({"requestId": id}));
}

#[test]
fn who_is_removed_is_gone_at_once_and_its_callers_hear_why() {
    let mut world = World::new();
    let node = world.approved_node(machine(1, Protocol::V4));
    let operator = world.operator(Protocol::V4);
    let call = world.invoke(operator, "system.which", json!({}));
    assert_eq!(world.ask(operator, "node.pair.remove", json!({"nodeId": "n1"})), json!({"nodeId": "n1"}));
    let refused = world.reply(call).error.unwrap();
    assert_eq!(refused.details.unwrap().to_value()["code"], "PAIRING_CHANGED");
    assert_eq!(refused.retryable, Some(true));
    assert!(!world.gateway.conns.contains_key(&node));
    let resolved = world.events(EventName::NodePairResolved, Protocol::V4).pop().unwrap();
    assert_eq!((&resolved["requestId"], &resolved["decision"]), (&json!(""), &json!("removed")));
    assert!(world.shelf.devices.is_empty(), "the device was nothing else");
    assert!(world.shelf.records.is_empty());
    assert_eq!(world.ask(operator, "node.list", json!({}))["nodes"], json!([]));
    let again = world.refusal(operator, "node.pair.remove", json!({"nodeId": "n1"}));
    assert_eq!(again.message, "unknown nodeId");
}

#[test]
fn a_device_that_was_removed_and_paired_anew_begins_from_nothing() {
    let mut world = World::new();
    let node = world.approved_node(machine(1, Protocol::V4));
    // Not by the domain of nodes: somebody has removed the device.
    world.gateway.devices.drop_node(&crate::ids::DeviceId::new("n1")).unwrap();
    let operator = world.operator(Protocol::V4);
    let call = world.invoke(operator, "system.which", json!({}));
    world.lose(node);
    assert!(world.reply(call).error.is_some());
    world.advance(1_000);
    world.node(machine(2, Protocol::V4));
    let shown = row(&mut world);
    assert_eq!((&shown["approvalState"], &shown["commands"]), (&json!("pending-approval"), &json!([])));
}

#[test]
fn the_old_pairing_keeps_its_own_books() {
    let mut world = World::new();
    let operator = world.operator(Protocol::V3);
    let params =
        json!({"nodeId": "old", "displayName": "Old phone", "platform": "ios", "commands": ["camera.snap"]});
    let asked = world.ask(operator, "node.pair.request", params.clone());
    assert_eq!((&asked["status"], &asked["created"]), (&json!("pending"), &json!(true)));
    assert_eq!(world.ask(operator, "node.pair.request", params.clone())["created"], false);
    assert_eq!(world.events(EventName::NodePairRequested, Protocol::V3).len(), 1);
    let id = asked["request"]["requestId"].clone();
    let newer = world.operator(Protocol::V4);
    assert!(pending(&mut world, newer).is_empty(), "protocol 4 knows nothing of it");
    assert_eq!(
        world.refusal(newer, "node.pair.approve", json!({"requestId": id})).message,
        "unknown requestId"
    );
    let approved = world.ask(operator, "node.pair.approve", json!({"requestId": id}));
    let token = approved["node"]["token"].as_str().unwrap().to_owned();
    assert_eq!(token.len(), 32);

    let mut world = world.crash();
    let operator = world.operator(Protocol::V3);
    let paired = world.ask(operator, "node.pair.list", json!({}))["paired"].clone();
    assert_eq!(paired[0]["nodeId"], "old");
    assert!(!paired.to_string().contains(&token), "the token is shown once");
    assert!(!format!("{:?}", world.shelf.records).contains(&token), "and not kept");
    let verify = |token: &str| json!({"nodeId": "old", "token": token});
    assert_eq!(world.ask(operator, "node.pair.verify", verify(&token))["ok"], true);
    assert_eq!(world.ask(operator, "node.pair.verify", verify("other")), json!({"ok": false}));
    world.ask(operator, "node.pair.request", params);
    world.advance(300_001);
    assert!(pending(&mut world, operator).is_empty(), "five minutes are enough");
}
