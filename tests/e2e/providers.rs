//! A model server over each API, and one that cannot answer while another can.

use serde_json::{Value, json};
use telson_tests::on_every_runtime;
use telson_tests::support::binary::Binary;
use telson_tests::support::client::{Client, Dialect};
use telson_tests::support::gateway::{Gateway, Home};
use telson_tests::support::model::{Answer, ModelServer, Step};

use super::talk::{MAIN, history, line, send, text};

on_every_runtime!(
    a_chat_goes_over_every_api,
    a_server_that_misbehaves_is_reported_over_every_api,
    a_rate_limit_sends_this_chat_and_the_next_to_the_fallback,
    a_refused_key_gives_way_to_the_next_one,
    a_provider_without_a_key_says_which_variable_it_needs,
);

const KEY: &str = "sk-the-key-of-the-model-server";

/// Each API, the path below the server's address, and the header that carries the key.
const APIS: [(&str, &str, &str); 4] = [
    ("openai-completions", "/v1/chat/completions", "authorization"),
    ("openai-responses", "/v1/responses", "authorization"),
    ("anthropic-messages", "/v1/messages", "x-api-key"),
    ("ollama", "/api/chat", "authorization"),
];

fn start(binary: Binary, config: &Value) -> (Gateway, Client) {
    let home = Home::new(binary);
    home.configure(&config.to_string());
    let gateway = home.start();
    let client = gateway.operator(Dialect::V4);
    (gateway, client)
}

fn parsed(config: &str) -> Value {
    serde_json::from_str(config).expect("a configuration is JSON")
}

/// The end of a chat.
fn end_of(client: &mut Client, run: &str) -> Value {
    client.chat_of(run).pop().expect("a run has an end")
}

fn a_chat_goes_over_every_api(binary: Binary) {
    for (api, path, header) in APIS {
        let steps = vec![Step::Think("hm"), Step::Say("the "), Step::Say("möön"), Step::Done];
        let server = ModelServer::start(vec![Answer::Stream(steps)]);
        let (_gateway, mut client) = start(binary, &parsed(&server.config_with_api(KEY, api)));
        let run = send(&mut client, "what moves the sea?", "first");
        let end = end_of(&mut client, &run);
        assert_eq!(
            (&end["state"], text(&end["message"]["content"])),
            (&json!("final"), "the möön".to_owned()),
            "{api}"
        );
        let question = server.question();
        assert_eq!((question.path.as_str(), &question.body["model"]), (path, &json!("tide-1")), "{api}");
        assert!(question.header(header).expect("the key").contains(KEY), "{api}");
        assert_eq!(history(&mut client).pop(), Some(line("assistant", "the möön")), "{api}");
        let session = client.ask("sessions.list", &json!({}))["sessions"][0].clone();
        assert_eq!(
            (&session["inputTokens"], &session["outputTokens"]),
            (&json!(7), &json!(3)),
            "{api}: {session}"
        );
    }
}

fn a_server_that_misbehaves_is_reported_over_every_api(binary: Binary) {
    for (api, _, _) in APIS {
        let answers = vec![
            Answer::Stream(vec![Step::Say("the mo"), Step::Torn]),
            Answer::Stream(vec![Step::Say("the mo"), Step::Torn, Step::Raw("\n\n"), Step::Done]),
            Answer::Stream(vec![Step::Say("the mo"), Step::Flood(5_000_000), Step::Done]),
            Answer::Stream(vec![]),
            Answer::Refusal(500, vec![], json!({"error": {"message": "out of tide"}})),
            Answer::Hangup,
            Answer::Stream(vec![Step::Say("back"), Step::Done]),
        ];
        let failures = answers.len() - 1;
        let server = ModelServer::start(answers);
        let (_gateway, mut client) = start(binary, &parsed(&server.config_with_api(KEY, api)));
        for number in 0..failures {
            let run = send(&mut client, "hello", &format!("run-{number}"));
            let end = end_of(&mut client, &run);
            assert_eq!(end["state"], json!("error"), "{api} {number}: {end}");
            assert!(
                end["errorMessage"].as_str().is_some_and(|words| !words.is_empty()),
                "{api} {number}: {end}"
            );
        }
        let run = send(&mut client, "hello", "last");
        assert_eq!(end_of(&mut client, &run)["state"], json!("final"), "{api}");
    }
}

fn a_rate_limit_sends_this_chat_and_the_next_to_the_fallback(binary: Binary) {
    let limited = json!({"error": {"message": "slow down", "type": "rate_limit_error"}});
    let first = ModelServer::start(vec![Answer::Refusal(429, vec![("retry-after", "600")], limited)]);
    let say = |words| Answer::Stream(vec![Step::Say(words), Step::Done]);
    let second = ModelServer::start(vec![say("one"), say("two")]);
    let (_gateway, mut client) = start(
        binary,
        &json!({
            "models": {"providers": {
                "first": first.provider(KEY, "openai-completions"),
                "second": second.provider("another key", "anthropic-messages"),
            }},
            "agents": {"defaults": {"model": {"primary": "first/tide-1", "fallbacks": ["second/tide-1"]}}},
        }),
    );
    for (words, key) in [("one", "r1"), ("two", "r2")] {
        let run = send(&mut client, "hello", key);
        let end = end_of(&mut client, &run);
        assert_eq!(
            (&end["state"], text(&end["message"]["content"])),
            (&json!("final"), words.to_owned()),
            "{end}"
        );
        assert_eq!(second.question().path, "/v1/messages");
    }
    // Its script has one answer: a second question would have been refused in other words.
    first.question();
    let models = client.ask("models.list", &json!({"view": "all"}))["models"].clone();
    let row = |provider: &str| {
        let rows = models.as_array().expect("a list");
        rows.iter().find(|row| row["provider"] == json!(provider)).expect("a row").clone()
    };
    assert_eq!(
        (&row("first")["available"], &row("first")["unavailableReason"]),
        (&json!(false), &json!("cooldown"))
    );
    assert!(row("first")["unavailableUntil"].is_u64());
    assert_eq!(row("second")["available"], json!(true));
}

fn a_refused_key_gives_way_to_the_next_one(binary: Binary) {
    let server = ModelServer::start(vec![
        Answer::Refusal(401, vec![], json!({"error": {"message": "no such key"}})),
        Answer::Stream(vec![Step::Say("hello"), Step::Done]),
    ]);
    let mut config = parsed(&server.config(KEY));
    config["auth"] = json!({"profiles": {"local:work": {"key": "sk-the-key-of-work"}}});
    let (_gateway, mut client) = start(binary, &config);
    let run = send(&mut client, "hello", "r1");
    assert_eq!(end_of(&mut client, &run)["state"], json!("final"));
    assert_eq!(server.question().header("authorization"), Some("Bearer sk-the-key-of-work"));
    assert_eq!(server.question().header("authorization"), Some(format!("Bearer {KEY}").as_str()));
}

fn a_provider_without_a_key_says_which_variable_it_needs(binary: Binary) {
    let (_gateway, mut client) =
        start(binary, &json!({"agents": {"defaults": {"model": "anthropic/claude-opus-4-5"}}}));
    let run = send(&mut client, "hello", "r1");
    let end = end_of(&mut client, &run);
    let error = end["errorMessage"].as_str().expect("an error has a message");
    assert!(error.contains("ANTHROPIC_API_KEY"), "{error}");
    let params = json!({"sessionKey": MAIN});
    client.ask("chat.history", &params);
}
