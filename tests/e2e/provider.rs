//! A model server that speaks OpenAI's words.

use serde_json::json;
use telson_tests::on_every_runtime;
use telson_tests::support::binary::Binary;
use telson_tests::support::client::{Client, Dialect};
use telson_tests::support::gateway::{Gateway, Home};
use telson_tests::support::model::{Answer, ModelServer, Step};

use super::talk::{MAIN, history, line, message, send, text};

on_every_runtime!(
    the_model_is_asked_with_the_whole_conversation,
    an_abort_in_the_middle_keeps_what_was_said,
    an_abort_of_nothing_aborts_nothing,
    a_rate_limit_is_reported_in_the_servers_words,
    a_server_that_hangs_up_is_reported,
    a_stream_that_breaks_off_is_reported,
    a_server_that_is_not_there_is_reported,
    an_image_reaches_the_model,
);

const KEY: &str = "sk-the-key-of-the-model-server";

fn start(binary: Binary, answers: Vec<Answer>) -> (ModelServer, Gateway) {
    let server = ModelServer::start(answers);
    let home = Home::new(binary);
    home.configure(&server.config(KEY));
    (server, home.start())
}

/// The terminal event of a run, which is an error on both protocols.
fn error_of(client: &mut Client, run: &str) -> String {
    let end = client.chat_of(run).pop().expect("a run has an end");
    assert_eq!(end["state"], json!("error"), "{end}");
    end["errorMessage"].as_str().expect("an error has a message").to_owned()
}

fn the_model_is_asked_with_the_whole_conversation(binary: Binary) {
    let (server, gateway) = start(
        binary,
        vec![
            Answer::Stream(vec![Step::Say("the "), Step::Say("moon"), Step::Done]),
            Answer::Stream(vec![
                Step::Raw(": a comment\n\n"),
                Step::Say("because "),
                Step::Raw("\n"),
                Step::Say("it pulls"),
                Step::Done,
            ]),
        ],
    );
    let mut client = gateway.operator(Dialect::V4);
    let run = send(&mut client, "what moves the sea?", "first");
    let end = client.chat_of(&run).pop().expect("a run has an end");
    assert_eq!((&end["state"], text(&end["message"]["content"])), (&json!("final"), "the moon".to_owned()));

    let question = server.question();
    assert_eq!(question.path, "/v1/chat/completions");
    assert_eq!(question.header("authorization"), Some(format!("Bearer {KEY}").as_str()));
    assert_eq!(question.body["model"], json!("tide-1"));
    assert_eq!(question.body["stream"], json!(true));

    let run = send(&mut client, "why?", "second");
    client.chat_of(&run);
    let asked = server.question().body["messages"].clone();
    let asked: Vec<(String, String)> = asked
        .as_array()
        .expect("a list")
        .iter()
        .filter(|message| message["role"] != json!("system"))
        .map(|message| (message["role"].as_str().expect("a role").to_owned(), text(&message["content"])))
        .collect();
    assert_eq!(asked.len(), 3, "{asked:?}");
    assert!(asked[0].1.contains("what moves the sea?"), "{asked:?}");
    assert_eq!(asked[1], line("assistant", "the moon"));
    assert!(asked[2].1.contains("why?"), "{asked:?}");
    assert_eq!(history(&mut client).pop(), Some(line("assistant", "because it pulls")));
}

fn an_abort_in_the_middle_keeps_what_was_said(binary: Binary) {
    let stream =
        || Answer::Stream(vec![Step::Say("the moon"), Step::Hold, Step::Say(" and more"), Step::Done]);
    let (_server, gateway) = start(binary, vec![stream(), stream(), stream()]);
    for (index, dialect) in Dialect::ALL.into_iter().enumerate() {
        let mut client = gateway.operator(dialect);
        let run = send(&mut client, "what moves the sea?", &format!("run-{index}"));
        client.event("chat", |payload| payload["runId"] == json!(run) && payload["state"] == json!("delta"));
        let answer = client.ask("chat.abort", &json!({"sessionKey": MAIN, "runId": run}));
        assert_eq!((&answer["aborted"], &answer["runIds"]), (&json!(true), &json!([run])), "{answer}");
        let end = client.chat_of(&run).pop().expect("a run has an end");
        assert_eq!(end["state"], json!("aborted"), "{end}");
        assert_eq!(end["stopReason"], json!("rpc"), "{end}");
        assert_eq!(history(&mut client).pop(), Some(line("assistant", "the moon")));
    }
}

fn an_abort_of_nothing_aborts_nothing(binary: Binary) {
    let gateway = Home::new(binary).start();
    let mut client = gateway.operator(Dialect::V4);
    let answer = client.ask("chat.abort", &json!({"sessionKey": MAIN}));
    assert_eq!(answer, json!({"ok": true, "aborted": false, "runIds": []}));
}

fn a_rate_limit_is_reported_in_the_servers_words(binary: Binary) {
    let refusal = || {
        let body = json!({"error": {"message": "slow down, the tide is out", "type": "rate_limit_error"}});
        Answer::Refusal(429, vec![("retry-after", "120")], body)
    };
    let (_server, gateway) = start(binary, (0..12).map(|_| refusal()).collect());
    let mut client = gateway.operator(Dialect::V4);
    let run = send(&mut client, "hello", "limited");
    let error = error_of(&mut client, &run);
    assert!(error.contains("slow down, the tide is out"), "{error}");
    let wait = client.ask("agent.wait", &json!({"runId": run}));
    assert_eq!(wait["status"], json!("error"), "{wait}");
}

fn a_server_that_hangs_up_is_reported(binary: Binary) {
    let (_server, gateway) = start(binary, (0..12).map(|_| Answer::Hangup).collect());
    let mut client = gateway.operator(Dialect::V3);
    let run = send(&mut client, "hello", "hangup");
    assert!(!error_of(&mut client, &run).is_empty());
    client.ask("health", &json!({}));
}

fn a_stream_that_breaks_off_is_reported(binary: Binary) {
    let (_server, gateway) =
        start(binary, vec![Answer::Stream(vec![Step::Say("the mo"), Step::Raw("data: {\"cho")])]);
    let mut client = gateway.operator(Dialect::V4);
    let run = send(&mut client, "hello", "broken");
    assert!(!error_of(&mut client, &run).is_empty());
    client.ask("health", &json!({}));
}

fn a_server_that_is_not_there_is_reported(binary: Binary) {
    let home = Home::new(binary);
    let gone = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = gone.local_addr().expect("a bound address");
    drop(gone);
    home.configure(
        &json!({
            "models": {"providers": {"gone": {
                "baseUrl": format!("http://{address}/v1"), "models": [{"id": "m"}],
            }}},
            "agents": {"defaults": {"model": "gone/m"}},
        })
        .to_string(),
    );
    let gateway = home.start();
    let mut client = gateway.operator(Dialect::V4);
    let run = send(&mut client, "hello", "gone");
    let error = error_of(&mut client, &run);
    assert!(error.contains("gone") || error.contains(&address.to_string()), "it says which server: {error}");
}

fn an_image_reaches_the_model(binary: Binary) {
    let server = ModelServer::start(vec![Answer::Stream(vec![Step::Say("a dot"), Step::Done])]);
    let home = Home::new(binary);
    home.configure(&server.config(KEY));
    let gateway = home.start();
    let mut client = gateway.operator(Dialect::V4);
    // The smallest picture there is: one transparent dot.
    let dot =
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
    let mut params = message("what is this?", "picture");
    params["attachments"] =
        json!([{"type": "image", "mimeType": "image/png", "fileName": "dot.png", "content": dot}]);
    client.ask("chat.send", &params);
    client.chat_of("picture");
    let body = server.question().body;
    assert!(body.to_string().contains(&format!("data:image/png;base64,{dot}")), "{body}");
}
