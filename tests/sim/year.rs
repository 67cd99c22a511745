//! A year of gateway life: hundreds of clients that come, say something and go, crashes, restarts and clocks
//! that are set. Memory must not grow with time, and nothing may be owed at the end.
//!
//! Ten days by default; `TELSON_SIM_LONG=1` makes it a year.

use std::time::Duration;

use serde_json::json;
use telson_core::settings::ModelRef;

use crate::clients::{Profile, State, Tongue, Who};
use crate::world::verbs::send;
use crate::world::{Event, TOKEN, Turn, World, settings};

const DAY: Duration = Duration::from_secs(86_400);
const CLIENTS: usize = 300;

/// Somebody comes and goes at times of their own.
fn next_visit(world: &mut World, who: Who) {
    let wait = world.dice.millis(60_000, 2 * 86_400_000 * 10);
    world.after(wait, Event::Act(who));
}

/// A visit: in, a word, a look, and out again.
fn visit(world: &mut World, who: Who) {
    match world.client(who).state {
        State::Away => {
            world.open(who);
            world.after(Duration::from_secs(1), Event::Act(who));
        }
        State::Live if world.client(who).asked.is_empty() => {
            let (words, key) = (format!("visit of {who:?}"), world.new_key());
            world.ask(who, "chat.send", send(&format!("room {}", who.0 % 20), &words, &key));
            world.ask(who, "sessions.list", json!({"limit": 5}));
            world.after(Duration::from_secs(20), Event::Act(who));
        }
        State::Opening | State::Connecting | State::Live => {
            world.hang_up(who);
            world.clients[who.0].asked.clear();
            world.clients[who.0].heard.clear();
            world.clients[who.0].ends.clear();
            next_visit(world, who);
        }
    }
}

/// What happens to the gateway of its own about once in three days.
fn mishap(world: &mut World) {
    match world.dice.below(4) {
        0 => world.crash(),
        1 if world.is_serving() => world.stop("update"),
        2 => world.wall_error += 3_600_000 - i64::try_from(world.dice.below(7_200_000)).unwrap(),
        _ => world.http("/healthz"),
    }
    world.after(Duration::from_secs(10), Event::Fate(1));
    let next = world.dice.millis(3_600_000, 6 * 86_400_000);
    world.after(next, Event::Fate(0));
}

fn live_through(days: u32) -> String {
    let mut settings = settings();
    settings.agents.model = ModelRef::echo();
    let mut world = World::with_settings(365, settings);
    for number in 0..CLIENTS {
        let tongue = [Tongue::V3, Tongue::V4, Tongue::Plain][number % 3];
        let who = world.join(Profile::operator(&format!("client {number}"), tongue, TOKEN));
        next_visit(&mut world, who);
    }
    world.after(DAY, Event::Fate(0));
    while world.time < DAY * days {
        match world.turn() {
            Turn::Done => {}
            Turn::Act(who) => visit(&mut world, who),
            Turn::Fate(0) => mishap(&mut world),
            Turn::Fate(_) => world.start(),
        }
    }
    world.start();
    world.settle();
    // Longer than an answer is remembered, with room for a clock that was set back.
    world.run_for(2 * Duration::from_secs(3_600));
    assert_eq!(world.disk.answers(), 0, "recorded answers are never forgotten");
    let runs = world.disk.ever.opened.len();
    assert!(runs > CLIENTS * days as usize / 20, "only {runs} runs in {days} days");
    assert!(world.life > 1);
    world.finish();
    world.trace.digest()
}

#[test]
fn a_long_time_passes() {
    let long = std::env::var("TELSON_SIM_LONG").is_ok_and(|value| value == "1");
    live_through(if long { 365 } else { 10 });
}

#[test]
fn the_same_week_comes_twice() {
    assert_eq!(live_through(7), live_through(7));
}
