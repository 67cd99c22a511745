//! What happens to memory when the store is slow or fails, and what is there after a restart.

use proptest::prelude::*;
use serde_json::json;
use telson_proto::Protocol;

use super::world::World;

fn label(world: &World, spelling: &str) -> Option<String> {
    world.gateway.sessions.entry(&world.key(spelling)).and_then(|entry| entry.label.clone())
}

#[test]
fn a_patch_is_acknowledged_only_when_it_is_stored() {
    let mut world = World::new();
    let client = world.admin(Protocol::V3);
    world.slow = true;
    let ticket = world.send(client, "sessions.patch", &json!({"key": "side", "label": "tide"}));
    assert_eq!(world.outcome(&ticket), None);
    world.settle(true);
    let outcome = world.outcome(&ticket).expect("no answer");
    assert_eq!(outcome.error, None);
    assert_eq!(world.rows[&world.key("side")].entry.to_value()["label"], "tide");
}

#[test]
fn a_patch_that_cannot_be_stored_leaves_no_trace() {
    let mut world = World::new();
    let client = world.admin(Protocol::V3);
    world.full = true;
    let text = world.refusal(client, "sessions.patch", json!({"key": "side", "label": "tide"}));
    assert!(text.contains("disk"), "{text}");
    assert_eq!(world.gateway.sessions.get(&world.key("side")), None);
    assert_eq!(world.gateway.sessions.count(None), 0);
    world.full = false;
    world.call(client, "sessions.patch", json!({"key": "other", "label": "tide"}));
    assert!(world.changes("agent:main:side").is_empty());
}

#[test]
fn failures_in_a_row_unwind_to_what_is_on_disk() {
    let mut world = World::new();
    let client = world.admin(Protocol::V3);
    world.call(client, "sessions.patch", json!({"key": "side", "label": "zero"}));
    world.slow = true;
    for text in ["one", "two"] {
        world.send(client, "sessions.patch", &json!({"key": "side", "label": text}));
    }
    world.settle(false);
    assert_eq!(label(&world, "side").as_deref(), Some("two"), "a later change builds on the failed one");
    world.settle(false);
    assert_eq!(label(&world, "side").as_deref(), Some("zero"));
}

#[test]
fn a_stored_change_carries_an_earlier_failed_one() {
    let mut world = World::new();
    let client = world.admin(Protocol::V3);
    world.slow = true;
    world.send(client, "sessions.patch", &json!({"key": "side", "label": "one"}));
    world.send(client, "sessions.patch", &json!({"key": "side", "verboseLevel": "full"}));
    world.settle(false);
    world.settle(true);
    let key = world.key("side");
    assert_eq!(label(&world, "side").as_deref(), Some("one"));
    let row = world.rows[&key].entry.to_value();
    assert_eq!((&row["label"], &row["verboseLevel"]), (&json!("one"), &json!("full")));
}

#[test]
fn transcript_positions_rise_without_gaps_and_go_back_after_a_failure() {
    let mut world = World::new();
    world.say("main", "user", "one");
    world.full = true;
    world.say("main", "assistant", "lost");
    world.full = false;
    world.say("main", "assistant", "two");
    let session = world.gateway.sessions.get(&world.key("main")).unwrap().clone();
    let lines = &world.lines[&session.id];
    assert_eq!(lines.iter().map(|line| line.seq).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(lines[1].parent.as_deref(), Some(lines[0].id.as_str()));
    assert_eq!(session.entry.last_message.as_deref(), Some("two"));
    assert_eq!(session.last_entry.as_ref(), Some(&lines[1].id));
}

#[test]
fn a_restart_finds_every_session_and_the_end_of_its_transcript() {
    let mut world = World::new();
    world.say("main", "user", "hello");
    world.tick(1_000);
    world.say("agent:main:Side", "user", "[WebChat me] words\n[message_id: 1]");
    let mut again = world.restarted();
    let key = again.key("agent:main:side");
    assert_eq!(key.as_str(), "agent:main:Side", "found by another case");
    assert_eq!(again.gateway.sessions.get(&key), world.gateway.sessions.get(&key));
    assert_eq!(again.gateway.sessions.entry(&key).unwrap().first_message.as_deref(), Some("words"));
    assert_eq!(again.gateway.sessions.recent(None, 1)[0].0, key);
    again.say("main", "assistant", "hi");
    let id = again.gateway.sessions.get(&again.key("main")).unwrap().id.clone();
    assert_eq!(again.lines[&id].last().unwrap().seq, 2);
}

#[test]
fn unknown_fields_survive_and_unreadable_ones_harm_nothing() {
    use crate::sessions::SessionEntry;
    let stored = telson_proto::Json::of(&json!({
        "label": "kept", "inputTokens": "many", "memoryFlushAt": 7, "sessionId": "old", "origin": {"label": "o"},
    }));
    let entry = SessionEntry::read("k", &stored);
    assert_eq!(entry.label.as_deref(), Some("kept"));
    assert_eq!(entry.input_tokens, None);
    let written = entry.to_json().to_value();
    assert_eq!(written, json!({"label": "kept", "memoryFlushAt": 7, "origin": {"label": "o"}}));
}

#[test]
fn a_reset_keeps_the_settings_and_drops_the_conversation() {
    let mut world = World::new();
    let client = world.admin(Protocol::V4);
    world.say("side", "user", "hello");
    let patch = json!({"key": "side", "label": "tide", "thinkingLevel": "high", "elevatedLevel": "on"});
    world.call(client, "sessions.patch", patch);
    let old = world.gateway.sessions.get(&world.key("side")).unwrap().id.clone();
    let result = world.call(client, "sessions.reset", json!({"key": "side", "reason": "new"}));
    assert_eq!(result["key"], "agent:main:side");
    let entry = &result["entry"];
    assert_ne!(entry["sessionId"], old.as_str());
    assert_eq!((&entry["label"], &entry["thinkingLevel"]), (&json!("tide"), &json!("high")));
    assert_eq!((&entry["elevatedLevel"], &entry["firstMessage"]), (&json!("on"), &json!(null)));
    assert_eq!((&entry["totalTokens"], &entry["systemSent"]), (&json!(0), &json!(false)));
    assert_eq!(world.gateway.sessions.get(&world.key("side")).unwrap().last_seq, 0);
    assert!(!world.lines.contains_key(&old));
    assert_eq!(world.changes("agent:main:side").last().unwrap().0, "new");
    assert_eq!(world.gateway.sessions.by_id(&old), None);
}

#[test]
fn a_reset_makes_a_session_and_refuses_another_incarnation() {
    let mut world = World::new();
    let client = world.admin(Protocol::V4);
    let made = world.call(client, "sessions.reset", json!({"key": "fresh"}));
    assert!(made["entry"]["sessionId"].is_string());
    let text = world.refusal(client, "sessions.reset", json!({"key": "fresh", "expectedSessionId": "other"}));
    assert!(text.contains("changed meanwhile"), "{text}");
}

#[test]
fn a_deleted_session_is_gone_and_the_main_one_cannot_be_deleted() {
    let mut world = World::new();
    let client = world.admin(Protocol::V3);
    world.say("side", "user", "hello");
    let id = world.gateway.sessions.get(&world.key("side")).unwrap().id.clone();
    let result = world.call(client, "sessions.delete", json!({"key": "side"}));
    assert_eq!((&result["ok"], &result["deleted"]), (&json!(true), &json!(true)));
    assert_eq!(result["archived"], json!([format!("telson.db#{id}")]));
    assert!(world.rows.is_empty() && world.lines.is_empty());
    let (reason, payload) = world.changes("agent:main:side").pop().unwrap();
    assert_eq!(
        (reason.as_str(), &payload["sessionId"], &payload["session"]),
        ("delete", &json!(id.as_str()), &json!(null))
    );
    let again = world.call(client, "sessions.delete", json!({"key": "side"}));
    assert_eq!((&again["deleted"], &again["archived"]), (&json!(false), &json!([])));
    let text = world.refusal(client, "sessions.delete", json!({"key": "main"}));
    assert_eq!(text, "Cannot delete the main session (agent:main:main).");
}

#[test]
fn a_deletion_that_cannot_be_stored_leaves_the_session() {
    let mut world = World::new();
    let client = world.admin(Protocol::V3);
    world.say("side", "user", "hello");
    let before = world.gateway.sessions.get(&world.key("side")).cloned();
    world.full = true;
    world.refusal(client, "sessions.delete", json!({"key": "side"}));
    assert_eq!(world.gateway.sessions.get(&world.key("side")).cloned(), before);
    assert_eq!(world.gateway.sessions.count(None), 1);
}

#[test]
fn a_transcript_can_be_kept_and_a_deletion_can_ask_for_the_archived_only() {
    let mut world = World::new();
    let client = world.admin(Protocol::V4);
    world.say("side", "user", "hello");
    let text = world.refusal(client, "sessions.delete", json!({"key": "side", "archivedOnly": true}));
    assert!(text.contains("not archived"), "{text}");
    let result = world.call(client, "sessions.delete", json!({"key": "side", "deleteTranscript": false}));
    assert_eq!(result["archived"], json!([]));
    assert_eq!(world.lines.len(), 1);
}

/// One step of a session's life: a change, or the store's word about the oldest change on its way.
#[derive(Clone, Copy, Debug)]
enum Step {
    Label(u8),
    Append,
    Renew,
    Remove,
    Settle(bool),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        any::<u8>().prop_map(Step::Label),
        Just(Step::Append),
        Just(Step::Renew),
        Just(Step::Remove),
        any::<bool>().prop_map(Step::Settle),
        any::<bool>().prop_map(Step::Settle),
    ];
    proptest::collection::vec(step, 1..30)
}

proptest! {
    #[test]
    fn when_the_store_has_spoken_memory_is_what_is_on_disk(steps in steps(), last in any::<bool>()) {
        let mut world = World::new();
        world.say("side", "user", "hello");
        world.slow = true;
        let key = world.key("side");
        for step in steps {
            world.tick(1);
            let (now, gateway) = (world.now, &mut world.gateway);
            let mut ops = Vec::new();
            match step {
                Step::Settle(_) if world.held.is_empty() => continue,
                Step::Settle(stored) => {
                    world.settle(stored);
                    continue;
                }
                Step::Label(number) => gateway.sessions.edit(now, &key, |entry| entry.label = Some(number.to_string())),
                Step::Append => {
                    let message = telson_proto::Json::of(&json!({"role": "user", "content": "more"}));
                    let line = gateway.sessions.append(now, &mut gateway.entropy, &key, message, None);
                    ops.extend(line.map(crate::store::Op::AppendEntry));
                }
                Step::Renew => gateway.sessions.put(now, &mut gateway.entropy, &key, Default::default()),
                Step::Remove => gateway.sessions.remove(&key),
            }
            gateway.store_session(&key, ops, |_, _| {});
            world.drain();
        }
        while !world.held.is_empty() {
            world.settle(last);
        }
        let disk = world.restarted();
        let shown = |world: &World| {
            let session = world.gateway.sessions.get(&key);
            session.map(|session| (session.id.clone(), session.updated_at, session.entry.clone()))
        };
        prop_assert_eq!(shown(&world), shown(&disk));
        prop_assert_eq!(world.gateway.sessions.recent(None, 9), disk.gateway.sessions.recent(None, 9));
        for lines in world.lines.values() {
            prop_assert!(lines.windows(2).all(|pair| pair[0].seq < pair[1].seq));
        }
    }
}

fn chat(key: &str, run: &str) -> serde_json::Value {
    json!({"sessionKey": key, "message": "one two three four", "idempotencyKey": run})
}

#[test]
fn work_is_interrupted_before_its_session_goes() {
    let mut world = World::new();
    let client = world.admin(Protocol::V3);
    world.call(client, "chat.send", chat("side", "run-1"));
    let key = world.key("side");
    assert_eq!(world.gateway.sessions.active_runs(&key).count(), 1);
    let result = world.call(client, "sessions.delete", json!({"key": "side"}));
    assert_eq!(result["deleted"], true);
    assert_eq!(world.gateway.open_runs(), 0);
    assert!(world.rows.is_empty() && world.lines.is_empty());
}

#[test]
fn a_run_that_begins_while_others_are_interrupted_does_not_outlive_the_session() {
    let mut world = World::new();
    let client = world.admin(Protocol::V3);
    world.call(client, "chat.send", chat("side", "run-1"));
    world.slow = true;
    let deletion = world.send(client, "sessions.delete", &json!({"key": "side"}));
    let late = world.send(client, "chat.send", &chat("side", "run-2"));
    while !world.held.is_empty() {
        world.settle(true);
    }
    assert_eq!(world.outcome(&deletion).and_then(|outcome| outcome.error), None);
    assert!(world.outcome(&late).is_some());
    assert_eq!(world.gateway.open_runs(), 0);
    assert_eq!(world.gateway.sessions.get(&world.key("side")), None);
    assert!(world.rows.is_empty() && world.lines.is_empty());
}
