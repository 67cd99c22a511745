//! Chat completions as they come (spec 04 §7.3, §7.4, §5.4).

use super::*;

const PATH: &str = "/v1/chat/completions";

fn stream(text: &str) -> Value {
    let mut body = say(text);
    body["stream"] = true.into();
    body
}

#[test]
fn a_stream_has_the_pieces_that_programs_expect_byte_for_byte() {
    let mut world = world();
    let mut body = stream("what moves the sea?");
    body["stream_options"] = json!({"include_usage": true});
    let id = post(&mut world, PATH, body);
    let head = response(&world, id);
    assert_eq!((head.status, header(&head, "content-type")), (200, Some("text/event-stream; charset=utf-8")));
    assert_eq!(
        (header(&head, "cache-control"), header(&head, "x-accel-buffering")),
        (Some("no-cache"), Some("no"))
    );
    let (fetch, _) = world.fetch();
    world.head(fetch);
    world.words(fetch, "tide");
    world.words(fetch, " and moon");
    world.done(fetch);
    let (_, text) = world.answered(id).unwrap();
    let name = events(&text)[0]["id"].as_str().unwrap().to_owned();
    let common =
        format!(r#""id":"{name}","object":"chat.completion.chunk","created":1769767200,"model":"openclaw""#);
    let piece = |delta: &str, finish: &str| {
        format!(
            "data: {{{common},\"choices\":[{{\"index\":0,\"delta\":{delta},\"logprobs\":null,\"finish_reason\":{finish}}}]}}\n\n"
        )
    };
    let expected = [
        piece(r#"{"role":"assistant"}"#, "null"),
        piece(r#"{"content":"tide"}"#, "null"),
        piece(r#"{"content":" and moon"}"#, "null"),
        piece("{}", "\"stop\""),
        format!(
            "data: {{{common},\"choices\":[],\"usage\":{{\"prompt_tokens\":10,\"completion_tokens\":5,\"total_tokens\":15,\"prompt_tokens_details\":{{\"cached_tokens\":0}}}}}}\n\n"
        ),
        "data: [DONE]\n\n".to_owned(),
    ];
    assert_eq!(text, expected.concat());
}

#[test]
fn the_first_piece_comes_at_once_and_silence_is_filled() {
    let mut world = world();
    let id = post(&mut world, PATH, stream("hi"));
    assert_eq!(so_far(&world, id).matches("\"role\"").count(), 1);
    world.advance(14_999);
    assert!(!so_far(&world, id).contains(": keepalive"));
    world.advance(1);
    assert!(so_far(&world, id).ends_with(": keepalive\n\n"));
    let (fetch, _) = world.fetch();
    world.head(fetch);
    world.words(fetch, "tide");
    world.advance(14_000);
    assert_eq!(so_far(&world, id).matches(": keepalive").count(), 1, "words fill it too");
    world.done(fetch);
    world.advance(60_000);
    assert_eq!(so_far(&world, id).matches(": keepalive").count(), 1, "and so does the end");
}

#[test]
fn a_run_that_says_nothing_streams_the_stand_in() {
    let mut world = world();
    let id = post(&mut world, PATH, stream("hi"));
    world.answer("NO_REPLY");
    let (_, text) = world.answered(id).unwrap();
    let events = events(&text);
    assert_eq!(events[1]["choices"][0]["delta"]["content"], "No response from OpenClaw.");
    assert_eq!((events.len(), &events[2]["choices"][0]["finish_reason"]), (3, &json!("stop")));
    assert!(!text.contains("NO_REPLY"));
}

#[test]
fn a_failure_in_a_stream_is_an_error_and_the_end() {
    for words in ["", "tide"] {
        let mut world = world();
        let id = post(&mut world, PATH, stream("hi"));
        let (fetch, _) = world.fetch();
        world.head(fetch);
        if !words.is_empty() {
            world.words(fetch, words);
        }
        let error = json!({"error": {"message": "sk-123"}});
        world.chunk(fetch, &format!("data: {error}\n\n"));
        world.input(Input::Fetch { id: fetch, event: crate::fetch::FetchEvent::End });
        let (status, text) = world.answered(id).unwrap();
        assert_eq!(status, 200);
        assert!(
            text.ends_with("data: {\"error\":{\"code\":null,\"message\":\"internal error\",\"param\":null,\"type\":\"api_error\"}}\n\ndata: [DONE]\n\n"),
            "{text}"
        );
        assert!(!text.contains("finish_reason\":\"stop") && !text.contains("sk-123"));
    }
}

#[test]
fn an_abort_in_a_stream_is_an_error_and_a_disconnect_is_an_abort() {
    let mut world = world();
    let id = post(&mut world, PATH, stream("hi"));
    let (fetch, _) = world.fetch();
    world.head(fetch);
    world.words(fetch, "tide");
    let run = world.shelf.open_runs.keys().next().unwrap().clone();
    world.gateway.abort_run(&run, "rpc");
    drain(&mut world);
    assert!(world.answered(id).unwrap().1.contains("internal error"));

    let id = post(&mut world, PATH, stream("hi"));
    let (fetch, _) = world.fetch();
    world.head(fetch);
    world.words(fetch, "tide");
    world.input(Input::HttpGone { id });
    assert_eq!((world.fetches.len(), world.gateway.runs.open()), (0, 0));
    assert_eq!(world.answered(id), None);
    let before = world.answers.len();
    world.advance(60_000);
    assert_eq!(world.answers.len(), before, "nothing more is said to who is gone");
}

#[test]
fn too_many_runs_are_refused_before_a_stream_is_begun() {
    let mut world = world();
    world.hold = true;
    let mut last = None;
    for n in 0..1_100 {
        // Runs of other clients, whose requests are not counted here.
        let id = post(&mut world, PATH, stream(&format!("{n}")));
        world.gateway.api.pending.clear();
        last = Some(id);
    }
    let response = response(&world, last.unwrap());
    assert_eq!((response.status, header(&response, "x-should-retry")), (503, Some("true")));
    assert_eq!(header(&response, "retry-after"), Some("5"));
}
