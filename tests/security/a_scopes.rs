//! Part A: scopes, events and what a hello tells (S-03, S-04, S-16, S-17).

use std::collections::BTreeSet;

use serde_json::{Value, json};
use telson_proto::EventName;
use telson_tests::support::client::Dialect;
use telson_tests::support::device::Device;

use super::rig::{Ask, Rig, SCOPES, Who, powers};

#[test]
fn s_03_whoever_names_no_scopes_is_no_administrator() {
    let rig = Rig::new();
    let odd: Vec<Option<Value>> = vec![
        None,
        Some(json!([])),
        Some(json!(["operator.everything"])),
        Some(json!(["admin", "*", "", " operator.admin", "OPERATOR.ADMIN", "operator.admin "])),
        Some(json!("operator.admin")),
        Some(json!({"operator.admin": true})),
        Some(json!([["operator.admin"]])),
        Some(json!([{"scope": "operator.admin"}])),
        Some(json!(null)),
        Some(json!(7)),
    ];
    for dialect in Dialect::ALL {
        for (n, scopes) in (0..).zip(&odd) {
            let device = Device::new(n);
            for device in [None, Some(&device)] {
                let ask = Ask { scopes: scopes.clone(), device, ..Ask::shared(dialect) };
                if let Ok(mut client) = rig.try_enter(&ask) {
                    let powers = powers(&mut client);
                    // The secret of an old client is bound to everything: whoever holds it may ask for that, so
                    // saying nothing gives no more (spec 01 §2.3).
                    let says_nothing =
                        scopes.as_ref().is_none_or(|scopes| scopes.is_null() || *scopes == json!([]));
                    if dialect == Dialect::V3 && says_nothing {
                        continue;
                    }
                    // A plain client that names none gets read and write (spec 01 §9.4).
                    assert!(
                        powers.is_subset(&["read", "write"].into()),
                        "{dialect:?} {scopes:?}, device {}: {powers:?}",
                        device.is_some()
                    );
                    assert!(
                        powers.is_empty() || dialect == Dialect::Plain,
                        "{dialect:?} {scopes:?}: {powers:?}"
                    );
                }
            }
        }
    }
    let twice = json!(["operator.read", "operator.read"]);
    let mut client = rig.enter(&Ask { scopes: Some(twice), ..Ask::shared(Dialect::V3) });
    assert_eq!(powers(&mut client), ["read"].into());
}

#[test]
fn s_04_the_secret_without_a_device_gives_what_it_is_bound_to() {
    let rig = Rig::new();
    for dialect in Dialect::ALL {
        for scope in SCOPES {
            let ask = Ask { scopes: Some(json!([scope])), id: "test", mode: "test", ..Ask::shared(dialect) };
            let mut client = rig.enter(&ask);
            let powers = powers(&mut client);
            if dialect == Dialect::V4 {
                assert_eq!(powers, BTreeSet::new(), "{scope}: protocol 4 binds nothing to it (spec 01 §3.6)");
            } else {
                let expected: BTreeSet<&str> = match scope {
                    "operator.admin" => ["read", "write", "admin", "pairing"].into(),
                    "operator.write" => ["read", "write"].into(),
                    "operator.read" => ["read"].into(),
                    "operator.pairing" => ["pairing"].into(),
                    _ => BTreeSet::new(),
                };
                assert_eq!(powers, expected, "{dialect:?} {scope}");
            }
        }
    }
    // The operator can bind less to it.
    let capped = json!({"gateway": {"simpleDialect": {"maxScopes": ["operator.read"]}}});
    let rig = Rig::with(telson_tests::support::binary::Binary::Telson, &capped);
    let mut client = rig.enter(&Ask::shared(Dialect::Plain));
    assert_eq!(powers(&mut client), ["read"].into());
    assert_eq!(client.hello["auth"]["scopes"], json!(["operator.read"]), "the hello says what was granted");
}

/// Who may hear what (spec 01 §6.7), written down once more. An event without a line here is heard by nobody.
const EVENTS: &[(&str, &str)] = &[
    ("connect.challenge", "addressed"),
    ("node.invoke.request", "addressed"),
    ("node.invoke.cancel", "addressed"),
    ("tick", "everyone"),
    ("health", "everyone"),
    ("shutdown", "everyone"),
    ("agent", "operator.read"),
    ("chat", "operator.read"),
    ("presence", "operator.read"),
    ("node.presence", "operator.read"),
    ("node.hostStats", "operator.read"),
    ("sessions.changed", "operator.read"),
    ("session.message", "operator.read"),
    ("session.tool", "operator.read"),
    ("session.operation", "operator.read"),
    ("session.typing", "operator.read"),
    ("talk.mode", "operator.talk"),
    ("exec.approval.requested", "operator.approvals"),
    ("exec.approval.resolved", "operator.approvals"),
    ("plugin.approval.requested", "operator.approvals"),
    ("plugin.approval.resolved", "operator.approvals"),
    ("device.pair.requested", "operator.pairing"),
    ("device.pair.resolved", "operator.pairing"),
    ("device.pair.changed", "operator.pairing"),
    ("device.pair.setup.completed", "operator.pairing"),
    ("node.pair.requested", "operator.pairing"),
    ("node.pair.resolved", "operator.pairing"),
];

#[test]
fn s_16_every_event_is_heard_by_those_who_may_and_by_nobody_else() {
    use telson_proto::event::Guard;
    for event in EventName::ALL {
        let spec = event.spec();
        let guard = match spec.guard {
            Guard::Everyone => "everyone",
            Guard::Addressed => "addressed",
            Guard::Scope(scope) => scope.as_str(),
        };
        let expected = EVENTS.iter().find(|(name, _)| *name == spec.name).map(|(_, guard)| *guard);
        assert_eq!(expected, Some(guard), "{}: add its line from spec 01 §6.7", spec.name);
    }
    let rig = Rig::new();
    let mut cells = Vec::new();
    for dialect in Dialect::ALL {
        for who in Who::INSIDE {
            cells.push((who, dialect, who.enter(&rig, dialect)));
        }
    }
    // A little of everything happens.
    let mut admin = rig.enter(&Ask::shared(Dialect::V3));
    admin.ask("talk.mode", &json!({"enabled": true}));
    let run = admin
        .ask("chat.send", &json!({"sessionKey": "main", "message": "secret words", "idempotencyKey": "e"}));
    admin.chat_of(run["runId"].as_str().expect("a run"));
    admin.ask("system-event", &json!({"text": "Node: something happened"}));
    let device = Device::new(9);
    rig.enter(&Ask::device(Dialect::V4, &device, &["operator.read"])).leave();
    rig.gateway.terminate();
    for (who, dialect, mut client) in cells {
        client.closed();
        let heard: BTreeSet<String> =
            client.unread().filter_map(|frame| frame["event"].as_str()).map(str::to_owned).collect();
        for event in &heard {
            let guard = EVENTS.iter().find(|(name, _)| name == event).map_or("nobody", |(_, guard)| *guard);
            let may = match guard {
                "everyone" => true,
                "addressed" | "nobody" => false,
                // Protocol 3 knows no scope for it.
                "operator.talk" if dialect != Dialect::V4 => who.has(dialect, "operator.read"),
                scope => who.has(dialect, scope),
            };
            assert!(may, "{who:?} on {dialect:?} heard {event}");
        }
        if who.has(dialect, "operator.read") {
            assert!(heard.contains("chat"), "{who:?} on {dialect:?} hears the conversation: {heard:?}");
        }
        for frame in client.unread() {
            let silent = !who.has(dialect, "operator.read");
            let told = frame.to_string();
            let private = told.contains("secret words") || told.contains("agent:main");
            assert!(!(silent && private), "{who:?} {dialect:?}: {frame}");
            if frame["event"] == json!("tick") {
                assert_eq!(
                    frame["payload"].as_object().map(serde_json::Map::len),
                    Some(1),
                    "a tick says nothing"
                );
            }
        }
    }
}

#[test]
fn s_17_a_hello_and_the_status_tell_each_what_it_may_know() {
    let rig = Rig::new();
    let state = rig.home().state().display().to_string();
    for dialect in Dialect::ALL {
        for who in Who::INSIDE {
            let mut client = who.enter(&rig, dialect);
            let admin = who.has(dialect, "operator.admin");
            let hello = client.hello.clone();
            let snapshot = hello["snapshot"].as_object().expect("a snapshot");
            for member in ["configPath", "stateDir", "authMode"] {
                assert!(admin || !snapshot.contains_key(member), "{who:?} {dialect:?}: {member} in {hello}");
            }
            let presence = snapshot["presence"].as_array().expect("a list");
            assert!(who.has(dialect, "operator.read") || presence.is_empty(), "{who:?} {dialect:?}: {hello}");
            assert!(!hello.to_string().contains(super::rig::TOKEN), "{who:?} {dialect:?}");
            for method in ["health", "status", "system-presence"] {
                let answer = client.call(method, &json!({}));
                let text = answer.map_or_else(|error| error.to_string(), |answer| answer.to_string());
                assert!(admin || !text.contains(&state), "{who:?} {dialect:?} {method}: {text}");
                assert!(!text.contains(super::rig::TOKEN), "{who:?} {dialect:?} {method}");
            }
            client.leave();
        }
    }
    // Who is refused learns how to come in, and nothing about what is inside.
    for dialect in Dialect::ALL {
        let refused = format!("{:?}", rig.try_enter(&Ask::nobody(dialect)).err());
        for word in [state.as_str(), env!("CARGO_PKG_VERSION"), "echo", "agent"] {
            assert!(!refused.contains(word), "{dialect:?}: {word} in {refused}");
        }
    }
}
