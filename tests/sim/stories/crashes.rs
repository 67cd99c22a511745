//! Crashes, restarts and disks that are full.

use std::time::Duration;

use serde_json::json;
use telson_core::store::StoreError;

use crate::clients::{Credential, Profile, State, Tongue, Who};
use crate::provider::Model;
use crate::world::verbs::send;
use crate::world::{TOKEN, World};

use super::{quick, slowly};

const WORDS: &str = "what moves the sea?";

/// A world in which somebody is about to say something.
fn about_to_speak(tongue: Tongue) -> (World, Who) {
    let mut world = quick(51);
    let mut profile = Profile::operator("desk", tongue, TOKEN);
    profile.manners.returns = true;
    let desk = world.enter(profile);
    (world, desk)
}

/// Whether the message was acknowledged before anything else happened.
fn acknowledged(world: &World, who: Who, id: &str) -> bool {
    world.client(who).asked[id].answers.first().is_some_and(|answer| answer.ok)
}

/// How many operations one message takes, from asking to the end.
fn operations(method: &str, tongue: Tongue) -> u64 {
    let (mut world, desk) = about_to_speak(tongue);
    let before = world.operations;
    world.ask(desk, method, send("main", WORDS, "a key"));
    world.run_until_ended(desk, &"a key".to_owned());
    world.settle();
    world.operations - before
}

/// The process dies at one operation of a message; the client comes back and says it again.
fn dies_at(method: &str, tongue: Tongue, operation: u64) {
    let (mut world, desk) = about_to_speak(tongue);
    let at = format!("{method} of {tongue:?}, operation {operation}");
    world.dies_at = Some(world.operations + operation);
    let id = world.ask(desk, method, send("main", WORDS, "a key"));
    world.run_until("the process dies", |world| !world.is_up());
    let promised = acknowledged(&world, desk, &id);
    world.start();
    world.run_until("the client is back", |world| world.client(desk).is_live());
    let times = |history: &[(String, String)]| history.iter().filter(|(_, text)| text == WORDS).count();
    let kept = times(&world.history(desk, "main"));
    assert!(kept == 1 || !promised, "{at}: acknowledged, and there {kept} times");

    let id = world.ask(desk, method, send("main", WORDS, "a key"));
    world.answer(desk, &id);
    world.settle();
    let history = world.history(desk, "main");
    assert_eq!(times(&history), 1, "{at}: {history:?}");
    assert!(world.disk.ever.opened.values().all(|times| *times == 1), "{at}: begun twice");
    world.finish();
}

#[test]
fn a_crash_at_any_operation_of_a_message_keeps_the_promise() {
    for (method, tongue) in [("chat.send", Tongue::V4), ("chat.send", Tongue::Plain), ("agent", Tongue::V3)] {
        let all = operations(method, tongue);
        assert!(all > 10, "{all}");
        for operation in 1..=all {
            dies_at(method, tongue, operation);
        }
    }
}

#[test]
fn a_key_is_known_after_a_restart() {
    let mut world = quick(52);
    let desk = world.v3("desk");
    let again = send("main", WORDS, "a key");
    assert_eq!(world.call(desk, "chat.send", again.clone()).payload["status"], "started");
    world.run_until_ended(desk, &"a key".to_owned());

    world.crash();
    world.start();
    world.reconnect(desk);
    let answer = world.call(desk, "chat.send", again);
    assert_eq!((answer.ok, &answer.payload["status"]), (true, &json!("ok")));
    let other = world.call(desk, "chat.send", send("main", "other words", "a key"));
    assert_eq!(other.error["details"]["reason"], "chat-request-conflict");
    assert_eq!(world.provider.asked.len(), 1);
    world.finish();
}

#[test]
fn a_run_that_the_crash_ended_is_known_as_ended() {
    let mut world = World::seeded(53).with_model(slowly("one two three four five"));
    let desk = world.operator("desk");
    let run = world.chat(desk, WORDS);
    world.run_until("a part is heard", |world| world.chat_events(desk, &run).next().is_some());

    world.crash();
    world.start();
    world.reconnect(desk);
    let answer = world.call(desk, "chat.send", send("main", WORDS, &run));
    assert_ne!(answer.payload["status"], "started");
    assert_ne!(answer.payload["status"], "in_flight");
    assert_eq!(world.disk.open_runs(), 0);
    let list = world.call(desk, "sessions.list", json!({}));
    assert_eq!(list.payload["sessions"][0]["abortedLastRun"], true, "{:?}", list.payload);
    let next = world.chat(desk, "and the wind?");
    world.run_until_ended(desk, &next);
    world.finish();
}

#[test]
fn an_orderly_stop_ends_open_runs_before_it_says_good_bye() {
    let mut world = World::seeded(54).with_model(slowly("one two three four five"));
    let (desk, plain) = (world.operator("desk"), world.plain("plain"));
    let run = world.chat(desk, WORDS);
    let id = world.ask(plain, "agent.wait", json!({"runId": run, "timeoutMs": 60_000}));
    world.run_until("a part is heard", |world| world.chat_events(plain, &run).next().is_some());

    world.stop("gateway restarting");
    world.run_until("the process ends", |world| !world.is_up());

    for who in [desk, plain] {
        assert_eq!(world.ends_of(who, &run)[0].0, "aborted");
        let last = world.client(who).heard.last().unwrap();
        assert_eq!((last.event.as_str(), &last.payload["restartExpectedMs"]), ("shutdown", &json!(1_500)));
        assert_eq!(world.client(who).ends[0].code, 1012);
    }
    assert_eq!(world.client(plain).asked[&id].answers.len(), 1, "who waited was answered");
    assert_eq!(world.disk.open_runs(), 0);
    world.start();
    world.reconnect(desk);
    world.finish();
}

#[test]
fn who_asks_twice_for_a_stop_gets_one() {
    let mut world = World::seeded(60).with_model(slowly("one two three four five"));
    let desk = world.operator("desk");
    world.chat(desk, WORDS);
    world.stop("gateway stopping");
    world.stop("gateway stopping");
    world.run_until("everybody is told", |world| world.client(desk).conn.is_none());
    world.stop("gateway stopping");
    world.run_until("the process ends", |world| !world.is_up());
    let goodbyes = world.client(desk).heard.iter().filter(|heard| heard.event == "shutdown").count();
    assert_eq!(goodbyes, 1);

    // Before it has read what it kept, it ends as well.
    world.start();
    world.stop("gateway stopping");
    world.run_until("the process ends", |world| !world.is_up());
    world.start();
    world.reconnect(desk);
    assert_eq!(world.disk.open_runs(), 0);
    world.finish();
}

#[test]
fn a_gateway_that_stops_takes_no_new_work() {
    let mut world = World::seeded(55).with_model(Model::Stalls);
    world.disk_pace = (200, 400);
    let desk = world.operator("desk");
    world.chat(desk, WORDS);
    world.stop("gateway stopping");
    let answer = world.call(desk, "chat.send", send("main", "too late", "late"));
    assert_eq!((answer.code(), &answer.error["retryable"]), ("UNAVAILABLE", &json!(true)));
    world.run_until("the process ends", |world| !world.is_up());
    world.start();
    world.reconnect(desk);
    world.finish();
}

#[test]
fn a_full_disk_refuses_and_forgets_nothing() {
    for (error, word) in [(StoreError::Full, "full"), (StoreError::ReadOnly, "read-only")] {
        let mut world = quick(56);
        let desk = world.operator("desk");
        world.call(desk, "sessions.patch", json!({"key": "main", "label": "the sea"}));
        world.disk.fault = Some(error);
        let refused = world.call(desk, "chat.send", send("main", WORDS, "a key"));
        assert!(!refused.ok && refused.message().contains(word), "{refused:?}");
        assert_eq!(refused.error["retryable"], true);
        let refused = world.call(desk, "sessions.patch", json!({"key": "main", "label": "the moon"}));
        assert!(!refused.ok, "{refused:?}");

        world.disk.fault = None;
        let list = world.call(desk, "sessions.list", json!({}));
        assert_eq!(list.payload["sessions"][0]["label"], "the sea", "what was refused has not happened");
        assert_eq!(world.call(desk, "chat.send", send("main", WORDS, "a key")).payload["status"], "started");
        world.run_until_ended(desk, &"a key".to_owned());
        world.finish();
    }
}

#[test]
fn a_disk_that_fills_up_during_a_run_does_not_leave_it_open() {
    let mut world = World::seeded(57).with_model(slowly("one two three"));
    let desk = world.operator("desk");
    let run = world.chat(desk, WORDS);
    world.disk.fault = Some(StoreError::Full);
    world.run_until_ended(desk, &run);
    assert_ne!(world.ends_of(desk, &run)[0].0, "final", "a final that is not kept is no final");
    world.disk.fault = None;
    let next = world.chat(desk, "and the wind?");
    world.run_until_ended(desk, &next);
    world.finish();
}

#[test]
fn a_device_that_was_paired_stays_paired() {
    let mut world = World::seeded(58);
    let mut profile = Profile::operator("laptop", Tongue::V3, TOKEN).with_device([9; 32]);
    profile.credential = Credential::DeviceToken(TOKEN.to_owned());
    let laptop = world.enter(profile);
    assert!(world.client(laptop).device_token.is_some());

    world.crash();
    world.start();
    // From now on it shows the token of its own, and no other.
    world.clients[laptop.0].profile.credential = Credential::DeviceToken(String::new());
    world.reconnect(laptop);
    assert_eq!(world.client(laptop).state, State::Live);
    assert!(world.call(laptop, "health", json!({})).ok);
    world.finish();
}

#[test]
fn a_slow_disk_delays_answers_and_breaks_nothing() {
    let mut world = quick(59);
    world.disk_pace = (500, 3_000);
    let (desk, phone) = (world.operator("desk"), world.plain("phone"));
    let ids: Vec<String> = (0..5)
        .map(|number| {
            world.ask(desk, "chat.send", send("main", &format!("question {number}"), &format!("k{number}")))
        })
        .collect();
    // Reading is not held up by writing.
    assert!(world.call(phone, "health", json!({})).ok);
    assert!(world.client(desk).asked.values().all(|asked| asked.answers.is_empty()));
    for id in ids {
        assert_eq!(world.answer(desk, &id).payload["status"], "started");
    }
    world.run_for(Duration::from_secs(120));
    for number in 0..5 {
        assert_eq!(world.ends_of(phone, &format!("k{number}")).len(), 1);
    }
    world.finish();
}
