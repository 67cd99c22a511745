#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};

use crate::auth::Secret;
use crate::providers::request::{Block, ModelRequest, Sampling, ToolChoice};
use crate::providers::tests::{
    answered, asked, call, done, everything, failure_of, header, provider, streamed, text, thinking, thought,
};
use crate::providers::{ErrorKind, ModelEvent, StopReason};
use crate::settings::{Api, AuthProfile, KeyMode};

const API: Api = Api::Anthropic;

pub(in crate::providers) const ANSWER: &str = concat!(
    "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"role\":\"assistant\",\"content\":[],\"usage\":{\"input_tokens\":7,\"cache_creation_input_tokens\":3,\"cache_read_input_tokens\":5,\"output_tokens\":1}}}\n\n",
    "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}}\n\n",
    "event: ping\ndata: {\"type\":\"ping\"}\n\n",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"thinking_delta\",\"thinking\":\"hm\"}}\n\n",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"signature_delta\",\"signature\":\"EqQB\"}}\n\n",
    "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n",
    "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":1,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":1,\"delta\":{\"type\":\"text_delta\",\"text\":\"Grüße\"}}\n\n",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":1,\"delta\":{\"type\":\"text_delta\",\"text\":\" dir\"}}\n\n",
    "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":1}\n\n",
    "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":2,\"content_block\":{\"type\":\"tool_use\",\"id\":\"toolu_1\",\"name\":\"look\",\"input\":{}}}\n\n",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":2,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"\"}}\n\n",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":2,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"{\\\"at\\\"\"}}\n\n",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":2,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\": 1}\"}}\n\n",
    "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":2}\n\n",
    "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"tool_use\",\"stop_sequence\":null},\"usage\":{\"output_tokens\":89}}\n\n",
    "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
);

fn events(list: &[Value]) -> Vec<ModelEvent> {
    streamed(API, &list.iter().map(|event| format!("data: {event}\n\n")).collect::<String>())
}

fn stop(reason: &str) -> Value {
    json!({"type": "message_delta", "delta": {"stop_reason": reason}})
}

#[test]
fn a_recorded_answer_is_understood() {
    let expected = [
        thinking("hm"),
        ModelEvent::Signature("EqQB".to_owned()),
        text("Grüße"),
        text(" dir"),
        call("toolu_1", "look", "{\"at\": 1}"),
        done(StopReason::ToolUse, [7, 89, 5, 3]),
    ];
    assert_eq!(streamed(API, ANSWER), expected);
}

#[test]
fn the_question_goes_out_whole_and_is_cached() {
    let (fetch, body) = asked(provider(API), &everything(API, "EqQB"));
    assert_eq!(fetch.url, "http://127.0.0.1:9/v1/messages");
    assert_eq!((header(&fetch, "x-api-key"), header(&fetch, "authorization")), (Some("sk-secret"), None));
    assert_eq!(header(&fetch, "anthropic-version"), Some("2023-06-01"));
    let image =
        json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "QUJD"}});
    let words = |text: &str| json!({"type": "text", "text": text});
    let cached = json!({"type": "ephemeral"});
    let expected = json!({
        "model": "m",
        "system": [{"type": "text", "text": "be brief", "cache_control": cached}],
        "messages": [
            {"role": "user", "content": [words("what is it?"), image]},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "hm", "signature": "EqQB"},
                words("I look."),
                {"type": "tool_use", "id": "c1", "name": "look", "input": {"at": 1}},
                {"type": "tool_use", "id": "c2", "name": "look", "input": {"invalid_arguments": "{\"at\""}},
            ]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "c1", "content": [words("a dot"), image], "is_error": false},
                {"type": "tool_result", "tool_use_id": "c2", "content": [words("no such place")], "is_error": true},
                {"type": "text", "text": "and?", "cache_control": cached},
            ]},
        ],
        "max_tokens": 8192,
        "thinking": {"type": "enabled", "budget_tokens": 7168},
        "tools": [{"name": "look", "description": "Looks.", "input_schema": {"type": "object"}}],
        "stream": true,
    });
    assert_eq!(body, expected);
}

#[test]
fn a_token_is_shown_as_a_bearer() {
    let mut provider = provider(API);
    provider.profiles =
        vec![AuthProfile { id: "a".to_owned(), mode: KeyMode::Token, secret: Secret::new("sk-token") }];
    let (fetch, _) = asked(provider, &ModelRequest::default());
    assert_eq!(header(&fetch, "authorization"), Some("Bearer sk-token"));
    assert_eq!(
        (header(&fetch, "x-api-key"), header(&fetch, "anthropic-beta")),
        (None, Some("oauth-2025-04-20"))
    );
}

#[test]
fn a_base_url_may_already_hold_the_version() {
    for base in ["http://h", "http://h/v1", "http://h/v1/messages"] {
        let mut provider = provider(API);
        provider.base_url = base.to_owned();
        assert_eq!(asked(provider, &ModelRequest::default()).0.url, "http://h/v1/messages");
    }
}

#[test]
fn the_budget_for_thoughts_fits_into_the_limit() {
    let written = |level: &str, most: u64, limit: Option<u64>| {
        let mut provider = provider(API);
        provider.models[0].max_tokens = most;
        let request =
            ModelRequest { thinking: Some(level.to_owned()), max_tokens: limit, ..everything(API, "EqQB") };
        let body = asked(provider, &request).1;
        (body["thinking"]["budget_tokens"].as_u64(), body["max_tokens"].as_u64().unwrap())
    };
    assert_eq!(written("minimal", 64_000, None), (Some(1_024), 64_000));
    assert_eq!(written("low", 64_000, Some(100)), (Some(2_048), 3_072));
    assert_eq!(written("high", 64_000, None), (Some(16_384), 64_000));
    assert_eq!(written("xhigh", 64_000, None), (Some(32_768), 64_000));
    assert_eq!(written("high", 1_500, None), (None, 1_500), "there is no room for thoughts");
    assert_eq!(written("off", 64_000, None), (None, 64_000));
}

#[test]
fn a_model_that_is_forced_or_has_begun_without_thoughts_does_not_think() {
    let mut request = everything(API, "EqQB");
    request.sampling = Sampling {
        temperature: Some(1.5),
        top_p: Some(0.5),
        stop: vec!["END".to_owned()],
        ..Sampling::default()
    };
    let (_, body) = asked(provider(API), &request);
    assert_eq!((body.get("temperature"), &body["stop_sequences"]), (None, &json!(["END"])));
    request.tool_choice = ToolChoice::Required;
    let (_, body) = asked(provider(API), &request);
    assert_eq!((body.get("thinking"), &body["tool_choice"]), (None, &json!({"type": "any"})));
    assert_eq!((&body["temperature"], body.get("top_p")), (&json!(1.0), None));
    let (_, body) = asked(provider(API), &everything(Api::OpenAiChat, "theirs"));
    assert_eq!(body.get("thinking"), None);
}

#[test]
fn encrypted_thoughts_go_back_as_they_came() {
    let block =
        json!({"type": "content_block_start", "content_block": {"type": "redacted_thinking", "data": "Emw"}});
    let end = json!({"type": "content_block_stop"});
    let said = events(&[block, end, stop("end_turn"), json!({"type": "message_stop"})]);
    let ModelEvent::Signature(signature) = &said[0] else { unreachable!("{said:?}") };
    let mut request = everything(API, "EqQB");
    request.messages[1].blocks.insert(0, thought(API, "", signature));
    let (_, body) = asked(provider(API), &request);
    assert_eq!(body["messages"][1]["content"][0], json!({"type": "redacted_thinking", "data": "Emw"}));
}

#[test]
fn ids_of_others_are_made_to_fit() {
    let mut request = everything(API, "");
    for message in &mut request.messages {
        for block in &mut message.blocks {
            match block {
                Block::ToolCall(call) if call.id == "c1" => call.id = "functions.look:0".to_owned(),
                Block::ToolResult(result) if result.id == "c1" => result.id = "functions.look:0".to_owned(),
                _ => {}
            }
        }
    }
    let (_, body) = asked(provider(API), &request);
    assert_eq!(body["messages"][1]["content"][1]["id"], "functions_look_0");
    assert_eq!(body["messages"][2]["content"][0]["tool_use_id"], "functions_look_0");
}

#[test]
fn every_reason_for_the_end_is_known() {
    let end = |reason: &str| events(&[stop(reason), json!({"type": "message_stop"})]);
    let done = |stop_reason| ModelEvent::Done { stop_reason, usage: None };
    assert_eq!(end("end_turn"), [done(StopReason::Stop)]);
    assert_eq!(end("stop_sequence"), [done(StopReason::Stop)]);
    assert_eq!(end("pause_turn"), [done(StopReason::Stop)]);
    assert_eq!(end("max_tokens"), [done(StopReason::Length)]);
    assert_eq!(end("tool_use"), [done(StopReason::ToolUse)]);
    assert_eq!(failure_of(&end("refusal")).kind, ErrorKind::Refusal);
}

#[test]
fn an_error_in_the_stream_ends_it() {
    let error = |kind: &str| {
        let said = events(&[json!({"type": "error", "error": {"type": kind, "message": "oh"}})]);
        (failure_of(&said).kind, failure_of(&said).status)
    };
    assert_eq!(error("overloaded_error"), (ErrorKind::Unknown, Some(529)));
    assert_eq!(error("rate_limit_error"), (ErrorKind::RateLimit, Some(429)));
}

#[test]
fn a_call_that_the_limit_cut_is_none() {
    let begin = json!({"type": "content_block_start", "content_block": {"type": "tool_use", "id": "t", "name": "x", "input": {}}});
    let piece =
        json!({"type": "content_block_delta", "delta": {"type": "input_json_delta", "partial_json": "{\"a"}});
    let said = events(&[begin, piece, stop("max_tokens"), json!({"type": "message_stop"})]);
    assert_eq!(said, [ModelEvent::Done { stop_reason: StopReason::Length, usage: None }]);
}

#[test]
fn a_server_that_does_not_stream_is_understood() {
    let body = json!({"type": "message", "content": [
        {"type": "thinking", "thinking": "hm", "signature": "EqQB"},
        {"type": "text", "text": "Hi"},
        {"type": "tool_use", "id": "t", "name": "x", "input": {"a": 1}},
    ], "stop_reason": "tool_use", "usage": {"input_tokens": 3, "output_tokens": 2}});
    let expected = [
        thinking("hm"),
        ModelEvent::Signature("EqQB".to_owned()),
        text("Hi"),
        call("t", "x", "{\"a\":1}"),
        done(StopReason::ToolUse, [3, 2, 0, 0]),
    ];
    assert_eq!(answered(API, &body.to_string()), expected);
}
