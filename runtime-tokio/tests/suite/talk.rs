//! Clients that come in, and what they may then do to each other: nothing.

use telson_core::messages::ConnLimits;
use telson_host::driver::Exit;
use telson_host::runtime::{Runtime, Signal};

use super::client::{Client, Frame};
use super::gateway::{Gateway, TOKEN};

/// Connects with the token and reads the hello.
fn inside(gateway: &Gateway) -> Client {
    let mut client = Client::upgraded(gateway.addr);
    let scopes = r#"["operator.read","operator.write"]"#;
    client.send_text(&format!(
        r#"{{"type":"req","id":"c","method":"connect","params":{{"minProtocol":3,"maxProtocol":3,"client":{{"id":"cli","version":"1","platform":"linux","mode":"cli"}},"role":"operator","scopes":{scopes},"auth":{{"token":"{TOKEN}"}}}}}}"#
    ));
    let hello = answer(&mut client, "c");
    assert!(hello.contains("hello-ok"), "{hello}");
    client
}

/// The answer to a request; events on the way are left out.
fn answer(client: &mut Client, id: &str) -> String {
    let head = format!(r#"{{"type":"res","id":"{id}""#);
    loop {
        match client.frame() {
            Frame::Text(text) if text.starts_with(&head) => return text,
            Frame::Text(_) | Frame::Ping | Frame::Pong(_) => {}
            close @ Frame::Close(..) => panic!("{close:?} instead of an answer"),
        }
    }
}

fn health(client: &mut Client, id: &str) -> String {
    client.send_text(&format!(r#"{{"type":"req","id":"{id}","method":"health"}}"#));
    answer(client, id)
}

pub fn a_client_comes_in_and_asks<R: Runtime>(runtime: &R) {
    let gateway = Gateway::start(runtime);
    let mut client = inside(&gateway);
    let answer = health(&mut client, "1");
    assert!(answer.contains(r#""ok":true"#), "{answer}");
}

pub fn a_client_that_is_in_may_send_what_its_hello_says<R: Runtime>(runtime: &R) {
    let gateway = Gateway::start(runtime);
    let mut client = inside(&gateway);
    let padding = " ".repeat(500_000);
    client.send_text(&format!(r#"{{"type":"req","id":"large","method":"health"{padding}}}"#));
    assert!(answer(&mut client, "large").contains(r#""ok":true"#));
    client.send_frame(1, " ".repeat(524_289).as_bytes());
    let reason = "message of 524289 bytes exceeds the limit of 524288 bytes";
    assert_eq!(client.close_frame(), (1009, reason.to_owned()));
    let mut client = inside(&gateway);
    client.send(b"\x81\xff\0\0\0\0\x7f\0\0\0\0\0\0\0");
    assert_eq!(client.close_frame().0, 1009);
}

pub fn a_client_that_does_not_read_is_still_heard<R: Runtime>(runtime: &R) {
    let gateway = Gateway::start(runtime);
    let mut bystander = inside(&gateway);
    let mut client = inside(&gateway);
    let mut writer = Client(client.0.try_clone().unwrap());
    let asking = std::thread::spawn(move || {
        for n in 0..3_000 {
            writer.send_text(&format!(r#"{{"type":"req","id":"{n}","method":"health"}}"#));
        }
    });
    // Every request is taken although no answer has been read, and nobody else notices.
    asking.join().unwrap();
    assert!(health(&mut bystander, "meanwhile").contains(r#""ok":true"#));
    for n in 0..3_000 {
        answer(&mut client, &n.to_string());
    }
}

pub fn a_slow_consumer_is_closed_and_hurts_nobody<R: Runtime>(runtime: &R) {
    let gateway = Gateway::start_with(runtime, |settings| {
        settings.limits.v3 = ConnLimits { max_payload: 524_288, max_buffered: 4_000_000 };
    });
    let mut slow = inside(&gateway);
    let mut reader = inside(&gateway);
    // More than the operating system keeps for a client that does not read.
    let words = "x".repeat(400_000);
    for n in 0..25 {
        reader.send_text(&format!(
            r#"{{"type":"req","id":"{n}","method":"chat.send","params":{{"sessionKey":"main","idempotencyKey":"{n}","message":"{words}"}}}}"#
        ));
        answer(&mut reader, &n.to_string());
        reader.until(|text| text.contains(r#""state":"final""#));
    }
    assert!(slow.is_closed());
    assert!(health(&mut reader, "after").contains(r#""ok":true"#));
}

pub fn a_message_sent_just_before_the_end_is_heard<R: Runtime>(runtime: &R) {
    let gateway = Gateway::start(runtime);
    let mut witness = inside(&gateway);
    for n in 0..25 {
        let mut client = inside(&gateway);
        client.send_text(&format!(
            r#"{{"type":"req","id":"t","method":"talk.mode","params":{{"enabled":true,"phase":"last words {n}"}}}}"#
        ));
        drop(client);
        witness.until(|text| text.contains(&format!("last words {n}")));
    }
}

pub fn a_stop_tells_everyone_who_is_in<R: Runtime>(runtime: &R) {
    let gateway = Gateway::start(runtime);
    let mut clients = [inside(&gateway), inside(&gateway)];
    gateway.signal(Signal::User1);
    for client in &mut clients {
        let shutdown = client.until(|text| text.contains(r#""event":"shutdown""#));
        assert!(shutdown.contains("gateway restarting") && shutdown.contains("1500"), "{shutdown}");
        assert_eq!(client.close_frame(), (1012, "service restart".to_owned()));
    }
    assert!(matches!(gateway.ended(), Ok(Exit::Restarting)));
}
