//! `@openclaw/gateway-client` 2026.9.1, the reference library of protocol 4.

use serde_json::{Value, json};
use telson_tests::on_both_binaries;
use telson_tests::support::binary::Binary;
use telson_tests::support::gateway::Home;

use super::script;

on_both_binaries!(it_chats_with_the_shared_token, it_chats_with_a_device_and_returns_with_its_token);

const WORDS: &str = "what moves the sea but tide and moon";

fn chatted(seen: &Value) {
    assert_eq!(seen["protocol"], json!(4), "{seen:#}");
    assert_eq!(seen["health"], json!(true), "{seen:#}");
    assert_eq!(seen["status"], json!("started"), "{seen:#}");
    assert!(seen["deltas"].as_u64().is_some_and(|count| count > 0), "{seen:#}");
    let joined = seen["joined"].as_str().expect("the deltas are text");
    assert!(WORDS.starts_with(joined.trim_end()), "{seen:#}");
    assert_eq!(seen["final"], json!(WORDS), "{seen:#}");
    assert_eq!(seen["abort"]["aborted"], json!(true), "{seen:#}");
    assert_eq!(seen["aborted"], json!("rpc"), "{seen:#}");
    assert_eq!(seen["agent"], json!(WORDS), "{seen:#}");
    assert_eq!(seen["users"], json!(3), "{seen:#}");
    assert_eq!(seen["refused"], json!("unknown method: no.such.method"), "{seen:#}");
    assert_eq!(seen["gaps"], json!([]), "{seen:#}");
}

fn it_chats_with_the_shared_token(binary: Binary) {
    let gateway = Home::new(binary).start();
    let seen = script(&gateway, "gateway-client.mjs", &["plain"]);
    chatted(&seen);
    assert_eq!(seen["method"], json!("token"), "{seen:#}");
    assert_eq!(seen["deviceToken"], json!(false), "{seen:#}");
}

fn it_chats_with_a_device_and_returns_with_its_token(binary: Binary) {
    let gateway = Home::new(binary).start();
    let seen = script(&gateway, "gateway-client.mjs", &["device"]);
    chatted(&seen);
    assert_eq!(seen["deviceToken"], json!(true), "{seen:#}");
    assert_eq!(seen["again"], json!({"method": "device-token", "status": "object"}), "{seen:#}");
}
