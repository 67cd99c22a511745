#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};

use crate::providers::request::ToolChoice;
use crate::providers::tests::{
    answered, asked, call, done, everything, failure_of, header, provider, streamed, text, thinking,
};
use crate::providers::{ErrorKind, ModelEvent, StopReason};
use crate::settings::Api;

const API: Api = Api::OpenAiResponses;

pub(in crate::providers) const ANSWER: &str = concat!(
    "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"id\":\"r1\",\"status\":\"in_progress\"}}\n\n",
    "event: response.output_item.added\ndata: {\"type\":\"response.output_item.added\",\"output_index\":0,\"item\":{\"id\":\"rs_1\",\"type\":\"reasoning\",\"summary\":[]}}\n\n",
    "event: response.reasoning_summary_part.added\ndata: {\"type\":\"response.reasoning_summary_part.added\",\"part\":{\"type\":\"summary_text\",\"text\":\"\"}}\n\n",
    "event: response.reasoning_summary_text.delta\ndata: {\"type\":\"response.reasoning_summary_text.delta\",\"delta\":\"hm\"}\n\n",
    "event: response.output_item.done\ndata: {\"type\":\"response.output_item.done\",\"item\":{\"id\":\"rs_1\",\"type\":\"reasoning\",\"encrypted_content\":\"gAAA\",\"summary\":[{\"type\":\"summary_text\",\"text\":\"hm\"}]}}\n\n",
    "event: response.output_item.added\ndata: {\"type\":\"response.output_item.added\",\"item\":{\"id\":\"msg_1\",\"type\":\"message\",\"content\":[]}}\n\n",
    "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"Grüße\"}\n\n",
    "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\" dir\"}\n\n",
    "event: response.output_text.done\ndata: {\"type\":\"response.output_text.done\",\"text\":\"Grüße dir\"}\n\n",
    "event: response.output_item.done\ndata: {\"type\":\"response.output_item.done\",\"item\":{\"id\":\"msg_1\",\"type\":\"message\",\"content\":[{\"type\":\"output_text\",\"text\":\"Grüße dir\"}]}}\n\n",
    "event: response.function_call_arguments.delta\ndata: {\"type\":\"response.function_call_arguments.delta\",\"delta\":\"{\\\"at\\\":1}\"}\n\n",
    "event: response.output_item.done\ndata: {\"type\":\"response.output_item.done\",\"item\":{\"id\":\"fc_1\",\"type\":\"function_call\",\"status\":\"completed\",\"call_id\":\"call_a\",\"name\":\"look\",\"arguments\":\"{\\\"at\\\":1}\"}}\n\n",
    "event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"id\":\"r1\",\"status\":\"completed\",\"error\":null,\"usage\":{\"input_tokens\":12,\"input_tokens_details\":{\"cached_tokens\":5},\"output_tokens\":4,\"total_tokens\":16}}}\n\n",
);

fn ended(kind: &str, response: &Value) -> Vec<ModelEvent> {
    streamed(API, &format!("data: {}\n\n", json!({"type": kind, "response": response})))
}

#[test]
fn a_recorded_answer_is_understood() {
    let said = streamed(API, ANSWER);
    let ModelEvent::Signature(proof) = said[1].clone() else { unreachable!("{said:?}") };
    let proof: Value = serde_json::from_str(&proof).unwrap();
    assert_eq!((&proof["id"], &proof["encrypted_content"]), (&json!("rs_1"), &json!("gAAA")));
    let expected = [
        text("Grüße"),
        text(" dir"),
        call("call_a", "look", "{\"at\":1}"),
        done(StopReason::ToolUse, [7, 4, 5, 0]),
    ];
    assert_eq!((said[0].clone(), &said[2..]), (thinking("hm"), &expected[..]));
}

#[test]
fn the_question_goes_out_whole_and_thoughts_go_back_as_they_came() {
    let proof = json!({"id": "rs_1", "encrypted_content": "gAAA", "summary": [{"type": "summary_text", "text": "hm"}]});
    let (fetch, body) = asked(provider(API), &everything(API, &proof.to_string()));
    assert_eq!(fetch.url, "http://127.0.0.1:9/responses");
    assert_eq!(header(&fetch, "authorization"), Some("Bearer sk-secret"));
    let image = json!({"type": "input_image", "detail": "auto", "image_url": "data:image/png;base64,QUJD"});
    let words = |text: &str| json!({"type": "input_text", "text": text});
    let expected = json!({
        "model": "m",
        "instructions": "be brief",
        "input": [
            {"role": "user", "content": [words("what is it?"), image]},
            {"type": "reasoning", "id": "rs_1", "encrypted_content": "gAAA", "summary": [{"type": "summary_text", "text": "hm"}]},
            {"role": "assistant", "content": "I look."},
            {"type": "function_call", "call_id": "c1", "name": "look", "arguments": "{\"at\":1}"},
            {"type": "function_call", "call_id": "c2", "name": "look", "arguments": "{\"invalid_arguments\":\"{\\\"at\\\"\"}"},
            {"type": "function_call_output", "call_id": "c1", "output": "a dot"},
            {"type": "function_call_output", "call_id": "c2", "output": "no such place"},
            {"role": "user", "content": [words("and?"), image]},
        ],
        "stream": true,
        "store": false,
        "max_output_tokens": 8192,
        "include": ["reasoning.encrypted_content"],
        "reasoning": {"effort": "medium", "summary": "auto"},
        "tools": [{"type": "function", "name": "look", "description": "Looks.", "parameters": {"type": "object"}, "strict": true}],
    });
    assert_eq!(body, expected);
}

#[test]
fn a_schema_that_nobody_called_strict_is_not_enforced() {
    let mut request = everything(API, "");
    request.tools[0].strict = None;
    request.tool_choice = ToolChoice::Named("look".to_owned());
    let (_, body) = asked(provider(API), &request);
    assert_eq!(body["tools"][0]["strict"], json!(false));
    assert_eq!(body["tool_choice"], json!({"type": "function", "name": "look"}));
}

#[test]
fn an_answer_may_be_incomplete_or_fail() {
    let cut = json!({"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}});
    assert_eq!(
        ended("response.incomplete", &cut),
        [ModelEvent::Done { stop_reason: StopReason::Length, usage: None }]
    );
    let filtered = json!({"status": "incomplete", "incomplete_details": {"reason": "content_filter"}});
    assert_eq!(failure_of(&ended("response.incomplete", &filtered)).kind, ErrorKind::Refusal);
    let failed =
        json!({"status": "failed", "error": {"code": "rate_limit_exceeded", "message": "slow down"}});
    let said = ended("response.failed", &failed);
    assert_eq!((failure_of(&said).kind, failure_of(&said).status), (ErrorKind::RateLimit, Some(429)));
    let error = "event: error\ndata: {\"type\":\"error\",\"code\":\"server_error\",\"message\":\"oh\"}\n\n";
    assert_eq!(failure_of(&streamed(API, error)).status, Some(500));
    assert!(matches!(
        ended("response.failed", &json!({"status": "failed"})).last(),
        Some(ModelEvent::Failed(_))
    ));
}

#[test]
fn words_that_did_not_stream_come_with_their_item() {
    let item = json!({"type": "response.output_item.done", "item": {"type": "message", "content": [
        {"type": "output_text", "text": "Hi"}, {"type": "refusal", "refusal": "no"},
    ]}});
    let end = json!({"type": "response.completed", "response": {"status": "completed"}});
    let said = streamed(API, &format!("data: {item}\n\ndata: {end}\n\n"));
    assert_eq!(said[0], text("Hi\n\nno"));
}

#[test]
fn a_server_that_does_not_stream_is_understood() {
    let body = json!({"status": "completed", "output": [
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]},
        {"type": "message", "content": [{"type": "output_text", "text": "Hi"}]},
        {"type": "function_call", "name": "x", "arguments": ""},
    ], "usage": {"input_tokens": 3, "output_tokens": 2}});
    let expected =
        [thinking("hm"), text("Hi"), call("call_1", "x", "{}"), done(StopReason::ToolUse, [3, 2, 0, 0])];
    assert_eq!(answered(API, &body.to_string()), expected);
}
