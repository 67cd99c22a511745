//! Outbound requests against a raw server.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::Duration;

use telson_core::fetch::{FetchError, FetchEvent, FetchRequest, Reach};
use telson_host::net::fetch::fetch;
use telson_host::runtime::Runtime;

const PATIENCE: Duration = Duration::from_secs(20);

/// A server for one connection.
fn server(serve: impl FnOnce(TcpStream) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    std::thread::spawn(move || serve(listener.accept().unwrap().0));
    addr
}

/// Reads a request whose body has the given length.
fn read_request(stream: &mut TcpStream, body: usize) -> String {
    let mut bytes = Vec::new();
    while !bytes.windows(4).any(|end| end == b"\r\n\r\n") || !bytes.ends_with(&vec![b'b'; body]) {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        bytes.push(byte[0]);
    }
    String::from_utf8(bytes).unwrap()
}

fn post(url: String) -> FetchRequest {
    FetchRequest {
        reach: Reach::Anywhere,
        method: "POST",
        url,
        headers: vec![("authorization".to_owned(), "Bearer key".to_owned())],
        body: "bbbb".into(),
        head_timeout: PATIENCE,
        idle_timeout: PATIENCE,
    }
}

/// Runs a request and collects what becomes of it.
fn outcome<R: Runtime>(runtime: &R, request: FetchRequest) -> Vec<FetchEvent> {
    let (events, told) = mpsc::channel();
    let tell = move |event| std::future::ready(events.send(event).is_ok());
    runtime.spawn(fetch(runtime.clone(), request, tell));
    let mut all = Vec::new();
    loop {
        let event = told.recv_timeout(PATIENCE).unwrap();
        let last = matches!(event, FetchEvent::End | FetchEvent::Failed(_));
        all.push(event);
        if last {
            assert!(told.recv().is_err(), "something after the end");
            return all;
        }
    }
}

pub fn a_stream_arrives_in_pieces<R: Runtime>(runtime: &R) {
    let (asked, request) = mpsc::channel();
    let addr = server(move |mut stream| {
        asked.send(read_request(&mut stream, 4)).unwrap();
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(b"5\r\ntide \r\n").unwrap();
        stream.write_all(b"4\r\nmoon\r\n0\r\n\r\n").unwrap();
    });
    let events = outcome(runtime, post(format!("http://{addr}/v1/chat?x=1")));
    let Some(FetchEvent::Head { status: 200, headers }) = events.first() else { panic!("{events:?}") };
    assert!(headers.contains(&("content-type".to_owned(), "text/event-stream".to_owned())));
    let text: Vec<u8> = events
        .iter()
        .filter_map(|event| if let FetchEvent::Chunk(bytes) = event { Some(bytes.to_vec()) } else { None })
        .flatten()
        .collect();
    assert_eq!(text, b"tide moon");
    assert_eq!(events.last(), Some(&FetchEvent::End));
    let request = request.recv().unwrap().to_lowercase();
    assert!(request.starts_with("post /v1/chat?x=1 http/1.1\r\n"), "{request}");
    for line in [format!("host: {addr}"), "authorization: bearer key".into(), "content-length: 4".into()] {
        assert!(request.contains(&format!("{line}\r\n")), "{line} in {request}");
    }
}

pub fn an_answer_that_breaks_off_fails<R: Runtime>(runtime: &R) {
    for part in ["", "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\ntide"] {
        let addr = server(move |mut stream| {
            read_request(&mut stream, 4);
            stream.write_all(part.as_bytes()).unwrap();
        });
        let events = outcome(runtime, post(format!("http://{addr}/")));
        assert!(matches!(events.last(), Some(FetchEvent::Failed(FetchError::Broken(_)))), "{events:?}");
    }
}

pub fn silence_is_a_timeout<R: Runtime>(runtime: &R) {
    let short = Duration::from_millis(50);
    for part in ["", "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\ntide"] {
        let addr = server(move |mut stream| {
            read_request(&mut stream, 4);
            stream.write_all(part.as_bytes()).unwrap();
            let _ = stream.read_to_end(&mut Vec::new());
        });
        let request = FetchRequest { idle_timeout: short, ..post(format!("http://{addr}/")) };
        let request = if part.is_empty() { FetchRequest { head_timeout: short, ..request } } else { request };
        let events = outcome(runtime, request);
        assert_eq!(events.last(), Some(&FetchEvent::Failed(FetchError::Timeout(short))), "{events:?}");
    }
}

pub fn nobody_there_is_told_with_the_host<R: Runtime>(runtime: &R) {
    let addr = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for url in [format!("http://{addr}/"), format!("https://{addr}/")] {
        let events = outcome(runtime, post(url));
        let [FetchEvent::Failed(FetchError::Connect { host, reason })] = &events[..] else {
            panic!("{events:?}")
        };
        assert_eq!(
            (host.as_str(), reason.contains("refused")),
            (addr.to_string().as_str(), true),
            "{reason}"
        );
    }
}

pub fn a_server_without_tls_is_no_https_server<R: Runtime>(runtime: &R) {
    let addr = server(|mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let events = outcome(runtime, post(format!("https://{addr}/")));
    assert!(matches!(&events[..], [FetchEvent::Failed(FetchError::Connect { .. })]), "{events:?}");
}

pub fn a_guarded_request_goes_nowhere_near<R: Runtime>(runtime: &R) {
    // A connection that is made shows in the listener's queue.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    for host in [
        "localhost",
        "LOCALHOST.",
        "127.0.0.1",
        "127.1",
        "0x7f.1",
        "[::ffff:127.0.0.1]",
        "[::1]",
        "[::ffff:10.0.0.1]",
    ] {
        let request = FetchRequest { reach: Reach::Public, ..post(format!("http://{host}:{port}/")) };
        let events = outcome(runtime, request);
        let [FetchEvent::Failed(FetchError::Forbidden(text))] = &events[..] else {
            panic!("{host}: {events:?}")
        };
        assert!(text.contains("public internet address") || text.contains("odd spelling"), "{text}");
    }
    assert!(listener.accept().is_err(), "somebody has called");
}

pub fn a_redirect_is_told_and_not_followed<R: Runtime>(runtime: &R) {
    let addr = server(|mut stream| {
        read_request(&mut stream, 4);
        let head = "HTTP/1.1 302 Found\r\nlocation: http://10.0.0.1/\r\ncontent-length: 0\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
    });
    let events = outcome(runtime, post(format!("http://{addr}/")));
    let [FetchEvent::Head { status: 302, headers }, FetchEvent::End] = &events[..] else {
        panic!("{events:?}")
    };
    assert!(headers.contains(&("location".to_owned(), "http://10.0.0.1/".to_owned())), "{headers:?}");
}
