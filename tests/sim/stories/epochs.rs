//! The token changes while handshakes, requests and streams are under way (spec 08 S-11, S-12).

use std::time::Duration;

use serde_json::json;

use crate::clients::{Profile, Tongue, Who};
use crate::world::verbs::send;
use crate::world::web::{Stage, Visit};
use crate::world::{TOKEN, World, settings};

use super::slowly;

const NEW: &str = "the token of the next world";
const WORDS: &str = "what moves the sea?";

/// A world in which much is under way: an answer that streams to several, requests, a device whose row is being
/// written, clients on their way in, a request by HTTP that streams and one whose body is on its way.
struct Scene {
    world: World,
    inside: [Who; 3],
    coming: [Who; 2],
}

fn ask() -> Visit {
    let body = json!({"model": "openclaw", "stream": true, "messages": [{"role": "user", "content": WORDS}]});
    Visit::post("/v1/chat/completions", body.to_string()).with_token(TOKEN)
}

fn busy(seed: u64) -> Scene {
    let mut settings = settings();
    settings.api.chat.enabled = true;
    let mut world = World::with_settings(seed, settings).with_model(slowly(&"tide ".repeat(40)));
    world.disk_pace = (5, 60);
    let inside = [world.operator("desk"), world.v3("phone"), world.plain("panel")];
    world.chat(inside[0], WORDS);
    world.visit(ask());
    world.run_for(Duration::from_millis(900));
    for who in inside {
        world.ask(who, "chat.history", json!({"sessionKey": "main"}));
    }
    world.ask(inside[1], "chat.send", send("other", WORDS, "another key"));
    let device = Profile::operator("watch", Tongue::V4, TOKEN).with_device([9; 32]);
    let coming = [device, Profile::operator("late", Tongue::Plain, TOKEN)].map(|profile| world.join(profile));
    coming.into_iter().for_each(|who| world.open(who));
    world.visit(ask());
    Scene { world, inside, coming }
}

/// Nobody of the old token is there, and the new one opens the gateway.
fn all_is_new(scene: Scene) {
    let Scene { mut world, inside, coming } = scene;
    world.run_until("the process serves", World::is_serving);
    world.run_for(Duration::from_secs(2));
    for who in inside.into_iter().chain(coming) {
        assert!(!world.client(who).is_live(), "seed {}", world.seed);
        world.open(who);
        world.run_for(Duration::from_secs(6));
        assert!(!world.client(who).is_live(), "the old token opens nothing");
    }
    let status = world.fetch(ask()).status;
    assert_eq!(status, 401);
    let fresh = world.enter(Profile::operator("fresh", Tongue::V4, NEW));
    assert!(world.call(fresh, "health", json!({})).ok);
    world.finish();
}

/// How many operations the scene takes until it has come to rest.
fn operations(seed: u64) -> u64 {
    let mut world = busy(seed).world;
    let before = world.operations;
    world.run_for(Duration::from_millis(400));
    world.operations - before
}

/// Lets the scene go on for so many operations.
fn after(scene: &mut Scene, operations: u64) {
    let until = scene.world.operations + operations;
    while scene.world.operations < until {
        scene.world.turn();
    }
}

#[test]
fn whatever_is_under_way_when_the_token_changes_ends_there() {
    let all = operations(71);
    assert!(all > 30, "{all}");
    for operation in 0..all {
        let mut scene = busy(71);
        after(&mut scene, operation);
        scene.world.rotate(NEW);
        all_is_new(scene);
    }
}

#[test]
fn a_crash_while_the_token_changes_brings_the_old_one_back_to_nobody() {
    for operation in 0..24 {
        let mut scene = busy(72);
        after(&mut scene, 10);
        scene.world.dies_at = Some(scene.world.operations + 1 + operation);
        scene.world.rotate(NEW);
        scene.world.run_until("the process dies", |world| !world.is_up());
        scene.world.start();
        all_is_new(scene);
    }
}

#[test]
fn clients_that_come_back_by_themselves_are_not_let_in_again() {
    let mut scene = busy(73);
    for who in scene.inside {
        scene.world.clients[who.0].profile.manners.returns = true;
    }
    scene.world.rotate(NEW);
    scene.world.run_for(Duration::from_secs(30));
    for who in scene.inside {
        let client = scene.world.client(who);
        assert!(!client.is_live() && client.ends.len() > 1, "{:?}", client.ends);
        assert_eq!((client.ends[0].code, client.ends[0].reason.as_str()), (4001, "gateway auth changed"));
        scene.world.clients[who.0].profile.manners.returns = false;
    }
    scene.world.run_for(Duration::from_secs(10));
    all_is_new(scene);
}

#[test]
fn a_stream_by_http_ends_in_the_middle_of_an_answer() {
    let mut scene = busy(74);
    let id = scene.world.visit(ask());
    scene.world.run_until("the answer streams", |world| world.exchange(id).text().contains("tide"));
    scene.world.rotate(NEW);
    assert_eq!(scene.world.exchange(id).stage, Stage::Complete);
    let heard = scene.world.exchange(id).text();
    scene.world.run_for(Duration::from_secs(20));
    assert_eq!(scene.world.exchange(id).text(), heard, "nothing more");
    assert!(!heard.contains("[DONE]"));
    all_is_new(scene);
}
