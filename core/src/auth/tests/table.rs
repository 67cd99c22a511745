//! Every way to come in, and what comes of it (spec 08 S-02, S-03, S-08, S-09).

use proptest::prelude::*;
use serde_json::{Value, json};

use super::bench::{Bench, Client, Device, LOOPBACK, REMOTE, Refused, peer};
use crate::auth::Secret;
use crate::settings::{AuthMode, Settings};

const SECRET: &str = "the gateway's own secret";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    None,
    Token,
    Password,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Credential {
    Absent,
    Garbage,
    Valid,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum With {
    NoDevice,
    Unpaired,
    Paired,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speaks {
    V3,
    V4,
    Plain,
}

/// What comes of a connect that asks for read and write.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fate {
    /// In, with what it asked for.
    Granted,
    /// In, with nothing.
    Powerless,
    /// Refused with this message's beginning.
    Refused(&'static str),
}

const DEVICE_REQUIRED: Fate = Fate::Refused("device identity required");
const PAIRING: Fate = Fate::Refused("pairing required");

fn mode(mode: Mode) -> AuthMode {
    match mode {
        Mode::None => AuthMode::None,
        Mode::Token => AuthMode::Token(Secret::new(SECRET)),
        Mode::Password => AuthMode::Password(Secret::new(SECRET)),
    }
}

fn client(speaks: Speaks) -> Client {
    let client = match speaks {
        Speaks::V3 => Client::v3(),
        Speaks::V4 => Client::v4(),
        Speaks::Plain => Client::plain(),
    };
    client.scopes(&["read", "write"])
}

fn showing(client: Client, mode: Mode, credential: Credential) -> Client {
    let value = match credential {
        Credential::Absent => return client,
        Credential::Garbage => "garbage",
        Credential::Valid => SECRET,
    };
    if mode == Mode::Password { client.password(value) } else { client.token(value) }
}

/// The table.
fn expected(mode: Mode, credential: Credential, with: With, speaks: Speaks, local: bool) -> Fate {
    let missing = match mode {
        Mode::Password => Fate::Refused("unauthorized: gateway password missing"),
        Mode::None | Mode::Token => Fate::Refused("unauthorized: gateway token missing"),
    };
    let mismatch = match mode {
        Mode::Password => Fate::Refused("unauthorized: gateway password mismatch"),
        Mode::None | Mode::Token => Fate::Refused("unauthorized: gateway token mismatch"),
    };
    let proven = mode == Mode::None || credential == Credential::Valid;
    match (with, speaks) {
        (With::Paired, _) if proven => Fate::Granted,
        (With::Unpaired, _) if proven => {
            if local {
                Fate::Granted
            } else {
                PAIRING
            }
        }
        (With::Paired | With::Unpaired, _) if credential == Credential::Absent => missing,
        (With::Paired | With::Unpaired, _) => mismatch,
        (With::NoDevice, Speaks::V3 | Speaks::Plain) if mode == Mode::None => {
            if local {
                Fate::Granted
            } else {
                DEVICE_REQUIRED
            }
        }
        (With::NoDevice, Speaks::V4) if mode == Mode::None => DEVICE_REQUIRED,
        (With::NoDevice, Speaks::V3) if mode == Mode::Password => DEVICE_REQUIRED,
        (With::NoDevice, _) if credential == Credential::Absent => DEVICE_REQUIRED,
        (With::NoDevice, _) if credential == Credential::Garbage => mismatch,
        (With::NoDevice, Speaks::V4) if !local => Fate::Powerless,
        (With::NoDevice, _) => Fate::Granted,
    }
}

fn scopes(hello: &Value) -> Option<Vec<String>> {
    let list = hello["auth"]["scopes"].as_array()?;
    Some(list.iter().filter_map(Value::as_str).map(str::to_owned).collect())
}

fn agrees(fate: &Fate, outcome: &Result<Value, Refused>) -> bool {
    match (fate, outcome) {
        // A protocol 3 hello without a device does not say what was granted; other tests ask.
        (Fate::Granted, Ok(hello)) => {
            scopes(hello).is_none_or(|scopes| scopes == ["operator.read", "operator.write"])
        }
        (Fate::Powerless, Ok(hello)) => scopes(hello).is_some_and(|scopes| scopes.is_empty()),
        (Fate::Refused(message), Err(refused)) => refused.message().starts_with(message),
        _ => false,
    }
}

#[test]
fn every_way_to_come_in_ends_as_the_table_says() {
    let device = Device::new(1);
    for mode_name in [Mode::None, Mode::Token, Mode::Password] {
        for credential in [Credential::Absent, Credential::Garbage, Credential::Valid] {
            for with in [With::NoDevice, With::Unpaired, With::Paired] {
                for speaks in [Speaks::V3, Speaks::V4, Speaks::Plain] {
                    for local in [true, false] {
                        let mut bench = Bench::new(Settings::plain(mode(mode_name)));
                        if with == With::Paired {
                            let first = client(Speaks::V4).device(&device);
                            let first = showing(first, mode_name, Credential::Valid);
                            bench.connect(&peer(LOOPBACK), &first).expect("paired");
                        }
                        let client = showing(client(speaks), mode_name, credential);
                        let client = if with == With::NoDevice { client } else { client.device(&device) };
                        let from = peer(if local { LOOPBACK } else { REMOTE });
                        let outcome = bench.connect(&from, &client);
                        let fate = expected(mode_name, credential, with, speaks, local);
                        assert!(
                            agrees(&fate, &outcome),
                            "{mode_name:?} {credential:?} {with:?} {speaks:?} local {local}: {fate:?}, got {outcome:?}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn a_native_node_must_have_a_device_whatever_it_shows_and_calls_itself() {
    let ids = ["cli", "node-host", "openclaw-control-ui", "gateway-client", "test", "clawdbot-macos"];
    let modes = ["cli", "node", "backend", "ui", "probe", "test"];
    for mode_name in [Mode::None, Mode::Token, Mode::Password] {
        let mut settings = Settings::plain(mode(mode_name));
        settings.auth.allow_insecure_auth = true;
        settings.auth.disable_device_auth = true;
        let mut bench = Bench::new(settings);
        for (id, kind) in ids.iter().flat_map(|id| modes.iter().map(move |kind| (id, kind))) {
            for speaks in [Speaks::V3, Speaks::V4] {
                let client = showing(client(speaks), mode_name, Credential::Valid);
                let client = client.named(id, kind).with("role", "node");
                let outcome = bench.connect(&peer(LOOPBACK), &client);
                assert!(outcome.is_err(), "{mode_name:?} {id} {kind} {speaks:?}");
            }
        }
    }
}

#[test]
fn what_a_client_calls_itself_changes_nothing_of_what_its_device_may() {
    let device = Device::new(1);
    let mut bench = Bench::new(Settings::plain(mode(Mode::Token)));
    let first = client(Speaks::V4).token(SECRET).device(&device);
    let hello = bench.connect(&peer(LOOPBACK), &first).unwrap();
    let token = hello["auth"]["deviceToken"].as_str().unwrap().to_owned();
    for id in ["cli", "gateway-client", "openclaw-tui", "openclaw-macos", "node-host", "test"] {
        for kind in ["cli", "backend", "ui", "probe", "test", "node"] {
            for speaks in [Speaks::V3, Speaks::V4] {
                let client = client(speaks).named(id, kind).token(&token).device(&device);
                let caps = json!(["approvals", "tool-events", "operator.admin"]);
                let hello = bench.connect(&peer(LOOPBACK), &client.clone().with("caps", caps)).unwrap();
                assert_eq!(scopes(&hello).unwrap(), ["operator.read", "operator.write"], "{id} {kind}");
                let more = bench.connect(&peer(LOOPBACK), &client.scopes(&["admin"]));
                assert!(more.is_err(), "{id} {kind}: a device token does not widen");
            }
        }
    }
}

#[test]
fn whoever_names_no_scopes_gets_none_or_what_its_credential_is_bound_to() {
    let granted = |client: Client| {
        let mut bench = Bench::new(Settings::plain(mode(Mode::Token)));
        let client = client.token(SECRET).device(&Device::new(1));
        scopes(&bench.connect(&peer(LOOPBACK), &client).unwrap()).unwrap()
    };
    let admin = ["operator.admin"];
    let none: [&str; 0] = [];
    assert_eq!(granted(Client::v3()), admin, "the gateway's secret is bound to admin");
    assert_eq!(granted(Client::v3().with("scopes", json!([]))), admin);
    assert_eq!(granted(Client::v3().with("scopes", json!(["operator.everything", "admin"]))), none);
    assert_eq!(granted(Client::v4()), none);
    assert_eq!(granted(Client::v4().with("scopes", json!([]))), none);
    assert_eq!(granted(Client::v4().scopes(&["read", "read", "talk"])), ["operator.read", "operator.talk"]);
    assert_eq!(granted(Client::plain()), ["operator.read", "operator.write"]);
    assert_eq!(granted(Client::plain().with("scopes", json!([]))), none);
    let mut bench = Bench::new(Settings::plain(mode(Mode::Token)));
    let wrong = Client::v4().token(SECRET).with("scopes", json!("operator.admin"));
    assert_eq!(bench.connect(&peer(LOOPBACK), &wrong).unwrap_err().close, 1008);
}

#[test]
fn a_device_token_of_protocol_3_gives_its_own_scopes_when_none_are_named() {
    let mut bench = Bench::new(Settings::plain(mode(Mode::Token)));
    let device = Device::new(1);
    let first = Client::v3().token(SECRET).device(&device).scopes(&["read"]);
    let token = bench.connect(&peer(LOOPBACK), &first).unwrap()["auth"]["deviceToken"].clone();
    let token = token.as_str().unwrap();
    let hello = bench.connect(&peer(LOOPBACK), &Client::v3().token(token).device(&device)).unwrap();
    assert_eq!(scopes(&hello).unwrap(), ["operator.read"]);
    let plain = Client::plain().device_token(token).device(&device);
    assert_eq!(scopes(&bench.connect(&peer(LOOPBACK), &plain).unwrap()).unwrap(), ["operator.read"]);
}

/// A native or plain client with anything about it that a client chooses.
fn any_client() -> impl Strategy<Value = Client> {
    let id = prop_oneof![
        Just("cli"),
        Just("gateway-client"),
        Just("openclaw-control-ui"),
        Just("openclaw-tui"),
        Just("openclaw-macos"),
        Just("node-host"),
        Just("test")
    ];
    let kind =
        prop_oneof![Just("cli"), Just("backend"), Just("ui"), Just("probe"), Just("node"), Just("test")];
    let speaks = prop_oneof![Just(Speaks::V3), Just(Speaks::V4), Just(Speaks::Plain)];
    let scopes = prop_oneof![Just(vec!["read"]), Just(vec!["admin", "pairing"]), Just(vec![])];
    let node = proptest::bool::weighted(0.2);
    (speaks, id, kind, scopes, node, any::<bool>()).prop_map(|(speaks, id, kind, scopes, node, device)| {
        let client = client(speaks).scopes(&scopes);
        let client = if speaks == Speaks::Plain { client } else { client.named(id, kind) };
        let client = if node { client.with("role", "node") } else { client };
        if device { client.device(&Device::new(1)) } else { client }
    })
}

proptest! {
    /// [S-02] Whoever a client is and wherever it comes from: what it is refused without a credential it is
    /// refused with a wrong one too, and a wrong one never gives more.
    #[test]
    fn garbage_is_never_better_than_nothing(
        client in any_client(),
        mode_name in prop_oneof![Just(Mode::None), Just(Mode::Token), Just(Mode::Password)],
        field in 0_usize..4,
        garbage in "[ -~]{1,50}",
        local in any::<bool>(),
        paired in any::<bool>(),
        excused in any::<bool>(),
    ) {
        let try_it = |client: &Client| {
            let mut settings = Settings::plain(mode(mode_name));
            settings.auth.allow_insecure_auth = excused;
            settings.auth.disable_device_auth = excused;
            let mut bench = Bench::new(settings);
            if paired {
                let first = showing(Client::v4().scopes(&["read"]), mode_name, Credential::Valid);
                bench.connect(&peer(LOOPBACK), &first.device(&Device::new(1))).unwrap();
            }
            bench.connect(&peer(if local { LOOPBACK } else { REMOTE }), client)
        };
        let without = try_it(&client);
        let with = match field {
            0 => client.clone().token(&garbage),
            1 => client.clone().password(&garbage),
            2 => client.clone().device_token(&garbage),
            _ => client.clone().token(&garbage).password(&garbage).device_token(&garbage),
        };
        let with = try_it(&with);
        match (without, with) {
            (Err(_), Ok(hello)) => prop_assert!(false, "garbage let it in: {hello}"),
            (Ok(without), Ok(with)) => prop_assert_eq!(scopes(&without), scopes(&with)),
            (_, Err(_)) => {}
        }
    }
}
