//! Processes as the machines ask for them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use telson_core::ProcessId;
use telson_core::gateway::{Input, Output};
use telson_core::process::{MAX_LINE_BYTES, ProcessEvent, ProcessSpec};
use telson_host::runtime::Runtime;

use super::stage::{Hasty, Stage};

const ONE: ProcessId = ProcessId(1);

fn spec(program: &str, args: &[&str]) -> ProcessSpec {
    ProcessSpec {
        program: program.to_owned(),
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        env: BTreeMap::new(),
        cwd: None,
    }
}

fn shell(stage: &Stage, script: &str) {
    stage.order(Output::Spawn { id: ONE, spec: spec("/bin/sh", &["-c", script]) });
}

fn moves(stage: &Stage) -> ProcessEvent {
    match stage.hears() {
        Input::Process { id: ONE, event } => event,
        other => panic!("{other:?} instead of a process"),
    }
}

/// Everything up to the end.
fn all(stage: &Stage) -> Vec<ProcessEvent> {
    let mut all = Vec::new();
    loop {
        all.push(moves(stage));
        if let Some(ProcessEvent::Exited(_) | ProcessEvent::Failed(_)) = all.last() {
            return all;
        }
    }
}

fn out(text: &str) -> ProcessEvent {
    ProcessEvent::Stdout(text.to_owned())
}

fn exited(text: &str) -> ProcessEvent {
    ProcessEvent::Exited(text.to_owned())
}

/// Waits until a process is dead, buried or not.
fn dies(id: &str) {
    let late = Instant::now() + Duration::from_secs(20);
    loop {
        match std::fs::read_to_string(format!("/proc/{id}/stat")) {
            Err(_) => return,
            Ok(stat) if stat.contains(") Z ") => return,
            Ok(stat) => assert!(Instant::now() < late, "still alive: {stat}"),
        }
        std::thread::yield_now();
    }
}

pub fn lines_go_in_and_come_back<R: Runtime>(runtime: &R) {
    let stage = Stage::start(runtime);
    stage.order(Output::Spawn { id: ONE, spec: spec("/bin/cat", &[]) });
    for line in ["tide", "", "moon \u{1f315}", &"x".repeat(1_000_000)] {
        stage.order(Output::WriteLine { id: ONE, line: line.to_owned() });
        assert_eq!(moves(&stage), out(line));
    }
    stage.order(Output::Kill { id: ONE });
    stage.order(Output::WriteLine { id: ONE, line: "too late".to_owned() });
    stage.finish();
}

pub fn everything_written_comes_before_the_end<R: Runtime>(runtime: &R) {
    let stage = Stage::start(runtime);
    shell(
        &stage,
        "i=0; while [ $i -lt 2000 ]; do echo $i; i=$((i+1)); done; printf 'last\\r\\nwords'; exit 3",
    );
    let told = all(&stage);
    let mut expected: Vec<_> = (0..2_000).map(|n| out(&n.to_string())).collect();
    expected.extend([out("last"), out("words"), exited("exit status: 3")]);
    assert_eq!(told, expected);
    shell(&stage, "echo no moon >&2");
    assert_eq!(all(&stage), [ProcessEvent::Stderr("no moon".to_owned()), exited("exit status: 0")]);
    stage.finish();
}

pub fn a_program_that_is_missing_is_named<R: Runtime>(runtime: &R) {
    let stage = Stage::start(runtime);
    for program in ["/nowhere/at-all", "no-such-program-anywhere"] {
        stage.order(Output::Spawn { id: ONE, spec: spec(program, &[]) });
        let ProcessEvent::Failed(text) = moves(&stage) else { panic!("it runs") };
        assert!(text.starts_with(&format!("cannot start {program}: ")), "{text}");
    }
    stage.finish();
}

pub fn a_process_knows_no_more_than_it_is_told<R: Runtime>(runtime: &R) {
    let stage = Stage::start(runtime);
    let mut asked = spec("env", &[]);
    asked.env.insert("WORD".to_owned(), "tide".to_owned());
    asked.env.insert("HOME".to_owned(), "/elsewhere".to_owned());
    stage.order(Output::Spawn { id: ONE, spec: asked });
    let told = all(&stage);
    assert!(told.contains(&out("WORD=tide")) && told.contains(&out("HOME=/elsewhere")), "{told:?}");
    for event in &told {
        let ProcessEvent::Stdout(line) = event else { continue };
        let name = line.split('=').next().unwrap_or_default();
        assert!(["PATH", "HOME", "LANG", "TMPDIR", "WORD"].contains(&name), "{line}");
    }
    let asked = ProcessSpec { cwd: Some("/".to_owned()), ..spec("pwd", &[]) };
    stage.order(Output::Spawn { id: ONE, spec: asked });
    assert_eq!(all(&stage), [out("/"), exited("exit status: 0")]);
    stage.finish();
}

/// Prints its own id and that of a child, and ends for no kind word.
const STUBBORN: &str = "trap '' TERM HUP; sleep 600 & echo $!; echo $$; while :; do sleep 600; done";

fn ids(stage: &Stage) -> [String; 2] {
    [(), ()].map(|()| match moves(stage) {
        ProcessEvent::Stdout(id) => id,
        other => panic!("{other:?} instead of an id"),
    })
}

pub fn a_killed_process_takes_its_children_with_it_and_says_nothing<R: Runtime>(runtime: &R) {
    let stage = Stage::start(&Hasty(runtime.clone(), 100));
    shell(&stage, STUBBORN);
    let ids = ids(&stage);
    stage.order(Output::Kill { id: ONE });
    ids.iter().for_each(|id| dies(id));
    stage.finish();
}

pub fn no_process_outlives_the_gateway<R: Runtime>(runtime: &R) {
    let stage = Stage::start(runtime);
    shell(&stage, STUBBORN);
    let ids = ids(&stage);
    stage.finish();
    ids.iter().for_each(|id| dies(id));
}

pub fn a_process_that_ends_leaves_no_children<R: Runtime>(runtime: &R) {
    let stage = Stage::start(runtime);
    shell(&stage, "sleep 600 & echo $!; exit 7");
    let ProcessEvent::Stdout(child) = moves(&stage) else { panic!("no id") };
    assert_eq!(moves(&stage), exited("exit status: 7"));
    dies(&child);
    stage.finish();
}

pub fn a_line_without_end_ends_the_process<R: Runtime>(runtime: &R) {
    let stage = Stage::start(runtime);
    shell(&stage, "echo $$; head -c 9000000 /dev/zero | tr '\\0' x; sleep 600");
    let ProcessEvent::Stdout(id) = moves(&stage) else { panic!("no id") };
    let ProcessEvent::Failed(text) = moves(&stage) else { panic!("the line came") };
    assert!(text.contains(&MAX_LINE_BYTES.to_string()), "{text}");
    dies(&id);
    stage.finish();
}

pub fn a_process_that_does_not_read_is_ended<R: Runtime>(runtime: &R) {
    let stage = Stage::start(runtime);
    shell(&stage, "echo $$; sleep 600");
    let ProcessEvent::Stdout(id) = moves(&stage) else { panic!("no id") };
    for _ in 0..10 {
        stage.order(Output::WriteLine { id: ONE, line: "x".repeat(1_000_000) });
    }
    let ProcessEvent::Failed(text) = moves(&stage) else { panic!("it has all been taken") };
    assert!(text.contains("does not read"), "{text}");
    dies(&id);
    stage.finish();
}
