//! Sessions as a protocol 4 client makes, watches, arranges and leaves them.

use serde_json::{Value, json};
use telson_tests::on_every_runtime;
use telson_tests::support::binary::Binary;
use telson_tests::support::client::{Client, Dialect};
use telson_tests::support::gateway::{Gateway, Home};

use super::talk::text;

on_every_runtime!(
    a_session_lives_from_its_making_to_its_end_and_those_who_watch_hear_of_it,
    filters_and_titles_work_for_several_agents,
    a_conversation_goes_back_forks_and_switches,
    the_first_words_of_a_session_are_answered_once,
    messages_and_typing_are_seen_by_those_who_watch,
    a_long_transcript_is_cut_and_outlives_a_restart,
    sessions_are_grouped_and_changed_alike,
    protocol_3_knows_none_of_this,
);

const WORDS: &str = "what moves the sea";

/// The texts of a session's history.
fn history(client: &mut Client, key: &str) -> Vec<(Value, String)> {
    let page = client.ask("chat.history", &json!({"sessionKey": key}));
    let messages = page["messages"].as_array().expect("a history has messages").iter();
    messages.map(|m| (m["__openclaw"]["id"].clone(), text(&m["content"]))).collect()
}

fn texts(client: &mut Client, key: &str) -> Vec<String> {
    history(client, key).into_iter().map(|(_, text)| text).collect()
}

/// Waits for the change of a session with this reason.
fn change(client: &mut Client, key: &str, reason: &str) -> Value {
    client.event("sessions.changed", |payload| payload["sessionKey"] == key && payload["reason"] == reason)
}

/// Check 29.
fn a_session_lives_from_its_making_to_its_end_and_those_who_watch_hear_of_it(binary: Binary) {
    let gateway = Home::new(binary).start();
    let mut watcher = gateway.operator(Dialect::V4);
    let mut client = gateway.operator(Dialect::V4);
    let subscribed = watcher.ask("sessions.subscribe", &json!({"limit": 10}));
    assert_eq!((&subscribed["subscribed"], &subscribed["list"]["sessions"]), (&json!(true), &json!([])));

    let made = client.ask("sessions.create", &json!({"label": "the sea"}));
    let key = made["key"].as_str().expect("a session has a key").to_owned();
    let created = change(&mut watcher, &key, "create");
    assert_eq!((&created["label"], &created["session"]["label"]), (&json!("the sea"), &json!("the sea")));

    let sent = client.ask("sessions.send", &json!({"key": key, "message": WORDS, "idempotencyKey": "r"}));
    assert_eq!((&sent["status"], &sent["messageSeq"]), (&json!("started"), &json!(1)));
    assert_eq!(change(&mut watcher, &key, "send")["runId"], json!("r"));
    assert_eq!(change(&mut watcher, &key, "agent.run.started")["phase"], json!("start"));
    assert_eq!(change(&mut watcher, &key, "agent.input.settled")["phase"], json!("end"));

    client.ask("sessions.patch", &json!({"key": key, "icon": "wave"}));
    assert_eq!(change(&mut watcher, &key, "patch")["icon"], json!("wave"));
    client.ask("sessions.reset", &json!({"key": key}));
    let reset = change(&mut watcher, &key, "reset");
    assert_ne!(reset["sessionId"], made["sessionId"]);
    client.ask("sessions.delete", &json!({"key": key}));
    let gone = change(&mut watcher, &key, "delete");
    assert_eq!(gone["sessionId"], reset["sessionId"], "a deletion names the incarnation that is gone");
    assert!(gone.get("session").is_none(), "{gone}");
    assert_eq!(watcher.ask("sessions.describe", &json!({"key": key})), json!({"session": null}));
}

/// Check 20.
fn filters_and_titles_work_for_several_agents(binary: Binary) {
    let home = Home::new(binary);
    home.configure("{agents: {list: [{id: 'main', default: true}, {id: 'ops'}]}}");
    let gateway = home.start();
    let mut client = gateway.operator(Dialect::V4);
    for (agent, words) in [("main", "tide tables"), ("ops", "disk space")] {
        let params = json!({"agentId": agent, "label": format!("of {agent}"), "message": words});
        let made = client.ask("sessions.create", &params);
        client.chat_of(made["runId"].as_str().expect("its first run has begun"));
    }
    let mut found = |params: Value| -> Vec<Value> {
        let list = client.ask("sessions.list", &params);
        let rows = list["sessions"].as_array().expect("a list").iter();
        rows.map(|row| row["label"].clone()).collect()
    };
    assert_eq!(found(json!({})), [json!("of ops"), json!("of main")], "newest first");
    assert_eq!(found(json!({"agentId": "main"})), [json!("of main")]);
    assert_eq!(found(json!({"label": "of ops"})), [json!("of ops")]);
    assert_eq!(found(json!({"limit": 1})), [json!("of ops")]);
    assert_eq!(found(json!({"limit": 1, "offset": 1})), [json!("of main")]);
    assert_eq!(found(json!({"search": "OF MAIN", "activeMinutes": 5})), [json!("of main")]);
    assert_eq!(found(json!({"agentId": "main", "label": "of ops"})), [json!(null); 0]);
    let list =
        client.ask("sessions.list", &json!({"includeDerivedTitles": true, "includeLastMessage": true}));
    let shown: Vec<_> = list["sessions"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|row| (row["derivedTitle"].clone(), row["lastMessagePreview"].clone()))
        .collect();
    let both = |words: &str| (json!(words), json!(words));
    assert_eq!(shown, [both("disk space"), both("tide tables")]);
}

fn a_conversation_goes_back_forks_and_switches(binary: Binary) {
    let gateway = Home::new(binary).start();
    let mut client = gateway.operator(Dialect::V4);
    let key = "agent:main:sea";
    for (run, words) in [("1", "one"), ("2", "two")] {
        client.ask("chat.send", &json!({"sessionKey": key, "message": words, "idempotencyKey": run}));
        client.chat_of(run);
    }
    let lines = history(&mut client, key);
    let back = client.ask("sessions.rewind", &json!({"sessionKey": key, "entryId": lines[2].0}));
    assert_eq!(back["editorText"], json!("two"));
    client.ask("chat.send", &json!({"sessionKey": key, "message": "three", "idempotencyKey": "3"}));
    client.chat_of("3");
    assert_eq!(texts(&mut client, key), ["one", "one", "three", "three"]);
    let branches = client.ask("sessions.branches.list", &json!({"sessionKey": key}));
    let other = &branches["branches"][1];
    assert_eq!((&other["headline"], &other["active"]), (&json!("two"), &json!(false)));
    let params = json!({"sessionKey": key, "leafEntryId": other["leafEntryId"]});
    client.ask("sessions.branches.switch", &params);
    assert_eq!(texts(&mut client, key), ["one", "one", "two", "two"]);
    let fork = client.ask("sessions.fork", &json!({"sessionKey": key, "entryId": lines[1].0}));
    let forked = fork["sessionKey"].as_str().expect("a fork has a key").to_owned();
    assert_eq!(texts(&mut client, &forked), ["one", "one"]);
    let home = gateway.kill();
    let gateway = Gateway::start(&home, &[]);
    let mut client = gateway.operator(Dialect::V4);
    assert_eq!(texts(&mut client, key), ["one", "one", "two", "two"], "a restart changes nothing");
    assert_eq!(texts(&mut client, &forked), ["one", "one"]);
}

fn the_first_words_of_a_session_are_answered_once(binary: Binary) {
    let gateway = Home::new(binary).start();
    let mut client = gateway.operator(Dialect::V4);
    let params = json!({"key": "sea", "message": WORDS, "idempotencyKey": "once"});
    let made = client.ask("sessions.create", &params);
    assert_eq!((&made["runStarted"], &made["messageSeq"]), (&json!(true), &json!(1)));
    client.chat_of(made["runId"].as_str().expect("a run has an id"));
    assert_eq!(client.ask("sessions.create", &params), made);
    assert_eq!(texts(&mut client, "agent:main:sea"), [WORDS, WORDS]);
    let messages = client.ask("sessions.get", &json!({"key": "sea", "limit": 1}));
    assert_eq!(messages["messages"].as_array().map(Vec::len), Some(1));
    let idle = client.ask("sessions.abort", &json!({"key": "sea"}));
    assert_eq!(idle, json!({"ok": true, "abortedRunId": null, "status": "no-active-run"}));
}

fn messages_and_typing_are_seen_by_those_who_watch(binary: Binary) {
    let gateway = Home::new(binary).start();
    let mut client = gateway.operator(Dialect::V4);
    let mut watcher = gateway.operator(Dialect::V4);
    let made = client.ask("sessions.create", &json!({"key": "sea"}));
    let answer = watcher.ask("sessions.messages.subscribe", &json!({"key": "sea", "includeApprovals": true}));
    assert_eq!((&answer["subscribed"], &answer["key"]), (&json!(true), &json!("agent:main:sea")));
    let typing = json!({"sessionKey": "sea", "sessionId": made["sessionId"], "typing": true});
    assert_eq!(client.ask("session.typing", &typing)["broadcast"], json!(true));
    watcher.event("session.typing", |payload| payload["typing"] == json!(true));
    let note = client.ask("chat.inject", &json!({"sessionKey": "sea", "message": "mind the tide"}));
    let event = watcher.event("session.message", |payload| payload["messageId"] == note["messageId"]);
    assert_eq!(
        (&event["sessionKey"], text(&event["message"]["content"])),
        (&json!("agent:main:sea"), "mind the tide".to_owned())
    );
    let found = client.ask("chat.message.get", &json!({"sessionKey": "sea", "messageId": note["messageId"]}));
    assert_eq!(text(&found["message"]["content"]), "mind the tide");
    client.ask("health", &json!({}));
    assert!(
        client.unread().all(|frame| frame["event"] != json!("session.message")),
        "who does not watch hears nothing"
    );
}

fn a_long_transcript_is_cut_and_outlives_a_restart(binary: Binary) {
    let gateway = Home::new(binary).start();
    let mut client = gateway.operator(Dialect::V4);
    let key = "agent:main:sea";
    for run in ["1", "2", "3"] {
        client.ask("chat.send", &json!({"sessionKey": key, "message": run, "idempotencyKey": run}));
        client.chat_of(run);
    }
    client.ask("sessions.messages.subscribe", &json!({"key": key}));
    let cut = client.ask("sessions.compact", &json!({"key": key, "maxLines": 2}));
    assert_eq!((&cut["compacted"], &cut["kept"]), (&json!(true), &json!(2)));
    assert!(cut["archived"].as_str().is_some_and(|path| path.contains(".bak.")), "{cut}");
    client.event("session.operation", |payload| payload["phase"] == json!("start"));
    client.event("session.operation", |payload| payload["completed"] == json!(true));
    let home = gateway.kill();
    let gateway = Gateway::start(&home, &[]);
    let mut client = gateway.operator(Dialect::V4);
    assert_eq!(texts(&mut client, key), ["3", "3"]);
    client.ask("chat.send", &json!({"sessionKey": key, "message": "4", "idempotencyKey": "4"}));
    client.chat_of("4");
    assert_eq!(texts(&mut client, key), ["3", "3", "4", "4"]);
}

fn protocol_3_knows_none_of_this(binary: Binary) {
    let gateway = Home::new(binary).start();
    let mut client = gateway.operator(Dialect::V3);
    for method in ["sessions.create", "sessions.send", "sessions.messages.subscribe", "sessions.fork"] {
        let error = client.call(method, &json!({})).expect_err("no such method");
        assert_eq!(error["message"], json!(format!("unknown method: {method}")));
    }
}

fn sessions_are_grouped_and_changed_alike(binary: Binary) {
    let gateway = Home::new(binary).start();
    let mut client = gateway.operator(Dialect::V4);
    client.ask("sessions.subscribe", &json!({}));
    for key in ["a", "b"] {
        client.ask("sessions.create", &json!({"key": key, "category": "sea"}));
    }
    client.ask("sessions.groups.put", &json!({"names": ["sky", "sea"]}));
    let renamed = client.ask("sessions.groups.rename", &json!({"name": "sea", "to": "ocean"}));
    assert_eq!(renamed["updatedSessions"], json!(2));
    client.event("sessions.changed", |payload| payload.get("sessionKey").is_none());
    client.ask("sessions.groups.delete", &json!({"name": "sky"}));
    let groups = client.ask("sessions.groups.list", &json!({}));
    assert_eq!(groups["groups"], json!([{"name": "ocean", "position": 0}]));
    let targets = json!([{"key": "a"}, {"key": "b", "expectedSessionId": "another"}]);
    let outcomes = client.ask("sessions.patchMany", &json!({"targets": targets, "patch": {"pinned": true}}));
    assert_eq!(
        (&outcomes["outcomes"][0]["ok"], &outcomes["outcomes"][1]["ok"]),
        (&json!(true), &json!(false))
    );
    let whole = client.ask("sessions.recover", &json!({"key": "a"}));
    assert_eq!(whole["continuation"]["status"], json!("rejected"));
}
