//! This gateway's own file (spec 03 §3.5, §19.4).

use serde_json::{Value, json};
use telson_proto::Protocol;

use crate::store::StoreError;
use crate::testing::World;

const AGAIN: &str = "re-run exec.approvals.get and retry";

fn file() -> Value {
    json!({"version": 1, "agents": {"main": {"security": "allowlist", "allowlist": [{"pattern": "/usr/bin/git"}]}}})
}

#[test]
fn a_file_is_replaced_by_who_knows_it_and_its_secret_is_never_shown() {
    let mut world = World::new();
    let desk = world.operator(Protocol::V3);
    let first = world.ask(desk, "exec.approvals.get", json!({}));
    assert_eq!(
        (&first["exists"], first["path"].as_str().unwrap().ends_with("/exec-approvals.json")),
        (&json!(true), true)
    );
    assert!(first.get("resolvedDefaults").is_none());
    assert_eq!(first, world.ask(desk, "exec.approvals.get", json!({})), "it is made once");

    let missing = world.refusal(desk, "exec.approvals.set", json!({"file": file()}));
    assert_eq!(missing.message, format!("exec approvals base hash required; {AGAIN}"));
    let stale = world.refusal(desk, "exec.approvals.set", json!({"file": file(), "baseHash": "0000"}));
    assert_eq!(stale.message, format!("exec approvals changed since last load; {AGAIN}"));
    let base = first["hash"].clone();
    let nothing = world.refusal(desk, "exec.approvals.set", json!({"baseHash": base}));
    assert_eq!(nothing.message, "exec approvals file is required");
    let mut odd = file();
    odd["agents"]["main"]["allowlist"][0]["x"] = 1.into();
    let closed = world.refusal(desk, "exec.approvals.set", json!({"file": odd, "baseHash": base}));
    assert!(
        closed.message.ends_with("at /file/agents/main/allowlist/0: unexpected property 'x'"),
        "{}",
        closed.message
    );

    let second = world.ask(desk, "exec.approvals.set", json!({"file": file(), "baseHash": base}));
    assert_ne!(second["hash"], base);
    assert_eq!(second["file"]["agents"]["main"]["allowlist"][0]["pattern"], "/usr/bin/git");
    assert_eq!(second["file"]["socket"], first["file"]["socket"], "the socket stays");
    assert!(second["file"]["socket"].get("token").is_none());
    let late = world.refusal(desk, "exec.approvals.set", json!({"file": file(), "baseHash": base}));
    assert!(late.message.starts_with("exec approvals changed"));

    let mut world = world.crash();
    let newer = world.operator(Protocol::V4);
    let kept = world.ask(newer, "exec.approvals.get", json!({}));
    assert_eq!((&kept["hash"], &kept["file"]), (&second["hash"], &second["file"]));
    assert_eq!(kept["resolvedDefaults"]["security"], "deny");
}

#[test]
fn of_two_who_write_at_once_one_fails() {
    let mut world = World::new();
    let desk = world.operator(Protocol::V4);
    let base = world.ask(desk, "exec.approvals.get", json!({}))["hash"].clone();
    world.hold = true;
    let first = world.call(desk, "exec.approvals.set", json!({"file": file(), "baseHash": base}));
    let second = world.refusal(desk, "exec.approvals.set", json!({"file": {"version": 1}, "baseHash": base}));
    assert_eq!(second.retryable, Some(true));
    world.release();
    assert!(world.reply(first).error.is_none());
}

#[test]
fn what_is_not_written_does_not_count() {
    let mut world = World::new();
    let desk = world.operator(Protocol::V4);
    let before = world.ask(desk, "exec.approvals.get", json!({}));
    world.broken = Some(StoreError::Full);
    world.refusal(desk, "exec.approvals.set", json!({"file": file(), "baseHash": before["hash"]}));
    world.broken = None;
    assert_eq!(world.ask(desk, "exec.approvals.get", json!({})), before);
}
