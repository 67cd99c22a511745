//! Tools of the client, on both endpoints (spec 04 §7.1, §8.3).

use super::*;
use crate::api::tools::Must;

const CHAT: &str = "/v1/chat/completions";
const RESPONSES: &str = "/v1/responses";

fn tools() -> Value {
    json!([{"type": "function", "function": {
        "name": "get_weather", "description": "The weather.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    }}])
}

fn ask() -> Value {
    json!({"model": "openclaw", "messages": [{"role": "user", "content": "weather?"}], "tools": tools()})
}

#[test]
fn a_call_of_the_clients_tool_is_handed_over_and_its_answer_is_the_next_prompt() {
    let mut world = world();
    let id = post(&mut world, CHAT, ask());
    let (fetch, _) = world.fetch();
    world.head(fetch);
    world.words(fetch, "Let me look.");
    model_calls(
        &mut world,
        fetch,
        &[("call_1", "get_weather", "{\"city\":\"Paris\"}"), ("call_2", "get_weather", "")],
    );
    let (status, body) = answer(&world, id);
    let choice = &body["choices"][0];
    assert_eq!((status, &choice["finish_reason"]), (200, &json!("tool_calls")));
    assert_eq!(choice["message"]["content"], "Let me look.");
    assert_eq!(
        choice["message"]["tool_calls"],
        json!([
            {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": "{\"city\":\"Paris\"}"}},
            {"id": "call_2", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}},
        ])
    );
    let mut next = ask();
    next["messages"] = json!([
        {"role": "user", "content": "weather?"},
        choice["message"].clone(),
        {"role": "tool", "tool_call_id": "call_1", "content": "22C"},
    ]);
    post(&mut world, CHAT, next);
    assert_eq!(
        asked(&world).0,
        "[Chat messages since your last reply - for context]\nUser: weather?\nAssistant: Let me look.\n\
         Assistant: [called get_weather (call_1) with {\"city\":\"Paris\"}]\nAssistant: [called get_weather (call_2) with {}]\n\n\
         [Current message - respond to this]\nTool:call_1: 22C"
    );
}

#[test]
fn a_call_in_a_stream_comes_in_fragments_that_join_to_its_arguments() {
    let mut world = world();
    let mut body = ask();
    body["stream"] = true.into();
    let id = post(&mut world, CHAT, body);
    let (fetch, _) = world.fetch();
    world.head(fetch);
    let arguments = json!({"city": "é".repeat(400)}).to_string();
    model_calls(&mut world, fetch, &[("call_1", "get_weather", &arguments)]);
    let (_, text) = world.answered(id).unwrap();
    let events = events(&text);
    let call = |event: &Value| event["choices"][0]["delta"]["tool_calls"][0].clone();
    assert_eq!(
        call(&events[1]),
        json!({"index": 0, "id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": ""}})
    );
    let fragments: Vec<Value> = events[2..events.len() - 1]
        .iter()
        .map(|event| call(event)["function"]["arguments"].clone())
        .collect();
    assert!(fragments.len() > 1 && fragments.iter().all(|f| f.as_str().unwrap().chars().count() <= 256));
    assert_eq!(fragments.iter().map(|f| f.as_str().unwrap()).collect::<String>(), arguments);
    let last = events.last().unwrap();
    assert_eq!(
        (&last["choices"][0]["delta"], &last["choices"][0]["finish_reason"]),
        (&json!({}), &json!("tool_calls"))
    );
    assert!(!text.contains("\"content\""), "no empty message");
}

#[test]
fn prose_is_held_until_the_required_tool_is_called() {
    let mut world = world();
    let mut body = ask();
    body["stream"] = true.into();
    body["tool_choice"] = "required".into();
    let id = post(&mut world, CHAT, body.clone());
    let (fetch, _) = world.fetch();
    assert!(asked(&world).1.contains("You must call one of the client's tools"));
    world.head(fetch);
    world.words(fetch, "Sure.");
    assert!(!so_far(&world, id).contains("Sure."));
    model_calls(&mut world, fetch, &[("call_1", "get_weather", "{}")]);
    let events = events(&world.answered(id).unwrap().1);
    assert_eq!(events[1]["choices"][0]["delta"]["content"], "Sure.");
    assert_eq!(events[2]["choices"][0]["delta"]["tool_calls"][0]["id"], "call_1");

    let id = post(&mut world, CHAT, body.clone());
    world.answer("no tool");
    let text = world.answered(id).unwrap().1;
    assert!(!text.contains("no tool") && text.contains("did not call the required tool"), "{text}");
    body["stream"] = false.into();
    body["tool_choice"] = json!({"type": "function", "function": {"name": "get_weather"}});
    let id = post(&mut world, CHAT, body);
    world.answer("no tool");
    let response = response(&world, id);
    assert_eq!((response.status, header(&response, "x-should-retry")), (502, Some("false")));
}

#[test]
fn a_choice_narrows_or_drops_the_tools() {
    let mut body = json!({"tools": [
        {"type": "function", "function": {"name": "a", "description": "d", "parameters": {"type": "object"}, "strict": true}},
        {"type": "function", "name": "b", "strict": false},
    ]});
    let read = |body: &Value| crate::api::tools::read(&crate::api::fields::Fields::of(body)).unwrap();
    let (tools, must) = read(&body);
    assert_eq!((tools.len(), must), (2, Must::Nothing));
    assert_eq!(
        (tools[0].description.as_str(), tools[0].strict, tools[1].strict),
        ("d", Some(true), Some(false))
    );
    assert_eq!(tools[1].parameters.as_str(), r#"{"properties":{},"type":"object"}"#);
    for pinned in
        [json!({"type": "function", "name": "b"}), json!({"type": "function", "function": {"name": "b"}})]
    {
        body["tool_choice"] = pinned;
        let (tools, must) = read(&body);
        assert_eq!((tools.len(), tools[0].name.as_str(), must), (1, "b", Must::Named("b".to_owned())));
    }
    body["tool_choice"] = "none".into();
    assert_eq!(read(&body), (Vec::new(), Must::Nothing));
    body["tool_choice"] = "required".into();
    assert_eq!(read(&body).1, Must::Something);
}

#[test]
fn a_response_with_calls_has_an_item_for_each_and_they_can_be_answered() {
    let mut world = world();
    let tools = json!([{"type": "function", "name": "get_weather", "parameters": {"type": "object"}, "strict": false}]);
    let id = post(&mut world, RESPONSES, json!({"model": "openclaw", "input": "weather?", "tools": tools}));
    let (fetch, _) = world.fetch();
    world.head(fetch);
    model_calls(&mut world, fetch, &[("call_1", "get_weather", "{\"city\":\"Paris\"}")]);
    let (status, body) = answer(&world, id);
    assert_eq!(
        (status, &body["status"], body["output"].as_array().unwrap().len()),
        (200, &json!("completed"), 1)
    );
    let item = &body["output"][0];
    assert!(item["id"].as_str().unwrap().starts_with("fc_"));
    assert_eq!(
        (&item["type"], &item["call_id"], &item["name"]),
        (&json!("function_call"), &json!("call_1"), &json!("get_weather"))
    );
    assert_eq!((&item["arguments"], &item["status"]), (&json!("{\"city\":\"Paris\"}"), &json!("completed")));
    // With the earlier response, and an output that says nothing.
    let output = json!([{"type": "function_call_output", "call_id": "call_1", "output": ""}]);
    post(
        &mut world,
        RESPONSES,
        json!({"model": "openclaw", "input": output, "tools": tools, "previous_response_id": body["id"]}),
    );
    assert!(asked(&world).0.ends_with("Tool:call_1: "), "{}", asked(&world).0);
    let (fetch, _) = world.fetch();
    world.refuse(fetch, 400, "over");
    // With the whole conversation.
    let echoed = json!([
        {"role": "user", "content": "weather?"}, item.clone(),
        {"type": "function_call_output", "call_id": "call_1", "output": [{"type": "input_text", "text": "22C"}]},
    ]);
    post(&mut world, RESPONSES, json!({"model": "openclaw", "input": echoed, "tools": tools}));
    assert!(asked(&world).0.ends_with(
        "Assistant: [called get_weather (call_1) with {\"city\":\"Paris\"}]\n\n[Current message - respond to this]\nTool:call_1: 22C"
    ));
}

#[test]
fn calls_in_a_stream_of_events_open_no_empty_message() {
    let mut world = world();
    let tools = json!([{"type": "function", "name": "f"}, {"type": "function", "name": "g"}]);
    let body = json!({"model": "openclaw", "input": "x", "tools": tools, "stream": true});
    let id = post(&mut world, RESPONSES, body);
    let (fetch, _) = world.fetch();
    world.head(fetch);
    model_calls(&mut world, fetch, &[("call_1", "f", "{\"a\":1}"), ("call_2", "g", "")]);
    let events = events(&world.answered(id).unwrap().1);
    let types: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    let call = [
        "response.output_item.added",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "response.output_item.done",
    ];
    let expected: Vec<&str> = ["response.created", "response.in_progress"]
        .into_iter()
        .chain(call)
        .chain(call)
        .chain(["response.completed"])
        .collect();
    assert_eq!(types, expected);
    assert_eq!((&events[2]["output_index"], &events[6]["output_index"]), (&json!(0), &json!(1)));
    assert_eq!(
        (&events[2]["item"]["arguments"], &events[2]["item"]["status"]),
        (&json!(""), &json!("in_progress"))
    );
    assert_eq!((&events[4]["name"], &events[4]["arguments"]), (&json!("f"), &json!("{\"a\":1}")));
    let last = &events[10]["response"];
    assert_eq!((&last["status"], &last["output"][1]["call_id"]), (&json!("completed"), &json!("call_2")));
    assert_eq!(last["output"][0], events[5]["item"]);
}
