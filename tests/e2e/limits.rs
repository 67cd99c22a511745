//! What a client may not do, and that doing it harms only that client.

use serde_json::json;
use telson_tests::on_every_runtime;
use telson_tests::support::binary::Binary;
use telson_tests::support::client::{Client, Dialect};
use telson_tests::support::gateway::Home;

on_every_runtime!(
    before_hello_a_large_message_closes_the_connection,
    after_hello_the_advertised_size_is_the_limit,
    a_first_frame_that_is_not_json_closes_the_connection,
    a_first_frame_of_no_dialect_closes_the_connection,
    a_first_request_other_than_connect_is_refused,
    a_silent_connection_is_closed_with_a_reason,
    too_many_unauthenticated_connections_of_one_address_are_refused,
    after_hello_a_bad_frame_harms_nothing,
    frames_of_another_dialect_are_refused_and_the_connection_stays,
);

fn before_hello_a_large_message_closes_the_connection(binary: Binary) {
    let gateway = Home::new(binary).start();
    for dialect in Dialect::ALL {
        let mut client = Client::open(gateway.address, dialect);
        client.say_boldly(&format!(r#"{{"type":"req","pad":"{}"}}"#, "x".repeat(65_536)));
        let (code, _) = client.closed().expect("a close frame");
        assert_eq!(code, 1009);
    }
    gateway.operator(Dialect::V3).ask("health", &json!({}));
}

fn after_hello_the_advertised_size_is_the_limit(binary: Binary) {
    let gateway = Home::new(binary).start();
    for dialect in Dialect::ALL {
        let mut client = gateway.operator(dialect);
        let limit = client.hello["policy"]["maxPayload"].as_u64().expect("a number");
        let limit = usize::try_from(limit).expect("it fits");
        let kind = if dialect == Dialect::Plain { "request" } else { "req" };
        let frame = |size: usize| {
            let empty =
                json!({"type": kind, "id": "big", "method": "no.such", "params": {"pad": ""}}).to_string();
            json!({"type": kind, "id": "big", "method": "no.such", "params": {"pad": "x".repeat(size - empty.len())}})
                .to_string()
        };
        client.say(&frame(limit));
        client.response("big").expect_err("there is no such method");
        client.say_boldly(&frame(limit + 1));
        let (code, _) = client.closed().expect("a close frame");
        assert_eq!(code, 1009);
    }
}

fn a_first_frame_that_is_not_json_closes_the_connection(binary: Binary) {
    let gateway = Home::new(binary).start();
    let mut client = Client::open(gateway.address, Dialect::V4);
    client.say("good morning");
    let (code, reason) = client.closed().expect("a close frame");
    assert_eq!(code, 1000);
    assert!(!reason.is_empty(), "every close says why");
}

fn a_first_frame_of_no_dialect_closes_the_connection(binary: Binary) {
    let gateway = Home::new(binary).start();
    for frame in ["{}", "[]", "7", r#"{"type":"res","id":"1","ok":true}"#, r#"{"type":"req","id":""}"#] {
        let mut client = Client::open(gateway.address, Dialect::V4);
        client.say(frame);
        assert_eq!(client.closed(), Some((1008, "invalid request frame".to_owned())), "{frame}");
    }
}

fn a_first_request_other_than_connect_is_refused(binary: Binary) {
    let gateway = Home::new(binary).start();
    let mut client = Client::open(gateway.address, Dialect::V4);
    let error = client.call("health", &json!({})).expect_err("nobody has said hello");
    let text = "invalid handshake: first request must be connect";
    assert_eq!(error["message"], json!(text));
    assert_eq!(client.closed(), Some((1008, text.to_owned())));
}

fn a_silent_connection_is_closed_with_a_reason(binary: Binary) {
    let home = Home::new(binary);
    home.configure("{gateway: {limits: {handshakeTimeoutMs: 100}}}");
    let gateway = home.start();
    let mut client = Client::open(gateway.address, Dialect::V4);
    let (code, reason) = client.closed().expect("a close frame");
    assert_eq!(code, 1000);
    assert!(!reason.is_empty(), "every close says why");
}

fn too_many_unauthenticated_connections_of_one_address_are_refused(binary: Binary) {
    let home = Home::new(binary);
    home.configure("{gateway: {limits: {preauthConnectionsPerIp: 2}}}");
    let gateway = home.start();
    let operator = gateway.operator(Dialect::V4);
    let first = Client::open(gateway.address, Dialect::V4);
    let second = Client::open(gateway.address, Dialect::V4);
    let upgrade = format!(
        "GET / HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        gateway.address
    );
    let reply = telson_tests::support::http::raw(gateway.address, upgrade.as_bytes());
    assert_eq!(reply.status, 503, "{reply:?}");
    drop((operator, first, second));
}

fn after_hello_a_bad_frame_harms_nothing(binary: Binary) {
    let gateway = Home::new(binary).start();
    for dialect in Dialect::ALL {
        let mut client = gateway.operator(dialect);
        client.say("good morning");
        client.say(r#"{"type":"nonsense","id":"77"}"#);
        let error = client.response("77").expect_err("it is no request");
        assert_eq!(error["code"], json!("INVALID_REQUEST"), "{error}");
        client.say("[1, 2, 3]");
        let error = client.response("invalid").expect_err("it is no request");
        let message = error["message"].as_str().expect("a message");
        assert!(message.starts_with("invalid request frame"), "{message}");
        client.ask("health", &json!({}));
    }
}

fn frames_of_another_dialect_are_refused_and_the_connection_stays(binary: Binary) {
    let gateway = Home::new(binary).start();
    for (dialect, kind) in [(Dialect::V3, "request"), (Dialect::V4, "request"), (Dialect::Plain, "req")] {
        let mut client = gateway.operator(dialect);
        client.say(&json!({"type": kind, "id": "x", "method": "health"}).to_string());
        let error = client.response("x").expect_err("it belongs to the other dialect");
        let message = error["message"].as_str().expect("a message");
        assert!(message.contains("belongs to the other dialect"), "{message}");
        client.ask("health", &json!({}));
    }
}
