//! Going back in a conversation.

use serde_json::{Value, json};
use telson_proto::Protocol;

use crate::ids::ConnId;
use crate::testing::World;

const SEA: &str = "agent:main:sea";

/// A conversation of two questions and their answers.
fn world() -> (World, ConnId) {
    let mut world = World::with_model();
    let client = world.operator(Protocol::V4);
    for (run, words, answer) in [("1", "one", "two"), ("2", "three", "four")] {
        say(&mut world, client, run, words, answer);
    }
    (world, client)
}

fn say(world: &mut World, client: ConnId, run: &str, words: &str, answer: &str) {
    world.ask(client, "chat.send", json!({"sessionKey": SEA, "message": words, "idempotencyKey": run}));
    world.answer(answer);
    assert_eq!(world.terminal(run, Protocol::V4).unwrap()["state"], "final");
}

/// The texts of the history, and their ids.
fn history(world: &mut World, client: ConnId, key: &str) -> Vec<(String, String)> {
    let page = world.ask(client, "chat.history", json!({"sessionKey": key}));
    let word = |value: &Value| value.as_str().unwrap().to_owned();
    let messages = page["messages"].as_array().unwrap().iter();
    messages.map(|m| (word(&m["content"][0]["text"]), word(&m["__openclaw"]["id"]))).collect()
}

fn texts(world: &mut World, client: ConnId, key: &str) -> Vec<String> {
    history(world, client, key).into_iter().map(|(text, _)| text).collect()
}

#[test]
fn a_rewind_takes_words_back_and_what_follows_builds_on_what_was_before() {
    let (mut world, client) = world();
    let second = history(&mut world, client, SEA)[2].1.clone();
    let back = world.ask(client, "sessions.rewind", json!({"sessionKey": SEA, "entryId": second}));
    assert_eq!(back, json!({"editorText": "three"}));
    assert_eq!(texts(&mut world, client, SEA), ["one", "two"]);
    let row = world.ask(client, "sessions.describe", json!({"key": SEA, "includeLastMessage": true}));
    assert_eq!(row["session"]["lastMessagePreview"], "two");
    world.ask(client, "chat.send", json!({"sessionKey": SEA, "message": "five", "idempotencyKey": "3"}));
    let prompt: Vec<Value> = world.fetch().1["messages"].as_array().unwrap().clone();
    let said = prompt.iter().map(Value::to_string).collect::<String>();
    assert!(said.contains("two") && said.contains("five"), "{said}");
    assert!(
        !said.contains("three") && !said.contains("four"),
        "the model does not see other branches: {said}"
    );
    world.answer("six");
    assert_eq!(texts(&mut world, client, SEA), ["one", "two", "five", "six"]);
    let previews = world.ask(client, "sessions.preview", json!({"keys": [SEA]}));
    assert_eq!(previews["previews"][0]["items"].as_array().map(Vec::len), Some(4));
}

#[test]
fn branches_are_listed_and_another_one_becomes_the_conversation() {
    let (mut world, client) = world();
    let lines = history(&mut world, client, SEA);
    world.ask(client, "sessions.rewind", json!({"sessionKey": SEA, "entryId": lines[2].1}));
    say(&mut world, client, "3", "five", "six");
    let listed = world.ask(client, "sessions.branches.list", json!({"sessionKey": SEA}));
    let brief: Vec<_> = listed["branches"]
        .as_array()
        .unwrap()
        .iter()
        .map(|b| (b["headline"].clone(), b["messageCount"].clone(), b["active"].clone()))
        .collect();
    let expected = [(json!("five"), json!(4), json!(true)), (json!("three"), json!(4), json!(false))];
    assert_eq!(brief, expected);
    let other = listed["branches"][1]["leafEntryId"].clone();
    let params = json!({"sessionKey": SEA, "leafEntryId": other});
    assert_eq!(world.ask(client, "sessions.branches.switch", params), json!({}));
    assert_eq!(texts(&mut world, client, SEA), ["one", "two", "three", "four"]);
    let mut world = world.crash();
    let client = world.operator(Protocol::V4);
    assert_eq!(texts(&mut world, client, SEA), ["one", "two", "three", "four"], "also after a restart");
    let gone =
        world.refusal(client, "sessions.branches.switch", json!({"sessionKey": SEA, "leafEntryId": "0"}));
    assert_eq!(gone.message, "leafEntryId not found: 0; list the branches again");
}

#[test]
fn a_conversation_goes_back_to_its_beginning() {
    let (mut world, client) = world();
    let first = history(&mut world, client, SEA)[0].1.clone();
    let back = world.ask(client, "sessions.rewind", json!({"sessionKey": SEA, "entryId": first}));
    assert_eq!(back["editorText"], "one");
    assert!(texts(&mut world, client, SEA).is_empty());
    let mut world = world.crash();
    let client = world.operator(Protocol::V4);
    assert!(texts(&mut world, client, SEA).is_empty(), "also after a restart");
    world.ask(client, "chat.send", json!({"sessionKey": SEA, "message": "anew", "idempotencyKey": "9"}));
    world.answer("yes");
    assert_eq!(texts(&mut world, client, SEA), ["anew", "yes"]);
}

#[test]
fn a_fork_leaves_the_old_session_as_it_is() {
    let (mut world, client) = world();
    let lines = history(&mut world, client, SEA);
    let fork = world.ask(client, "sessions.fork", json!({"sessionKey": SEA, "entryId": lines[2].1}));
    let key = fork["sessionKey"].as_str().unwrap().to_owned();
    assert_eq!(fork["editorText"], "three");
    assert_eq!(texts(&mut world, client, &key), ["one", "two"]);
    assert_eq!(texts(&mut world, client, SEA).len(), 4);
    let through = world.ask(client, "sessions.fork", json!({"sessionKey": SEA, "entryId": lines[3].1}));
    assert!(through.get("editorText").is_none(), "{through}");
    assert_eq!(texts(&mut world, client, through["sessionKey"].as_str().unwrap()).len(), 4);
    let row = world.ask(client, "sessions.describe", json!({"key": key, "includeDerivedTitles": true}));
    let row = &row["session"];
    assert_eq!((&row["derivedTitle"], &row["forkSource"]["entryId"]), (&json!("one"), &json!(lines[2].1)));
    let none = world.refusal(client, "sessions.fork", json!({"sessionKey": SEA, "entryId": "0"}));
    assert_eq!(none.message, "entryId not found: 0; load the history again");
}

#[test]
fn going_back_interrupts_what_is_under_way() {
    let (mut world, client) = world();
    let lines = history(&mut world, client, SEA);
    world.ask(client, "chat.send", json!({"sessionKey": SEA, "message": "five", "idempotencyKey": "3"}));
    world.ask(client, "sessions.rewind", json!({"sessionKey": SEA, "entryId": lines[1].1}));
    assert_eq!(world.terminal("3", Protocol::V4).unwrap()["state"], "aborted");
    assert_eq!(texts(&mut world, client, SEA), ["one", "two"]);
}
