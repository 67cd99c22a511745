//! Every API against recorded answers and a server that misbehaves.

#![allow(clippy::unwrap_used, clippy::panic)]

mod misbehaviour;
mod people;

use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::request::{Block, Image, Message, ModelRequest, Role, Thinking, ToolCall, ToolResult};
use super::{Candidate, ErrorKind, ModelError, ModelEvent, Providers, StopReason, Usage};
use crate::auth::Secret;
use crate::fetch::{FetchEvent, FetchRequest};
use crate::settings::{Api, AuthMode, ModelRef, ModelSettings, ProviderSettings, Settings};
use crate::tools::ToolSpec;

/// A provider of this API with a key and the model `m`, which thinks and sees.
pub(super) fn provider(api: Api) -> ProviderSettings {
    ProviderSettings {
        api,
        api_key: Some(Secret::new("sk-secret")),
        auth_header: api != Api::Anthropic,
        models: vec![ModelSettings {
            reasoning: true,
            images: true,
            context_window: 64_000,
            max_tokens: 8_192,
            ..ModelSettings::new("m")
        }],
        ..ProviderSettings::new("p", "http://127.0.0.1:9")
    }
}

pub(super) fn providers(list: Vec<ProviderSettings>) -> Providers {
    let mut settings = Settings::plain(AuthMode::Token(Secret::new("t")));
    settings.providers = list;
    Providers::new(&settings)
}

pub(super) fn model() -> ModelRef {
    ModelRef::parse("p/m").unwrap()
}

/// What goes out for a question, and its body.
pub(super) fn asked(provider: ProviderSettings, request: &ModelRequest) -> (FetchRequest, Value) {
    let (_, fetch) = providers(vec![provider]).start(Duration::ZERO, &model(), request).unwrap();
    let fetch = fetch.unwrap();
    let body = serde_json::from_slice(&fetch.body).unwrap();
    (fetch, body)
}

pub(super) fn header<'a>(fetch: &'a FetchRequest, name: &str) -> Option<&'a str> {
    fetch.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
}

pub(super) fn head(status: u16, kind: &str) -> FetchEvent {
    FetchEvent::Head { status, headers: vec![("content-type".to_owned(), kind.to_owned())] }
}

pub(super) fn chunk(text: &str) -> FetchEvent {
    FetchEvent::Chunk(Bytes::copy_from_slice(text.as_bytes()))
}

/// What is said when the server does this.
pub(super) fn told(api: Api, events: impl IntoIterator<Item = FetchEvent>) -> Vec<ModelEvent> {
    let request = ModelRequest { messages: vec![Message::user("hi")], ..ModelRequest::default() };
    let (mut stream, _) = providers(vec![provider(api)]).start(Duration::ZERO, &model(), &request).unwrap();
    assert_eq!(stream.api(), api.as_str());
    events.into_iter().flat_map(|event| stream.fetched(event)).collect()
}

/// The content type of a stream.
pub(super) fn streaming(api: Api) -> &'static str {
    if api == Api::Ollama { "application/x-ndjson" } else { "text/event-stream; charset=utf-8" }
}

/// What is said when the server streams this text.
pub(super) fn streamed(api: Api, text: &str) -> Vec<ModelEvent> {
    told(api, [head(200, streaming(api)), chunk(text), FetchEvent::End])
}

/// What is said when the server answers in one piece.
pub(super) fn answered(api: Api, text: &str) -> Vec<ModelEvent> {
    told(api, [head(200, "application/json"), chunk(text), FetchEvent::End])
}

/// The same text in pieces of these sizes, over and over.
pub(super) fn in_pieces(api: Api, text: &str, cuts: &[usize]) -> Vec<ModelEvent> {
    let (mut events, mut rest) = (vec![head(200, streaming(api))], text.as_bytes());
    for cut in cuts.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, after) = rest.split_at((*cut).min(rest.len()));
        events.push(FetchEvent::Chunk(Bytes::copy_from_slice(piece)));
        rest = after;
    }
    events.push(FetchEvent::End);
    told(api, events)
}

pub(super) fn text(words: &str) -> ModelEvent {
    ModelEvent::Text(words.to_owned())
}

pub(super) fn thinking(words: &str) -> ModelEvent {
    ModelEvent::Thinking(words.to_owned())
}

pub(super) fn call(id: &str, name: &str, arguments: &str) -> ModelEvent {
    ModelEvent::ToolCall(tool_call(id, name, arguments))
}

pub(super) fn tool_call(id: &str, name: &str, arguments: &str) -> ToolCall {
    ToolCall { id: id.to_owned(), name: name.to_owned(), arguments: arguments.to_owned() }
}

pub(super) fn done(
    stop_reason: StopReason,
    [input, output, cache_read, cache_write]: [u64; 4],
) -> ModelEvent {
    let total = input + output + cache_read + cache_write;
    ModelEvent::Done { stop_reason, usage: Some(Usage { input, output, cache_read, cache_write, total }) }
}

pub(super) fn failure_of(said: &[ModelEvent]) -> &ModelError {
    match said.last() {
        Some(ModelEvent::Failed(error)) => error,
        other => panic!("no failure: {other:?}"),
    }
}

/// Thoughts that came from this API.
pub(super) fn thought(api: Api, text: &str, signature: &str) -> Block {
    Block::Thinking(Thinking {
        text: text.to_owned(),
        signature: Some(signature.to_owned()),
        api: Some(api.as_str().to_owned()),
    })
}

/// A conversation with everything in it: a system prompt, an image, thoughts of this API, two calls and their
/// results, one with an image and one that has failed, further words, and a tool.
pub(super) fn everything(api: Api, signature: &str) -> ModelRequest {
    let image = || Image { mime: "image/png".to_owned(), base64: "QUJD".into() };
    let user = |blocks| Message { role: Role::User, blocks };
    let result = |id: &str, text: &str, images, is_error| {
        let (id, name, text) = (id.to_owned(), "look".to_owned(), text.to_owned());
        Block::ToolResult(ToolResult { id, name, text, images, is_error })
    };
    ModelRequest {
        system: Some("be brief".to_owned()),
        messages: vec![
            user(vec![Block::Text("what is it?".to_owned()), Block::Image(image())]),
            Message {
                role: Role::Assistant,
                blocks: vec![
                    thought(api, "hm", signature),
                    Block::Text("I look.".to_owned()),
                    Block::ToolCall(tool_call("c1", "look", "{\"at\":1}")),
                    Block::ToolCall(tool_call("c2", "look", "{\"at\"")),
                ],
            },
            user(vec![
                result("c1", "a dot", vec![image()], false),
                result("c2", "no such place", Vec::new(), true),
                Block::Text("and?".to_owned()),
            ]),
        ],
        tools: vec![ToolSpec {
            name: "look".to_owned(),
            description: "Looks.".to_owned(),
            parameters: telson_proto::Json::of(&json!({"type": "object"})),
            strict: Some(true),
        }],
        thinking: Some("medium".to_owned()),
        ..ModelRequest::default()
    }
}

/// A whole answer of each API, with thoughts, words beyond ASCII and a call.
fn recording(api: Api) -> &'static str {
    match api {
        Api::OpenAiChat => super::openai_chat::tests::ANSWER,
        Api::OpenAiResponses => super::openai_responses::tests::ANSWER,
        Api::Anthropic => super::anthropic::tests::ANSWER,
        Api::Ollama => super::ollama::tests::ANSWER,
    }
}

/// Joins neighbours, so that answers in different pieces compare.
fn joined(said: Vec<ModelEvent>) -> Vec<ModelEvent> {
    let mut all: Vec<ModelEvent> = Vec::new();
    for event in said {
        match (all.last_mut(), event) {
            (Some(ModelEvent::Text(text)), ModelEvent::Text(more)) => text.push_str(&more),
            (_, event) => all.push(event),
        }
    }
    all
}

proptest! {
    #[test]
    fn any_chunking_says_the_same(
        api in prop::sample::select(&Api::ALL[..]),
        cuts in prop::collection::vec(1_usize..60, 1..40),
    ) {
        let whole = streamed(api, recording(api));
        let complete = matches!(whole.last(), Some(ModelEvent::Done { .. }));
        prop_assert!(complete, "{whole:?}");
        prop_assert_eq!(joined(in_pieces(api, recording(api), &cuts)), joined(whole));
    }

    #[test]
    fn however_an_answer_is_cut_or_torn_there_is_exactly_one_end(
        api in prop::sample::select(&Api::ALL[..]),
        (from, to) in (0_usize..2_000, 0_usize..2_000),
        junk in "(data: |\\{|\\}|\"error\":|\\[DONE\\]|null|\n|x){0,12}",
    ) {
        let bytes = recording(api).as_bytes();
        let (from, to) = (from.min(bytes.len()), to.min(bytes.len()));
        let text = [&bytes[..from], junk.as_bytes(), &bytes[to..]].concat();
        let piece = || FetchEvent::Chunk(Bytes::from(text.clone()));
        let said = told(api, [head(200, streaming(api)), piece(), FetchEvent::End, piece(), FetchEvent::End]);
        let ends = said.iter().filter(|event| {
            matches!(event, ModelEvent::Done { .. } | ModelEvent::Failed(_))
        });
        prop_assert_eq!(ends.count(), 1);
        let last = matches!(said.last(), Some(ModelEvent::Done { .. } | ModelEvent::Failed(_)));
        prop_assert!(last, "{said:?}");
    }
}

#[test]
fn a_key_never_comes_back_in_an_error() {
    for api in Api::ALL {
        let said = told(
            api,
            [
                head(401, "application/json"),
                chunk("{\"error\":{\"message\":\"bad sk-secret\"}}"),
                FetchEvent::End,
            ],
        );
        assert_eq!(failure_of(&said).message, "401 bad ***", "{api:?}");
    }
}

#[test]
fn a_conversation_goes_to_every_api_without_thoughts_of_another() {
    for (api, other) in [
        (Api::OpenAiChat, Api::Anthropic),
        (Api::OpenAiResponses, Api::Anthropic),
        (Api::Anthropic, Api::OpenAiResponses),
        (Api::Ollama, Api::Anthropic),
    ] {
        let (_, body) = asked(provider(api), &everything(other, "their-proof"));
        let written = body.to_string();
        assert!(!written.contains("their-proof") && !written.contains("\"hm\""), "{api:?}: {written}");
        assert!(written.contains("I look."), "{api:?}: {written}");
    }
}

#[test]
fn a_model_without_eyes_is_told_that_there_were_images() {
    for api in Api::ALL {
        let mut blind = provider(api);
        blind.models[0].images = false;
        let (_, body) = asked(blind, &everything(api, "proof"));
        let written = body.to_string();
        assert!(written.contains("[one image attached; this model cannot see images]"), "{api:?}: {written}");
        assert!(!written.contains("QUJD"), "{api:?}: {written}");
    }
}

#[test]
fn a_model_without_hands_is_offered_no_tools() {
    for api in Api::ALL {
        let mut plain = provider(api);
        plain.models[0].tools = false;
        let (_, body) = asked(plain, &everything(api, "proof"));
        assert_eq!((body.get("tools"), body.get("tool_choice")), (None, None), "{api:?}");
    }
}

#[test]
fn the_limit_of_an_answer_is_the_smaller_one() {
    for (api, name) in [
        (Api::OpenAiChat, "/max_tokens"),
        (Api::OpenAiResponses, "/max_output_tokens"),
        (Api::Anthropic, "/max_tokens"),
        (Api::Ollama, "/options/num_predict"),
    ] {
        let limit = |asked_for: Option<u64>| {
            let request = ModelRequest {
                messages: vec![Message::user("hi")],
                max_tokens: asked_for,
                ..ModelRequest::default()
            };
            asked(provider(api), &request).1.pointer(name).and_then(Value::as_u64)
        };
        assert_eq!(
            [limit(None), limit(Some(99)), limit(Some(99_999))],
            [Some(8_192), Some(99), Some(8_192)],
            "{api:?}"
        );
    }
}

#[test]
fn a_model_may_speak_another_api_than_its_provider() {
    let mut provider = provider(Api::OpenAiChat);
    provider.models[0].api = Some(Api::Anthropic);
    let (fetch, _) = asked(provider, &ModelRequest::default());
    assert_eq!(fetch.url, "http://127.0.0.1:9/v1/messages");
}
