//! The agent loop: a model that calls tools, and words that come while they work.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::{Value, json};
use telson_proto::{EventName, Protocol};

use crate::fetch::FetchEvent;
use crate::gateway::Input;
use crate::ids::{ConnId, FetchId};
use crate::testing::{World, undressed};

const MAIN: &str = "agent:main:main";

fn send(key: &str, words: &str) -> Value {
    json!({"sessionKey": "main", "message": words, "idempotencyKey": key})
}

fn v4_send(world: &mut World, client: ConnId, key: &str, words: &str, mode: &str) -> Value {
    world.ask(
        client,
        "chat.send",
        json!({"sessionKey": "main", "message": words, "idempotencyKey": key, "queueMode": mode}),
    )
}

/// The model server asks for tools: id, name and arguments of each.
fn calls(world: &mut World, id: FetchId, words: &str, calls: &[(&str, &str, &str)]) {
    world.head(id);
    if !words.is_empty() {
        world.words(id, words);
    }
    for (index, (call, name, arguments)) in calls.iter().enumerate() {
        let function = json!({"name": name, "arguments": arguments});
        let call = json!({"index": index, "id": call, "type": "function", "function": function});
        let chunk = json!({"choices": [{"delta": {"tool_calls": [call]}}]});
        world.chunk(id, &format!("data: {chunk}\n\n"));
    }
    let finish = json!({"choices": [{"delta": {}, "finish_reason": "tool_calls"}]});
    world.chunk(id, &format!("data: {finish}\n\ndata: [DONE]\n\n"));
    world.input(Input::Fetch { id, event: FetchEvent::End });
}

/// The fetch of the model, and what it was asked.
fn model(world: &World) -> (FetchId, Value) {
    let asked = world.fetches.iter().find(|(_, request)| request.url.ends_with("/chat/completions"));
    let (id, request) = asked.expect("the model is asked");
    (*id, serde_json::from_slice(&request.body).unwrap())
}

fn roles(world: &World) -> Vec<String> {
    let messages = world.shelf.messages(MAIN);
    messages.iter().map(|message| message["role"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_model_is_asked_again_with_the_results_of_its_tools() {
    let mut world = World::with_model();
    let client = world.operator(Protocol::V4);
    world.call(client, "chat.send", send("r", "who is there?"));
    let (id, body) = model(&world);
    let offered: Vec<&str> = body["tools"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tool| tool["function"]["name"].as_str().unwrap())
        .collect();
    assert!(offered.contains(&"agents_list") && offered.contains(&"session_status"), "{offered:?}");
    calls(&mut world, id, "I look.", &[("c1", "agents_list", "{}"), ("c2", "session_status", "{}")]);
    let (id, body) = model(&world);
    let messages = body["messages"].as_array().unwrap();
    let tail: Vec<(&str, &str)> = messages[1..]
        .iter()
        .map(|message| {
            (message["role"].as_str().unwrap(), message["tool_call_id"].as_str().unwrap_or_default())
        })
        .collect();
    assert_eq!(tail, [("assistant", ""), ("tool", "c1"), ("tool", "c2")]);
    world.head(id);
    world.words(id, "Main is.");
    world.done(id);
    let end = world.terminal("r", Protocol::V4).unwrap();
    assert_eq!((&end["state"], &end["message"]["content"][0]["text"]), (&json!("final"), &json!("Main is.")));
    assert_eq!(roles(&world), ["user", "assistant", "toolResult", "toolResult", "assistant"]);
    assert_eq!(world.shelf.messages(MAIN)[1]["stopReason"], "toolUse");
    assert!(world.gateway.runs.is_idle());
}

#[test]
fn the_next_prompt_holds_calls_and_results_of_earlier_turns() {
    let mut world = World::with_model();
    let client = world.operator(Protocol::V4);
    world.call(client, "chat.send", send("r1", "who?"));
    let (id, _) = model(&world);
    calls(&mut world, id, "", &[("c1", "agents_list", "{}")]);
    world.answer("Main.");
    world.call(client, "chat.send", send("r2", "again?"));
    let (_, body) = model(&world);
    let roles: Vec<&str> = body["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|message| message["role"].as_str().unwrap())
        .collect();
    assert_eq!(roles, ["user", "assistant", "tool", "assistant", "user"]);
}

/// Check 10: protocol 3 hears of tools in verbose sessions only, with the numbers used either way.
#[test]
fn tools_are_heard_by_verbosity() {
    for (level, heard) in [("off", 0), ("on", 2), ("full", 2)] {
        let mut world = World::with_model();
        let client = world.operator(Protocol::V3);
        world.ask(client, "sessions.patch", json!({"key": "main", "verboseLevel": level}));
        world.call(client, "chat.send", send("r", "who?"));
        let (id, _) = model(&world);
        calls(&mut world, id, "", &[("c1", "agents_list", "{}")]);
        world.answer("Main.");
        let events = world.events(EventName::Agent, Protocol::V3);
        let tools: Vec<&Value> = events.iter().filter(|event| event["stream"] == "tool").collect();
        assert_eq!(tools.len(), heard, "verbose {level}");
        if let [start, result] = tools.as_slice() {
            assert_eq!(
                (&start["data"]["phase"], &start["data"]["name"]),
                (&json!("start"), &json!("agents_list"))
            );
            assert_eq!(
                (&result["data"]["phase"], &result["data"]["isError"]),
                (&json!("result"), &json!(false))
            );
        }
        let numbers: Vec<u64> = events.iter().map(|event| event["seq"].as_u64().unwrap()).collect();
        assert_eq!(numbers.last(), Some(&5), "start, two of the tool, words, end");
    }
}

/// Check 30: after a call of a tool the text starts again, which protocol 4 hears as a replacement.
#[test]
fn text_after_a_tool_replaces_what_stood_before_it() {
    let mut world = World::with_model();
    let client = world.operator(Protocol::V4);
    world.call(client, "chat.send", send("r", "who?"));
    let (id, _) = model(&world);
    calls(&mut world, id, "I look.", &[("c1", "agents_list", "{}")]);
    world.answer("Main.");
    let mut shown = String::new();
    let mut replaced = Vec::new();
    for event in world.events(EventName::Chat, Protocol::V4) {
        let Some(delta) = event["deltaText"].as_str() else { continue };
        if event["replace"] == json!(true) {
            shown.clear();
            replaced.push(delta.to_owned());
        }
        shown.push_str(delta);
        assert_eq!(event["message"]["content"][0]["text"], json!(shown));
    }
    assert_eq!((shown.as_str(), replaced), ("Main.", vec!["Main.".to_owned()]));
}

#[test]
fn what_cannot_be_called_is_told_to_the_model() {
    let mut world = World::with_model();
    let client = world.operator(Protocol::V4);
    world.call(client, "chat.send", send("r", "who?"));
    let (id, _) = model(&world);
    calls(&mut world, id, "", &[("c1", "no_such_tool", "{}"), ("c2", "agents_list", "{half")]);
    let (_, body) = model(&world);
    let text = |place: usize| body["messages"][place]["content"].as_str().unwrap().to_owned();
    assert!(text(2).starts_with("No tool named \"no_such_tool\""), "{}", text(2));
    assert!(text(3).contains("no JSON object"), "{}", text(3));
}

#[test]
fn a_model_that_goes_round_in_circles_is_told_so_and_must_answer_in_the_end() {
    let mut world = World::with_model();
    let client = world.operator(Protocol::V4);
    world.call(client, "chat.send", send("r", "who?"));
    let mut told = false;
    for round in 1..crate::limits::RUN_ROUNDS {
        let (id, body) = model(&world);
        assert_ne!(body["tool_choice"], "none", "round {round}");
        told |= body.to_string().contains("several times with the same arguments");
        calls(&mut world, id, "", &[(&format!("c{round}"), "agents_list", "{}")]);
    }
    assert!(told);
    let (id, body) = model(&world);
    assert_eq!(body["tool_choice"], "none");
    calls(&mut world, id, "", &[("last", "agents_list", "{}")]);
    let end = world.terminal("r", Protocol::V4).unwrap();
    assert!(end["errorMessage"].as_str().unwrap().contains("still asked for tools"), "{end}");
    assert!(world.gateway.runs.is_idle());
}

/// A model that waits for a page of the web.
fn waiting_for_a_page(world: &mut World, client: ConnId) -> FetchId {
    world.call(client, "chat.send", send("r", "read it"));
    let (id, _) = model(world);
    calls(world, id, "", &[("c1", "web_fetch", r#"{"url": "https://example.com/"}"#)]);
    let page = world.fetches.iter().find(|(_, request)| request.url.contains("example.com"));
    page.expect("the page is fetched").0
}

#[test]
fn an_abort_reaches_the_tools() {
    let mut world = World::with_model();
    let client = world.operator(Protocol::V4);
    waiting_for_a_page(&mut world, client);
    assert_eq!(world.ask(client, "chat.abort", json!({"sessionKey": "main"}))["aborted"], true);
    assert!(world.fetches.is_empty(), "{:?}", world.fetches);
    let last = world.shelf.messages(MAIN).pop().unwrap();
    assert_eq!((&last["role"], &last["isError"]), (&json!("toolResult"), &json!(true)));
    assert_eq!(world.terminal("r", Protocol::V4).unwrap()["state"], "aborted");
    assert!(world.gateway.runs.is_idle());
}

#[test]
fn a_run_that_takes_too_long_ends_while_its_tools_work() {
    let mut world = World::with_model();
    let client = world.operator(Protocol::V4);
    let params = json!({"sessionKey": "main", "message": "read", "idempotencyKey": "r", "timeoutMs": 2_000});
    world.call(client, "chat.send", params);
    let (id, _) = model(&world);
    calls(&mut world, id, "", &[("c1", "web_fetch", r#"{"url": "https://example.com/"}"#)]);
    world.advance(2_000);
    let end = world.terminal("r", Protocol::V4).unwrap();
    assert_eq!((&end["state"], &end["stopReason"]), (&json!("aborted"), &json!("timeout")));
    assert!(world.fetches.is_empty());
}

#[test]
fn words_that_steer_go_into_the_running_turn() {
    let mut world = World::with_model();
    let client = world.operator(Protocol::V4);
    waiting_for_a_page(&mut world, client);
    assert_eq!(v4_send(&mut world, client, "s", "no, stop that", "steer")["status"], "started");
    let steered = world.terminal("s", Protocol::V4).unwrap();
    assert_eq!((&steered["state"], steered.get("message")), (&json!("final"), None));
    let (id, body) = model(&world);
    let messages = undressed(&body["messages"]);
    assert_eq!(messages[2]["role"], "tool");
    assert!(messages[2]["content"].as_str().unwrap().starts_with("Skipped"), "{messages:#}");
    assert_eq!(messages[3], json!({"role": "user", "content": "no, stop that"}));
    world.head(id);
    world.words(id, "Stopped.");
    world.done(id);
    assert_eq!(world.terminal("r", Protocol::V4).unwrap()["message"]["content"][0]["text"], "Stopped.");
    world.call(client, "chat.send", send("next", "and now?"));
    let (_, body) = model(&world);
    let roles: Vec<&str> = body["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|message| message["role"].as_str().unwrap())
        .collect();
    assert_eq!(
        roles,
        ["user", "assistant", "tool", "user", "assistant", "user"],
        "each where it was answered"
    );
}

#[test]
fn words_that_cannot_steer_any_more_are_answered_next() {
    let mut world = World::with_model();
    let client = world.operator(Protocol::V4);
    world.call(client, "chat.send", send("r", "one"));
    v4_send(&mut world, client, "s", "two", "steer");
    world.answer("first");
    world.advance(1_000);
    let (_, body) = model(&world);
    assert_eq!(undressed(&body["messages"])[2], json!({"role": "user", "content": "two"}));
}

#[test]
fn words_that_interrupt_end_what_runs_and_what_waits() {
    let mut world = World::with_model();
    let client = world.operator(Protocol::V4);
    world.call(client, "chat.send", send("r1", "one"));
    world.call(client, "chat.send", send("r2", "two"));
    v4_send(&mut world, client, "r3", "three", "interrupt");
    for run in ["r1", "r2"] {
        assert_eq!(world.terminal(run, Protocol::V4).unwrap()["state"], "aborted", "{run}");
    }
    let (id, _) = model(&world);
    world.head(id);
    world.words(id, "Three it is.");
    world.done(id);
    assert_eq!(world.terminal("r3", Protocol::V4).unwrap()["state"], "final");
    assert!(world.gateway.runs.is_idle());
}

#[test]
fn messages_that_follow_up_have_turns_of_their_own() {
    let mut world = World::with_model();
    let client = world.operator(Protocol::V4);
    for key in ["r1", "r2", "r3"] {
        v4_send(&mut world, client, key, key, "followup");
    }
    for key in ["r1", "r2", "r3"] {
        world.answer(&format!("to {key}"));
        let end = world.terminal(key, Protocol::V4).unwrap();
        assert_eq!(end["message"]["content"][0]["text"], json!(format!("to {key}")));
    }
}

#[test]
fn a_queue_that_is_full_lets_one_message_go() {
    for (drop, gone) in [("old", "r2"), ("new", "r4")] {
        let mut world = World::with(|settings| {
            settings.agents.queue.cap = 2;
            settings.agents.queue.drop = crate::settings::QueueDrop::parse(drop).unwrap();
        });
        let client = world.operator(Protocol::V4);
        for key in ["r1", "r2", "r3", "r4"] {
            world.call(client, "chat.send", send(key, key));
        }
        let end = world.terminal(gone, Protocol::V4).expect("the one that goes has an end");
        assert_eq!((&end["state"], end.get("message")), (&json!("final"), None));
        world.advance(10_000);
        assert_eq!(world.shelf.messages(MAIN).iter().filter(|message| message["role"] == "user").count(), 4);
        assert!(world.gateway.runs.is_idle());
    }
}
