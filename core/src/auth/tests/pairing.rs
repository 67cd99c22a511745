//! Devices: silent approval, requests that wait, tokens (spec 01 §5).

use std::time::Duration;

use serde_json::{Value, json};

use super::bench::{Bench, Client, Device, LOOPBACK, REMOTE, START_MS, page, peer};
use crate::auth::Secret;
use crate::settings::{AuthMode, Settings};

const SECRET: &str = "the gateway's own secret";

fn settings() -> Settings {
    Settings::plain(AuthMode::Token(Secret::new(SECRET)))
}

fn token_of(hello: &Value) -> String {
    hello["auth"]["deviceToken"].as_str().expect("a device token").to_owned()
}

fn words(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().filter_map(Value::as_str).collect()
}

#[test]
fn a_device_on_this_host_is_approved_at_once_and_gets_a_token_that_is_kept_as_a_hash() {
    let mut bench = Bench::new(settings());
    let device = Device::new(1);
    let admin = Client::v4().token(SECRET).scopes(&["pairing"]).device(&Device::new(9));
    let (watcher, hello) = bench.connect_as(&peer(LOOPBACK), &admin);
    hello.unwrap();
    for client in [Client::v3(), Client::v4(), Client::plain()] {
        let client = client.token(SECRET).device(&device).scopes(&["read"]);
        let hello = bench.connect(&peer(LOOPBACK), &client).unwrap();
        let token = token_of(&hello);
        assert_eq!(token.len(), 43);
        assert_eq!(hello["auth"]["issuedAtMs"], START_MS);
        assert!(!bench.rows_text().contains(&token), "only its hash is kept");
    }
    let resolved: Vec<&Value> = bench
        .frames
        .iter()
        .filter(|(to, f)| *to == watcher && f["event"] == "device.pair.resolved")
        .map(|(_, f)| &f["payload"])
        .filter(|payload| payload["deviceId"] == device.id())
        .collect();
    assert_eq!(resolved.len(), 1, "it is approved once");
    assert_eq!((&resolved[0]["decision"], &resolved[0]["ts"]), (&json!("approved"), &json!(START_MS)));
}

#[test]
fn a_device_from_elsewhere_waits_for_an_approval_even_with_the_secret() {
    let mut bench = Bench::new(settings());
    let device = Device::new(1);
    let client = Client::v4().token(SECRET).device(&device).scopes(&["read"]);
    let refused = bench.connect(&peer(REMOTE), &client).unwrap_err();
    assert_eq!(refused.error["code"], "NOT_PAIRED");
    assert_eq!(refused.message(), "pairing required: device is not approved yet");
    let id = refused.detail("requestId").as_str().unwrap().to_owned();
    assert_eq!(refused.close, 1008);
    assert_eq!(refused.reason, format!("{} (requestId: {id})", refused.message()));
    assert_eq!(
        refused.error["details"],
        json!({
            "code": "PAIRING_REQUIRED", "reason": "not-paired", "requestId": id,
            "remediationHint": format!("Approve this device first: telson devices approve {id}"), "deviceId": device.id(),
            "requestedRole": "operator", "requestedScopes": ["operator.read"],
        })
    );
    let again = Client::v3().token(SECRET).device(&device).scopes(&["read"]);
    let refused = bench.connect(&peer(REMOTE), &again).unwrap_err();
    assert_eq!((refused.message(), refused.reason.as_str()), ("pairing required", "pairing required"));
    assert_eq!(refused.detail("requestId"), id.as_str(), "the request that waits is the same");
    assert_eq!(bench.row(&device), None);
}

#[test]
fn without_the_secret_nobody_even_asks() {
    let mut bench = Bench::new(settings());
    let client = Client::v4().token("garbage").device(&Device::new(1));
    bench.connect(&peer(REMOTE), &client).unwrap_err();
    let (admin, _) = bench.connect_as(&peer(LOOPBACK), &Client::v4().token(SECRET).scopes(&["admin"]));
    assert_eq!(bench.call(admin, "device.pair.list", &json!({}))["payload"]["pending"], json!([]));
}

#[test]
fn the_requests_that_wait_are_listed_until_they_expire() {
    let mut bench = Bench::new(settings());
    let list = |bench: &mut Bench| {
        let (admin, _) = bench.connect_as(&peer(LOOPBACK), &Client::v4().token(SECRET).scopes(&["admin"]));
        bench.call(admin, "device.pair.list", &json!({}))["payload"]["pending"].clone()
    };
    let client = |n: u8| Client::v4().token(SECRET).device(&Device::new(n)).named("openclaw-tui", "ui");
    bench.connect(&peer(REMOTE), &client(1).scopes(&["read"])).unwrap_err();
    bench.pass(Duration::from_secs(100));
    bench.connect(&peer(REMOTE), &client(2).scopes(&["read"])).unwrap_err();
    bench.connect(&peer(REMOTE), &client(1).scopes(&["pairing"])).unwrap_err();
    let pending = list(&mut bench);
    assert_eq!(pending.as_array().unwrap().len(), 2, "one request for each device");
    assert_eq!(pending[0]["deviceId"], Device::new(1).id(), "the newest first");
    assert_eq!(words(&pending[0]["scopes"]), ["operator.read", "operator.pairing"], "wishes are united");
    assert_eq!(pending[0]["remoteIp"], "10.0.0.9");
    assert_eq!((&pending[0]["silent"], &pending[0]["isRepair"]), (&json!(false), &json!(false)));
    bench.pass(Duration::from_secs(299));
    assert_eq!(list(&mut bench).as_array().unwrap().len(), 2);
    bench.pass(Duration::from_secs(1));
    assert_eq!(list(&mut bench), json!([]));
}

#[test]
fn requests_are_few_and_one_address_cannot_push_the_others_out() {
    let mut bench = Bench::new(settings());
    let (admin, _) = bench.connect_as(&peer(LOOPBACK), &Client::v4().token(SECRET).scopes(&["admin"]));
    for n in 0..80 {
        let client = Client::v4().token(SECRET).device(&Device::new(n));
        bench.connect(&peer([10, 0, 1, n / 5]), &client).unwrap_err();
    }
    for n in 100..150 {
        let client = Client::v4().token(SECRET).device(&Device::new(n));
        bench.connect(&peer([10, 0, 2, 1]), &client).unwrap_err();
    }
    let list = bench.call(admin, "device.pair.list", &json!({}))["payload"]["pending"].clone();
    let of = |ip: &str| list.as_array().unwrap().iter().filter(|r| r["remoteIp"] == ip).count();
    assert_eq!(list.as_array().unwrap().len(), 64);
    assert_eq!((of("10.0.2.1"), of("10.0.1.15")), (8, 5));
}

#[test]
fn more_than_it_had_a_device_gets_only_by_an_approval_also_on_this_host_and_for_the_secret() {
    let mut bench = Bench::new(settings());
    let device = Device::new(1);
    let client = |credential: &str| Client::v4().token(credential).device(&device);
    let hello = bench.connect(&peer(LOOPBACK), &client(SECRET).scopes(&["read"])).unwrap();
    let token = token_of(&hello);
    let refused = bench.connect(&peer(LOOPBACK), &client(&token).scopes(&["write"])).unwrap_err();
    assert_eq!(refused.detail("code"), "AUTH_SCOPE_MISMATCH");
    for from in [LOOPBACK, REMOTE] {
        let refused = bench.connect(&peer(from), &client(SECRET).scopes(&["admin"])).unwrap_err();
        assert_eq!(refused.detail("reason"), "scope-upgrade");
        assert_eq!(words(refused.detail("approvedScopes")), ["operator.read"], "it keeps what it had");
        let node = client(SECRET).with("role", "node").named("node-host", "node");
        let refused = bench.connect(&peer(from), &node).unwrap_err();
        assert_eq!(refused.detail("reason"), "role-upgrade");
    }
    let hello = bench.connect(&peer(LOOPBACK), &client(&token).scopes(&["read"])).unwrap();
    assert_eq!(words(&hello["auth"]["scopes"]), ["operator.read"]);
    let other = Client::v4().token(SECRET).device(&Device::new(2)).scopes(&["admin"]);
    assert!(bench.connect(&peer(LOOPBACK), &other).is_ok(), "a device that is not paired yet does not wait");
}

#[test]
fn silent_approval_can_be_switched_off_and_is_not_for_pages_of_other_hosts() {
    let mut asking = settings();
    asking.auth.auto_approve_local = false;
    let mut bench = Bench::new(asking);
    let client = Client::v4().token(SECRET).device(&Device::new(1));
    assert_eq!(bench.connect(&peer(LOOPBACK), &client).unwrap_err().detail("reason"), "not-paired");
    let mut bench = Bench::new(settings());
    let lan = page(LOOPBACK, "192.168.1.2:18789", "http://192.168.1.2:18789");
    let ui = client.clone().named("openclaw-control-ui", "webchat");
    let refused = bench.connect(&lan, &ui).unwrap_err();
    assert_eq!(refused.detail("reason"), "not-paired");
    assert_eq!(refused.detail("recommendedNextStep"), "wait_then_retry", "a page goes on trying");
    assert_eq!(refused.detail("pauseReconnect"), false);
    let own = page(LOOPBACK, "localhost:18789", "http://localhost:18789");
    assert!(bench.connect(&own, &ui).is_ok());
}

#[test]
fn a_device_that_calls_itself_another_machine_needs_a_new_approval() {
    let mut bench = Bench::new(settings());
    let client = |platform: &str| {
        Client::v4().token(SECRET).device(&Device::new(1)).named("openclaw-tui", "ui").on(platform)
    };
    bench.connect(&peer(LOOPBACK), &client("linux")).unwrap();
    assert!(bench.connect(&peer(REMOTE), &client(" Linux ").signs("v2")).is_ok());
    let refused = bench.connect(&peer(REMOTE), &client("win32")).unwrap_err();
    assert_eq!(refused.message(), "pairing required: device identity changed and must be re-approved");
    assert!(refused.reason.len() <= 120);
    let old = Client::v3()
        .token(SECRET)
        .device(&Device::new(1))
        .named("test", "ui")
        .on("win32")
        .scopes(&["nothing"]);
    assert!(bench.connect(&peer(REMOTE), &old).is_ok(), "protocol 3 pins nothing");
    assert!(bench.connect(&peer(REMOTE), &client("linux")).is_ok(), "and unpins nothing");
    assert!(bench.connect(&peer(LOOPBACK), &client("win32")).is_ok());
    let app = |platform: &str| {
        Client::v4().token(SECRET).device(&Device::new(2)).named("openclaw-macos", "ui").on(platform)
    };
    bench.connect(&peer(LOOPBACK), &app("macos 15.2")).unwrap();
    assert!(bench.connect(&peer(REMOTE), &app("macos 15.3")).is_ok(), "its system was updated");
}

#[test]
fn a_token_stands_in_for_the_secret_on_any_host_and_outlives_the_process() {
    let mut bench = Bench::new(settings());
    let device = Device::new(1);
    let first = Client::v3().token(SECRET).device(&device).scopes(&["admin"]);
    let token = token_of(&bench.connect(&peer(LOOPBACK), &first).unwrap());
    bench.restart();
    for client in [
        Client::v3().token(&token),
        Client::v4().token(&token),
        Client::v4().device_token(&token),
        Client::v4().token(&token).device_token(&token),
        Client::plain().token(&token),
        Client::plain().device_token(&token),
    ] {
        let hello = bench.connect(&peer(REMOTE), &client.device(&device).scopes(&["admin", "read"])).unwrap();
        assert_eq!(token_of(&hello), token, "it has one that will do");
    }
    let stranger = Client::v4().token(&token).device(&Device::new(2)).scopes(&["read"]);
    let refused = bench.connect(&peer(REMOTE), &stranger).unwrap_err();
    assert_eq!(refused.detail("code"), "AUTH_TOKEN_MISMATCH", "it is good for its device only");
    let refused = bench.connect(&peer(REMOTE), &Client::v4().token(&token)).unwrap_err();
    assert_eq!(refused.detail("code"), "AUTH_TOKEN_MISMATCH", "and with its device only");
    let node = Client::v4().token(&token).device(&device).with("role", "node").named("node-host", "node");
    assert!(bench.connect(&peer(REMOTE), &node).is_err(), "and in its role only");
}

#[test]
fn a_wrong_device_token_is_told_in_one_sentence_whatever_is_wrong() {
    let mut bench = Bench::new(settings());
    let paired = Device::new(1);
    bench.connect(&peer(LOOPBACK), &Client::v4().token(SECRET).device(&paired)).unwrap();
    let node = Client::v4().with("role", "node").named("node-host", "node");
    for client in [Client::v4().device(&paired), Client::v4().device(&Device::new(2)), node.device(&paired)] {
        let refused = bench.connect(&peer(REMOTE), &client.device_token("fake")).unwrap_err();
        assert_eq!(refused.message(), "unauthorized: device token mismatch (rotate/reissue device token)");
        assert_eq!(refused.detail("code"), "AUTH_DEVICE_TOKEN_MISMATCH");
    }
    let old = Client::v3().device(&paired).token("fake");
    let refused = bench.connect(&peer(REMOTE), &old).unwrap_err();
    assert_eq!(refused.detail("authReason"), "token_mismatch");
    assert_eq!(refused.detail("canRetryWithDeviceToken"), true);
}

#[test]
fn processes_that_share_an_identity_do_not_lock_each_other_out() {
    let mut bench = Bench::new(settings());
    let device = Device::new(1);
    let with_secret = Client::v3().token(SECRET).device(&device).scopes(&["read"]);
    let mut tokens = Vec::new();
    for _ in 0..3 {
        tokens.push(token_of(&bench.connect(&peer(LOOPBACK), &with_secret).unwrap()));
        bench.pass(Duration::from_secs(120));
    }
    let with = |token: &str| Client::v3().token(token).device(&device).scopes(&["read"]);
    for token in &tokens {
        assert!(bench.connect(&peer(LOOPBACK), &with(token)).is_ok(), "each has its own");
    }
    bench.pass(Duration::from_secs(120));
    bench.connect(&peer(LOOPBACK), &with(&tokens[0])).unwrap();
    bench.connect(&peer(LOOPBACK), &with(&tokens[2])).unwrap();
    let fourth = token_of(&bench.connect(&peer(LOOPBACK), &with_secret).unwrap());
    for token in [&tokens[0], &tokens[2], &fourth] {
        assert!(bench.connect(&peer(LOOPBACK), &with(token)).is_ok());
    }
    let refused = bench.connect(&peer(LOOPBACK), &with(&tokens[1]));
    assert!(refused.is_err(), "the one that was not used for longest has ended");
}

#[test]
fn an_unreadable_row_gives_no_rights_and_stays_as_it_is() {
    let mut devices = crate::devices::Devices::default();
    let id = crate::DeviceId::new(Device::new(1).id());
    let record = telson_proto::Json::of(&json!({"roles": "everything"}));
    devices.restore(vec![crate::store::DeviceRecord { id: id.clone(), record }]);
    assert!(!devices.is_paired(&id));
    assert_eq!(devices.save(&id), None);
}

#[test]
fn the_list_shows_devices_and_never_a_token() {
    let mut bench = Bench::new(settings());
    let desk = Device::new(1);
    let client = Client::v4().token(SECRET).device(&desk).scopes(&["admin"]);
    let (conn, hello) = bench.connect_as(&peer(LOOPBACK), &client);
    let token = token_of(&hello.unwrap());
    bench.pass(Duration::from_secs(1));
    bench
        .connect(&peer(LOOPBACK), &Client::v3().token(SECRET).device(&Device::new(2)).scopes(&["read"]))
        .unwrap();
    let answer = bench.call(conn, "device.pair.list", &json!({}));
    assert!(!answer.to_string().contains(&token));
    assert!(!answer.to_string().contains("hash"));
    let paired = &answer["payload"]["paired"];
    assert_eq!(paired[0]["deviceId"], Device::new(2).id(), "the last approved first");
    assert_eq!(
        paired[1],
        json!({
            "deviceId": desk.id(), "publicKey": desk.public_key(), "platform": "linux", "clientId": "cli",
            "clientMode": "cli", "role": "operator", "roles": ["operator"], "scopes": ["operator.admin"],
            "approvedVia": "silent", "createdAtMs": START_MS, "approvedAtMs": START_MS,
            "lastSeenAtMs": START_MS, "connected": true,
            "tokens": [{"role": "operator", "scopes": ["operator.admin"], "createdAtMs": START_MS}],
        })
    );
    let old = Client::v3().token(SECRET).device(&Device::new(3));
    let (conn, hello) = bench.connect_as(&peer(LOOPBACK), &old);
    hello.unwrap();
    let answer = bench.call(conn, "device.pair.list", &json!({}));
    for field in ["connected", "approvedVia", "lastSeenAtMs"] {
        assert!(answer["payload"]["paired"][0].get(field).is_none(), "protocol 3 has no {field}");
    }
    let closed = bench.call(conn, "device.pair.list", &json!({"extra": 1}));
    assert_eq!(
        closed["error"]["message"],
        "invalid device.pair.list params: at root: unexpected property 'extra'"
    );
}

#[test]
fn a_device_with_its_own_token_sees_itself_only_unless_it_is_an_admin() {
    let mut bench = Bench::new(settings());
    let tokens: Vec<String> = [(1, "pairing"), (2, "admin"), (3, "read")]
        .map(|(n, scope)| {
            let client = Client::v4().token(SECRET).device(&Device::new(n)).scopes(&[scope]);
            token_of(&bench.connect(&peer(LOOPBACK), &client).unwrap())
        })
        .into();
    bench.connect(&peer(REMOTE), &Client::v4().token(SECRET).device(&Device::new(7))).unwrap_err();
    let mut seen = |n: u8, scope: &str, credential: &str| {
        let client = Client::v4().token(credential).device(&Device::new(n)).scopes(&[scope]);
        let (conn, hello) = bench.connect_as(&peer(LOOPBACK), &client);
        hello.unwrap();
        let answer = bench.call(conn, "device.pair.list", &json!({}));
        let count = |list: &str| answer["payload"][list].as_array().map(Vec::len);
        (count("paired"), count("pending"))
    };
    assert_eq!(seen(1, "pairing", &tokens[0]), (Some(1), Some(0)));
    assert_eq!(seen(2, "admin", &tokens[1]), (Some(3), Some(1)));
    assert_eq!(seen(1, "pairing", SECRET), (Some(3), Some(1)));
    assert_eq!(seen(3, "read", &tokens[2]), (None, None), "reading is not enough");
}
