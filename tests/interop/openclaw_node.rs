//! `openclaw-node` 0.14.0, a library of protocol 4 with its own idea of a chat.

use serde_json::json;
use telson_tests::on_both_binaries;
use telson_tests::support::binary::Binary;
use telson_tests::support::gateway::Home;

use super::script;

on_both_binaries!(it_streams_an_answer);

fn it_streams_an_answer(binary: Binary) {
    let gateway = Home::new(binary).start();
    let seen = script(&gateway, "openclaw-node.mjs", &[]);
    assert_eq!(seen["text"], json!("what moves the sea but tide and moon"), "{seen:#}");
    assert!(seen["pieces"].as_u64().is_some_and(|count| count > 1), "it streams: {seen:#}");
    assert_eq!(seen["errors"], json!([]), "{seen:#}");
    assert_eq!(seen["sync"], json!("good morning"), "{seen:#}");
    assert_eq!(seen["health"], json!(true), "{seen:#}");
    assert_eq!(seen["agents"], json!(["main"]), "{seen:#}");
    assert_eq!(seen["key"], json!("agent:main:main"), "{seen:#}");
    assert_eq!(seen["aborted"], json!(false), "nothing runs any more: {seen:#}");
}
