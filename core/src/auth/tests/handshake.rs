//! The course of a handshake: order, store, limiter, start and stop.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::bench::{Bench, Client, Device, Disk, LOOPBACK, REMOTE, page, peer};
use crate::auth::Secret;
use crate::gateway;
use crate::joined::Input;
use crate::settings::{AuthMode, Settings};

const SECRET: &str = "the gateway's own secret";

fn bench() -> Bench {
    Bench::new(Settings::plain(AuthMode::Token(Secret::new(SECRET))))
}

#[test]
fn nobody_is_let_in_before_the_device_is_on_disk() {
    let mut bench = bench();
    bench.disk = Disk::Silent;
    let client = Client::v4().token(SECRET).device(&Device::new(1)).scopes(&["read"]);
    let conn = bench.send_connect(&peer(LOOPBACK), &client);
    assert_eq!(bench.answer(conn, "c"), None);
    bench.write_waiting();
    let hello = bench.answer(conn, "c").unwrap();
    assert_eq!(hello["ok"], true);
    assert!(bench.row(&Device::new(1)).is_some());
}

#[test]
fn a_client_that_does_not_wait_is_not_let_in() {
    let mut bench = bench();
    bench.disk = Disk::Silent;
    let client = Client::v4().token(SECRET).device(&Device::new(1)).named("openclaw-tui", "ui");
    let conn = bench.send_connect(&peer(LOOPBACK), &client);
    bench.hang_up(conn);
    bench.write_waiting();
    assert!(bench.machines().gateway().conns.is_empty());
    assert_eq!(bench.answer(conn, "c"), None);
}

#[test]
fn when_the_disk_is_full_the_client_is_asked_to_come_back_and_then_everything_is_written() {
    let mut bench = bench();
    let device = Device::new(1);
    let client = Client::v4().token(SECRET).device(&device).scopes(&["read"]);
    bench.disk = Disk::Faulty;
    let refused = bench.connect(&peer(LOOPBACK), &client).unwrap_err();
    assert_eq!((refused.close, &refused.error["code"]), (1013, &json!("UNAVAILABLE")));
    assert_eq!(refused.error["retryable"], true);
    assert!(refused.message().contains("disk"), "{}", refused.message());
    bench.disk = Disk::Prompt;
    let token = bench.connect(&peer(LOOPBACK), &client).unwrap()["auth"]["deviceToken"].clone();
    bench.restart();
    let again = Client::v4().token(token.as_str().unwrap()).device(&device).scopes(&["read"]);
    assert!(bench.connect(&peer(REMOTE), &again).is_ok(), "what was acknowledged is there");
}

#[test]
fn a_gateway_that_starts_or_stops_asks_clients_to_come_back() {
    let mut bench = Bench::asleep(Settings::plain(AuthMode::None));
    let refused = bench.connect(&peer(LOOPBACK), &Client::v3()).unwrap_err();
    assert_eq!((refused.close, refused.reason.as_str()), (1013, "gateway starting"));
    assert_eq!(refused.message(), "gateway starting; retry shortly");
    assert_eq!(refused.detail("reason"), "startup-sidecars");
    assert_eq!((&refused.error["retryable"], &refused.error["retryAfterMs"]), (&json!(true), &json!(500)));

    bench.start();
    bench.disk = Disk::Silent;
    let waiting = bench.send_connect(&peer(LOOPBACK), &Client::v4().device(&Device::new(1)));
    let stop = gateway::Input::Stop { reason: "test".to_owned(), restart_expected: None };
    bench.handle(Input::Gateway(stop));
    let refused = bench.connect(&peer(LOOPBACK), &Client::v3()).unwrap_err();
    assert_eq!((refused.close, refused.reason.as_str()), (1013, "gateway restart in progress"));
    assert_eq!(refused.detail("reason"), "gateway-restarting");
    bench.write_waiting();
    let answer = bench.answer(waiting, "c").unwrap();
    assert_eq!(answer["ok"], false, "nobody is let in while the gateway goes down");
    assert_eq!(bench.close_of(waiting).unwrap().0, 1013);
}

#[test]
fn a_wrong_guess_on_this_host_is_answered_later_each_time() {
    let mut bench = bench();
    let guess = Client::v4().token("garbage");
    for (round, wait) in [250, 500, 1_000, 2_000, 4_000, 5_000, 5_000].into_iter().enumerate() {
        let conn = bench.send_connect(&peer(LOOPBACK), &guess);
        bench.pass(Duration::from_millis(wait - 1));
        assert_eq!(bench.answer(conn, "c"), None, "round {round}");
        bench.pass(Duration::from_millis(1));
        assert_eq!(bench.answer(conn, "c").unwrap()["ok"], false, "round {round}");
        assert_eq!(bench.close_of(conn).unwrap().0, 1008);
        bench.hang_up(conn);
    }
    let right = Client::v4().token(SECRET);
    let conn = bench.send_connect(&peer(LOOPBACK), &right);
    assert_eq!(bench.answer(conn, "c").unwrap()["ok"], true, "nobody on this host is locked out");
}

#[test]
fn a_refusal_that_is_held_back_goes_with_its_connection() {
    let mut bench = bench();
    let conn = bench.send_connect(&peer(LOOPBACK), &Client::v4().token("garbage"));
    bench.hang_up(conn);
    assert_eq!(bench.machines().gateway().handshake.next_deadline(), None);
    bench.pass(Duration::from_secs(1));
    assert_eq!(bench.answer(conn, "c"), None);
}

#[test]
fn the_eleventh_guess_from_elsewhere_is_not_looked_at_in_whatever_words_it_comes() {
    let mut bench = bench();
    let device = Device::new(1);
    let guesses = [
        Client::v4().token("garbage"),
        Client::v4().password("garbage"),
        Client::v3().token("garbage"),
        Client::plain().token("garbage"),
        Client::plain().password("garbage"),
        Client::v4().token("garbage").device(&device),
        Client::v3().token("garbage").device(&device),
        Client::plain().token("garbage").device(&device),
        // A second credential does not hide the first [S-33].
        Client::v4().token("garbage").device_token("fake").device(&device),
        Client::v4().token("garbage").with("auth", json!({"token": "garbage", "bootstrapToken": "x"})),
    ];
    for guess in &guesses {
        let refused = bench.connect(&peer(REMOTE), guess).unwrap_err();
        assert!(refused.message().starts_with("unauthorized: "), "{}", refused.message());
        assert_ne!(refused.detail("code"), "AUTH_RATE_LIMITED");
    }
    for right in [Client::v3().token(SECRET), Client::v4().token(SECRET), Client::plain().token(SECRET)] {
        let refused = bench.connect(&peer(REMOTE), &right).unwrap_err();
        assert_eq!(refused.message(), "unauthorized: too many failed authentication attempts (retry later)");
        assert_eq!(refused.detail("code"), "AUTH_RATE_LIMITED");
        assert_eq!(refused.detail("recommendedNextStep"), "wait_then_retry");
        assert_eq!(refused.error["retryable"], true);
        assert_eq!(refused.error["retryAfterMs"], 300_000);
    }
    assert!(bench.connect(&peer([10, 0, 0, 10]), &Client::v4().token(SECRET)).is_ok(), "others are free");
    bench.pass(Duration::from_secs(300));
    assert!(bench.connect(&peer(REMOTE), &Client::v4().token(SECRET)).is_ok());
}

#[test]
fn who_shows_nothing_has_not_guessed() {
    let mut bench = bench();
    for _ in 0..30 {
        bench.connect(&peer(REMOTE), &Client::v3().device(&Device::new(1))).unwrap_err();
        bench.connect(&peer(REMOTE), &Client::v4()).unwrap_err();
    }
    assert!(bench.connect(&peer(REMOTE), &Client::v4().token(SECRET)).is_ok());
}

#[test]
fn a_page_on_this_host_that_guesses_is_locked_out_alone() {
    let mut bench = bench();
    let evil = page(LOOPBACK, "localhost:18789", "http://localhost:666");
    for _ in 0..10 {
        bench.connect(&evil, &Client::v4().token("garbage")).unwrap_err();
    }
    let refused = bench.connect(&evil, &Client::v4().token(SECRET)).unwrap_err();
    assert_eq!(refused.detail("code"), "AUTH_RATE_LIMITED");
    assert!(bench.connect(&peer(LOOPBACK), &Client::v4().token(SECRET)).is_ok());
}

#[test]
fn a_paired_device_is_not_locked_out_by_others_behind_its_address() {
    let mut bench = bench();
    let device = Device::new(1);
    let paired = Client::v4().token(SECRET).device(&device).scopes(&["read"]);
    let token = bench.connect(&peer(LOOPBACK), &paired).unwrap()["auth"]["deviceToken"].clone();
    let token = token.as_str().unwrap();
    for n in 0..15 {
        let guess = Client::v4().device_token("fake").token("garbage").device(&Device::new(50 + n));
        bench.connect(&peer(REMOTE), &guess).unwrap_err();
    }
    let own = Client::v4().token(token).device(&device).scopes(&["read"]);
    assert!(bench.connect(&peer(REMOTE), &own).is_ok());
}

#[test]
fn a_guess_beside_a_good_device_token_is_counted() {
    let mut bench = bench();
    let device = Device::new(1);
    let paired = Client::v4().token(SECRET).device(&device).scopes(&["read"]);
    let token = bench.connect(&peer(LOOPBACK), &paired).unwrap()["auth"]["deviceToken"].clone();
    let token = token.as_str().unwrap();
    let guess = |word: &str| Client::v4().token(word).device_token(token).device(&device).scopes(&["read"]);
    for _ in 0..10 {
        assert!(bench.connect(&peer(REMOTE), &guess("garbage")).is_ok(), "its own token is good");
    }
    let hello = bench.connect(&peer(REMOTE), &guess(SECRET)).unwrap();
    assert_eq!(hello["auth"]["method"], "device-token", "the eleventh guess is not looked at");
    let both = Client::v4().token(token).device_token(token).device(&device).scopes(&["read"]);
    for _ in 0..20 {
        assert!(bench.connect(&peer([10, 0, 0, 77]), &both).is_ok());
    }
    let other = Client::v4().token(SECRET);
    assert!(bench.connect(&peer([10, 0, 0, 77]), &other).is_ok(), "the same token twice is no guess");
}

#[test]
fn a_connect_refreshes_health_at_most_every_five_seconds() {
    let mut bench = bench();
    let client = Client::v4().token(SECRET);
    let healths = |bench: &Bench| bench.frames.iter().filter(|(_, f)| f["event"] == "health").count();
    bench.connect(&peer(LOOPBACK), &client).unwrap();
    let first = bench.frames.iter().position(|(_, f)| f["event"] == "health").unwrap();
    let hello = bench.frames.iter().position(|(_, f)| f["id"] == "c").unwrap();
    assert!(hello < first, "the hello comes first");
    bench.connect(&peer(LOOPBACK), &client).unwrap();
    assert_eq!(healths(&bench), 1);
    bench.pass(Duration::from_secs(5));
    bench.connect(&peer(LOOPBACK), &client).unwrap();
    assert_eq!(healths(&bench), 4, "three clients hear of the second refresh");
}

#[test]
fn frames_that_came_with_the_connect_are_answered_after_the_hello() {
    let mut bench = bench();
    bench.disk = Disk::Silent;
    let client = Client::v4().token(SECRET).device(&Device::new(1)).scopes(&["read"]);
    let conn = bench.send_connect(&peer(LOOPBACK), &client);
    bench.say(conn, &json!({"type": "req", "id": "h", "method": "health"}));
    bench.write_waiting();
    let ids: Vec<&Value> = bench
        .frames
        .iter()
        .filter(|(to, f)| *to == conn && f["type"] == "res")
        .map(|(_, f)| &f["id"])
        .collect();
    assert_eq!(ids, ["c", "h"]);
}

proptest! {
    /// Whatever is sent as connect parameters, the connect is answered once or closed, and the gateway lives.
    #[test]
    fn no_parameters_confuse_the_handshake(text in prop_oneof![
        ".{0,60}",
        Just("{\"client\":{}}".to_owned()),
        "\\{\"minProtocol\":[0-9]{1,20},\"maxProtocol\":-?[0-9]{1,20},\"client\":\\{\"id\":\"cli\"\\}\\}",
        "\\{\"client\":\\{\"id\":\".{0,10}\"\\},\"device\":\\{\"id\":\"x\",\"publicKey\":\"[A-Za-z=]{0,60}\",\"signature\":\"a\",\"signedAt\":1\\}\\}",
    ]) {
        let mut bench = bench();
        for kind in ["\"type\":\"req\",\"id\":\"c\",\"method\":\"connect\"", "\"type\":\"connect\",\"id\":\"c\""] {
            let Ok(params) = serde_json::from_str::<Value>(&text) else { continue };
            let frame: Value = serde_json::from_str(&format!("{{{kind},\"params\":{params}}}")).unwrap();
            let (conn, _) = bench.open(&peer(REMOTE));
            bench.say(conn, &frame);
            bench.pass(Duration::from_secs(5));
            prop_assert!(bench.close_of(conn).is_some() || bench.answer(conn, "c").is_some());
        }
        prop_assert!(bench.connect(&peer(LOOPBACK), &Client::v4().token(SECRET)).is_ok());
    }
}
