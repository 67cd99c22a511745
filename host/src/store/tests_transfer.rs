//! Import from files as the older system writes them, and back (check 27 of spec 02 §23).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use rusqlite::Connection;
use serde_json::{Value, json};
use telson_core::SessionId;
use telson_core::store::{PageQuery, Place, SearchQuery, words_of};

use super::export::{Exported, export};
use super::import::{Imported, TransferError, import};
use super::{connect, page, search};

const TRANSCRIPT: &str = r#"{"type":"session","version":3,"id":"0d0c","timestamp":"2026-01-30T10:00:00.000Z","cwd":"/home/ann"}
{"type":"message","id":"1a2b3c4d","parentId":null,"timestamp":"2026-01-30T10:00:01.000Z","message":{"role":"user","content":[{"type":"text","text":"what moves the sea?"}],"timestamp":1769767201000}}
{"type":"model_change","id":"aaaaaaaa","parentId":"1a2b3c4d","timestamp":"2026-01-30T10:00:01.500Z","provider":"acme","modelId":"m"}
{"type":"message","id":"5e6f7a8b","parentId":"1a2b3c4d","timestamp":"2026-01-30T10:00:03.000Z","message":{"role":"assistant","content":[{"type":"toolCall","id":"c1","name":"exec","arguments":{}}],"usage":{"input":12,"output":4,"totalTokens":16,"cost":{"total":0.5}}}}
not json at all
{"type":"message","id":"6e6f7a8b","parentId":"5e6f7a8b","timestamp":"2026-01-30T10:00:04.000Z","message":{"role":"toolResult","toolCallId":"c1","toolName":"exec","content":[{"type":"text","text":"ok"}],"isError":false}}
{"type":"compaction","id":"bbbbbbbb","parentId":"6e6f7a8b","timestamp":"2026-01-30T10:00:05.000Z","summary":"s","firstKeptEntryId":"6e6f7a8b","tokensBefore":9}
{"type":"message","id":"7e6f7a8b","timestamp":"2026-01-30T10:00:06.000Z","message":{"role":"assistant","content":[{"type":"text","text":"The Moon."}]}}
"#;

/// A state directory of the older system.
fn older() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let main = dir.path().join("agents/main/sessions");
    let ops = dir.path().join("agents/ops/sessions");
    fs::create_dir_all(&main).unwrap();
    fs::create_dir_all(&ops).unwrap();
    fs::write(
        main.join("sessions.json"),
        r#"{
            // As people edit it.
            'agent:main:main': {sessionId: "0d0c", updatedAt: 1769767206000, inputTokens: 12, outputTokens: 4,
                totalTokens: 12, label: "Tide", lastProvider: "webchat", oddField: {kept: true},},
            "agent:main:gone": {"sessionId": "none", "updatedAt": 5},
            "agent:main:evil": {"sessionId": "../../etc/passwd", "updatedAt": 5},
            "agent:main:odd": 7,
        }"#,
    )
    .unwrap();
    fs::write(main.join("0d0c.jsonl"), TRANSCRIPT).unwrap();
    fs::write(ops.join("sessions.json"), r#"{"main": {"sessionId": "0e", "updatedAt": 7.0}}"#).unwrap();
    fs::write(ops.join("0e.jsonl"), "").unwrap();
    dir
}

fn rows(database: &Path) -> BTreeMap<String, (String, u64, Value)> {
    let raw = Connection::open(database).unwrap();
    let mut statement = raw.prepare("SELECT key, session, updated_at, entry FROM sessions").unwrap();
    let rows = statement.query_map([], |row| {
        let entry: String = row.get(3)?;
        Ok((row.get(0)?, (row.get(1)?, row.get(2)?, serde_json::from_str(&entry).unwrap())))
    });
    rows.unwrap().map(Result::unwrap).collect()
}

fn history(database: &Path) -> Vec<(String, Option<String>, u64, Value)> {
    let raw = connect(database).unwrap();
    let (session, place) = (SessionId::new("0d0c"), Place::End(0));
    let query =
        PageQuery { session, place, limit: 100, max_bytes: 1_000_000, brief: false, runs: Vec::new() };
    let entries = page::page(&raw, &query).unwrap().entries;
    entries.into_iter().map(|e| (e.id, e.parent, e.at, e.message.to_value())).collect()
}

#[test]
fn lists_histories_titles_and_counters_are_those_of_the_older_system() {
    let (from, to) = (older(), tempfile::tempdir().unwrap());
    let database = to.path().join("telson.db");
    let done = import(&database, from.path()).unwrap();
    let other = [("compaction".to_owned(), 1), ("model_change".to_owned(), 1)];
    assert_eq!((done.sessions, done.messages, done.already_there, done.without_transcript), (3, 4, 0, 1));
    assert_eq!(done.other_lines, BTreeMap::from(other));
    assert_eq!(done.skipped.len(), 3, "{:?}", done.skipped);
    assert!(done.skipped.iter().any(|line| line.contains("0d0c.jsonl:5: not a JSON object")));

    let rows = rows(&database);
    assert_eq!(rows.keys().collect::<Vec<_>>(), ["agent:main:gone", "agent:main:main", "agent:ops:main"]);
    let (session, updated_at, entry) = &rows["agent:main:main"];
    assert_eq!((session.as_str(), *updated_at), ("0d0c", 1_769_767_206_000));
    for (name, value) in [
        ("label", json!("Tide")),
        ("inputTokens", json!(12)),
        ("lastChannel", json!("webchat")),
        ("oddField", json!({"kept": true})),
        ("firstMessage", json!("what moves the sea?")),
        ("lastMessage", json!("The Moon.")),
        ("lastInteractionAt", json!(1_769_767_201_000_u64)),
    ] {
        assert_eq!(entry[name], value, "{name}");
    }
    let history = history(&database);
    let ids: Vec<&str> = history.iter().map(|line| line.0.as_str()).collect();
    assert_eq!(ids, ["1a2b3c4d", "5e6f7a8b", "6e6f7a8b", "7e6f7a8b"]);
    assert_eq!(history[3].1.as_deref(), Some("6e6f7a8b"), "a line without a parent hangs on the last [C-11]");
    assert_eq!(history[0].2, 1_769_767_201_000);
    assert_eq!(history[2].3["toolName"], "exec");

    let raw = connect(&database).unwrap();
    let query = SearchQuery { words: words_of("moon"), sessions: None, key_prefix: None, limit: 5 };
    assert_eq!(search::search(&raw, &query).unwrap().hits.len(), 1);
    let cost: f64 = raw.query_row("SELECT sum(cost) FROM usage", [], |row| row.get(0)).unwrap();
    assert!((cost - 0.5).abs() < f64::EPSILON);
    assert!(!from.path().join("agents/main/sessions/sessions.json.lock").exists(), "the lock is given back");
}

#[test]
fn an_import_can_be_repeated_and_interrupted() {
    let (from, to) = (older(), tempfile::tempdir().unwrap());
    let database = to.path().join("telson.db");
    import(&database, from.path()).unwrap();
    let (rows_before, history_before) = (rows(&database), history(&database));
    let again = import(&database, from.path()).unwrap();
    assert_eq!((again.sessions, again.messages, again.already_there), (0, 0, 3));
    assert_eq!((rows(&database), history(&database)), (rows_before.clone(), history_before.clone()));
    // An import that died between the lines and the row.
    Connection::open(&database).unwrap().execute("DELETE FROM sessions WHERE session = '0d0c'", []).unwrap();
    let resumed = import(&database, from.path()).unwrap();
    assert_eq!((resumed.sessions, resumed.messages, resumed.already_there), (1, 4, 2));
    assert_eq!((rows(&database), history(&database)), (rows_before, history_before));
}

#[test]
fn what_is_exported_can_be_imported() {
    let (from, to) = (older(), tempfile::tempdir().unwrap());
    let (first, second) = (to.path().join("first.db"), to.path().join("second.db"));
    import(&first, from.path()).unwrap();
    let out = to.path().join("out");
    assert_eq!(export(&first, &out).unwrap(), Exported { sessions: 3, messages: 4 });
    let header = fs::read_to_string(out.join("agents/main/sessions/0d0c.jsonl")).unwrap();
    assert!(
        header
            .starts_with(r#"{"cwd":"/","id":"0d0c","timestamp":"2026-01-30T10:00:01.000Z","type":"session""#),
        "{header}"
    );
    let done = import(&second, &out).unwrap();
    assert_eq!((done.sessions, done.messages, done.skipped), (3, 4, Vec::<String>::new()));
    assert_eq!(rows(&first), rows(&second));
    assert_eq!(history(&first), history(&second));
    assert!(matches!(export(&first, &out), Err(TransferError::Exists(_))));
}

#[test]
fn a_directory_without_sessions_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let error = import(&dir.path().join("telson.db"), dir.path()).unwrap_err();
    assert!(matches!(error, TransferError::Nothing(_)), "{error}");
    assert!(!dir.path().join("telson.db").exists(), "nothing was made");
}

#[test]
fn a_broken_store_reads_as_empty_and_is_told() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("sessions.json"), "{broken").unwrap();
    let done = import(&dir.path().join("telson.db"), dir.path()).unwrap();
    assert_eq!(done.skipped.len(), 1);
    assert_eq!(Imported { skipped: Vec::new(), ..done }, Imported::default());
}

#[test]
fn a_lock_that_was_left_behind_is_taken_over() {
    let (from, to) = (older(), tempfile::tempdir().unwrap());
    let lock = from.path().join("agents/main/sessions/sessions.json.lock");
    let file = fs::File::create(&lock).unwrap();
    file.set_modified(std::time::SystemTime::now() - std::time::Duration::from_secs(60)).unwrap();
    assert_eq!(import(&to.path().join("telson.db"), from.path()).unwrap().sessions, 3);
    assert!(!lock.exists());
}
