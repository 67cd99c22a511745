//! `system.run`: judged, run, ended.

use std::time::Duration;

use serde_json::{Value, json};

use crate::limits;
use crate::nodehost::ProcessEvent;
use crate::nodehost::testing::Bench;

fn full() -> Value {
    json!({"main": {"security": "full", "ask": "off"}})
}

fn listed(ask: &str) -> Value {
    json!({"main": {"security": "allowlist", "ask": ask, "allowlist": [{"id": "1", "pattern": "/usr/bin/git"}]}})
}

#[test]
fn a_command_that_the_policy_allows_runs_and_its_output_comes_back() {
    let mut bench = Bench::ready(3);
    bench.allow(&full());
    let params = json!({"command": ["uname", "-a"], "env": {"LANG": "C", "LD_PRELOAD": "x"}, "sessionKey": "agent:main:x", "runId": "r"});
    bench.invoke("1", "system.run", &params);
    let program = bench.spawned[0].1.clone();
    assert_eq!(
        (program.program.as_str(), program.args.as_slice()),
        ("/usr/bin/uname", &["-a".to_owned()][..])
    );
    assert_eq!(program.cwd.as_deref(), Some("/home/ann"));
    assert_eq!(program.env.len(), 2, "{:?}", program.env);
    assert_eq!(program.env["LANG"], "C");
    bench.process(ProcessEvent::Stdout(b"Li".to_vec()));
    bench.process(ProcessEvent::Stderr(b"w\n".to_vec()));
    bench.process(ProcessEvent::Stdout(b"nux\n".to_vec()));
    bench.process(ProcessEvent::Exited(Some(0)));
    let payload = bench.payload("1");
    assert_eq!(
        payload,
        json!({"exitCode": 0, "timedOut": false, "success": true, "stdout": "Linux\n", "stderr": "w\n", "error": null})
    );
    let events = bench.events();
    assert_eq!(events.len(), 1, "a gateway of protocol 3 is not woken by a start: {events:?}");
    let (name, event) = &events[0];
    assert_eq!(name, "exec.finished");
    assert_eq!(
        (&event["sessionKey"], &event["runId"], &event["host"]),
        (&json!("agent:main:x"), &json!("r"), &json!("node"))
    );
    assert_eq!((&event["output"], &event["exitCode"]), (&json!("Linux\nw"), &json!(0)));
}

#[test]
fn a_machine_without_a_policy_runs_nothing() {
    let mut bench = Bench::ready(4);
    bench.invoke(
        "1",
        "system.run",
        &json!({"command": ["uname"], "approved": true, "runId": "r", "approvalDecision": "allow-always"}),
    );
    assert_eq!(bench.fault("1"), "SYSTEM_RUN_DISABLED: security=deny");
    assert_eq!(bench.events()[0].1["reason"], "security=deny");
    assert!(bench.spawned.is_empty() && bench.policy.is_none());
}

#[test]
fn the_allowlist_decides_and_notes_what_it_let_run() {
    let mut bench = Bench::ready(4);
    bench.allow(&listed("off"));
    bench.invoke("1", "system.run", &json!({"command": ["git", "status"]}));
    assert_eq!(bench.spawned[0].1.program, "/usr/bin/git");
    let policy: Value = serde_json::from_str(bench.policy.as_deref().unwrap()).unwrap();
    assert_eq!(policy["agents"]["main"]["allowlist"][0]["lastUsedCommand"], "git status");
    bench.invoke("2", "system.run", &json!({"command": ["uname"]}));
    assert_eq!(bench.fault("2"), "SYSTEM_RUN_DENIED: allowlist miss");
    bench.invoke("3", "system.run", &json!({"command": ["/bin/sh", "-lc", "git status && git log"]}));
    assert_eq!(bench.spawned.len(), 2, "the line of a shell is judged in its place");
    for (id, script) in [("4", "git status; uname"), ("5", "git $(uname)"), ("6", "git log > x")] {
        bench.invoke(id, "system.run", &json!({"command": ["/bin/sh", "-lc", script]}));
        assert_eq!(bench.fault(id), "SYSTEM_RUN_DENIED: allowlist miss", "{script}");
    }
}

#[test]
fn an_approval_counts_once_and_only_from_a_gateway_that_vouches_for_it() {
    let approved = |run: Option<&str>| json!({"command": ["uname"], "approved": true, "approvalDecision": "allow-once", "runId": run});
    for (protocol, run) in [(3, Some("r")), (4, None)] {
        let mut bench = Bench::ready(protocol);
        bench.allow(&listed("on-miss"));
        bench.invoke("1", "system.run", &approved(run));
        assert_eq!(bench.fault("1"), "SYSTEM_RUN_DENIED: approval required", "{protocol}");
        assert_eq!(bench.events()[0].1["reason"], "approval-required");
        assert!(bench.news.iter().any(|news| news.event == "approval-ignored"));
    }
    let mut bench = Bench::ready(4);
    bench.allow(&listed("on-miss"));
    bench.invoke("0", "system.run", &json!({"command": ["uname"]}));
    assert_eq!(bench.fault("0"), "SYSTEM_RUN_DENIED: approval required");
    bench.invoke("1", "system.run", &approved(Some("r")));
    assert_eq!(bench.spawned.len(), 1);
    bench.invoke("2", "system.run", &approved(Some("r")));
    assert_eq!(bench.fault("2"), "SYSTEM_RUN_DENIED: approval required", "it is used up");
    bench.allow(&listed("off"));
    bench.invoke("3", "system.run", &approved(Some("other")));
    assert_eq!(bench.fault("3"), "SYSTEM_RUN_DENIED: allowlist miss", "nobody is asked here");
}

#[test]
fn an_approval_for_always_extends_the_allowlist_by_what_ran() {
    let mut bench = Bench::ready(4);
    bench.allow(&listed("on-miss"));
    let always = |script: &str, run: &str| json!({"command": ["/bin/sh", "-lc", script], "approved": true, "approvalDecision": "allow-always", "runId": run});
    bench.invoke("1", "system.run", &always("uname -a | git hash", "a"));
    let patterns = |bench: &Bench| -> Vec<String> {
        let policy: Value = serde_json::from_str(bench.policy.as_deref().unwrap()).unwrap();
        let list = policy["agents"]["main"]["allowlist"].as_array().unwrap().clone();
        list.iter().map(|entry| entry["pattern"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(patterns(&bench), ["/usr/bin/git", "/usr/bin/uname"]);
    bench.invoke("2", "system.run", &json!({"command": ["uname"]}));
    assert_eq!(bench.spawned.len(), 2, "it needs no approval any more");
    // A program that runs what its arguments say would open everything.
    bench.programs.extend(["env", "python3.12"]);
    bench.invoke("4", "system.run", &always("env | python3.12", "c"));
    assert_eq!((bench.spawned.len(), patterns(&bench).len()), (3, 2));
    // What was not understood is allowed once, and teaches nothing: the shell itself is never listed.
    bench.invoke("3", "system.run", &always("sleep $(uname)", "b"));
    assert_eq!(bench.spawned.len(), 4);
    assert_eq!(patterns(&bench), ["/usr/bin/git", "/usr/bin/uname"]);
}

#[test]
fn a_policy_that_changes_meanwhile_is_read_again() {
    let mut bench = Bench::ready(4);
    bench.allow(&listed("off"));
    bench.racing = 2;
    bench.invoke("1", "system.run", &json!({"command": ["git"]}));
    assert_eq!(bench.spawned.len(), 1);
    bench.racing = 99;
    bench.invoke("2", "system.run", &json!({"command": ["git"]}));
    assert!(bench.fault("2").contains("keeps changing"));
}

#[test]
fn time_that_is_up_kills_the_process_and_is_told() {
    let mut bench = Bench::ready(3);
    bench.allow(&full());
    bench.invoke("1", "system.run", &json!({"command": ["sleep", "9"], "timeoutMs": 1_500}));
    bench.process(ProcessEvent::Stdout(b"before".to_vec()));
    bench.pass(Duration::from_millis(1_499));
    assert!(bench.killed.is_empty());
    bench.pass(Duration::from_millis(1));
    assert_eq!(bench.killed, [bench.spawned[0].0]);
    bench.process(ProcessEvent::Exited(None));
    let payload = bench.payload("1");
    assert_eq!(
        payload,
        json!({"timedOut": true, "success": false, "stdout": "before", "stderr": "", "error": null})
    );
}

#[test]
fn a_command_without_a_time_of_its_own_has_the_default() {
    let mut bench = Bench::ready(3);
    bench.allow(&full());
    bench.invoke("1", "system.run", &json!({"command": ["sleep", "9"]}));
    for _ in 0..limits::NODE_RUN_MS / 30_000 {
        assert!(bench.killed.is_empty());
        bench.event("tick", &json!({}));
        bench.pass(Duration::from_secs(30));
    }
    assert_eq!(bench.killed.len(), 1);
}

#[test]
fn what_the_gateway_takes_back_is_killed() {
    let mut bench = Bench::ready(4);
    bench.allow(&full());
    bench.invoke("1", "system.run", &json!({"command": ["sleep", "9"]}));
    bench.event("node.invoke.cancel", &json!({"id": "other"}));
    assert!(bench.killed.is_empty());
    bench.event("node.invoke.cancel", &json!({"invokeId": "1", "nodeId": "me"}));
    assert_eq!(bench.killed.len(), 1);
    assert_eq!(bench.fault("1"), "cancelled by the gateway");
    bench.sent.clear();
    bench.process(ProcessEvent::Exited(None));
    assert!(bench.sent.is_empty(), "it is answered once");
}

#[test]
fn a_connection_that_breaks_ends_what_nobody_waits_for_any_more() {
    let mut bench = Bench::ready(4);
    bench.allow(&full());
    bench.invoke("1", "system.run", &json!({"command": ["sleep", "9"]}));
    bench.break_off(1006, "");
    assert_eq!(bench.killed.len(), 1);
    bench.process(ProcessEvent::Exited(None));
    bench.sent.clear();
    bench.pass(Duration::from_secs(2));
    bench.open();
    bench.welcome(4, None);
    assert!(bench.sent.is_empty());
}

#[test]
fn a_newer_gateway_hears_of_the_start_and_of_the_output_as_it_comes() {
    let mut bench = Bench::ready(4);
    bench.allow(&full());
    bench.invoke("1", "system.run", &json!({"command": ["uname"], "runId": "r"}));
    assert_eq!(bench.events()[0].0, "exec.started");
    let pieces = |bench: &mut Bench| -> Vec<(u64, String)> {
        let sent = std::mem::take(&mut bench.sent);
        let pieces = sent.iter().filter(|frame| frame["method"] == "node.invoke.progress");
        pieces
            .map(|frame| {
                assert_eq!(frame["params"]["invokeId"], "1");
                (
                    frame["params"]["seq"].as_u64().unwrap(),
                    frame["params"]["chunk"].as_str().unwrap().to_owned(),
                )
            })
            .collect()
    };
    bench.process(ProcessEvent::Stdout("ti\u{e9}".as_bytes()[..3].to_vec()));
    bench.pass(Duration::from_millis(250));
    assert_eq!(pieces(&mut bench), [(0, "ti".to_owned())]);
    bench.process(ProcessEvent::Stdout("ti\u{e9}".as_bytes()[3..].to_vec()));
    bench.process(ProcessEvent::Exited(Some(0)));
    bench.payload("1");
    assert_eq!(pieces(&mut bench), [(1, "\u{e9}".to_owned())]);
}

#[test]
fn output_that_the_gateway_would_not_take_is_cut() {
    let mut bench = Bench::ready(3);
    bench.allow(&full());
    bench.invoke("1", "system.run", &json!({"command": ["uname"]}));
    for _ in 0..30 {
        bench.process(ProcessEvent::Stdout(vec![1; 10_000]));
    }
    bench.process(ProcessEvent::Exited(Some(0)));
    let longest = bench.sent.iter().map(|frame| frame.to_string().len()).max().unwrap();
    assert!(longest <= 524_288, "{longest}");
    assert!(bench.payload("1")["stdout"].as_str().unwrap().ends_with("... (truncated)"));
}

#[test]
fn what_cannot_be_started_is_told_as_an_outcome() {
    let mut bench = Bench::ready(3);
    bench.allow(&full());
    bench.invoke("1", "system.run", &json!({"command": ["nosuchbin"]}));
    assert_eq!(bench.payload("1")["error"], "nosuchbin is not found on this node");
    bench.invoke("2", "system.run", &json!({"command": ["uname"]}));
    bench.process(ProcessEvent::Failed("cannot start".to_owned()));
    let payload = bench.payload("2");
    assert_eq!((&payload["error"], &payload["success"]), (&json!("cannot start"), &json!(false)));
    bench.invoke("3", "system.run", &json!({"command": ["uname"], "needsScreenRecording": true}));
    assert_eq!(bench.fault("3"), "PERMISSION_MISSING: screenRecording");
}

#[test]
fn a_safe_program_must_not_name_a_file() {
    let mut bench = Bench::ready(3);
    bench.programs.push("head");
    bench.allow(&json!({"main": {"security": "allowlist", "ask": "off"}}));
    bench.invoke("1", "system.run", &json!({"command": ["head", "-n", "5"]}));
    assert_eq!(bench.spawned.len(), 1);
    bench.invoke("2", "system.run", &json!({"command": ["head", "notes"]}));
    assert_eq!(bench.fault("2"), "SYSTEM_RUN_DENIED: allowlist miss");
}
