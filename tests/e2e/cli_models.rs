//! The models on the command line.

use serde_json::json;
use telson_tests::on_both_binaries;
use telson_tests::support::binary::Binary;
use telson_tests::support::gateway::{Gateway, Home};
use telson_tests::support::model::{Answer, ModelServer, Step};

on_both_binaries!(
    the_models_are_listed_with_the_default,
    a_model_that_answers_passes_the_test_and_leaves_nothing,
    a_model_that_refuses_fails_the_test_and_leaves_nothing,
    a_model_that_does_not_exist_is_named,
);

fn start(binary: Binary, answers: Vec<Answer>) -> (ModelServer, Gateway) {
    let server = ModelServer::start(answers);
    let home = Home::new(binary);
    home.configure(&server.config("sk-key-of-the-model"));
    (server, home.start())
}

/// How many sessions there are.
fn sessions(gateway: &Gateway) -> usize {
    let list = gateway.run(&["sessions", "list", "--json"]).success().json();
    list["sessions"].as_array().expect("a list has rows").len()
}

fn the_models_are_listed_with_the_default(binary: Binary) {
    let (_server, gateway) = start(binary, vec![]);
    let table = gateway.run(&["models", "list"]).success();
    let row = table.stdout.lines().find(|line| line.starts_with("local/tide-1"));
    assert!(row.is_some_and(|row| row.contains("Tide 1") && row.contains("default")), "{table:#?}");
    let json = gateway.run(&["models", "list", "--all", "--json"]).success().json();
    assert!(json["models"].as_array().is_some_and(|models| !models.is_empty()), "{json}");
}

fn a_model_that_answers_passes_the_test_and_leaves_nothing(binary: Binary) {
    let ready = || Answer::Stream(vec![Step::Say("ready"), Step::Done]);
    let (_server, gateway) = start(binary, vec![ready(), ready()]);
    let json = gateway.run(&["models", "test", "local/tide-1", "--json"]).success().json();
    assert_eq!((&json["ok"], &json["model"]), (&json!(true), &json!("local/tide-1")), "{json}");
    assert_eq!((&json["text"], &json["usage"]["output"]), (&json!("ready"), &json!(3)), "{json}");
    assert!(json["totalMs"].is_u64(), "{json}");
    let shown = gateway.run(&["models", "test"]).success();
    assert!(shown.stdout.contains("7 in, 3 out"), "{shown:#?}");
    assert_eq!(sessions(&gateway), 0);
}

fn a_model_that_refuses_fails_the_test_and_leaves_nothing(binary: Binary) {
    let refusal = || Answer::Refusal(401, vec![], json!({"error": {"message": "no such key"}}));
    let (_server, gateway) = start(binary, vec![refusal(), refusal()]);
    let failed = gateway.run(&["models", "test"]).failure(1);
    assert!(failed.stderr.contains("no such key"), "{failed:#?}");
    let json = gateway.run(&["models", "test", "--json"]).failure(1).json();
    assert_eq!(json["error"]["code"], json!("RUN_FAILED"), "{json}");
    assert_eq!(sessions(&gateway), 0);
}

fn a_model_that_does_not_exist_is_named(binary: Binary) {
    let (_server, gateway) = start(binary, vec![]);
    let failed = gateway.run(&["models", "test", "local/nothing"]).failure(1);
    assert!(failed.stderr.contains("local/nothing"), "{failed:#?}");
    assert!(failed.stderr.contains("models list"), "it says where to look: {failed:#?}");
    assert_eq!(sessions(&gateway), 0);
}
