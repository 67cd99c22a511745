//! Approvals meet nodes: an answer lets a command through once, and a node's own file is asked of it (spec 03
//! §2.10, §3.6; 08 S-53, S-55).

use serde_json::{Value, json};
use telson_proto::{ErrorCode, EventName, Protocol};

use super::{Machine, machine};
use crate::testing::World;

fn host(protocol: Protocol) -> Machine {
    let commands = vec!["system.run", "system.execApprovals.get", "system.execApprovals.set"];
    Machine { commands, ..machine(1, protocol) }
}

fn params_of(sent: &Value) -> Value {
    serde_json::from_str(sent["paramsJSON"].as_str().unwrap()).unwrap()
}

#[test]
fn a_yes_lets_what_was_shown_through_once() {
    let mut world = World::new();
    let node = world.approved_node(host(Protocol::V4));
    let (asker, desk) = (world.operator(Protocol::V4), world.operator(Protocol::V4));
    let plan = json!({"argv": ["git", "push"], "cwd": "/srv", "commandText": "git push", "agentId": null, "sessionKey": null});
    let params = json!({"id": "a", "host": "node", "nodeId": "n1", "systemRunPlan": plan});
    world.call(asker, "exec.approval.request", params);
    world.ask(desk, "exec.approval.resolve", json!({"id": "a", "decision": "allow-once"}));
    let run = |command: Value| json!({"command": command, "cwd": "/srv", "approved": true, "runId": "a"});

    let other = world.invoke(asker, "system.run", run(json!(["git", "push", "-f"])));
    let refused = world.reply(other).error.unwrap().details.unwrap().to_value();
    assert_eq!(refused["code"], "APPROVAL_REQUEST_MISMATCH");
    world.invoke(asker, "system.run", run(json!(["git", "push"])));
    let sent = params_of(&world.invocation(node));
    assert_eq!((&sent["approved"], &sent["approvalDecision"]), (&json!(true), &json!("allow-once")));
    let again = world.invoke(asker, "system.run", run(json!(["git", "push"])));
    let refused = world.reply(again).error.unwrap().details.unwrap().to_value();
    assert_eq!(refused["code"], "APPROVAL_EXPIRED");
    assert_eq!(world.addressed(node, EventName::NodeInvokeRequest).len(), 1);
}

#[test]
fn an_older_client_runs_the_line_that_was_approved() {
    let mut world = World::new();
    let node = world.approved_node(host(Protocol::V3));
    let (asker, desk) = (world.operator(Protocol::V3), world.operator(Protocol::V3));
    world.call(
        asker,
        "exec.approval.request",
        json!({"id": "a", "command": "echo x", "host": "node", "agentId": "main"}),
    );
    world.ask(desk, "exec.approval.resolve", json!({"id": "a", "decision": "allow-once"}));
    let run = json!({"command": ["echo", "x"], "agentId": "main", "approved": true, "approvalDecision": "allow-once"});
    for approved in [json!(true), Value::Null] {
        world.invoke(asker, "system.run", run.clone());
        assert_eq!(params_of(&world.invocation(node))["approved"], approved);
    }
}

#[test]
fn a_nodes_own_file_is_asked_of_the_node() {
    let mut world = World::new();
    let node = world.approved_node(host(Protocol::V3));
    let desk = world.operator(Protocol::V3);
    let call = world.call(desk, "exec.approvals.node.get", json!({"nodeId": "n1"}));
    let sent = world.invocation(node);
    assert_eq!((&sent["command"], &sent["paramsJSON"]), (&json!("system.execApprovals.get"), &json!("{}")));
    world.node_answers(node, json!({"ok": true, "payloadJSON": "{\"hash\":\"h\"}"}));
    assert_eq!(world.reply(call).payload.unwrap().to_value(), json!({"hash": "h"}));

    let file = json!({"version": 1, "agents": {}});
    let call =
        world.call(desk, "exec.approvals.node.set", json!({"nodeId": "n1", "file": file, "baseHash": "h"}));
    assert_eq!(params_of(&world.invocation(node)), json!({"file": file, "baseHash": "h"}));
    world.node_answers(node, json!({"ok": true, "payload": {"hash": "i"}}));
    assert_eq!(
        world.reply(call).payload.unwrap().to_value(),
        json!({"hash": "i"}),
        "also without payloadJSON"
    );

    let call = world.call(desk, "exec.approvals.node.set", json!({"nodeId": "n1", "file": file}));
    let problem =
        json!({"code": "INVALID_REQUEST", "message": "INVALID_REQUEST: exec approvals base hash required"});
    world.node_answers(node, json!({"ok": false, "error": problem}));
    let error = world.reply(call).error.unwrap();
    assert_eq!(
        (error.code, error.message.as_str()),
        (ErrorCode::Unavailable, problem["message"].as_str().unwrap())
    );
    assert_eq!(error.details.unwrap().to_value()["nodeError"], problem);

    let blank = world.refusal(desk, "exec.approvals.node.get", json!({"nodeId": " "}));
    assert_eq!(blank.message, "nodeId required");
    let gone = world.refusal(desk, "exec.approvals.node.get", json!({"nodeId": "n2"}));
    assert_eq!(gone.code, ErrorCode::Unavailable);
    assert_eq!(gone.details.unwrap().to_value()["nodeError"]["code"], "NOT_CONNECTED");
    let none = world.refusal(desk, "exec.approvals.node.set", json!({"nodeId": "n1"}));
    assert_eq!(none.message, "exec approvals file is required");
    let newer = world.operator(Protocol::V4);
    let both = json!({"nodeId": "n1", "file": file, "native": {"rules": []}});
    assert!(world.refusal(newer, "exec.approvals.node.set", both).message.contains("not both"));
}
