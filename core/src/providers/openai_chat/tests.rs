#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use proptest::prelude::*;

use super::super::request::Message;
use super::*;
use crate::auth::Secret;
use crate::fetch::FetchError;

fn provider() -> Arc<ProviderSettings> {
    Arc::new(ProviderSettings {
        id: "local".to_owned(),
        base_url: "http://127.0.0.1:9/v1".to_owned(),
        api_key: Some(Secret::new("sk-secret")),
        auth_header: true,
        headers: vec![("X-Team".to_owned(), "a".to_owned())],
        models: Vec::new(),
    })
}

fn started() -> (OpenAiChat, FetchRequest) {
    let request = ModelRequest { messages: vec![Message::user("hi")], ..ModelRequest::default() };
    OpenAiChat::start(provider(), &ModelRef::parse("local/fake/1").unwrap(), &request)
}

fn head(status: u16) -> FetchEvent {
    FetchEvent::Head { status, headers: vec![("content-type".to_owned(), "text/event-stream".to_owned())] }
}

fn chunk(text: &str) -> FetchEvent {
    FetchEvent::Chunk(Bytes::copy_from_slice(text.as_bytes()))
}

fn told(events: impl IntoIterator<Item = FetchEvent>) -> Vec<ModelEvent> {
    let (mut stream, _) = started();
    events.into_iter().flat_map(|event| stream.fetched(event)).collect()
}

fn words(said: &[ModelEvent]) -> String {
    said.iter()
        .filter_map(|event| if let ModelEvent::Text(text) = event { Some(text.as_str()) } else { None })
        .collect()
}

fn failure_of(said: &[ModelEvent]) -> &ModelError {
    let Some(ModelEvent::Failed(error)) = said.last() else { unreachable!("{said:?}") };
    error
}

const ANSWER: &str = concat!(
    "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n",
    ": keep-alive\n\n",
    "data: {\"choices\":[{\"delta\":{\"reasoning_content\":\"hm\"}}]}\n\n",
    "data: {\"choices\":[{\"delta\":{\"content\":\"Grüße\"}}]}\r\n\r\n",
    "data: {\"choices\":[{\"delta\":{\"content\":\" dir\"},\"finish_reason\":null}]}\n\n",
    "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n",
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":12,\"completion_tokens\":4,\"total_tokens\":16,",
    "\"prompt_tokens_details\":{\"cached_tokens\":5}}}\n\n",
    "data: [DONE]\n\n",
);

fn answered() -> Vec<ModelEvent> {
    let usage = Usage { input: 7, output: 4, cache_read: 5, cache_write: 0, total: 16 };
    vec![
        ModelEvent::Thinking("hm".to_owned()),
        ModelEvent::Text("Grüße".to_owned()),
        ModelEvent::Text(" dir".to_owned()),
        ModelEvent::Done { stop_reason: StopReason::Stop, usage: Some(usage) },
    ]
}

#[test]
fn the_request_goes_to_the_configured_place_with_the_key() {
    let (_, fetch) = started();
    assert_eq!((fetch.method, fetch.url.as_str()), ("POST", "http://127.0.0.1:9/v1/chat/completions"));
    let header = |name: &str| fetch.headers.iter().find(|(found, _)| found == name).unwrap().1.clone();
    assert_eq!(header("authorization"), "Bearer sk-secret");
    assert_eq!(header("x-team"), "a");
    let body: Value = serde_json::from_slice(&fetch.body).unwrap();
    assert_eq!(body["model"], "fake/1");
}

#[test]
fn an_answer_streams_and_ends_once() {
    assert_eq!(told([head(200), chunk(ANSWER), FetchEvent::End]), answered());
}

#[test]
fn the_finish_reason_is_passed_on() {
    let end = |reason: &str| {
        let text = format!("data: {{\"choices\":[{{\"delta\":{{}},\"finish_reason\":\"{reason}\"}}]}}\n\n");
        told([head(200), chunk(&text), FetchEvent::End])
    };
    assert_eq!(end("length"), [ModelEvent::Done { stop_reason: StopReason::Length, usage: None }]);
    assert_eq!(end("tool_calls"), [ModelEvent::Done { stop_reason: StopReason::ToolUse, usage: None }]);
    assert_eq!(failure_of(&end("content_filter")).kind, ErrorKind::Refusal);
}

#[test]
fn an_answer_without_a_finish_reason_is_cut() {
    let part = "data: {\"choices\":[{\"delta\":{\"content\":\"Hel\"}}]}\n\n";
    for end in [FetchEvent::End, chunk("data: [DONE]\n\n"), chunk("data: {\"choices\":[{\"del\n\n")] {
        let said = told([head(200), chunk(part), end]);
        assert_eq!(words(&said), "Hel");
        assert_eq!(failure_of(&said).kind, ErrorKind::Unknown);
    }
}

#[test]
fn a_finished_answer_is_whole_though_done_is_missing_or_the_line_breaks() {
    let finish = "data: {\"choices\":[{\"delta\":{\"content\":\"x\"},\"finish_reason\":\"stop\"}]}\n\n";
    let broken = FetchEvent::Failed(FetchError::Broken("reset".to_owned()));
    for end in [FetchEvent::End, broken] {
        let said = told([head(200), chunk(finish), end]);
        assert!(matches!(said.last(), Some(ModelEvent::Done { .. })), "{said:?}");
    }
}

#[test]
fn silence_and_refused_connections_are_told_with_the_provider() {
    let said = told([FetchEvent::Failed(FetchError::Timeout(Duration::from_secs(120)))]);
    assert_eq!(failure_of(&said).message, "local: no answer within 120 s");
    assert_eq!(failure_of(&said).kind, ErrorKind::Timeout);
    let refused = FetchError::Connect { host: "127.0.0.1:9".to_owned(), reason: "refused".to_owned() };
    assert_eq!(
        failure_of(&told([FetchEvent::Failed(refused)])).message,
        "local: cannot connect to 127.0.0.1:9: refused"
    );
}

#[test]
fn an_http_error_speaks_with_the_providers_words() {
    let said =
        told([head(400), chunk("{\"error\":{\"message\":\"bad "), chunk("request\"}}"), FetchEvent::End]);
    assert_eq!(failure_of(&said).message, "400 bad request");
    assert_eq!(failure_of(&said).status, Some(400));
    let cut = told([head(503), chunk("busy"), FetchEvent::Failed(FetchError::Broken("reset".to_owned()))]);
    assert_eq!(failure_of(&cut).message, "503 busy");
    let endless = told([head(500), chunk(&"x".repeat(200_000)), FetchEvent::End]);
    assert!(failure_of(&endless).message.len() < 1_000);
}

#[test]
fn an_error_in_the_stream_ends_it() {
    let text = "data: {\"error\":{\"message\":\"overloaded\",\"code\":503}}\n\ndata: [DONE]\n\n";
    let said = told([head(200), chunk(text), FetchEvent::End]);
    assert_eq!(said.len(), 1);
    assert_eq!((failure_of(&said).message.as_str(), failure_of(&said).status), ("overloaded", Some(503)));
}

#[test]
fn a_server_that_does_not_stream_is_understood() {
    let json = FetchEvent::Head {
        status: 200,
        headers: vec![("content-type".to_owned(), "application/json; charset=utf-8".to_owned())],
    };
    let body =
        r#"{"choices":[{"message":{"content":[{"type":"text","text":"Hi"}]},"finish_reason":"stop"}]}"#;
    let said = told([json, chunk(&body[..20]), chunk(&body[20..]), FetchEvent::End]);
    assert_eq!(words(&said), "Hi");
    assert!(matches!(said.last(), Some(ModelEvent::Done { .. })));
}

#[test]
fn an_endless_answer_is_stopped() {
    let piece =
        format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{}\"}}}}]}}\n\n", "x".repeat(1_000_000));
    let said = told([head(200), chunk(&piece), chunk(&piece), chunk(&piece), chunk(&piece), chunk(&piece)]);
    assert!(failure_of(&said).message.contains("longer than"));
}

proptest! {
    #[test]
    fn any_chunking_says_the_same(cuts in prop::collection::vec(1_usize..40, 1..40)) {
        let (mut pieces, mut rest) = (vec![head(200)], ANSWER.as_bytes());
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, after) = rest.split_at((*cut).min(rest.len()));
            pieces.push(FetchEvent::Chunk(Bytes::copy_from_slice(piece)));
            rest = after;
        }
        pieces.push(FetchEvent::End);
        prop_assert_eq!(told(pieces), answered());
    }

    #[test]
    fn whatever_comes_there_is_exactly_one_end(text in "(data: |\\{|\\}|\"choices\"|:|\\[DONE\\]|\n|x){0,60}") {
        let said = told([head(200), chunk(&text), FetchEvent::End, FetchEvent::End]);
        let ends = said.iter().filter(|event| matches!(event, ModelEvent::Done { .. } | ModelEvent::Failed(_))).count();
        prop_assert_eq!(ends, 1);
    }
}
