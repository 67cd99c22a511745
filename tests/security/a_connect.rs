//! Part A: who comes in, and with what (S-01, S-02, S-06 to S-09).

use std::collections::BTreeSet;
use std::net::{Ipv6Addr, SocketAddr};

use serde_json::{Value, json};
use telson_core::gateway::METHODS;
use telson_tests::on_both_binaries;
use telson_tests::support::binary::Binary;
use telson_tests::support::client::{Client, Dialect};
use telson_tests::support::device::Device;
use telson_tests::support::gateway::Home;

use super::h_http::ROUTES;
use super::rig::{Ask, Refused, Rig, TOKEN, http, own_address, powers};

on_both_binaries!(s_01_no_surface_opens_without_a_secret);

fn s_01_no_surface_opens_without_a_secret(binary: Binary) {
    let home = Home::new(binary);
    // Nothing is configured but the endpoints that are off by default: there is more to try.
    home.configure(
        "{gateway: {http: {endpoints: {chatCompletions: {enabled: true}, responses: {enabled: true}}}}}",
    );
    let gateway = home.start();
    let mut addresses = vec![gateway.address];
    let sixth = SocketAddr::from((Ipv6Addr::LOCALHOST, gateway.address.port()));
    if gateway.log().contains(&format!("listening on ws://{sixth}")) {
        addresses.push(sixth);
    }
    for address in addresses {
        for method in METHODS {
            let mut client = Client::open(address, Dialect::V4);
            let error = client.call(method.name, &json!({})).expect_err(method.name);
            assert_eq!(error["message"], json!("invalid handshake: first request must be connect"));
            assert!(client.closed().is_some(), "{} closes", method.name);
        }
        for dialect in Dialect::ALL {
            let refused = Ask::nobody(dialect).enter(address).err().expect("nobody is let in");
            assert!(matches!(refused, Refused::Connect { .. }), "{refused:?}");
        }
        for (method, path) in ROUTES {
            let reply = http(address, method, path, &[], "{}");
            assert_eq!(reply.status, 401, "{method} {path}: {reply:?}");
        }
        let state = gateway.home.state().display().to_string();
        for path in ["/", "/healthz", "/readyz", "/startupz", "/ui", "/config", "/metrics", "/api/config"] {
            let reply = http(address, "GET", path, &[], "");
            assert!(matches!(reply.status, 200 | 404), "{path}: {reply:?}");
            assert!(!reply.body.contains(&state) && !reply.body.contains("token"), "{path}: {reply:?}");
        }
    }
}

/// Refused, or let in with these powers.
fn fate(outcome: Result<Client, Refused>) -> Option<BTreeSet<&'static str>> {
    outcome.ok().map(|mut client| powers(&mut client))
}

#[test]
fn s_02_garbage_is_never_better_than_nothing() {
    for password in [false, true] {
        let auth = if password {
            json!({"mode": "password", "token": null, "password": TOKEN})
        } else {
            json!({"mode": "token"})
        };
        let rig = Rig::with(Binary::Telson, &json!({"gateway": {"auth": auth}}));
        let showing = |ask: Ask<'static>, secret: Option<&'static str>| match password {
            true => Ask { token: None, password: secret, ..ask },
            false => Ask { token: secret, ..ask },
        };
        for (n, dialect) in (0..).zip(Dialect::ALL) {
            let paired: &'static Device = Box::leak(Box::new(Device::new(100 + n)));
            let good = showing(Ask::device(dialect, paired, &["operator.read"]), Some(TOKEN));
            rig.enter(&good).leave();
            let unpaired: &'static Device = Box::leak(Box::new(Device::new(110 + n)));
            for device in [None, Some(unpaired), Some(paired)] {
                let ask = Ask { device, scopes: Some(json!(["operator.read"])), ..Ask::nobody(dialect) };
                let absent = fate(rig.try_enter(&showing(ask.clone(), None)));
                let garbage = fate(rig.try_enter(&showing(ask, Some("garbage-garbage-garbage"))));
                assert_eq!(absent, None, "{dialect:?}: nothing opens no door");
                assert_eq!(garbage, None, "{dialect:?}: garbage opens no door");
                // A right secret ends the delay that a wrong one has earned.
                let valid = fate(rig.try_enter(&good)).expect("the right secret opens");
                assert!(!valid.contains("admin"), "{dialect:?}: {valid:?}");
            }
        }
    }
}

#[test]
fn s_06_an_unpaired_device_from_elsewhere_waits_whatever_secret_it_shows() {
    let Some(own) = own_address() else { return };
    let rig = Rig::with(Binary::Telson, &json!({"gateway": {"bind": "lan"}}));
    let address = SocketAddr::from((own, rig.address().port()));
    for (n, dialect) in (0..).zip(Dialect::ALL) {
        let device = Device::new(40 + n);
        let ask = Ask::device(dialect, &device, &["operator.admin"]);
        let refused = ask.enter(address).err().expect("an unpaired device waits");
        assert_eq!(refused.detail(), "PAIRING_REQUIRED", "{dialect:?}: {refused:?}");
        // Waiting grants nothing: not to the device without the secret, and not the second time.
        assert!(Ask { token: None, ..ask.clone() }.enter(address).is_err());
        assert_eq!(ask.enter(address).err().expect("still").detail(), "PAIRING_REQUIRED");
    }
    rig.lives();
}

#[test]
fn s_07_a_paired_device_that_asks_for_more_waits_even_on_this_host() {
    let rig = Rig::new();
    for (n, dialect) in (0..).zip(Dialect::ALL) {
        let device = Device::new(50 + n);
        let mut reader = rig.enter(&Ask::device(dialect, &device, &["operator.read"]));
        let own = reader.hello["auth"]["deviceToken"].as_str().expect("a token").to_owned();
        assert_eq!(powers(&mut reader), ["read"].into());
        reader.leave();
        for scopes in [&["operator.admin"][..], &["operator.read", "operator.pairing"]] {
            for own in [None, Some(own.as_str())] {
                let ask = Ask { device_token: own, ..Ask::device(dialect, &device, scopes) };
                if let Ok(mut client) = rig.try_enter(&ask) {
                    assert_eq!(powers(&mut client), ["read"].into(), "{dialect:?} {scopes:?}");
                }
            }
        }
        // What it had it keeps.
        let mut reader = rig.enter(&Ask::device(dialect, &device, &["operator.read"]));
        assert_eq!(powers(&mut reader), ["read"].into(), "{dialect:?}");
        // Another role is more, too.
        assert!(rig.try_enter(&Ask::node(dialect, &device)).is_err(), "{dialect:?}: an operator is no node");
    }
}

/// Every id and mode that a native client may call itself.
const IDS: [&str; 14] = [
    "webchat-ui",
    "webchat",
    "cli",
    "gateway-client",
    "node-host",
    "test",
    "fingerprint",
    "openclaw-control-ui",
    "clawdbot-control-ui",
    "openclaw-macos",
    "openclaw-ios",
    "openclaw-probe",
    "openclaw-tui",
    "openclaw-browser-copilot",
];
const MODES: [&str; 7] = ["webchat", "cli", "ui", "backend", "node", "probe", "test"];

/// Some of them together.
pub(crate) const CALLED: [(&str, &str); 6] = [
    ("cli", "cli"),
    ("gateway-client", "backend"),
    ("openclaw-control-ui", "ui"),
    ("webchat-ui", "webchat"),
    ("openclaw-ios", "ui"),
    ("test", "test"),
];

#[test]
fn s_08_a_native_node_must_have_a_device_whatever_it_shows_and_calls_itself() {
    for auth in [json!({"mode": "token"}), json!({"mode": "none"})] {
        let config = json!({"gateway": {"auth": auth, "controlUi": {
            "allowInsecureAuth": true, "dangerouslyDisableDeviceAuth": true,
        }}});
        let rig = Rig::with(Binary::Telson, &config);
        for dialect in [Dialect::V3, Dialect::V4] {
            for id in IDS {
                for mode in MODES {
                    for token in [None, Some(TOKEN)] {
                        let ask = Ask { role: "node", id, mode, token, ..Ask::nobody(dialect) };
                        assert!(rig.try_enter(&ask).is_err(), "{dialect:?} {id}/{mode} {token:?}");
                    }
                }
            }
        }
        rig.finish();
    }
}

#[test]
fn s_08_a_plain_node_needs_a_device_too() {
    let rig = Rig::new();
    let plain =
        |token| Ask { role: "node", id: "my-node", mode: "node", token, ..Ask::nobody(Dialect::Plain) };
    assert!(rig.try_enter(&plain(None)).is_err());
    assert!(rig.try_enter(&plain(Some(TOKEN))).is_err());
    let like_a_device = Device::new(3).id();
    let ask = Ask { id: &like_a_device, ..plain(Some(TOKEN)) };
    assert!(rig.try_enter(&ask).is_err(), "a device's id is the device's");
}

#[test]
fn s_09_what_a_client_calls_itself_changes_nothing_of_what_it_may() {
    let rig = Rig::new();
    let caps = json!({"caps": ["operator.admin", "tool-events", "approvals", "owner"],
        "permissions": {"operator.admin": true, "all": true}, "commands": ["system.run"],
        "userAgent": "openclaw-macos/9", "owner": true, "senderIsOwner": true, "internal": true, "isAdmin": true});
    for dialect in Dialect::ALL {
        let mut seen = 0;
        for (n, (id, mode)) in (0..).zip(IDS.iter().flat_map(|id| MODES.iter().map(move |mode| (id, mode)))) {
            let device = Device::new(n);
            let ask =
                Ask { id, mode, more: caps.clone(), ..Ask::device(dialect, &device, &["operator.read"]) };
            // A page must say where it is from; the others may not.
            if let Ok(mut client) = rig.try_enter(&ask) {
                seen += 1;
                assert_eq!(powers(&mut client), ["read"].into(), "{dialect:?} {id}/{mode}");
                client.leave();
            }
        }
        assert!(seen > 40, "most of them are let in: {seen}");
    }
}

#[test]
fn s_10_nobody_becomes_the_owner_by_saying_so() {
    let rig = Rig::new();
    // Over HTTP the secret makes the owner; no header makes one without it.
    for name in [
        "owner",
        "senderIsOwner",
        "x-openclaw-owner",
        "x-openclaw-sender-is-owner",
        "x-openclaw-scopes",
        "x-openclaw-token",
        "x-openclaw-device",
        "x-openclaw-internal",
        "x-api-key",
        "cookie",
    ] {
        for (method, path) in ROUTES {
            let reply = rig.http(method, path, &[(name, "operator.admin")], "{}");
            assert_eq!(reply.status, 401, "{name}: {method} {path}");
        }
    }
    // A run of somebody who may write only does not get the owner's tools.
    let device = Device::new(77);
    let mut writer = rig.enter(&Ask::device(Dialect::V4, &device, &["operator.write"]));
    let tools =
        writer.ask("tools.effective", &json!({"sessionKey": "main", "senderIsOwner": true})).to_string();
    let owners: Value = json!(["gateway", "cron", "nodes"]);
    for tool in owners.as_array().expect("a list") {
        let tool = format!("\"id\":{tool}");
        assert!(!tools.contains(&tool), "{tool} is for the owner: {tools}");
    }
}
