//! What ends when the operator changes what the gateway asks for, or whom it trusts (spec 01 §3.12, 08 S-11, S-12).

use std::time::Duration;

use serde_json::json;

use super::bench::{Bench, Client, Device, Disk, LOOPBACK, REMOTE, page, peer};
use crate::auth::Secret;
use crate::gateway;
use crate::joined::Input;
use crate::settings::{AuthMode, AuthSettings, Settings};

const OLD: &str = "the secret of yesterday";
const NEW: &str = "the secret of tomorrow";

fn token(value: &str) -> AuthSettings {
    AuthSettings::new(AuthMode::Token(Secret::new(value)))
}

fn bench_with(auth: AuthSettings) -> Bench {
    let mut settings = Settings::plain(AuthMode::None);
    settings.auth = auth;
    Bench::new(settings)
}

fn changes(bench: &mut Bench, auth: AuthSettings) {
    bench.handle(Input::Gateway(gateway::Input::Access(Box::new(auth))));
}

fn clients(secret: &str) -> [Client; 3] {
    [Client::v3(), Client::v4(), Client::plain()].map(|client| client.token(secret).scopes(&["read"]))
}

#[test]
fn a_new_secret_ends_whoever_came_with_the_old_one_and_nobody_else() {
    let mut bench = bench_with(token(OLD));
    let device = Device::new(1);
    let paired = Client::v4().token(OLD).device(&device).scopes(&["read"]);
    let hello = bench.connect(&peer(LOOPBACK), &paired).unwrap();
    let own = hello["auth"]["deviceToken"].as_str().unwrap().to_owned();
    let by_own_token = Client::v4().token(&own).device(&device).scopes(&["read"]);
    let (stays, welcome) = bench.connect_as(&peer(LOOPBACK), &by_own_token);
    assert!(welcome.is_ok());
    let leave: Vec<_> =
        clients(OLD).iter().map(|client| bench.connect_as(&peer(LOOPBACK), client).0).collect();

    changes(&mut bench, token(NEW));

    for conn in leave {
        assert_eq!(bench.close_of(conn), Some((4001, "gateway auth changed".to_owned())));
    }
    assert_eq!(bench.close_of(stays), None, "a device's own token is another credential");
    assert_eq!(bench.call(stays, "health", &json!({}))["ok"], true);
    for client in clients(OLD) {
        assert!(bench.connect(&peer(LOOPBACK), &client).is_err(), "the very next one");
    }
    for client in clients(NEW) {
        assert!(bench.connect(&peer(LOOPBACK), &client).is_ok());
    }
}

#[test]
fn the_same_secret_again_ends_nobody() {
    let mut bench = bench_with(token(OLD));
    let (conn, _) = bench.connect_as(&peer(LOOPBACK), &clients(OLD)[1]);
    changes(&mut bench, token(OLD));
    assert_eq!(bench.close_of(conn), None);
}

#[test]
fn a_connect_that_waits_for_the_store_is_not_let_in_by_the_old_secret() {
    let mut bench = bench_with(token(OLD));
    bench.disk = Disk::Silent;
    let client = Client::v4().token(OLD).device(&Device::new(1)).scopes(&["read"]);
    let conn = bench.send_connect(&peer(LOOPBACK), &client);
    changes(&mut bench, token(NEW));
    bench.write_waiting();
    let answer = bench.answer(conn, "c").unwrap();
    assert_eq!(answer["ok"], false);
    assert_eq!(bench.close_of(conn), Some((4001, "gateway auth changed".to_owned())));
    assert!(bench.machines().gateway().conns.is_empty());
    assert!(!answer.to_string().contains("deviceToken"), "{answer}");
}

#[test]
fn a_secret_that_is_asked_for_from_now_on_ends_those_who_needed_none() {
    let mut bench = bench_with(AuthSettings::new(AuthMode::None));
    let (conn, welcome) = bench.connect_as(&peer(LOOPBACK), &Client::plain().scopes(&["read"]));
    assert!(welcome.is_ok());
    changes(&mut bench, token(NEW));
    assert_eq!(bench.close_of(conn), Some((4001, "gateway auth changed".to_owned())));

    let (conn, _) = bench.connect_as(&peer(LOOPBACK), &clients(NEW)[1]);
    changes(&mut bench, AuthSettings::new(AuthMode::Password(Secret::new(NEW))));
    assert!(bench.close_of(conn).is_some(), "the same words as a password are another secret");
    changes(&mut bench, AuthSettings::new(AuthMode::None));
    assert!(bench.connect(&peer(LOOPBACK), &Client::plain().scopes(&["read"])).is_ok());
}

#[test]
fn a_page_whose_origin_is_no_longer_allowed_is_closed() {
    let origin = |allowed: &str| AuthSettings { allowed_origins: vec![allowed.to_owned()], ..token(OLD) };
    let mut bench = bench_with(origin("https://chat.example"));
    let there = page(REMOTE, "10.0.0.2:18789", "https://chat.example");
    let own = page(REMOTE, "10.0.0.2:18789", "http://10.0.0.2:18789");
    let (conn, welcome) = bench.connect_as(&there, &clients(OLD)[2]);
    assert!(welcome.is_ok());
    let (stays, _) = bench.connect_as(&own, &clients(OLD)[2]);
    bench.disk = Disk::Silent;
    let waits = Client::plain().token(OLD).device(&Device::new(2));
    let local = page(LOOPBACK, "localhost:18789", "https://chat.example");
    let waits = bench.send_connect(&local, &waits);

    changes(&mut bench, origin("https://other.example"));
    bench.write_waiting();

    assert_eq!(bench.close_of(conn), Some((1008, "origin not allowed".to_owned())));
    assert_eq!(bench.close_of(stays), None, "the gateway's own page");
    assert_ne!(bench.answer(waits, "c").map_or(false.into(), |answer| answer["ok"].clone()), true);
    assert_eq!(bench.machines().gateway().conns.len(), 1);
}

/// A page on this host that has shown the secret, and its own token since then.
fn page_with_token(bench: &mut Bench) -> (Client, Client) {
    let device = Device::new(4);
    let ui = || Client::v4().named("openclaw-control-ui", "ui").device(&device).scopes(&["read"]);
    let hello = bench.connect(&here(), &ui().token(OLD)).unwrap();
    (ui(), ui().token(hello["auth"]["deviceToken"].as_str().unwrap()))
}

fn here() -> crate::peer::Peer {
    page(LOOPBACK, "localhost:18789", "http://localhost:18789")
}

#[test]
fn what_a_page_got_for_the_old_secret_ends_with_it() {
    let mut bench = bench_with(token(OLD));
    let (ui, by_own_token) = page_with_token(&mut bench);
    let (conn, welcome) = bench.connect_as(&here(), &by_own_token);
    assert!(welcome.is_ok());

    changes(&mut bench, token(NEW));

    assert_eq!(bench.close_of(conn), Some((4001, "gateway auth changed".to_owned())));
    assert!(bench.connect(&here(), &by_own_token).is_err());
    assert!(bench.connect(&here(), &ui.token(NEW)).is_ok(), "the device is still approved");
}

#[test]
fn a_secret_that_was_changed_while_the_gateway_was_down_ends_them_too() {
    let mut bench = bench_with(token(OLD));
    let (_, by_own_token) = page_with_token(&mut bench);
    bench.restart();
    assert!(bench.connect(&here(), &by_own_token).is_ok(), "the same secret");
    bench.restart_with(token(NEW));
    assert!(bench.connect(&here(), &by_own_token).is_err());
    bench.restart_with(token(OLD));
    assert!(bench.connect(&here(), &by_own_token).is_err(), "it is gone for good");
}

#[test]
fn the_limiter_goes_on_with_what_it_has_counted() {
    let mut bench = bench_with(token(OLD));
    for _ in 0..3 {
        assert!(bench.connect(&peer(REMOTE), &clients("a guess")[1]).is_err());
    }
    changes(&mut bench, AuthSettings { max_attempts: 4, lockout: Duration::from_secs(7), ..token(OLD) });
    assert!(bench.connect(&peer(REMOTE), &clients("a guess")[1]).is_err());
    let refused = bench.connect(&peer(REMOTE), &clients(OLD)[1]).unwrap_err();
    assert_eq!(refused.detail("code"), "AUTH_RATE_LIMITED");
    assert_eq!(refused.error["retryAfterMs"], 7_000);
    bench.pass(Duration::from_secs(7));
    assert!(bench.connect(&peer(REMOTE), &clients(OLD)[1]).is_ok());
}
