//! What several test modules say to a gateway.

use serde_json::{Value, json};
use telson_tests::support::client::Client;

/// The main session.
pub(crate) const MAIN: &str = "agent:main:main";

/// Sends the user's words to the main session; the run.
pub(crate) fn send(client: &mut Client, words: &str, key: &str) -> String {
    let answer = client.ask("chat.send", &message(words, key));
    assert_eq!(answer["status"], json!("started"), "{answer}");
    answer["runId"].as_str().expect("a run has an id").to_owned()
}

/// The parameters of `chat.send`.
pub(crate) fn message(words: &str, key: &str) -> Value {
    json!({"sessionKey": MAIN, "message": words, "deliver": false, "idempotencyKey": key})
}

/// The transcript of the main session as pairs of role and text.
pub(crate) fn history(client: &mut Client) -> Vec<(String, String)> {
    let answer = client.ask("chat.history", &json!({"sessionKey": MAIN}));
    answer["messages"]
        .as_array()
        .expect("a history has messages")
        .iter()
        .map(|message| {
            (message["role"].as_str().expect("a message has a role").to_owned(), text(&message["content"]))
        })
        .collect()
}

/// The text of a message's content.
pub(crate) fn text(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(blocks) => {
            blocks.iter().filter_map(|block| block["text"].as_str()).collect::<Vec<_>>().concat()
        }
        other => panic!("not a content: {other}"),
    }
}

/// A pair as [`history`] lists it.
pub(crate) fn line(role: &str, text: &str) -> (String, String) {
    (role.to_owned(), text.to_owned())
}
