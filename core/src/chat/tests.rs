//! The chat methods as clients call them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::{Value, json};
use telson_proto::{ErrorCode, EventName, Protocol, Scope, Scopes};

use crate::ids::{ConnId, SessionKey};
use crate::store::StoreError;
use crate::testing::{DAWN, World, undressed};

const MAIN: &str = "agent:main:main";

/// A session with some turns of `echo`.
fn talked(turns: usize) -> (World, ConnId) {
    let mut world = World::new();
    let client = world.operator(Protocol::V4);
    for n in 0..turns {
        let words = format!("word{n}");
        world.call(
            client,
            "chat.send",
            json!({"sessionKey": "main", "message": words, "idempotencyKey": format!("r{n}")}),
        );
        world.advance(1_000);
    }
    (world, client)
}

fn texts(history: &Value) -> Vec<String> {
    let messages = history["messages"].as_array().unwrap();
    messages
        .iter()
        .map(|message| message["content"][0]["text"].as_str().unwrap_or_default().to_owned())
        .collect()
}

#[test]
fn history_is_the_same_by_every_name_and_v3_gets_its_own_back() {
    let (mut world, _) = talked(1);
    let client = world.operator(Protocol::V3);
    for name in ["main", MAIN, "agent:MAIN:main"] {
        let history = world.ask(client, "chat.history", json!({"sessionKey": name}));
        assert_eq!(history["sessionKey"], name);
        assert_eq!(texts(&history), ["word0", "word0"]);
        assert_eq!(history["thinkingLevel"], "off");
        let members: Vec<&str> = history.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(members, ["messages", "sessionId", "sessionKey", "thinkingLevel"]);
        assert_eq!(history["messages"][0].get("__openclaw"), None);
    }
}

#[test]
fn an_unknown_session_has_an_empty_history() {
    let mut world = World::new();
    let client = world.operator(Protocol::V3);
    let history = world.ask(client, "chat.history", json!({"sessionKey": "nobody"}));
    assert_eq!(history, json!({"sessionKey": "nobody", "messages": [], "thinkingLevel": "off"}));
}

#[test]
fn v4_gets_positions_the_row_and_the_keys_of_its_messages() {
    let (mut world, client) = talked(1);
    let history = world.ask(
        client,
        "chat.history",
        json!({"sessionKey": "main", "inputRunIds": ["r0"], "limit": 1000}),
    );
    let first = &history["messages"][0];
    assert_eq!(first["idempotencyKey"], "r0:user");
    let about = &first["__openclaw"];
    assert_eq!(
        (&about["seq"], &about["runId"], &about["idempotencyKey"]),
        (&json!(1), &json!("r0"), &json!("r0:user"))
    );
    assert_eq!(about["id"].as_str().unwrap().len(), 8);
    assert_eq!(
        (&history["sessionKey"], &history["totalMessages"], &history["hasMore"]),
        (&json!(MAIN), &json!(2), &json!(false))
    );
    assert_eq!(history["sessionInfo"]["hasActiveRun"], false);
    assert!(history["defaults"].is_object());
}

#[test]
fn pages_go_back_by_offset_and_gather_around_a_message() {
    let (mut world, client) = talked(5);
    let page = |world: &mut World, params: Value| {
        let mut all = json!({"sessionKey": "main", "limit": 4});
        all.as_object_mut().unwrap().extend(params.as_object().unwrap().clone());
        world.ask(client, "chat.history", all)
    };
    let newest = page(&mut world, json!({}));
    assert_eq!(texts(&newest), ["word3", "word3", "word4", "word4"]);
    assert_eq!((&newest["hasMore"], &newest["nextOffset"]), (&json!(true), &json!(4)));
    let oldest = page(&mut world, json!({"offset": 8}));
    assert_eq!(texts(&oldest), ["word0", "word0"]);
    assert_eq!((&oldest["hasMore"], oldest.get("nextOffset")), (&json!(false), None));
    let id = oldest["messages"][1]["__openclaw"]["id"].clone();
    assert_eq!(texts(&page(&mut world, json!({"messageId": id}))), ["word0", "word0", "word1", "word1"]);
    assert_eq!(page(&mut world, json!({"maxChars": 2}))["messages"][0]["content"][0]["text"], "wo");
}

#[test]
fn what_cannot_be_combined_is_refused() {
    let (mut world, client) = talked(1);
    let mut refusal = |params: Value| {
        let mut all = json!({"sessionKey": "main"});
        all.as_object_mut().unwrap().extend(params.as_object().unwrap().clone());
        let error = world.refusal(client, "chat.history", all);
        assert_eq!(error.code, ErrorCode::InvalidRequest);
        error.message
    };
    assert!(refusal(json!({"cursor": "c", "offset": 1})).contains("cursor cannot be combined"));
    assert!(refusal(json!({"offset": 1, "messageId": "x"})).contains("offset cannot be combined"));
    assert!(refusal(json!({"sessionId": "x"})).contains("sessionId requires messageId"));
    assert!(refusal(json!({"inputRunIds": []})).contains("/inputRunIds"));
    assert!(refusal(json!({"inputRunIds": vec!["r"; 51]})).contains("/inputRunIds"));
    assert_eq!(refusal(json!({"messageId": "nope"})), "messageId not found: nope");
    assert_eq!(refusal(json!({"limit": 1001})), "invalid chat.history params: at /limit: must be <= 1000");
    let v3 = world.operator(Protocol::V3);
    let error = world.refusal(v3, "chat.history", json!({"sessionKey": "main", "offset": 1}));
    assert_eq!(error.message, "invalid chat.history params: at root: unexpected property 'offset'");
    let error = world.refusal(v3, "chat.history", json!({}));
    assert_eq!(error.message, "invalid chat.history params: must have required property 'sessionKey'");
}

#[test]
fn bytes_are_bounded_but_one_message_stays() {
    let (mut world, client) = talked(3);
    let startup =
        world.ask(client, "chat.startup", json!({"sessionKey": "main", "limit": 80, "maxBytes": 1}));
    assert_eq!(texts(&startup), ["word2"]);
    assert_eq!(startup["hasMore"], true);
    assert!(startup["agentsList"]["agents"].is_array());
}

#[test]
fn large_images_give_way_on_v4() {
    let mut world = World::new();
    let client = world.operator(Protocol::V4);
    let content = format!("iVBORw0KGgpyZXN0{}", "AAAA".repeat(40_000));
    let params = json!({"sessionKey": "main", "message": "look", "idempotencyKey": "r1", "attachments": [{"content": content}]});
    world.call(client, "chat.send", params);
    let history = world.ask(client, "chat.history", json!({"sessionKey": "main"}));
    assert_eq!(history["messages"][0]["content"][0]["text"], "look");
    assert_eq!(history["messages"][0]["content"][1]["omitted"], true);
    let v3 = world.operator(Protocol::V3);
    let history = world.ask(v3, "chat.history", json!({"sessionKey": "main"}));
    assert_eq!(history["messages"][0]["content"][1]["data"], content);
}

#[test]
fn who_comes_back_finds_the_run_in_progress() {
    let mut world = World::with_model();
    let client = world.operator(Protocol::V4);
    world.call(client, "chat.send", json!({"sessionKey": "main", "message": "hi", "idempotencyKey": "r1"}));
    let (id, _) = world.fetch();
    world.head(id);
    world.words(id, "so far");
    let history = world.ask(client, "chat.history", json!({"sessionKey": "main"}));
    assert_eq!(history["inFlightRun"], json!({"runId": "r1", "text": "so far"}));
    assert_eq!(history["sessionInfo"]["hasActiveRun"], true);
}

#[test]
fn an_empty_message_is_refused_and_so_is_one_whose_files_were_dropped() {
    let mut world = World::new();
    let client = world.operator(Protocol::V3);
    for attachments in [json!([]), json!([{"mimeType": "text/plain", "content": "aGVsbG8="}])] {
        let params =
            json!({"sessionKey": "main", "message": " ", "idempotencyKey": "r", "attachments": attachments});
        assert_eq!(world.refusal(client, "chat.send", params).message, "message or attachment required");
    }
    let error = world.refusal(client, "chat.send", json!({"sessionKey": "main", "message": "x"}));
    assert_eq!(error.message, "invalid chat.send params: must have required property 'idempotencyKey'");
}

#[test]
fn v4_parameters_are_accepted_on_v4_and_refused_on_v3() {
    let mut world = World::new();
    let params = json!({
        "sessionKey": "main", "sessionId": "x", "message": "hi", "deliver": false, "queueMode": "steer",
        "expectedLeafEntryId": null, "__controlUiReconnectResume": true, "idempotencyKey": "r1",
    });
    let client = world.operator(Protocol::V4);
    assert_eq!(world.ask(client, "chat.send", params.clone())["status"], "started");
    let v3 = world.operator(Protocol::V3);
    assert!(world.refusal(v3, "chat.send", params).message.contains("unexpected property"));
}

#[test]
fn a_denied_session_takes_no_messages_but_can_be_stopped() {
    let (mut world, client) = talked(1);
    let now = world.now;
    world
        .gateway
        .sessions
        .edit(now, &SessionKey::new(MAIN), |entry| entry.send_policy = Some("deny".to_owned()));
    for (method, params) in [
        ("chat.send", json!({"sessionKey": "main", "message": "hi", "idempotencyKey": "k"})),
        ("agent", json!({"sessionKey": "main", "message": "hi", "idempotencyKey": "k"})),
    ] {
        assert_eq!(world.refusal(client, method, params).message, "send blocked by session policy");
    }
    let stop = world.ask(
        client,
        "chat.send",
        json!({"sessionKey": "main", "message": "/stop", "idempotencyKey": "k"}),
    );
    assert_eq!(stop, json!({"ok": true, "aborted": false, "runIds": []}));
}

#[test]
fn an_injected_message_is_a_final_of_its_own() {
    let (mut world, client) = talked(1);
    world.forget();
    let call =
        world.call(client, "chat.inject", json!({"sessionKey": "main", "message": "done", "label": "cron"}));
    let id = world.reply(call).payload.unwrap().to_value()["messageId"].as_str().unwrap().to_owned();
    let event = world.events(EventName::Chat, Protocol::V3).pop().unwrap();
    let expected = json!({
        "sessionKey": MAIN, "runId": format!("inject-{id}"), "seq": 0, "state": "final",
        "message": {
            "role": "assistant", "content": [{"type": "text", "text": "[cron]\n\ndone"}], "timestamp": DAWN + 1_000,
            "stopReason": "injected", "usage": {"input": 0, "output": 0, "totalTokens": 0},
        },
    });
    assert_eq!(event, expected);
    assert_eq!(world.shelf.messages(MAIN).pop().unwrap(), expected["message"]);
    assert_eq!(
        world.gateway.sessions.entry(&SessionKey::new(MAIN)).unwrap().last_message.as_deref(),
        Some("[cron] done")
    );
    let error = world.refusal(client, "chat.inject", json!({"sessionKey": "nobody", "message": "x"}));
    assert_eq!(error.message, "session not found");
    world.broken = Some(StoreError::Full);
    let error = world.refusal(client, "chat.inject", json!({"sessionKey": "main", "message": "x"}));
    assert!(error.message.starts_with("failed to write transcript: "), "{error:?}");
    assert_eq!(world.shelf.messages(MAIN).len(), 3);
}

#[test]
fn an_injected_message_needs_an_administrator() {
    let (mut world, _) = talked(1);
    let client = world.client(Protocol::V3, World::read_write(), None);
    let error = world.refusal(client, "chat.inject", json!({"sessionKey": "main", "message": "x"}));
    assert_eq!(error.message, "missing scope: operator.admin");
}

#[test]
fn a_reader_may_not_send() {
    let (mut world, _) = talked(1);
    let reader: Scopes = [Scope::Read].into_iter().collect();
    let client = world.client(Protocol::V4, reader, None);
    let params = json!({"sessionKey": "main", "message": "hi", "idempotencyKey": "k"});
    assert_eq!(world.refusal(client, "chat.send", params).code, ErrorCode::Forbidden);
    assert_eq!(texts(&world.ask(client, "chat.history", json!({"sessionKey": "main"}))).len(), 2);
}

#[test]
fn an_agent_needs_a_session_that_exists_for_it() {
    let mut world = World::new();
    let client = world.operator(Protocol::V3);
    let mut refusal = |params: Value| {
        let mut all = json!({"message": "hi", "idempotencyKey": "k"});
        all.as_object_mut().unwrap().extend(params.as_object().unwrap().clone());
        world.refusal(client, "agent", all).message
    };
    assert_eq!(refusal(json!({})), "Pass --to <E.164>, --session-id, or --agent to choose a session");
    assert_eq!(refusal(json!({"agentId": "ops"})), "invalid agent params: unknown agent id \"ops\"");
    assert_eq!(
        refusal(json!({"agentId": "main", "sessionKey": "agent:ops:main"})),
        "invalid agent params: agent \"main\" does not match session key agent \"ops\""
    );
    assert_eq!(
        refusal(json!({"agentId": "main", "deliver": true, "channel": "whatsapp"})),
        "invalid agent params: unknown channel: whatsapp"
    );
    assert!(refusal(json!({"agentId": "main", "deliver": true})).contains("/deliver"));
    assert!(refusal(json!({"agentId": "main", "thinking": "lots"})).contains("/thinking"));
    assert!(refusal(json!({"agentId": "main", "label": "x".repeat(65)})).contains("/label"));
    assert!(refusal(json!({"agentId": "main", "model": "m"})).contains("unexpected property 'model'"));
}

#[test]
fn an_agent_finds_its_session_in_four_ways() {
    let (mut world, client) = talked(1);
    let id = world.gateway.sessions.get(&SessionKey::new(MAIN)).unwrap().id.as_str().to_owned();
    let ways = [
        (
            json!({"agentId": "main", "sessionKey": MAIN, "deliver": false, "channel": "whatsapp", "timeout": 600}),
            MAIN,
        ),
        (json!({"agentId": "main"}), MAIN),
        (json!({"sessionId": id}), MAIN),
        (json!({"sessionId": "s1", "channel": "whatsapp", "deliver": false}), "agent:main:explicit:s1"),
        (json!({"to": "+15550001"}), MAIN),
    ];
    for (n, (params, key)) in ways.into_iter().enumerate() {
        let mut all = json!({"message": "hi", "idempotencyKey": format!("a{n}")});
        all.as_object_mut().unwrap().extend(params.as_object().unwrap().clone());
        assert_eq!(world.ask(client, "agent", all)["sessionKey"], key);
        world.advance(1_000);
    }
}

#[test]
fn an_agent_run_changes_only_what_it_names() {
    let (mut world, client) = talked(1);
    let now = world.now;
    world.gateway.sessions.edit(now, &SessionKey::new(MAIN), |entry| {
        entry.elevated_level = Some("ask".to_owned());
        entry.set("queueMode", Some("collect".into()));
    });
    world.call(
        client,
        "agent",
        json!({"agentId": "main", "message": "hi", "idempotencyKey": "a", "label": "mine"}),
    );
    world.advance(1_000);
    let entry = world.shelf.entry(MAIN);
    assert_eq!(
        (&entry["label"], &entry["elevatedLevel"], &entry["queueMode"]),
        (&json!("mine"), &json!("ask"), &json!("collect"))
    );
}

#[test]
fn one_turns_model_thinking_and_instructions_reach_the_provider() {
    let mut world = World::with_model();
    let client = world.operator(Protocol::V4);
    let params = json!({"agentId": "main", "message": "hi", "idempotencyKey": "a", "extraSystemPrompt": "be brief", "model": "fake/m"});
    world.call(client, "agent", params);
    let (_, body) = world.fetch();
    assert_eq!(body["messages"][0], json!({"role": "system", "content": "be brief"}));
    let params = json!({"agentId": "main", "message": "hi", "idempotencyKey": "b", "model": "fake/other"});
    assert_eq!(world.refusal(client, "agent", params).message, "model not allowed: fake/other");
}

#[test]
fn a_command_is_answered_by_the_gateway_itself() {
    let mut world = World::with_model();
    let client = world.operator(Protocol::V3);
    world.call(client, "chat.send", json!({"sessionKey": "main", "message": "hi", "idempotencyKey": "r1"}));
    let ack = world.ask(
        client,
        "chat.send",
        json!({"sessionKey": "main", "message": "/status", "idempotencyKey": "r2"}),
    );
    assert_eq!(ack, json!({"runId": "r2", "status": "started"}));
    let end = world.terminal("r2", Protocol::V3).unwrap();
    assert_eq!((&end["state"], &end["seq"]), (&json!("final"), &json!(1)));
    assert_eq!(end["message"]["stopReason"], "injected");
    assert!(end["message"]["content"][0]["text"].as_str().unwrap().contains("Model: fake/m"));
    assert!(world.events(EventName::Agent, Protocol::V3).iter().all(|event| event["runId"] != "r2"));
    assert_eq!(world.shelf.messages(MAIN).pop().unwrap(), end["message"]);
    assert_eq!(world.fetches.len(), 1, "the model is not asked");
    world.answer("still running");
    assert_eq!(world.terminal("r1", Protocol::V3).unwrap()["state"], "final");
    assert!(world.gateway.runs.is_idle());
}

#[test]
fn a_new_session_ends_what_ran_and_a_repeat_does_not_empty_it_again() {
    let mut world = World::with_model();
    let client = world.operator(Protocol::V4);
    world.call(client, "chat.send", json!({"sessionKey": "main", "message": "old", "idempotencyKey": "r1"}));
    let anew = json!({"sessionKey": "main", "message": "/new hello", "idempotencyKey": "r2"});
    world.hold = true;
    let first = world.call(client, "chat.send", anew.clone());
    let second = world.call(client, "chat.send", anew.clone());
    while world.hold {
        world.release();
        world.hold = !world.held.is_empty();
    }
    assert_eq!(world.reply(first).payload.unwrap().to_value()["status"], "started");
    assert_eq!(world.reply(second).payload.unwrap().to_value()["status"], "in_flight");
    assert_eq!(world.terminal("r1", Protocol::V4).unwrap()["stopReason"], "reset");
    let (_, body) = world.fetch();
    assert_eq!(undressed(&body["messages"]), json!([{"role": "user", "content": "hello"}]));
    world.answer("fresh");
    assert_eq!(world.ask(client, "chat.send", anew)["status"], "ok");
    assert_eq!(world.shelf.messages(MAIN).len(), 2);
    let plain = world.client(Protocol::V4, World::read_write(), None);
    let params = json!({"sessionKey": "main", "message": "/reset", "idempotencyKey": "r3"});
    assert_eq!(world.ask(plain, "chat.send", params)["status"], "started");
    let refusal = world.terminal("r3", Protocol::V4).unwrap();
    assert_eq!(refusal["message"]["content"][0]["text"], "missing scope: operator.admin");
    assert_eq!(world.shelf.messages(MAIN).len(), 4, "the session is as it was");
}

#[test]
fn a_cursor_tells_what_came_since() {
    let (mut world, client) = talked(2);
    let ask = |params: Value, world: &mut World| {
        let mut all = json!({"sessionKey": "main"});
        all.as_object_mut().unwrap().extend(params.as_object().unwrap().clone());
        world.ask(client, "chat.history", all)
    };
    let page = ask(json!({}), &mut world);
    assert_eq!((&page["completeSnapshot"], &page["hasMore"]), (&json!(true), &json!(false)));
    let cursor = page["deltaCursor"].clone();
    let delta = ask(json!({"cursor": cursor}), &mut world);
    assert_eq!((&delta["kind"], &delta["messages"]), (&json!("delta"), &json!([])));
    assert_eq!(delta["deltaCursor"], cursor);

    let admin = world.operator(Protocol::V4);
    world.ask(admin, "chat.inject", json!({"sessionKey": "main", "message": "ahoy"}));
    let delta = ask(json!({"cursor": cursor}), &mut world);
    assert_eq!(delta["messages"].as_array().map(Vec::len), Some(1));
    assert_eq!(delta["messages"][0]["content"][0]["text"], "ahoy");
    assert_eq!(delta["sessionInfo"]["key"], "agent:main:main");
    let next = ask(json!({"cursor": delta["deltaCursor"]}), &mut world);
    assert_eq!(next["messages"], json!([]));

    for text in 0..201 {
        world.ask(admin, "chat.inject", json!({"sessionKey": "main", "message": text.to_string()}));
    }
    let far = ask(json!({"cursor": cursor}), &mut world);
    assert_eq!(far, json!({"kind": "reset"}), "too much to be told");
    let odd = ask(json!({"cursor": "c"}), &mut world);
    assert_eq!(odd, json!({"kind": "reset"}));
    world.ask(admin, "sessions.reset", json!({"key": "main"}));
    assert_eq!(ask(json!({"cursor": cursor}), &mut world), json!({"kind": "reset"}), "another transcript");
}

#[test]
fn pages_lead_from_the_end_to_the_beginning() {
    let (mut world, client) = talked(1);
    let admin = world.operator(Protocol::V4);
    for text in 0..20 {
        // The odd ones are not shown.
        let text = if text % 2 == 1 { "NO_REPLY".to_owned() } else { format!("t{text}") };
        world.ask(admin, "chat.inject", json!({"sessionKey": "main", "message": text}));
    }
    let (mut offset, mut seen) = (json!(0), Vec::new());
    while offset != json!(null) {
        let params = json!({"sessionKey": "main", "limit": 3, "offset": offset});
        let page = world.ask(client, "chat.history", params);
        assert_eq!(page["completeSnapshot"], false);
        let mut seqs: Vec<u64> = page["messages"]
            .as_array()
            .unwrap()
            .iter()
            .map(|message| message["__openclaw"]["seq"].as_u64().unwrap())
            .collect();
        seqs.extend(seen);
        (seen, offset) = (seqs, page["nextOffset"].clone());
    }
    assert!(seen.is_sorted_by(|a, b| a < b), "no message twice: {seen:?}");
    assert_eq!(seen.len(), 12, "and none left out: {seen:?}");
}

#[test]
fn words_that_wait_are_told_until_they_have_their_turn() {
    let mut world = World::with_model();
    let client = world.operator(Protocol::V4);
    for run in ["r1", "r2", "r3"] {
        world.ask(
            client,
            "chat.send",
            json!({"sessionKey": "main", "message": format!("words of {run}"), "idempotencyKey": run}),
        );
    }
    let params = json!({"sessionKey": "main", "inputRunIds": ["r1", "r2", "never"]});
    let page = world.ask(client, "chat.history", params);
    let pending = &page["pendingInputs"];
    assert_eq!(pending["total"], 2);
    assert_eq!(pending["items"][0]["runId"], "r2");
    assert_eq!(pending["items"][0]["state"], "queued");
    assert_eq!(pending["items"][1]["message"]["content"][0]["text"], "words of r3");
    let receipts = &page["inputReceipts"];
    assert_eq!(receipts[0]["state"], "consumed");
    assert_eq!(receipts[0]["consumedByEventId"], page["messages"][0]["__openclaw"]["id"]);
    assert_eq!(receipts[1], json!({"runId": "r2", "state": "pending"}));
    assert_eq!(receipts.as_array().map(Vec::len), Some(2));
    let before = world.ask(client, "chat.history", json!({"sessionKey": "main", "pendingBefore": 2}));
    assert_eq!(before["pendingInputs"]["items"].as_array().map(Vec::len), Some(1));
}
