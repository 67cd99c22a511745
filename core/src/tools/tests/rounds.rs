//! A model that calls a tool, from its words to the tool and back.

use serde_json::json;
use telson_proto::Protocol;

use crate::fetch::FetchEvent;
use crate::gateway::Input;
use crate::testing::World;

#[test]
fn a_model_calls_a_tool_and_hears_the_outcome() {
    let mut world = World::with_model();
    let client = world.operator(Protocol::V4);
    world.ask(
        client,
        "chat.send",
        json!({"sessionKey": "main", "message": "what time is it?", "idempotencyKey": "1"}),
    );
    let (id, request) = world.fetch();
    let offered = request["tools"].as_array().expect("it is told of tools");
    assert!(offered.iter().any(|tool| tool["function"]["name"] == "session_status"));
    world.head(id);
    let call = json!({"choices": [{"delta": {"tool_calls": [{
        "index": 0, "id": "c1", "type": "function", "function": {"name": "session_status", "arguments": "{}"},
    }]}}]});
    world.chunk(id, &format!("data: {call}\n\n"));
    let over = json!({"choices": [{"delta": {}, "finish_reason": "tool_calls"}]});
    world.chunk(id, &format!("data: {over}\n\ndata: [DONE]\n\n"));
    world.input(Input::Fetch { id, event: FetchEvent::End });
    let (_, second) = world.fetch();
    let last = second["messages"].as_array().unwrap().last().unwrap().clone();
    assert_eq!((&last["role"], &last["tool_call_id"]), (&json!("tool"), &json!("c1")));
    assert!(last["content"].as_str().unwrap().contains("2026-01-30 10:00:00 UTC"), "{last}");
    world.answer("ten o'clock");
    assert_eq!(world.chat_states("1", Protocol::V4).last().map(String::as_str), Some("final"));
    assert!(world.gateway.tools.is_idle() && world.gateway.runs.is_idle());
}
