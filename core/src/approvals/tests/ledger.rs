//! From a question to its end, as clients see it (spec 03 §3.1–§3.3, §3.8, §19.4; 08 S-55..S-57; 07 P-15).

use serde_json::{Value, json};
use telson_proto::{ErrorCode, EventName, Protocol, Scope, Scopes};

use crate::gateway::Input;
use crate::ids::ConnId;
use crate::messages::{Down, Up};
use crate::store::{Shelf, StoreError};
use crate::testing::{Told, World};

fn approver(world: &mut World, protocol: Protocol) -> ConnId {
    world.client(protocol, Scopes::from_iter([Scope::Approvals]), None)
}

/// A world with somebody who asks and somebody who decides.
fn two(protocol: Protocol) -> (World, ConnId, ConnId) {
    let mut world = World::new();
    let asker = approver(&mut world, protocol);
    let desk = approver(&mut world, protocol);
    (world, asker, desk)
}

fn question(id: &str) -> Value {
    json!({"id": id, "command": "git push"})
}

fn answer(id: &str, decision: &str) -> Value {
    json!({"id": id, "decision": decision})
}

#[test]
fn a_question_is_answered_with_the_first_answer() {
    let (mut world, asker, desk) = two(Protocol::V3);
    let call = world.call(asker, "exec.approval.request", json!({"command": "git push", "agentId": "main"}));
    assert!(world.replies(call).is_empty());
    let asked = world.events(EventName::ExecApprovalRequested, Protocol::V3).remove(0);
    let id = asked["id"].as_str().unwrap().to_owned();
    assert_eq!(
        asked["request"],
        json!({"command": "git push", "cwd": null, "host": null, "security": null, "ask": null,
            "agentId": "main", "resolvedPath": null, "sessionKey": null})
    );
    let (from, to) = (asked["createdAtMs"].as_u64().unwrap(), asked["expiresAtMs"].as_u64().unwrap());
    assert_eq!(to - from, 120_000);

    assert_eq!(world.ask(desk, "exec.approval.resolve", answer(&id, "allow-once")), json!({"ok": true}));
    let reply = world.reply(call).payload.unwrap().to_value();
    assert_eq!(reply, json!({"id": id, "decision": "allow-once", "createdAtMs": from, "expiresAtMs": to}));
    let told = world.events(EventName::ExecApprovalResolved, Protocol::V3).remove(0);
    assert_eq!(
        (&told["id"], &told["decision"], told.get("request")),
        (&json!(id), &json!("allow-once"), None)
    );

    let again = world.refusal(desk, "exec.approval.resolve", answer(&id, "allow-once"));
    assert_eq!((again.code, again.message.as_str()), (ErrorCode::InvalidRequest, "unknown approval id"));
    assert_eq!(again.details.unwrap().to_value()["reason"], "APPROVAL_ALREADY_RESOLVED", "and why");
}

#[test]
fn an_answer_from_inside_the_event_finds_its_question() {
    let (mut world, asker, desk) = two(Protocol::V3);
    world.hold = true;
    let call = world.call(asker, "exec.approval.request", question("a"));
    assert!(
        world.events(EventName::ExecApprovalRequested, Protocol::V3).is_empty(),
        "nobody hears before the disk"
    );
    let early = world.refusal(desk, "exec.approval.resolve", answer("a", "allow-once"));
    assert_eq!(early.message, "unknown approval id");
    world.release();
    // The event is out and the question waits; this is the very next thing that happens.
    assert_eq!(world.events(EventName::ExecApprovalRequested, Protocol::V3).len(), 1);
    world.ask(desk, "exec.approval.resolve", answer("a", "deny"));
    assert_eq!(world.reply(call).payload.unwrap().to_value()["decision"], "deny");
}

#[test]
fn nothing_is_told_before_the_answer_is_on_disk_and_the_first_one_counts_meanwhile() {
    let (mut world, asker, desk) = two(Protocol::V4);
    let call = world.call(asker, "exec.approval.request", question("a"));
    world.hold = true;
    let first = world.call(desk, "exec.approval.resolve", answer("a", "allow-once"));
    let same = world.call(desk, "exec.approval.resolve", answer("a", "allow-once"));
    let other = world.refusal(desk, "exec.approval.resolve", answer("a", "deny"));
    assert_eq!(other.message, "approval already resolved");
    let details = other.details.unwrap().to_value();
    assert_eq!(
        (&details["reason"], &details["decision"]),
        (&json!("APPROVAL_ALREADY_RESOLVED"), &json!("allow-once"))
    );
    assert!(
        world.replies(call).is_empty() && world.replies(first).is_empty() && world.replies(same).is_empty()
    );
    assert!(world.events(EventName::ExecApprovalResolved, Protocol::V4).is_empty());
    world.release();
    for ticket in [first, same] {
        assert_eq!(world.reply(ticket).payload.unwrap().to_value(), json!({"ok": true}));
    }
    assert_eq!(world.reply(call).payload.unwrap().to_value()["decision"], "allow-once");
    assert_eq!(world.events(EventName::ExecApprovalResolved, Protocol::V4).len(), 1);
    assert_eq!(world.ask(desk, "exec.approval.resolve", answer("a", "allow-once")), json!({"ok": true}));
}

#[test]
fn without_an_answer_nothing_is_allowed() {
    for protocol in Protocol::ALL {
        let (mut world, asker, desk) = two(protocol);
        let mut params = question("a");
        params["timeoutMs"] = 5_000.into();
        let call = world.call(asker, "exec.approval.request", params);
        world.advance(4_999);
        assert!(world.replies(call).is_empty());
        world.advance(1);
        assert_eq!(world.reply(call).payload.unwrap().to_value()["decision"], Value::Null);
        assert!(
            world.events(EventName::ExecApprovalResolved, protocol).is_empty(),
            "the end of time is no event"
        );
        let late = world.refusal(desk, "exec.approval.resolve", answer("a", "allow-once"));
        assert!(late.message.starts_with("unknown "), "{}", late.message);
        assert_eq!(late.details.unwrap().to_value()["reason"], "APPROVAL_EXPIRED");
    }
}

#[test]
fn a_store_that_is_broken_allows_nothing() {
    let (mut world, asker, desk) = two(Protocol::V4);
    world.broken = Some(StoreError::Full);
    let refused = world.refusal(asker, "exec.approval.request", question("a"));
    assert_eq!(refused.code, ErrorCode::Unavailable);
    assert!(world.events(EventName::ExecApprovalRequested, Protocol::V4).is_empty());

    world.broken = None;
    let call = world.call(asker, "exec.approval.request", question("a"));
    world.broken = Some(StoreError::Full);
    let refused = world.refusal(desk, "exec.approval.resolve", answer("a", "allow-once"));
    assert_eq!((refused.code, refused.retryable), (ErrorCode::Unavailable, Some(true)));
    assert!(world.replies(call).is_empty(), "it waits on");
    assert!(world.events(EventName::ExecApprovalResolved, Protocol::V4).is_empty());
    world.advance(1_800_000);
    assert_eq!(world.reply(call).payload.unwrap().to_value()["decision"], Value::Null);
}

#[test]
fn nobody_who_could_answer_is_no_answer_on_protocol_4() {
    let mut world = World::new();
    let asker = approver(&mut world, Protocol::V4);
    let reader = world.client(Protocol::V4, World::read_write(), None);
    let call =
        world.call(asker, "exec.approval.request", json!({"id": "a", "command": "x", "twoPhase": true}));
    let replies = world.replies(call);
    let payload = |at: usize| replies[at].payload.clone().unwrap().to_value();
    assert_eq!((&payload(0)["status"], &payload(0)["deliveryRoute"]), (&json!("accepted"), &json!("none")));
    assert_eq!(payload(1)["decision"], Value::Null);
    let wait = world.ask(asker, "exec.approval.waitDecision", json!({"id": "a"}));
    assert_eq!((&wait["decision"], &wait["terminalReason"]), (&Value::Null, &json!("no-route")));
    // Protocol 3 waits for whoever comes.
    let old = approver(&mut world, Protocol::V3);
    world.input(Input::Up(Up::Gone { conn: asker }));
    world.input(Input::Up(Up::Gone { conn: reader }));
    let call = world.call(old, "exec.approval.request", question("b"));
    assert!(world.replies(call).is_empty());
}

#[test]
fn a_question_outlives_the_connection_that_asked_it() {
    let (mut world, asker, desk) = two(Protocol::V4);
    let call = world.call(asker, "exec.approval.request", question("a"));
    world.input(Input::Up(Up::Gone { conn: asker }));
    let back = approver(&mut world, Protocol::V4);
    let wait = world.call(back, "exec.approval.waitDecision", json!({"id": "a"}));
    world.ask(desk, "exec.approval.resolve", answer("a", "allow-once"));
    assert!(world.replies(call).is_empty(), "it has left");
    let told = world.reply(wait).payload.unwrap().to_value();
    assert_eq!((&told["decision"], &told["terminalReason"]), (&json!("allow-once"), &json!("user")));
}

#[test]
fn a_restart_ends_what_waited_and_keeps_what_was_decided() {
    let (mut world, asker, desk) = two(Protocol::V4);
    world.call(asker, "exec.approval.request", question("open"));
    world.call(asker, "exec.approval.request", question("done"));
    world.ask(desk, "exec.approval.resolve", answer("done", "allow-once"));

    let mut world = world.crash();
    let desk = approver(&mut world, Protocol::V4);
    assert_eq!(world.ask(desk, "exec.approval.list", json!({})), json!([]));
    let open = world.ask(desk, "approval.get", json!({"id": "open"}))["approval"].clone();
    assert_eq!((&open["status"], &open["reason"]), (&json!("cancelled"), &json!("gateway-restart")));
    let done = world.ask(desk, "approval.get", json!({"id": "done"}))["approval"].clone();
    assert_eq!((&done["status"], &done["decision"]), (&json!("allowed"), &json!("allow-once")));
    let refused = world.refusal(desk, "exec.approval.resolve", answer("open", "allow-once"));
    assert_eq!(refused.details.unwrap().to_value()["reason"], "APPROVAL_CANCELLED");
    assert!(refused.message.contains("restarted"), "{}", refused.message);
    let wait = world.ask(desk, "exec.approval.waitDecision", json!({"id": "open"}));
    assert_eq!((&wait["decision"], &wait["terminalReason"]), (&Value::Null, &json!("gateway-restart")));
    // And what the restart has ended is on disk as ended.
    let text = world.shelf.records[&(Shelf::Approvals, "approval:open".to_owned())].record.to_value();
    assert_eq!(text["state"], "cancelled");
}

#[test]
fn a_crash_between_any_two_steps_never_leaves_a_yes_that_nobody_was_told() {
    for step in 0..4 {
        let (mut world, asker, desk) = two(Protocol::V4);
        world.hold = step == 0;
        world.call(asker, "exec.approval.request", question("a"));
        world.hold = step == 2;
        if step >= 2 {
            world.call(desk, "exec.approval.resolve", answer("a", "allow-once"));
        }
        let mut world = world.crash();
        let desk = approver(&mut world, Protocol::V4);
        let known = world.call(desk, "approval.get", json!({"id": "a"}));
        let status = world.reply(known).payload.map(|found| found.to_value()["approval"]["status"].clone());
        let expected =
            [None, Some("cancelled"), Some("cancelled"), Some("allowed")][step].map(|word| json!(word));
        assert_eq!(status, expected, "step {step}");
        assert_eq!(world.ask(desk, "exec.approval.list", json!({})), json!([]));
        let late = world.call(desk, "exec.approval.resolve", answer("a", "deny"));
        assert!(world.reply(late).error.is_some(), "step {step}: what has ended stays as it ended");
    }
}

#[test]
fn what_is_shown_is_the_whole_command_with_every_character() {
    let (mut world, asker, _) = two(Protocol::V4);
    let tail = "x".repeat(9_000);
    let params = json!({"id": "a", "host": "node", "nodeId": "n1", "env": {"LD_PRELOAD": "/tmp/e\u{200b}.so", "API_TOKEN": "s3cret"},
        "command": "git status", "commandArgv": ["git", "status"],
        "systemRunPlan": {"argv": ["/bin/sh", "-c", format!("echo \u{202e}{tail}")], "cwd": "/srv\n", "commandText": "git status",
            "commandPreview": "git", "agentId": null, "sessionKey": null}});
    world.call(asker, "exec.approval.request", params);
    let request = world.events(EventName::ExecApprovalRequested, Protocol::V4)[0]["request"].clone();
    let whole = format!("/bin/sh -c 'echo \\u{{202e}}{tail}'");
    assert_eq!(request["command"], whole.as_str(), "not what the asker calls it");
    assert_eq!(request["systemRunPlan"]["commandText"], whole.as_str());
    assert_eq!(request["cwd"], "/srv\\u{a}");
    assert_eq!(
        request["env"],
        json!({"LD_PRELOAD": "/tmp/e\\u{200b}.so", "API_TOKEN": "<6 characters, hidden>"})
    );
    assert!(
        request.get("commandPreview").is_none() && request["systemRunPlan"].get("commandPreview").is_none()
    );
    let view = world.ask(asker, "exec.approval.get", json!({"id": "a"}));
    assert_eq!(view["commandText"], whole.as_str());
    assert!(!world.shelf.records.values().any(|record| record.record.as_str().contains("s3cret")));
}

#[test]
fn a_command_that_is_too_long_to_be_shown_whole_is_refused() {
    let (mut world, asker, _) = two(Protocol::V4);
    let refused = world.refusal(asker, "exec.approval.request", json!({"command": "x".repeat(70_000)}));
    assert!(refused.message.contains("at most 65536"), "{}", refused.message);
}

#[test]
fn requests_are_checked_as_the_reference_does() {
    let (mut world, asker, _) = two(Protocol::V4);
    let plan = json!({"argv": ["a"], "cwd": null, "commandText": "a", "agentId": null, "sessionKey": null});
    for (params, message) in [
        (json!({}), "command is required"),
        (json!({"command": "  "}), "command is required"),
        (json!({"command": "a", "host": "node"}), "nodeId is required for host=node"),
        (json!({"command": "a", "host": "node", "nodeId": "n"}), "systemRunPlan is required for host=node"),
        (
            json!({"command": "a", "id": "plugin:x"}),
            "approval ids that begin with plugin: are reserved; choose another one",
        ),
    ] {
        assert_eq!(world.refusal(asker, "exec.approval.request", params).message, message);
    }
    world.call(
        asker,
        "exec.approval.request",
        json!({"id": " a ", "host": "node", "nodeId": "n", "systemRunPlan": plan}),
    );
    let twice = world.refusal(asker, "exec.approval.request", question("a"));
    assert_eq!(twice.message, "approval id already pending");
    let old = approver(&mut world, Protocol::V3);
    let closed = world.refusal(old, "exec.approval.request", json!({"command": "a", "twoPhase": true}));
    assert!(closed.message.ends_with("at root: unexpected property 'twoPhase'"), "{}", closed.message);
    let closed = world.refusal(old, "exec.approval.request", json!({"command": ""}));
    assert!(
        closed.message.starts_with("invalid exec.approval.request params: at /command"),
        "{}",
        closed.message
    );
    assert_eq!(world.refusal(old, "exec.approval.resolve", answer("a", "yes")).message, "invalid decision");
}

#[test]
fn an_id_is_found_by_its_beginning_when_that_is_enough() {
    let (mut world, asker, _) = two(Protocol::V4);
    for id in ["abc", "abd"] {
        world.call(asker, "exec.approval.request", question(id));
    }
    assert_eq!(world.ask(asker, "exec.approval.get", json!({"id": "abc"}))["id"], "abc");
    let refused = world.refusal(asker, "exec.approval.get", json!({"id": "ab"}));
    assert_eq!(refused.message, "ambiguous approval id prefix; use the full id");
    assert!(
        world
            .refusal(asker, "exec.approval.get", json!({"id": "x"}))
            .message
            .starts_with("unknown or expired")
    );
    let list = world.ask(asker, "exec.approval.list", json!({}));
    assert_eq!((list.as_array().unwrap().len(), &list[0]["approvalKind"]), (2, &json!("exec")));
}

#[test]
fn only_those_who_were_named_may_answer_and_an_empty_list_names_nobody() {
    let mut world = World::new();
    let approvals = Scopes::from_iter([Scope::Approvals]);
    let asker = world.client(Protocol::V4, approvals.clone(), None);
    let named = world.client(Protocol::V4, approvals.clone(), Some("phone"));
    let other = world.client(Protocol::V4, approvals, Some("tablet"));
    world.call(
        asker,
        "exec.approval.request",
        json!({"id": "a", "command": "x", "approvalReviewerDeviceIds": ["phone"]}),
    );
    for conn in [other, asker] {
        let refused = world.refusal(conn, "exec.approval.resolve", answer("a", "allow-once"));
        assert_eq!(refused.code, ErrorCode::Forbidden);
    }
    world.ask(named, "exec.approval.resolve", answer("a", "allow-once"));
    let call = world.call(
        asker,
        "exec.approval.request",
        json!({"id": "b", "command": "x", "approvalReviewerDeviceIds": []}),
    );
    assert_eq!(world.reply(call).payload.unwrap().to_value()["decision"], Value::Null, "nobody could answer");
}

#[test]
fn an_answer_that_makes_no_sense_is_not_taken() {
    let (mut world, asker, desk) = two(Protocol::V4);
    let params = json!({"id": "a", "command": "x", "unavailableDecisions": ["allow-always", "deny"]});
    world.call(asker, "exec.approval.request", params);
    let refused = world.refusal(desk, "exec.approval.resolve", answer("a", "allow-always"));
    assert_eq!(refused.message, "allow-always is unavailable for this command");
    assert_eq!(
        world.ask(desk, "exec.approval.get", json!({"id": "a"}))["allowedDecisions"],
        json!(["allow-once", "deny"])
    );
    world.ask(desk, "exec.approval.resolve", answer("a", "deny"));
}

#[test]
fn the_same_question_is_answered_by_itself_for_as_long_as_somebody_said() {
    let (mut world, asker, desk) = two(Protocol::V4);
    world.call(asker, "exec.approval.request", question("a"));
    let params = json!({"id": "a", "decision": "allow-always", "grantExpiresInDays": 1});
    world.ask(desk, "exec.approval.resolve", params);
    let grants = world.ask(desk, "exec.approval.grants.list", json!({}));
    let grant = grants["grants"][0]["grantId"].clone();
    let mut world = world.crash();
    let (asker, desk) = (approver(&mut world, Protocol::V4), approver(&mut world, Protocol::V4));
    assert_eq!(world.ask(asker, "exec.approval.request", question("b"))["decision"], "allow-always");
    for other in [json!({"command": "git push -f"}), json!({"command": "git push", "cwd": "/"})] {
        let call = world.call(asker, "exec.approval.request", other);
        assert!(world.replies(call).is_empty(), "another question");
    }
    for outcome in ["revoked", "already-revoked"] {
        let params = json!({"grantId": grant});
        assert_eq!(world.ask(desk, "exec.approval.grants.revoke", params), json!({"outcome": outcome}));
    }
    assert_eq!(
        world.ask(desk, "exec.approval.grants.revoke", json!({"grantId": "x"})),
        json!({"outcome": "not-found"})
    );
    let call = world.call(asker, "exec.approval.request", question("c"));
    assert!(world.replies(call).is_empty(), "it is asked again");
}

#[test]
fn a_page_that_comes_back_is_shown_what_waits() {
    let (mut world, asker, _) = two(Protocol::V4);
    world.call(asker, "exec.approval.request", question("a"));
    let back = approver(&mut world, Protocol::V3);
    let principal = world.gateway.conns[&back].clone();
    let reader = world.client(Protocol::V4, World::read_write(), None);
    let stranger = world.gateway.conns[&reader].clone();
    world.forget();
    world.gateway.show_waiting_approvals(back, &principal);
    world.gateway.show_waiting_approvals(reader, &stranger);
    world.input(Input::Timeout);
    let shown: Vec<(ConnId, Value)> = world
        .told
        .iter()
        .filter_map(|told| match told {
            Told::Other(Down::Address { conn, payload, .. }) => Some((*conn, payload.to_value())),
            _ => None,
        })
        .collect();
    assert_eq!(shown.len(), 1);
    assert_eq!((shown[0].0, &shown[0].1["id"]), (back, &json!("a")));
    assert_eq!(shown[0].1["request"].as_object().unwrap().len(), 8, "in its protocol's form");
}

#[test]
fn the_history_is_read_page_by_page_and_ends_after_thirty_days() {
    let (mut world, asker, desk) = two(Protocol::V4);
    for n in 0..5 {
        world.call(asker, "exec.approval.request", question(&format!("a{n}")));
        world.ask(
            desk,
            "approval.resolve",
            json!({"id": format!("a{n}"), "kind": "exec", "decision": "deny"}),
        );
        world.advance(1_000);
    }
    let mut cursor = Value::Null;
    let mut seen = Vec::new();
    loop {
        let mut params = json!({"limit": 2});
        if cursor.is_string() {
            params["cursor"] = cursor;
        }
        let page = world.ask(desk, "approval.history", params);
        seen.extend(
            page["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()),
        );
        cursor = page["nextCursor"].clone();
        if cursor.is_null() {
            break;
        }
    }
    assert_eq!(seen, ["a4", "a3", "a2", "a1", "a0"]);
    let again =
        world.ask(desk, "approval.resolve", json!({"id": "a0", "kind": "exec", "decision": "allow-once"}));
    assert_eq!(
        (&again["applied"], &again["approval"]["decision"]),
        (&json!(false), &json!("deny")),
        "the winner"
    );
    world.advance(31 * 86_400_000);
    assert_eq!(world.ask(desk, "approval.history", json!({}))["items"], json!([]));
    world.call(asker, "exec.approval.request", question("b"));
    let kept = world.shelf.records.keys().filter(|(shelf, _)| *shelf == Shelf::Approvals).count();
    assert_eq!(kept, 1, "the old ones are gone from the disk");
}

#[test]
fn so_many_may_wait_and_no_more() {
    let (mut world, asker, _) = two(Protocol::V4);
    for n in 0..256 {
        world.call(asker, "exec.approval.request", question(&n.to_string()));
    }
    let refused = world.refusal(asker, "exec.approval.request", question("one more"));
    assert_eq!((refused.code, refused.retryable), (ErrorCode::Unavailable, Some(true)));
}

#[test]
fn a_plugins_question_goes_the_same_way() {
    let (mut world, asker, desk) = two(Protocol::V4);
    let params = json!({"title": "Send \u{202e}mail", "description": "to all", "severity": "critical"});
    let call = world.call(asker, "plugin.approval.request", params);
    let asked = world.events(EventName::PluginApprovalRequested, Protocol::V4).remove(0);
    assert!(world.events(EventName::PluginApprovalRequested, Protocol::V3).is_empty());
    assert_eq!(asked["request"]["title"], "Send \\u{202e}mail");
    let id = asked["id"].as_str().unwrap().to_owned();
    assert!(id.starts_with("plugin:"));
    assert_eq!(world.ask(desk, "plugin.approval.list", json!({}))[0]["approvalKind"], "plugin");
    assert_eq!(world.ask(desk, "exec.approval.list", json!({})), json!([]));
    world.refusal(desk, "exec.approval.resolve", answer(&id, "allow-once"));
    world.ask(desk, "plugin.approval.resolve", answer(&id, "allow-once"));
    assert_eq!(world.reply(call).payload.unwrap().to_value()["decision"], "allow-once");
    let done = world.ask(desk, "plugin.approval.waitDecision", json!({"id": id}));
    assert_eq!(done["decision"], "allow-once");
    let long = json!({"title": "x".repeat(81), "description": "d"});
    assert!(world.refusal(asker, "plugin.approval.request", long).message.contains("at /title"));
}
