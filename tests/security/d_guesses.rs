//! Part D: guessing (S-32, S-33).

use std::thread;

use serde_json::json;
use telson_tests::support::binary::Binary;
use telson_tests::support::client::Dialect;
use telson_tests::support::device::Device;

use super::rig::{Ask, Refused, Rig, TOKEN};

/// A gateway that treats this host like any other, so that the tests can be strangers.
fn strict() -> Rig {
    Rig::with(Binary::Telson, &json!({"gateway": {"auth": {"rateLimit": {"exemptLoopback": false}}}}))
}

const WRONG: &str = "wrong-wrong-wrong-wrong";

#[test]
fn s_32_the_eleventh_guess_is_not_looked_at() {
    for dialect in Dialect::ALL {
        let rig = strict();
        let guess = Ask { token: Some(WRONG), ..Ask::nobody(dialect) };
        for _ in 0..10 {
            let refused = rig.try_enter(&guess).err().expect("a wrong secret");
            assert_eq!(refused.detail(), "AUTH_TOKEN_MISMATCH", "{refused:?}");
        }
        // From now on not even the right one is, and the client hears when to return.
        for token in [WRONG, TOKEN] {
            let refused = rig.try_enter(&Ask { token: Some(token), ..guess.clone() }).err().expect("locked");
            assert_eq!(refused.detail(), "AUTH_RATE_LIMITED", "{refused:?}");
            let Refused::Connect { error, closed } = refused else { panic!("no upgrade is refused") };
            assert!(error["retryAfterMs"].as_u64().is_some_and(|ms| ms > 0), "{error}");
            assert_eq!(closed.map(|(code, _)| code), Some(1008));
        }
        let reply = rig.authorised("GET", "/v1/models", &[], "");
        assert_eq!(reply.status, 429, "HTTP shares the account: {reply:?}");
        assert!(reply.header("retry-after").is_some(), "{reply:?}");
    }
    // And in the other direction.
    let rig = strict();
    for _ in 0..10 {
        let reply = rig.http("GET", "/v1/models", &[("Authorization", &format!("Bearer {WRONG}"))], "");
        assert_eq!(reply.status, 401, "{reply:?}");
    }
    assert_eq!(rig.authorised("GET", "/v1/models", &[], "").status, 429);
    let refused = rig.try_enter(&Ask::shared(Dialect::V4)).err().expect("locked");
    assert_eq!(refused.detail(), "AUTH_RATE_LIMITED", "{refused:?}");
}

#[test]
fn s_32_a_page_on_this_host_is_locked_out_as_it_comes_out_of_the_box() {
    let rig = Rig::new();
    let origin = format!("http://{}", rig.address());
    let page = |token| Ask {
        id: "webchat-ui",
        mode: "webchat",
        headers: vec![("origin", origin.as_str())],
        token: Some(token),
        ..Ask::nobody(Dialect::V3)
    };
    let looked_at = (0..20)
        .filter(|_| rig.try_enter(&page(WRONG)).err().expect("wrong").detail() == "AUTH_TOKEN_MISMATCH")
        .count();
    assert_eq!(looked_at, 10);
    assert_eq!(rig.try_enter(&page(TOKEN)).err().expect("locked").detail(), "AUTH_RATE_LIMITED");
    // Nobody else is.
    rig.lives();
}

#[test]
fn s_33_many_guesses_at_once_are_looked_at_no_more_often() {
    let rig = strict();
    let address = rig.address();
    let threads: Vec<_> = (0..8)
        .map(|n| {
            thread::spawn(move || {
                let mut looked_at = 0;
                for k in 0..10 {
                    let dialect = Dialect::ALL[(n + k) % 3];
                    if n % 2 == 0 {
                        let secret = format!("guess-{n}-{k}-guess-guess");
                        let guess = Ask { token: Some(&secret), ..Ask::nobody(dialect) };
                        let refused = guess.enter(address).err().expect("a wrong secret");
                        looked_at += usize::from(refused.detail() == "AUTH_TOKEN_MISMATCH");
                    } else {
                        let bearer = format!("Bearer guess-{n}-{k}-guess-guess");
                        let path = ["/v1/models", "/tools/invoke"][k % 2];
                        let method = ["GET", "POST"][k % 2];
                        let headers = [("Authorization", bearer.as_str())];
                        let reply = super::rig::http(address, method, path, &headers, "{}");
                        looked_at += usize::from(reply.status == 401);
                    }
                }
                looked_at
            })
        })
        .collect();
    let looked_at: usize = threads.into_iter().map(|thread| thread.join().expect("no panic")).sum();
    assert_eq!(looked_at, 10, "the budget of one address, however many ask at once");
}

#[test]
fn s_33_what_is_no_guess_costs_nothing_and_a_made_up_device_token_hides_none() {
    let rig = strict();
    for _ in 0..15 {
        for dialect in Dialect::ALL {
            assert!(rig.try_enter(&Ask::nobody(dialect)).is_err());
        }
        assert_eq!(rig.http("GET", "/v1/models", &[], "").status, 401);
        assert_eq!(rig.http("GET", "/nothing/here", &[], "").status, 404);
        assert_eq!(rig.http("GET", "/v1/models", &[("Authorization", "Basic dDp0")], "").status, 401);
    }
    rig.lives();
    // A wrong device token beside a wrong secret: the secret's failure is counted all the same.
    let device = Device::new(4);
    let guess = Ask {
        token: Some(WRONG),
        device_token: Some("made-up-device-token"),
        device: Some(&device),
        ..Ask::nobody(Dialect::V4)
    };
    for _ in 0..10 {
        assert!(rig.try_enter(&guess).is_err());
    }
    let refused = rig.try_enter(&Ask::shared(Dialect::V4)).err().expect("locked");
    assert_eq!(refused.detail(), "AUTH_RATE_LIMITED", "{refused:?}");
}

#[test]
fn s_33_one_client_does_not_lock_another_identity_out() {
    let rig = strict();
    let device = Device::new(5);
    let paired = rig.enter(&Ask::device(Dialect::V4, &device, &["operator.read"]));
    let own = paired.hello["auth"]["deviceToken"].as_str().expect("a token").to_owned();
    paired.leave();
    for _ in 0..12 {
        assert!(rig.try_enter(&Ask { token: Some(WRONG), ..Ask::nobody(Dialect::V4) }).is_err());
    }
    let ask = Ask {
        token: None,
        device_token: Some(&own),
        ..Ask::device(Dialect::V4, &device, &["operator.read"])
    };
    rig.enter(&ask);
}
