//! Part D: floods, of bounded size here; `telson-flood` measures larger ones (S-36 to S-41).

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use telson_tests::on_both_binaries;
use telson_tests::support::PATIENCE;
use telson_tests::support::binary::Binary;
use telson_tests::support::client::{Client, Dialect};
use telson_tests::support::device::Device;
use telson_tests::support::gateway::Home;
use telson_tests::support::http::raw;

use super::h_http::ROUTES;
use super::rig::{Ask, Rig, TOKEN, UPGRADE, dial, head};

on_both_binaries!(s_36_silent_connections_of_others_keep_nobody_out);

fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    setrlimit(Resource::Nofile, raised).expect("the limit may be raised as far as it goes");
}

/// Resident memory of a gateway in KiB.
fn resident(rig: &Rig) -> u64 {
    let line = format!("(PID {})", "");
    let log = rig.gateway.log();
    let at = log.find(line.trim_end_matches(')')).expect("it tells its process");
    let pid: String = log[at + 5..].chars().take_while(char::is_ascii_digit).collect();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it lives");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory is told");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// Whether the other side has ended a connection by now, or does so soon.
fn ends(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
    let mut bytes = [0; 4_096];
    loop {
        match stream.read(&mut bytes) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        }
    }
}

fn s_36_silent_connections_of_others_keep_nobody_out(binary: Binary) {
    raise_file_limit();
    let rig = Rig::with(binary, &json!({}));
    rig.lives();
    let before = resident(&rig);
    let mut inside = rig.enter(&Ask::shared(Dialect::V3));
    let mut crowd = Vec::new();
    for n in 0..2_500_u32 {
        // Eight strangers; this machine is each of them.
        let from = Ipv4Addr::new(127, 0, 1, u8::try_from(n % 8 + 1).expect("few"));
        let Ok(mut stream) = dial(rig.address(), Some(from)) else { continue };
        match n % 3 {
            0 => {}
            1 => drop(stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ")),
            _ => drop(stream.write_all(head(rig.address(), "GET", "/", &UPGRADE, "").as_bytes())),
        }
        crowd.push(stream);
        if n % 500 == 499 {
            rig.lives();
            inside.ask("health", &json!({}));
        }
    }
    let grown = resident(&rig).saturating_sub(before);
    // What is shipped takes less than these debug builds.
    let bound = if cfg!(debug_assertions) { 40 } else { 20 };
    assert!(grown <= bound * 1_024, "{} silent connections cost {grown} KiB", crowd.len());
    drop(crowd);
    rig.lives();
}

#[test]
fn s_36_a_connection_without_a_hello_ends_whatever_it_says() {
    let rig = Rig::with(Binary::Telson, &json!({"gateway": {"limits": {"handshakeTimeoutMs": 300}}}));
    let upgraded = || {
        let mut stream = TcpStream::connect(rig.address()).expect("the gateway accepts connections");
        stream.write_all(head(rig.address(), "GET", "/", &UPGRADE, "").as_bytes()).expect("a head fits");
        stream
    };
    type Attack = fn(&mut TcpStream);
    let attacks: [(&str, Attack); 7] = [
        ("silence", |_| {}),
        ("a first message of 65 KiB", |stream| {
            let _ = stream.write_all(&frame(true, 1, &[b'x'; 66_560]));
        }),
        ("a million fragments", |stream| {
            let _ = stream.write_all(&frame(false, 1, b"{"));
            let thousand = frame(false, 0, b"").repeat(1_000);
            for _ in 0..1_000 {
                if stream.write_all(&thousand).is_err() {
                    return;
                }
            }
        }),
        ("one byte at a time", |stream| {
            for byte in
                frame(true, 1, b"{\"type\":\"req\",\"id\":\"1\",\"method\":\"connect\",\"params\":{}}")
            {
                if stream.write_all(&[byte]).is_err() {
                    return;
                }
            }
        }),
        ("a flood of pings", |stream| {
            let thousand = frame(true, 9, &[0; 125]).repeat(1_000);
            for _ in 0..100 {
                if stream.write_all(&thousand).is_err() {
                    return;
                }
            }
        }),
        ("a compressed frame", |stream| {
            let mut bytes = frame(true, 1, b"\x4a\x4c\x4a\x06\x00");
            bytes[0] |= 0x40;
            let _ = stream.write_all(&bytes);
        }),
        ("a length of 2^63", |stream| {
            let _ = stream.write_all(b"\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0");
        }),
    ];
    let before = resident(&rig);
    for (name, attack) in attacks {
        let mut stream = upgraded();
        attack(&mut stream);
        assert!(ends(&mut stream), "{name}");
        rig.lives();
    }
    let grown = resident(&rig).saturating_sub(before);
    assert!(grown <= 20 * 1_024, "{grown} KiB");
    rig.finish();
}

#[test]
fn s_36_compression_is_never_agreed_to() {
    let rig = Rig::new();
    for offer in
        ["permessage-deflate", "permessage-deflate; client_max_window_bits", "x-webkit-deflate-frame"]
    {
        let headers = [&UPGRADE[..], &[("Sec-WebSocket-Extensions", offer)]].concat();
        let reply = rig.http("GET", "/", &headers, "");
        assert_eq!((reply.status, reply.header("sec-websocket-extensions")), (101, None), "{reply:?}");
    }
    let reply = rig.authorised("GET", "/v1/models", &[("Accept-Encoding", "gzip, br, deflate")], "");
    assert_eq!(reply.header("content-encoding"), None);
}

/// A client's frame with a mask of zeros.
fn frame(last: bool, opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![if last { 0x80 } else { 0 } | opcode];
    match payload.len() {
        length @ 0..126 => bytes.push(0x80 | u8::try_from(length).expect("small")),
        length @ 126..65_536 => {
            bytes.push(0x80 | 126);
            bytes.extend(u16::try_from(length).expect("small").to_be_bytes());
        }
        length => {
            bytes.push(0x80 | 127);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
    bytes.extend([0; 4]);
    bytes.extend_from_slice(payload);
    bytes
}

#[test]
fn s_37_who_is_inside_and_floods_harms_only_itself() {
    let rig = Rig::new();
    let mut other = rig.enter(&Ask::shared(Dialect::V3));
    let device = Device::new(1);
    let mut reader = rig.enter(&Ask::device(Dialect::V4, &device, &["operator.read"]));
    let lines = rig.gateway.log().lines().count();
    for n in 0..4_000 {
        reader.request_boldly(&n.to_string(), "system-event", &json!({"text": "x"}));
        if n % 400 == 0 {
            other.ask("health", &json!({}));
        }
    }
    assert_eq!(reader.closed().map(|(code, _)| code), Some(1008), "whoever asks for too much is shown out");
    other.ask("health", &json!({}));
    let written = rig.gateway.log().lines().count() - lines;
    assert!(written < 400, "4,000 refusals have written {written} lines");
    // A node that keeps calling what nodes may not is shown out.
    let device = Device::new(2);
    let mut node = rig.enter(&Ask::node(Dialect::V4, &device));
    for n in 0..11 {
        node.request_as(&n.to_string(), "chat.send", &json!({}));
    }
    assert_eq!(node.closed().map(|(code, _)| code), Some(1008));
    rig.lives();
}

#[test]
fn s_37_strange_json_is_answered_or_refused_and_nothing_else() {
    let rig = Rig::new();
    let mut other = rig.enter(&Ask::shared(Dialect::V3));
    let deep = |open: &str, close: &str, n: usize| format!("{}{}", open.repeat(n), close.repeat(n));
    let strange = [
        deep("[", "]", 100_000),
        deep("{\"a\":", "}", 50_000).replace(":}", ":1}"),
        format!("{{{}}}", (0..200_000).map(|n| format!("\"k{n}\":1")).collect::<Vec<_>>().join(",")),
        "{\"a\":1,\"a\":2,\"a\":{\"a\":3}}".to_owned(),
        format!("{{\"n\":1{}}}", "0".repeat(50_000)),
        "{\"n\":1e999999999,\"m\":-1e-999999999}".to_owned(),
        r#"{"s":"\ud800","t":"\udfff\ud800"}"#.to_owned(),
        r#"{"s":"\u0000\u001b]0;x\u0007"}"#.to_owned(),
        "{\"__proto__\":{\"a\":1},\"constructor\":{\"prototype\":{}}}".to_owned(),
        format!("\"{}\"", "\u{202e}".repeat(50_000)),
    ];
    for (n, params) in strange.iter().enumerate() {
        let mut client = rig.enter(&Ask::shared(Dialect::V4));
        for method in ["health", "chat.history", "no.such"] {
            let text = format!(r#"{{"type":"req","id":"{n}","method":"{method}","params":{params}}}"#);
            client.say_boldly(&text);
        }
        other.ask("health", &json!({}));
    }
    for frame in [
        r#"{"type":"req","id":{},"method":"health"}"#,
        r#"{"type":"req","type":"res","id":"1"}"#,
        r#"{"type":"req","id":"1","id":"2","method":"health","method":"status"}"#,
        "\u{feff}{}",
        "nul",
        "1e5",
    ] {
        let mut client = rig.enter(&Ask::shared(Dialect::V4));
        client.say(frame);
        client.request_as("after", "health", &json!({}));
        client.response("after").expect("the connection stays");
    }
    rig.finish();
}

#[test]
fn s_38_no_request_line_ends_the_process() {
    let rig = Rig::new();
    let mut corpus: Vec<String> = [
        "GET //[ HTTP/1.1",
        "GET http://127.0.0.1/healthz HTTP/1.1",
        "GET http://[ HTTP/1.1",
        "GET * HTTP/1.1",
        "OPTIONS * HTTP/1.1",
        "CONNECT 127.0.0.1:22 HTTP/1.1",
        "GET /%00 HTTP/1.1",
        "GET /%zz HTTP/1.1",
        "GET \\ HTTP/1.1",
        "GET /\x7f HTTP/1.1",
        "GET / HTTP/0.9",
        "GET / HTTP/2.0",
        "get / HTTP/1.1",
        "G\0T / HTTP/1.1",
        "GET /#fragment HTTP/1.1",
        "GET /?\u{e9} HTTP/1.1",
        "GET  /  HTTP/1.1",
        "GET /..%2f..%2f HTTP/1.1",
        "TRACE / HTTP/1.1",
        "GET ws://127.0.0.1/ HTTP/1.1",
        "GET file:///etc/passwd HTTP/1.1",
        "GET ? HTTP/1.1",
    ]
    .iter()
    .map(|line| format!("{line}\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
    .collect();
    corpus.push(format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(100_000)));
    corpus.push("GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n folded\r\n\r\n".to_owned());
    corpus.push("GET / HTTP/1.1\r\nHost : a\r\n\r\n".to_owned());
    corpus.push("GET / HTTP/1.1\nHost: a\n\n".to_owned());
    corpus.push("POST /tools/invoke HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n".to_owned());
    corpus.push(
        "POST /tools/invoke HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"
            .to_owned(),
    );
    corpus.push(
        "POST /tools/invoke HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\n"
            .to_owned(),
    );
    corpus.push("POST /tools/invoke HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\nx".to_owned());
    corpus.push("POST /tools/invoke HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\nx".to_owned());
    for text in corpus {
        let reply = raw(rig.address(), text.as_bytes());
        // An absolute address of this host and the asterisk are what they say: the probe, or nothing.
        let shown = &text[..text.len().min(60)];
        assert!(reply.status < 500, "{shown:?}: {reply:?}");
        assert!(reply.status != 200 || shown.contains("/healthz"), "{shown:?}: {reply:?}");
    }
    rig.finish();
}

#[test]
fn s_39_a_body_is_not_read_before_the_secret() {
    let rig = Rig::new();
    for (method, path) in ROUTES.iter().filter(|(method, _)| *method == "POST") {
        // Nothing of the body is ever sent: the answer comes all the same.
        let mut stream = TcpStream::connect(rig.address()).expect("the gateway accepts connections");
        let text = head(rig.address(), method, path, &[("Content-Length", "10000000")], "");
        stream.write_all(text.as_bytes()).expect("a head fits");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        let mut bytes = [0; 256];
        let length = stream.read(&mut bytes).expect("an answer before the body");
        assert!(String::from_utf8_lossy(&bytes[..length]).starts_with("HTTP/1.1 401"), "{path}");
    }
    // Bodies that never come hold up nobody.
    let bearer = format!("Bearer {TOKEN}");
    let headers = [("Authorization", bearer.as_str()), ("Content-Length", "100000")];
    let slow: Vec<TcpStream> = (0..300)
        .map(|_| {
            let mut stream = TcpStream::connect(rig.address()).expect("the gateway accepts connections");
            let text = head(rig.address(), "POST", "/tools/invoke", &headers, "{");
            stream.write_all(text.as_bytes()).expect("a head fits");
            stream
        })
        .collect();
    let mut client = rig.enter(&Ask::shared(Dialect::V3));
    for _ in 0..20 {
        client.ask("health", &json!({}));
        rig.lives();
    }
    drop(slow);
    assert!(matches!(rig.authorised("GET", "/v1/models", &[], "").status, 200 | 503));
}

#[test]
fn s_40_keys_of_an_attackers_choice_do_not_grow_the_gateway() {
    let rig = Rig::new();
    let mut client = rig.enter(&Ask::shared(Dialect::V3));
    let churn = |client: &mut Client, from: u32| {
        for n in from..from + 3_000 {
            // A connection may be wrong so often only.
            if n % 80 == 0 {
                *client = rig.enter(&Ask::shared(Dialect::V3));
            }
            let _ = client.call("chat.history", &json!({"sessionKey": format!("agent:main:made-up-{n}")}));
            let _ = client.call(&format!("method.{n}"), &json!({"key": n}));
            let _ = client.call("agent.wait", &json!({"runId": format!("run-{n}"), "timeoutMs": 0}));
        }
        for n in from..from + 300 {
            rig.http("GET", &format!("/p{n}?q{n}={n}"), &[(&format!("x-header-{n}"), "v")], "");
            let id = format!("client-{n}");
            let ask = Ask { id: &id, ..Ask::nobody(Dialect::Plain) };
            assert!(rig.try_enter(&ask).is_err());
        }
    };
    churn(&mut client, 0);
    let before = resident(&rig);
    churn(&mut client, 10_000);
    churn(&mut client, 20_000);
    let grown = resident(&rig).saturating_sub(before);
    assert!(grown < 4 * 1_024, "20,000 new keys cost {grown} KiB");
    rig.lives();
}

#[test]
fn s_41_what_is_declared_and_what_comes_are_both_measured() {
    let rig = Rig::new();
    let before = resident(&rig);
    for (path, limit) in [
        ("/v1/chat/completions", 20_971_520_u64),
        ("/v1/embeddings", 5_242_880),
        ("/tools/invoke", 2_097_152),
    ] {
        // Declared too large: refused before a byte of it.
        let reply = rig.authorised("POST", path, &[("Content-Length", &(limit + 1).to_string())], "");
        assert_eq!(reply.status, 413, "{path}: {reply:?}");
        // Not declared at all: refused when it has become too large.
        let bearer = format!("Bearer {TOKEN}");
        let mut stream = TcpStream::connect(rig.address()).expect("the gateway accepts connections");
        let lines = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {bearer}\r\nTransfer-Encoding: chunked\r\n\r\n"
        );
        stream.write_all(lines.as_bytes()).expect("a head fits");
        let chunk = format!("100000\r\n{}\r\n", " ".repeat(0x10_0000));
        for _ in 0..=limit / 0x10_0000 + 1 {
            if stream.write_all(chunk.as_bytes()).is_err() {
                break;
            }
        }
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout can be set");
        let mut answer = [0; 64];
        let length = stream.read(&mut answer).unwrap_or(0);
        let answer = String::from_utf8_lossy(&answer[..length]).into_owned();
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 413"), "{path}: {answer}");
    }
    let grown = resident(&rig).saturating_sub(before);
    assert!(grown < 64 * 1_024, "{grown} KiB for one body at a time");
    let image = "A".repeat(20_000_000);
    let message = json!({"sessionKey": "main", "message": "x", "idempotencyKey": "k",
        "attachments": [{"type": "image", "mimeType": "image/png", "content": image}]});
    let mut client = rig.enter(&Ask::shared(Dialect::V4));
    client.say_boldly(
        &json!({"type": "req", "id": "big", "method": "chat.send", "params": message}).to_string(),
    );
    assert!(client.response("big").is_err(), "an attachment of 15 MB is refused");
    rig.lives();
}

#[test]
fn s_36_a_gateway_that_others_can_reach_bounds_each_of_them() {
    let home = Home::new(Binary::Telson);
    home.configure(
        &super::rig::config(&json!({"gateway": {"limits": {"preauthConnectionsPerIp": 4}}})).to_string(),
    );
    let rig = Rig { gateway: home.start() };
    let upgrade = head(rig.address(), "GET", "/", &UPGRADE, "");
    let hold = |from: Option<Ipv4Addr>, address: SocketAddr| {
        let mut stream = dial(address, from).expect("the gateway accepts connections");
        stream.write_all(upgrade.as_bytes()).expect("a head fits");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        let mut bytes = [0; 12];
        stream.read_exact(&mut bytes).expect("an answer");
        (stream, bytes.ends_with(b" 101"))
    };
    let stranger = Some(Ipv4Addr::new(127, 0, 0, 9));
    let held: Vec<_> = (0..6).map(|_| hold(stranger, rig.address())).collect();
    let admitted: Vec<bool> = held.iter().map(|(_, admitted)| *admitted).collect();
    assert_eq!(admitted, [true, true, true, true, false, false]);
    rig.lives();
}
