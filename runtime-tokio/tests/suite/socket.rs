//! Sockets of clients that have not said who they are.

use telson_host::runtime::Runtime;

use super::client::{Client, Frame, UPGRADE, masked};
use super::gateway::Gateway;
use super::healthy;

pub fn the_challenge_comes_and_pings_are_answered<R: Runtime>(runtime: &R) {
    let gateway = Gateway::start(runtime);
    let mut client = Client::upgraded(gateway.addr);
    for payload in [&b""[..], b"tide", &[7; 125]] {
        client.send_frame(9, payload);
        assert_eq!(client.frame(), Frame::Pong(payload.to_vec()));
    }
}

pub fn a_frame_sent_with_the_upgrade_is_read<R: Runtime>(runtime: &R) {
    let gateway = Gateway::start(runtime);
    let mut client = Client::connect(gateway.addr);
    let mut request = format!("{UPGRADE}\r\n").into_bytes();
    request.extend(masked(9, b"early"));
    client.send(&request);
    client.head();
    let frames = [client.frame(), client.frame()];
    assert!(frames.contains(&Frame::Pong(b"early".to_vec())), "{frames:?}");
}

pub fn a_stranger_may_not_send_much<R: Runtime>(runtime: &R) {
    let gateway = Gateway::start(runtime);
    let mut client = Client::upgraded(gateway.addr);
    // The close frame must arrive although the gateway has not read the message.
    client.send_frame(1, &[b'x'; 400_000]);
    assert_eq!(client.close_frame(), (1009, "preauth payload too large".to_owned()));
    assert!(client.is_closed());

    let mut client = Client::upgraded(gateway.addr);
    for _ in 0..17 {
        client.send_frame(9, b"");
    }
    let frames: Vec<Frame> = (0..16).map(|_| client.frame()).collect();
    assert!(frames.iter().all(|frame| *frame == Frame::Pong(Vec::new())), "{frames:?}");
    assert!(client.is_closed());

    let mut client = Client::upgraded(gateway.addr);
    client.send(b"\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0");
    assert_eq!(client.close_frame().0, 1009);

    let mut client = Client::upgraded(gateway.addr);
    let empty = masked(2, b"").repeat(50_000);
    client.0.set_write_timeout(Some(std::time::Duration::from_secs(5))).unwrap();
    let _ = std::io::Write::write_all(&mut client.0, &empty);
    let (code, reason) = client.close_frame();
    assert!(!reason.is_empty() && code != 1006, "{code} {reason}");
    healthy(gateway.addr);
}

pub fn what_is_no_message_closes_with_1002<R: Runtime>(runtime: &R) {
    let gateway = Gateway::start(runtime);
    for bytes in [
        masked(2, b"\xff\xfe"),
        masked(1, b"\xff\xfe"),
        masked(3, b""),
        masked(0, b"continuation of nothing"),
        masked(9, &[0; 126]),
        b"\x81\x02hi".to_vec(),
        b"\xc1\x80\0\0\0\0".to_vec(),
    ] {
        let mut client = Client::upgraded(gateway.addr);
        client.send(&bytes);
        assert_eq!(client.close_frame(), (1002, "invalid websocket message".to_owned()), "{bytes:?}");
        client.0.shutdown(std::net::Shutdown::Write).unwrap();
        assert!(client.is_closed());
    }
}

pub fn a_message_may_come_in_pieces_and_in_binary<R: Runtime>(runtime: &R) {
    let gateway = Gateway::start(runtime);
    let mut client = Client::upgraded(gateway.addr);
    let mut bytes = masked(2, br#"{"type":"req","id":"1","#);
    bytes[0] &= 0x7f;
    bytes.extend(masked(9, b"between"));
    bytes.extend(masked(0, br#""method":"health"}"#));
    for byte in bytes {
        client.send(&[byte]);
    }
    assert_eq!(client.frame(), Frame::Pong(b"between".to_vec()));
    let Frame::Text(answer) = client.frame() else { panic!("no answer") };
    assert!(answer.contains("first request must be connect"), "{answer}");
    assert_eq!(client.close_frame().0, 1008);
}

pub fn a_close_is_answered<R: Runtime>(runtime: &R) {
    let gateway = Gateway::start(runtime);
    let mut client = Client::upgraded(gateway.addr);
    client.send_frame(8, b"\x03\xe8bye");
    assert_eq!(client.close_frame(), (1000, "bye".to_owned()));
    assert!(client.is_closed());
}

pub fn a_client_that_vanishes_gives_its_place_back<R: Runtime>(runtime: &R) {
    let gateway = Gateway::start(runtime);
    for _ in 0..3 {
        let all: Vec<Client> = (0..32).map(|_| Client::upgraded(gateway.addr)).collect();
        let mut more = Client::connect(gateway.addr);
        let (head, body) = more.ask(&format!("{UPGRADE}\r\n"));
        assert!(head.starts_with("HTTP/1.1 503"), "{head}");
        assert_eq!(body, "Too many unauthenticated sockets");
        for mut client in all {
            client.send_frame(8, b"");
            assert!(client.is_closed());
        }
    }
}
