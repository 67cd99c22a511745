//! Part E: decisions about devices, setup codes and service tokens (S-11, S-42 to S-47, S-49).

use std::thread;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use telson_tests::support::binary::Binary;
use telson_tests::support::client::{Client, Dialect};
use telson_tests::support::device::{Claim, Device};
use telson_tests::support::gateway::Gateway;

use super::rig::{Ask, Rig, SCOPES, TOKEN, powers};

/// A gateway at which every device waits.
fn waiting() -> Rig {
    Rig::with(Binary::Telson, &json!({"gateway": {"nodes": {"pairing": {"autoApproveLocal": false}}}}))
}

fn admin(rig: &Rig) -> Client {
    rig.enter(&Ask::shared(Dialect::V3))
}

/// The request under which a device waits.
#[track_caller]
fn request_of(rig: &Rig, ask: &Ask<'_>) -> String {
    let refused = rig.try_enter(ask).err().expect("the device waits");
    let super::rig::Refused::Connect { error, .. } = &refused else { panic!("{refused:?}") };
    assert_eq!(refused.detail(), "PAIRING_REQUIRED", "{refused:?}");
    error["details"]["requestId"].as_str().expect("a request").to_owned()
}

#[test]
fn s_11_what_a_revoked_device_or_token_let_in_ends() {
    let rig = Rig::new();
    let mut operator = admin(&rig);
    for (n, method) in (1..).zip(["device.token.revoke", "device.token.rotate", "device.pair.remove"]) {
        for dialect in Dialect::ALL {
            let device = Device::new(n);
            let mut with_secret = rig.enter(&Ask::device(dialect, &device, &["operator.read"]));
            let own = with_secret.hello["auth"]["deviceToken"].as_str().expect("a token").to_owned();
            let by_token = |own: &str| {
                let ask = Ask {
                    token: None,
                    device_token: Some(own),
                    ..Ask::device(dialect, &device, &["operator.read"])
                };
                // A client of protocol 3 shows it in the other place.
                let ask = if dialect == Dialect::V3 {
                    Ask { token: Some(own), device_token: None, ..ask }
                } else {
                    ask
                };
                ask.enter(rig.address())
            };
            let mut with_token = by_token(&own).unwrap_or_else(|refused| panic!("{refused:?}"));
            with_token.ask("status", &json!({}));
            let params = json!({"deviceId": device.id(), "role": "operator"});
            let params = if method.ends_with("remove") { json!({"deviceId": device.id()}) } else { params };
            let mut modern =
                rig.enter(&Ask { scopes: Some(json!(["operator.admin"])), ..Ask::shared(Dialect::V4) });
            modern.ask(method, &params);
            assert_eq!(with_token.closed().map(|(code, _)| code), Some(4001), "{method} on {dialect:?}");
            assert!(by_token(&own).is_err(), "{method}: the old token opens nothing");
            if method.ends_with("remove") {
                assert_eq!(with_secret.closed().map(|(code, _)| code), Some(4001), "{method} on {dialect:?}");
            }
        }
    }
    operator.ask("health", &json!({}));
}

#[test]
fn s_42_a_rotation_gives_no_more_than_the_caller_has_and_the_device_was_given() {
    let rig = Rig::new();
    let callers = [
        &["operator.pairing"][..],
        &["operator.pairing", "operator.read"],
        &["operator.admin"],
        &["operator.write"],
    ];
    for (n, has) in (0..).zip(callers) {
        for (m, target) in (0..).zip([&["operator.read"][..], &["operator.read", "operator.write"]]) {
            let device = Device::new(100 + n * 4 + m);
            rig.enter(&Ask::device(Dialect::V4, &device, target)).leave();
            let caller_device = Device::new(150 + n);
            let mut caller = rig.enter(&Ask::device(Dialect::V4, &caller_device, has));
            for wanted in SCOPES {
                let params = json!({"deviceId": device.id(), "role": "operator", "scopes": [wanted]});
                let answer = caller.call("device.token.rotate", &params);
                if answer.is_ok() {
                    let implied = matches!(wanted, "operator.read" | "operator.talk");
                    let covered = target.contains(&wanted) || (implied && target.contains(&"operator.write"));
                    assert!(covered, "{wanted} was never approved for {target:?}: {answer:?}");
                    let holds = has.contains(&"operator.admin") || has.contains(&wanted);
                    assert!(holds, "{has:?} has given {wanted} away: {answer:?}");
                }
                // A new token is told to its own device only.
                assert!(
                    answer.map_or(true, |done| done["token"].is_null()),
                    "a token was told to somebody else"
                );
            }
        }
    }
}

#[test]
fn s_43_a_rotation_makes_no_node_of_an_operator() {
    let rig = Rig::new();
    let device = Device::new(1);
    rig.enter(&Ask::device(Dialect::V4, &device, &["operator.read"])).leave();
    let mut operator = admin(&rig);
    for role in ["node", "admin", ""] {
        let params = json!({"deviceId": device.id(), "role": role});
        operator.call("device.token.rotate", &params).expect_err(role);
    }
}

#[test]
fn s_44_nobody_approves_more_than_they_hold() {
    let rig = waiting();
    let mut operator =
        rig.enter(&Ask { scopes: Some(json!(["operator.admin"])), ..Ask::shared(Dialect::V4) });
    let enrol = |operator: &mut Client, device: &Device, scopes: &[&str]| {
        let id = request_of(&rig, &Ask::device(Dialect::V4, device, scopes));
        operator.ask("device.pair.approve", &json!({"requestId": id}));
    };
    let callers = [
        &["operator.pairing"][..],
        &["operator.pairing", "operator.read"],
        &["operator.read", "operator.write"],
        &["operator.approvals"],
    ];
    for (n, has) in (0..).zip(callers) {
        let caller_device = Device::new(200 + n);
        enrol(&mut operator, &caller_device, has);
        let mut caller = rig.enter(&Ask::device(Dialect::V4, &caller_device, has));
        for (m, wanted) in (0..).zip(SCOPES) {
            let device = Device::new(n * 20 + m);
            let ask = Ask::device(Dialect::V4, &device, &[wanted]);
            let id = request_of(&rig, &ask);
            let answer = caller.call("device.pair.approve", &json!({"requestId": id}));
            let may = has.contains(&"operator.pairing") && has.contains(&wanted);
            assert!(may || answer.is_err(), "{has:?} has approved {wanted}: {answer:?}");
            assert_eq!(rig.try_enter(&ask).is_ok(), answer.is_ok(), "{has:?} {wanted}");
        }
        // A node's role and an empty list are no way around it.
        if !has.contains(&"operator.pairing") {
            let node = Device::new(n * 20 + 15);
            let id = request_of(&rig, &Ask::node(Dialect::V4, &node));
            assert!(caller.call("device.pair.approve", &json!({"requestId": id})).is_err());
        }
    }
}

fn redeem(rig: &Rig, device: &Device, bootstrap: &str, role: &str, scopes: &[&str]) -> Result<Value, Value> {
    let mut client = Client::open(rig.address(), Dialect::V4);
    let claim =
        Claim { client_id: "cli", client_mode: "cli", role, scopes, token: bootstrap, platform: "linux" };
    let params = json!({
        "minProtocol": 4, "maxProtocol": 4, "role": role, "scopes": scopes, "caps": [],
        "client": {"id": "cli", "version": "1", "platform": "linux", "mode": "cli"},
        "auth": {"bootstrapToken": bootstrap}, "device": device.proof(&claim, &client.challenge),
    });
    client.call("connect", &params)
}

/// The token inside a setup code, and everything that the code says.
fn code(rig: &Rig, profile: &str) -> (String, String) {
    let made =
        rig.gateway.run(&["pair", "--new", "--profile", profile, "--public-url", "ws://box.lan:1", "--json"]);
    let made = made.success().json();
    let text = URL_SAFE_NO_PAD.decode(made["setupCode"].as_str().expect("a code")).expect("base64");
    let text = String::from_utf8(text).expect("text");
    let read: Value = serde_json::from_str(&text).expect("JSON");
    (read["bootstrapToken"].as_str().expect("a token").to_owned(), text)
}

#[test]
fn s_45_of_many_that_show_a_code_at_once_one_comes_in_and_none_gets_more() {
    let rig = Rig::with(
        Binary::Telson,
        &json!({"gateway": {
            "nodes": {"pairing": {"autoApproveLocal": false}},
            "auth": {"rateLimit": {"exemptLoopback": false, "maxAttempts": 1000}},
        }}),
    );
    let (token, _) = code(&rig, "control-ui");
    let rig = &rig;
    let entered: usize = thread::scope(|scope| {
        let tries: Vec<_> = (0..20)
            .map(|n| {
                let token = token.as_str();
                scope.spawn(move || {
                    usize::from(redeem(rig, &Device::new(n), token, "operator", &["operator.read"]).is_ok())
                })
            })
            .collect();
        tries.into_iter().map(|one| one.join().expect("no panic")).sum()
    });
    assert_eq!(entered, 1, "a code lets one device in");
    for n in 0..20 {
        assert!(
            redeem(rig, &Device::new(n), &token, "operator", &["operator.read"]).is_err(),
            "it is used up"
        );
    }
    // Another code for more than its profile gives, or for another role.
    let (token, _) = code(rig, "voice-node");
    for scopes in [&["operator.admin"][..], &["operator.read", "operator.pairing"], &["operator.write"]] {
        let outcome = redeem(rig, &Device::new(50), &token, "operator", scopes);
        let granted = outcome.map(|hello| hello["auth"]["scopes"].to_string()).unwrap_or_default();
        for scope in ["admin", "pairing", "write"] {
            assert!(!granted.contains(scope), "{scopes:?}: {granted}");
        }
    }
}

#[test]
fn s_46_a_code_holds_nothing_but_the_way_and_its_token() {
    let rig = Rig::new();
    let (token, text) = code(&rig, "node");
    assert!(!text.contains(TOKEN) && token != TOKEN, "{text}");
    assert!(
        rig.try_enter(&Ask { token: Some(&token), ..Ask::nobody(Dialect::V4) }).is_err(),
        "it is no secret of the gateway"
    );
    let bearer = format!("Bearer {token}");
    assert_eq!(rig.http("GET", "/v1/models", &[("Authorization", &bearer)], "").status, 401);
}

#[test]
fn s_47_codes_are_for_administrators() {
    let rig = Rig::new();
    for (n, scope) in
        (0..).zip(["operator.read", "operator.write", "operator.approvals", "operator.questions"])
    {
        let device = Device::new(n);
        let mut client = rig.enter(&Ask::device(Dialect::V4, &device, &[scope]));
        client.call("device.pair.setupCode", &json!({})).expect_err(scope);
        if scope == "operator.write" {
            for words in ["/pair", "/pair new", "/pair approve", "/approve"] {
                let send = json!({"sessionKey": "main", "message": words, "idempotencyKey": words});
                if let Ok(run) = client.call("chat.send", &send) {
                    let _ = run;
                }
            }
        }
    }
    let history = admin(&rig).ask("chat.history", &json!({"sessionKey": "main"})).to_string();
    assert!(!history.contains("bootstrapToken") && !history.contains("setupCode"), "{history}");
}

#[test]
fn s_49_what_was_revoked_does_not_come_back() {
    let rig = waiting();
    let device = Device::new(1);
    let ask = Ask::device(Dialect::V4, &device, &["operator.read"]);
    let mut operator =
        rig.enter(&Ask { scopes: Some(json!(["operator.admin"])), ..Ask::shared(Dialect::V4) });
    let id = request_of(&rig, &ask);
    operator.ask("device.pair.approve", &json!({"requestId": id}));
    let own = rig.enter(&ask).hello["auth"]["deviceToken"].as_str().expect("a token").to_owned();
    operator.ask("device.pair.remove", &json!({"deviceId": device.id()}));
    let by_token = Ask { token: None, device_token: Some(&own), ..ask.clone() };
    let stays_out = |address| {
        assert!(by_token.enter(address).is_err(), "the token is dead");
        assert_eq!(ask.enter(address).err().expect("it waits").detail(), "PAIRING_REQUIRED");
    };
    stays_out(rig.address());
    operator.call("device.pair.approve", &json!({"requestId": id})).expect_err("the old request is settled");
    let rotate = json!({"deviceId": device.id(), "role": "operator"});
    operator.call("device.token.rotate", &rotate).expect_err("there is no such device");
    stays_out(rig.address());
    let home = rig.gateway.kill();
    let gateway = Gateway::start(&home, &[]);
    stays_out(gateway.address);
    let mut client = Ask::shared(Dialect::V3).enter(gateway.address).expect("the operator");
    assert_eq!(powers(&mut client).len(), 4);
}

#[test]
fn s_04_a_programs_token_gives_its_scopes_and_no_more() {
    let rig = Rig::new();
    let made = rig
        .gateway
        .run(&["tokens", "create", "--name", "bot", "--scopes", "operator.read", "--json"])
        .success()
        .json();
    let value = made["value"].as_str().expect("a value").to_owned();
    for dialect in Dialect::ALL {
        for scopes in [json!(SCOPES), json!(["operator.admin"]), json!(["operator.read"])] {
            let ask = Ask { token: Some(&value), scopes: Some(scopes), ..Ask::nobody(dialect) };
            if let Ok(mut client) = rig.try_enter(&ask) {
                assert!(powers(&mut client).is_subset(&["read"].into()), "{dialect:?}");
            }
        }
    }
    let bearer = format!("Bearer {value}");
    for (method, path) in super::h_http::ROUTES {
        let reply = rig.http(
            method,
            path,
            &[("Authorization", &bearer), ("x-openclaw-scopes", "operator.admin")],
            "{}",
        );
        assert!(method == "GET" || reply.status == 403, "{method} {path}: {reply:?}");
    }
}
