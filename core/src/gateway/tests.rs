//! Dispatch as clients see it.

use serde_json::json;
use telson_proto::{ErrorCode, EventName, Protocol, Scope, Scopes};

use crate::testing::World;

#[test]
fn a_store_that_hangs_leaves_nobody_without_an_answer() {
    let mut world = World::new();
    let desk = world.operator(Protocol::V4);
    world.hold = true;
    let send = world.call(
        desk,
        "chat.send",
        json!({"sessionKey": "main", "message": "tide", "idempotencyKey": "k"}),
    );
    world.advance(29_999);
    assert!(world.replies(send).is_empty());
    world.advance(1);
    let error = world.reply(send).error.unwrap();
    assert_eq!((error.code, error.retryable), (ErrorCode::Unavailable, Some(true)));
    assert!(error.message.contains("chat.send") && error.message.contains("30 s"), "{}", error.message);

    world.release();
    world.advance(10_000);
    assert_eq!(world.replies(send).len(), 1, "the late answer is not sent");
    assert_eq!(world.chat_states("k", Protocol::V4).last().map(String::as_str), Some("final"));
    let again = json!({"sessionKey": "main", "message": "tide", "idempotencyKey": "k"});
    assert_eq!(world.ask(desk, "chat.send", again)["status"], "ok");
}

#[test]
fn who_may_not_call_a_method_does_not_learn_whether_it_exists() {
    let mut world = World::new();
    let reader = world.client(Protocol::V3, Scopes::from_iter([Scope::Read]), None);
    let hidden = world.refusal(reader, "no.such.method", json!({}));
    let known = world.refusal(reader, "sessions.reset", json!({"key": "main"}));
    assert_eq!(hidden.message, "missing scope: operator.admin");
    assert_eq!(hidden, known);
    let admin = world.client(Protocol::V3, Scopes::from_iter([Scope::Admin]), None);
    let unknown = world.refusal(admin, "no.such.method", json!({}));
    assert_eq!(unknown.message, "unknown method: no.such.method");
}

#[test]
fn refusals_name_the_field_and_what_would_be_right() {
    let mut world = World::new();
    let desk = world.operator(Protocol::V3);
    let cases = [
        (json!({"sessionKey": "main", "limit": 1_001}), "at /limit: must be <= 1000"),
        (json!({}), "must have required property 'sessionKey'"),
        (json!({"sessionKey": ""}), "at /sessionKey: must NOT have fewer than 1 characters"),
        (json!({"sessionKey": "main", "x": 1}), "at root: unexpected property 'x'"),
    ];
    for (params, detail) in cases {
        let error = world.refusal(desk, "chat.history", params);
        assert_eq!(error.message, format!("invalid chat.history params: {detail}"));
    }
    let newer = world.operator(Protocol::V4);
    world.ask(newer, "chat.history", json!({"sessionKey": "main", "__fromTheFuture": true}));
}

#[test]
fn parameters_are_an_object() {
    let mut world = World::new();
    let desk = world.operator(Protocol::V4);
    let error = world.refusal(desk, "chat.history", json!(["main", 5]));
    assert_eq!(error.message, "invalid chat.history params: at root: must be object");
}

#[test]
fn a_system_event_is_small() {
    let mut world = World::new();
    let desk = world.operator(Protocol::V4);
    let error = world.refusal(desk, "system-event", json!({"text": "x".repeat(5_000)}));
    assert!(error.message.contains("at most 4096"), "{}", error.message);
    assert_eq!(world.ask(desk, "system-event", json!({"text": "the tide turns"}))["ok"], true);
}

#[test]
fn talk_mode_needs_a_phone_when_a_browser_asks() {
    let mut world = World::new();
    let desk = world.operator(Protocol::V3);
    let answer = world.ask(desk, "talk.mode", json!({"enabled": true}));
    assert_eq!((&answer["enabled"], &answer["phase"]), (&json!(true), &json!(null)));
    assert_eq!(world.events(EventName::TalkMode, Protocol::V3).len(), 1);
}
