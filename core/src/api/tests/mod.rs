#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::needless_pass_by_value)]

mod chat;
mod entering;
mod media;
mod models;
mod responses;
mod sessions;
mod streams;
mod targets;
mod tools;

use std::net::IpAddr;

use serde_json::{Value, json};
use telson_proto::{Scope, Scopes};

use crate::auth::Secret;
use crate::gateway::Input;
use crate::http::{HttpRequest, HttpResponse};
use crate::ids::{FetchId, HttpId};
use crate::ingress::network;
use crate::peer::Peer;
use crate::providers::ErrorKind;
use crate::providers::request::ToolCall;
use crate::runs::RunResult;
use crate::settings::{AuthMode, Settings};
use crate::testing::{Piece, World};

/// A gateway with both endpoints on, whose model server is played by the test.
fn world() -> World {
    world_with(|_| {})
}

fn world_with(change: impl FnOnce(&mut Settings)) -> World {
    World::with_model_and(|settings| {
        settings.api.chat.enabled = true;
        settings.api.responses.enabled = true;
        change(settings);
    })
}

/// A request with the right secret.
fn request(method: &str, path: &str) -> HttpRequest {
    HttpRequest {
        peer: Peer::at(IpAddr::from([203, 0, 113, 9])),
        method: method.to_owned(),
        path: path.to_owned(),
        query: None,
        authorization: Some("Bearer t".to_owned()),
        headers: Vec::new(),
        content_length: None,
        wants_websocket: false,
    }
}

/// A gateway that takes the users whom a proxy at 10.0.0.2 names; Ada may do everything.
fn vouching_world() -> World {
    world_with(|settings| {
        settings.auth.mode = AuthMode::TrustedProxy { password: Some(Secret::new("a local password")) };
        settings.auth.ingress.trusted_proxies = vec![network("10.0.0.2").unwrap()];
        settings.auth.trusted_proxy.user_header = "x-user".to_owned();
        let ada = ("ada".to_owned(), Scopes::from_iter([Scope::Admin]));
        settings.auth.trusted_proxy.identity_scopes = [ada].into();
    })
}

/// A request of a user, as that proxy passes it on.
fn vouched(user: &str, method: &str, path: &str) -> HttpRequest {
    let mut request = with_header(request(method, path), "x-forwarded-for", "203.0.113.9");
    request.peer = Peer::at(IpAddr::from([10, 0, 0, 2]));
    request.authorization = None;
    with_header(request, "x-user", user)
}

fn with_header(mut request: HttpRequest, name: &str, value: &str) -> HttpRequest {
    request.headers.push((name.to_owned(), value.to_owned()));
    request
}

fn post(world: &mut World, path: &str, body: Value) -> HttpId {
    world.http(request("POST", path), body.to_string())
}

fn get(world: &mut World, path: &str) -> (u16, Value) {
    let id = world.http(request("GET", path), "");
    answer(world, id)
}

/// The whole answer as JSON.
fn answer(world: &World, id: HttpId) -> (u16, Value) {
    let (status, body) = world.answered(id).expect("an answer");
    (status, serde_json::from_str(&body).unwrap_or_else(|_| panic!("JSON: {body}")))
}

/// The answer of a request that is refused at once.
fn refused(world: &mut World, path: &str, body: Value) -> (u16, String) {
    let id = post(world, path, body);
    let (status, body) = answer(world, id);
    (status, body["error"]["message"].as_str().unwrap().to_owned())
}

fn response(world: &World, id: HttpId) -> HttpResponse {
    let whole = world.answers.iter().find_map(|(of, piece)| match piece {
        Piece::Whole(response) | Piece::Head(response) if *of == id => Some(response.clone()),
        _ => None,
    });
    whole.expect("an answer")
}

fn header<'a>(response: &'a HttpResponse, name: &str) -> Option<&'a str> {
    response.headers.iter().find(|(found, _)| *found == name).map(|(_, value)| value.as_str())
}

/// What of a stream has come so far.
fn so_far(world: &World, id: HttpId) -> String {
    let chunks = world.answers.iter().filter_map(|(of, piece)| match piece {
        Piece::Chunk(chunk) if *of == id => Some(String::from_utf8(chunk.to_vec()).unwrap()),
        _ => None,
    });
    chunks.collect()
}

/// The data of the events of a stream; the last must be the end.
fn events(text: &str) -> Vec<Value> {
    let mut events: Vec<&str> = text.split("\n\n").filter(|event| !event.is_empty()).collect();
    assert_eq!(events.pop(), Some("data: [DONE]"), "{text}");
    let data = events.iter().map(|event| {
        let line = event.lines().find_map(|line| line.strip_prefix("data: ")).expect("data");
        let value: Value = serde_json::from_str(line).unwrap();
        if let Some(name) = event.lines().find_map(|line| line.strip_prefix("event: ")) {
            assert_eq!(value["type"], name, "the name of an event is its type");
        }
        value
    });
    data.collect()
}

/// The run of the only request ends with calls of the client's tools.
fn model_calls(world: &mut World, fetch: FetchId, calls: &[(&str, &str, &str)]) {
    let run = world.shelf.open_runs.keys().next().unwrap().clone();
    let id = *world.gateway.api.pending.keys().next().unwrap();
    let text = world.gateway.runs.get(&run).unwrap().text().to_owned();
    let call = |(id, name, arguments): &(&str, &str, &str)| ToolCall {
        id: (*id).to_owned(),
        name: (*name).to_owned(),
        arguments: (*arguments).to_owned(),
    };
    let session = world.shelf.sessions.values().last().unwrap().session.clone();
    let result = RunResult {
        texts: Some(text).filter(|text| !text.is_empty()).into_iter().collect(),
        client_calls: calls.iter().map(call).collect(),
        stop_reason: "toolUse",
        failure: None,
        session,
        ..RunResult::failed(ErrorKind::Unknown, "")
    };
    world.gateway.api_run_ended(id, &run, result);
    world.refuse(fetch, 400, "over");
}

/// Lets the gateway do what was put before it by hand.
fn drain(world: &mut World) {
    world.input(Input::HttpGone { id: HttpId(0) });
}

fn say(text: &str) -> Value {
    json!({"model": "openclaw", "messages": [{"role": "user", "content": text}]})
}

/// The words and the system prompt of the only question to the model server.
fn asked(world: &World) -> (String, String) {
    let (_, body) = world.fetch();
    let messages = body["messages"].as_array().unwrap().clone();
    let system = messages.iter().find(|message| message["role"] == "system");
    let system = system.and_then(|message| message["content"].as_str()).unwrap_or_default().to_owned();
    let last = messages.last().unwrap()["content"].clone();
    let words = match last {
        Value::String(words) => words,
        parts => parts[0]["text"].as_str().unwrap_or_default().to_owned(),
    };
    (words, system)
}
