//! However one guesses, the budget is the same (08 S-32, S-33).

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

use proptest::prelude::*;

use super::bench::{Bench, Client, Device, LOOPBACK, page, peer};
use crate::auth::Secret;
use crate::http::HttpRequest;
use crate::ids::HttpId;
use crate::ingress::{Trail, network};
use crate::peer::{Listener, Peer};
use crate::settings::{AuthMode, Settings};

const SECRET: &str = "the gateway's own secret";
const PROXY: [u8; 4] = [10, 0, 0, 2];

fn bench() -> Bench {
    let mut settings = Settings::plain(AuthMode::Token(Secret::new(SECRET)));
    settings.auth.ingress.trusted_proxies = vec![network("10.0.0.2").unwrap()];
    settings.api.chat.enabled = true;
    Bench::new(settings)
}

/// One way for the client at 203.0.113.9 to spell where it is.
fn spelled(spelling: u8) -> (IpAddr, Vec<(String, String)>) {
    let forwarded =
        |value: &str| (IpAddr::from(PROXY), vec![("x-forwarded-for".to_owned(), value.to_owned())]);
    match spelling % 7 {
        0 => (IpAddr::from([203, 0, 113, 9]), Vec::new()),
        1 => (IpAddr::V6(Ipv6Addr::from([0, 0, 0, 0, 0, 0xffff, 0xcb00, 0x7109])), Vec::new()),
        2 => forwarded("203.0.113.9"),
        3 => forwarded("::ffff:203.0.113.9"),
        4 => forwarded("203.0.113.9:4711"),
        5 => forwarded("198.51.100.1, 203.0.113.9"),
        _ => forwarded("198.51.100.2, [::ffff:203.0.113.9]:80, 10.0.0.2"),
    }
}

fn at(spelling: u8) -> Peer {
    let (addr, head) = spelled(spelling);
    let peer = Peer::seen(addr, Listener::Main, &head);
    Peer { trail: Trail::new(head), ..peer }
}

fn request(spelling: u8, authorization: Option<&str>) -> HttpRequest {
    let (addr, headers) = spelled(spelling);
    HttpRequest {
        peer: Peer::seen(addr, Listener::Main, &headers),
        method: "GET".to_owned(),
        path: "/v1/models".to_owned(),
        query: None,
        authorization: authorization.map(str::to_owned),
        headers,
        content_length: None,
        wants_websocket: false,
    }
}

/// Guesses once on a surface; whether the guess was looked at.
fn is_evaluated(bench: &mut Bench, n: u64, surface: u8, spelling: u8) -> bool {
    let guess = format!("guess {n}");
    let client = match surface % 5 {
        0 => return bench.http(HttpId(n), request(spelling, Some(&format!("Bearer {guess}")))) == 401,
        1 => Client::v3().token(&guess),
        2 => Client::v4().password(&guess),
        3 => Client::plain().token(&guess),
        // A made-up device token must not hide the guess beside it.
        _ => Client::v4().device(&Device::new(1)).token(&guess).device_token("made up"),
    };
    let refused = bench.connect(&at(spelling), &client).unwrap_err();
    refused.detail("code") != "AUTH_RATE_LIMITED"
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Over all surfaces and spellings of an address, no more guesses are looked at than the budget says, and what
    /// is no guess costs nothing. Somebody else gets in all the while.
    #[test]
    fn guesses_are_looked_at_within_one_budget_whatever_their_way(
        guesses in proptest::collection::vec((any::<u8>(), any::<u8>(), any::<bool>()), 30..60),
    ) {
        let mut bench = bench();
        // The gateway's secret, and the token of one device: two credentials, two budgets.
        let mut evaluated = [0, 0];
        for (n, (surface, spelling, idle)) in guesses.into_iter().enumerate() {
            if idle {
                let n = 10_000 + n as u64;
                prop_assert_ne!(bench.http(HttpId(n), request(spelling, None)), 200);
                let _ = bench.connect(&at(spelling), &Client::v4());
            }
            let of_device = usize::from(surface % 5 == 4);
            evaluated[of_device] += u32::from(is_evaluated(&mut bench, n as u64, surface, spelling));
        }
        prop_assert!(evaluated.iter().all(|count| *count <= 10), "{evaluated:?}");
        let refused = bench.connect(&at(0), &Client::v3().token(SECRET)).is_err();
        prop_assert!(refused, "the right secret waits too");
        let neighbour = Client::v3().token(SECRET);
        prop_assert!(bench.connect(&peer([203, 0, 113, 10]), &neighbour).is_ok());
    }
}

#[test]
fn one_network_of_ipv6_has_one_budget() {
    let mut bench = bench();
    let mut evaluated = 0;
    for n in 0..40_u16 {
        let addr = Ipv6Addr::from([0x2001, 0xdb8, 0, 7, n, n, n, n]);
        let refused = bench.connect(&Peer::at(addr.into()), &Client::v3().token("guess")).unwrap_err();
        evaluated += u32::from(refused.detail("code") != "AUTH_RATE_LIMITED");
    }
    assert_eq!(evaluated, 10);
    let next = Peer::at(Ipv6Addr::from([0x2001, 0xdb8, 0, 8, 0, 0, 0, 1]).into());
    assert!(bench.connect(&next, &Client::v3().token(SECRET)).is_ok());
}

#[test]
fn a_page_on_this_host_is_locked_out_and_its_user_is_not() {
    let mut bench = bench();
    let own = page(LOOPBACK, "localhost:1", "http://localhost:1");
    let outcomes: Vec<bool> = (0..12)
        .map(|_| {
            let refused = bench.connect(&own, &Client::v3().token("guess")).unwrap_err();
            refused.detail("code") == "AUTH_RATE_LIMITED"
        })
        .collect();
    assert_eq!(outcomes.iter().filter(|locked| **locked).count(), 2, "{outcomes:?}");
    assert!(bench.connect(&peer(LOOPBACK), &Client::v3().token(SECRET)).is_ok());
}

#[test]
fn a_paired_device_is_not_locked_out_by_others_at_its_address() {
    let mut bench = bench();
    let device = Device::new(1);
    let paired = Client::v4().device(&device).scopes(&["read"]);
    let hello = bench.connect(&peer(LOOPBACK), &paired.clone().token(SECRET)).unwrap();
    let token = hello["auth"]["deviceToken"].as_str().unwrap().to_owned();
    for n in 0..30 {
        let other = Client::v4().device(&Device::new(2)).device_token("made up").token("guess");
        assert!(bench.connect(&at(n), &other).is_err());
    }
    assert!(bench.connect(&at(0), &paired.device_token(&token)).is_ok());
}

#[test]
fn status_shows_who_was_wrong_and_who_is_locked_out() {
    let mut bench = bench();
    let reader = Client::v3().token(SECRET).with("scopes", vec!["operator.read"]);
    let (conn, hello) = bench.connect_as(&peer(LOOPBACK), &reader);
    assert!(hello.is_ok());
    for _ in 0..10 {
        let _ = bench.connect(&at(0), &Client::v3().token("guess"));
    }
    let _ = bench.connect(&peer([203, 0, 113, 10]), &Client::v3().token("guess"));
    bench.say(conn, &serde_json::json!({"type": "req", "id": "s", "method": "status"}));
    let answer = bench.answer(conn, "s").unwrap();
    let counted = &answer["payload"]["authLimiter"]["shared-secret"];
    assert_eq!(counted, &serde_json::json!({"sources": 2, "locked": 1}));
    let classes: BTreeMap<String, serde_json::Value> =
        serde_json::from_value(answer["payload"]["authLimiter"].clone()).unwrap();
    assert_eq!(classes.len(), 4);
}
