//! The official OpenAI SDKs and the Vercel AI SDK, unchanged, with a live gateway as their server.

use std::process::Command;

use serde_json::{Value, json};
use telson_tests::on_both_binaries;
use telson_tests::support::binary::{Binary, workspace};
use telson_tests::support::client::Dialect;
use telson_tests::support::command::Outcome;
use telson_tests::support::gateway::{Gateway, Home};
use telson_tests::support::model::{Answer, ModelServer, Step};
use telson_tests::support::packages;

on_both_binaries!(
    python_chats,
    python_calls_tools,
    python_gets_responses,
    python_sends_images,
    python_lists_models,
    python_sees_failures,
    python_leaves,
    javascript_chats,
    javascript_runs_tools,
    javascript_gets_responses,
    javascript_sends_images,
    javascript_lists_models,
    javascript_sees_failures,
    javascript_leaves,
    the_ai_sdk_chats_and_calls_tools,
);

const PYTHON: &str = "openai_sdk.py";
const JAVASCRIPT: &str = "openai.mjs";

/// A model that asks for the weather in Delft.
const CALL: &str = concat!(
    r#"data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"call_w","type":"function","function":{"name":"get_weather","arguments":""}}]}}]}"#,
    "\n\n",
    r#"data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"place\":"}}]}}]}"#,
    "\n\n",
    r#"data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"\"Delft\"}"}}]}}]}"#,
    "\n\n",
    r#"data: {"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}"#,
    "\n\ndata: [DONE]\n\n",
);

fn says(pieces: &[&'static str]) -> Answer {
    let words = pieces.iter().map(|piece| Step::Say(piece));
    Answer::Stream(words.chain([Step::Done]).collect())
}

fn asks_for_the_weather() -> Answer {
    Answer::Stream(vec![Step::Raw(CALL)])
}

fn refuses() -> Answer {
    Answer::Refusal(400, vec![], json!({"error": {"message": "the tide is out"}}))
}

/// A gateway with the endpoints open, whose model gives these answers.
fn served(binary: Binary, answers: Vec<Answer>) -> (Gateway, ModelServer) {
    let model = ModelServer::start(answers);
    let home = Home::new(binary);
    let on = json!({"enabled": true});
    let endpoints = json!({"chatCompletions": on, "responses": on});
    home.configure(&model.config_with("k", &json!({"gateway": {"http": {"endpoints": endpoints}}})));
    (home.start(), model)
}

fn run(script: &str, gateway: &Gateway, part: &str) -> Value {
    let path = workspace().join("tests/interop").join(script);
    let python = path.extension().is_some_and(|extension| extension == "py");
    let mut command: Command = if python { packages::python(&path) } else { packages::node(&path) };
    command.args([&gateway.url(), &gateway.token(), part]);
    Outcome::of(&mut command).success().json()
}

fn chats(binary: Binary, script: &str) {
    let answers = vec![says(&["Hel", "lo"]), says(&["a ", "b"]), says(&["x", "yz"])];
    let (gateway, _model) = served(binary, answers);
    let seen = run(script, &gateway, "chat");
    assert_eq!(seen["whole"], "Hello", "{seen:#}");
    assert_eq!((&seen["finish"], &seen["streamFinish"]), (&json!("stop"), &json!("stop")), "{seen:#}");
    assert_eq!((&seen["joined"], &seen["helper"]), (&json!("a b"), &json!("xyz")), "{seen:#}");
    for usage in ["usage", "streamUsage"] {
        assert!(seen[usage]["total_tokens"].as_u64().is_some_and(|tokens| tokens > 0), "{seen:#}");
    }
}

fn calls_tools(binary: Binary, script: &str) {
    let (gateway, model) = served(binary, vec![asks_for_the_weather(), says(&["It is ", "sunny."])]);
    let seen = run(script, &gateway, "tools");
    assert_eq!(seen, json!({"answer": "It is sunny.", "seen": [{"place": "Delft"}]}));
    let tools = model.question().body["tools"].clone();
    let offered = tools.as_array().into_iter().flatten();
    assert!(offered.into_iter().any(|tool| tool["function"]["name"] == "get_weather"), "{tools:#}");
    assert!(model.question().body["messages"].to_string().contains("sunny"));
}

fn gets_responses(binary: Binary, script: &str) {
    let answers = vec![
        says(&["vier"]),
        says(&["vijf ", "en"]),
        says(&["zes"]),
        asks_for_the_weather(),
        says(&["It is sunny."]),
    ];
    let (gateway, _model) = served(binary, answers);
    let seen = run(script, &gateway, "responses");
    let expected = json!({
        "whole": "vier", "status": "completed", "joined": "vijf en", "helper": "zes",
        "call": {"name": "get_weather", "arguments": {"place": "Delft"}}, "answered": "It is sunny.",
    });
    for (name, value) in expected.as_object().expect("an object") {
        assert_eq!(&seen[name], value, "{name} of {seen:#}");
    }
    let events = seen["events"].as_array().expect("events");
    assert_eq!(events.first(), Some(&json!("response.created")));
    assert_eq!(events.last(), Some(&json!("response.completed")));
}

fn sends_images(binary: Binary, script: &str) {
    let (gateway, model) = served(binary, vec![says(&["a dot"]), says(&["still"])]);
    let seen = run(script, &gateway, "image");
    assert_eq!(seen, json!({"chat": "a dot", "response": "still"}));
    for _ in 0..2 {
        assert!(model.question().body.to_string().contains("data:image/png;base64,iVBORw0KGgo"));
    }
}

fn lists_models(binary: Binary, script: &str) {
    let (gateway, _model) = served(binary, vec![]);
    let seen = run(script, &gateway, "models");
    let expected =
        json!({"list": ["openclaw", "openclaw/default", "openclaw/main"], "one": "openclaw/default"});
    assert_eq!(seen, expected);
}

/// Each failure is an error of the SDK, and none is tried again once a run was started.
fn sees_failures(binary: Binary, script: &str) {
    let (gateway, model) = served(binary, vec![refuses(), refuses()]);
    let seen = run(script, &gateway, "failures");
    assert_eq!(seen["run"]["status"], 500, "{seen:#}");
    assert!(seen["stream"].is_object(), "{seen:#}");
    assert_eq!(seen["model"]["status"], 400, "{seen:#}");
    assert_eq!(seen["key"]["status"], 401, "{seen:#}");
    let (first, second) = (model.question(), model.question());
    assert_eq!((first.path, second.path), ("/v1/chat/completions".into(), "/v1/chat/completions".into()));
    assert!(model.no_more_questions(), "a failed run was tried again");
}

/// A client that goes away in the middle of a stream aborts its run: the model server sees the end of its own.
fn leaves(binary: Binary, script: &str) {
    let (gateway, _model) = served(binary, vec![Answer::Stream(vec![Step::Say("once"), Step::Hold])]);
    let mut client = gateway.operator(Dialect::V4);
    assert_eq!(run(script, &gateway, "leave"), json!({"left": true}));
    client.event("chat", |payload| payload["state"] == json!("aborted"));
}

fn python_chats(binary: Binary) {
    chats(binary, PYTHON);
}

fn python_calls_tools(binary: Binary) {
    calls_tools(binary, PYTHON);
}

fn python_gets_responses(binary: Binary) {
    gets_responses(binary, PYTHON);
}

fn python_sends_images(binary: Binary) {
    sends_images(binary, PYTHON);
}

fn python_lists_models(binary: Binary) {
    lists_models(binary, PYTHON);
}

fn python_sees_failures(binary: Binary) {
    sees_failures(binary, PYTHON);
}

fn python_leaves(binary: Binary) {
    leaves(binary, PYTHON);
}

fn javascript_chats(binary: Binary) {
    chats(binary, JAVASCRIPT);
}

fn javascript_runs_tools(binary: Binary) {
    calls_tools(binary, JAVASCRIPT);
}

fn javascript_gets_responses(binary: Binary) {
    gets_responses(binary, JAVASCRIPT);
}

fn javascript_sends_images(binary: Binary) {
    sends_images(binary, JAVASCRIPT);
}

fn javascript_lists_models(binary: Binary) {
    lists_models(binary, JAVASCRIPT);
}

fn javascript_sees_failures(binary: Binary) {
    sees_failures(binary, JAVASCRIPT);
}

fn javascript_leaves(binary: Binary) {
    leaves(binary, JAVASCRIPT);
}

fn the_ai_sdk_chats_and_calls_tools(binary: Binary) {
    let answers =
        vec![says(&["Hello"]), says(&["a ", "b"]), asks_for_the_weather(), says(&["It is ", "sunny."])];
    let (gateway, _model) = served(binary, answers);
    let seen = run("ai-sdk.mjs", &gateway, "");
    assert_eq!((&seen["whole"], &seen["finish"]), (&json!("Hello"), &json!("stop")), "{seen:#}");
    assert_eq!((&seen["joined"], &seen["streamFinish"]), (&json!("a b"), &json!("stop")), "{seen:#}");
    assert_eq!((&seen["called"], &seen["seen"]), (&json!("It is sunny."), &json!([{"place": "Delft"}])));
    assert!(seen["streamUsage"].as_u64().is_some_and(|tokens| tokens > 0), "{seen:#}");
}
