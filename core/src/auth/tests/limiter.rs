#![allow(clippy::unwrap_used)]

use std::net::Ipv6Addr;

use proptest::prelude::*;

use super::*;
use crate::auth::Secret;
use crate::settings::AuthMode;

const CLASS: Class = Class::SharedSecret;

fn limiter() -> Limiter {
    Limiter::new(&AuthSettings::new(AuthMode::Token(Secret::new("x"))))
}

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn stranger(number: u32) -> Source {
    Source::V4(number.to_be_bytes())
}

#[test]
fn the_eleventh_guess_is_not_looked_at_and_the_source_hears_when_to_return() {
    let mut limiter = limiter();
    let source = stranger(1);
    for n in 0..10 {
        assert_eq!(limiter.check(at(n), CLASS, &source), Ok(()), "guess {n}");
        assert_eq!(limiter.fail(at(n), CLASS, &source), Duration::ZERO, "strangers are not held back");
    }
    assert_eq!(limiter.check(at(10), CLASS, &source), Err(at(299)));
    assert_eq!(limiter.check(at(308), CLASS, &source), Err(at(1)));
    assert_eq!(limiter.check(at(309), CLASS, &source), Ok(()));
    assert_eq!(limiter.check(at(10), Class::DeviceToken, &source), Ok(()), "classes are apart");
    assert_eq!(limiter.check(at(10), CLASS, &stranger(2)), Ok(()), "sources are apart");
}

#[test]
fn guesses_outside_the_window_do_not_count() {
    let mut limiter = limiter();
    let source = stranger(1);
    for n in 0..100 {
        limiter.fail(at(n * 7), CLASS, &source);
        assert_eq!(limiter.check(at(n * 7), CLASS, &source), Ok(()), "nine in any minute");
    }
}

#[test]
fn a_right_credential_starts_anew() {
    let mut limiter = limiter();
    let source = stranger(1);
    for _ in 0..9 {
        limiter.fail(at(0), CLASS, &source);
    }
    limiter.succeed(CLASS, &source);
    for _ in 0..9 {
        limiter.fail(at(1), CLASS, &source);
    }
    assert_eq!(limiter.check(at(1), CLASS, &source), Ok(()));
}

#[test]
fn this_host_waits_longer_each_time_but_is_never_locked_out() {
    let mut limiter = limiter();
    let delays: Vec<u128> =
        (0..8).map(|_| limiter.fail(at(0), CLASS, &Source::Loopback).as_millis()).collect();
    assert_eq!(delays, [250, 500, 1_000, 2_000, 4_000, 5_000, 5_000, 5_000]);
    for _ in 0..1_000 {
        limiter.fail(at(1), CLASS, &Source::Loopback);
    }
    assert_eq!(limiter.check(at(1), CLASS, &Source::Loopback), Ok(()));
    assert_eq!(limiter.fail(at(120), CLASS, &Source::Loopback).as_millis(), 250, "the window slides");
}

#[test]
fn a_page_on_this_host_is_locked_out() {
    let mut limiter = limiter();
    let peer = Peer { origin: Some("http://Localhost:1".into()), ..Peer::at(IpAddr::from([127, 0, 0, 1])) };
    let source = Source::of(&peer);
    assert_eq!(source, Source::Origin("http://localhost:1".into()));
    for _ in 0..10 {
        limiter.fail(at(0), CLASS, &source);
    }
    assert!(limiter.check(at(0), CLASS, &source).is_err());
    assert_eq!(limiter.check(at(0), CLASS, &Source::Loopback), Ok(()));
}

#[test]
fn addresses_have_one_spelling_each() {
    let of = |text: &str| Source::of(&Peer { addr: text.parse().unwrap(), ..Peer::at(IpAddr::from([0; 4])) });
    assert_eq!(of("203.0.113.7"), of("::ffff:203.0.113.7"));
    assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff:ffff:ffff:ffff"));
    assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
    assert_eq!(of("127.0.0.1"), of("::1"));
    assert_eq!(of("127.9.9.9"), of("::ffff:127.0.0.1"));
}

#[test]
fn the_table_is_bounded_and_when_full_of_locked_sources_unknown_ones_wait() {
    let mut limiter = limiter();
    let keys = u32::try_from(limits::AUTH_KEYS).unwrap();
    for n in 0..2 * keys {
        limiter.fail(at(0), CLASS, &stranger(n));
        assert!(limiter.entries.len() as u64 <= limits::AUTH_KEYS);
    }
    assert!(limiter.entries.contains_key(&(CLASS, stranger(2 * keys - 1))), "the oldest make room");
    for n in 0..2 * keys {
        for _ in 0..10 {
            limiter.fail(at(1), CLASS, &stranger(n));
        }
    }
    assert_eq!(limiter.entries.len() as u64, limits::AUTH_KEYS);
    let unknown = Source::V6([1; 8]);
    assert_eq!(limiter.check(at(2), CLASS, &unknown), Err(at(300)));
    assert_eq!(limiter.check(at(2), CLASS, &Source::Loopback), Ok(()));
    assert_eq!(limiter.check(at(302), CLASS, &unknown), Ok(()), "locks end");
}

proptest! {
    /// However guesses are spread over time and over the addresses of one network, at most ten are looked at
    /// before the source is locked out, and none while it is.
    #[test]
    fn no_spread_of_guesses_is_looked_at_more_often(
        guesses in proptest::collection::vec((0_u64..20_000, any::<u64>()), 1..200),
    ) {
        let mut limiter = limiter();
        let mut now = Duration::ZERO;
        let mut looked_at: Vec<Duration> = Vec::new();
        for (wait, host) in guesses {
            now += Duration::from_millis(wait);
            let addr = Ipv6Addr::from((0x2001_0db8_0000_0001_u128 << 64) | u128::from(host));
            let source = Source::of(&Peer::at(IpAddr::V6(addr)));
            if limiter.check(now, CLASS, &source).is_ok() {
                limiter.fail(now, CLASS, &source);
                looked_at.push(now);
            }
        }
        for run in looked_at.windows(11) {
            prop_assert!(run[10] - run[0] >= Duration::from_secs(60));
        }
    }
}
