//! The approvals file: regular, closed, bounded, and the same after a round (spec 03 §3.5).

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::approvals::policy::{ApprovalsFile, FileFault};

fn ids() -> impl FnMut() -> String {
    let mut next = 0;
    move || {
        next += 1;
        format!("id-{next}")
    }
}

fn read(file: &Value) -> Result<ApprovalsFile, FileFault> {
    ApprovalsFile::read(file, ids())
}

#[test]
fn what_cannot_be_read_is_an_empty_file_that_allows_nothing() {
    for raw in
        ["", "{", "[]", "{\"version\":2,\"agents\":{\"*\":{\"security\":\"full\"}}}", "{\"agents\":{}}"]
    {
        assert_eq!(ApprovalsFile::parse(raw, ids()), ApprovalsFile::default(), "{raw}");
    }
}

#[test]
fn the_old_entry_for_the_main_agent_is_merged_into_it() {
    let raw = json!({"version": 1, "agents": {
        "default": {"security": "full", "ask": "off", "allowlist": [{"pattern": "/A"}, {"pattern": "/b"}]},
        "main": {"security": "deny", "allowlist": [{"id": "x", "pattern": "/a"}]},
    }});
    let file = ApprovalsFile::parse(&raw.to_string(), ids());
    assert_eq!(
        serde_json::to_value(&file).unwrap(),
        json!({"version": 1, "agents": {"main": {"security": "deny", "ask": "off", "allowlist": [
            {"id": "x", "pattern": "/a"}, {"id": "id-1", "pattern": "/b"}]}}})
    );
}

#[test]
fn a_file_that_is_sent_is_closed_at_every_level() {
    assert_eq!(read(&json!("x")).unwrap_err().to_string(), "exec approvals file is required");
    let unknown = json!({"version": 1, "agents": {"main": {"allowlist": [{"pattern": "/a", "x": 1}]}}});
    assert_eq!(
        read(&unknown).unwrap_err().to_string(),
        "at /file/agents/main/allowlist/0: unexpected property 'x'"
    );
    for (file, at) in [
        (json!({"version": 2, "agents": {}}), "at /file/version: must be 1"),
        (json!({"version": 1, "agents": {"a": {"security": 1}}}), "at /file/agents/a/security: "),
        (json!({"version": 1, "agents": {"a": {"allowlist": [{}]}}}), "at /file/agents/a/allowlist/0: "),
        (json!({"version": 1, "defaults": {"mode": 1}}), "at /file/defaults: unexpected property 'mode'"),
        (
            json!({"version": 1, "agents": {"a": {"allowlist": [{"pattern": "/", "lastUsedAt": -1}]}}}),
            "at /file/agents/a/",
        ),
        (
            json!({"version": 1, "agents": {"a": {"allowlist": [{"pattern": "/", "id": ""}]}}}),
            "at /file/agents/a/",
        ),
        (json!({"version": 1, "agents": {"a": {"security": "x".repeat(300_000)}}}), "at /file/: is 300"),
    ] {
        let message = read(&file).unwrap_err().to_string();
        assert!(message.starts_with(at), "{message}");
    }
}

#[test]
fn the_secret_of_the_socket_is_made_once_and_never_shown() {
    let mut file = ApprovalsFile::parse("{\"version\":1,\"socket\":{\"path\":\" \",\"token\":\"\"}}", ids());
    assert!(file.ensure_socket("/s", || "secret".to_owned()));
    assert!(!file.ensure_socket("/t", || "other".to_owned()));
    assert!(file.text().contains("secret") && file.text().ends_with("}\n"));
    let shown = serde_json::to_value(file.shown()).unwrap();
    assert_eq!(shown["socket"], json!({"path": "/s"}));
}

#[test]
fn an_answer_for_good_adds_each_program_once() {
    let mut file = ApprovalsFile::default();
    let programs = ["/usr/bin/git".to_owned(), "/usr/bin/make".to_owned()];
    assert!(file.allow_always("main", "git x && make", &programs, ids()));
    assert!(!file.allow_always("main", "git y", &programs[..1], ids()));
    file.note_use("main", "/usr/bin/git", 7, "git y", "/usr/bin/git");
    let lines = file.agents["main"].allowlist.clone().unwrap();
    assert_eq!(lines.len(), 2);
    assert_eq!((lines[0].last_used_at, lines[0].last_used_command.as_deref()), (Some(7.0), Some("git y")));
    assert_eq!(lines[1].last_used_at, None);
}

#[test]
fn the_hash_names_the_text() {
    assert_eq!(&ApprovalsFile::hash(None)[..8], "e3b0c442");
    assert_eq!(ApprovalsFile::hash(Some("a")).len(), 64);
    assert_ne!(ApprovalsFile::hash(Some("a")), ApprovalsFile::hash(Some("b")));
}

proptest! {
    #[test]
    fn a_regular_file_stays_as_it_is(
        agents in proptest::collection::btree_map("[a-z*]{1,8}", (
            proptest::option::of("[a-z-]{0,10}"),
            proptest::option::of(proptest::collection::vec("[/a-z*]{0,12}", 0..4)),
        ), 0..4),
    ) {
        let agents: serde_json::Map<String, Value> = agents.into_iter().map(|(name, (security, list))| {
            let list = list.map(|list| list.into_iter().map(|pattern| json!({"pattern": pattern})).collect::<Vec<_>>());
            (name, json!({"security": security, "allowlist": list}))
        }).collect();
        let file = read(&json!({"version": 1, "agents": agents})).unwrap();
        let again = ApprovalsFile::parse(&file.text(), || unreachable!("every line has an id"));
        prop_assert_eq!(again.text(), file.text());
        prop_assert_eq!(again, file);
    }

    #[test]
    fn nothing_that_is_sent_does_harm(raw in "[{}\\[\\]\":,a-z0-9]{0,60}") {
        let _ = ApprovalsFile::parse(&raw, ids());
        if let Ok(value) = serde_json::from_str::<Value>(&raw) {
            let _ = read(&value);
        }
    }
}
