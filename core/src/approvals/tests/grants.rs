//! What runs is what was shown, once (08 S-53, S-55, S-57).

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};
use telson_proto::approval::Decision;
use telson_proto::{Protocol, Scope, Scopes};

use crate::approvals::grants::GrantFault;
use crate::ids::{ConnId, DeviceId};
use crate::testing::World;

fn node() -> DeviceId {
    DeviceId::new("node-1")
}

fn world(protocol: Protocol) -> (World, ConnId, ConnId) {
    let mut world = World::new();
    let scopes = Scopes::from_iter([Scope::Approvals]);
    let asker = world.client(protocol, scopes.clone(), Some("laptop"));
    let desk = world.client(protocol, scopes, None);
    (world, asker, desk)
}

/// Asks on protocol 4 for all that can be bound, and answers.
fn approved(decision: &str) -> World {
    let (mut world, asker, desk) = world(Protocol::V4);
    let plan = json!({"argv": ["git", "push"], "cwd": "/srv", "commandText": "git push", "agentId": "main", "sessionKey": "s"});
    let params =
        json!({"id": "a", "host": "node", "nodeId": "node-1", "env": {"A": "1"}, "systemRunPlan": plan});
    world.call(asker, "exec.approval.request", params);
    world.ask(desk, "exec.approval.resolve", json!({"id": "a", "decision": decision}));
    world
}

fn run() -> Value {
    json!({"command": ["git", "push"], "rawCommand": "git push", "cwd": "/srv", "env": {"A": "1"},
        "agentId": "main", "sessionKey": "s", "timeoutMs": 1000, "runId": "a"})
}

#[test]
fn an_approval_lets_exactly_its_command_run_once() {
    let mut world = approved("allow-once");
    assert_eq!(world.gateway.take_grant("a", &node(), &run()), Ok(Decision::AllowOnce));
    assert_eq!(world.gateway.take_grant("a", &node(), &run()), Err(GrantFault::ApprovalExpired));
}

#[test]
fn whatever_differs_was_not_approved() {
    let mut world = approved("allow-once");
    let changes = [
        ("command", json!(["git", "push", "-f"])),
        ("command", json!(["git push"])),
        ("command", json!(["git", "push "])),
        ("command", json!(["git"])),
        ("command", json!("git push")),
        ("command", json!([])),
        ("command", Value::Null),
        ("rawCommand", json!("git status")),
        ("rawCommand", json!(7)),
        ("cwd", json!("/")),
        ("cwd", Value::Null),
        ("cwd", json!("/srv/")),
        ("env", json!({})),
        ("env", json!({"A": "2"})),
        ("env", json!({"A": "1", "PATH": "/tmp"})),
        ("env", json!(["A"])),
        ("agentId", json!("other")),
        ("agentId", Value::Null),
        ("sessionKey", json!("t")),
        ("sessionKey", json!({})),
    ];
    for (name, value) in changes {
        let mut params = run();
        params[name] = value;
        let taken = world.gateway.take_grant("a", &node(), &params);
        assert_eq!(taken, Err(GrantFault::RequestMismatch), "{params}");
    }
    let elsewhere = DeviceId::new("node-2");
    assert_eq!(world.gateway.take_grant("a", &elsewhere, &run()), Err(GrantFault::NodeMismatch));
    assert_eq!(world.gateway.take_grant("", &node(), &run()), Err(GrantFault::MissingRunId));
    assert_eq!(world.gateway.take_grant("b", &node(), &run()), Err(GrantFault::UnknownApprovalId));
    assert_eq!(
        world.gateway.take_grant("a", &node(), &run()),
        Ok(Decision::AllowOnce),
        "and it is not used up"
    );
}

#[test]
fn a_no_silence_time_and_a_restart_allow_nothing() {
    let mut world = approved("deny");
    assert_eq!(world.gateway.take_grant("a", &node(), &run()), Err(GrantFault::ApprovalRequired));

    let (mut world, asker, _) = self::world(Protocol::V4);
    world.call(asker, "exec.approval.request", json!({"id": "a", "command": "x"}));
    assert_eq!(world.gateway.take_grant("a", &node(), &run()), Err(GrantFault::ApprovalRequired));
    world.advance(1_800_000);
    assert_eq!(world.gateway.take_grant("a", &node(), &run()), Err(GrantFault::ApprovalExpired));

    let mut world = approved("allow-always");
    world.advance(120_000);
    assert_eq!(world.gateway.take_grant("a", &node(), &run()), Err(GrantFault::ApprovalExpired));

    let mut world = approved("allow-always").crash();
    assert_eq!(world.gateway.take_grant("a", &node(), &run()), Err(GrantFault::ApprovalExpired));
}

/// A line that was approved on protocol 3, and the parameters with which its asker runs it.
fn matching(line: &str, params: &Value) -> Result<Decision, GrantFault> {
    let (mut world, asker, desk) = world(Protocol::V3);
    world.call(
        asker,
        "exec.approval.request",
        json!({"id": "a", "command": line, "host": "node", "agentId": "main"}),
    );
    world.ask(desk, "exec.approval.resolve", json!({"id": "a", "decision": "allow-once"}));
    let caller = Arc::clone(&world.gateway.conns[&asker]);
    let taken = world.gateway.take_matching_grant(&caller, &node(), params);
    if taken.is_ok() {
        let again = world.gateway.take_matching_grant(&caller, &node(), params);
        assert_eq!(again, Err(GrantFault::ApprovalRequired), "once");
    }
    taken
}

#[test]
fn an_older_client_may_run_the_line_that_it_has_shown() {
    for (line, argv) in [
        ("echo x", json!(["echo", "x"])),
        ("echo \"a b\"", json!(["echo", "a b"])),
        ("echo $HOME && ls", json!(["/bin/sh", "-lc", "echo $HOME && ls"])),
    ] {
        assert_eq!(
            matching(line, &json!({"command": argv, "agentId": "main"})),
            Ok(Decision::AllowOnce),
            "{line}"
        );
    }
    for (line, params) in [
        ("echo x", json!({"command": ["echo", "y"], "agentId": "main"})),
        ("echo x", json!({"command": ["echo", "x"]})),
        ("echo x", json!({"command": ["echo", "x"], "agentId": "main", "env": {"PATH": "/tmp"}})),
        ("echo x", json!({"command": ["echo", "x"], "agentId": "main", "cwd": "/tmp"})),
        ("echo $HOME", json!({"command": ["echo", "$HOME"], "agentId": "main"})),
        ("echo x; rm y", json!({"command": ["echo", "x;", "rm", "y"], "agentId": "main"})),
        ("echo x", json!({"command": ["/bin/sh", "-c", "rm y"], "rawCommand": "echo x", "agentId": "main"})),
    ] {
        assert_eq!(matching(line, &params), Err(GrantFault::ApprovalRequired), "{line} {params}");
    }
}

#[test]
fn nobody_uses_what_another_has_asked_for() {
    let (mut world, asker, desk) = world(Protocol::V3);
    world.call(asker, "exec.approval.request", json!({"id": "a", "command": "echo x"}));
    world.ask(desk, "exec.approval.resolve", json!({"id": "a", "decision": "allow-once"}));
    let params = json!({"command": ["echo", "x"]});
    let other = world.client(Protocol::V3, Scopes::all(), Some("tablet"));
    for (conn, allowed) in [(other, false), (asker, true)] {
        let caller = Arc::clone(&world.gateway.conns[&conn]);
        assert_eq!(world.gateway.take_matching_grant(&caller, &node(), &params).is_ok(), allowed);
    }
}

proptest! {
    #[test]
    fn other_words_never_run(argv in proptest::collection::vec("[a-z \"'$]{0,4}", 1..4)) {
        let params = json!({"command": argv, "agentId": "main"});
        let is_it = argv == ["git", "push"];
        prop_assert_eq!(matching("git push", &params).is_ok(), is_it);
    }
}
