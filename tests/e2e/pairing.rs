//! Devices that wait, decisions about them with and without a gateway, setup codes and service tokens.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use telson_tests::on_both_binaries;
use telson_tests::support::binary::Binary;
use telson_tests::support::client::{Client, Dialect, Greeting};
use telson_tests::support::device::{Claim, Device};
use telson_tests::support::gateway::{Gateway, Home};
use telson_tests::support::http;

on_both_binaries!(
    a_device_waits_until_the_command_line_lets_it_in,
    a_device_is_let_in_while_no_gateway_runs,
    a_rotated_token_closes_what_it_let_in,
    a_setup_code_brings_one_device_in,
    a_service_token_works_over_both_protocols_until_it_is_revoked,
    a_damaged_store_decides_nothing_and_stays_as_it_is,
);

/// A home in which every device waits, as one from elsewhere does.
fn waiting_home(binary: Binary) -> Home {
    let home = Home::new(binary);
    home.configure("{gateway: {nodes: {pairing: {autoApproveLocal: false}}}}");
    home
}

fn greeting<'a>(token: &'a str, device: &'a Device) -> Greeting<'a> {
    Greeting { scopes: &["operator.read"], device: Some(device), ..Greeting::operator(Dialect::V4, token) }
}

/// The request of a device that is told to wait.
fn request(gateway: &Gateway, token: &str, device: &Device) -> String {
    let refusal = Client::connect(gateway.address, &greeting(token, device)).err().expect("it must wait");
    assert_eq!(refusal.error["details"]["code"], "PAIRING_REQUIRED");
    let id = refusal.error["details"]["requestId"].as_str().expect("a request").to_owned();
    let hint = refusal.error["details"]["remediationHint"].as_str().expect("a hint");
    assert!(hint.ends_with(&format!("telson devices approve {id}")), "{hint}");
    id
}

fn a_device_waits_until_the_command_line_lets_it_in(binary: Binary) {
    let gateway = waiting_home(binary).start();
    let (token, device) = (gateway.token(), Device::new(1));
    let id = request(&gateway, &token, &device);
    assert!(gateway.log().contains(&format!("telson devices approve {id}")), "the log says the command");
    let told = gateway.run(&["devices", "approve"]).success();
    assert!(told.stdout.contains(&format!("telson devices approve {id}")), "{told:#?}");
    let done = gateway.run(&["devices", "approve", &id, "--json"]).success().json();
    assert_eq!(done["device"]["deviceId"], device.id().as_str());
    let client = Client::connect(gateway.address, &greeting(&token, &device)).expect("it is approved");
    assert_eq!(client.hello["auth"]["scopes"], json!(["operator.read"]));
    client.leave();
    gateway.run(&["devices", "rename", &device.id()[..12], "--name", "Desk"]).success();
    let list = gateway.run(&["devices", "list"]).success();
    assert!(list.stdout.contains("Desk") && list.stdout.contains(&device.id()[..12]), "{list:#?}");
    let again = gateway.run(&["devices", "approve", &id]);
    assert!(again.code != Some(0) && again.stderr.contains("unknown requestId"), "{again:#?}");
}

fn a_device_is_let_in_while_no_gateway_runs(binary: Binary) {
    let gateway = waiting_home(binary).start();
    let (token, device, other) = (gateway.token(), Device::new(1), Device::new(2));
    let id = request(&gateway, &token, &device);
    let rejected = request(&gateway, &token, &other);
    let home = gateway.kill();
    let done = home.run(&["devices", "approve", &id, "--json"]).success().json();
    assert_eq!(done["requestId"], id.as_str());
    home.run(&["devices", "reject", &rejected]).success();
    let gateway = Gateway::start(&home, &[]);
    assert!(Client::connect(gateway.address, &greeting(&token, &device)).is_ok());
    assert!(Client::connect(gateway.address, &greeting(&token, &other)).is_err());
    let home = gateway.kill();
    home.run(&["devices", "remove", &device.id()]).success();
    let gateway = Gateway::start(&home, &[]);
    assert!(Client::connect(gateway.address, &greeting(&token, &device)).is_err());
}

fn a_rotated_token_closes_what_it_let_in(binary: Binary) {
    let gateway = Home::new(binary).start();
    let (secret, device) = (gateway.token(), Device::new(1));
    let client = Client::connect(gateway.address, &greeting(&secret, &device)).expect("it is local");
    let own = client.hello["auth"]["deviceToken"].as_str().expect("a token").to_owned();
    client.leave();
    let mut client = Client::connect(gateway.address, &greeting(&own, &device)).expect("its token is good");
    let done = gateway.run(&["devices", "rotate", &device.id(), "--json"]).success().json();
    assert_eq!((&done["tokenDelivery"], &done["token"]), (&json!("withheld-cross-device"), &Value::Null));
    let (code, reason) = client.closed().expect("a close frame");
    assert_eq!((code, reason.as_str()), (4001, "client invalidated: device-token-rotated"));
    assert!(Client::connect(gateway.address, &greeting(&own, &device)).is_err());
    assert!(Client::connect(gateway.address, &greeting(&secret, &device)).is_ok());
}

fn a_setup_code_brings_one_device_in(binary: Binary) {
    let home = waiting_home(binary);
    let code =
        home.run(&["pair", "--new", "--profile", "control-ui", "--public-url", "ws://box.lan:1", "--json"]);
    let code = code.success().json();
    let text = URL_SAFE_NO_PAD.decode(code["setupCode"].as_str().expect("a code")).expect("base64");
    let read: Value = serde_json::from_slice(&text).expect("JSON");
    assert_eq!(read["url"], "ws://box.lan:1");
    let bootstrap = read["bootstrapToken"].as_str().expect("a token");

    let gateway = home.start();
    let connect = |device: &Device| {
        let mut client = Client::open(gateway.address, Dialect::V4);
        let challenge = client.challenge.clone();
        let claim = Claim {
            client_id: "cli",
            client_mode: "cli",
            role: "operator",
            scopes: &["operator.read"],
            token: bootstrap,
            platform: "linux",
        };
        let params = json!({
            "minProtocol": 4, "maxProtocol": 4, "role": "operator", "scopes": ["operator.read"],
            "client": {"id": "cli", "version": "1", "platform": "linux", "mode": "cli"},
            "auth": {"bootstrapToken": bootstrap}, "device": device.proof(&claim, &challenge),
        });
        client.call("connect", &params)
    };
    let hello = connect(&Device::new(1)).expect("the first that shows it has it");
    assert_eq!(hello["auth"]["method"], "bootstrap-token");
    for device in [Device::new(1), Device::new(2)] {
        let refused = connect(&device).expect_err("it is used up");
        assert_eq!(refused["details"]["code"], "AUTH_BOOTSTRAP_TOKEN_INVALID");
    }
    let shown = gateway.run(&["pair", "--new", "--profile", "node"]).success();
    assert!(shown.stdout.contains('█') && shown.stdout.contains("Setup code: "), "{shown:#?}");
    assert!(shown.stdout.contains(&gateway.url()), "{shown:#?}");
}

/// A request of a program that shows a bearer.
fn bearer(gateway: &Gateway, token: &str, head: &str, body: &str) -> http::Reply {
    let (address, length) = (gateway.address, body.len());
    http::raw(
        address,
        format!(
            "{head} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        )
        .as_bytes(),
    )
}

fn a_service_token_works_over_both_protocols_until_it_is_revoked(binary: Binary) {
    let home = Home::new(binary);
    home.configure("{gateway: {http: {endpoints: {chatCompletions: {enabled: true}}}}}");
    let create =
        ["tokens", "create", "--name", "bot", "--scopes", "operator.read", "--expires", "90d", "--json"];
    let made = home.run(&create).success().json();
    let value = made["value"].as_str().expect("a value").to_owned();
    let id = made["id"].as_str().expect("an id").to_owned();
    let gateway = home.start();
    for dialect in [Dialect::V3, Dialect::V4, Dialect::Plain] {
        let bot = Greeting { scopes: &["operator.read"], ..Greeting::operator(dialect, &value) };
        let mut client = Client::connect(gateway.address, &bot).expect("the token is good");
        assert!(client.call("sessions.list", &json!({})).is_ok());
        let refused = client.call("chat.send", &json!({})).expect_err("it may not write");
        assert_eq!(refused["details"]["missingScope"], "operator.write", "{refused:#}");
        assert_eq!(refused["details"]["heldScopes"], json!(["operator.read"]));
        client.leave();
    }
    assert_eq!(bearer(&gateway, &value, "GET /v1/models", "").status, 200);
    assert_eq!(bearer(&gateway, &value, "POST /v1/chat/completions", "{}").status, 403);
    let list = gateway.run(&["tokens", "list"]).success();
    assert!(list.stdout.contains("bot") && !list.stdout.contains(&value), "{list:#?}");
    let bot = Greeting { scopes: &["operator.read"], ..Greeting::operator(Dialect::V4, &value) };
    let mut client = Client::connect(gateway.address, &bot).expect("the token is good");
    gateway.run(&["tokens", "revoke", &id]).success();
    assert_eq!(client.closed().expect("a close frame").0, 4001);
    assert_eq!(bearer(&gateway, &value, "GET /v1/models", "").status, 401);
    assert!(!gateway.log().contains(&value), "the log never says it");
}

fn a_damaged_store_decides_nothing_and_stays_as_it_is(binary: Binary) {
    let gateway = waiting_home(binary).start();
    let (token, device) = (gateway.token(), Device::new(1));
    let id = request(&gateway, &token, &device);
    let home = gateway.kill();
    let path = home.state().join("telson.db");
    for beside in ["telson.db-wal", "telson.db-shm"] {
        let _ = std::fs::remove_file(home.state().join(beside));
    }
    let damaged = b"this was a database once".repeat(400);
    std::fs::write(&path, &damaged).expect("the file can be written");
    for arguments in
        [&["devices", "approve", &id][..], &["devices", "list"], &["tokens", "list"], &["pair", "--new"]]
    {
        let refused = home.run(arguments);
        assert!(refused.code != Some(0) && refused.stderr.contains("telson.db is damaged"), "{refused:#?}");
        assert_eq!(std::fs::read(&path).expect("the file is there"), damaged, "{arguments:?}");
    }
}
