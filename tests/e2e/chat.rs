//! Words go in, an answer streams out, and the transcript keeps both.

use serde_json::{Value, json};
use telson_tests::on_every_runtime;
use telson_tests::support::binary::Binary;
use telson_tests::support::client::Dialect;
use telson_tests::support::gateway::Home;

use super::talk::{MAIN, history, line, message, send, text};

on_every_runtime!(
    an_answer_streams_in_every_dialect,
    everyone_who_may_read_hears_the_answer,
    the_agent_method_answers_twice_and_plain_clients_hear_the_first,
    a_repeat_with_the_same_key_starts_nothing,
    a_repeat_with_other_words_is_refused,
    a_run_outlives_the_client_that_asked_for_it,
    sessions_are_listed_renamed_reset_and_deleted,
    a_note_is_injected_without_a_run,
    bad_parameters_are_named,
);

const WORDS: &str = "what moves the sea but tide and moon";

fn an_answer_streams_in_every_dialect(binary: Binary) {
    let gateway = Home::new(binary).start();
    for (index, dialect) in Dialect::ALL.into_iter().enumerate() {
        let mut client = gateway.operator(dialect);
        let run = send(&mut client, WORDS, &format!("key-{index}"));
        assert_eq!(run, format!("key-{index}"), "the key names the run");
        let events = client.chat_of(&run);
        let (end, deltas) = events.split_last().expect("a run has events");
        assert_eq!(end["state"], json!("final"), "{end}");
        assert_eq!(text(&end["message"]["content"]), WORDS);
        let deltas: Vec<&Value> = deltas.iter().filter(|event| event["state"] == json!("delta")).collect();
        assert!(!deltas.is_empty(), "the answer streams before it is final");
        for delta in deltas {
            let so_far = text(&delta["message"]["content"]);
            assert!(WORDS.starts_with(so_far.trim_end()), "each delta has the whole text so far: {so_far}");
        }
        let last = history(&mut client);
        assert_eq!(last[last.len() - 2..], [line("user", WORDS), line("assistant", WORDS)]);
    }
}

fn everyone_who_may_read_hears_the_answer(binary: Binary) {
    let gateway = Home::new(binary).start();
    let mut others = Dialect::ALL.map(|dialect| gateway.operator(dialect));
    let mut asker = gateway.operator(Dialect::V3);
    let run = send(&mut asker, WORDS, "shared");
    for other in &mut others {
        let events = other.chat_of(&run);
        let finals = events.iter().filter(|event| event["state"] == json!("final")).count();
        assert_eq!(finals, 1);
        let agent = other.event("agent", |payload| {
            payload["stream"] == json!("lifecycle") && payload["data"]["phase"] == json!("end")
        });
        assert_eq!(agent["runId"], json!(run));
    }
}

fn the_agent_method_answers_twice_and_plain_clients_hear_the_first(binary: Binary) {
    let gateway = Home::new(binary).start();
    for (index, dialect) in Dialect::ALL.into_iter().enumerate() {
        let mut client = gateway.operator(dialect);
        let key = format!("agent-{index}");
        let params = json!({"message": WORDS, "agentId": "main", "idempotencyKey": key});
        let id = client.request("agent", &params);
        let accepted = client.response(&id).expect("the run is accepted");
        assert_eq!((&accepted["status"], &accepted["runId"]), (&json!("accepted"), &json!(key)));
        if dialect == Dialect::Plain {
            let outcome = client.ask("agent.wait", &json!({"runId": key}));
            assert_eq!(outcome["status"], json!("ok"));
            assert!(client.unread().all(|frame| frame["id"] != json!(id)), "one answer for one request");
        } else {
            let done = client.response(&id).expect("the run ends well");
            assert_eq!(done["status"], json!("ok"), "{done}");
            assert_eq!(done["result"]["payloads"][0]["text"], json!(WORDS));
        }
    }
}

fn a_repeat_with_the_same_key_starts_nothing(binary: Binary) {
    let gateway = Home::new(binary).start();
    let mut client = gateway.operator(Dialect::V4);
    let run = send(&mut client, WORDS, "once");
    let repeat = client.ask("chat.send", &message(WORDS, "once"));
    assert_eq!(repeat["runId"], json!(run));
    client.chat_of(&run);
    let late = client.ask("chat.send", &message(WORDS, "once"));
    assert_eq!((&late["runId"], &late["status"]), (&json!(run), &json!("ok")), "{late}");
    assert_eq!(history(&mut client), [line("user", WORDS), line("assistant", WORDS)]);
}

fn a_repeat_with_other_words_is_refused(binary: Binary) {
    let gateway = Home::new(binary).start();
    let mut client = gateway.operator(Dialect::V4);
    let run = send(&mut client, WORDS, "once");
    let error = client.call("chat.send", &message("other words", "once")).expect_err("the key is taken");
    assert_eq!(error["code"], json!("INVALID_REQUEST"), "{error}");
    client.chat_of(&run);
    assert_eq!(history(&mut client), [line("user", WORDS), line("assistant", WORDS)]);
}

fn a_run_outlives_the_client_that_asked_for_it(binary: Binary) {
    let gateway = Home::new(binary).start();
    let mut other = gateway.operator(Dialect::V3);
    let mut asker = gateway.operator(Dialect::V4);
    let run = send(&mut asker, WORDS, "leaver");
    drop(asker);
    let end = other.chat_of(&run).pop().expect("a run has an end");
    assert_eq!(text(&end["message"]["content"]), WORDS);
    assert_eq!(history(&mut other), [line("user", WORDS), line("assistant", WORDS)]);
}

fn sessions_are_listed_renamed_reset_and_deleted(binary: Binary) {
    let gateway = Home::new(binary).start();
    let mut client = gateway.operator(Dialect::V4);
    let other = "agent:main:garden";
    let params = json!({"sessionKey": other, "message": WORDS, "deliver": false, "idempotencyKey": "seeds"});
    client.ask("chat.send", &params);
    client.chat_of("seeds");

    let keys = |client: &mut telson_tests::support::client::Client| -> Vec<Value> {
        let list = client.ask("sessions.list", &json!({}));
        list["sessions"].as_array().expect("a list").iter().map(|row| row["key"].clone()).collect()
    };
    assert_eq!(keys(&mut client), [json!(other)]);
    client.ask("sessions.patch", &json!({"key": other, "label": "the garden"}));
    let list = client.ask("sessions.list", &json!({}));
    assert_eq!(list["sessions"][0]["label"], json!("the garden"), "{list}");
    let resolved = client.ask("sessions.resolve", &json!({"label": "the garden"}));
    assert_eq!(resolved["key"], json!(other));

    client.ask("sessions.reset", &json!({"key": other}));
    let empty = client.ask("chat.history", &json!({"sessionKey": other}));
    assert_eq!(empty["messages"], json!([]));
    client.ask("sessions.delete", &json!({"key": other}));
    assert_eq!(keys(&mut client), [json!(null); 0]);
}

fn a_note_is_injected_without_a_run(binary: Binary) {
    let gateway = Home::new(binary).start();
    let mut client = gateway.operator(Dialect::V3);
    let run = send(&mut client, "hello", "first");
    client.chat_of(&run);
    let note = client.ask("chat.inject", &json!({"sessionKey": MAIN, "message": "mind the tide"}));
    assert_eq!(note["ok"], json!(true));
    let event = client
        .event("chat", |payload| payload["runId"].as_str().is_some_and(|run| run.starts_with("inject-")));
    assert_eq!(event["state"], json!("final"));
    assert_eq!(history(&mut client).pop(), Some(line("assistant", "mind the tide")));
}

fn bad_parameters_are_named(binary: Binary) {
    let gateway = Home::new(binary).start();
    for dialect in Dialect::ALL {
        let mut client = gateway.operator(dialect);
        let missing = client
            .call("chat.send", &json!({"sessionKey": MAIN, "message": "hello"}))
            .expect_err("a key is needed");
        let text = missing["message"].as_str().expect("a message");
        assert!(text.starts_with("invalid chat.send params"), "{text}");
        assert!(text.contains("idempotencyKey"), "{text}");
        let wrong = client
            .call("chat.history", &json!({"sessionKey": MAIN, "limit": "many"}))
            .expect_err("a limit is a number");
        let text = wrong["message"].as_str().expect("a message");
        assert!(text.contains("limit"), "{text}");
        client.ask("health", &json!({}));
    }
}
