#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};

use crate::providers::request::{Message, ModelRequest, Sampling, ToolChoice};
use crate::providers::tests::{
    answered, asked, call, done, everything, failure_of, header, provider, streamed, text, thinking,
};
use crate::providers::{ErrorKind, ModelEvent, StopReason};
use crate::settings::Api;

const API: Api = Api::OpenAiChat;

pub(in crate::providers) const ANSWER: &str = concat!(
    "data: {\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n",
    ": keep-alive\n\n",
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"reasoning_content\":\"hm\"}}]}\n\n",
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Grüße\"}}]}\r\n\r\n",
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\" dir\"},\"finish_reason\":null}]}\n\n",
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"call_a\",\"type\":\"function\",\"function\":{\"name\":\"look\",\"arguments\":\"\"}}]}}]}\n\n",
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"{\\\"at\\\"\"}}]}}]}\n\n",
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":1,\"id\":\"call_b\",\"type\":\"function\",\"function\":{\"name\":\"wait\",\"arguments\":\"\"}}]}}]}\n\n",
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\":1}\"}}]}}]}\n\n",
    "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"tool_calls\"}]}\n\n",
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":12,\"completion_tokens\":4,\"total_tokens\":16,",
    "\"prompt_tokens_details\":{\"cached_tokens\":5}}}\n\n",
    "data: [DONE]\n\n",
);

fn event(delta: &Value, finish: Option<&str>) -> String {
    format!("data: {}\n\n", json!({"choices": [{"delta": delta, "finish_reason": finish}]}))
}

fn calls_of(events: &[String]) -> Vec<ModelEvent> {
    let said = streamed(API, &events.concat());
    said.into_iter().filter(|event| matches!(event, ModelEvent::ToolCall(_))).collect()
}

#[test]
fn a_recorded_answer_is_understood() {
    let expected = [
        thinking("hm"),
        text("Grüße"),
        text(" dir"),
        call("call_a", "look", "{\"at\":1}"),
        call("call_b", "wait", "{}"),
        done(StopReason::ToolUse, [7, 4, 5, 0]),
    ];
    assert_eq!(streamed(API, ANSWER), expected);
}

#[test]
fn the_question_goes_out_whole() {
    let (fetch, body) = asked(provider(API), &everything(API, ""));
    assert_eq!((fetch.method, fetch.url.as_str()), ("POST", "http://127.0.0.1:9/chat/completions"));
    assert_eq!(header(&fetch, "authorization"), Some("Bearer sk-secret"));
    let image = json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}});
    let function = |id: &str, arguments: &str| json!({"id": id, "type": "function", "function": {"name": "look", "arguments": arguments}});
    let expected = json!({
        "model": "m",
        "messages": [
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": [{"type": "text", "text": "what is it?"}, image]},
            {"role": "assistant", "content": "I look.", "tool_calls": [
                function("c1", "{\"at\":1}"),
                function("c2", "{\"invalid_arguments\":\"{\\\"at\\\"\"}"),
            ]},
            {"role": "tool", "tool_call_id": "c1", "content": "a dot"},
            {"role": "tool", "tool_call_id": "c2", "content": "no such place"},
            {"role": "user", "content": [{"type": "text", "text": "and?"}, image]},
        ],
        "stream": true,
        "stream_options": {"include_usage": true},
        "max_tokens": 8192,
        "reasoning_effort": "medium",
        "tools": [{"type": "function", "function": {
            "name": "look", "description": "Looks.", "parameters": {"type": "object"}, "strict": true,
        }}],
    });
    assert_eq!(body, expected);
}

#[test]
fn choice_and_sampling_go_out_when_they_are_given() {
    let mut request = everything(API, "");
    request.sampling = Sampling {
        temperature: Some(0.5),
        top_p: Some(0.25),
        frequency_penalty: Some(1.0),
        presence_penalty: Some(-1.0),
        seed: Some(7),
        stop: vec!["END".to_owned()],
    };
    for (choice, written) in [
        (ToolChoice::None, json!("none")),
        (ToolChoice::Required, json!("required")),
        (ToolChoice::Named("look".to_owned()), json!({"type": "function", "function": {"name": "look"}})),
    ] {
        request.tool_choice = choice;
        assert_eq!(asked(provider(API), &request).1["tool_choice"], written);
    }
    let (_, body) = asked(provider(API), &request);
    let sampling = json!([
        body["temperature"],
        body["top_p"],
        body["frequency_penalty"],
        body["presence_penalty"],
        body["seed"],
        body["stop"]
    ]);
    assert_eq!(sampling, json!([0.5, 0.25, 1.0, -1.0, 7, ["END"]]));
}

#[test]
fn openai_itself_wants_the_new_spelling_of_the_limit() {
    let mut openai = provider(API);
    openai.base_url = "https://api.openai.com/v1".to_owned();
    let (_, body) =
        asked(openai, &ModelRequest { messages: vec![Message::user("hi")], ..ModelRequest::default() });
    assert_eq!((body.get("max_tokens"), &body["max_completion_tokens"]), (None, &json!(8_192)));
}

#[test]
fn only_a_model_that_knows_it_is_asked_to_think_hardest() {
    let effort = |xhigh: bool, reasoning: bool, level: &str| {
        let mut provider = provider(API);
        provider.models[0].xhigh = xhigh;
        provider.models[0].reasoning = reasoning;
        let request = ModelRequest { thinking: Some(level.to_owned()), ..everything(API, "") };
        asked(provider, &request).1["reasoning_effort"].as_str().map(str::to_owned)
    };
    assert_eq!(effort(true, true, "xhigh").as_deref(), Some("xhigh"));
    assert_eq!(effort(false, true, "xhigh").as_deref(), Some("high"));
    assert_eq!(effort(true, true, "off"), None);
    assert_eq!(effort(true, false, "high"), None);
}

#[test]
fn thoughts_go_back_where_they_are_wanted() {
    let mut deepseek = provider(API);
    deepseek.id = "deepseek".to_owned();
    let request = everything(API, "");
    let providers = crate::providers::tests::providers(vec![deepseek]);
    let model = crate::settings::ModelRef::parse("deepseek/m").unwrap();
    let (_, fetch) = providers.start(std::time::Duration::ZERO, &model, &request).unwrap();
    let body: Value = serde_json::from_slice(&fetch.unwrap().body).unwrap();
    assert_eq!(body["messages"][2]["reasoning_content"], "hm");
}

#[test]
fn calls_come_in_many_forms() {
    let stop = event(&json!({}), Some("stop"));
    let whole = |id: Value, index: Value, name: &str, arguments: Value| {
        event(
            &json!({"tool_calls": [{"index": index, "id": id, "function": {"name": name, "arguments": arguments}}]}),
            None,
        )
    };
    // Whole calls that all have index 0, or none, and ids or none.
    let same_index = [
        whole(json!("a"), json!(0), "x", json!("{}")),
        whole(json!("b"), json!(0), "y", json!("{}")),
        stop.clone(),
    ];
    assert_eq!(calls_of(&same_index), [call("a", "x", "{}"), call("b", "y", "{}")]);
    let no_index = [
        whole(Value::Null, Value::Null, "x", json!({"a": 1})),
        whole(json!(""), Value::Null, "y", Value::Null),
        stop.clone(),
    ];
    assert_eq!(calls_of(&no_index), [call("call_1", "x", "{\"a\":1}"), call("call_2", "y", "{}")]);
    // The old form with one function.
    let old = [
        event(&json!({"function_call": {"name": "x", "arguments": "{\"a\""}}), None),
        event(&json!({"function_call": {"arguments": ":2}"}}), None),
        event(&json!({}), Some("function_call")),
    ];
    assert_eq!(calls_of(&old), [call("call_1", "x", "{\"a\":2}")]);
    // What no parser accepts is passed on.
    let broken = [whole(json!("a"), json!(0), "x", json!("{\"a\"")), stop];
    assert_eq!(calls_of(&broken), [call("a", "x", "{\"a\"")]);
}

#[test]
fn google_gets_the_proof_of_a_call_back_and_nobody_else_does() {
    let extra = json!({"google": {"thought_signature": "CqQB"}});
    let delta = json!({"tool_calls": [{"id": "a", "function": {"name": "x", "arguments": "{}"}, "extra_content": extra}]});
    let said = streamed(API, &event(&delta, Some("tool_calls")));
    assert_eq!(said[..2], [ModelEvent::Signature("CqQB".to_owned()), call("a", "x", "{}")]);
    let written = |base_url: &str| {
        let mut provider = provider(API);
        provider.base_url = base_url.to_owned();
        let body = asked(provider, &everything(API, "CqQB")).1;
        (0..2).map(|at| body["messages"][2]["tool_calls"][at]["extra_content"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(written("https://generativelanguage.googleapis.com/v1beta/openai"), [extra, Value::Null]);
    assert_eq!(written("http://127.0.0.1:9"), [Value::Null, Value::Null]);
}

#[test]
fn a_plain_end_with_calls_is_a_call_and_a_call_that_the_limit_cut_is_none() {
    let delta =
        json!({"tool_calls": [{"index": 0, "id": "a", "function": {"name": "x", "arguments": "{\"a\""}}]});
    let end = |reason: &str| streamed(API, &[event(&delta, None), event(&json!({}), Some(reason))].concat());
    let stop = |stop_reason| ModelEvent::Done { stop_reason, usage: None };
    assert_eq!(end("stop").last(), Some(&stop(StopReason::ToolUse)));
    assert_eq!(end("length"), [stop(StopReason::Length)]);
}

#[test]
fn more_calls_than_anybody_needs_end_the_answer() {
    let many: Vec<Value> = (0..200).map(|index| json!({"index": index, "function": {"name": "x"}})).collect();
    let said = streamed(API, &event(&json!({"tool_calls": many}), Some("tool_calls")));
    assert!(failure_of(&said).message.contains("more than 128 tools"), "{said:?}");
}

#[test]
fn a_filtered_answer_is_a_refusal_and_an_error_in_the_stream_ends_it() {
    assert_eq!(
        failure_of(&streamed(API, &event(&json!({}), Some("content_filter")))).kind,
        ErrorKind::Refusal
    );
    let overloaded = "data: {\"error\":{\"message\":\"overloaded\",\"code\":503}}\n\ndata: [DONE]\n\n";
    let said = streamed(API, overloaded);
    assert_eq!((said.len(), failure_of(&said).status), (1, Some(503)));
}

#[test]
fn a_finished_answer_is_whole_though_the_end_mark_is_missing() {
    let said = streamed(API, &event(&json!({"content": "x"}), Some("stop")));
    assert_eq!(said, [text("x"), ModelEvent::Done { stop_reason: StopReason::Stop, usage: None }]);
}

#[test]
fn a_server_that_does_not_stream_is_understood() {
    let body = json!({"choices": [{"message": {
        "role": "assistant",
        "content": [{"type": "text", "text": "Hi"}],
        "tool_calls": [{"id": "a", "type": "function", "function": {"name": "x", "arguments": "{}"}}],
    }, "finish_reason": "tool_calls"}], "usage": {"prompt_tokens": 3, "completion_tokens": 2}});
    let expected = [text("Hi"), call("a", "x", "{}"), done(StopReason::ToolUse, [3, 2, 0, 0])];
    assert_eq!(answered(API, &body.to_string()), expected);
}
