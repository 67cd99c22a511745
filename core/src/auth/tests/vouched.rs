//! Users for whom a trusted proxy vouches (08 S-05, S-13, S-27; spec 01 §3.8).

use serde_json::json;
use telson_proto::{Scope, Scopes};

use super::bench::{Bench, Client, Device, LOOPBACK, REMOTE, peer};
use crate::auth::Secret;
use crate::gateway;
use crate::ingress::{Trail, network};
use crate::joined::Input;
use crate::peer::{Listener, Peer};
use crate::settings::{AuthMode, Settings};

const PROXY: [u8; 4] = [10, 0, 0, 2];
const PASSWORD: &str = "the password of this host";
const KEY: &str = "what the proxy proves itself by";

fn settings() -> Settings {
    let mut settings = Settings::plain(AuthMode::TrustedProxy { password: Some(Secret::new(PASSWORD)) });
    let proxies = ["10.0.0.2", "127.0.0.1"];
    settings.auth.ingress.trusted_proxies = proxies.iter().filter_map(|text| network(text)).collect();
    settings.auth.trusted_proxy.user_header = "x-user".to_owned();
    settings.auth.trusted_proxy.required_headers = vec!["x-signed-in".to_owned()];
    let writer = ("writer".to_owned(), Scopes::from_iter([Scope::Write]));
    settings.auth.trusted_proxy.identity_scopes = [writer].into();
    settings
}

fn by_loopback() -> Settings {
    let mut settings = settings();
    settings.auth.trusted_proxy.allow_loopback = true;
    settings.auth.trusted_proxy.secret_header = Some(("x-proxy-key".to_owned(), Secret::new(KEY)));
    settings
}

/// What a proxy at an address passes on.
fn through(addr: [u8; 4], lines: &[(&str, &str)]) -> Peer {
    let all = [("x-forwarded-for", "203.0.113.9")].into_iter().chain(lines.iter().copied());
    let head: Vec<_> = all.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let peer = Peer::seen(addr.into(), Listener::Main, &head);
    Peer { trail: Trail::new(head), ..peer }
}

fn user(name: &str) -> Peer {
    through(PROXY, &[("x-user", name), ("x-signed-in", "yes")])
}

fn scopes(hello: &serde_json::Value) -> Vec<String> {
    let all = hello["auth"]["scopes"].as_array().into_iter().flatten();
    all.map(|scope| scope.as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_user_gets_no_more_than_its_name_whatever_client_it_says_it_is() {
    let names = [
        ("cli", "cli"),
        ("openclaw-control-ui", "webchat"),
        ("gateway-client", "backend"),
        ("webchat-ui", "ui"),
    ];
    for asked in [&["admin"][..], &["read", "write", "admin", "pairing", "approvals"], &["read"], &[]] {
        for (id, mode) in names {
            let mut bench = Bench::new(settings());
            let client = Client::v4().named(id, mode).scopes(asked);
            let client = if id == "cli" { client } else { client.with("caps", json!([])) };
            let Ok(hello) = bench.connect(
                &through(
                    PROXY,
                    &[
                        ("x-user", "reader"),
                        ("x-signed-in", "yes"),
                        ("origin", "https://10.0.0.2"),
                        ("host", "10.0.0.2"),
                    ],
                ),
                &client,
            ) else {
                panic!("{id} {asked:?}");
            };
            let expected: Vec<String> =
                asked.iter().filter(|scope| **scope == "read").map(|_| "operator.read".to_owned()).collect();
            assert_eq!(scopes(&hello), expected, "{id} {asked:?}");
        }
    }
    let plain = Bench::new(settings()).connect(&user("writer"), &Client::plain()).unwrap();
    assert_eq!(plain["auth"]["scopes"], json!(["operator.read", "operator.write"]));
}

#[test]
fn the_proxy_may_narrow_a_connection_and_an_empty_list_leaves_nothing() {
    let capped = |cap: &str| {
        let lines = [("x-user", "writer"), ("x-signed-in", "1"), ("x-openclaw-scopes", cap)];
        let client = Client::v4().scopes(&["read", "write", "admin"]);
        scopes(&Bench::new(settings()).connect(&through(PROXY, &lines), &client).unwrap())
    };
    assert_eq!(capped("operator.read, operator.admin"), ["operator.read"]);
    assert!(capped("").is_empty());
}

#[test]
fn a_users_new_device_waits_for_an_approval_and_asks_for_no_more_than_the_user_has() {
    let mut bench = Bench::new(settings());
    let client = Client::v4().device(&Device::new(1)).scopes(&["read", "admin"]);
    let refused = bench.connect(&user("reader"), &client).unwrap_err();
    assert_eq!(refused.detail("code"), "PAIRING_REQUIRED");
    assert_eq!(refused.detail("requestedScopes"), &json!(["operator.read"]));
}

#[test]
fn a_node_needs_its_device_also_behind_a_proxy() {
    for client in [Client::v3(), Client::v4(), Client::plain()] {
        let refused =
            Bench::new(settings()).connect(&user("writer"), &client.with("role", "node")).unwrap_err();
        assert_eq!(refused.detail("code"), "DEVICE_IDENTITY_REQUIRED");
    }
}

#[test]
fn without_what_the_proxy_adds_there_is_no_user() {
    let cases = [
        (through(PROXY, &[("x-user", "reader")]), "trusted_proxy_missing_header"),
        (through(PROXY, &[("x-user", "reader"), ("x-signed-in", " ")]), "trusted_proxy_missing_header"),
        (through(PROXY, &[("x-signed-in", "yes")]), "trusted_proxy_user_missing"),
        (user(" "), "trusted_proxy_user_missing"),
        (
            through(PROXY, &[("x-user", "a"), ("x-user", "b"), ("x-signed-in", "1")]),
            "trusted_proxy_user_missing",
        ),
        (peer(PROXY), "trusted_proxy_untrusted_source"),
        (peer(REMOTE), "trusted_proxy_untrusted_source"),
        (peer(LOOPBACK), "trusted_proxy_untrusted_source"),
        (through(LOOPBACK, &[("x-user", "reader"), ("x-signed-in", "1")]), "trusted_proxy_loopback_source"),
    ];
    for (peer, reason) in cases {
        for client in [Client::v4(), Client::plain()] {
            let refused = Bench::new(settings()).connect(&peer, &client).unwrap_err();
            assert_eq!(refused.detail("authReason"), reason, "{peer:?}");
            assert_eq!(refused.message(), "unauthorized");
        }
    }
    let missing = Bench::new(settings()).connect(&through(PROXY, &[("x-user", "a")]), &Client::v4());
    assert_eq!(missing.unwrap_err().detail("code"), "AUTH_IDENTITY_HEADER_REQUIRED");
    let mut named = settings();
    named.auth.trusted_proxy.allow_users = vec!["ada".to_owned()];
    let mut bench = Bench::new(named);
    assert!(bench.connect(&user("ada"), &Client::v4()).is_ok());
    for other in ["Ada", "eve", "adam"] {
        let refused = bench.connect(&user(other), &Client::v4()).unwrap_err();
        assert_eq!(refused.detail("authReason"), "trusted_proxy_user_not_allowed");
    }
}

#[test]
fn a_proxy_on_this_host_proves_itself_or_counts_for_nothing() {
    let mut bench = Bench::new(by_loopback());
    let with = |key: &[(&str, &str)]| {
        let lines: Vec<_> =
            [("x-user", "reader"), ("x-signed-in", "1")].into_iter().chain(key.iter().copied()).collect();
        through(LOOPBACK, &lines)
    };
    for (key, good) in [
        (&[("x-proxy-key", KEY)][..], true),
        (&[], false),
        (&[("x-proxy-key", "a guess")], false),
        (&[("x-proxy-key", KEY), ("x-proxy-key", KEY)], false),
    ] {
        let outcome = bench.connect(&with(key), &Client::v4());
        assert_eq!(outcome.is_ok(), good, "{key:?}");
        if let Err(refused) = outcome {
            assert_eq!(refused.detail("authReason"), "trusted_proxy_credential_mismatch");
        }
    }
}

#[test]
fn a_proxy_at_an_address_of_this_host_is_no_other_host() {
    let mut own = settings();
    own.facts.ip = Some("10.0.0.2".to_owned());
    let refused = Bench::new(own).connect(&user("reader"), &Client::v4()).unwrap_err();
    assert_eq!(refused.detail("authReason"), "trusted_proxy_local_interface_source");
}

#[test]
fn the_password_is_for_clients_on_this_host_and_no_fallback_for_others() {
    let mut bench = Bench::new(settings());
    let client = Client::v4().password(PASSWORD).scopes(&["read"]);
    assert_eq!(scopes(&bench.connect(&peer(LOOPBACK), &client).unwrap()), ["operator.read"]);
    for peer in [peer(REMOTE), through(PROXY, &[]), through(LOOPBACK, &[])] {
        assert!(bench.connect(&peer, &client).is_err(), "{peer:?}");
    }
}

#[test]
fn users_are_out_when_the_rules_about_them_change() {
    let mut bench = Bench::new(settings());
    let (conn, hello) = bench.connect_as(&user("reader"), &Client::v4().scopes(&["read"]));
    assert!(hello.is_ok());
    let mut same = settings();
    same.auth.max_attempts = 3;
    bench.handle(Input::Gateway(gateway::Input::Access(Box::new(same.auth))));
    assert_eq!(bench.close_of(conn), None);
    let mut changed = settings();
    changed.auth.trusted_proxy.allow_users = vec!["ada".to_owned()];
    bench.handle(Input::Gateway(gateway::Input::Access(Box::new(changed.auth))));
    assert_eq!(bench.close_of(conn), Some((4001, "gateway policy changed".to_owned())));
}
