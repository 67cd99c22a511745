//! Slow, silent, wrong and forbidden clients, and those beside them.

use std::time::Duration;

use serde_json::json;

use crate::clients::{Credential, Profile, Tongue};
use crate::provider::Model;
use crate::world::link::{Means, Message};
use crate::world::{Event, TOKEN, Turn, World, settings};

use super::{quick, slowly};

/// A world in which little may wait for a client.
fn narrow(seed: u64, model: Model) -> World {
    let mut settings = settings();
    settings.limits.v3.max_buffered = 8_192;
    settings.limits.v4.max_buffered = 8_192;
    World::with_settings(seed, settings).with_model(model)
}

#[test]
fn a_client_that_reads_nothing_is_closed_and_hurts_nobody() {
    let mut world = narrow(21, slowly(&"tide ".repeat(60)));
    let (desk, phone) = (world.operator("desk"), world.v3("phone"));

    world.stall(phone, true);
    let run = world.chat(desk, "what moves the sea?");
    world.run_until_ended(desk, &run);

    let code = world.watch.closes.iter().find(|(who, ..)| *who == phone).cloned();
    assert_eq!(code, Some((phone, 1008, "slow consumer".to_owned())));
    assert_eq!(world.finals_of(desk, &run), ["tide ".repeat(60).trim_end()]);
    let numbers: Vec<u64> = world.client(desk).heard.iter().filter_map(|heard| heard.seq).collect();
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "others miss nothing: {numbers:?}");
    world.finish();
}

#[test]
fn what_may_be_dropped_for_a_slow_reader_shows_as_a_gap() {
    let mut world = narrow(22, slowly("tide"));
    let (desk, slow) = (world.operator("desk"), world.v3("slow"));

    world.stall(slow, true);
    // Talk mode may be left out; nothing else is said meanwhile.
    for number in 0..200 {
        world.call(desk, "talk.mode", json!({"enabled": number % 2 == 0}));
    }
    world.stall(slow, false);
    world.run_for(Duration::from_secs(61));

    let numbers: Vec<u64> = world.client(slow).heard.iter().filter_map(|heard| heard.seq).collect();
    assert!(world.client(slow).is_live());
    assert!(numbers.windows(2).any(|pair| pair[1] > pair[0] + 1), "no gap in {numbers:?}");
    world.finish();
}

#[test]
fn a_large_answer_makes_nobody_a_slow_consumer() {
    let mut world = narrow(23, slowly("tide"));
    let desk = world.operator("desk");
    world.chat(desk, "what moves the sea?");
    world.settle();
    for number in 0..40 {
        let words = format!("{number} {}", "moon ".repeat(200));
        world.call(desk, "chat.inject", json!({"sessionKey": "main", "message": words}));
    }
    let mut slow = Profile::operator("slow", Tongue::V3, TOKEN);
    slow.manners.rate = Some(20_000);
    let slow = world.enter(slow);

    assert_eq!(world.history(slow, "main").len(), 42);
    assert!(world.client(slow).is_live());
    world.finish();
}

#[test]
fn a_client_that_says_nothing_is_closed_when_its_time_is_over() {
    let mut world = World::seeded(24);
    let mut silent = Profile::operator("silent", Tongue::V4, TOKEN);
    silent.manners.silent = true;
    let silent = world.join(silent);
    world.open(silent);

    world.run_for(Duration::from_secs(14));
    assert!(world.client(silent).ends.is_empty());
    world.run_for(Duration::from_secs(2));
    assert_eq!(world.client(silent).ends[0].code, 1000);
    world.finish();
}

#[test]
fn a_client_that_vanished_without_a_word_is_found_out() {
    let mut world = World::seeded(25);
    let phone = world.operator("phone");
    world.cut(phone, true);
    world.run_until("its connection is given up", |world| {
        world.machines().unwrap().switchboard().connections() == 0
    });
    assert!(world.time < Duration::from_secs(60));
    world.finish();
}

#[test]
fn wrong_tokens_are_limited_and_hurt_nobody_else() {
    let mut world = World::seeded(26);
    let desk = world.operator("desk");
    let guesser = Profile::operator("guesser", Tongue::V3, "a guess").at([203, 0, 113, 7]);
    let guesser = world.join(guesser);
    for _ in 0..12 {
        world.open(guesser);
        world.run_until("the guess is refused", |world| world.client(guesser).conn.is_none());
    }
    let reasons: Vec<&str> = world.client(guesser).ends.iter().map(|end| end.reason.as_str()).collect();
    assert!(reasons[0].contains("token mismatch"), "{reasons:?}");
    assert!(reasons[11].contains("too many failed"), "{reasons:?}");

    // Who shows no token guesses nothing.
    let mut forgetful = Profile::operator("forgetful", Tongue::V3, TOKEN).at([203, 0, 113, 9]);
    forgetful.credential = Credential::Nothing;
    let forgetful = world.join(forgetful);
    for _ in 0..12 {
        world.open(forgetful);
        world.run_until("it is refused", |world| world.client(forgetful).conn.is_none());
    }
    assert!(world.client(forgetful).ends.iter().all(|end| !end.reason.contains("too many failed")));

    // The right token from the same place waits too; from any other place it does not.
    let neighbour = world.join(Profile::operator("neighbour", Tongue::V3, TOKEN).at([203, 0, 113, 7]));
    world.open(neighbour);
    world.run_until("it is refused", |world| world.client(neighbour).conn.is_none());
    world.enter(Profile::operator("friend", Tongue::V3, TOKEN).at([203, 0, 113, 8]));
    assert!(world.call(desk, "health", json!({})).ok);
    world.run_for(Duration::from_secs(301));
    world.reconnect(neighbour);
    world.finish();
}

#[test]
fn nobody_hears_or_does_what_they_may_not() {
    let mut world = quick(27);
    let desk = world.operator("desk");
    let mut node = Profile::operator("node", Tongue::V3, TOKEN).with_device([7; 32]);
    (node.role, node.scopes) = ("node", None);
    let node = world.enter(node);
    let pairing =
        world.enter(Profile::operator("pairing", Tongue::V4, TOKEN).with_scopes(&["operator.pairing"]));
    let reader = world.enter(Profile::operator("reader", Tongue::V3, TOKEN).with_scopes(&["operator.read"]));

    let run = world.chat(desk, "what moves the sea?");
    world.run_until_ended(reader, &run);
    world.run_for(Duration::from_secs(61));

    for who in [node, pairing] {
        let heard = &world.client(who).heard;
        assert!(heard.iter().any(|heard| heard.event == "tick"));
        assert!(heard.iter().all(|heard| matches!(heard.event.as_str(), "tick" | "health")));
    }
    let send = || json!({"sessionKey": "main", "message": "x", "idempotencyKey": "k"});
    assert_eq!(world.call(reader, "chat.send", send()).message(), "missing scope: operator.write");
    let refused = world.call(pairing, "chat.send", send());
    assert_eq!((refused.code(), &refused.error["details"]["code"]), ("FORBIDDEN", &json!("MISSING_SCOPE")));
    assert_eq!(world.call(node, "chat.send", send()).message(), "unauthorized role: node");
    world.finish();
}

#[test]
fn a_frame_of_the_other_dialect_is_refused_and_the_connection_stays() {
    let mut world = World::seeded(28);
    let desk = world.plain("desk");
    let text = json!({"type": "req", "id": "n", "method": "health"}).to_string();
    world.say(desk, Message { text, means: Means::Mistake { id: "n".to_owned() } });
    world.settle();
    assert!(world.call(desk, "health", json!({})).ok);
    world.finish();
}

#[test]
fn a_storm_of_reconnects_passes() {
    let mut world = World::seeded(29);
    let mut crowd = Vec::new();
    for number in 0..120 {
        let mut profile = Profile::operator(&format!("client {number}"), Tongue::V4, TOKEN);
        profile.manners.returns = true;
        profile.manners.listens = false;
        crowd.push(world.join(profile));
    }
    for who in &crowd {
        world.after(Duration::ZERO, Event::Return(*who));
    }
    // Only so many unauthenticated sockets of one address at a time: the rest is sent away and comes back.
    world.run_until("everybody is in", |world| crowd.iter().all(|who| world.client(*who).is_live()));
    world.crash();
    world.start();
    world.run_until("everybody is back", |world| crowd.iter().all(|who| world.client(*who).is_live()));
    assert_eq!(world.turn(), Turn::Done);
    world.finish();
}

#[test]
fn a_jump_of_the_wall_clock_disturbs_no_deadline() {
    let mut world = World::seeded(30);
    let desk = world.operator("desk");
    let ticks = |world: &World| world.client(desk).heard.iter().filter(|heard| heard.event == "tick").count();
    for jump in [-3_600_000_000, 7_200_000_000, -1] {
        let before = ticks(&world);
        world.wall_error += jump;
        world.run_for(Duration::from_secs(300));
        // The adapter may wake up late, so the last one may fall behind the end.
        assert!(matches!(ticks(&world) - before, 9..=11));
    }
    assert!(world.client(desk).is_live());
    world.finish();
}
