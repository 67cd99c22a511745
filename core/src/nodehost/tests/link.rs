//! The connection: greeting, refusals, pauses, silence.

use std::time::Duration;

use serde_json::json;

use crate::auth::Secret;
use crate::limits::{self, millis};
use crate::nodehost::settings::{Address, Credential};
use crate::nodehost::testing::{Bench, ORIGIN, settings};
use crate::nodehost::{Barrier, DeviceToken, Identity, Input, NodeSettings, Tokens};

const SECOND: Duration = Duration::from_secs(1);

fn with_token(token: &str) -> NodeSettings {
    let mut settings = settings();
    settings.gateways[0].token = Some(DeviceToken { token: Secret::new(token), updated_at_ms: 1 });
    settings
}

#[test]
fn a_node_introduces_itself_in_terms_of_both_protocols() {
    let mut bench = Bench::new(settings());
    let greeting = bench.open();
    let params = &greeting["params"];
    assert_eq!((&params["minProtocol"], &params["maxProtocol"]), (&json!(3), &json!(4)));
    assert_eq!((&params["role"], &params["scopes"]), (&json!("node"), &json!([])));
    assert_eq!((&params["client"]["id"], &params["client"]["mode"]), (&json!("node-host"), &json!("node")));
    assert_eq!(params["auth"], json!({"token": "shared"}));
    assert_eq!(params["device"]["nonce"], "n");
    assert_eq!(params["device"]["signedAt"], 7);
    bench.welcome(4, Some("given"));
    assert_eq!(bench.kept, [Some("given".to_owned())]);
    assert_eq!(bench.news.last().unwrap().event, "connected");
}

#[test]
fn commands_are_declared_only_where_the_machine_can_carry_them_out() {
    let declared = |settings: NodeSettings| Bench::new(settings).open()["params"]["commands"].clone();
    let plain =
        ["system.run", "system.which", "system.execApprovals.get", "system.execApprovals.set", "fs.listDir"];
    assert_eq!(declared(settings()), json!(plain));
    let mut bare = settings();
    bare.machine.home = None;
    bare.machine.notify = Some("/usr/bin/notify-send".to_owned());
    let commands = declared(bare);
    assert!(commands.as_array().unwrap().contains(&json!("system.notify")));
    assert!(!commands.as_array().unwrap().contains(&json!("fs.listDir")));
}

#[test]
fn the_token_that_a_gateway_gave_goes_before_its_shared_secret() {
    let mut bench = Bench::new(with_token("own"));
    assert_eq!(bench.open()["params"]["auth"], json!({"token": "own"}));
    bench.welcome(3, Some("own"));
    assert!(bench.kept.is_empty(), "nothing new came");
    bench.break_off(1012, "service restart");
    bench.pass(2 * SECOND);
    bench.open();
    bench.welcome(3, Some("newer"));
    assert_eq!(bench.kept, [Some("newer".to_owned())]);
}

#[test]
fn a_token_that_is_refused_is_forgotten_and_the_shared_secret_shown() {
    for (code, message) in [
        ("AUTH_DEVICE_TOKEN_MISMATCH", "unauthorized: device token mismatch (rotate/reissue device token)"),
        ("", "unauthorized: gateway token mismatch (provide gateway auth token)"),
    ] {
        let mut bench = Bench::new(with_token("old"));
        bench.open();
        bench.refuse(&json!({"code": "INVALID_REQUEST", "message": message, "details": {"code": code}}));
        assert_eq!(bench.kept, [None]);
        assert_eq!(bench.closed, [(1008, "connect failed")]);
        assert_eq!(bench.open()["params"]["auth"], json!({"token": "shared"}), "at once");
        bench.refuse(&json!({"code": "INVALID_REQUEST", "message": message, "details": {"code": code}}));
        assert_eq!(bench.news.last().unwrap().event, "paused");
        assert_eq!(bench.dialled.len(), 2, "it does not knock on and on");
    }
}

#[test]
fn a_node_without_another_credential_asks_for_a_person() {
    let mut settings = with_token("old");
    settings.credential = Credential::Nothing;
    let mut bench = Bench::new(settings);
    bench.open();
    bench.refuse(&json!({"code": "INVALID_REQUEST", "message": "unauthorized: device token mismatch (x)"}));
    let news = bench.news.last().unwrap();
    assert!(news.event == "paused" && news.urgent && news.text.contains("--setup-code"), "{news:?}");
    bench.pass(60 * SECOND);
    assert_eq!(bench.dialled.len(), 1);
    bench.tell(Input::Retry);
    assert_eq!(bench.dialled.len(), 2, "a person has asked for it");
}

#[test]
fn a_setup_code_is_shown_once_and_replaced_by_what_it_buys() {
    let mut settings = with_token("old");
    settings.setup = Some(Secret::new("once"));
    let mut bench = Bench::new(settings);
    assert_eq!(bench.open()["params"]["auth"], json!({"bootstrapToken": "once"}));
    bench.welcome(4, Some("bought"));
    bench.break_off(1006, "");
    bench.pass(2 * SECOND);
    assert_eq!(bench.open()["params"]["auth"], json!({"token": "bought"}));
}

#[test]
fn a_setup_code_that_is_used_up_gives_way_to_what_is_there() {
    let mut settings = with_token("old");
    settings.setup = Some(Secret::new("once"));
    let mut bench = Bench::new(settings);
    bench.open();
    bench.refuse(&json!({"code": "INVALID_REQUEST", "message": "unauthorized: setup code invalid, expired, revoked, or already used",
        "details": {"code": "AUTH_BOOTSTRAP_TOKEN_INVALID"}}));
    assert_eq!(bench.open()["params"]["auth"], json!({"token": "old"}));
}

#[test]
fn a_node_that_waits_for_approval_says_how_to_give_it_and_looks_again() {
    let mut bench = Bench::new(settings());
    bench.open();
    bench.refuse(&json!({"code": "NOT_PAIRED", "message": "pairing required: device is not approved yet",
        "details": {"code": "PAIRING_REQUIRED", "requestId": "5a1e"}}));
    let news = bench.news.last().unwrap().clone();
    assert_eq!((news.event, news.urgent), ("waiting-for-approval", true));
    assert!(news.text.contains("telson devices approve 5a1e"), "{}", news.text);
    assert_eq!(news.more["requestId"], "5a1e");
    bench.pass(millis(limits::NODE_APPROVAL_MS).mul_f64(0.7));
    assert_eq!(bench.dialled.len(), 1);
    bench.pass(millis(limits::NODE_APPROVAL_MS));
    assert_eq!(bench.dialled.len(), 2);
    bench.open();
    bench.welcome(4, Some("approved"));
    assert_eq!(bench.kept, [Some("approved".to_owned())]);
}

#[test]
fn the_older_gateway_says_it_by_closing() {
    let mut bench = Bench::new(settings());
    bench.open();
    bench.break_off(1008, "pairing required");
    assert!(bench.news.last().unwrap().text.contains("openclaw devices list"), "{:?}", bench.news);
}

#[test]
fn a_gateway_that_reads_the_older_signature_only_is_met_at_the_second_attempt() {
    let mut bench = Bench::new(settings());
    let first = bench.open()["params"]["device"]["signature"].clone();
    bench.refuse(&json!({"code": "INVALID_REQUEST", "message": "device signature invalid"}));
    let second = bench.open()["params"]["device"]["signature"].clone();
    assert_ne!(first, second);
    bench.welcome(3, None);
    bench.break_off(1012, "service restart");
    bench.pass(2 * SECOND);
    assert_eq!(bench.open()["params"]["device"]["signature"], second, "it is remembered");
    assert!(bench.news.iter().all(|news| news.event != "paused"));
}

#[test]
fn the_pauses_grow_and_begin_anew_after_a_good_connection() {
    let mut bench = Bench::new(settings());
    let mut pauses = Vec::new();
    for _ in 0..8 {
        let link = bench.link.take().unwrap();
        let reason = "connection refused".to_owned();
        bench.tell(Input::Unreachable { link, reason, barrier: Barrier::Network });
        let pause = bench.news.last().unwrap().more["retryMs"].as_u64().unwrap();
        pauses.push(pause);
        bench.pass(Duration::from_millis(pause + 1));
    }
    for (pause, wanted) in pauses.iter().zip([1, 2, 4, 8, 16, 30, 30, 30]) {
        let around = wanted * 750..=wanted * 1_250;
        assert!(around.contains(pause), "{pauses:?}");
    }
    bench.open();
    bench.welcome(4, None);
    bench.pass(11 * SECOND);
    bench.break_off(1006, "");
    assert!(bench.news.last().unwrap().more["retryMs"].as_u64().unwrap() <= 1_250);
}

#[test]
fn a_gateway_that_says_when_is_asked_then() {
    let mut bench = Bench::new(settings());
    bench.open();
    bench.refuse(&json!({"code": "UNAVAILABLE", "message": "gateway starting; retry shortly", "retryable": true, "retryAfterMs": 500}));
    let pause = bench.news.last().unwrap().more["retryMs"].as_u64().unwrap();
    assert!((375..=625).contains(&pause), "{pause}");
}

#[test]
fn a_gateway_that_falls_silent_is_left_after_two_ticks() {
    let mut bench = Bench::ready(4);
    bench.pass(59 * SECOND);
    bench.event("tick", &json!({"ts": 1}));
    bench.pass(59 * SECOND);
    assert!(bench.closed.is_empty());
    bench.pass(2 * SECOND);
    assert_eq!(bench.closed, [(4000, "tick timeout")]);
    bench.pass(2 * SECOND);
    assert_eq!(bench.dialled.len(), 2);
}

#[test]
fn an_attempt_that_gets_nowhere_is_given_up() {
    let mut bench = Bench::new(settings());
    bench.pass(millis(limits::NODE_CONNECT_MS));
    assert_eq!(bench.closed, [(4000, "connect timeout")]);
    bench.pass(2 * SECOND);
    let link = bench.link.unwrap();
    bench.tell(Input::Opened(link));
    bench.pass(millis(limits::NODE_CONNECT_MS));
    assert_eq!(bench.closed.last(), Some(&(1008, "connect challenge timeout")));
    bench.pass(4 * SECOND);
    bench.open();
    bench.pass(millis(limits::NODE_CONNECT_MS));
    assert_eq!(bench.closed.last(), Some(&(4000, "connect timeout")));
}

#[test]
fn what_an_earlier_connection_says_is_passed_over() {
    let mut bench = Bench::new(settings());
    let first = bench.link.unwrap();
    bench.pass(millis(limits::NODE_CONNECT_MS) + 2 * SECOND);
    assert_ne!(bench.link, Some(first));
    bench.tell(Input::Opened(first));
    bench.tell(Input::Message(
        first,
        json!({"type": "event", "event": "connect.challenge", "payload": {"nonce": "x"}}).to_string(),
    ));
    bench.tell(Input::Closed { link: first, code: 1000, reason: String::new() });
    assert!(bench.sent.is_empty());
    bench.open();
}

#[test]
fn every_address_is_tried_and_each_sees_its_own_token_only() {
    let mut settings = settings();
    settings.credential = Credential::Nothing;
    let other = Address {
        url: "wss://other.example/".to_owned(),
        origin: "wss://other.example:443".to_owned(),
        token: Some(DeviceToken { token: Secret::new("of the other"), updated_at_ms: 1 }),
    };
    settings.gateways.push(other);
    let mut bench = Bench::new(settings);
    assert_eq!(bench.open()["params"]["auth"], json!({}));
    bench.break_off(1006, "");
    bench.pass(2 * SECOND);
    assert_eq!(bench.dialled, ["wss://gateway.example/", "wss://other.example/"]);
    assert_eq!(bench.open()["params"]["auth"], json!({"token": "of the other"}));
}

#[test]
fn a_barrier_that_a_person_has_to_lift_is_told() {
    for (barrier, event) in [
        (Barrier::Http(403), "paused"),
        (Barrier::Certificate, "paused"),
        (Barrier::Http(503), "retrying"),
        (Barrier::Network, "retrying"),
    ] {
        let mut bench = Bench::new(settings());
        let link = bench.link.take().unwrap();
        bench.tell(Input::Unreachable { link, reason: "no".to_owned(), barrier });
        assert_eq!(bench.news.last().unwrap().event, event, "{barrier:?}");
    }
}

#[test]
fn a_node_that_is_told_to_stop_says_goodbye_and_ends() {
    let mut bench = Bench::ready(4);
    bench.tell(Input::Stop);
    assert!(bench.ended && bench.host.poll_timeout().is_none());
    assert_eq!(bench.closed, [(1000, "node stopped")]);
    bench.tell(Input::Retry);
    assert_eq!(bench.dialled.len(), 1, "nothing happens after the end");
}

#[test]
fn an_identity_comes_back_from_its_file() {
    let identity = Identity::from_seed(&[7; 32]);
    let text = identity.write(5);
    assert_eq!(Identity::read(&text).unwrap().id(), identity.id());
    assert!(!format!("{identity:?}").contains("PRIVATE"));
    for broken in ["", "{}", &text.replace("\"version\": 1", "\"version\": 2"), &text.replace("MC4C", "MC4D")]
    {
        assert!(Identity::read(broken).is_err(), "{broken}");
    }
    let renamed = text.replace(identity.id(), "somebody else");
    assert_eq!(Identity::read(&renamed).unwrap().id(), identity.id(), "the key counts");
}

#[test]
fn tokens_come_back_for_the_same_key_and_origin_only() {
    let mut tokens = Tokens::default();
    for n in 0..70_u64 {
        let token = Some(DeviceToken { token: Secret::new(format!("t{n}")), updated_at_ms: n });
        tokens.set(&format!("wss://g{n}:443"), token);
    }
    tokens.set(ORIGIN, Some(DeviceToken { token: Secret::new("mine"), updated_at_ms: 99 }));
    let text = tokens.write("me");
    let read = Tokens::read(&text, "me");
    assert_eq!(read.of(ORIGIN).unwrap().token.expose(), "mine");
    assert!(read.of("wss://g0:443").is_none(), "the oldest was forgotten");
    assert!(read.of("ws://gateway.example:443").is_none());
    assert!(Tokens::read(&text, "another key").of(ORIGIN).is_none());
    assert!(Tokens::read("{", "me").of(ORIGIN).is_none());
}
