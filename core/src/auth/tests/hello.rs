//! What each kind of client is told when it comes in (spec 01 §2.7, §9.3, 08 S-17).

use serde_json::{Value, json};
use telson_proto::{Protocol, Scopes};

use super::bench::{Bench, Client, Device, LOOPBACK, REMOTE, START_MS, peer};
use crate::auth::Secret;
use crate::gateway::METHODS;
use crate::settings::{AuthMode, Settings};

const SECRET: &str = "the gateway's own secret";

fn bench() -> Bench {
    Bench::new(Settings::plain(AuthMode::Token(Secret::new(SECRET))))
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn protocol_3_gets_its_closed_hello() {
    let mut bench = bench();
    let hello = bench.connect(&peer(LOOPBACK), &Client::v3().token(SECRET)).unwrap();
    assert_eq!(keys(&hello), ["features", "policy", "protocol", "server", "snapshot", "type"], "no auth");
    assert_eq!((&hello["type"], &hello["protocol"]), (&json!("hello-ok"), &json!(3)));
    assert_eq!(keys(&hello["server"]), ["connId", "host", "version"]);
    assert_eq!(hello["server"]["connId"].as_str().unwrap().len(), 36);
    assert_eq!(keys(&hello["features"]), ["events", "methods"]);
    let policy = json!({"maxPayload": 524_288, "maxBufferedBytes": 1_572_864, "tickIntervalMs": 30_000});
    assert_eq!(hello["policy"], policy);
    assert_eq!(
        keys(&hello["snapshot"]),
        ["configPath", "health", "presence", "sessionDefaults", "stateDir", "stateVersion", "uptimeMs"]
    );
    assert_eq!(
        hello["snapshot"]["sessionDefaults"],
        json!({
            "defaultAgentId": "main", "mainKey": "main", "mainSessionKey": "agent:main:main",
            "scope": "per-sender",
        })
    );
    assert_eq!(hello["snapshot"]["health"]["ok"], true);
    let with_device = Client::v3().token(SECRET).device(&Device::new(1)).scopes(&["read"]);
    let auth = bench.connect(&peer(LOOPBACK), &with_device).unwrap()["auth"].clone();
    assert_eq!(keys(&auth), ["deviceToken", "issuedAtMs", "role", "scopes"]);
    assert_eq!((&auth["role"], &auth["issuedAtMs"]), (&json!("operator"), &json!(START_MS)));
}

#[test]
fn protocol_4_gets_its_own() {
    let mut bench = bench();
    let client = Client::v4().token(SECRET).scopes(&["admin"]);
    let hello = bench.connect(&peer(LOOPBACK), &client).unwrap();
    assert_eq!(hello["protocol"], 4);
    assert_eq!(keys(&hello["server"]), ["bootId", "connId", "controlUiBuildSource", "version"]);
    assert_eq!(hello["server"]["controlUiBuildSource"], "configured");
    assert_eq!(hello["features"]["capabilities"], json!([]));
    assert_eq!(hello["policy"]["maxPayload"], 26_214_400);
    assert_eq!(hello["policy"]["maxBufferedBytes"], 52_428_800);
    assert_eq!(keys(&hello["policy"]["attachments"]), ["maxBytes", "maxImageBytes"]);
    assert_eq!(hello["auth"], json!({"method": "token", "role": "operator", "scopes": ["operator.admin"]}));
    assert_eq!(hello["snapshot"]["authMode"], "token");
    assert_eq!(hello["snapshot"]["suspension"], json!({"phase": "accepting"}));
    assert_eq!(hello["snapshot"]["configPath"], "/nowhere/telson.json");
    assert_eq!(hello["snapshot"]["sessionDefaults"]["modelConfigured"], true);
}

#[test]
fn a_plain_client_is_always_told_what_was_granted_and_its_real_limits() {
    let mut bench = bench();
    for protocol in [3, 4] {
        let client =
            Client::plain().token(SECRET).with("minProtocol", protocol).with("maxProtocol", protocol);
        let hello = bench.connect(&peer(REMOTE), &client).unwrap();
        assert_eq!(hello["protocol"], protocol);
        assert_eq!(
            hello["auth"],
            json!({"method": "token", "role": "operator", "scopes": ["operator.read", "operator.write"]})
        );
        assert_eq!(hello["policy"]["maxPayload"], 524_288);
    }
}

#[test]
fn a_plain_client_without_a_device_is_capped_by_the_configuration() {
    let mut settings = Settings::plain(AuthMode::Token(Secret::new(SECRET)));
    settings.simple_max_scopes = Scopes::parse(&["operator.write"]);
    let mut bench = Bench::new(settings);
    let client = Client::plain().token(SECRET).scopes(&["admin", "read", "write"]);
    let hello = bench.connect(&peer(REMOTE), &client).unwrap();
    assert_eq!(hello["auth"]["scopes"], json!(["operator.read", "operator.write"]));
}

#[test]
fn a_plain_node_needs_a_device_whatever_it_shows() {
    let mut bench = bench();
    let device = Device::new(1);
    let node = || Client::plain().with("role", "node");
    for client in
        [node(), node().token(SECRET), node().with("client", json!({"id": device.id()})).token(SECRET)]
    {
        let refused = bench.connect(&peer(LOOPBACK), &client).unwrap_err();
        assert_eq!(refused.message(), "device identity required");
    }
    assert!(bench.connect(&peer(LOOPBACK), &node().token(SECRET).device(&device)).is_ok());
}

#[test]
fn only_those_who_may_read_see_who_is_connected() {
    let mut bench = bench();
    let client = |n, scopes: &[&str]| Client::v4().token(SECRET).device(&Device::new(n)).scopes(scopes);
    let ui = client(1, &["read"]).named("openclaw-tui", "ui");
    let hello = bench.connect(&peer(LOOPBACK), &ui).unwrap();
    let presence = hello["snapshot"]["presence"].as_array().unwrap().clone();
    assert_eq!(presence.len(), 2, "the newcomer sees itself and the gateway");
    assert_eq!(hello["snapshot"]["stateVersion"]["presence"], 2);
    for client in [client(2, &["pairing"]), client(3, &[])] {
        let hello = bench.connect(&peer(LOOPBACK), &client).unwrap();
        assert_eq!(hello["snapshot"]["presence"], json!([]));
        assert_eq!(hello["snapshot"]["health"], json!({}));
    }
    let old = Client::v3().token(SECRET).device(&Device::new(4)).scopes(&["pairing"]);
    let hello = bench.connect(&peer(LOOPBACK), &old).unwrap();
    assert_eq!(hello["snapshot"]["presence"], json!([]));
    assert_eq!(hello["snapshot"]["health"]["ok"], true);
}

#[test]
fn paths_and_the_auth_mode_are_for_admins() {
    let mut bench = bench();
    let clients = |scope: &str| {
        [Client::v3(), Client::v4(), Client::plain()].map(|client| client.token(SECRET).scopes(&[scope]))
    };
    for scope in ["read", "write", "pairing", "approvals", "talk"] {
        for client in clients(scope) {
            let snapshot = bench.connect(&peer(LOOPBACK), &client).unwrap()["snapshot"].clone();
            for secret in ["configPath", "stateDir", "authMode"] {
                assert!(snapshot.get(secret).is_none(), "{scope} sees {secret}");
            }
        }
    }
    for client in clients("admin") {
        let snapshot = bench.connect(&peer(LOOPBACK), &client).unwrap()["snapshot"].clone();
        assert!(snapshot.get("stateDir").is_some());
    }
}

#[test]
fn what_is_advertised_exists() {
    let mut bench = bench();
    for (client, protocol) in [(Client::v3(), Protocol::V3), (Client::v4(), Protocol::V4)] {
        let client = client.token(SECRET).scopes(&["read"]);
        let hello = bench.connect(&peer(LOOPBACK), &client).unwrap();
        let listed: Vec<&str> =
            hello["features"]["methods"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        let expected: Vec<&str> =
            METHODS.iter().filter(|method| method.is_listed(protocol)).map(|method| method.name).collect();
        assert_eq!(listed, expected);
        assert!(!listed.contains(&"chat.inject"), "callable, not listed");
        let events = hello["features"]["events"].as_array().unwrap();
        assert_eq!(events.contains(&json!("sessions.changed")), protocol == Protocol::V4);
        assert!(events.contains(&json!("connect.challenge")));
    }
}
