//! The world itself: what it makes of bodies, streams and processes. The gateway's part is played by hand.

use std::collections::BTreeMap;
use std::time::Duration;

use telson_core::gateway::Output;
use telson_core::http::HttpResponse;
use telson_core::process::ProcessSpec;
use telson_core::{HttpId, ProcessId};

use crate::world::World;
use crate::world::programs::{Program, Reply};
use crate::world::web::{Sends, Stage, Visit};

use super::quick;

/// How often the gateway was told something.
fn told(world: &World, words: &str) -> usize {
    world.trace.tail().lines().filter(|line| line.contains("-> ") && line.contains(words)).count()
}

fn does(world: &mut World, output: Output) {
    world.perform(telson_core::Output::Gateway(output));
}

fn begins(world: &mut World, id: HttpId) {
    does(world, Output::RespondHead { id, head: HttpResponse::events() });
}

fn says(world: &mut World, id: HttpId, chunk: &'static str) {
    does(world, Output::RespondChunk { id, chunk: chunk.into() });
}

#[test]
fn a_probe_is_answered_whole() {
    let mut world = quick(61);
    world.run_until("the gateway serves", World::is_serving);
    let answer = world.fetch(Visit::get("/healthz"));
    assert_eq!((answer.status, answer.text().as_str()), (200, r#"{"ok":true,"status":"live"}"#));
    world.finish();
}

#[test]
fn a_body_comes_in_its_own_time_or_not_at_all() {
    for (sends, limit, heard) in [
        (Sends::Whole, 10, "Ok(b\"tide\")"),
        (Sends::Whole, 3, "Err(TooLarge)"),
        (Sends::Stalls, 10, "Err(Timeout)"),
        (Sends::Nonsense, 10, "Err(Broken)"),
        (Sends::BreaksOff, 10, "HttpGone"),
    ] {
        let mut world = quick(62);
        world.run_until("the gateway serves", World::is_serving);
        let id = world.await_answer(Visit::post("/p", "tide").that(sends));
        does(&mut world, Output::ReadBody { id, limit });
        world.run_for(Duration::from_secs(40));
        assert_eq!(told(&world, heard), 1, "{sends:?}: {}", world.trace.tail());
        if sends != Sends::BreaksOff {
            does(&mut world, Output::Respond { id, response: HttpResponse::text(200, "moon") });
            assert_eq!(world.exchange(id).text(), "moon");
        }
        world.finish();
    }
}

#[test]
fn a_client_may_leave_at_any_step_and_is_gone_once() {
    for steps in 0..5 {
        let mut world = quick(63);
        world.run_until("the gateway serves", World::is_serving);
        let id = world.await_answer(Visit::post("/p", "tide").leaving_after(steps));
        does(&mut world, Output::ReadBody { id, limit: 10 });
        begins(&mut world, id);
        says(&mut world, id, "tide ");
        says(&mut world, id, "moon");
        does(&mut world, Output::RespondEnd { id });
        world.run_for(Duration::from_secs(1));
        let exchange = world.exchange(id);
        if steps == 0 || steps == 1 {
            assert_eq!((exchange.stage, exchange.text().as_str()), (Stage::Lost, ""));
        } else {
            assert!(exchange.text().len() <= 9, "{steps}");
        }
        assert_eq!(told(&world, "HttpGone"), 1, "{steps}: {}", world.trace.tail());
        world.finish();
    }
}

#[test]
fn who_has_the_whole_stream_is_not_gone() {
    let mut world = quick(64);
    world.run_until("the gateway serves", World::is_serving);
    let id = world.await_answer(Visit::get("/stream"));
    begins(&mut world, id);
    says(&mut world, id, "tide ");
    says(&mut world, id, "moon");
    does(&mut world, Output::RespondEnd { id });
    world.leave(id);
    world.run_for(Duration::from_secs(1));
    let exchange = world.exchange(id);
    assert_eq!((exchange.stage, exchange.text().as_str()), (Stage::Complete, "tide moon"));
    assert_eq!(told(&world, "HttpGone"), 0);
    world.finish();
}

#[test]
#[should_panic(expected = "is answered twice")]
fn a_second_answer_breaks_a_promise() {
    let mut world = quick(65);
    let id = world.await_answer(Visit::get("/x"));
    for _ in 0..2 {
        does(&mut world, Output::Respond { id, response: HttpResponse::text(200, "moon") });
    }
}

fn start(world: &mut World, id: u64, program: &str) -> ProcessId {
    let spec = ProcessSpec { program: program.to_owned(), args: Vec::new(), env: BTreeMap::new(), cwd: None };
    does(world, Output::Spawn { id: ProcessId(id), spec });
    ProcessId(id)
}

fn write(world: &mut World, id: ProcessId, line: &str) {
    does(world, Output::WriteLine { id, line: line.to_owned() });
}

#[test]
fn a_program_answers_line_by_line_and_may_crash() {
    let mut world = quick(66);
    let program = Program::echo().greeting(Reply::line("ready").complaining("warming up")).crashing_at(1);
    world.programs.installed.insert("tool".to_owned(), program);
    let id = start(&mut world, 1, "tool");
    for line in ["tide", "moon", "never read"] {
        write(&mut world, id, line);
    }
    world.run_for(Duration::from_secs(2));
    for event in [
        r#"Stdout("ready")"#,
        r#"Stderr("warming up")"#,
        r#"Stdout("tide")"#,
        r#"Exited("signal: 11 (SIGSEGV)")"#,
    ] {
        assert_eq!(told(&world, event), 1, "{event}: {}", world.trace.tail());
    }
    assert_eq!((told(&world, r#"Stdout("moon")"#), world.programs.running()), (0, 0));
    assert_eq!(world.programs.written.len(), 2);
    world.finish();
}

#[test]
fn a_killed_program_is_silent_and_a_missing_one_is_named() {
    let mut world = quick(67);
    world.programs.installed.insert("tool".to_owned(), Program::echo());
    let id = start(&mut world, 1, "tool");
    write(&mut world, id, "tide");
    does(&mut world, Output::Kill { id });
    write(&mut world, id, "too late");
    start(&mut world, 2, "nowhere");
    world.run_for(Duration::from_secs(2));
    assert_eq!((told(&world, "Stdout"), told(&world, "cannot start nowhere")), (0, 1));
    assert_eq!(world.programs.running(), 0);
    world.finish();
}

#[test]
fn the_same_seed_gives_the_same_bytes_with_bodies_and_programs() {
    let digest = |seed| {
        let mut world = quick(seed);
        world.programs.installed.insert("tool".to_owned(), Program::echo());
        world.run_until("the gateway serves", World::is_serving);
        let tool = start(&mut world, 1, "tool");
        let id = world.await_answer(Visit::post("/p", "tide").leaving_after(3));
        does(&mut world, Output::ReadBody { id, limit: 10 });
        write(&mut world, tool, "moon");
        begins(&mut world, id);
        says(&mut world, id, "moon");
        world.run_for(Duration::from_secs(5));
        world.trace.digest()
    };
    assert_eq!(digest(68), digest(68));
    assert_ne!(digest(68), digest(69));
}
