//! The words of refusals (spec 01 §1.4, §2.4, §3.6, §3.9, §3.11, §4.5).

use serde_json::json;

use super::bench::{Bench, Client, Device, LOOPBACK, REMOTE, Refused, page, peer};
use crate::auth::Secret;
use crate::gateway;
use crate::joined::Input;
use crate::settings::{AuthMode, Settings};

const SECRET: &str = "the gateway's own secret";

fn with_mode(mode: AuthMode) -> Bench {
    Bench::new(Settings::plain(mode))
}

fn bench() -> Bench {
    with_mode(AuthMode::Token(Secret::new(SECRET)))
}

fn refused(client: &Client) -> Refused {
    bench().connect(&peer(LOOPBACK), client).unwrap_err()
}

#[test]
fn versions_without_overlap_are_told_with_what_would_be_right() {
    for (min, max, expected) in [(5, 9, 4), (1, 2, 3), (4, 3, 3)] {
        let client = Client::v4().with("minProtocol", min).with("maxProtocol", max);
        let refused = refused(&client);
        assert_eq!((refused.close, refused.reason.as_str()), (1002, "protocol mismatch"));
        assert_eq!(
            refused.error,
            json!({"code": "INVALID_REQUEST", "message": "protocol mismatch", "details": {
                "code": "PROTOCOL_MISMATCH", "clientMinProtocol": min, "clientMaxProtocol": max,
                "expectedProtocol": expected, "minimumProbeProtocol": 3,
            }})
        );
    }
    let probe = Client::v4().with("minProtocol", 3).token(SECRET);
    assert_eq!(bench().connect(&peer(LOOPBACK), &probe).unwrap()["protocol"], 4, "the highest wins");
}

#[test]
fn a_plain_client_that_names_one_bound_leaves_the_other_open() {
    let plain = || Client::plain().token(SECRET);
    let protocol = |client: &Client| bench().connect(&peer(LOOPBACK), client).unwrap()["protocol"].clone();
    assert_eq!(protocol(&plain()), 3);
    assert_eq!(protocol(&plain().with("minProtocol", 3)), 4);
    assert_eq!(protocol(&plain().with("maxProtocol", 3)), 3);
    assert_eq!(refused(&plain().with("minProtocol", 5)).close, 1002);
}

#[test]
fn wrong_parameters_are_named() {
    let cases = [
        (json!({}), "must have required property 'client'"),
        (json!({"client": {}}), "at /client: must have required property 'id'"),
        (json!({"client": {"id": ""}}), "at /client/id: must NOT have fewer than 1 characters"),
        (json!({"client": {"id": "cli"}}), "must have required property 'minProtocol'"),
        (
            json!({"minProtocol": 3, "maxProtocol": 3, "client": {"id": "cli"}}),
            "at /client: must have required property 'version'",
        ),
        (json!({"minProtocol": 0, "client": {"id": "cli"}}), "at /minProtocol: must be >= 1"),
        (json!({"client": {"id": "cli"}, "scopes": "all"}), "at /scopes: "),
        (json!({"client": {"id": "cli"}, "device": {"id": "x"}}), "at /device: must have required property"),
        (json!([]), ""),
    ];
    for (params, detail) in cases {
        let mut client = Client::v3();
        client.params = params;
        let refused = refused(&client);
        let expected = format!("invalid connect params: {detail}");
        assert!(refused.message().starts_with(&expected), "{} is not {expected}", refused.message());
        assert_eq!(refused.close, 1008);
        assert!(refused.message().starts_with(&refused.reason), "the reason is cut to fit");
    }
    let refused = refused(&Client::v3().named("ios-node", "node"));
    assert!(refused.message().starts_with("invalid connect params: at /client/id: must be equal to one of"));
    let mut client = Client::plain();
    client.params["client"]["id"] = "bell \u{7}".into();
    let refused = bench().connect(&peer(LOOPBACK), &client).unwrap_err();
    assert_eq!(
        refused.message(),
        "invalid connect params: at /client/id: must be 1 to 128 printable characters"
    );
}

#[test]
fn unknown_members_do_no_harm() {
    let client = Client::v3()
        .token(SECRET)
        .with("pathEnv", "/bin")
        .with("modelCatalog", json!({"sessionKey": "main"}))
        .with("permissions", json!({"camera": true}))
        .with("locale", "en");
    assert!(bench().connect(&peer(LOOPBACK), &client).is_ok());
}

#[test]
fn a_worker_takes_the_wrong_door_and_another_role_does_not_exist() {
    for worker in [
        Client::v4().named("openclaw-worker", "worker"),
        Client::v4().named("cli", "worker"),
        Client::v4().with("role", "worker"),
    ] {
        let mut bench = bench();
        let conn = bench.send_connect(&peer(LOOPBACK), &worker);
        assert_eq!(bench.answer(conn, "c"), None);
        assert_eq!(bench.close_of(conn), Some((1008, "invalid-handshake".to_owned())));
    }
    let refused = refused(&Client::v4().with("role", "admin"));
    assert_eq!((refused.message(), refused.reason.as_str()), ("invalid role", "invalid role"));
}

#[test]
fn each_kind_of_client_gets_its_own_hint() {
    let ui = |client: Client| client.named("openclaw-control-ui", "webchat").device(&Device::new(1));
    let other = |client: Client| client.named("gateway-client", "ui").device(&Device::new(1));
    let own = page(REMOTE, "10.0.0.2:1", "http://10.0.0.2:1");
    let message = |from, client: &Client| bench().connect(from, client).unwrap_err().message().to_owned();
    let remote = &peer(REMOTE);
    let here = &peer(LOOPBACK);
    let cases = [
        (remote, Client::v3().token("x"), "mismatch (set gateway.remote.token to match gateway.auth.token)"),
        (
            here,
            Client::v4().token("x"),
            "mismatch (use this gateway's gateway.auth.token or pair the device)",
        ),
        (remote, Client::v4().token("x"), "mismatch (set gateway.remote.token to match gateway.auth.token)"),
        (
            &own,
            ui(Client::v3()).token("x"),
            "mismatch (open a tokenized dashboard URL or paste token in Control UI settings)",
        ),
        (
            &own,
            ui(Client::v4()).token("x"),
            "mismatch (open the dashboard URL and paste the token in Control UI settings)",
        ),
        (&own, ui(Client::v4()), "missing (paste in Control UI settings; telson token show prints it)"),
        (remote, other(Client::v3()), "missing (provide gateway auth token)"),
        (remote, other(Client::v4()).token("x"), "mismatch (provide gateway auth token)"),
    ];
    for (from, client, expected) in cases {
        assert_eq!(message(from, &client), format!("unauthorized: gateway token {expected}"));
    }
    let mut password = with_mode(AuthMode::Password(Secret::new(SECRET)));
    let refused = password.connect(remote, &Client::v4().password("x")).unwrap_err();
    assert_eq!(
        refused.message(),
        "unauthorized: gateway password mismatch (set gateway.remote.password to match gateway.auth.password)"
    );
    assert_eq!(refused.detail("code"), "AUTH_PASSWORD_MISMATCH");
}

#[test]
fn failures_carry_what_a_client_can_do_about_them_in_either_protocol() {
    for client in [Client::v3(), Client::v4()] {
        let refused = refused(&client.token("x"));
        assert_eq!(refused.close, 1008);
        assert!(refused.reason.starts_with("unauthorized: gateway token mismatch ("));
        assert_eq!(
            refused.error["details"],
            json!({
                "code": "AUTH_TOKEN_MISMATCH", "authReason": "token_mismatch",
                "canRetryWithDeviceToken": false, "recommendedNextStep": "update_auth_credentials",
            })
        );
    }
    let with_device = refused(&Client::v4().token("x").device(&Device::new(1)));
    assert_eq!(with_device.detail("recommendedNextStep"), "retry_with_device_token");
    assert_eq!(with_device.detail("canRetryWithDeviceToken"), true);
    let missing = refused(&Client::v3().device(&Device::new(1)));
    assert_eq!(missing.detail("code"), "AUTH_TOKEN_MISSING");
    assert_eq!(missing.detail("recommendedNextStep"), "update_auth_configuration");
    let setup = Client::v4().with("auth", json!({"bootstrapToken": "x"})).device(&Device::new(1)).signs("v2");
    let setup = setup.with("auth", json!({"bootstrapToken": "x", "token": ""}));
    assert_eq!(refused(&setup).detail("code"), "AUTH_BOOTSTRAP_TOKEN_INVALID");
}

#[test]
fn pages_without_a_device_are_told_how_to_get_one() {
    let own = page(LOOPBACK, "localhost:1", "http://localhost:1");
    let ui = |client: Client| client.named("clawdbot-control-ui", "webchat").token(SECRET);
    let refused = bench().connect(&own, &ui(Client::v3())).unwrap_err();
    assert_eq!(refused.message(), "control ui requires HTTPS or localhost (secure context)");
    let refused = bench().connect(&own, &ui(Client::v4())).unwrap_err();
    assert_eq!(
        refused.message(),
        "control ui requires device identity (use HTTPS or localhost secure context)"
    );
    assert_eq!(refused.detail("code"), "CONTROL_UI_DEVICE_IDENTITY_REQUIRED");
    for switch in [0, 1] {
        let mut settings = Settings::plain(AuthMode::Token(Secret::new(SECRET)));
        settings.auth.allow_insecure_auth = switch == 0;
        settings.auth.disable_device_auth = switch == 1;
        let mut bench = Bench::new(settings);
        assert!(bench.connect(&own, &ui(Client::v3())).is_ok());
        assert!(bench.connect(&own, &ui(Client::v4())).is_err(), "for protocol 3 only");
        let without = bench.connect(&own, &ui(Client::v3()).with("auth", json!({}))).unwrap_err();
        assert_eq!(without.message(), "device identity required");
        let with_device = bench.connect(&own, &ui(Client::v3()).device(&Device::new(1))).unwrap();
        assert_eq!(with_device.get("auth").is_some(), switch == 0, "an ignored device gets no token");
    }
}

#[test]
fn pages_from_elsewhere_stay_out_in_every_dialect() {
    let evil = page(LOOPBACK, "localhost:1", "https://evil.example");
    let mut allowing = Settings::plain(AuthMode::Token(Secret::new(SECRET)));
    let strict = allowing.auth.clone();
    allowing.auth.allowed_origins = vec!["https://evil.example".to_owned()];
    for client in [Client::v3(), Client::v4(), Client::plain()] {
        let client = client.token(SECRET);
        let mut bench = Bench::new(allowing.clone());
        let (conn, nonce) = bench.open(&evil);
        bench.handle(Input::Gateway(gateway::Input::Access(Box::new(strict.clone()))));
        assert_eq!(bench.try_open(&evil), Err(403), "from then on before the upgrade");
        let frame = client.frame(&nonce, bench.now.wall);
        bench.say(conn, &frame);
        let answer = bench.answer(conn, "c").unwrap();
        let refused = bench.outcome(conn, &answer).unwrap_err();
        assert_eq!(
            refused.error["details"],
            json!({"code": "CONTROL_UI_ORIGIN_NOT_ALLOWED", "reason": "origin not allowed"})
        );
        assert_eq!(refused.close, 1008);
        assert!(refused.reason.starts_with("origin not allowed (open the Control UI from the gateway host"));
    }
    let no_origin =
        Client::v4().named("openclaw-control-ui", "webchat").token(SECRET).device(&Device::new(1));
    let refused = bench().connect(&peer(LOOPBACK), &no_origin).unwrap_err();
    assert_eq!(refused.detail("reason"), "origin missing or invalid");
    let mut client = Client::plain().token(SECRET);
    client.params["client"]["id"] = "openclaw-control-ui".into();
    assert!(bench().connect(&peer(LOOPBACK), &client).is_ok(), "a plain name means nothing");
}

#[test]
fn a_wrong_proof_is_told_before_or_after_the_secret_as_in_each_generation() {
    let broken = |client: Client| {
        let mut bench = bench();
        let (conn, nonce) = bench.open(&peer(LOOPBACK));
        let mut params = client.device(&Device::new(1)).signed(&nonce, bench.now.wall);
        params["device"]["signature"] = "AAAA".into();
        bench.say(conn, &json!({"type": "req", "id": "c", "method": "connect", "params": params}));
        let answer = bench.answer(conn, "c").unwrap();
        bench.outcome(conn, &answer).unwrap_err()
    };
    for client in [Client::v3(), Client::v4()] {
        let refused = broken(client.token(SECRET));
        assert_eq!(refused.message(), "device signature invalid");
        assert_eq!(refused.detail("code"), "DEVICE_AUTH_SIGNATURE_INVALID");
        assert_eq!((refused.close, refused.reason.as_str()), (1008, "device signature invalid"));
    }
    // Without a device protocol 3 does not look at the password, protocol 4 does.
    let mut password = with_mode(AuthMode::Password(Secret::new(SECRET)));
    let old = password.connect(&peer(REMOTE), &Client::v3().password("x")).unwrap_err();
    assert_eq!(old.message(), "device identity required");
    let new = password.connect(&peer(REMOTE), &Client::v4().password("x")).unwrap_err();
    assert!(new.message().starts_with("unauthorized: gateway password mismatch"));
}

#[test]
fn a_proof_of_another_connection_is_refused() {
    let mut bench = bench();
    let client = Client::v4().token(SECRET).device(&Device::new(1));
    let (_, nonce) = bench.open(&peer(LOOPBACK));
    let stolen = client.signed(&nonce, bench.now.wall);
    let (conn, _) = bench.open(&peer(LOOPBACK));
    bench.say(conn, &json!({"type": "req", "id": "c", "method": "connect", "params": stolen}));
    assert_eq!(bench.answer(conn, "c").unwrap()["error"]["message"], "device nonce mismatch");
}

#[test]
fn the_oldest_signature_still_opens_the_door_on_this_host() {
    let client = Client::v3().token(SECRET).device(&Device::new(1)).signs("v1");
    assert!(bench().connect(&peer(LOOPBACK), &client).is_ok());
    assert_eq!(bench().connect(&peer(REMOTE), &client).unwrap_err().message(), "device nonce required");
}

#[test]
fn a_client_library_beside_the_gateway_keeps_its_scopes_without_a_device() {
    let backend = |client: Client| client.named("gateway-client", "backend").scopes(&["read"]);
    let scopes = |hello: &serde_json::Value| hello["auth"]["scopes"].clone();
    let hello = bench().connect(&peer(LOOPBACK), &backend(Client::v4().token(SECRET))).unwrap();
    assert_eq!(scopes(&hello), json!(["operator.read"]));
    let hello = with_mode(AuthMode::None).connect(&peer(LOOPBACK), &backend(Client::v4())).unwrap();
    assert_eq!(scopes(&hello), json!(["operator.read"]));
    let hello = bench().connect(&peer(REMOTE), &backend(Client::v4().token(SECRET))).unwrap();
    assert_eq!(scopes(&hello), json!([]), "elsewhere it may do nothing");
    let without = bench().connect(&peer(LOOPBACK), &backend(Client::v4())).unwrap_err();
    assert_eq!(without.error["code"], "NOT_PAIRED");
    assert_eq!(without.detail("code"), "DEVICE_IDENTITY_REQUIRED");
}
