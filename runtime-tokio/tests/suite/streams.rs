//! Answers that come in pieces, and clients that do not wait for them.

use std::net::Shutdown;

use telson_core::gateway::Input;
use telson_host::runtime::Runtime;

use super::client::Client;
use super::stage::{Hasty, Stage};

const GET: &str = "GET /stream HTTP/1.1\r\nHost: h\r\n\r\n";

fn piece(client: &mut Client, text: &str) {
    let expected = format!("{:X}\r\n{text}\r\n", text.len());
    assert_eq!(String::from_utf8(client.exactly(expected.len())).unwrap(), expected);
}

pub fn pieces_arrive_one_by_one_and_the_connection_goes_on<R: Runtime>(runtime: &R) {
    let stage = Stage::start(runtime);
    let mut client = Client::connect(stage.addr);
    for _ in 0..2 {
        client.send(GET.as_bytes());
        let (id, _) = stage.request();
        stage.begin(id);
        let head = client.head();
        assert!(head.starts_with("HTTP/1.1 200") && head.contains("text/event-stream"), "{head}");
        assert!(head.contains("transfer-encoding: chunked"), "{head}");
        for text in ["data: tide\n\n", "data: moon\n\n"] {
            stage.chunk(id, text);
            piece(&mut client, text);
        }
        stage.chunk(id, "");
        stage.end(id);
        assert_eq!(client.exactly(5), b"0\r\n\r\n");
    }
    stage.finish();
}

pub fn requests_sent_at_once_are_answered_in_order<R: Runtime>(runtime: &R) {
    let stage = Stage::start(runtime);
    let mut client = Client::connect(stage.addr);
    client.send(format!("{GET}{GET}{GET}").as_bytes());
    for n in 0..3 {
        let (id, _) = stage.request();
        assert!(stage.has_heard().is_none(), "the next one waits");
        if n == 1 {
            stage.respond(id, 200, "whole");
            client.head();
            assert_eq!(client.exactly(5), b"whole");
        } else {
            stage.begin(id);
            stage.chunk(id, "tide");
            stage.end(id);
            client.head();
            piece(&mut client, "tide");
            client.exactly(5);
        }
    }
    stage.finish();
}

pub fn an_old_client_reads_to_the_end_of_the_connection<R: Runtime>(runtime: &R) {
    let stage = Stage::start(runtime);
    let mut client = Client::connect(stage.addr);
    client.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    let (id, _) = stage.request();
    stage.begin(id);
    let head = client.head();
    assert!(head.contains("connection: close") && !head.contains("chunked"), "{head}");
    stage.chunk(id, "tide ");
    assert_eq!(client.exactly(5), b"tide ");
    stage.chunk(id, "moon");
    stage.end(id);
    assert_eq!(client.exactly(4), b"moon");
    assert!(client.is_closed());
    stage.finish();
}

pub fn head_gets_the_head_of_a_stream<R: Runtime>(runtime: &R) {
    let stage = Stage::start(runtime);
    let mut client = Client::connect(stage.addr);
    client.send(b"HEAD /stream HTTP/1.1\r\nHost: h\r\n\r\n");
    let (id, _) = stage.request();
    stage.begin(id);
    stage.chunk(id, "tide");
    stage.end(id);
    assert!(client.head().starts_with("HTTP/1.1 200"));
    client.send(GET.as_bytes());
    let (id, _) = stage.request();
    stage.respond(id, 200, "moon");
    assert!(client.head().starts_with("HTTP/1.1 200"), "nothing came between");
    stage.finish();
}

pub fn a_client_that_reads_nothing_is_given_up<R: Runtime>(runtime: &R) {
    let stage = Stage::start(runtime);
    let mut client = Client::connect(stage.addr);
    client.send(GET.as_bytes());
    let (id, _) = stage.request();
    stage.begin(id);
    // The operating system keeps some megabytes for the client; the driver keeps no more than its limit.
    for _ in 0..400 {
        stage.chunk(id, vec![b'x'; 256 * 1024]);
    }
    stage.hears_gone(id);
    assert!(client.is_closed());
    stage.finish();
}

pub fn a_client_that_leaves_while_it_sends_is_gone_once<R: Runtime>(runtime: &R) {
    let stage = Stage::start(runtime);
    let mut client = Client::connect(stage.addr);
    client.send(b"POST / HTTP/1.1\r\nHost: h\r\ncontent-length: 10\r\n\r\ntide");
    let (id, _) = stage.request();
    stage.read_body(id, 10);
    drop(client);
    stage.hears_gone(id);
    // What is said to nobody disturbs nobody.
    stage.respond(id, 200, "too late");
    stage.finish();
}

pub fn a_client_that_leaves_while_it_waits_is_gone_once<R: Runtime>(runtime: &R) {
    let stage = Stage::start(runtime);
    for request in [GET, "POST / HTTP/1.1\r\nHost: h\r\ncontent-length: 4\r\n\r\ntide"] {
        let mut client = Client::connect(stage.addr);
        client.send(request.as_bytes());
        let (id, _) = stage.request();
        drop(client);
        stage.hears_gone(id);
    }
    // The body is read, and the answer takes its time.
    let mut client = Client::connect(stage.addr);
    client.send(b"POST / HTTP/1.1\r\nHost: h\r\ncontent-length: 4\r\n\r\ntide");
    let (id, _) = stage.request();
    stage.read_body(id, 10);
    assert!(matches!(stage.hears(), Input::HttpBody { .. }));
    drop(client);
    stage.hears_gone(id);
    stage.finish();
}

pub fn a_client_that_leaves_its_stream_is_gone_once<R: Runtime>(runtime: &R) {
    let stage = Stage::start(runtime);
    let mut client = Client::connect(stage.addr);
    client.send(GET.as_bytes());
    let (id, _) = stage.request();
    stage.begin(id);
    stage.chunk(id, "tide");
    client.head();
    drop(client);
    // Only what is written to it shows that it is gone, as the keep-alives of a stream are.
    stage.chunk(id, "moon");
    stage.hears_gone(id);
    stage.chunk(id, "too late");
    stage.end(id);
    stage.finish();
}

pub fn a_client_that_sends_nothing_more_still_gets_its_answer<R: Runtime>(runtime: &R) {
    let stage = Stage::start(&Hasty(runtime.clone(), 100));
    let mut client = Client::connect(stage.addr);
    client.send(GET.as_bytes());
    client.0.shutdown(Shutdown::Write).unwrap();
    let (id, _) = stage.request();
    assert!(client.head().starts_with("HTTP/1.1 100"), "it is asked whether it is there");
    stage.begin(id);
    stage.chunk(id, "tide");
    assert!(client.head().starts_with("HTTP/1.1 200"));
    piece(&mut client, "tide");
    stage.chunk(id, "moon");
    piece(&mut client, "moon");
    stage.end(id);
    assert_eq!(client.exactly(5), b"0\r\n\r\n");
    assert!(client.is_closed());
    stage.finish();
}

pub fn a_client_that_has_its_answer_is_not_gone<R: Runtime>(runtime: &R) {
    let stage = Stage::start(runtime);
    for streamed in [false, true] {
        let mut client = Client::connect(stage.addr);
        client.send(GET.as_bytes());
        let (id, _) = stage.request();
        if streamed {
            stage.begin(id);
            stage.end(id);
        } else {
            stage.respond(id, 200, "tide");
        }
        client.head();
        drop(client);
    }
    stage.finish();
}

pub fn last_words_are_heard_before_the_end<R: Runtime>(runtime: &R) {
    let stage = Stage::start(runtime);
    let mut whole = Client::connect(stage.addr);
    let mut stream = Client::connect(stage.addr);
    whole.send(GET.as_bytes());
    let (first, _) = stage.request();
    stream.send(GET.as_bytes());
    let (second, _) = stage.request();
    stage.begin(second);
    stream.head();
    let words = "x".repeat(100_000);
    stage.respond(first, 503, &words);
    stage.chunk(second, "tide");
    stage.end(second);
    stage.stop();
    stage.ended();
    assert!(whole.head().starts_with("HTTP/1.1 503"));
    assert_eq!(whole.exactly(words.len()), words.as_bytes());
    piece(&mut stream, "tide");
    assert_eq!(stream.exactly(5), b"0\r\n\r\n");
    assert!(whole.is_closed() && stream.is_closed());
}

pub fn a_stream_that_the_end_cuts_off_does_not_look_whole<R: Runtime>(runtime: &R) {
    let stage = Stage::start(runtime);
    let mut client = Client::connect(stage.addr);
    client.send(GET.as_bytes());
    let (id, _) = stage.request();
    stage.begin(id);
    stage.chunk(id, "tide");
    client.head();
    piece(&mut client, "tide");
    stage.stop();
    let mut rest = Vec::new();
    let _ = std::io::Read::read_to_end(&mut client.0, &mut rest);
    assert_eq!(rest, b"", "no last chunk");
}
