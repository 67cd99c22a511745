//! Setup codes (spec 01 §5.8, 08 S-45–S-47).

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::bench::{Bench, Client, Device, Disk, LOOPBACK, REMOTE, peer};
use crate::auth::Secret;
use crate::ids::ConnId;
use crate::settings::{AuthMode, Settings};

const SECRET: &str = "the gateway's own secret";

fn bench() -> Bench {
    Bench::new(Settings::plain(AuthMode::Token(Secret::new(SECRET))))
}

fn owner(bench: &mut Bench, scopes: &[&str]) -> ConnId {
    let (conn, hello) = bench.connect_as(&peer(LOOPBACK), &Client::v4().token(SECRET).scopes(scopes));
    hello.unwrap();
    conn
}

/// A code of this profile: the answer, and what a device reads from it.
fn code(bench: &mut Bench, desk: ConnId, profile: &str) -> (Value, Value) {
    let params = json!({"bootstrapProfile": profile, "publicUrl": "ws://box.lan:18789"});
    let answer = bench.call(desk, "device.pair.setupCode", &params)["payload"].clone();
    let text = URL_SAFE_NO_PAD.decode(answer["setupCode"].as_str().expect("a code")).unwrap();
    (answer, serde_json::from_slice(&text).unwrap())
}

fn phone(n: u8, token: &str) -> Client {
    let client = Client::v4().with("role", "node").named("node-host", "node");
    client.bootstrap_token(token).device(&Device::new(n))
}

fn bootstrap(read: &Value) -> String {
    read["bootstrapToken"].as_str().expect("a token").to_owned()
}

#[test]
fn a_code_holds_nothing_but_the_way_and_a_token_that_is_good_once() {
    let mut bench = bench();
    let desk = owner(&mut bench, &["admin"]);
    let (answer, read) = code(&mut bench, desk, "mobile");
    let members: Vec<&String> = read.as_object().unwrap().keys().collect();
    assert_eq!(members, ["bootstrapToken", "expiresAtMs", "url"]);
    assert!(!read.to_string().contains(SECRET) && !bench.rows_text().contains(&bootstrap(&read)));
    assert_eq!((&answer["access"], &answer["gatewayUrl"]), (&json!("limited"), &json!("ws://box.lan:18789")));
    let (_, hello) = bench.connect_as(&peer(REMOTE), &phone(1, &bootstrap(&read)));
    let hello = hello.unwrap();
    assert_eq!(hello["auth"]["method"], "bootstrap-token");
    let other = &hello["auth"]["deviceTokens"][0];
    assert_eq!(other["role"], "operator");
    assert!(!other["scopes"].to_string().contains("admin"));
    let done = bench.frames.iter().find(|(_, f)| f["event"] == "device.pair.setup.completed").unwrap();
    assert_eq!(done.1["payload"]["deviceId"], Device::new(1).id().as_str());
    let status = bench.call(desk, "device.pair.setupStatus", &json!({"setupId": answer["setupId"]}));
    assert_eq!(status["payload"]["completion"]["access"], "limited");

    let refused = bench.connect(&peer(REMOTE), &phone(1, &bootstrap(&read))).unwrap_err();
    assert_eq!(refused.detail("code"), "AUTH_BOOTSTRAP_TOKEN_INVALID", "not even its own device again");
    let with_secret = phone(2, &bootstrap(&read)).token(SECRET);
    let refused = bench.connect(&peer(LOOPBACK), &with_secret).unwrap_err();
    assert_eq!(refused.detail("code"), "AUTH_BOOTSTRAP_TOKEN_INVALID", "it decides also beside the secret");
    let pending = bench.call(desk, "device.pair.list", &json!({}));
    assert_eq!(pending["payload"]["pending"], json!([]), "a replay asks for nothing");

    let node = Client::v4().with("role", "node").named("node-host", "node").device(&Device::new(1));
    let token = hello["auth"]["deviceToken"].as_str().unwrap();
    assert!(bench.connect(&peer(REMOTE), &node.device_token(token)).is_ok());
    let operator = Client::v4().device(&Device::new(1)).scopes(&["write"]);
    let token = other["deviceToken"].as_str().unwrap();
    assert!(bench.connect(&peer(REMOTE), &operator.device_token(token)).is_ok());
}

#[test]
fn of_many_that_show_a_code_at_once_one_comes_in() {
    let mut bench = bench();
    let desk = owner(&mut bench, &["admin"]);
    let (_, read) = code(&mut bench, desk, "node");
    bench.disk = Disk::Silent;
    let conns: Vec<ConnId> =
        (1..=100).map(|n| bench.send_connect(&peer([10, 1, 0, n]), &phone(n, &bootstrap(&read)))).collect();
    bench.write_waiting();
    let good = |bench: &Bench, conn| bench.answer(conn, "c").is_some_and(|answer| answer["ok"] == true);
    assert_eq!(conns.iter().filter(|conn| good(&bench, **conn)).count(), 1);
}

#[test]
fn a_code_is_good_for_its_profile_and_its_time_only() {
    let mut bench = bench();
    let desk = owner(&mut bench, &["admin"]);
    let (_, node) = code(&mut bench, desk, "node");
    let operator = Client::v4().device(&Device::new(1)).bootstrap_token(&bootstrap(&node)).scopes(&["read"]);
    bench.connect(&peer(REMOTE), &operator).unwrap_err();
    let (_, ui) = code(&mut bench, desk, "voice-node");
    let wide = Client::v4().device(&Device::new(1)).bootstrap_token(&bootstrap(&ui)).scopes(&["write"]);
    bench.connect(&peer(REMOTE), &wide).unwrap_err();
    bench.restart();
    assert!(bench.connect(&peer(REMOTE), &phone(2, &bootstrap(&node))).is_ok(), "it outlives the process");
    let desk = owner(&mut bench, &["admin"]);
    let (_, late) = code(&mut bench, desk, "node");
    bench.pass(Duration::from_secs(600));
    bench.connect(&peer([10, 0, 0, 77]), &phone(3, &bootstrap(&late))).unwrap_err();
    bench.pass(Duration::from_secs(600));
    assert!(bench.records.keys().all(|(shelf, _)| *shelf != crate::store::Shelf::SetupCodes), "rows go too");
}

#[test]
fn a_code_whose_approval_was_not_written_is_still_its_devices_and_no_others() {
    let mut bench = bench();
    let desk = owner(&mut bench, &["admin"]);
    let (_, read) = code(&mut bench, desk, "node");
    bench.disk = Disk::Faulty;
    assert_eq!(bench.connect(&peer(REMOTE), &phone(1, &bootstrap(&read))).unwrap_err().close, 1013);
    bench.disk = Disk::Prompt;
    bench.connect(&peer(REMOTE), &phone(2, &bootstrap(&read))).unwrap_err();
    assert!(bench.connect(&peer(REMOTE), &phone(1, &bootstrap(&read))).is_ok());
}

#[test]
fn codes_are_for_admins_and_their_addresses_hold_no_secret() {
    let mut bench = bench();
    let helper = owner(&mut bench, &["pairing", "write"]);
    let answer = bench.call(helper, "device.pair.setupCode", &json!({"publicUrl": "ws://box"}));
    assert_eq!(answer["error"]["message"], "missing scope: operator.admin");
    let held = &answer["error"]["details"]["heldScopes"];
    assert_eq!(held, &json!(["operator.write", "operator.pairing"]), "and what it has is said");
    let desk = owner(&mut bench, &["admin"]);
    for url in ["http://box", "ws://u:p@box", "ws://box?token=x", "ws://box#t", "box"] {
        let answer = bench.call(desk, "device.pair.setupCode", &json!({"publicUrl": url}));
        assert!(answer["error"]["message"].as_str().unwrap().starts_with("publicUrl: "), "{url}");
    }
    let nowhere = bench.call(desk, "device.pair.setupCode", &json!({}));
    assert!(nowhere["error"]["message"].as_str().unwrap().starts_with("publicUrl: required"));
}
