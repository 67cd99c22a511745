//! Runs through the whole gateway, with a store and a model server played by the test.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::{Value, json};
use telson_proto::{ErrorCode, EventName, Json, Protocol};

use crate::fetch::{FetchError, FetchEvent};
use crate::gateway::Input;
use crate::ids::{ConnId, SessionKey};
use crate::store::StoreError;
use crate::testing::{DAWN, Told, World, undressed};

const MAIN: &str = "agent:main:main";

fn send(key: &str, words: &str) -> Value {
    json!({"sessionKey": "main", "message": words, "idempotencyKey": key})
}

fn agent(key: &str, words: &str) -> Value {
    json!({"sessionKey": "main", "message": words, "idempotencyKey": key})
}

/// What was told, in short: replies by status, events by kind.
fn story(world: &World, protocol: Protocol) -> Vec<String> {
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let line = |told: &Told| match told {
        Told::Reply(_, outcome) => {
            let payload = outcome.payload.as_ref().map(Json::to_value).unwrap_or_default();
            Some(format!("reply {}", word(&payload["status"])))
        }
        Told::Event(publish) => {
            let payload = publish.payload(protocol)?.to_value();
            let what = format!("{}{}", word(&payload["state"]), word(&payload["data"]["phase"]));
            let heard = matches!(publish.event, EventName::Agent | EventName::Chat);
            heard.then(|| format!("{} {what}", publish.event.as_str()))
        }
        Told::Other(_) => None,
    };
    world.told.iter().filter_map(line).collect()
}

fn text_of(event: &Value) -> &str {
    event["message"]["content"][0]["text"].as_str().unwrap_or_default()
}

#[test]
fn a_message_gets_a_streamed_answer_in_the_order_that_clients_know() {
    let mut world = World::new();
    let client = world.operator(Protocol::V3);
    let call = world.call(client, "chat.send", send("r1", "Hello there"));
    world.advance(1_000);
    let expected =
        ["reply started", "agent start", "agent ", "chat delta", "agent ", "agent end", "chat final"];
    assert_eq!(story(&world, Protocol::V3), expected);
    assert_eq!(world.reply(call).payload.unwrap().to_value(), json!({"runId": "r1", "status": "started"}));
    assert_eq!(text_of(&world.terminal("r1", Protocol::V3).unwrap()), "Hello there");
    let messages = world.shelf.messages(MAIN);
    assert_eq!(messages[0]["idempotencyKey"], "r1:user");
    assert_eq!(
        (messages[1]["content"][0]["text"].as_str(), &messages[1]["api"]),
        (Some("Hello there"), &json!("echo"))
    );
    assert!(world.shelf.open_runs.is_empty());
    assert!(world.gateway.runs.is_idle());
}

#[test]
fn nothing_is_acknowledged_before_it_is_stored_and_nothing_is_final_before_it_is() {
    let mut world = World::new();
    let client = world.operator(Protocol::V4);
    world.hold = true;
    let call = world.call(client, "chat.send", send("r1", "hi"));
    assert!(world.replies(call).is_empty());
    world.release();
    assert_eq!(world.reply(call).payload.unwrap().to_value()["messageSeq"], 1);
    world.hold = true;
    world.advance(1_000);
    assert_eq!(world.terminal("r1", Protocol::V4), None);
    assert_eq!(world.held.len(), 1, "answer, session, run and reply are one transaction");
    world.release();
    assert_eq!(text_of(&world.terminal("r1", Protocol::V4).unwrap()), "hi");
}

#[test]
fn a_message_that_cannot_be_stored_is_refused_and_may_be_sent_again() {
    let mut world = World::new();
    let client = world.operator(Protocol::V3);
    world.broken = Some(StoreError::Full);
    let error = world.refusal(client, "chat.send", send("r1", "hi"));
    assert_eq!((error.code, error.retryable), (ErrorCode::Unavailable, Some(true)));
    assert!(world.gateway.runs.is_idle());
    assert!(world.gateway.sessions.get(&SessionKey::new(MAIN)).is_none());
    world.broken = None;
    assert_eq!(world.ask(client, "chat.send", send("r1", "hi"))["status"], "started");
}

#[test]
fn an_answer_that_cannot_be_stored_ends_in_an_error_and_nothing_hangs() {
    let mut world = World::new();
    let client = world.operator(Protocol::V3);
    let call = world.call(client, "agent", agent("r1", "hi"));
    let wait = world.call(client, "agent.wait", json!({"runId": "r1"}));
    world.broken = Some(StoreError::ReadOnly);
    world.advance(1_000);
    let terminal = world.terminal("r1", Protocol::V3).unwrap();
    assert_eq!(terminal["state"], "error");
    assert!(terminal["errorMessage"].as_str().unwrap().contains("read-only"));
    assert!(world.replies(call)[1].error.is_some());
    assert_eq!(world.reply(wait).payload.unwrap().to_value()["status"], "error");
    assert!(world.gateway.runs.is_idle());
}

#[test]
fn a_repeated_key_joins_then_gets_the_outcome_and_never_runs_twice() {
    let mut world = World::new();
    let client = world.operator(Protocol::V3);
    world.call(client, "chat.send", send("r1", "hi"));
    assert_eq!(
        world.ask(client, "chat.send", send("r1", "hi")),
        json!({"runId": "r1", "status": "in_flight"})
    );
    world.advance(1_000);
    assert_eq!(world.ask(client, "chat.send", send("r1", "hi")), json!({"runId": "r1", "status": "ok"}));
    assert_eq!(world.shelf.messages(MAIN).len(), 2);
    let error = world.refusal(client, "chat.send", send("r1", "other words"));
    assert!(error.details.unwrap().as_str().contains("chat-request-conflict"));
    let mut world = world.crash();
    let client = world.operator(Protocol::V3);
    assert_eq!(world.ask(client, "chat.send", send("r1", "hi")), json!({"runId": "r1", "status": "ok"}));
}

#[test]
fn the_model_gets_the_conversation_and_its_usage_is_kept() {
    let mut world = World::with_model();
    let client = world.operator(Protocol::V3);
    world.call(client, "chat.send", send("r1", "one"));
    world.answer("two");
    world.gateway.system.enqueue(SessionKey::new(MAIN), "the door is open");
    world.call(client, "chat.send", send("r2", "three"));
    let (_, body) = world.fetch();
    let expected = json!([
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "two"},
        {"role": "user", "content": "System: [2026-01-30 10:00:00 UTC] the door is open\n\nthree"},
    ]);
    assert_eq!(undressed(&body["messages"]), expected);
    assert_eq!(
        world.shelf.messages(MAIN)[2]["content"][0]["text"],
        "three",
        "notes are not the user's words"
    );
    world.answer("four");
    let entry = world.shelf.entry(MAIN);
    assert_eq!(
        (&entry["inputTokens"], &entry["outputTokens"], &entry["totalTokens"]),
        (&json!(10), &json!(5), &json!(10))
    );
    assert_eq!(
        (&entry["modelProvider"], &entry["model"], &entry["contextTokens"]),
        (&json!("fake"), &json!("m"), &json!(8192))
    );
    assert_eq!((&entry["lastChannel"], &entry["status"]), (&json!("webchat"), &json!("done")));
    assert_eq!(world.shelf.messages(MAIN)[3]["usage"]["totalTokens"], 15);
}

#[test]
fn an_image_reaches_the_model_even_without_words() {
    let mut world = World::with_model();
    let client = world.operator(Protocol::V3);
    let png = "iVBORw0KGgpyZXN0";
    let params = json!({"sessionKey": "main", "message": " ", "idempotencyKey": "r1", "attachments": [
        {"type": "image", "mimeType": "image/png", "content": png},
    ]});
    world.call(client, "chat.send", params);
    let (_, body) = world.fetch();
    let parts = body["messages"][0]["content"].as_array().unwrap();
    assert_eq!(parts.last().unwrap()["image_url"]["url"], format!("data:image/png;base64,{png}"));
    world.answer("a picture");
    assert_eq!(
        world.shelf.messages(MAIN)[0]["content"][1],
        json!({"type": "image", "data": png, "mimeType": "image/png"})
    );
}

#[test]
fn a_provider_error_is_an_error_everywhere() {
    let mut world = World::with_model();
    let client = world.operator(Protocol::V4);
    let call = world.call(client, "agent", agent("r1", "hi"));
    let (id, _) = world.fetch();
    world.refuse(id, 400, "bad request");
    assert_eq!(
        story(&world, Protocol::V4),
        ["reply accepted", "agent start", "agent error", "chat error", "reply error"]
    );
    let terminal = world.terminal("r1", Protocol::V4).unwrap();
    assert_eq!(
        (&terminal["errorMessage"], &terminal["errorKind"]),
        (&json!("400 bad request"), &json!("unknown"))
    );
    assert_eq!(terminal["errorDetail"]["httpStatus"], 400);
    let last = world.replies(call).pop().unwrap();
    assert_eq!(last.error.unwrap().code, ErrorCode::Unavailable);
    assert_eq!(
        last.payload.unwrap().to_value(),
        json!({"runId": "r1", "status": "error", "summary": "400 bad request"})
    );
    let message = world.shelf.messages(MAIN).pop().unwrap();
    assert_eq!(
        (&message["stopReason"], &message["errorMessage"]),
        (&json!("error"), &json!("400 bad request"))
    );
    let waited = world.ask(client, "agent.wait", json!({"runId": "r1", "timeoutMs": 0}));
    assert_eq!((&waited["status"], &waited["error"]), (&json!("error"), &json!("400 bad request")));
    let repeat = world.call(client, "agent", agent("r1", "hi"));
    assert!(world.reply(repeat).error.is_some());
}

#[test]
fn an_answer_that_breaks_off_keeps_its_words() {
    let mut world = World::with_model();
    let client = world.operator(Protocol::V4);
    world.call(client, "chat.send", send("r1", "hi"));
    let (id, _) = world.fetch();
    world.head(id);
    world.words(id, "half an ans");
    world.input(Input::Fetch { id, event: FetchEvent::Failed(FetchError::Broken("reset".to_owned())) });
    let terminal = world.terminal("r1", Protocol::V4).unwrap();
    assert_eq!((&terminal["state"], text_of(&terminal)), (&json!("error"), "half an ans"));
    assert_eq!(world.shelf.messages(MAIN)[1]["content"][0]["text"], "half an ans");
}

#[test]
fn an_abort_is_heard_before_it_is_answered_and_keeps_the_partial_text() {
    let mut world = World::with_model();
    let client = world.operator(Protocol::V4);
    world.call(client, "chat.send", send("r1", "hi"));
    let wait = world.call(client, "agent.wait", json!({"runId": "r1"}));
    let (id, _) = world.fetch();
    world.head(id);
    world.words(id, "par");
    world.forget();
    let abort = world.call(client, "chat.abort", json!({"sessionKey": "main", "runId": "r1"}));
    assert_eq!(story(&world, Protocol::V4), ["agent end", "chat aborted", "reply timeout", "reply "]);
    assert_eq!(
        world.reply(abort).payload.unwrap().to_value(),
        json!({"ok": true, "aborted": true, "runIds": ["r1"]})
    );
    let terminal = world.terminal("r1", Protocol::V4).unwrap();
    assert_eq!((&terminal["stopReason"], text_of(&terminal)), (&json!("rpc"), "par"));
    assert_eq!(world.terminal("r1", Protocol::V3).unwrap().get("message"), None);
    assert_eq!(world.reply(wait).payload.unwrap().to_value()["stopReason"], "rpc");
    let message = world.shelf.messages(MAIN).pop().unwrap();
    assert_eq!((&message["stopReason"], &message["content"][0]["text"]), (&json!("aborted"), &json!("par")));
    assert!(world.fetches.is_empty(), "the model is not asked any more");
    world.words(id, "tial");
    assert_eq!(world.chat_states("r1", Protocol::V4), ["aborted"]);
    let repeat = world.ask(client, "chat.send", send("r1", "hi"));
    assert_eq!(
        (&repeat["status"], &repeat["summary"], &repeat["stopReason"]),
        (&json!("timeout"), &json!("aborted"), &json!("rpc"))
    );
    assert_eq!(repeat["endedAt"], DAWN);
    assert_eq!(world.shelf.entry(MAIN)["abortedLastRun"], true);
}

#[test]
fn an_abort_reaches_runs_of_every_method_and_those_that_wait() {
    let mut world = World::with_model();
    let client = world.operator(Protocol::V3);
    let other = world.operator(Protocol::V3);
    let agent_call = world.call(client, "agent", agent("r1", "one"));
    world.call(client, "chat.send", send("r2", "two"));
    let stop = world.call(other, "chat.send", send("r3", " STOP "));
    let answer = world.reply(stop).payload.unwrap().to_value();
    assert_eq!(answer, json!({"ok": true, "aborted": true, "runIds": ["r1", "r2"]}));
    for run in ["r1", "r2"] {
        assert_eq!(world.terminal(run, Protocol::V3).unwrap()["stopReason"], "stop");
    }
    let second = world.replies(agent_call)[1].payload.clone().unwrap().to_value();
    assert_eq!((&second["status"], &second["result"]["meta"]["aborted"]), (&json!("ok"), &json!(true)));
    assert!(world.gateway.runs.is_idle());
    assert_eq!(world.shelf.messages(MAIN).len(), 2, "the stop word is no message");
    let again = world.ask(client, "chat.abort", json!({"sessionKey": MAIN}));
    assert_eq!(again, json!({"ok": true, "aborted": false, "runIds": []}));
}

#[test]
fn an_abort_that_comes_before_the_message_is_stored_counts() {
    let mut world = World::with_model();
    let client = world.operator(Protocol::V4);
    world.hold = true;
    let call = world.call(client, "chat.send", send("r1", "hi"));
    let abort = world.call(client, "chat.abort", json!({"sessionKey": "main"}));
    world.release();
    assert_eq!(world.reply(call).payload.unwrap().to_value()["status"], "started");
    assert_eq!(world.reply(abort).payload.unwrap().to_value()["aborted"], true);
    assert_eq!(world.chat_states("r1", Protocol::V4), ["aborted"]);
    assert!(world.fetches.is_empty() && world.gateway.runs.is_idle());
}

#[test]
fn an_abort_names_what_does_not_fit() {
    let mut world = World::with_model();
    let client = world.operator(Protocol::V3);
    world.call(client, "chat.send", send("r1", "hi"));
    let error = world.refusal(client, "chat.abort", json!({"sessionKey": "other", "runId": "r1"}));
    assert_eq!(error.message, "runId does not match sessionKey");
    let unknown = world.ask(client, "chat.abort", json!({"sessionKey": "main", "runId": "nope"}));
    assert_eq!(unknown, json!({"ok": true, "aborted": false, "runIds": []}));
}

#[test]
fn on_v4_only_the_owner_or_an_administrator_may_abort() {
    let mut world = World::with_model();
    let phone = world.client(Protocol::V4, World::read_write(), Some("phone"));
    let phone_again = world.client(Protocol::V4, World::read_write(), Some("phone"));
    let stranger = world.client(Protocol::V4, World::read_write(), Some("tablet"));
    world.call(phone, "chat.send", send("r1", "hi"));
    for params in [json!({"sessionKey": "main"}), json!({"sessionKey": "main", "runId": "r1"})] {
        assert_eq!(world.refusal(stranger, "chat.abort", params).message, "unauthorized");
    }
    assert_eq!(world.ask(phone_again, "chat.abort", json!({"sessionKey": "main"}))["aborted"], true);
}

#[test]
fn messages_that_wait_are_answered_together_under_the_newest_name() {
    let mut world = World::with_model();
    let client = world.operator(Protocol::V4);
    for (key, words) in [("r1", "one"), ("r2", "two"), ("r3", "three")] {
        assert_eq!(world.ask(client, "chat.send", send(key, words))["status"], "started");
    }
    world.answer("first");
    world.advance(1_000);
    assert_eq!(world.terminal("r2", Protocol::V4).unwrap().get("message"), None);
    assert_eq!(world.terminal("r2", Protocol::V4).unwrap()["state"], "final");
    assert_eq!(world.terminal("r3", Protocol::V4), None);
    let (_, body) = world.fetch();
    let expected = json!([
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "first"},
        {"role": "user", "content": "two\n\nthree"},
    ]);
    assert_eq!(undressed(&body["messages"]), expected);
    world.answer("second");
    assert_eq!(text_of(&world.terminal("r3", Protocol::V4).unwrap()), "second");
    assert_eq!(world.ask(client, "chat.send", send("r2", "two"))["status"], "ok");
    assert!(world.gateway.runs.is_idle() && world.shelf.open_runs.is_empty());
}

#[test]
fn only_so_many_sessions_run_at_once() {
    let mut world = World::with_model();
    let client = world.operator(Protocol::V4);
    for n in 0..6 {
        let params =
            json!({"sessionKey": format!("s{n}"), "message": "hi", "idempotencyKey": format!("r{n}")});
        world.call(client, "chat.send", params);
    }
    assert_eq!(world.fetches.len(), 4);
    let (id, _) = world.fetches[0];
    world.head(id);
    world.words(id, "done");
    world.done(id);
    assert_eq!(world.fetches.len(), 4, "the next one has its place");
}

#[test]
fn a_run_that_takes_too_long_is_shown_as_aborted() {
    let mut world = World::with_model();
    let client = world.operator(Protocol::V3);
    let params = json!({"sessionKey": "main", "message": "hi", "timeout": 2, "idempotencyKey": "r1"});
    let call = world.call(client, "agent", params);
    let (id, _) = world.fetch();
    world.head(id);
    world.words(id, "slow");
    world.advance(1_999);
    assert_eq!(world.terminal("r1", Protocol::V3), None);
    world.advance(1);
    assert_eq!(world.terminal("r1", Protocol::V3).unwrap()["stopReason"], "timeout");
    let second = world.replies(call)[1].payload.clone().unwrap().to_value();
    assert_eq!((&second["status"], &second["result"]["meta"]["aborted"]), (&json!("ok"), &json!(true)));
    assert_eq!(second["result"]["payloads"][0]["text"], "slow");
    let waited = world.ask(client, "agent.wait", json!({"runId": "r1"}));
    assert_eq!((&waited["status"], &waited["error"]), (&json!("error"), &json!("timeout")));
}

#[test]
fn time_in_the_queue_does_not_count() {
    let mut world = World::with_model();
    let client = world.operator(Protocol::V3);
    world.call(client, "chat.send", send("r1", "one"));
    let params = json!({"sessionKey": "main", "message": "two", "timeoutMs": 1_000, "idempotencyKey": "r2"});
    world.call(client, "chat.send", params);
    world.advance(30_000);
    world.answer("first");
    assert_eq!(world.terminal("r2", Protocol::V3), None);
    world.advance(1_000);
    assert_eq!(world.terminal("r2", Protocol::V3).unwrap()["stopReason"], "timeout");
}

#[test]
fn an_agent_answers_twice_and_a_repeat_joins_both() {
    let mut world = World::with_model();
    let client = world.operator(Protocol::V3);
    let first = world.call(client, "agent", agent("r1", "hi"));
    world.advance(500);
    let joined = world.call(client, "agent", agent("r1", "hi"));
    world.answer("done");
    let (first, joined) = (world.replies(first), world.replies(joined));
    assert_eq!(first, joined);
    assert_eq!(
        first[0].payload.as_ref().unwrap().to_value(),
        json!({"runId": "r1", "status": "accepted", "acceptedAt": DAWN})
    );
    let done = first[1].payload.as_ref().unwrap().to_value();
    let session = world.shelf.sessions[&SessionKey::new(MAIN)].session.as_str().to_owned();
    let expected = json!({
        "runId": "r1", "status": "ok", "summary": "completed",
        "result": {
            "payloads": [{"text": "done", "mediaUrl": null}],
            "meta": {"durationMs": 500, "aborted": false, "stopReason": "stop", "agentMeta": {
                "sessionId": session, "provider": "fake", "model": "m",
                "usage": {"input": 10, "output": 5, "cacheRead": 0, "cacheWrite": 0, "total": 15},
            }},
        },
    });
    assert_eq!(done, expected);
    assert_eq!(world.ask(client, "agent", agent("r1", "hi")), done);
}

#[test]
fn waiting_for_a_run_tells_running_from_done_and_unknown() {
    let mut world = World::with_model();
    let client = world.operator(Protocol::V3);
    let look = |world: &mut World, run: &str| {
        world.ask(client, "agent.wait", json!({"runId": run, "timeoutMs": 0}))["status"].clone()
    };
    assert_eq!(look(&mut world, "r1"), "timeout");
    world.call(client, "chat.send", send("r1", "hi"));
    assert_eq!(look(&mut world, "r1"), "timeout");
    let waiting = world.call(client, "agent.wait", json!({"runId": "r1", "timeoutMs": 5_000}));
    let unknown = world.call(client, "agent.wait", json!({"runId": "r9"}));
    world.answer("x");
    assert_eq!(world.reply(waiting).payload.unwrap().to_value()["status"], "ok");
    assert_eq!(look(&mut world, "r1"), "ok");
    world.advance(30_000);
    assert_eq!(world.reply(unknown).payload.unwrap().to_value(), json!({"runId": "r9", "status": "timeout"}));
    assert!(world.gateway.runs.is_idle());
}

#[test]
fn a_disconnect_cancels_nothing() {
    let mut world = World::with_model();
    let client = world.operator(Protocol::V3);
    world.call(client, "chat.send", send("r1", "hi"));
    world.input(Input::Up(crate::messages::Up::Gone { conn: client }));
    world.answer("still here");
    assert_eq!(text_of(&world.terminal("r1", Protocol::V3).unwrap()), "still here");
    let back = world.operator(Protocol::V3);
    assert_eq!(world.ask(back, "chat.send", send("r1", "hi"))["status"], "ok");
}

#[test]
fn a_stop_ends_every_run_before_the_shutdown() {
    let mut world = World::with_model();
    let client = world.operator(Protocol::V4);
    world.call(client, "chat.send", send("r1", "one"));
    world.call(client, "chat.send", send("r2", "two"));
    let unknown = world.call(client, "agent.wait", json!({"runId": "r9"}));
    world.hold = true;
    world.input(Input::Stop { reason: "gateway stopping".to_owned(), restart_expected: None });
    assert!(!world.stopped, "not before the ends are stored");
    world.release();
    assert!(world.stopped);
    for run in ["r1", "r2"] {
        assert_eq!(world.terminal(run, Protocol::V4).unwrap()["stopReason"], "restart");
    }
    let last = world.told.iter().rev().find_map(|told| match told {
        Told::Event(publish) => Some(publish.event),
        _ => None,
    });
    assert_eq!(last, Some(EventName::Shutdown));
    assert_eq!(world.reply(unknown).payload.unwrap().to_value()["status"], "timeout");
    assert_eq!(world.shelf.entry(MAIN)["abortedLastRun"], true);
}

#[test]
fn a_crash_leaves_a_mark_and_an_answer_for_the_repeat() {
    let mut world = World::with_model();
    let client = world.operator(Protocol::V3);
    world.call(client, "agent", agent("r1", "hi"));
    world.call(client, "chat.send", send("r2", "two"));
    let mut world = world.crash();
    let client = world.operator(Protocol::V3);
    assert!(world.shelf.open_runs.is_empty());
    assert_eq!(world.shelf.entry(MAIN)["abortedLastRun"], true);
    assert_eq!(world.shelf.messages(MAIN).len(), 2, "what was acknowledged is there");
    for (method, key, words) in [("agent", "r1", "hi"), ("chat.send", "r2", "two")] {
        let params = json!({"sessionKey": "main", "message": words, "idempotencyKey": key});
        let call = world.call(client, method, params);
        let outcome = world.reply(call);
        assert_eq!(outcome.payload.unwrap().to_value()["status"], "error");
        assert!(outcome.error.unwrap().message.contains("restarted"));
    }
    assert_eq!(world.ask(client, "agent.wait", json!({"runId": "r1"}))["status"], "error");
    world.call(client, "chat.send", send("r3", "three"));
    let (_, body) = world.fetch();
    let prompt = body["messages"][0]["content"].as_str().unwrap();
    assert!(prompt.contains("cut short") && prompt.contains("] three\n"), "{prompt}");
}

#[test]
fn an_interrupted_session_is_quiet_before_the_next_step() {
    let mut world = World::with_model();
    let client = world.operator(Protocol::V4);
    world.call(client, "chat.send", send("r1", "one"));
    world.call(client, "chat.send", send("r2", "two"));
    let reset = world.call(client, "sessions.reset", json!({"key": "main"}));
    assert_eq!(world.reply(reset).payload.unwrap().to_value()["ok"], true);
    for run in ["r1", "r2"] {
        assert_eq!(world.terminal(run, Protocol::V4).unwrap()["stopReason"], "reset");
    }
    assert!(world.shelf.messages(MAIN).is_empty());
    assert!(world.gateway.runs.is_idle());
}

#[test]
fn too_many_waiting_runs_are_refused() {
    let mut world = World::with(|settings| settings.agents.max_concurrent = 1);
    world.gateway.runs.most = 3;
    let client = world.operator(Protocol::V4);
    for n in 0..3 {
        world.call(client, "chat.send", send(&format!("r{n}"), "hi"));
    }
    let error = world.refusal(client, "chat.send", send("r3", "hi"));
    assert_eq!((error.code, error.retryable), (ErrorCode::Unavailable, Some(true)));
    world.advance(10_000);
    assert_eq!(
        world.ask(client, "chat.send", send("r3", "hi"))["status"],
        "started",
        "the key is free again"
    );
}

#[test]
fn ten_thousand_runs_leave_nothing_behind() {
    let mut world = World::new();
    let client = world.operator(Protocol::V4);
    for n in 0..10_000 {
        world.call(client, "chat.send", json!({"sessionKey": format!("s{}", n % 2_000), "message": "x", "idempotencyKey": format!("r{n}")}));
        world.advance(60);
        world.forget();
    }
    assert!(world.gateway.runs.is_idle());
    assert_eq!(world.gateway.effects_under_way(), 0);
    assert!(world.shelf.open_runs.is_empty());
}

#[test]
fn the_event_carries_the_canonical_key_first_and_the_alias_is_told() {
    let mut world = World::new();
    let client: ConnId = world.operator(Protocol::V3);
    world.call(client, "chat.send", send("r1", "hi"));
    world.advance(1_000);
    let alias = world.told.iter().any(|told| {
        matches!(told, Told::Other(crate::messages::Down::Alias { conn, key, spelling })
            if *conn == client && key.as_str() == MAIN && spelling == "main")
    });
    assert!(alias);
    for told in &world.told {
        if let Told::Event(publish) = told
            && matches!(publish.event, EventName::Agent | EventName::Chat)
        {
            for json in [&publish.v3, &publish.v4].into_iter().flatten() {
                assert!(json.as_str().starts_with(r#"{"sessionKey":"agent:main:main""#), "{json:?}");
            }
        }
    }
}

/// A conversation of two long turns in a window of 8,192 tokens.
fn long_talk(world: &mut World, client: ConnId) {
    for (key, words) in [("l1", "a"), ("l2", "b")] {
        world.call(client, "chat.send", send(key, &words.repeat(9_000)));
        world.answer("ok");
        world.advance(1_000);
    }
}

#[test]
fn a_conversation_that_outgrows_the_window_is_summed_up_before_the_model_is_asked() {
    let mut world = World::with_model();
    let client = world.operator(Protocol::V4);
    long_talk(&mut world, client);
    world.forget();
    world.call(client, "chat.send", send("r", &"c".repeat(9_000)));
    let (id, body) = world.fetch();
    assert!(body["messages"][0]["content"].as_str().unwrap().starts_with("Summarise the conversation"));
    assert!(body.get("tools").is_none());
    world.head(id);
    world.words(id, "they said a and b");
    world.done(id);
    let (_, body) = world.fetch();
    let messages = body["messages"].as_array().unwrap();
    let first = messages[0]["content"].as_str().unwrap();
    assert!(first.starts_with("[Summary of the conversation so far]\nthey said a and b"), "{first}");
    assert!(messages.last().unwrap()["content"].as_str().unwrap().contains("ccc\n[message_id: r]"));
    world.answer("done");
    assert_eq!(text_of(&world.terminal("r", Protocol::V4).unwrap()), "done");
    let phases: Vec<Value> = world
        .events(EventName::Agent, Protocol::V3)
        .into_iter()
        .filter(|event| event["stream"] == "compaction")
        .map(|event| event["data"].clone())
        .collect();
    assert_eq!(phases, [json!({"phase": "start"}), json!({"phase": "end", "willRetry": true})]);
    assert_eq!(world.shelf.entry(MAIN)["compactionCount"], 1);
    let kept = world.ask(client, "chat.history", json!({"sessionKey": "main"}));
    let shown: Vec<&str> = kept["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|message| message["role"].as_str().unwrap())
        .collect();
    assert_eq!(shown.iter().filter(|role| **role == "system").count(), 1);
    assert_eq!(shown.len(), 7, "nothing of the transcript is lost");
}

#[test]
fn a_model_that_finds_the_conversation_too_long_gets_a_summary_once() {
    let mut world = World::with_model();
    let client = world.operator(Protocol::V4);
    world.call(client, "chat.send", send("r1", "one"));
    world.answer("first");
    world.call(client, "chat.send", send("r2", "two"));
    for _ in 0..2 {
        let (id, body) = world.fetch();
        let sums_up = body["messages"][0]["content"].as_str().unwrap().starts_with("Summarise");
        if sums_up {
            world.head(id);
            world.words(id, "sum");
            world.done(id);
        } else {
            world.refuse(id, 400, "This model's maximum context length is 10 tokens");
        }
    }
    let (id, _) = world.fetch();
    world.refuse(id, 400, "This model's maximum context length is 10 tokens");
    assert_eq!(world.terminal("r2", Protocol::V4).unwrap()["errorKind"], "context_length");
    assert!(world.gateway.runs.is_idle());
}

#[test]
fn a_compaction_that_is_asked_for_is_no_turn_of_the_conversation() {
    let mut world = World::with_model();
    let client = world.operator(Protocol::V4);
    long_talk(&mut world, client);
    world.forget();
    let key = SessionKey::new(MAIN);
    let owner = crate::runs::Owner::inner();
    world
        .gateway
        .compact_session(&key, Some("keep the names".to_owned()), owner, crate::runs::Asker::Nobody)
        .unwrap();
    world.input(Input::Timeout);
    let (id, body) = world.fetch();
    assert!(body["messages"][0]["content"].as_str().unwrap().contains("keep the names"));
    world.head(id);
    world.words(id, "sum");
    world.done(id);
    assert!(world.events(EventName::Chat, Protocol::V4).is_empty());
    let last = world.shelf.messages(MAIN).pop().unwrap();
    assert_eq!((last["role"].as_str(), last["summary"].as_str()), (Some("compaction"), Some("sum")));
    assert!(world.gateway.runs.is_idle());
}

#[test]
fn a_stopping_gateway_lets_the_run_under_way_finish_and_ends_those_that_wait() {
    let mut world = World::with(|settings| {
        settings.drain = std::time::Duration::from_secs(30);
    });
    let client = world.operator(Protocol::V4);
    world.call(client, "chat.send", send("r1", "one two"));
    world.call(client, "chat.send", send("r2", "three"));
    world.input(Input::Stop { reason: "gateway stopping".to_owned(), restart_expected: None });
    assert_eq!(world.terminal("r2", Protocol::V4).unwrap()["stopReason"], "restart");
    assert!(!world.stopped);
    world.advance(1_000);
    assert_eq!(text_of(&world.terminal("r1", Protocol::V4).unwrap()), "one two");
    assert!(world.stopped);
}

#[test]
fn a_run_that_outlasts_the_drain_is_aborted() {
    let mut world = World::with_model();
    world.gateway.settings.drain = std::time::Duration::from_secs(30);
    let client = world.operator(Protocol::V4);
    world.call(client, "chat.send", send("r1", "one"));
    let (id, _) = world.fetch();
    world.head(id);
    world.words(id, "half");
    world.input(Input::Stop { reason: "gateway stopping".to_owned(), restart_expected: None });
    world.advance(29_999);
    assert!(!world.stopped);
    world.advance(1);
    let end = world.terminal("r1", Protocol::V4).unwrap();
    assert_eq!((&end["stopReason"], text_of(&end)), (&json!("restart"), "half"));
    assert!(world.stopped);
}
