//! Sessions that are made, sent into, stopped and shown.

use serde_json::{Value, json};
use telson_proto::{EventName, Protocol};

use crate::testing::World;

const MAIN: &str = "agent:main:main";

/// The reasons of `sessions.changed` for a key, in order.
fn reasons(world: &World, key: &str) -> Vec<String> {
    let events = world.events(EventName::SessionsChanged, Protocol::V4);
    let own = events.iter().filter(|event| event["sessionKey"] == key);
    own.filter_map(|event| event["reason"].as_str().map(str::to_owned)).collect()
}

fn text(message: &Value) -> &str {
    message["content"][0]["text"].as_str().or_else(|| message["content"].as_str()).unwrap_or_default()
}

#[test]
fn a_session_without_a_key_gets_one_of_its_agent() {
    let mut world = World::new();
    let client = world.operator(Protocol::V4);
    let made = world.ask(
        client,
        "sessions.create",
        json!({"label": "tide", "displayName": "Tide and moon", "category": "sea", "thinkingLevel": "high", "parentSessionKey": "main"}),
    );
    let key = made["key"].as_str().unwrap();
    assert!(key.starts_with("agent:main:dashboard:"), "{key}");
    assert_eq!((&made["ok"], &made["runStarted"]), (&json!(true), &json!(null)));
    assert_eq!((&made["entry"]["label"], &made["entry"]["category"]), (&json!("tide"), &json!("sea")));
    assert_eq!(made["entry"]["sessionId"], made["sessionId"]);
    assert_eq!(reasons(&world, key), ["create"]);
    let row = world.ask(client, "sessions.describe", json!({"key": key}))["session"].clone();
    assert_eq!((&row["displayName"], &row["parentSessionKey"]), (&json!("Tide and moon"), &json!(MAIN)));
    let twice = world.refusal(client, "sessions.create", json!({"label": "tide"}));
    assert_eq!(twice.message, "label already in use: tide");
    let none = world.refusal(client, "sessions.create", json!({"agentId": "nobody"}));
    assert_eq!(none.message, "unknown agent id \"nobody\"; agents.list names them");
}

#[test]
fn a_session_that_exists_is_adopted_with_its_conversation() {
    let mut world = World::new();
    let client = world.operator(Protocol::V4);
    let first = world.ask(client, "sessions.create", json!({"key": "sea", "message": "hello"}));
    world.advance(1_000);
    let params = json!({"key": "sea", "label": "sea", "displayName": "Not again", "emitCommandHooks": true});
    let again = world.ask(client, "sessions.create", params);
    assert_eq!((&again["key"], &again["sessionId"]), (&json!("agent:main:sea"), &first["sessionId"]));
    assert_eq!((&again["entry"]["label"], &again["entry"]["displayName"]), (&json!("sea"), &json!(null)));
    assert_eq!(world.shelf.messages("agent:main:sea").len(), 2);
}

#[test]
fn the_main_session_begins_anew_in_place_when_asked_to() {
    let mut world = World::new();
    let client = world.operator(Protocol::V4);
    let first = world.ask(client, "sessions.create", json!({"key": MAIN, "message": "hello"}));
    world.advance(1_000);
    let again = world.ask(client, "sessions.create", json!({"key": MAIN, "emitCommandHooks": true}));
    assert_ne!(again["sessionId"], first["sessionId"]);
    assert!(world.shelf.messages(MAIN).is_empty());
    assert!(reasons(&world, MAIN).contains(&"new".to_owned()));
    let writer = world.client(Protocol::V4, World::read_write(), None);
    let refused = world.refusal(writer, "sessions.create", json!({"key": MAIN, "emitCommandHooks": true}));
    assert_eq!(refused.message, "missing scope: operator.admin");
}

#[test]
fn the_first_words_begin_a_run_and_a_repeat_begins_nothing() {
    let mut world = World::new();
    let client = world.operator(Protocol::V4);
    let params = json!({"key": "sea", "task": "what moves the sea?", "idempotencyKey": "k"});
    let made = world.ask(client, "sessions.create", params.clone());
    let run = made["runId"].as_str().unwrap().to_owned();
    assert_eq!((&made["runStarted"], &made["messageSeq"]), (&json!(true), &json!(1)));
    world.advance(1_000);
    assert_eq!(world.terminal(&run, Protocol::V4).unwrap()["state"], "final");
    let messages = world.ask(client, "sessions.get", json!({"key": "sea"}))["messages"].clone();
    assert_eq!((text(&messages[0]), text(&messages[1])), ("what moves the sea?", "what moves the sea?"));
    let again = world.ask(client, "sessions.create", params);
    assert_eq!(again, made);
    let mut world = world.crash();
    let client = world.operator(Protocol::V4);
    let later = world.ask(
        client,
        "sessions.create",
        json!({"key": "sea", "task": "what moves the sea?", "idempotencyKey": "k"}),
    );
    assert_eq!(later, made, "also after a restart");
    let other = world.refusal(client, "sessions.create", json!({"key": "sky", "idempotencyKey": "k"}));
    assert_eq!(other.details.unwrap().to_value()["reason"], "chat-request-conflict");
}

#[test]
fn a_first_message_that_is_refused_leaves_the_session() {
    let mut world = World::new();
    let client = world.operator(Protocol::V4);
    let files = json!([{"type": "image", "mimeType": "image/png", "content": "%%%"}]);
    let made =
        world.ask(client, "sessions.create", json!({"key": "sea", "message": "look", "attachments": files}));
    assert_eq!((&made["ok"], &made["runStarted"]), (&json!(true), &json!(false)));
    assert_eq!(made["runError"]["code"], "INVALID_REQUEST");
    assert!(made.get("runId").is_none(), "{made}");
    assert_ne!(world.ask(client, "sessions.describe", json!({"key": "sea"}))["session"], json!(null));
}

#[test]
fn what_this_gateway_does_not_have_is_refused_by_name() {
    let mut world = World::new();
    let client = world.operator(Protocol::V4);
    for (name, value) in [
        ("worktree", json!(true)),
        ("incognito", json!(true)),
        ("execNode", json!("n")),
        ("projectId", json!("p")),
        ("cwd", json!("/tmp")),
        ("visibility", json!("draft")),
    ] {
        let mut params = json!({"key": "sea"});
        params[name] = value;
        let refused = world.refusal(client, "sessions.create", params);
        assert_eq!(refused.message, format!("{name} is not supported by this gateway; leave it out"));
    }
    let fork = world.refusal(client, "sessions.create", json!({"fork": true}));
    assert_eq!(fork.message, "fork requires parentSessionKey");
    let writer = world.client(Protocol::V4, World::read_write(), None);
    for heavy in [
        json!({"permissionMode": "full"}),
        json!({"toolOverrides": {"webSearch": false}}),
        json!({"execNode": "n"}),
    ] {
        assert_eq!(world.refusal(writer, "sessions.create", heavy).message, "missing scope: operator.admin");
    }
    world.ask(writer, "sessions.create", json!({"permissionMode": "guarded"}));
}

#[test]
fn a_session_whose_store_fails_is_not_made() {
    let mut world = World::new();
    let client = world.operator(Protocol::V4);
    world.broken = Some(crate::store::StoreError::Full);
    let refused = world.refusal(client, "sessions.create", json!({"key": "sea", "idempotencyKey": "k"}));
    assert!(refused.message.contains("disk"), "{refused:?}");
    world.broken = None;
    assert_eq!(world.ask(client, "sessions.describe", json!({"key": "sea"})), json!({"session": null}));
    world.ask(client, "sessions.create", json!({"key": "sea", "idempotencyKey": "k"}));
}

#[test]
fn a_fork_begins_with_what_was_said_in_its_parent() {
    let mut world = World::with_model();
    let client = world.operator(Protocol::V4);
    world.ask(client, "chat.send", json!({"sessionKey": "sea", "message": "one", "idempotencyKey": "1"}));
    world.answer("two");
    world.ask(client, "chat.send", json!({"sessionKey": "sea", "message": "three", "idempotencyKey": "2"}));
    let params = json!({"parentSessionKey": "sea", "fork": true, "forkFrom": "last-completed"});
    let fork = world.ask(client, "sessions.create", params);
    let key = fork["key"].as_str().unwrap();
    let messages = world.shelf.messages(key);
    assert_eq!(messages.iter().map(text).collect::<Vec<_>>(), ["one", "two"]);
    let row = world.ask(client, "sessions.describe", json!({"key": key}))["session"].clone();
    assert_eq!(
        (&row["forkedFromParent"], &row["forkSource"]["sessionKey"]),
        (&json!(true), &json!("agent:main:sea"))
    );
}

#[test]
fn words_go_into_a_session_that_exists_and_into_no_other() {
    let mut world = World::new();
    let client = world.operator(Protocol::V4);
    let refused = world.refusal(client, "sessions.send", json!({"key": "sea", "message": "hi"}));
    assert_eq!(refused.message, "session not found: sea");
    world.ask(client, "sessions.create", json!({"key": "sea"}));
    let sent =
        world.ask(client, "sessions.send", json!({"key": "sea", "message": "hi", "idempotencyKey": "r"}));
    assert_eq!(
        (&sent["runId"], &sent["status"], &sent["messageSeq"]),
        (&json!("r"), &json!("started"), &json!(1))
    );
    let unnamed = world.ask(client, "sessions.send", json!({"key": "sea", "message": "again"}));
    assert_eq!(unnamed["runId"].as_str().map(str::len), Some(36));
    let empty = world.refusal(client, "sessions.send", json!({"key": "sea", "message": " "}));
    assert_eq!(empty.message, "message or attachment required");
}

#[test]
fn steering_ends_what_is_under_way_and_a_repeat_does_not_end_it_again() {
    let mut world = World::with_model();
    let client = world.operator(Protocol::V4);
    world.ask(client, "sessions.create", json!({"key": "sea"}));
    world.ask(client, "sessions.send", json!({"key": "sea", "message": "one", "idempotencyKey": "1"}));
    let (fetch, _) = world.fetch();
    world.head(fetch);
    world.words(fetch, "part");
    let steer = json!({"key": "sea", "message": "two", "idempotencyKey": "2"});
    let sent = world.ask(client, "sessions.steer", steer.clone());
    assert_eq!(sent["status"], "started");
    assert_eq!(world.terminal("1", Protocol::V4).unwrap()["state"], "aborted");
    assert!(reasons(&world, "agent:main:sea").contains(&"steer".to_owned()));
    assert_eq!(world.ask(client, "sessions.steer", steer)["status"], "in_flight");
    world.answer("done");
    assert_eq!(world.terminal("2", Protocol::V4).unwrap()["state"], "final");
    let said: Vec<Value> = world.shelf.messages("agent:main:sea");
    assert_eq!(said.iter().map(text).collect::<Vec<_>>(), ["one", "part", "two", "done"]);
}

#[test]
fn an_abort_ends_the_run_that_the_session_is_at() {
    let mut world = World::with_model();
    let client = world.operator(Protocol::V4);
    let idle = json!({"ok": true, "abortedRunId": null, "status": "no-active-run"});
    assert_eq!(world.ask(client, "sessions.abort", json!({"key": "sea"})), idle);
    assert_eq!(world.ask(client, "sessions.abort", json!({"runId": "none"})), idle);
    assert_eq!(world.refusal(client, "sessions.abort", json!({})).message, "key or runId required");
    for run in ["1", "2"] {
        world.ask(client, "chat.send", json!({"sessionKey": "sea", "message": run, "idempotencyKey": run}));
    }
    let other = world.client(Protocol::V4, World::read_write(), None);
    assert_eq!(world.refusal(other, "sessions.abort", json!({"key": "sea"})).message, "unauthorized");
    let mixed = world.refusal(client, "sessions.abort", json!({"key": "sky", "runId": "1"}));
    assert_eq!(mixed.message, "runId does not match sessionKey");
    let ended = world.ask(client, "sessions.abort", json!({"key": "sea", "clearQueued": true}));
    assert_eq!((&ended["abortedRunId"], &ended["status"]), (&json!("1"), &json!("aborted")));
    for run in ["1", "2"] {
        assert_eq!(world.terminal(run, Protocol::V4).unwrap()["state"], "aborted", "{run}");
    }
    world.advance(1_000);
    assert!(reasons(&world, "agent:main:sea").contains(&"abort".to_owned()));
}

#[test]
fn without_clear_queued_what_waits_goes_on() {
    let mut world = World::with_model();
    let client = world.operator(Protocol::V4);
    for run in ["1", "2"] {
        let params = json!({"message": run, "sessionKey": "sea", "idempotencyKey": run});
        world.call(client, "agent", params);
    }
    let ended = world.ask(client, "sessions.abort", json!({"key": "sea"}));
    assert_eq!(ended["abortedRunId"], "1");
    assert_eq!(world.terminal("2", Protocol::V4), None);
    world.answer("two");
    assert_eq!(world.terminal("2", Protocol::V4).unwrap()["state"], "final");
}

#[test]
fn a_message_is_found_by_its_id() {
    let mut world = World::new();
    let client = world.operator(Protocol::V4);
    world.ask(client, "sessions.create", json!({"key": "sea", "message": "hello there"}));
    world.advance(1_000);
    let history = world.ask(client, "chat.history", json!({"sessionKey": "sea"}));
    let id = history["messages"][0]["__openclaw"]["id"].clone();
    let get = |id: &Value| json!({"sessionKey": "sea", "messageId": id, "maxChars": 5});
    let found = world.ask(client, "chat.message.get", get(&id));
    assert_eq!(found["ok"], true);
    assert!(
        text(&found["message"]).starts_with("hello") && !text(&found["message"]).contains("there"),
        "{found}"
    );
    let none = world.ask(client, "chat.message.get", get(&json!("00000000")));
    assert_eq!(none, json!({"ok": false, "unavailableReason": "not_found"}));
}

#[test]
fn a_page_is_loaded_by_the_beginning_of_a_sessions_id() {
    let mut world = World::new();
    let client = world.operator(Protocol::V4);
    let made = world.ask(client, "sessions.create", json!({"key": "sea", "message": "hello"}));
    world.advance(1_000);
    let short = &made["sessionId"].as_str().unwrap()[..8];
    let page = world.ask(client, "chat.startup", json!({"shortId": short}));
    assert_eq!(page["resolution"]["key"], "agent:main:sea");
    assert_eq!(page["messages"].as_array().map(Vec::len), Some(2));
    assert!(page["metadata"]["models"].is_array() && page["agentsList"].is_object());
    let none = world.ask(client, "chat.startup", json!({"shortId": "zzzz"}));
    assert_eq!(none, json!({"resolution": {"ok": false}}));
    let both = world.refusal(client, "chat.startup", json!({"shortId": short, "sessionKey": "sea"}));
    assert_eq!(both.message, "invalid chat.startup params: give either sessionKey or shortId");
}

#[test]
fn a_cleanup_reports_and_removes_only_when_it_is_told_to() {
    let mut world = World::new();
    let client = world.operator(Protocol::V4);
    for key in ["main", "sea", "sky"] {
        world.ask(client, "sessions.create", json!({"key": key}));
    }
    world.ask(client, "sessions.create", json!({"key": "said", "message": "x"}));
    world.advance(1_000);
    let params = json!({"fixMissing": true, "activeKey": "sky"});
    let report = world.ask(client, "sessions.cleanup", params);
    assert_eq!(
        (&report["dryRun"], &report["missing"], &report["beforeCount"]),
        (&json!(true), &json!(1), &json!(4))
    );
    let report = world.ask(
        client,
        "sessions.cleanup",
        json!({"fixMissing": true, "enforce": true, "activeKey": "sky"}),
    );
    assert_eq!((&report["applied"], &report["afterCount"]), (&json!(true), &json!(3)));
    assert_eq!(world.ask(client, "sessions.describe", json!({"key": "sea"})), json!({"session": null}));
    let events = world.events(EventName::SessionsChanged, Protocol::V4);
    assert_eq!(events.last().unwrap()["reason"], "cleanup");
    assert!(events.last().unwrap().get("sessionKey").is_none(), "the whole list is to be loaded again");
}

#[test]
fn an_answer_that_was_cut_short_goes_on_when_asked_to() {
    let mut world = World::with_model();
    let client = world.operator(Protocol::V4);
    world.ask(client, "chat.send", json!({"sessionKey": "sea", "message": "one", "idempotencyKey": "1"}));
    let busy = world.ask(client, "sessions.recover", json!({"key": "sea"}));
    assert_eq!(busy["continuation"]["status"], "rejected");
    let mut world = world.crash();
    let client = world.operator(Protocol::V4);
    let going = world.ask(client, "sessions.recover", json!({"key": "sea"}));
    let run = going["continuation"]["runId"].as_str().unwrap().to_owned();
    assert_eq!((&going["ok"], &going["continuation"]["status"]), (&json!(true), &json!("started")));
    world.answer("two");
    assert_eq!(world.terminal(&run, Protocol::V4).unwrap()["state"], "final");
    let whole = world.ask(client, "sessions.recover", json!({"key": "sea"}));
    assert_eq!(whole["continuation"]["error"]["message"], "the last answer of the session was not cut short");
    let none = world.refusal(client, "sessions.recover", json!({"key": "sky"}));
    assert_eq!(none.message, "session not found: sky");
}

#[test]
fn groups_have_an_order_and_follow_their_sessions() {
    let mut world = World::new();
    let client = world.operator(Protocol::V4);
    for (key, group) in [("a", "sea"), ("b", "sea"), ("c", "sky")] {
        world.ask(client, "sessions.create", json!({"key": key, "category": group}));
    }
    let names = |result: &Value| -> Vec<String> {
        let groups = result["groups"].as_array().unwrap().iter();
        groups.map(|group| group["name"].as_str().unwrap().to_owned()).collect()
    };
    let group_of = |world: &mut World, key: &str| {
        world.ask(client, "sessions.describe", json!({"key": key}))["session"]["category"].clone()
    };
    assert_eq!(names(&world.ask(client, "sessions.groups.list", json!({}))), ["sea", "sky"]);
    let put = json!({"names": ["sky", " empty ", "sea", "sky"], "sectionOrder": ["sea", "pinned"]});
    assert_eq!(names(&world.ask(client, "sessions.groups.put", put)), ["sky", "empty", "sea"]);
    let renamed = world.ask(client, "sessions.groups.rename", json!({"name": "sea", "to": "ocean"}));
    assert_eq!(
        (names(&renamed), &renamed["updatedSessions"]),
        (vec!["sky".to_owned(), "empty".to_owned(), "ocean".to_owned()], &json!(2))
    );
    assert_eq!(renamed["sectionOrder"], json!(["ocean", "pinned"]));
    assert_eq!(group_of(&mut world, "a"), "ocean");
    let taken = world.refusal(client, "sessions.groups.rename", json!({"name": "sky", "to": "ocean"}));
    assert_eq!(taken.message, "group already exists: ocean; choose another name");
    let none = world.refusal(client, "sessions.groups.delete", json!({"name": "fire"}));
    assert_eq!(none.message, "no such group: fire; sessions.groups.list names them");
    let gone = world.ask(client, "sessions.groups.delete", json!({"name": "sky"}));
    assert_eq!(gone["updatedSessions"], 1);
    assert_eq!(group_of(&mut world, "c"), json!(null));
    let many: Vec<String> = (0..201).map(|n| n.to_string()).collect();
    let refused = world.refusal(client, "sessions.groups.put", json!({"names": many}));
    assert_eq!(refused.message, "names holds 201 groups; use at most 200");
    world.ask(client, "sessions.reset", json!({"key": MAIN}));
    let mut world = world.crash();
    let client = world.operator(Protocol::V4);
    assert_eq!(names(&world.ask(client, "sessions.groups.list", json!({}))), ["empty", "ocean"]);
    let main = world.ask(client, "sessions.patch", json!({"key": MAIN, "label": "main"}));
    assert!(main["entry"].get("sessionGroups").is_none(), "{main}");
}

#[test]
fn groups_that_cannot_be_stored_stay_as_they_were() {
    let mut world = World::new();
    let client = world.operator(Protocol::V4);
    world.ask(client, "sessions.create", json!({"key": "a", "category": "sea"}));
    world.broken = Some(crate::store::StoreError::Full);
    world.refusal(client, "sessions.groups.rename", json!({"name": "sea", "to": "ocean"}));
    world.broken = None;
    let list = world.ask(client, "sessions.groups.list", json!({}));
    assert_eq!(list["groups"], json!([{"name": "sea", "position": 0}]));
}
