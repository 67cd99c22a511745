//! Plain HTTP, and requests that are none.

use telson_host::runtime::Runtime;

use super::client::{Client, Frame, UPGRADE};
use super::gateway::Gateway;
use super::healthy;

pub fn probes_answer_on_one_kept_connection<R: Runtime>(runtime: &R) {
    let gateway = Gateway::start(runtime);
    let mut client = Client::connect(gateway.addr);
    for (request, status) in [
        ("GET /healthz", "200"),
        ("HEAD /healthz", "200"),
        ("GET /health?probe=1", "200"),
        ("POST /healthz", "405"),
        ("GET /nothing/here", "404"),
        ("GET //healthz", "400"),
    ] {
        let (head, _) = client.ask(&format!("{request} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{request}: {head}");
        assert!(head.contains("x-content-type-options: nosniff"), "{head}");
    }
}

pub fn a_body_that_nobody_wants_does_not_disturb<R: Runtime>(runtime: &R) {
    let gateway = Gateway::start(runtime);
    let mut client = Client::connect(gateway.addr);
    let body = "x".repeat(100_000);
    for _ in 0..2 {
        let request =
            format!("POST /hooks/x HTTP/1.1\r\nHost: localhost\r\ncontent-length: 100000\r\n\r\n{body}");
        let (head, _) = client.ask(&request);
        assert!(head.starts_with("HTTP/1.1 404"), "{head}");
    }
    let (head, _) = client
        .ask("POST / HTTP/1.1\r\nHost: localhost\r\ncontent-length: 9000000\r\nExpect: 100-continue\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 404") && head.contains("connection: close"), "{head}");
    assert!(client.is_closed());
}

pub fn an_upgrade_that_is_wrong_is_told_so<R: Runtime>(runtime: &R) {
    let gateway = Gateway::start(runtime);
    for (request, status) in [
        (UPGRADE.replace("13", "12"), "400"),
        (UPGRADE.replace("ZQ==", ""), "400"),
        (UPGRADE.replace("GET", "POST"), "400"),
        (UPGRADE.replace("HTTP/1.1", "HTTP/1.0"), "400"),
        (UPGRADE.replace("Connection: Upgrade\r\n", ""), "426"),
        (format!("{UPGRADE}X-Forwarded-For: 10.0.0.1\r\n"), "403"),
        (format!("{UPGRADE}Host: twice\r\n"), "400"),
    ] {
        let mut client = Client::connect(gateway.addr);
        client.send(format!("{request}\r\n").as_bytes());
        let head = client.head();
        assert!(
            head.starts_with(&format!("HTTP/1.1 {status}"))
                || head.starts_with(&format!("HTTP/1.0 {status}")),
            "{request}: {head}"
        );
        assert!(status == "426" || client.is_closed());
    }
    healthy(gateway.addr);
}

pub fn malformed_requests_harm_nobody<R: Runtime>(runtime: &R) {
    let gateway = Gateway::start(runtime);
    let mut bystander = Client::upgraded(gateway.addr);
    let long = "a".repeat(20_000);
    let many = "x: y\r\n".repeat(200);
    let corpus: Vec<Vec<u8>> = [
        "\r\n\r\n\r\n",
        "GET\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "GET / HTTP/1.1\r\nno colon\r\n\r\n",
        "GET / HTTP/1.1\r\n: empty\r\n\r\n",
        "GET / HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        "GET / HTTP/1.1\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello!",
        "GET / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        "GET %%% HTTP/1.1\r\n\r\n",
        "GET http://[bad HTTP/1.1\r\n\r\n",
        "CONNECT host:80 HTTP/1.1\r\nHost: host\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n",
        &format!("GET /{long} HTTP/1.1\r\n\r\n"),
        &format!("GET / HTTP/1.1\r\nx: {long}\r\n\r\n"),
        &format!("GET / HTTP/1.1\r\n{many}\r\n"),
    ]
    .iter()
    .map(|text| text.as_bytes().to_vec())
    .chain([vec![0; 3_000], vec![0xff; 3_000], b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec()])
    .collect();
    for request in corpus {
        let mut client = Client::connect(gateway.addr);
        client.send(&request);
        client.0.shutdown(std::net::Shutdown::Write).unwrap();
        assert!(client.is_closed(), "{}", String::from_utf8_lossy(&request));
        healthy(gateway.addr);
    }
    bystander.send_frame(9, b"still here");
    assert_eq!(bystander.frame(), Frame::Pong(b"still here".to_vec()));
}

pub fn a_head_that_is_too_large_is_a_431<R: Runtime>(runtime: &R) {
    let gateway = Gateway::start(runtime);
    let mut client = Client::connect(gateway.addr);
    client.send(format!("GET / HTTP/1.1\r\nHost: h\r\nx: {}\r\n\r\n", "a".repeat(17_000)).as_bytes());
    let head = client.head();
    assert!(head.starts_with("HTTP/1.1 431"), "{head}");
}

pub fn clients_that_dawdle_keep_nobody_waiting<R: Runtime>(runtime: &R) {
    let gateway = Gateway::start(runtime);
    let slow: Vec<Client> = (0..100)
        .map(|_| {
            let mut client = Client::connect(gateway.addr);
            client.send(b"GET /healthz HT");
            client
        })
        .collect();
    healthy(gateway.addr);
    drop(Client::upgraded(gateway.addr));
    drop(slow);
}
