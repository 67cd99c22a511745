//! Service tokens over WebSocket (07 P-23).

use std::time::Duration;

use serde_json::{Value, json};

use super::bench::{Bench, Client, Device, Disk, LOOPBACK, REMOTE, peer};
use crate::auth::Secret;
use crate::ids::ConnId;
use crate::settings::{AuthMode, Settings};

const SECRET: &str = "the gateway's own secret";

fn bench() -> Bench {
    Bench::new(Settings::plain(AuthMode::Token(Secret::new(SECRET))))
}

fn owner(bench: &mut Bench) -> ConnId {
    let (conn, hello) = bench.connect_as(&peer(LOOPBACK), &Client::v4().token(SECRET).scopes(&["admin"]));
    hello.unwrap();
    conn
}

fn make(bench: &mut Bench, desk: ConnId, params: &Value) -> (String, String) {
    let made = bench.call(desk, "tokens.create", params)["payload"].clone();
    let text = |name: &str| made[name].as_str().expect("text").to_owned();
    (text("id"), text("value"))
}

fn bot() -> Value {
    json!({"name": "bot", "scopes": ["operator.read", "operator.write"]})
}

#[test]
fn a_program_comes_in_without_a_device_and_with_the_scopes_of_its_token() {
    let mut bench = bench();
    let desk = owner(&mut bench);
    let (id, value) = make(&mut bench, desk, &bot());
    assert!(value.starts_with("telson_svc_") && !bench.rows_text().contains(&value));
    for client in [Client::v3(), Client::v4(), Client::plain()] {
        let plain = client.plain;
        let client = client.token(&value);
        let (conn, hello) = bench.connect_as(&peer(REMOTE), &client.clone().scopes(&["read", "admin"]));
        let auth = hello.unwrap()["auth"].clone();
        if !plain {
            assert_eq!(bench.call(conn, "sessions.list", &json!({}))["ok"], true);
            let refused = bench.call(conn, "tokens.list", &json!({}));
            assert_eq!(refused["error"]["message"], "missing scope: operator.admin");
        }
        if !auth.is_null() {
            assert_eq!(auth["scopes"], json!(["operator.read"]));
        }
        if plain {
            assert_eq!(auth["withheldScopes"], json!(["operator.admin"]));
        }
        let hello = bench.connect(&peer(REMOTE), &client.clone().device(&Device::new(1))).unwrap();
        assert_eq!(hello["auth"]["deviceToken"], Value::Null, "it is no device, whatever it proves");
        let node = client.with("role", "node");
        let node = if plain { node } else { node.named("node-host", "node") };
        assert_eq!(bench.connect(&peer(REMOTE), &node).unwrap_err().message(), "device identity required");
    }
    assert_eq!(bench.row(&Device::new(1)), None);
    let list = bench.call(desk, "tokens.list", &json!({}));
    assert_eq!(
        (&list["payload"]["tokens"][0]["id"], &list["payload"]["tokens"][0]["name"]),
        (&json!(id), &json!("bot"))
    );
    assert!(!list.to_string().contains("hash"));
    bench.restart();
    assert!(bench.connect(&peer(REMOTE), &Client::v4().token(&value)).is_ok(), "it outlives the process");
}

#[test]
fn a_revoked_token_ends_what_it_let_in_and_never_comes_back() {
    let mut bench = bench();
    let desk = owner(&mut bench);
    let (id, value) = make(&mut bench, desk, &bot());
    let (conn, hello) = bench.connect_as(&peer(REMOTE), &Client::v4().token(&value));
    hello.unwrap();
    assert_eq!(bench.call(desk, "tokens.revoke", &json!({"id": id}))["payload"]["id"], id.as_str());
    assert_eq!(bench.close_of(conn), Some((4001, "client invalidated: service-token-revoked".to_owned())));
    for _ in 0..2 {
        let refused = bench.connect(&peer(REMOTE), &Client::v4().token(&value)).unwrap_err();
        assert_eq!(refused.detail("authReason"), "service_token_invalid");
        bench.restart();
    }
    let desk = owner(&mut bench);
    assert!(
        bench.call(desk, "tokens.revoke", &json!({"id": id}))["error"]["message"]
            .as_str()
            .unwrap()
            .starts_with("unknown id")
    );
    assert!(bench.book.iter().any(|line| line.action == "tokens.revoke" && line.subject == id));
}

#[test]
fn a_token_ends_by_itself_and_takes_its_connections_along() {
    let mut bench = bench();
    let desk = owner(&mut bench);
    let params = json!({"name": "short", "scopes": ["operator.read"], "expiresInMs": 60_000});
    let (_, value) = make(&mut bench, desk, &params);
    let (conn, hello) = bench.connect_as(&peer(REMOTE), &Client::v4().token(&value));
    hello.unwrap();
    bench.pass_alive(conn, Duration::from_millis(59_999));
    assert_eq!(bench.close_of(conn), None);
    bench.pass(Duration::from_millis(1));
    assert_eq!(bench.close_of(conn), Some((4001, "client invalidated: service-token-expired".to_owned())));
    bench.connect(&peer(REMOTE), &Client::v4().token(&value)).unwrap_err();
    let desk = owner(&mut bench);
    assert_eq!(bench.call(desk, "tokens.list", &json!({}))["payload"]["tokens"], json!([]));
    assert!(bench.records.is_empty(), "its row is gone");
}

#[test]
fn wrong_ones_are_counted_and_lock_their_address_out() {
    let mut bench = bench();
    let desk = owner(&mut bench);
    let (_, value) = make(&mut bench, desk, &bot());
    for n in 0..10 {
        let guess = Client::v4().token(&format!("telson_svc_{n}"));
        assert_eq!(
            bench.connect(&peer(REMOTE), &guess).unwrap_err().detail("authReason"),
            "service_token_invalid"
        );
    }
    let locked = bench.connect(&peer(REMOTE), &Client::v4().token(&value)).unwrap_err();
    assert_eq!(locked.detail("authReason"), "rate_limited");
    assert!(bench.connect(&peer([10, 0, 0, 10]), &Client::v4().token(&value)).is_ok(), "no other address");
    assert!(bench.connect(&peer(REMOTE), &Client::plain().token(SECRET)).is_ok(), "no other kind");
}

#[test]
fn names_scopes_and_numbers_are_bounded_and_only_admins_make_them() {
    let mut bench = bench();
    let desk = owner(&mut bench);
    let refused = |bench: &mut Bench, params: Value| {
        bench.call(desk, "tokens.create", &params)["error"]["message"].as_str().unwrap_or_default().to_owned()
    };
    assert!(refused(&mut bench, json!({"name": " ", "scopes": ["operator.read"]})).starts_with("name: "));
    assert!(refused(&mut bench, json!({"name": "x", "scopes": []})).starts_with("scopes: "));
    assert!(refused(&mut bench, json!({"name": "x", "scopes": ["operator.all"]})).contains("operator.all"));
    let (_, value) = make(&mut bench, desk, &bot());
    let (conn, _) = bench.connect_as(&peer(REMOTE), &Client::v4().token(&value));
    let denied = bench.call(conn, "tokens.create", &bot());
    assert_eq!(denied["error"]["details"]["missingScope"], "operator.admin");
    assert_eq!(denied["error"]["details"]["heldScopes"], json!(["operator.read", "operator.write"]));
    for _ in 1..100 {
        make(&mut bench, desk, &bot());
    }
    assert!(refused(&mut bench, bot()).contains("100 service tokens"));
    bench.disk = Disk::Faulty;
    let list = bench.call(desk, "tokens.list", &json!({}));
    assert_eq!(list["payload"]["tokens"].as_array().unwrap().len(), 100);
}
