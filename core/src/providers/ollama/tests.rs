#![allow(clippy::unwrap_used)]

use serde_json::json;

use crate::providers::request::{ModelRequest, Sampling, ToolChoice};
use crate::providers::tests::{
    asked, call, done, everything, failure_of, header, provider, streamed, text, thinking,
};
use crate::providers::{ModelEvent, StopReason};
use crate::settings::Api;

const API: Api = Api::Ollama;

pub(in crate::providers) const ANSWER: &str = concat!(
    "{\"model\":\"m\",\"created_at\":\"2026-01-30T10:00:00Z\",\"message\":{\"role\":\"assistant\",\"content\":\"\",\"thinking\":\"hm\"},\"done\":false}\n",
    "{\"model\":\"m\",\"message\":{\"role\":\"assistant\",\"content\":\"Grüße\"},\"done\":false}\n",
    "{\"model\":\"m\",\"message\":{\"role\":\"assistant\",\"content\":\" dir\"},\"done\":false}\n",
    "{\"model\":\"m\",\"message\":{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[{\"function\":{\"name\":\"look\",\"arguments\":{\"at\":1}}}]},\"done\":false}\n",
    "{\"model\":\"m\",\"message\":{\"role\":\"assistant\",\"content\":\"\"},\"done\":true,\"done_reason\":\"stop\",\"total_duration\":9,\"prompt_eval_count\":12,\"eval_count\":4}\n",
);

#[test]
fn a_recorded_answer_is_understood() {
    let expected = [
        thinking("hm"),
        text("Grüße"),
        text(" dir"),
        call("call_1", "look", "{\"at\":1}"),
        done(StopReason::ToolUse, [12, 4, 0, 0]),
    ];
    assert_eq!(streamed(API, ANSWER), expected);
    assert_eq!(streamed(API, ANSWER.trim_end()), expected, "the last line has no end");
}

#[test]
fn the_question_goes_out_whole() {
    let mut provider = provider(API);
    provider.api_key = None;
    let mut request = everything(API, "");
    request.sampling = Sampling { temperature: Some(0.5), seed: Some(7), ..Sampling::default() };
    let (fetch, body) = asked(provider, &request);
    assert_eq!((fetch.url.as_str(), header(&fetch, "authorization")), ("http://127.0.0.1:9/api/chat", None));
    let expected = json!({
        "model": "m",
        "messages": [
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": "what is it?", "images": ["QUJD"]},
            {"role": "assistant", "content": "I look.", "thinking": "hm", "tool_calls": [
                {"function": {"name": "look", "arguments": {"at": 1}}},
                {"function": {"name": "look", "arguments": {"invalid_arguments": "{\"at\""}}},
            ]},
            {"role": "tool", "tool_name": "look", "content": "a dot"},
            {"role": "tool", "tool_name": "look", "content": "no such place"},
            {"role": "user", "content": "and?", "images": ["QUJD"]},
        ],
        "think": true,
        "tools": [{"type": "function", "function": {
            "name": "look", "description": "Looks.", "parameters": {"type": "object"},
        }}],
        "options": {"num_ctx": 64_000, "num_predict": 8_192, "temperature": 0.5, "seed": 7},
        "stream": true,
    });
    assert_eq!(body, expected);
}

#[test]
fn what_must_not_be_called_is_not_offered() {
    let tools = |choice: ToolChoice| {
        let request = ModelRequest { tool_choice: choice, ..everything(API, "") };
        asked(provider(API), &request).1["tools"].as_array().map(Vec::len)
    };
    assert_eq!(tools(ToolChoice::None), None);
    assert_eq!(tools(ToolChoice::Named("other".to_owned())), None);
    assert_eq!(tools(ToolChoice::Named("look".to_owned())), Some(1));
}

#[test]
fn only_models_that_think_are_told_whether_to() {
    let think = |id: &str, reasoning: bool, level: &str| {
        let mut provider = provider(API);
        provider.models[0].reasoning = reasoning;
        provider.models[0].id = id.to_owned();
        let model = crate::settings::ModelRef { provider: "p".to_owned(), model: id.to_owned() };
        let request = ModelRequest { thinking: Some(level.to_owned()), ..ModelRequest::default() };
        let providers = crate::providers::tests::providers(vec![provider]);
        let (_, fetch) = providers.start(std::time::Duration::ZERO, &model, &request).unwrap();
        let body: serde_json::Value = serde_json::from_slice(&fetch.unwrap().body).unwrap();
        body["think"].clone()
    };
    assert_eq!(think("m", true, "low"), json!(true));
    assert_eq!(think("m", true, "off"), json!(false));
    assert_eq!(think("m", false, "high"), json!(null));
    assert_eq!(think("gpt-oss:20b", true, "xhigh"), json!("high"));
}

#[test]
fn a_base_url_may_hold_a_path_of_another_api() {
    for base in ["http://h:11434", "http://h:11434/v1", "http://h:11434/api"] {
        let mut provider = provider(API);
        provider.base_url = base.to_owned();
        assert_eq!(asked(provider, &ModelRequest::default()).0.url, "http://h:11434/api/chat");
    }
}

#[test]
fn the_limit_and_errors_are_told() {
    let said = streamed(API, "{\"message\":{\"content\":\"a\"},\"done\":true,\"done_reason\":\"length\"}\n");
    assert_eq!(said, [text("a"), done(StopReason::Length, [0; 4])]);
    let said = streamed(
        API,
        "{\"message\":{\"content\":\"a\"},\"done\":false}\n{\"error\":\"model runner has stopped\"}\n",
    );
    assert_eq!(failure_of(&said).message, "model runner has stopped");
    assert!(matches!(said[0], ModelEvent::Text(_)));
}
