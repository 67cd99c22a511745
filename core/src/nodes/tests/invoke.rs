//! Invocations: who may ask, what reaches the node, and the one answer to each.

use serde_json::{Value, json};
use telson_proto::{ErrorShape, EventName, Protocol, Scope, Scopes};

use super::machine;
use crate::auth::Credential;
use crate::ids::ConnId;
use crate::testing::World;

fn details(error: &ErrorShape) -> Value {
    error.details.as_ref().unwrap().to_value()
}

fn error(world: &World, call: u64) -> ErrorShape {
    world.reply(call).error.unwrap()
}

fn ready(protocol: Protocol) -> (World, ConnId, ConnId) {
    let mut world = World::new();
    let node = world.approved_node(machine(1, protocol));
    let operator = world.operator(protocol);
    world.forget();
    (world, node, operator)
}

#[test]
fn a_node_is_asked_and_its_answer_is_the_callers() {
    for protocol in Protocol::ALL {
        let (mut world, node, operator) = ready(protocol);
        let call = world.invoke(operator, "system.which", json!({"bins": ["sh"]}));
        let sent = world.invocation(node);
        assert_eq!(sent["paramsJSON"], "{\"bins\":[\"sh\"]}");
        assert_eq!((&sent["nodeId"], &sent["idempotencyKey"]), (&json!("n1"), &json!("k")));
        assert!(sent.get("timeoutMs").is_none(), "the caller gave none");
        let heard = world.node_answers(node, json!({"ok": true, "payloadJSON": "{\"b\":1,\"a\":2}"}));
        assert_eq!(heard, json!({"ok": true}));
        let answer = world.reply(call).payload.unwrap();
        assert_eq!(
            answer.to_value(),
            json!({"ok": true, "nodeId": "n1", "command": "system.which", "payload": {"a": 2, "b": 1},
                   "payloadJSON": "{\"b\":1,\"a\":2}"})
        );
    }
}

#[test]
fn a_result_comes_in_several_forms() {
    for (result, payload, text) in [
        (json!({"ok": true, "payload": {"a": 1}}), json!({"a": 1}), json!(null)),
        (json!({"ok": true, "payload": 7, "payloadJSON": null, "error": null}), json!(7), json!(null)),
        (json!({"ok": true, "payloadJSON": {"a": 1}}), json!({"a": 1}), json!(null)),
        (json!({"ok": true, "payloadJSON": "  "}), json!(null), json!("  ")),
        (json!({"ok": true, "payloadJSON": "{no"}), json!({"payloadJSON": "{no"}), json!("{no")),
        (json!({"ok": true}), json!(null), json!(null)),
    ] {
        let (mut world, node, operator) = ready(Protocol::V3);
        let call = world.invoke(operator, "system.which", json!({}));
        world.node_answers(node, result.clone());
        let answer = world.reply(call).payload.unwrap().to_value();
        assert_eq!((&answer["payload"], &answer["payloadJSON"]), (&payload, &text), "{result}");
    }
}

#[test]
fn without_parameters_the_node_is_sent_null() {
    let (mut world, node, operator) = ready(Protocol::V3);
    let params =
        json!({"nodeId": " n1 ", "command": " system.which ", "idempotencyKey": "k", "timeoutMs": 20});
    world.call(operator, "node.invoke", params);
    let sent = world.invocation(node);
    assert_eq!((&sent["paramsJSON"], &sent["timeoutMs"]), (&json!(null), &json!(20)));
}

#[test]
fn a_node_that_fails_is_quoted() {
    let (mut world, node, operator) = ready(Protocol::V3);
    let call = world.invoke(operator, "system.run", json!({"command": ["ls"]}));
    let said = json!({"code": "UNAVAILABLE", "message": "SYSTEM_RUN_DENIED: approval required"});
    world.node_answers(node, json!({"ok": false, "error": said}));
    let refused = error(&world, call);
    assert_eq!(refused.message, "SYSTEM_RUN_DENIED: approval required");
    assert_eq!(details(&refused), json!({"nodeError": said}));
    let call = world.invoke(operator, "system.which", json!({}));
    world.node_answers(node, json!({"ok": false}));
    assert_eq!(error(&world, call).message, "node invoke failed");
    assert_eq!(details(&error(&world, call)), json!({"nodeError": null}));
}

#[test]
fn an_invocation_that_takes_too_long_ends_and_its_late_result_changes_nothing() {
    for protocol in Protocol::ALL {
        let (mut world, node, operator) = ready(protocol);
        let call = world.invoke(operator, "system.which", json!({}));
        world.advance(29_999);
        assert!(world.replies(call).is_empty());
        world.advance(2);
        let refused = error(&world, call);
        assert_eq!(refused.message, "node invoke timed out");
        assert_eq!(details(&refused)["nodeError"]["code"], "TIMEOUT");
        assert_eq!(world.node_answers(node, json!({"ok": true})), json!({"ok": true, "ignored": true}));
        assert_eq!(world.replies(call).len(), 1);
        assert_eq!(world.gateway.nodes.invocations.len(), 0);
        let cancelled = world.addressed(node, EventName::NodeInvokeCancel).len();
        assert_eq!(cancelled, usize::from(protocol == Protocol::V4));
    }
}

#[test]
fn a_timeout_of_zero_is_none_at_all_or_no_deadline() {
    let none = json!({"nodeId": "n1", "command": "system.which", "idempotencyKey": "k", "timeoutMs": 0});
    let (mut world, _, operator) = ready(Protocol::V3);
    let call = world.call(operator, "node.invoke", none.clone());
    world.advance(1);
    assert_eq!(error(&world, call).message, "node invoke timed out");
    let (mut world, node, operator) = ready(Protocol::V4);
    let call = world.call(operator, "node.invoke", none);
    world.advance(3_600_000);
    assert!(world.replies(call).is_empty());
    world.lose(node);
    assert_eq!(error(&world, call).message, "node disconnected (system.which)");
}

#[test]
fn a_result_of_another_connection_is_ignored() {
    let (mut world, node, operator) = ready(Protocol::V4);
    let other = world.approved_node(super::Machine { device: "n2", ..machine(2, Protocol::V4) });
    let again = world.node(machine(3, Protocol::V4));
    // The newest connection of the node is asked; neither the older one nor another node can answer.
    let call = world.invoke(operator, "system.which", json!({}));
    let id = world.invocation(again)["id"].clone();
    let forged = world.ask(other, "node.invoke.result", json!({"id": id, "nodeId": "n2", "ok": true}));
    assert_eq!(forged["ignored"], true);
    let mismatch = world.refusal(other, "node.invoke.result", json!({"id": id, "nodeId": "n1", "ok": true}));
    assert_eq!(mismatch.message, "nodeId mismatch");
    let older = world.ask(node, "node.invoke.result", json!({"id": id, "nodeId": "n1", "ok": true}));
    assert_eq!(older["ignored"], true);
    assert!(world.replies(call).is_empty());
    let progress = json!({"invokeId": id, "nodeId": "n1", "seq": 1, "chunk": "half"});
    assert_eq!(world.ask(again, "node.invoke.progress", progress.clone())["ignored"], false);
    assert_eq!(world.ask(again, "node.invoke.progress", progress.clone())["ignored"], true, "a repeat");
    assert_eq!(world.ask(node, "node.invoke.progress", progress)["ignored"], true);
    world.node_answers(again, json!({"ok": true}));
    assert_eq!(world.replies(call).len(), 1);
}

#[test]
fn a_node_that_is_gone_answers_at_once() {
    for (protocol, message) in [
        (Protocol::V3, "Error: node disconnected (system.which)"),
        (Protocol::V4, "node disconnected (system.which)"),
    ] {
        let (mut world, node, operator) = ready(protocol);
        let call = world.invoke(operator, "system.which", json!({}));
        world.lose(node);
        let refused = error(&world, call);
        assert_eq!((refused.message.as_str(), refused.retryable), (message, Some(true)));
        assert_eq!(details(&refused)["code"], "NODE_DISCONNECTED");
        let call = world.invoke(operator, "system.which", json!({}));
        let refused = error(&world, call);
        assert_eq!((refused.message.as_str(), refused.retryable), ("node not connected", Some(true)));
        assert_eq!(details(&refused)["code"], "NOT_CONNECTED");
    }
}

#[test]
fn who_leaves_takes_the_invocation_along_and_a_node_of_protocol_4_is_told() {
    for protocol in Protocol::ALL {
        let (mut world, node, operator) = ready(protocol);
        world.invoke(operator, "system.which", json!({}));
        let id = world.invocation(node)["id"].clone();
        world.lose(operator);
        assert_eq!(world.gateway.nodes.invocations.len(), 0);
        let told: Vec<Value> = world.addressed(node, EventName::NodeInvokeCancel);
        match protocol {
            Protocol::V3 => assert!(told.is_empty()),
            Protocol::V4 => assert_eq!(told[0]["id"], id),
        }
        assert_eq!(world.node_answers(node, json!({"ok": true}))["ignored"], true);
    }
}

#[test]
fn a_node_that_is_not_ready_is_asked_again_a_few_times() {
    let (mut world, node, operator) = ready(Protocol::V4);
    let call = world.invoke(operator, "system.which", json!({}));
    let not_ready = json!({"ok": false, "error": {"code": "NODE_NOT_READY", "message": "starting"}});
    for asked in 1..=4 {
        assert_eq!(world.addressed(node, EventName::NodeInvokeRequest).len(), asked);
        world.node_answers(node, not_ready.clone());
        assert_eq!(world.node_answers(node, not_ready.clone())["ignored"], true, "once is enough");
        assert!(world.replies(call).is_empty());
        world.advance(4_000);
    }
    world.node_answers(node, not_ready);
    assert_eq!(error(&world, call).message, "starting");
}

#[test]
fn what_policy_denies_is_refused_with_its_reason_and_written_down() {
    let mut world = World::with(|settings| settings.nodes.deny.push("system.run".to_owned()));
    world.approved_node(machine(1, Protocol::V3));
    let lists = [
        (Protocol::V3, "node command not allowed"),
        (
            Protocol::V4,
            "node command not allowed: \"system.run\" is not in the allowlist for platform \"linux\"",
        ),
    ];
    for (protocol, message) in lists {
        let operator = world.operator(protocol);
        let call = world.invoke(operator, "system.run", json!({"command": ["ls"]}));
        let refused = error(&world, call);
        assert_eq!(refused.message, message);
        assert_eq!(details(&refused)["reason"], "command not allowlisted");
        assert_eq!(details(&refused)["command"], "system.run");
    }
    let line = world.shelf.audit.last().unwrap();
    assert_eq!((line.action.as_str(), line.outcome.as_str()), ("node.invoke", "denied"));
    assert_eq!(line.subject, "n1 system.run");
}

#[test]
fn admins_alone_ask_for_the_commands_of_admins_and_nobody_for_the_nodes_own_rules() {
    let mut world = World::new();
    let commands = vec!["browser.proxy", "system.execApprovals.set", "system.which", "system.run"];
    world.approved_node(super::Machine { commands, ..machine(1, Protocol::V3) });
    for protocol in Protocol::ALL {
        let writer = world.client(protocol, World::read_write(), None);
        let call = world.invoke(writer, "browser.proxy", json!({"method": "GET", "path": "/"}));
        assert_eq!(error(&world, call).message, "missing scope: operator.admin");
        let admin = world.operator(protocol);
        let call = world.invoke(admin, "browser.proxy", json!({"method": "GET", "path": "/"}));
        assert!(world.replies(call).is_empty(), "it is under way");
        let line = world.shelf.audit.last().unwrap();
        assert_eq!((line.subject.as_str(), line.outcome.as_str()), ("n1 browser.proxy", "ok"));
        for command in ["system.execApprovals.set", "system.execApprovals.get"] {
            let call = world.invoke(admin, command, json!({}));
            assert!(error(&world, call).message.contains("exec.approvals.node"), "{command}");
        }
        let reader = world.client(protocol, Scopes::from_iter([Scope::Read]), None);
        let call = world.invoke(reader, "system.which", json!({}));
        assert_eq!(error(&world, call).message, "missing scope: operator.write");
    }
}

#[test]
fn no_caller_says_for_himself_that_somebody_has_approved() {
    let (mut world, node, operator) = ready(Protocol::V3);
    let said = json!({
        "command": ["id"], "cwd": "/tmp", "approved": true, "approvalDecision": "allow-always", "runId": "mine",
        "approvalId": "x", "systemRunPlan": {}, "anything": 1,
    });
    world.invoke(operator, "system.run", said.clone());
    let sent: Value = serde_json::from_str(world.invocation(node)["paramsJSON"].as_str().unwrap()).unwrap();
    let fields: Vec<&String> = sent.as_object().unwrap().keys().collect();
    assert_eq!(fields, ["command", "cwd", "runId"]);
    assert_ne!(sent["runId"], "mine", "the name of the run is the gateway's own");
    world.invoke(operator, "system.which", json!({"bins": [], "approved": true, "approvalDecision": "x"}));
    assert_eq!(world.invocation(node)["paramsJSON"], "{\"bins\":[]}");

    let newer = world.operator(Protocol::V4);
    let call = world.invoke(newer, "system.run", said);
    assert_eq!(details(&error(&world, call))["code"], "UNKNOWN_APPROVAL_ID");
    let call = world.invoke(newer, "system.run", json!({"command": ["id"], "approved": true}));
    assert_eq!(details(&error(&world, call))["code"], "MISSING_RUN_ID");
    assert_eq!(world.shelf.audit.last().unwrap().outcome, "denied");
}

#[test]
fn a_node_takes_so_many_invocations_and_so_large_ones() {
    let (mut world, _, operator) = ready(Protocol::V4);
    let calls: Vec<u64> = (0..65).map(|_| world.invoke(operator, "system.which", json!({}))).collect();
    assert!(world.replies(calls[63]).is_empty());
    let refused = error(&world, calls[64]);
    assert_eq!((details(&refused)["limit"].as_str(), refused.retryable), (Some("node-invokes"), Some(true)));
    let (mut world, _, operator) = ready(Protocol::V4);
    let call = world.invoke(operator, "system.which", json!({"bins": ["x".repeat(1_048_576)]}));
    assert_eq!(details(&error(&world, call))["limit"], "node-params");
}

#[test]
fn blank_names_are_refused() {
    let (mut world, _, operator) = ready(Protocol::V3);
    let params = json!({"nodeId": " ", "command": "x", "idempotencyKey": "k"});
    assert_eq!(world.refusal(operator, "node.invoke", params).message, "nodeId and command required");
    let params = json!({"nodeId": "n1", "command": "x", "idempotencyKey": "k", "sessionKey": "main"});
    assert!(world.refusal(operator, "node.invoke", params).message.contains("unexpected property"));
}

#[test]
fn an_agent_of_the_owner_asks_a_node_and_nobody_elses_does() {
    use crate::ids::{AgentId, RunId, SessionKey};
    use crate::tools::{Caller, ToolContext};
    let context = |owner, untrusted| ToolContext {
        caller: Caller::Run { run: RunId::new("nobody"), id: "1".to_owned() },
        agent: AgentId::new("main"),
        session: SessionKey::new("agent:main:main"),
        owner,
        untrusted,
    };
    let (mut world, node, _) = ready(Protocol::V4);
    let arguments =
        json!({"action": "invoke", "node": "shed", "command": "system.which", "params": {"bins": []}});
    for (owner, untrusted) in [(false, false), (true, true)] {
        let call = world.gateway.call_tool(context(owner, untrusted), "nodes", &arguments);
        world.input(crate::gateway::Input::Timeout);
        let (_, told) = world.gateway.tools.told.iter().find(|(of, _)| *of == call).unwrap();
        assert!(told.is_error && told.text.contains("not available"), "{told:?}");
    }
    let call = world.gateway.call_tool(context(true, false), "nodes", &arguments);
    world.input(crate::gateway::Input::Timeout);
    world.node_answers(node, json!({"ok": true, "payloadJSON": "{\"bins\":{\"sh\":\"/bin/sh\"}}"}));
    let (_, told) = world.gateway.tools.told.iter().find(|(of, _)| *of == call).unwrap();
    assert!(told.text.contains("EXTERNAL_UNTRUSTED_CONTENT") && told.text.contains("/bin/sh"), "{told:?}");
    // Given up: the node is told, and nothing is left of it.
    let call = world.gateway.call_tool(context(true, false), "nodes", &arguments);
    world.gateway.abort_tool(call);
    world.input(crate::gateway::Input::Timeout);
    assert_eq!(world.addressed(node, EventName::NodeInvokeCancel).len(), 1);
    assert!(world.gateway.tools.is_idle());
    assert_eq!(world.gateway.nodes.invocations.len(), 0);
}

#[test]
fn a_token_of_the_device_is_not_the_gateways_secret() {
    let mut world = World::new();
    let credential = Credential::DeviceToken { hash: "h".to_owned() };
    world.node(super::Machine { credential, ..machine(1, Protocol::V3) });
    let operator = world.operator(Protocol::V3);
    let call = world.invoke(operator, "system.which", json!({}));
    assert_eq!(details(&error(&world, call))["reason"], "command not approved");
}
