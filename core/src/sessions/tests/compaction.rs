//! The older lines of a transcript are put away.

use serde_json::{Value, json};
use telson_proto::{EventName, Protocol};

use crate::testing::World;

fn talk(world: &mut World, count: usize) {
    let client = world.operator(Protocol::V4);
    for turn in 0..count {
        let params = json!({"sessionKey": "sea", "message": format!("words {turn}"), "idempotencyKey": turn.to_string()});
        world.ask(client, "chat.send", params);
        world.advance(1_000);
    }
}

/// Check 22.
#[test]
fn the_last_lines_stay_below_a_new_root_and_the_others_are_archived() {
    let mut world = World::new();
    let client = world.operator(Protocol::V3);
    let none = json!({"ok": true, "key": "agent:main:sea", "compacted": false, "reason": "no sessionId"});
    assert_eq!(world.ask(client, "sessions.compact", json!({"key": "sea"})), none);
    world.ask(client, "sessions.patch", json!({"key": "sea", "label": "sea"}));
    assert_eq!(world.ask(client, "sessions.compact", json!({"key": "sea"}))["reason"], "no transcript");
    talk(&mut world, 3);
    let few = world.ask(client, "sessions.compact", json!({"key": "sea"}));
    assert_eq!(few, json!({"ok": true, "key": "agent:main:sea", "compacted": false, "kept": 6}));
    let watcher = world.operator(Protocol::V4);
    world.ask(watcher, "sessions.messages.subscribe", json!({"key": "sea"}));
    let cut = world.ask(client, "sessions.compact", json!({"key": "sea", "maxLines": 3}));
    assert_eq!((&cut["compacted"], &cut["kept"]), (&json!(true), &json!(3)));
    let archived = cut["archived"].as_str().unwrap();
    assert!(
        archived.contains(".bak.2026-") && !archived[archived.find(".bak.").unwrap()..].contains(':'),
        "{archived}"
    );
    let session = world.gateway.sessions.get(&world.gateway.sessions.resolve("sea").unwrap()).unwrap();
    let entries = &world.shelf.entries[&session.id];
    assert_eq!(entries.iter().map(|entry| entry.seq).collect::<Vec<_>>(), [4, 5, 6]);
    assert_eq!(entries[0].parent, None, "the first line that stays is the root");
    assert_eq!(entries[1].parent.as_ref(), Some(&entries[0].id));
    let entry = world.shelf.entry("agent:main:sea");
    assert_eq!((&entry["totalTokens"], &entry["label"]), (&json!(null), &json!("sea")));
    let phases: Vec<Value> = world
        .events(EventName::SessionOperation, Protocol::V4)
        .iter()
        .map(|event| json!([event["operation"], event["phase"], event["completed"]]))
        .collect();
    assert_eq!(phases, [json!(["compact", "start", null]), json!(["compact", "end", true])]);
    let again = world.ask(client, "sessions.compact", json!({"key": "sea", "maxLines": 3}));
    assert_eq!((&again["compacted"], &again["kept"]), (&json!(false), &json!(3)));
    let page = world.ask(watcher, "chat.history", json!({"sessionKey": "sea"}));
    assert_eq!((page["messages"].as_array().map(Vec::len), &page["hasMore"]), (Some(3), &json!(false)));
}

#[test]
fn the_active_branch_is_never_cut_away() {
    let mut world = World::new();
    let client = world.operator(Protocol::V4);
    talk(&mut world, 3);
    let page = world.ask(client, "chat.history", json!({"sessionKey": "sea"}));
    let second = page["messages"][1]["__openclaw"]["id"].clone();
    world.ask(client, "sessions.rewind", json!({"sessionKey": "sea", "entryId": second}));
    let refused = world.refusal(client, "sessions.compact", json!({"key": "sea", "maxLines": 2}));
    assert!(refused.message.contains("active branch"), "{refused:?}");
    let cut = world.ask(client, "sessions.compact", json!({"key": "sea", "maxLines": 5}));
    assert_eq!(cut["compacted"], true);
    let page = world.ask(client, "chat.history", json!({"sessionKey": "sea"}));
    assert_eq!(page["messages"].as_array().map(Vec::len), Some(1));
}

#[test]
fn without_a_number_a_model_sums_the_conversation_up() {
    let mut world = World::with_model();
    let client = world.operator(Protocol::V4);
    for run in ["1", "2", "3"] {
        let words = "tide ".repeat(1_500);
        world.ask(client, "chat.send", json!({"sessionKey": "sea", "message": words, "idempotencyKey": run}));
        world.answer("moon");
    }
    let call = world.call(client, "sessions.compact", json!({"key": "sea"}));
    assert!(world.replies(call).is_empty(), "the answer comes with the summary");
    world.answer("They spoke of the tide.");
    let result = world.reply(call).payload.unwrap().to_value();
    assert_eq!(result, json!({"ok": true, "key": "agent:main:sea", "compacted": true}));
}
