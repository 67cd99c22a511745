//! What those hear who watch.

use serde_json::{Value, json};
use telson_proto::{EventName, Protocol};

use crate::messages::{Audience, Down};
use crate::testing::{Told, World};

fn changed(world: &World) -> Vec<Value> {
    world.events(EventName::SessionsChanged, Protocol::V4)
}

#[test]
fn a_change_repeats_the_row_flat_and_names_its_ancestors() {
    let mut world = World::new();
    let client = world.operator(Protocol::V4);
    for (key, parent) in [("a", "main"), ("b", "a"), ("c", "b")] {
        world.ask(client, "sessions.create", json!({"key": key, "parentSessionKey": parent}));
    }
    world.forget();
    world.ask(client, "sessions.patch", json!({"key": "c", "icon": "x"}));
    let event = &changed(&world)[0];
    assert_eq!((&event["sessionKey"], &event["reason"]), (&json!("agent:main:c"), &json!("patch")));
    for name in ["key", "sessionId", "agentId", "updatedAt", "icon", "activeRunIds", "hasActiveRun", "kind"] {
        assert_eq!(event[name], event["session"][name], "{name}");
        assert!(!event[name].is_null(), "{name}");
    }
    let ancestors = event["ancestorSessions"].as_array().unwrap().iter().map(|row| row["key"].clone());
    assert_eq!(ancestors.collect::<Vec<_>>(), ["agent:main:b", "agent:main:a"]);
}

#[test]
fn a_run_is_a_reason_and_a_phase() {
    let mut world = World::with_model();
    let client = world.operator(Protocol::V4);
    world.ask(client, "sessions.create", json!({"key": "sea"}));
    world.forget();
    world.ask(client, "chat.send", json!({"sessionKey": "sea", "message": "x", "idempotencyKey": "r"}));
    world.answer("y");
    world.advance(1_000);
    world.ask(client, "chat.send", json!({"sessionKey": "sea", "message": "x", "idempotencyKey": "s"}));
    let (fetch, _) = world.fetch();
    world.refuse(fetch, 400, "no");
    let told: Vec<Value> = changed(&world)
        .iter()
        .map(|event| json!([event["reason"], event["phase"], event["runId"]]))
        .collect();
    assert_eq!(
        told,
        [
            json!(["send", "message", "r"]),
            json!(["agent.run.started", "start", "r"]),
            json!(["agent.input.settled", "end", "r"]),
            json!(["send", "message", "s"]),
            json!(["agent.run.started", "start", "s"]),
            json!(["agent.input.settled", "error", "s"]),
        ]
    );
}

#[test]
fn many_changes_in_a_moment_are_few_events() {
    let mut world = World::new();
    let client = world.operator(Protocol::V4);
    for count in 0..20 {
        world.ask(client, "sessions.patch", json!({"key": "sea", "icon": count.to_string()}));
        world.advance(10);
    }
    world.advance(500);
    let icons: Vec<Value> = changed(&world).iter().map(|event| event["icon"].clone()).collect();
    assert_eq!(icons, ["0", "19"], "the first at once, the last when it is quiet");
}

#[test]
fn what_waits_to_be_told_is_told_before_the_end() {
    let mut world = World::new();
    let client = world.operator(Protocol::V4);
    for icon in ["a", "b"] {
        world.ask(client, "sessions.patch", json!({"key": "sea", "icon": icon}));
    }
    assert_eq!(changed(&world).len(), 1);
    world.input(crate::gateway::Input::Stop { reason: "test".to_owned(), restart_expected: None });
    assert_eq!(changed(&world).last().unwrap()["icon"], "b");
}

#[test]
fn messages_are_told_to_those_who_watch_the_session() {
    let mut world = World::new();
    let client = world.operator(Protocol::V4);
    world.ask(client, "sessions.create", json!({"key": "sea"}));
    let inject = |text: &str| json!({"sessionKey": "sea", "message": text});
    world.ask(client, "chat.inject", inject("unheard"));
    assert!(
        world.events(EventName::SessionMessage, Protocol::V4).is_empty(),
        "nothing is written for nobody"
    );
    let answer = world.ask(client, "sessions.messages.subscribe", json!({"key": "sea"}));
    assert_eq!(answer, json!({"subscribed": true, "key": "agent:main:sea"}));
    let id = world.ask(client, "chat.inject", inject("heard"))["messageId"].clone();
    let event = world.events(EventName::SessionMessage, Protocol::V4).pop().unwrap();
    assert_eq!((&event["messageId"], &event["messageSeq"]), (&id, &json!(2)));
    assert_eq!(event["message"]["content"][0]["text"], "heard");
    assert_eq!(event["message"]["__openclaw"]["seq"], 2);
    assert_eq!(event["session"]["key"], "agent:main:sea");
    let answer = world.ask(client, "sessions.messages.unsubscribe", json!({"key": "sea"}));
    assert_eq!(answer["subscribed"], false);
    world.forget();
    world.ask(client, "chat.inject", inject("unheard again"));
    assert!(world.events(EventName::SessionMessage, Protocol::V4).is_empty());
}

#[test]
fn a_connection_watches_a_bounded_number_of_sessions_until_it_goes() {
    let mut world = World::new();
    let client = world.operator(Protocol::V4);
    for count in 0..256 {
        world.ask(client, "sessions.messages.subscribe", json!({"key": format!("s{count}")}));
    }
    world.ask(client, "sessions.messages.subscribe", json!({"key": "s0"}));
    let refused = world.refusal(client, "sessions.messages.subscribe", json!({"key": "more"}));
    assert_eq!(refused.message, "this connection watches 256 sessions already; unsubscribe from one first");
    world.input(crate::gateway::Input::Up(crate::messages::Up::Gone { conn: client }));
    let key = world.gateway.sessions.resolve("s0").unwrap();
    assert!(!world.gateway.sessions.watches.is_watched(&key));
}

#[test]
fn somebody_who_types_is_seen_by_those_who_watch() {
    let mut world = World::new();
    let client = world.operator(Protocol::V4);
    let made = world.ask(client, "sessions.create", json!({"key": "sea"}));
    let typing =
        json!({"sessionKey": "sea", "sessionId": made["sessionId"], "typing": true, "preview": "wha"});
    assert_eq!(world.ask(client, "session.typing", typing.clone()), json!({"ok": true, "broadcast": false}));
    world.ask(client, "sessions.messages.subscribe", json!({"key": "sea"}));
    assert_eq!(world.ask(client, "session.typing", typing)["broadcast"], true);
    let event = world.events(EventName::SessionTyping, Protocol::V4).pop().unwrap();
    assert_eq!((&event["preview"], &event["actor"]["type"]), (&json!("wha"), &json!("human")));
    let old = json!({"sessionKey": "sea", "sessionId": "other", "typing": true});
    assert!(world.refusal(client, "session.typing", old).message.contains("has changed"));
}

#[test]
fn who_sends_into_a_session_takes_part_in_it() {
    let mut world = World::new();
    let client = world.operator(Protocol::V4);
    world.ask(client, "chat.send", json!({"sessionKey": "sea", "message": "x", "idempotencyKey": "r"}));
    let told = world.told.iter().any(|told| {
        matches!(told, Told::Other(Down::TakePart { conn, key }) if *conn == client && key.as_str() == "agent:main:sea")
    });
    assert!(told);
    let narrow = world.told.iter().all(|told| match told {
        Told::Event(publish) if publish.event == EventName::SessionsChanged => {
            publish.to == Audience::SessionList
        }
        _ => true,
    });
    assert!(narrow, "rows are for those who watch the list");
}
