//! Part A: secrets that are none, and sources of secrets that fail (S-13 to S-15).

use std::os::unix::fs::PermissionsExt as _;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;
use telson_tests::support::binary::Binary;
use telson_tests::support::client::{Client, Dialect, Greeting};
use telson_tests::support::gateway::{Home, is_private};

use super::rig::Ask;

/// Starts a gateway that must not start, with this configuration.
#[track_caller]
fn refuses_to_start(config: &str, arguments: &[&str], word: &str) {
    let home = Home::new(Binary::Telson);
    home.configure(config);
    let arguments = [&["gateway", "run", "--port", "0"], arguments].concat();
    let outcome = home.run(&arguments);
    // The chapter's exit code for it is 78, which this gateway keeps for a second one on the same state.
    assert!(matches!(outcome.code, Some(2 | 5)), "{config} {arguments:?}: {outcome:?}");
    assert!(!outcome.stdout.contains("listening on"), "{outcome:?}");
    assert!(outcome.stderr.contains(word), "{config}: {outcome:?}");
}

#[test]
fn s_13_a_source_of_secrets_that_fails_opens_nothing() {
    refuses_to_start("{gateway: {auth: {token: '${NO_SUCH_VARIABLE}'}}}", &[], "NO_SUCH_VARIABLE");
    refuses_to_start("{gateway: {auth: {mode: 'password'}}}", &[], "gateway.auth.password");
    refuses_to_start(
        "{gateway: {auth: {mode: 'password', token: 'a-token-of-some-length'}}}",
        &[],
        "password",
    );
    refuses_to_start("{gateway: {auth: {mode: 'nonce'}}}", &[], "gateway.auth.mode");
    refuses_to_start("{gateway: {auth: 'off'}}", &[], "gateway.auth");
    refuses_to_start("{gateway: {auth: {token: {env: 'X'}}}}", &[], "gateway.auth.token");
    refuses_to_start("{gateway: {auth: {token: ''}}}", &[], "gateway.auth.token");
    refuses_to_start("{gateway: {auth: {mode: 'none'}, bind: 'lan'}}", &[], "gateway.auth");
    refuses_to_start("{gateway: {bind: 'lan'}}", &[], "gateway.auth");
    refuses_to_start("{gateway: {auth: ", &[], "telson.json");
    refuses_to_start("{}", &["--auth", "password"], "password");
    refuses_to_start("{}", &["--token", ""], "token");

    // The token that was made is damaged: another is made, or nothing starts; nobody gets in without one.
    for damage in ["", "short", "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"] {
        let home = Home::new(Binary::Telson);
        let gateway = home.start();
        let home = gateway.kill();
        let file = home.state().join("run/gateway.token");
        std::fs::write(&file, damage).expect("the file can be written");
        let mut command = home.command(&["gateway", "run", "--port", "0"]);
        command.env("RUST_BACKTRACE", "0");
        let gateway = telson_tests::support::gateway::Gateway::spawn(&home, command);
        for token in [None, Some(damage), Some("")] {
            for dialect in Dialect::ALL {
                // A file of sixteen bytes may be a token; then it is the token that opens, and none else.
                let held = std::fs::read_to_string(&file).unwrap_or_default();
                if token.is_some_and(|token| token == held.trim() && !token.is_empty()) {
                    continue;
                }
                assert!(Ask { token, ..Ask::nobody(dialect) }.enter(gateway.address).is_err(), "{damage:?}");
            }
        }
    }
    let home = Home::new(Binary::Telson);
    std::fs::create_dir_all(home.state().join("run/gateway.token")).expect("a folder where the token was");
    std::fs::set_permissions(home.state(), std::fs::Permissions::from_mode(0o700)).expect("a mode");
    let outcome = home.run(&["gateway", "run", "--port", "0"]);
    assert_ne!(outcome.code, Some(0), "{outcome:?}");
    assert!(!outcome.stdout.contains("listening on"), "{outcome:?}");
}

#[test]
fn s_14_what_is_no_secret_is_refused_and_what_is_made_is_long() {
    let published = [
        "undefined",
        "null",
        "changeme",
        "your-secure-token-here",
        "   ",
        "token",
        "$GATEWAY_TOKEN",
        "__OPENCLAW_REDACTED__",
        "aaaaaaaaaaaaaaaaaaaaaaaa",
        "<your token>",
        "replace-with-a-long-random-token",
    ];
    for placeholder in published {
        for key in ["token", "password"] {
            let config = json!({"gateway": {"auth": {"mode": key, key: placeholder}}});
            refuses_to_start(&config.to_string(), &[], &format!("gateway.auth.{key}"));
        }
    }
    let config = json!({"gateway": {"bind": "lan", "auth": {"mode": "token", "token": "fifteen-letters"}}});
    refuses_to_start(&config.to_string(), &[], "shorter");

    let gateway = Home::new(Binary::Telson).start();
    let token = gateway.token();
    assert!(URL_SAFE_NO_PAD.decode(&token).expect("base64").len() >= 32, "256 bits");
    assert!(is_private(&gateway.home.state().join("run/gateway.token")));
    assert_ne!(token, Home::new(Binary::Telson).start().token(), "each gateway makes its own");
    let device = telson_tests::support::device::Device::new(1);
    let greeting = Greeting { device: Some(&device), ..Greeting::operator(Dialect::V4, &token) };
    let client = Client::connect(gateway.address, &greeting).expect("let in");
    let issued = client.hello["auth"]["deviceToken"].as_str().expect("a token");
    assert!(URL_SAFE_NO_PAD.decode(issued).expect("base64").len() >= 32, "256 bits");
}

#[test]
fn s_15_one_secret_opens_one_door() {
    let same = "one-secret-for-everything-0123456789";
    let auth = json!({"mode": "token", "token": same, "password": same});
    refuses_to_start(&json!({"gateway": {"auth": auth}}).to_string(), &[], "gateway.auth.");
    let config = json!({
        "gateway": {"auth": {"token": same}},
        "models": {"providers": {"p": {"baseUrl": "http://127.0.0.1:9/v1", "apiKey": same, "models": [{"id": "m"}]}}},
    });
    refuses_to_start(&config.to_string(), &[], "apiKey");
}
