//! What people type that is not for the model: commands, stop texts, and who may (spec 02 §23, checks 5, 15, 26).

use serde_json::{Value, json};
use telson_tests::on_every_runtime;
use telson_tests::support::binary::Binary;
use telson_tests::support::client::{Client, Dialect, Greeting};
use telson_tests::support::gateway::Home;
use telson_tests::support::model::{Answer, ModelServer, Step};

use super::talk::{MAIN, history, line, message, send, text};

on_every_runtime!(
    a_command_is_answered_without_a_run_of_the_agent,
    a_level_is_set_by_typing_and_read_by_the_methods,
    a_stop_text_ends_the_run_before_it_is_answered,
    a_new_session_greets_and_hides_how_it_was_asked,
    the_commands_are_listed,
    a_forbidden_session_takes_stop_texts_only,
    typing_opens_no_side_door,
);

/// Types a command; what the gateway answers.
fn typed(client: &mut Client, words: &str, key: &str) -> String {
    let run = send(client, words, key);
    let events = client.chat_of(&run);
    let [end] = events.as_slice() else { panic!("one event: {events:?}") };
    assert_eq!((&end["state"], &end["seq"]), (&json!("final"), &json!(1)), "{end}");
    assert_eq!(end["message"]["stopReason"], json!("injected"), "{end}");
    text(&end["message"]["content"])
}

fn a_command_is_answered_without_a_run_of_the_agent(binary: Binary) {
    let gateway = Home::new(binary).start();
    for (index, dialect) in Dialect::ALL.into_iter().enumerate() {
        let mut client = gateway.operator(dialect);
        let status = typed(&mut client, "/status", &format!("status-{index}"));
        assert!(status.contains("Model: echo/echo"), "{status}");
        assert!(client.unread().all(|frame| frame["event"] != json!("agent")), "no agent has run");
        let last = history(&mut client);
        assert_eq!(last[last.len() - 2..], [line("user", "/status"), line("assistant", &status)]);
    }
}

fn a_level_is_set_by_typing_and_read_by_the_methods(binary: Binary) {
    let gateway = Home::new(binary).start();
    let mut client = gateway.operator(Dialect::V4);
    assert_eq!(typed(&mut client, "/think ultrathink", "think"), "Thinking level set to high.");
    assert_eq!(
        typed(&mut client, "/verbose on /queue steer", "both"),
        "Verbose level set to on.\nQueue set to steer."
    );
    let list = client.ask("sessions.list", &json!({}));
    let row = &list["sessions"][0];
    assert_eq!((&row["thinkingLevel"], &row["verboseLevel"]), (&json!("high"), &json!("on")), "{row}");
    // Directives among other words hold for the turn, and the words alone are said.
    let run = send(&mut client, "/think low what moves /verbose off the sea", "words");
    let end = client.chat_of(&run).pop().expect("a run has an end");
    assert_eq!(text(&end["message"]["content"]), "what moves the sea");
    let list = client.ask("sessions.list", &json!({}));
    assert_eq!(list["sessions"][0]["thinkingLevel"], json!("high"));
}

fn a_stop_text_ends_the_run_before_it_is_answered(binary: Binary) {
    let held = || Answer::Stream(vec![Step::Say("the tide"), Step::Hold, Step::Done]);
    let server = ModelServer::start(vec![held(), held()]);
    let home = Home::new(binary);
    home.configure(&server.config("sk-the-key"));
    let gateway = home.start();
    for (index, (dialect, word)) in [(Dialect::V3, "/stop"), (Dialect::V4, "Wait")].into_iter().enumerate() {
        let mut client = gateway.operator(dialect);
        let run = send(&mut client, "what moves the sea?", &format!("run-{index}"));
        client.event("chat", |event| event["runId"] == json!(run) && event["state"] == json!("delta"));
        let queued = send(&mut client, "and the wind?", &format!("queued-{index}"));
        let answer = client.ask("chat.send", &message(word, &format!("stop-{index}")));
        let mut ended: Vec<&Value> = answer["runIds"].as_array().expect("runs").iter().collect();
        ended.sort_by_key(std::string::ToString::to_string);
        assert_eq!((&answer["ok"], &answer["aborted"]), (&json!(true), &json!(true)), "{answer}");
        assert_eq!(ended, [&json!(queued), &json!(run)]);
        for run in [&run, &queued] {
            // The events came before the answer.
            let end = client.chat_of(run).pop().expect("a run has an end");
            assert_eq!((&end["state"], &end["stopReason"]), (&json!("aborted"), &json!("stop")), "{end}");
            let waited = client.ask("agent.wait", &json!({"runId": run, "timeoutMs": 0}));
            assert_ne!(waited["status"], json!("ok"), "{waited}");
        }
        assert!(history(&mut client).contains(&line("assistant", "the tide")), "the partial answer is kept");
    }
}

fn a_new_session_greets_and_hides_how_it_was_asked(binary: Binary) {
    let server = ModelServer::start(vec![Answer::Stream(vec![Step::Say("Good morning."), Step::Done])]);
    let home = Home::new(binary);
    home.configure(&server.config("sk-the-key"));
    let gateway = home.start();
    let mut client = gateway.operator(Dialect::V4);
    let run = send(&mut client, "/new", "anew");
    client.chat_of(&run);
    assert_eq!(history(&mut client), [line("assistant", "Good morning.")]);
    assert!(server.question().body["messages"].to_string().contains("Greet the user"));
}

fn the_commands_are_listed(binary: Binary) {
    let gateway = Home::new(binary).start();
    let mut client = gateway.operator(Dialect::V4);
    // The frame is held against the published schema on its way here.
    for params in [json!({}), json!({"agentId": "main", "scope": "text", "includeArgs": false})] {
        let list = client.ask("commands.list", &params);
        let names = list["commands"].as_array().expect("commands").iter().map(|command| &command["name"]);
        assert!(names.into_iter().any(|name| *name == json!("think")), "{list}");
    }
    let help = typed(&mut client, "/help", "help");
    assert!(help.contains("/think"), "{help}");
}

fn a_forbidden_session_takes_stop_texts_only(binary: Binary) {
    let home = Home::new(binary);
    home.configure("{session: {sendPolicy: {rules: [{action: 'deny', match: {keyPrefix: 'quiet'}}]}}}");
    let gateway = home.start();
    let mut client = gateway.operator(Dialect::V3);
    let to_quiet = |words: &str, key: &str| json!({"sessionKey": "agent:main:quiet", "message": words, "idempotencyKey": key});
    let error = client.call("chat.send", &to_quiet("hello", "a")).expect_err("the session is closed");
    assert_eq!(error["message"], json!("send blocked by session policy"));
    assert_eq!(client.ask("chat.send", &to_quiet("stop", "b"))["ok"], json!(true));
    let run = send(&mut client, "hello", "c");
    client.chat_of(&run);
    assert_eq!(history(&mut client).len(), 2, "other sessions, such as {MAIN}, are open");
}

fn typing_opens_no_side_door(binary: Binary) {
    let gateway = Home::new(binary).start();
    let token = gateway.token();
    for (index, dialect) in Dialect::ALL.into_iter().enumerate() {
        let with = |scopes: &'static [&'static str]| {
            let greeting = Greeting { scopes, ..Greeting::operator(dialect, &token) };
            Client::connect(gateway.address, &greeting).unwrap_or_else(|refusal| panic!("{refusal:?}"))
        };
        let mut writer = with(&["operator.read", "operator.write"]);
        for (name, words) in [("verbose", "/verbose on"), ("new", "/new"), ("send", "/send off")] {
            let answer = typed(&mut writer, words, &format!("{name}-{index}"));
            assert_eq!(answer, "missing scope: operator.admin", "{words}");
        }
        let model = typed(&mut writer, "/model echo/echo", &format!("model-{index}"));
        let light = dialect == Dialect::V4;
        assert_eq!(model.starts_with("Model set to"), light, "{model}");
        let mut reader = with(&["operator.read"]);
        let error = reader.call("chat.send", &message("/status", "r")).expect_err("a reader cannot send");
        assert_eq!(error["message"], json!("missing scope: operator.write"));
        assert!(!history(&mut reader).is_empty());
    }
}
