//! Runs and those who listen to them.

use std::time::Duration;

use serde_json::json;

use crate::clients::{Profile, Tongue};
use crate::provider::Model;
use crate::world::verbs::send;
use crate::world::{TOKEN, World};

use super::{quick, slowly};

#[test]
fn a_run_outlives_the_client_that_asked_for_it() {
    let mut world = World::seeded(41).with_model(slowly("tide and moon"));
    let phone = world.operator("phone");
    let desk = world.plain("desk");

    let run = world.chat(phone, "what moves the sea?");
    world.cut(phone, false);
    world.run_until_ended(desk, &run);

    assert_eq!(world.finals_of(desk, &run), ["tide and moon"]);
    world.reconnect(phone);
    assert_eq!(world.history(phone, "main").last().unwrap().1, "tide and moon");
    world.finish();
}

#[test]
fn all_three_dialects_hear_the_same_run_in_their_own_shapes() {
    let mut world = World::seeded(7).with_model(slowly("one two three four"));
    let (old, new, plain) = (world.v3("old"), world.operator("new"), world.plain("plain"));

    let run = world.chat(old, "count");
    world.run_until_ended(new, &run);
    world.run_for(Duration::from_secs(1));

    for who in [old, new, plain] {
        assert_eq!(world.finals_of(who, &run), ["one two three four"]);
    }
    let deltas = |who| -> Vec<_> {
        let all = world.chat_events(who, &run).filter(|heard| heard.payload["state"] == "delta");
        all.map(|heard| heard.payload.clone()).collect()
    };
    assert!(deltas(old).iter().all(|delta| delta.get("deltaText").is_none()));
    let spoken: String = deltas(new).iter().map(|delta| delta["deltaText"].as_str().unwrap()).collect();
    assert_eq!(spoken, "one two three four");
    assert_eq!(deltas(plain).len(), deltas(old).len());
    // The session is called `main` by whom who called it so, and by its canonical key by all others.
    let key = |who| world.chat_events(who, &run).next().unwrap().payload["sessionKey"].clone();
    assert_eq!(
        (key(old), key(new), key(plain)),
        (json!("main"), json!("agent:main:main"), json!("agent:main:main"))
    );
    world.finish();
}

#[test]
fn an_abort_ends_a_run_at_once_and_keeps_what_was_said() {
    let mut world = World::seeded(11).with_model(slowly("one two three four five six seven eight"));
    let (phone, desk) = (world.operator("phone"), world.v3("desk"));

    let run = world.chat(phone, "count");
    let heard = |world: &World| world.chat_events(desk, &run).count() >= 2;
    world.run_until("a part is heard", heard);
    let answer = world.call(desk, "chat.abort", json!({"sessionKey": "main", "runId": run}));
    assert_eq!(answer.payload["aborted"], true);

    world.run_until_ended(phone, &run);
    assert_eq!(world.ends_of(phone, &run)[0].0, "aborted");
    let waited = world.call(desk, "agent.wait", json!({"runId": run}));
    assert_eq!((&waited.payload["status"], &waited.payload["error"]), (&json!("error"), &json!("aborted")));
    let history = world.history(desk, "main");
    let (role, text) = history.last().unwrap();
    assert!(role == "assistant" && text.starts_with("one") && !text.contains("eight"), "{history:?}");
    world.finish();
}

#[test]
fn two_messages_to_one_session_are_answered_one_after_the_other() {
    let mut world = World::seeded(12).with_model(slowly("first come first served"));
    let phone = world.operator("phone");

    let first = world.chat(phone, "the first question");
    let second = world.chat(phone, "the second question");
    world.run_until_ended(phone, &first);
    assert!(world.ends_of(phone, &second).is_empty(), "the second waits for the first");
    world.run_until_ended(phone, &second);

    assert_eq!(world.finals_of(phone, &second), ["first come first served"]);
    let said: Vec<String> = world.history(phone, "main").into_iter().map(|(role, _)| role).collect();
    assert_eq!(said.iter().filter(|role| *role == "user").count(), 2, "{said:?}");
    assert_eq!(world.provider.asked.len(), 2);
    world.finish();
}

#[test]
fn a_session_does_not_wait_for_another_one() {
    let mut world = World::seeded(13);
    world.provider.script = [Model::Stalls, Model::says("at once", Duration::ZERO)].into();
    let phone = world.operator("phone");

    let stuck = world.chat(phone, "is anybody there?");
    let answer = world.call(phone, "chat.send", send("garden", "and there?", "a key"));
    assert_eq!(answer.payload["status"], "started");
    world.run_until_ended(phone, &"a key".to_owned());

    assert!(world.ends_of(phone, &stuck).is_empty());
    world.call(phone, "chat.abort", json!({"sessionKey": "main"}));
    world.finish();
}

#[test]
fn a_key_that_comes_again_starts_nothing() {
    let mut world = World::seeded(14).with_model(slowly("tide and moon"));
    let (phone, desk) = (world.operator("phone"), world.plain("desk"));
    let again = send("main", "what moves the sea?", "a key");

    assert_eq!(world.call(phone, "chat.send", again.clone()).payload["status"], "started");
    assert_eq!(world.call(desk, "chat.send", again.clone()).payload["status"], "in_flight");
    world.run_until_ended(desk, &"a key".to_owned());
    assert_eq!(world.call(desk, "chat.send", again).payload["status"], "ok");
    let other = world.call(desk, "chat.send", send("main", "and the wind?", "a key"));
    assert_eq!(other.error["details"]["reason"], "chat-request-conflict");

    assert_eq!(world.provider.asked.len(), 1);
    world.finish();
}

#[test]
fn agent_answers_twice_and_plain_clients_once() {
    let mut world = quick(15);
    let (desk, plain) = (world.v3("desk"), world.plain("plain"));

    for (who, key) in [(desk, "one"), (plain, "two")] {
        let id = world.ask(who, "agent", send("main", "what moves the sea?", key));
        assert_eq!(world.answer(who, &id).payload["status"], "accepted");
        world.run_until_ended(who, &key.to_owned());
        world.run_for(Duration::from_secs(1));
        let answers = &world.client(who).asked[&id].answers;
        if who == plain {
            assert_eq!(answers.len(), 1);
        } else {
            assert_eq!(answers[1].payload["result"]["payloads"][0]["text"], "tide and moon");
        }
    }
    world.finish();
}

#[test]
fn what_goes_wrong_at_the_model_is_said_as_an_error() {
    let broken = [
        Model::refuses(500, "the tide is out"),
        Model::Refuses { status: 429, retry_after: Some(7), message: "the tide is out".to_owned() },
        Model::BreaksOff { text: "tide and".to_owned() },
        Model::HalfJson { text: "tide and".to_owned() },
        Model::Unreachable,
        Model::Stalls,
    ];
    for (seed, model) in broken.into_iter().enumerate() {
        let told = format!("{model:?}");
        let mut world = World::seeded(seed as u64).with_model(model);
        let desk = world.operator("desk");
        let run = world.chat(desk, "what moves the sea?");
        world.run_until_ended(desk, &run);
        assert_eq!(world.ends_of(desk, &run)[0].0, "error", "{told}");
        let end = world.chat_events(desk, &run).last().unwrap().payload.clone();
        assert!(end["errorMessage"].as_str().is_some_and(|text| !text.is_empty()), "{told}: {end}");
        if told.contains("the tide is out") {
            assert!(end["errorMessage"].as_str().unwrap().contains("the tide is out"), "{end}");
        }
        world.finish();
    }
}

#[test]
fn the_built_in_model_needs_no_server() {
    let mut settings = crate::world::settings();
    settings.agents.model = telson_core::settings::ModelRef::echo();
    settings.providers.clear();
    let mut world = World::with_settings(16, settings);
    let desk = world.enter(Profile::operator("desk", Tongue::Plain, TOKEN));

    let run = world.chat(desk, "tide and moon");
    world.run_until_ended(desk, &run);
    assert!(world.finals_of(desk, &run)[0].contains("tide and moon"));
    assert!(world.provider.asked.is_empty());
    world.finish();
}
