//! Servers that speak streamable HTTP.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::{Value, json};

use super::super::settings::McpTransport;
use super::{answer, call, ended, hello, offered, server, state, tools};
use crate::fetch::{FetchError, FetchEvent, FetchRequest, Reach};
use crate::gateway::Input;
use crate::ids::FetchId;
use crate::testing::World;

fn world() -> World {
    let headers = BTreeMap::from([("Authorization".to_owned(), "Bearer secret".to_owned())]);
    let transport = McpTransport::Http { url: "http://127.0.0.1:9/mcp".to_owned(), headers };
    World::with(|settings| settings.mcp = vec![server("far", transport)])
}

/// The request that carries this method.
fn asked(world: &World, method: &str) -> (FetchId, FetchRequest, Value) {
    let all = world.fetches.iter().map(|(id, request)| {
        (*id, request.clone(), serde_json::from_slice::<Value>(&request.body).unwrap_or_default())
    });
    all.into_iter().find(|(_, _, body)| body["method"] == method).unwrap_or_else(|| panic!("no {method}"))
}

fn header<'a>(request: &'a FetchRequest, name: &str) -> Option<&'a str> {
    request.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
}

fn head(world: &mut World, id: FetchId, status: u16, kind: &str) {
    let headers =
        vec![("content-type".to_owned(), kind.to_owned()), ("mcp-session-id".to_owned(), "s-1".to_owned())];
    world.input(Input::Fetch { id, event: FetchEvent::Head { status, headers } });
}

fn chunk(world: &mut World, id: FetchId, text: &str) {
    world.input(Input::Fetch { id, event: FetchEvent::Chunk(Bytes::copy_from_slice(text.as_bytes())) });
}

fn end(world: &mut World, id: FetchId) {
    world.input(Input::Fetch { id, event: FetchEvent::End });
}

fn reply(world: &mut World, method: &str, result: Value) {
    let (id, _, body) = asked(world, method);
    head(world, id, 200, "application/json");
    chunk(world, id, &answer(&body["id"], result));
    end(world, id);
}

fn ready() -> World {
    let mut world = world();
    reply(&mut world, "initialize", hello());
    let (id, _, _) = asked(&world, "notifications/initialized");
    head(&mut world, id, 202, "text/plain");
    end(&mut world, id);
    reply(&mut world, "tools/list", tools(&["echo"]));
    assert_eq!(offered(&world), ["far__echo"]);
    world
}

#[test]
fn the_session_and_the_version_go_with_every_message_after_the_first() {
    let mut world = world();
    let (_, first, _) = asked(&world, "initialize");
    assert_eq!((first.method, first.reach), ("POST", Reach::Anywhere));
    assert_eq!(header(&first, "accept"), Some("application/json, text/event-stream"));
    assert_eq!(header(&first, "authorization"), Some("Bearer secret"));
    assert_eq!((header(&first, "mcp-session-id"), header(&first, "mcp-protocol-version")), (None, None));
    reply(&mut world, "initialize", hello());
    for method in ["notifications/initialized", "tools/list"] {
        let (_, request, _) = asked(&world, method);
        assert_eq!(header(&request, "mcp-session-id"), Some("s-1"));
        assert_eq!(header(&request, "mcp-protocol-version"), Some("2025-06-18"));
    }
}

#[test]
fn an_answer_may_come_as_a_stream_of_events_in_any_pieces() {
    let mut world = ready();
    let call = call(&mut world, "far__echo", json!({"message": "hi"}));
    let (id, _, body) = asked(&world, "tools/call");
    head(&mut world, id, 200, "text/event-stream; charset=utf-8");
    let progress = json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": {}});
    let result = answer(&body["id"], json!({"content": [{"type": "text", "text": "Echo: hi"}]}));
    let stream = format!(": hello\n\nid: 1\ndata: {progress}\n\nid: 2\ndata: {result}\n\n");
    let (first, second) = stream.split_at(stream.len() / 2);
    chunk(&mut world, id, first);
    assert_eq!(ended(&world, call), None);
    chunk(&mut world, id, second);
    assert!(ended(&world, call).unwrap().text.contains("Echo: hi"));
    end(&mut world, id);
    assert!(world.gateway.tools.is_idle() && world.fetches.is_empty());
}

#[test]
fn a_forgotten_session_is_begun_anew() {
    let mut world = ready();
    let lost = call(&mut world, "far__echo", json!({}));
    let (id, _, _) = asked(&world, "tools/call");
    head(&mut world, id, 404, "text/plain");
    end(&mut world, id);
    assert!(ended(&world, lost).unwrap().text.contains("has forgotten this session"));
    world.advance(1_000);
    let (_, again, _) = asked(&world, "initialize");
    assert_eq!(header(&again, "mcp-session-id"), None);
}

#[test]
fn every_way_to_give_no_answer_is_told() {
    let mut world = ready();
    let refused = call(&mut world, "far__echo", json!({}));
    let (id, _, _) = asked(&world, "tools/call");
    head(&mut world, id, 500, "text/plain");
    chunk(&mut world, id, "boom");
    end(&mut world, id);
    assert!(ended(&world, refused).unwrap().text.contains("answered with HTTP 500 boom"));

    let silent = call(&mut world, "far__echo", json!({}));
    let (id, _, _) = asked(&world, "tools/call");
    head(&mut world, id, 200, "text/event-stream");
    end(&mut world, id);
    assert!(ended(&world, silent).unwrap().text.contains("has sent no answer"));

    let broken = call(&mut world, "far__echo", json!({}));
    let (id, _, _) = asked(&world, "tools/call");
    let event = FetchEvent::Failed(FetchError::Broken("reset".to_owned()));
    world.input(Input::Fetch { id, event });
    assert!(ended(&world, broken).unwrap().is_error);
    assert_eq!(state(&world, 0), "ready");

    let huge = call(&mut world, "far__echo", json!({}));
    let (id, _, _) = asked(&world, "tools/call");
    head(&mut world, id, 200, "application/json");
    chunk(&mut world, id, &"x".repeat(4_200_000));
    assert!(ended(&world, huge).unwrap().text.contains("too large"));
    assert_eq!((state(&world, 0), world.fetches.len()), ("resting", 0));
}

#[test]
fn a_server_that_cannot_be_reached_is_tried_again() {
    let mut world = world();
    let (id, _, _) = asked(&world, "initialize");
    let error = FetchError::Connect { host: "127.0.0.1".to_owned(), reason: "refused".to_owned() };
    world.input(Input::Fetch { id, event: FetchEvent::Failed(error) });
    assert_eq!(state(&world, 0), "resting");
    world.advance(1_000);
    asked(&world, "initialize");
}

#[test]
fn a_call_that_is_given_up_is_cancelled_and_its_request_dropped() {
    let mut world = ready();
    let given_up = call(&mut world, "far__echo", json!({}));
    world.gateway.abort_tool(given_up);
    world.input(Input::Timeout);
    asked(&world, "notifications/cancelled");
    assert_eq!(world.fetches.len(), 1);
}

#[test]
fn the_session_is_ended_with_the_gateway() {
    let mut world = ready();
    world.input(Input::Stop { reason: "test".to_owned(), restart_expected: None });
    let (_, last) = world.fetches.last().unwrap();
    assert_eq!((last.method, header(last, "mcp-session-id")), ("DELETE", Some("s-1")));
    assert!(world.stopped);
}
