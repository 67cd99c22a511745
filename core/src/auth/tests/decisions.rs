//! Decisions about devices, as those who make them and those who wait for them see it (spec 01 §5.6, 08 S-42–S-51).

use std::time::Duration;

use serde_json::{Value, json};

use super::bench::{Bench, Client, Device, Disk, LOOPBACK, REMOTE, peer};
use crate::auth::Secret;
use crate::ids::ConnId;
use crate::ingress::network;
use crate::settings::{AuthMode, Settings};
use crate::store::Shelf;

const SECRET: &str = "the gateway's own secret";

fn settings() -> Settings {
    Settings::plain(AuthMode::Token(Secret::new(SECRET)))
}

fn token_of(hello: &Value) -> String {
    hello["auth"]["deviceToken"].as_str().expect("a device token").to_owned()
}

/// Somebody who holds these scopes by the secret, without a device.
fn owner(bench: &mut Bench, scopes: &[&str]) -> ConnId {
    let (conn, hello) = bench.connect_as(&peer(LOOPBACK), &Client::v4().token(SECRET).scopes(scopes));
    hello.unwrap();
    conn
}

fn client(n: u8, scopes: &[&str]) -> Client {
    Client::v4().token(SECRET).device(&Device::new(n)).scopes(scopes)
}

/// The request of a device from elsewhere.
fn request(bench: &mut Bench, client: &Client) -> String {
    let refused = bench.connect(&peer(REMOTE), client).unwrap_err();
    refused.detail("requestId").as_str().expect("a request").to_owned()
}

fn message(answer: &Value) -> &str {
    answer["error"]["message"].as_str().unwrap_or_default()
}

fn events<'a>(bench: &'a Bench, to: ConnId, name: &str) -> Vec<&'a Value> {
    let is = |frame: &Value| frame["event"] == name;
    bench.frames.iter().filter(|(conn, f)| *conn == to && is(f)).map(|(_, f)| &f["payload"]).collect()
}

#[test]
fn what_was_approved_may_connect_and_nothing_else() {
    let mut bench = Bench::new(settings());
    let desk = owner(&mut bench, &["admin"]);
    let id = request(&mut bench, &client(1, &["read"]));
    let asked = events(&bench, desk, "device.pair.requested");
    assert_eq!((&asked[0]["requestId"], &asked[0]["silent"]), (&json!(id), &json!(false)));
    let answer = bench.call(desk, "device.pair.approve", &json!({"requestId": id}));
    assert_eq!(answer["payload"]["requestId"], id.as_str());
    assert_eq!(answer["payload"]["device"]["approvedVia"], "owner");
    assert_eq!(events(&bench, desk, "device.pair.resolved")[0]["decision"], "approved");
    assert!(bench.connect(&peer(REMOTE), &client(1, &["read"])).is_ok());
    let refused = bench.connect(&peer(REMOTE), &client(1, &["write"])).unwrap_err();
    assert_eq!(refused.detail("reason"), "scope-upgrade");
    let again = bench.call(desk, "device.pair.approve", &json!({"requestId": id}));
    assert_eq!(message(&again), "unknown requestId", "a request is decided once");
    assert!(bench.book.iter().any(|line| line.action == "device.pair.approve" && line.outcome == "ok"));
}

#[test]
fn a_request_is_on_disk_before_it_is_named_and_outlives_the_process_but_not_its_time() {
    let mut bench = Bench::new(settings());
    bench.disk = Disk::Silent;
    let conn = bench.send_connect(&peer(REMOTE), &client(1, &["read"]));
    assert_eq!(bench.answer(conn, "c"), None, "nobody is told of what may be lost");
    bench.write_waiting();
    let answer = bench.answer(conn, "c").expect("now it is");
    let id = answer["error"]["details"]["requestId"].as_str().unwrap().to_owned();
    bench.disk = Disk::Prompt;
    bench.pass(Duration::from_secs(200));
    bench.restart();
    let desk = owner(&mut bench, &["admin"]);
    let list = bench.call(desk, "device.pair.list", &json!({}));
    assert_eq!(list["payload"]["pending"][0]["requestId"], id.as_str());
    bench.pass(Duration::from_secs(100));
    assert!(bench.records.keys().all(|(shelf, _)| *shelf != Shelf::PairRequests), "its row is gone");
    let desk = owner(&mut bench, &["admin"]);
    let late = bench.call(desk, "device.pair.approve", &json!({"requestId": id}));
    assert_eq!(message(&late), "unknown requestId");
    bench.disk = Disk::Faulty;
    let refused = bench.connect(&peer(REMOTE), &client(2, &["read"])).unwrap_err();
    assert_eq!((refused.close, refused.detail("requestId")), (1013, &Value::Null));
}

#[test]
fn a_wish_for_more_takes_the_place_of_the_request_that_waits() {
    let mut bench = Bench::new(settings());
    let desk = owner(&mut bench, &["admin"]);
    let first = request(&mut bench, &client(1, &["read"]));
    assert_eq!(request(&mut bench, &client(1, &["read"])), first, "the same wish renews it");
    let second = request(&mut bench, &client(1, &["write"]));
    assert_ne!(first, second);
    let resolved = events(&bench, desk, "device.pair.resolved");
    assert_eq!((&resolved[0]["requestId"], &resolved[0]["decision"]), (&json!(first), &json!("rejected")));
    assert_eq!(events(&bench, desk, "device.pair.requested").len(), 2, "each is told once");
    let old = bench.call(desk, "device.pair.approve", &json!({"requestId": first}));
    assert_eq!(message(&old), "unknown requestId", "an old name gives nothing");
    let answer = bench.call(desk, "device.pair.approve", &json!({"requestId": second}));
    assert_eq!(answer["payload"]["device"]["scopes"], json!(["operator.read", "operator.write"]));
}

#[test]
fn nobody_approves_beyond_what_they_hold() {
    let mut bench = Bench::new(settings());
    let id = request(&mut bench, &client(1, &["admin"]));
    let node =
        Client::v4().token(SECRET).device(&Device::new(2)).with("role", "node").named("node-host", "node");
    let node = request(&mut bench, &node);
    let helper = owner(&mut bench, &["pairing", "write"]);
    for request in [id.as_str(), node.as_str(), "no-such-request"] {
        let answer = bench.call(helper, "device.pair.approve", &json!({"requestId": request}));
        assert_eq!(message(&answer), "device pairing approval denied", "one sentence for all reasons");
    }
    let reasons: Vec<_> = bench.book.iter().filter_map(|line| line.reason.clone()).collect();
    assert!(
        reasons.contains(&"the caller lacks operator.admin".to_owned()),
        "the book knows why: {reasons:?}"
    );
    assert_eq!(bench.row(&Device::new(1)), None);
    let modest = request(&mut bench, &client(3, &["read"]));
    let answer = bench.call(helper, "device.pair.approve", &json!({"requestId": modest}));
    assert_eq!(answer["ok"], true, "writing covers reading");
}

#[test]
fn a_device_with_its_token_decides_about_itself_alone() {
    let mut bench = Bench::new(settings());
    let token = token_of(&bench.connect(&peer(LOOPBACK), &client(1, &["pairing", "read"])).unwrap());
    bench.connect(&peer(LOOPBACK), &client(2, &["read"])).unwrap();
    let foreign = request(&mut bench, &client(3, &["read"]));
    let own = Client::v4().token(&token).device(&Device::new(1)).scopes(&["pairing", "read"]);
    let (conn, hello) = bench.connect_as(&peer(REMOTE), &own);
    hello.unwrap();
    let other = Device::new(2).id();
    let denied = |bench: &mut Bench, method: &str, params: Value, text: &str| {
        assert_eq!(message(&bench.call(conn, method, &params)), text, "{method}");
    };
    denied(
        &mut bench,
        "device.pair.approve",
        json!({"requestId": foreign}),
        "device pairing approval denied",
    );
    denied(
        &mut bench,
        "device.pair.reject",
        json!({"requestId": foreign}),
        "device pairing rejection denied",
    );
    denied(&mut bench, "device.pair.remove", json!({"deviceId": other}), "device pairing removal denied");
    denied(&mut bench, "device.pair.remove", json!({"deviceId": "none"}), "device pairing removal denied");
    let label = json!({"deviceId": other, "label": "x"});
    denied(&mut bench, "device.pair.rename", label, "device pairing rename denied");
    let role = json!({"deviceId": other, "role": "operator"});
    denied(&mut bench, "device.token.rotate", role.clone(), "device token rotation denied");
    denied(&mut bench, "device.token.revoke", role, "device token revocation denied");
    let renamed =
        bench.call(conn, "device.pair.rename", &json!({"deviceId": Device::new(1).id(), "label": " Desk "}));
    assert_eq!(renamed["payload"]["label"], "Desk");
}

#[test]
fn a_removed_device_is_cut_off_and_nothing_of_it_comes_back() {
    let mut bench = Bench::new(settings());
    let token = token_of(&bench.connect(&peer(LOOPBACK), &client(1, &["read"])).unwrap());
    let by_token = Client::v4().token(&token).device(&Device::new(1)).scopes(&["read"]);
    let (conn, hello) = bench.connect_as(&peer(REMOTE), &by_token);
    hello.unwrap();
    let wish = request(&mut bench, &client(1, &["write"]));
    let desk = owner(&mut bench, &["admin"]);
    let gone = bench.call(desk, "device.pair.remove", &json!({"deviceId": Device::new(1).id()}));
    assert_eq!(gone["payload"]["deviceId"], Device::new(1).id().as_str());
    assert_eq!(bench.close_of(conn), Some((4001, "client invalidated: device-removed".to_owned())));
    assert_eq!(events(&bench, desk, "device.pair.changed").len(), 1);
    for _ in 0..2 {
        assert!(bench.connect(&peer(REMOTE), &by_token).is_err(), "its token is worth nothing");
        let desk = owner(&mut bench, &["admin"]);
        let old = bench.call(desk, "device.pair.approve", &json!({"requestId": wish}));
        assert_eq!(message(&old), "unknown requestId");
        assert_eq!(bench.row(&Device::new(1)), None);
        bench.restart();
    }
}

#[test]
fn a_revoked_token_stays_revoked_and_the_secret_makes_another() {
    let mut bench = Bench::new(settings());
    let token = token_of(&bench.connect(&peer(LOOPBACK), &client(1, &["read"])).unwrap());
    let by_token = Client::v4().token(&token).device(&Device::new(1)).scopes(&["read"]);
    let (conn, hello) = bench.connect_as(&peer(REMOTE), &by_token);
    hello.unwrap();
    let desk = owner(&mut bench, &["admin"]);
    let params = json!({"deviceId": Device::new(1).id(), "role": "operator"});
    let answer = bench.call(desk, "device.token.revoke", &params);
    assert_eq!(answer["payload"]["role"], "operator");
    assert_eq!(bench.close_of(conn), Some((4001, "client invalidated: device-token-revoked".to_owned())));
    bench.connect(&peer(REMOTE), &by_token).unwrap_err();
    let rotated = bench.call(desk, "device.token.rotate", &params);
    assert_eq!(message(&rotated), "device token rotation denied", "there is nothing to replace");
    bench.restart();
    bench.connect(&peer(REMOTE), &by_token).unwrap_err();
    let fresh = token_of(&bench.connect(&peer(REMOTE), &client(1, &["read"])).unwrap());
    assert_ne!(fresh, token);
    bench.connect(&peer(REMOTE), &by_token).unwrap_err();
}

#[test]
fn a_new_token_is_told_to_its_device_only_and_ends_what_the_old_one_let_in() {
    let mut bench = Bench::new(settings());
    let token = token_of(&bench.connect(&peer(LOOPBACK), &client(1, &["pairing", "read"])).unwrap());
    let by = |token: &str| Client::v4().token(token).device(&Device::new(1)).scopes(&["pairing", "read"]);
    let params = json!({"deviceId": Device::new(1).id(), "role": "operator"});
    let (own, _) = bench.connect_as(&peer(REMOTE), &by(&token));
    let (second, _) = bench.connect_as(&peer(REMOTE), &by(&token));
    let answer = bench.call(own, "device.token.rotate", &params);
    assert_eq!(answer["payload"]["tokenDelivery"], "in-band");
    let fresh = answer["payload"]["token"].as_str().unwrap().to_owned();
    for conn in [own, second] {
        assert_eq!(bench.close_of(conn), Some((4001, "client invalidated: device-token-rotated".to_owned())));
    }
    bench.connect(&peer(REMOTE), &by(&token)).unwrap_err();
    assert!(bench.connect(&peer(REMOTE), &by(&fresh)).is_ok());
    let desk = owner(&mut bench, &["admin"]);
    let answer = bench.call(desk, "device.token.rotate", &params);
    assert_eq!(answer["payload"]["tokenDelivery"], "withheld-cross-device");
    assert_eq!(answer["payload"]["token"], Value::Null);
    let (old, _) = bench.connect_as(&peer(LOOPBACK), &Client::v3().token(SECRET).device(&Device::new(9)));
    bench.connect(&peer(REMOTE), &client(1, &["read"])).unwrap();
    let answer = bench.call(old, "device.token.rotate", &params);
    assert_eq!(answer["payload"].get("token"), None, "protocol 3 tells it to no other device either");
    let node = json!({"deviceId": Device::new(1).id(), "role": "node"});
    assert_eq!(message(&bench.call(old, "device.token.rotate", &node)), "unknown deviceId/role");
    let wide = json!({"deviceId": Device::new(1).id(), "role": "operator", "scopes": ["operator.admin"]});
    let answer = bench.call(desk, "device.token.rotate", &wide);
    assert_eq!(message(&answer), "device token rotation denied", "not even an admin makes it wider");
}

#[test]
fn what_is_revoked_while_a_connection_comes_in_does_not_come_in() {
    let mut bench = Bench::new(settings());
    let token = token_of(&bench.connect(&peer(LOOPBACK), &client(1, &["read"])).unwrap());
    bench.pass(Duration::from_secs(120));
    let desk = owner(&mut bench, &["admin"]);
    bench.disk = Disk::Silent;
    let by_token = Client::v4().token(&token).device(&Device::new(1)).scopes(&["read"]);
    let conn = bench.send_connect(&peer(REMOTE), &by_token);
    let revoke = json!({
        "type": "req", "id": "r", "method": "device.token.revoke",
        "params": {"deviceId": Device::new(1).id(), "role": "operator"},
    });
    bench.say(desk, &revoke);
    bench.write_waiting();
    let answer = bench.answer(conn, "c").expect("an answer");
    assert_eq!(message(&answer), "unauthorized: the credential was revoked meanwhile");
    bench.disk = Disk::Prompt;
    bench.restart();
    bench.connect(&peer(REMOTE), &by_token).unwrap_err();
}

#[test]
fn an_approval_that_was_not_written_is_none_and_the_request_waits_on() {
    let mut bench = Bench::new(settings());
    let id = request(&mut bench, &client(1, &["read"]));
    let desk = owner(&mut bench, &["admin"]);
    bench.disk = Disk::Faulty;
    let answer = bench.call(desk, "device.pair.approve", &json!({"requestId": id}));
    assert_eq!(answer["error"]["code"], "UNAVAILABLE");
    bench.disk = Disk::Prompt;
    bench.connect(&peer(REMOTE), &client(1, &["read"])).unwrap_err();
    let answer = bench.call(desk, "device.pair.approve", &json!({"requestId": id}));
    assert_eq!(answer["ok"], true);
}

#[test]
fn a_connected_device_asks_for_more_and_gets_a_token_for_it() {
    let mut bench = Bench::new(settings());
    let (conn, hello) = bench.connect_as(&peer(LOOPBACK), &client(1, &["read"]));
    hello.unwrap();
    let few = bench.call(conn, "device.scopes.requestUpgrade", &json!({"scopes": ["operator.pairing"]}));
    assert_eq!(message(&few), "scopes must include the current ones");
    let wish = json!({"scopes": ["operator.read", "operator.write"]});
    let asked = bench.call(conn, "device.scopes.requestUpgrade", &wish);
    let id = asked["payload"]["requestId"].clone();
    let wait = |id: &str| json!({"type": "req", "id": id, "method": "device.scopes.waitUpgrade", "params": {"requestId": asked["payload"]["requestId"]}});
    bench.say(conn, &wait("w"));
    assert_eq!(bench.answer(conn, "w"), None);
    let desk = owner(&mut bench, &["admin"]);
    bench.call(desk, "device.pair.approve", &json!({"requestId": id}));
    let answer = bench.answer(conn, "w").unwrap();
    assert_eq!(answer["payload"]["status"], "approved");
    let token = answer["payload"]["deviceToken"].as_str().unwrap().to_owned();
    let with = Client::v4().token(&token).device(&Device::new(1)).scopes(&["write"]);
    assert!(bench.connect(&peer(REMOTE), &with).is_ok());
    let wish = json!({"scopes": ["operator.read", "operator.admin"]});
    let id = bench.call(conn, "device.scopes.requestUpgrade", &wish)["payload"]["requestId"].clone();
    bench.call(desk, "device.pair.reject", &json!({"requestId": id}));
    let late = bench.call(conn, "device.scopes.waitUpgrade", &json!({"requestId": id}));
    assert_eq!(
        late["payload"],
        json!({"status": "rejected", "requestId": id}),
        "who asks later hears it too"
    );
    let id = bench.call(conn, "device.scopes.requestUpgrade", &wish)["payload"]["requestId"].clone();
    bench.say(conn, &json!({"type": "req", "id": "x", "method": "device.scopes.waitUpgrade", "params": {"requestId": id}}));
    bench.pass_alive(conn, Duration::from_secs(300));
    assert_eq!(bench.answer(conn, "x").unwrap()["payload"]["status"], "expired");
}

#[test]
fn a_new_node_of_a_trusted_network_does_not_wait() {
    let mut trusting = settings();
    trusting.auth.auto_approve_networks = vec![network("10.0.0.0/24").unwrap()];
    let mut bench = Bench::new(trusting);
    let node = |n: u8| {
        Client::v4().token(SECRET).device(&Device::new(n)).with("role", "node").named("node-host", "node")
    };
    assert!(bench.connect(&peer(REMOTE), &node(1)).is_ok());
    assert_eq!(bench.row(&Device::new(1)).unwrap()["approvedVia"], "trusted-cidr");
    bench.connect(&peer([10, 0, 1, 9]), &node(2)).unwrap_err();
    bench.connect(&peer(REMOTE), &client(3, &["read"])).unwrap_err();
    bench.connect(&peer(REMOTE), &client(1, &["read"])).unwrap_err();
}

#[test]
fn a_silent_record_whose_client_came_back_with_another_key_is_forgotten() {
    let mut bench = Bench::new(settings());
    bench.connect(&peer(LOOPBACK), &client(1, &["read"])).unwrap();
    let (_, hello) = bench.connect_as(&peer(LOOPBACK), &client(2, &["read"]));
    hello.unwrap();
    let named = client(3, &["read"]).named("openclaw-tui", "ui");
    bench.connect(&peer(LOOPBACK), &named).unwrap();
    assert!(bench.row(&Device::new(1)).is_some(), "it is young");
    bench.pass(Duration::from_secs(61));
    // Connections of the bench stay open; those of a new process do not.
    bench.restart();
    bench.connect(&peer(LOOPBACK), &client(4, &["read"])).unwrap();
    assert_eq!((bench.row(&Device::new(1)), bench.row(&Device::new(2))), (None, None));
    assert!(bench.row(&Device::new(3)).is_some(), "it is another client");
}
