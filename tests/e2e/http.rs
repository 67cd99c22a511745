//! HTTP on the same port: probes, refusals, and requests that are no requests.

use std::net::SocketAddr;

use serde_json::{Value, json};
use telson_tests::on_every_runtime;
use telson_tests::support::binary::Binary;
use telson_tests::support::client::Dialect;
use telson_tests::support::gateway::Home;
use telson_tests::support::http::{Reply, raw, request};

on_every_runtime!(
    probes_tell_that_the_gateway_lives_and_is_ready,
    anything_else_is_not_found,
    an_upgrade_works_on_any_path,
    malformed_requests_never_harm_the_process,
    a_request_that_stops_half_way_holds_nobody_up,
);

fn body(reply: &Reply) -> Value {
    serde_json::from_str(&reply.body).unwrap_or_else(|error| panic!("not JSON ({error}): {reply:?}"))
}

fn probes_tell_that_the_gateway_lives_and_is_ready(binary: Binary) {
    let gateway = Home::new(binary).start();
    for path in ["/health", "/healthz", "/healthz?verbose"] {
        let reply = request(gateway.address, "GET", path);
        assert_eq!((reply.status, body(&reply)), (200, json!({"ok": true, "status": "live"})), "{reply:?}");
        assert_eq!(reply.header("cache-control"), Some("no-store"));
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
    }
    // The store is loaded while the first connections come.
    gateway.operator(Dialect::V4).ask("status", &json!({}));
    let ready = request(gateway.address, "GET", "/readyz");
    assert_eq!((ready.status, &body(&ready)["ready"]), (200, &json!(true)), "{ready:?}");
    let started = request(gateway.address, "GET", "/startupz");
    assert_eq!((started.status, &body(&started)["status"]), (200, &json!("started")), "{started:?}");

    let head = request(gateway.address, "HEAD", "/healthz");
    assert_eq!((head.status, head.body.as_str()), (200, ""), "{head:?}");
    let post = request(gateway.address, "POST", "/healthz");
    assert_eq!((post.status, post.header("allow")), (405, Some("GET, HEAD")), "{post:?}");
}

fn anything_else_is_not_found(binary: Binary) {
    let gateway = Home::new(binary).start();
    for path in ["/", "/index.html", "/v1/models", "/healthz/"] {
        let reply = request(gateway.address, "GET", path);
        assert_eq!(reply.status, 404, "{path}: {reply:?}");
        assert_eq!(body(&reply)["error"]["type"], json!("not_found"));
    }
    for path in ["/../etc/passwd", "/%2e%2e/etc/passwd", "/a//b", "/healthz%00", "/a%5cb", "/healthz?token=x"]
    {
        assert_eq!(request(gateway.address, "GET", path).status, 400, "{path}");
    }
}

fn an_upgrade_works_on_any_path(binary: Binary) {
    let gateway = Home::new(binary).start();
    for path in ["/", "/ws", "/some/base/path?x=1", "/healthz"] {
        let reply = raw(gateway.address, upgrade(gateway.address, path, "13").as_bytes());
        assert_eq!(reply.status, 101, "{path}: {reply:?}");
    }
    let plain = format!("GET / HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\n\r\n", gateway.address);
    let reply = raw(gateway.address, plain.as_bytes());
    assert_eq!(reply.status, 426, "an upgrade without the connection header: {reply:?}");
}

fn upgrade(address: SocketAddr, path: &str, version: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: {version}\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

fn malformed_requests_never_harm_the_process(binary: Binary) {
    let gateway = Home::new(binary).start();
    let mut client = gateway.operator(Dialect::V4);
    let long_header = format!("GET / HTTP/1.1\r\nHost: x\r\nX-Long: {}\r\n\r\n", "y".repeat(40_000));
    let many_headers = format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "A: b\r\n".repeat(5_000));
    let long_path = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "p".repeat(100_000));
    let bad_upgrades = [
        upgrade(gateway.address, "/", "12"),
        upgrade(gateway.address, "/", "13").replace("dGhlIHNhbXBsZSBub25jZQ==", "short"),
        upgrade(gateway.address, "/", "13").replace("GET", "POST"),
        upgrade(gateway.address, "/", "13").replace("HTTP/1.1", "HTTP/1.0"),
    ];
    let mut corpus: Vec<Vec<u8>> = vec![
        b"\0\0\0\0".to_vec(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        b"\r\n\r\n\r\n".to_vec(),
        b"GET\r\n\r\n".to_vec(),
        b"GET / HTTP/9.9\r\n\r\n".to_vec(),
        b"GET / HTTP/1.1\r\n: no name\r\n\r\n".to_vec(),
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n".to_vec(),
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n".to_vec(),
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello".to_vec(),
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n".to_vec(),
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n"
            .to_vec(),
        b"GET http://\xff\xfe/ HTTP/1.1\r\nHost: \xff\r\n\r\n".to_vec(),
        b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        b"CONNECT elsewhere:443 HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        b"GET //double HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        b"GET /%00%ff%zz HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        vec![0xff; 70_000],
        long_header.into_bytes(),
        many_headers.into_bytes(),
        long_path.into_bytes(),
    ];
    corpus.extend(bad_upgrades.map(String::into_bytes));
    for bytes in corpus {
        let reply = raw(gateway.address, &bytes);
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(80)]).into_owned();
        assert!(reply.status == 0 || (400..600).contains(&reply.status), "{shown:?}: {reply:?}");
        client.ask("health", &json!({}));
    }
    // Frames that are no WebSocket frames, after an upgrade that is one.
    for garbage in [&b"\xff\xff\xff\xff"[..], b"\x81\x05hello", b"\x83\x80\0\0\0\0", b"\x88\x81\0\0\0\0x"] {
        let mut bytes = upgrade(gateway.address, "/", "13").into_bytes();
        bytes.extend_from_slice(garbage);
        assert_eq!(raw(gateway.address, &bytes).status, 101);
        client.ask("health", &json!({}));
    }
}

fn a_request_that_stops_half_way_holds_nobody_up(binary: Binary) {
    use std::io::Write as _;
    let gateway = Home::new(binary).start();
    let mut stuck: Vec<std::net::TcpStream> = (0..50)
        .map(|_| std::net::TcpStream::connect(gateway.address).expect("the gateway accepts connections"))
        .collect();
    for stream in &mut stuck {
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHo").expect("a few bytes fit");
    }
    assert_eq!(request(gateway.address, "GET", "/healthz").status, 200);
    gateway.operator(Dialect::V3).ask("health", &json!({}));
}
