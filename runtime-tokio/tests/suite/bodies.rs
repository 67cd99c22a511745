//! The heads and the bodies of requests.

use std::io::Write as _;

use telson_core::HttpId;
use telson_core::gateway::Input;
use telson_core::http::BodyError;
use telson_host::runtime::Runtime;

use super::client::Client;
use super::stage::{Hasty, Stage};

fn body(stage: &Stage, id: HttpId) -> Result<Vec<u8>, BodyError> {
    match stage.hears() {
        Input::HttpBody { id: of, body } if of == id => body.map(|bytes| bytes.to_vec()),
        other => panic!("{other:?} instead of a body"),
    }
}

fn post(length: usize) -> String {
    format!("POST /p HTTP/1.1\r\nHost: h\r\ncontent-length: {length}\r\n\r\n")
}

const CHUNKED: &str = "POST /p HTTP/1.1\r\nHost: h\r\ntransfer-encoding: chunked\r\n\r\n";

pub fn a_head_comes_whole<R: Runtime>(runtime: &R) {
    let stage = Stage::start(runtime);
    let mut client = Client::connect(stage.addr);
    client.send(b"GET /a%20b?x=1&y HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer t\r\nX-Tide: High\r\nX-Odd: \xff\r\n\r\n");
    let (id, request) = stage.request();
    assert_eq!((request.method.as_str(), request.path.as_str()), ("GET", "/a%20b"));
    assert_eq!((request.query.as_deref(), request.content_length), (Some("x=1&y"), None));
    assert_eq!(
        (request.authorization.as_deref(), request.header("x-tide")),
        (Some("Bearer t"), Some("High"))
    );
    assert_eq!(request.header("x-odd"), Some("\u{fffd}"));
    stage.respond(id, 200, "");
    client.head();
    client.send(post(4).as_bytes());
    let (id, request) = stage.request();
    assert_eq!((request.query, request.content_length), (None, Some(4)));
    stage.respond(id, 200, "");
    client.send(b"tide");
    client.head();
    stage.finish();
}

pub fn a_body_comes_whole_and_the_connection_goes_on<R: Runtime>(runtime: &R) {
    let stage = Stage::start(runtime);
    let mut client = Client::connect(stage.addr);
    let large = "x".repeat(300_000);
    for (request, expected) in [
        (post(4) + "tide", "tide"),
        (post(0), ""),
        (format!("{CHUNKED}4\r\ntide\r\n1;ext=1\r\n!\r\n0\r\n\r\n"), "tide!"),
        (format!("{CHUNKED}0\r\n\r\n"), ""),
        (post(large.len()) + &large, large.as_str()),
    ] {
        client.send(request.as_bytes());
        let (id, _) = stage.request();
        stage.read_body(id, large.len());
        assert_eq!(body(&stage, id).unwrap(), expected.as_bytes());
        stage.respond(id, 200, "moon");
        let head = client.head();
        assert!(head.starts_with("HTTP/1.1 200") && !head.contains("close"), "{head}");
        assert_eq!(client.exactly(4), b"moon");
    }
    stage.finish();
}

pub fn a_client_that_asks_first_is_told_to_go_on<R: Runtime>(runtime: &R) {
    let stage = Stage::start(runtime);
    let mut client = Client::connect(stage.addr);
    client.send(b"POST / HTTP/1.1\r\nHost: h\r\ncontent-length: 4\r\nExpect: 100-continue\r\n\r\n");
    let (id, _) = stage.request();
    stage.read_body(id, 10);
    assert!(client.head().starts_with("HTTP/1.1 100"));
    client.send(b"tide");
    assert_eq!(body(&stage, id).unwrap(), b"tide");
    stage.respond(id, 200, "");
    assert!(client.head().starts_with("HTTP/1.1 200"));
    stage.finish();
}

/// Sends much more than is allowed, and reads the answer meanwhile.
fn refused<R: Runtime>(runtime: &R, head: &str, piece: &[u8]) {
    let stage = Stage::start(runtime);
    let mut client = Client::connect(stage.addr);
    client.send(head.as_bytes());
    let mut upload = client.0.try_clone().unwrap();
    let piece = piece.to_vec();
    let sending = std::thread::spawn(move || while upload.write_all(&piece).is_ok() {});
    let (id, _) = stage.request();
    stage.read_body(id, 100_000);
    assert_eq!(body(&stage, id), Err(BodyError::TooLarge));
    stage.respond(id, 413, "Payload too large");
    let answer = client.head().to_lowercase();
    assert!(answer.starts_with("http/1.1 413") && answer.contains("connection: close"), "{answer}");
    assert_eq!(client.exactly(17), b"Payload too large");
    assert!(client.is_closed());
    sending.join().unwrap();
    stage.finish();
}

pub fn a_body_that_is_declared_too_large_is_refused_while_it_is_sent<R: Runtime>(runtime: &R) {
    refused(runtime, &post(900_000_000), &[b'x'; 50_000]);
}

pub fn a_body_that_grows_too_large_is_refused_while_it_is_sent<R: Runtime>(runtime: &R) {
    refused(runtime, CHUNKED, format!("c350\r\n{}\r\n", "x".repeat(50_000)).as_bytes());
}

pub fn a_body_of_which_nothing_more_comes_is_given_up<R: Runtime>(runtime: &R) {
    let stage = Stage::start(&Hasty(runtime.clone(), 100));
    let mut client = Client::connect(stage.addr);
    client.send((post(10) + "tide").as_bytes());
    let (id, _) = stage.request();
    stage.read_body(id, 10);
    assert_eq!(body(&stage, id), Err(BodyError::Timeout));
    stage.respond(id, 408, "Request body timeout");
    let answer = client.head();
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("connection: close"), "{answer}");
    stage.finish();
}

pub fn what_is_no_body_is_told_so<R: Runtime>(runtime: &R) {
    let stage = Stage::start(runtime);
    let mut client = Client::connect(stage.addr);
    client.send(format!("{CHUNKED}4\r\ntide\r\nnonsense\r\n").as_bytes());
    let (id, _) = stage.request();
    stage.read_body(id, 10);
    assert_eq!(body(&stage, id), Err(BodyError::Broken));
    stage.respond(id, 400, "no");
    assert!(client.head().starts_with("HTTP/1.1 400"));
    stage.finish();
}

pub fn all_bodies_together_are_bounded<R: Runtime>(runtime: &R) {
    let stage = Stage::start(runtime);
    let most = 100 * 1024 * 1024;
    let mut first = Client::connect(stage.addr);
    first.send(post(most).replace("\r\n\r\n", "\r\nExpect: 100-continue\r\n\r\n").as_bytes());
    let (held, _) = stage.request();
    stage.read_body(held, most);
    assert!(first.head().starts_with("HTTP/1.1 100"), "its memory is reserved");
    let mut second = Client::connect(stage.addr);
    second.send((post(most) + "x").as_bytes());
    let (id, _) = stage.request();
    stage.read_body(id, most);
    let answer = second.head();
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("retry-after: 1"), "{answer}");
    stage.hears_gone(id);
    drop(first);
    stage.hears_gone(held);
    let mut third = Client::connect(stage.addr);
    third.send((post(most) + "x").as_bytes());
    let (id, _) = stage.request();
    stage.read_body(id, most);
    stage.respond(id, 200, "an answer may come before the body");
    assert!(third.head().starts_with("HTTP/1.1 200"));
    stage.finish();
}
