//! Responses (spec 04 §8).

use super::*;
use crate::limits;

const PATH: &str = "/v1/responses";

fn input(text: &str) -> Value {
    json!({"model": "openclaw", "input": text})
}

#[test]
fn a_response_has_everything_that_programs_look_for() {
    let mut world = world();
    let mut body = input("what moves the sea?");
    body["instructions"] = "Be brief.".into();
    body["metadata"] = json!({"a": "b"});
    body["temperature"] = json!(0.5);
    let id = post(&mut world, PATH, body);
    let (words, system) = asked(&world);
    assert_eq!((words.as_str(), system.ends_with("Be brief.")), ("what moves the sea?", true));
    world.answer("tide and moon");
    let (status, body) = world.answered(id).unwrap();
    let value: Value = serde_json::from_str(&body).unwrap();
    let (name, message) = (value["id"].as_str().unwrap(), value["output"][0]["id"].as_str().unwrap());
    assert!(name.starts_with("resp_") && message.starts_with("msg_"));
    assert_eq!(status, 200);
    assert_eq!(
        body,
        format!(
            r#"{{"id":"{name}","object":"response","created_at":1769767200,"status":"completed","error":null,"incomplete_details":null,"instructions":"Be brief.","max_output_tokens":null,"metadata":{{"a":"b"}},"model":"openclaw","output":[{{"content":[{{"annotations":[],"logprobs":[],"text":"tide and moon","type":"output_text"}}],"id":"{message}","role":"assistant","status":"completed","type":"message"}}],"parallel_tool_calls":true,"previous_response_id":null,"temperature":0.5,"tool_choice":"auto","tools":[],"top_p":null,"usage":{{"input_tokens":10,"input_tokens_details":{{"cached_tokens":0}},"output_tokens":5,"output_tokens_details":{{"reasoning_tokens":0}},"total_tokens":15}}}}"#
        )
    );
    let key = world.shelf.sessions.keys().next().unwrap();
    assert!(key.as_str().starts_with("agent:main:openresponses:"));
}

#[test]
fn a_stream_has_its_events_in_order_and_one_end() {
    let mut world = world();
    let mut body = input("hi");
    body["stream"] = true.into();
    let id = post(&mut world, PATH, body);
    assert_eq!(so_far(&world, id).matches("event: ").count(), 2, "the first come at once");
    let (fetch, _) = world.fetch();
    world.head(fetch);
    world.words(fetch, "tide");
    world.words(fetch, " and moon");
    world.done(fetch);
    let events = events(&world.answered(id).unwrap().1);
    let types: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(
        types,
        [
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.content_part.added",
            "response.output_text.delta",
            "response.output_text.delta",
            "response.output_text.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.completed",
        ]
    );
    for (number, event) in events.iter().enumerate() {
        assert_eq!(event["sequence_number"], number);
    }
    let item = events[2]["item"]["id"].clone();
    assert_eq!(
        (&events[2]["item"]["content"], &events[2]["item"]["status"]),
        (&json!([]), &json!("in_progress"))
    );
    assert!(
        events[3..8].iter().all(|event| event["item_id"] == item
            && event["content_index"] == 0
            && event["output_index"] == 0)
    );
    assert_eq!(
        events[3]["part"],
        json!({"type": "output_text", "text": "", "annotations": [], "logprobs": []})
    );
    assert_eq!((&events[4]["delta"], &events[4]["logprobs"]), (&json!("tide"), &json!([])));
    assert_eq!(
        (&events[6]["text"], &events[7]["part"]["text"]),
        (&json!("tide and moon"), &json!("tide and moon"))
    );
    assert_eq!(
        (&events[0]["response"]["status"], &events[0]["response"]["output"]),
        (&json!("in_progress"), &json!([]))
    );
    assert_eq!(events[9]["response"]["output"][0], events[8]["item"]);
    assert_eq!(events[9]["response"]["usage"]["total_tokens"], 15);
}

#[test]
fn a_failure_is_a_failed_response_in_either_form() {
    let mut world = world();
    let id = post(&mut world, PATH, input("hi"));
    let (fetch, _) = world.fetch();
    world.refuse(fetch, 400, "sk-123");
    let response = response(&world, id);
    assert_eq!((response.status, header(&response, "x-should-retry")), (500, Some("false")));
    let body: Value = serde_json::from_str(&response.body).unwrap();
    assert_eq!((&body["status"], &body["output"]), (&json!("failed"), &json!([])));
    assert_eq!(body["error"], json!({"code": "api_error", "message": "internal error", "type": "api_error"}));
    for words in ["", "tide"] {
        let mut body = input("hi");
        body["stream"] = true.into();
        let id = post(&mut world, PATH, body);
        let (fetch, _) = world.fetch();
        world.head(fetch);
        if !words.is_empty() {
            world.words(fetch, words);
        }
        world.input(Input::Fetch { id: fetch, event: crate::fetch::FetchEvent::End });
        let events = events(&world.answered(id).unwrap().1);
        let ends: Vec<&Value> = events
            .iter()
            .filter(|event| {
                matches!(
                    event["type"].as_str(),
                    Some("response.completed" | "response.failed" | "response.incomplete")
                )
            })
            .collect();
        assert_eq!(ends.len(), 1);
        assert_eq!(
            (&ends[0]["type"], &events.last().unwrap()["type"]),
            (&json!("response.failed"), &json!("response.failed"))
        );
        assert_eq!(ends[0]["response"]["error"]["code"], "api_error");
    }
}

#[test]
fn a_spent_budget_is_an_incomplete_response() {
    let mut world = world();
    for stream in [false, true] {
        let mut body = input("hi");
        body["max_output_tokens"] = 5.into();
        body["stream"] = stream.into();
        let id = post(&mut world, PATH, body);
        let (fetch, _) = world.fetch();
        world.head(fetch);
        world.words(fetch, "tide and");
        let finish = json!({"choices": [{"delta": {}, "finish_reason": "length"}]});
        world.chunk(fetch, &format!("data: {finish}\n\ndata: [DONE]\n\n"));
        world.input(Input::Fetch { id: fetch, event: crate::fetch::FetchEvent::End });
        let text = world.answered(id).unwrap().1;
        let response = if stream {
            let events = events(&text);
            assert_eq!(events.last().unwrap()["type"], "response.incomplete");
            events.last().unwrap()["response"].clone()
        } else {
            serde_json::from_str(&text).unwrap()
        };
        assert_eq!(
            (&response["status"], &response["incomplete_details"]["reason"]),
            (&json!("incomplete"), &json!("max_output_tokens"))
        );
        assert_eq!(response["output"][0]["status"], "incomplete");
    }
}

#[test]
fn a_run_that_says_nothing_has_a_stand_in_in_both_forms() {
    let mut world = world();
    for stream in [false, true] {
        let mut body = input("hi");
        body["stream"] = stream.into();
        let id = post(&mut world, PATH, body);
        world.answer("");
        let text = world.answered(id).unwrap().1;
        assert!(text.contains("No response from OpenClaw."), "{text}");
    }
}

#[test]
fn items_are_read_in_the_forms_of_either_api() {
    let mut world = world();
    let items = json!([
        {"role": "system", "content": "S"},
        {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "D"}], "id": "x", "status": "completed"},
        {"role": "user", "content": "one"},
        {"type": "message", "role": "assistant", "content": [
            {"type": "output_text", "text": "two", "annotations": [], "logprobs": []}, {"type": "refusal", "refusal": "no"},
        ]},
        {"type": "reasoning", "summary": []},
        {"type": "item_reference", "id": "y"},
        {"role": "user", "content": [{"type": "text", "text": "three"}]},
    ]);
    post(
        &mut world,
        PATH,
        json!({"model": "openclaw", "input": items, "store": true, "unheard": {"of": 1}, "instructions": "I"}),
    );
    let (words, system) = asked(&world);
    assert!(
        words.ends_with("User: one\nAssistant: two\nno\n\n[Current message - respond to this]\nUser: three"),
        "{words}"
    );
    assert!(system.ends_with("I\n\nS\n\nD"), "{system}");
}

#[test]
fn wrong_fields_are_named() {
    let mut world = world();
    let with = |field: &str, value: Value| {
        let mut body = input("hi");
        body[field] = value;
        body
    };
    for (body, word) in [
        (json!([]), "JSON object"),
        (json!({"input": "hi"}), "`model`"),
        (json!({"model": "openclaw"}), "`input` is required"),
        (with("input", json!([])), "Missing user message"),
        (with("input", json!([7])), "input.0: must be an object"),
        (with("input", json!([{"role": "user", "content": "x"}, {"type": "computer_call"}])), "input.1"),
        (with("input", json!([{"role": "critic", "content": "x"}])), "`role`"),
        (with("input", json!([{"role": "user", "content": [{"type": "input_audio"}]}])), "input_audio"),
        (
            with("input", json!([{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}])),
            "file_id",
        ),
        (
            with("input", json!([{"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}])),
            "file_id",
        ),
        (with("input", json!([{"type": "function_call_output", "output": "x"}])), "call_id"),
        (with("instructions", json!(7)), "`instructions`"),
        (with("max_output_tokens", json!(0)), "`max_output_tokens`"),
        (with("temperature", json!(3)), "`temperature`"),
        (with("previous_response_id", json!("resp_x")), "not found"),
        (with("tools", json!([{"type": "web_search"}])), "`tools[0]`"),
    ] {
        let (status, message) = refused(&mut world, PATH, body);
        assert_eq!(status, 400);
        assert!(message.contains(word), "{message}");
    }
}

#[test]
fn an_earlier_response_continues_its_session() {
    let mut world = world();
    let id = post(&mut world, PATH, input("one"));
    world.answer("two");
    let first = answer(&world, id).1["id"].clone();
    let mut next = input("three");
    next["previous_response_id"] = first.clone();
    let id = post(&mut world, PATH, next.clone());
    let (_, body) = world.fetch();
    let said: Vec<&Value> =
        body["messages"].as_array().unwrap().iter().filter(|m| m["role"] != "system").collect();
    assert_eq!(said.len(), 3, "the session remembers: {said:?}");
    world.answer("four");
    let (_, body) = answer(&world, id);
    assert_eq!((&body["previous_response_id"], world.shelf.sessions.len()), (&first, 1));
    // Another session was asked for.
    next["user"] = "u".into();
    assert_eq!(refused(&mut world, PATH, next.clone()).0, 400);
    next["user"] = Value::Null;
    // The session was begun anew meanwhile.
    let desk = world.operator(telson_proto::Protocol::V4);
    let key = world.shelf.sessions.keys().next().unwrap().as_str().to_owned();
    world.ask(desk, "sessions.reset", json!({"key": key}));
    assert!(refused(&mut world, PATH, next).1.contains("not found"));
}

#[test]
fn an_earlier_response_is_forgotten_after_a_day() {
    let mut world = world();
    let id = post(&mut world, PATH, input("one"));
    world.answer("two");
    let mut next = input("three");
    next["previous_response_id"] = answer(&world, id).1["id"].clone();
    world.advance(limits::RESPONSES_KEPT_MS);
    assert_eq!(refused(&mut world, PATH, next).0, 400);
}

#[test]
fn the_size_of_a_body_is_the_operators_choice() {
    let mut world = world_with(|settings| settings.api.responses.max_body = 10);
    let mut large = request("POST", PATH);
    large.content_length = Some(11);
    let id = world.http(large, "");
    assert_eq!(answer(&world, id).0, 413);
}
