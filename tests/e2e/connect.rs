//! Three dialects on one port, and who is let in.

use serde_json::json;
use telson_tests::on_every_runtime;
use telson_tests::support::binary::Binary;
use telson_tests::support::client::{Client, Dialect, Greeting};
use telson_tests::support::device::Device;
use telson_tests::support::gateway::{Gateway, Home};

on_every_runtime!(
    three_dialects_share_a_port,
    one_broadcast_reaches_all_dialects,
    the_hello_lists_only_what_can_be_called,
    presence_shows_who_is_connected,
    a_local_device_is_paired_at_once_and_its_token_works,
    a_wrong_token_is_refused_with_its_reason,
    a_connection_without_any_secret_is_refused,
    a_password_lets_in_when_the_gateway_asks_for_one,
    without_a_common_protocol_the_refusal_says_what_is_spoken,
    scopes_that_were_not_asked_for_are_not_granted,
);

fn refused(gateway: &Gateway, greeting: &Greeting<'_>) -> (serde_json::Value, u16, String) {
    let refusal = Client::connect(gateway.address, greeting).err().expect("the gateway refuses");
    let (code, reason) = refusal.closed.expect("a refusal ends with a close frame");
    (refusal.error, code, reason)
}

fn three_dialects_share_a_port(binary: Binary) {
    let gateway = Home::new(binary).start();
    for (dialect, protocol) in [(Dialect::V3, 3), (Dialect::V4, 4), (Dialect::Plain, 3)] {
        let mut client = gateway.operator(dialect);
        assert_eq!(client.hello["type"], json!("hello-ok"));
        assert_eq!(client.hello["protocol"], json!(protocol));
        assert_eq!(client.hello["policy"]["tickIntervalMs"], json!(30_000));
        assert_eq!(client.ask("health", &json!({}))["ok"], json!(true));
        client.leave();
    }
}

fn one_broadcast_reaches_all_dialects(binary: Binary) {
    let gateway = Home::new(binary).start();
    let mut clients = Dialect::ALL.map(|dialect| gateway.operator(dialect));
    clients[2].ask("talk.mode", &json!({"enabled": true}));
    for client in &mut clients {
        assert_eq!(client.event("talk.mode", |_| true)["enabled"], json!(true));
    }
}

fn the_hello_lists_only_what_can_be_called(binary: Binary) {
    let gateway = Home::new(binary).start();
    for dialect in Dialect::ALL {
        let mut client = gateway.operator(dialect);
        let methods = client.hello["features"]["methods"].as_array().expect("a list").clone();
        assert!(methods.len() > 10, "{methods:?}");
        for method in methods {
            let method = method.as_str().expect("a name");
            if let Err(error) = client.call(method, &json!({})) {
                let message = error["message"].as_str().expect("a message");
                assert!(!message.starts_with("unknown method"), "{method} is listed but {message}");
            }
        }
        let unknown = client.call("no.such.method", &json!({})).expect_err("it does not exist");
        assert_eq!(unknown["code"], json!("INVALID_REQUEST"));
        assert_eq!(unknown["message"], json!("unknown method: no.such.method"));
    }
}

fn presence_shows_who_is_connected(binary: Binary) {
    let gateway = Home::new(binary).start();
    let token = gateway.token();
    let mut watcher = gateway.operator(Dialect::V4);
    let device = Device::new(7);
    let phone = Client::connect(
        gateway.address,
        &Greeting {
            device: Some(&device),
            client_id: "openclaw-ios",
            client_mode: "ui",
            ..Greeting::operator(Dialect::V4, &token)
        },
    )
    .expect("the device is let in");
    let id = device.id();
    let shows = |payload: &serde_json::Value| {
        payload["presence"].as_array().expect("a list").iter().any(|entry| entry["deviceId"] == json!(id))
    };
    watcher.event("presence", shows);
    phone.leave();
    watcher.event("presence", |payload| {
        payload["presence"]
            .as_array()
            .expect("a list")
            .iter()
            .any(|entry| entry["deviceId"] == json!(id) && entry["reason"] == json!("disconnect"))
            || !shows(payload)
    });
    let entries = watcher.ask("system-presence", &json!({}));
    assert!(entries.as_array().expect("a list").iter().any(|entry| entry["mode"] == json!("gateway")));
}

fn a_local_device_is_paired_at_once_and_its_token_works(binary: Binary) {
    let gateway = Home::new(binary).start();
    let token = gateway.token();
    for (seed, dialect) in (1..).zip(Dialect::ALL) {
        let device = Device::new(seed);
        let first = Client::connect(
            gateway.address,
            &Greeting { device: Some(&device), ..Greeting::operator(dialect, &token) },
        )
        .expect("a local device with the shared secret is let in");
        let device_token =
            first.hello["auth"]["deviceToken"].as_str().expect("a device gets a token").to_owned();
        first.leave();
        let mut again = Client::connect(
            gateway.address,
            &Greeting { device: Some(&device), ..Greeting::operator(dialect, &device_token) },
        )
        .expect("the device's token is enough");
        let paired = again.ask("device.pair.list", &json!({}));
        let paired = paired["paired"].as_array().expect("a list");
        assert!(paired.iter().any(|entry| entry["deviceId"] == json!(device.id())), "{paired:?}");
        let stranger = Device::new(99);
        let (_, code, _) = refused(
            &gateway,
            &Greeting { device: Some(&stranger), ..Greeting::operator(dialect, &device_token) },
        );
        assert_eq!(code, 1008, "a device's token is of no use to another device");
    }
}

fn a_wrong_token_is_refused_with_its_reason(binary: Binary) {
    let gateway = Home::new(binary).start();
    for dialect in Dialect::ALL {
        let (error, code, reason) = refused(&gateway, &Greeting::operator(dialect, "not the token"));
        assert_eq!(error["code"], json!("INVALID_REQUEST"), "{error}");
        let message = error["message"].as_str().expect("a message");
        assert!(message.starts_with("unauthorized: gateway token mismatch"), "{message}");
        assert_eq!(error["details"]["code"], json!("AUTH_TOKEN_MISMATCH"), "{error}");
        assert_eq!(error["details"]["authReason"], json!("token_mismatch"), "{error}");
        assert_eq!(code, 1008);
        assert!(reason.starts_with("unauthorized: gateway token mismatch"), "{reason}");
    }
}

fn a_connection_without_any_secret_is_refused(binary: Binary) {
    let gateway = Home::new(binary).start();
    for dialect in Dialect::ALL {
        let (error, code, reason) =
            refused(&gateway, &Greeting { token: None, ..Greeting::operator(dialect, "") });
        assert_eq!(error["code"], json!("NOT_PAIRED"), "{error}");
        assert_eq!(error["message"], json!("device identity required"));
        assert_eq!((code, reason.as_str()), (1008, "device identity required"));
    }
}

fn a_password_lets_in_when_the_gateway_asks_for_one(binary: Binary) {
    let home = Home::new(binary);
    home.configure(r#"{gateway: {auth: {mode: "password", password: "correct horse battery"}}}"#);
    let gateway = home.start();
    for dialect in [Dialect::V4, Dialect::Plain] {
        let greeting = Greeting { token: None, ..Greeting::operator(dialect, "") };
        let mut client = Client::connect(
            gateway.address,
            &Greeting { password: Some("correct horse battery"), ..greeting },
        )
        .expect("the password is right");
        client.ask("status", &json!({}));
        let greeting = Greeting { token: None, ..Greeting::operator(dialect, "") };
        let (error, code, _) =
            refused(&gateway, &Greeting { password: Some("wrong horse battery"), ..greeting });
        assert_eq!(error["details"]["code"], json!("AUTH_PASSWORD_MISMATCH"), "{error}");
        assert_eq!(code, 1008);
    }
}

fn without_a_common_protocol_the_refusal_says_what_is_spoken(binary: Binary) {
    let gateway = Home::new(binary).start();
    let mut client = Client::open(gateway.address, Dialect::V4);
    client.request_as(
        "hello",
        "connect",
        &json!({
            "minProtocol": 5, "maxProtocol": 6, "role": "operator", "auth": {"token": gateway.token()},
            "client": {"id": "cli", "version": "9", "platform": "linux", "mode": "cli"},
        }),
    );
    let error = client.response("hello").expect_err("no such protocol is spoken");
    assert_eq!(error["message"], json!("protocol mismatch"));
    assert_eq!(error["details"]["code"], json!("PROTOCOL_MISMATCH"), "{error}");
    assert_eq!(error["details"]["expectedProtocol"], json!(4), "{error}");
    assert_eq!(client.closed(), Some((1002, "protocol mismatch".to_owned())));
}

fn scopes_that_were_not_asked_for_are_not_granted(binary: Binary) {
    let gateway = Home::new(binary).start();
    let token = gateway.token();
    for (dialect, code) in
        [(Dialect::V3, "INVALID_REQUEST"), (Dialect::V4, "FORBIDDEN"), (Dialect::Plain, "INVALID_REQUEST")]
    {
        let greeting = Greeting { scopes: &["operator.read"], ..Greeting::operator(dialect, &token) };
        let mut reader = Client::connect(gateway.address, &greeting).expect("a reader is let in");
        reader.ask("sessions.list", &json!({}));
        let error = reader
            .call("chat.send", &super::talk::message("hello", "key"))
            .expect_err("a reader does not write");
        assert_eq!(error["code"], json!(code), "{error}");
        assert_eq!(error["message"], json!("missing scope: operator.write"));
    }
}
