//! The store against real files.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use async_channel::Receiver;
use rusqlite::Connection;
use telson_core::store::{
    self, AnswerRecord, DeviceRecord, Everything, Loaded, Op, OpenRun, Query, SessionRecord, StoreError,
    Transaction, TranscriptEnd, TranscriptEntry,
};
use telson_core::{DeviceId, QueryId, RunId, SessionId, SessionKey, TxId};
use telson_proto::Json;
use tempfile::TempDir;

use super::{Report, StoreHandle, StoreOpenError, open, schema};

/// A state directory and the store in it.
struct Shelf {
    dir: TempDir,
    store: StoreHandle,
    told: Receiver<Report>,
    tell: async_channel::Sender<Report>,
}

impl Shelf {
    fn new() -> Self {
        Self::at(tempfile::tempdir().unwrap())
    }

    fn at(dir: TempDir) -> Self {
        let store = open(&dir.path().join("telson.db")).unwrap();
        let (tell, told) = async_channel::unbounded();
        Self { dir, store, told, tell }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("telson.db")
    }

    /// Hands a transaction over without waiting.
    fn hand_over(&self, id: u64, ops: Vec<Op>) {
        self.store.write(Transaction { id: TxId(id), ops }, &self.tell);
    }

    fn next(&self) -> Report {
        self.told.recv_blocking().unwrap()
    }

    fn write(&self, ops: Vec<Op>) -> Result<(), StoreError> {
        self.hand_over(1, ops);
        let Report::Stored { id: TxId(1), result } = self.next() else { panic!("another report") };
        result
    }

    fn load(&self, query: Query) -> Loaded {
        self.store.load(QueryId(1), query, &self.tell);
        let Report::Loaded { id: QueryId(1), result } = self.next() else { panic!("another report") };
        result.unwrap()
    }

    fn everything(&self) -> Everything {
        let Loaded::Everything(everything) = self.load(Query::Everything) else { panic!("another answer") };
        *everything
    }

    fn tail(&self, session: &str, limit: usize, max_bytes: usize) -> Vec<u64> {
        let query = Query::Tail { session: SessionId::new(session), limit, max_bytes };
        let Loaded::Entries(entries) = self.load(query) else { panic!("another answer") };
        entries.iter().map(|entry| entry.seq).collect()
    }

    /// Ends the thread in order.
    fn close(self) -> TempDir {
        let closed = self.store.close();
        let mut closed = std::pin::pin!(closed);
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        while closed.as_mut().poll(&mut cx).is_pending() {
            std::thread::yield_now();
        }
        self.dir
    }
}

fn session(key: &str, updated_at: u64) -> SessionRecord {
    SessionRecord {
        key: SessionKey::new(key),
        session: SessionId::new("s-1"),
        updated_at,
        entry: Json::of(&serde_json::json!({"label": "tide"})),
    }
}

fn entry(session: &str, seq: u64, text: &str) -> TranscriptEntry {
    TranscriptEntry {
        session: SessionId::new(session),
        seq,
        id: format!("{seq:08x}"),
        parent: (seq > 1).then(|| format!("{:08x}", seq - 1)),
        at: 1_000 + seq,
        run: seq.is_multiple_of(2).then(|| RunId::new("run-1")),
        message: Json::of(&serde_json::json!({"role": "user", "content": text})),
    }
}

fn answer(key: &str, at: u64) -> AnswerRecord {
    AnswerRecord { key: key.to_owned(), digest: "d".to_owned(), at, answer: Json::empty() }
}

fn device(id: &str, name: &str) -> DeviceRecord {
    DeviceRecord { id: DeviceId::new(id), record: Json::of(&serde_json::json!({"name": name})) }
}

fn open_run(run: &str) -> OpenRun {
    OpenRun {
        run: RunId::new(run),
        session_key: SessionKey::new("agent:main:main"),
        answer_key: format!("chat:{run}"),
        at: 5,
    }
}

/// One of everything.
fn all_ops() -> Vec<Op> {
    vec![
        Op::PutSession(session("agent:main:main", 1)),
        Op::PutSession(session("agent:main:main", u64::from(u32::MAX) * 1_000)),
        Op::PutSession(session("agent:main:other", 2)),
        Op::PutRecord(record(store::Shelf::ServiceTokens, "t1", "old")),
        Op::PutRecord(record(store::Shelf::Approvals, "a1", "two")),
        Op::PutRecord(record(store::Shelf::Approvals, "a2", "three")),
        Op::DeleteRecord { shelf: store::Shelf::Approvals, key: "a2".to_owned() },
        Op::PutRecord(record(store::Shelf::ServiceTokens, "t1", "one")),
        Op::AppendEntry(entry("s-1", 1, "what moves the sea?")),
        Op::AppendEntry(entry("s-1", 2, "tide and \u{1f319}")),
        Op::PutDevice(device("d1", "phone")),
        Op::PutDevice(device("d1", "telephone")),
        Op::PutDevice(device("d2", "desk")),
        Op::PutAnswer(answer("chat:b", 2)),
        Op::PutAnswer(answer("chat:a", 1)),
        Op::PutAnswer(answer("chat:c", 3)),
        Op::OpenRun(open_run("r1")),
        Op::OpenRun(open_run("r2")),
    ]
}

fn all_rows() -> Everything {
    Everything {
        sessions: vec![
            session("agent:main:main", u64::from(u32::MAX) * 1_000),
            session("agent:main:other", 2),
        ],
        devices: vec![device("d1", "telephone"), device("d2", "desk")],
        answers: vec![answer("chat:a", 1), answer("chat:b", 2), answer("chat:c", 3)],
        open_runs: vec![open_run("r1"), open_run("r2")],
        transcripts: vec![TranscriptEnd {
            session: SessionId::new("s-1"),
            seq: 2,
            id: "00000002".to_owned(),
        }],
        records: vec![
            record(store::Shelf::Approvals, "a1", "two"),
            record(store::Shelf::ServiceTokens, "t1", "one"),
        ],
    }
}

fn record(shelf: store::Shelf, key: &str, text: &str) -> store::Record {
    store::Record { shelf, key: key.to_owned(), record: Json::of(&text) }
}

#[test]
fn what_is_put_is_there_after_a_restart() {
    let shelf = Shelf::new();
    assert_eq!(shelf.everything(), Everything::default());
    shelf.write(all_ops()).unwrap();
    assert_eq!(shelf.everything(), all_rows());
    let shelf = Shelf::at(shelf.close());
    assert_eq!(shelf.everything(), all_rows());
    let query = Query::Tail { session: SessionId::new("s-1"), limit: 10, max_bytes: 10_000 };
    let entries = vec![entry("s-1", 1, "what moves the sea?"), entry("s-1", 2, "tide and \u{1f319}")];
    assert_eq!(shelf.load(query), Loaded::Entries(entries));
}

#[test]
fn what_is_deleted_is_gone() {
    let shelf = Shelf::new();
    shelf.write(all_ops()).unwrap();
    shelf
        .write(vec![
            Op::DeleteSession(SessionKey::new("agent:main:other")),
            Op::DeleteDevice(DeviceId::new("d1")),
            Op::DeleteAnswers(vec!["chat:a".to_owned(), "chat:c".to_owned(), "chat:none".to_owned()]),
            Op::CloseRun(RunId::new("r1")),
            Op::DeleteTranscript(SessionId::new("s-1")),
        ])
        .unwrap();
    let rest = shelf.everything();
    assert_eq!(rest.sessions.len(), 1);
    assert_eq!(rest.devices, [device("d2", "desk")]);
    assert_eq!(rest.answers, [answer("chat:b", 2)]);
    assert_eq!(rest.open_runs, [open_run("r2")]);
    assert_eq!(rest.transcripts, []);
    assert_eq!(shelf.tail("s-1", 10, 10_000), [0; 0]);
}

#[test]
fn an_archived_transcript_is_out_of_reach_but_not_gone() {
    let shelf = Shelf::new();
    shelf.write(all_ops()).unwrap();
    shelf.write(vec![Op::ArchiveTranscript { session: SessionId::new("s-1"), at: 9 }]).unwrap();
    assert_eq!(shelf.everything().transcripts, []);
    assert_eq!(shelf.tail("s-1", 10, 10_000), [0; 0]);
    let dir = shelf.close();
    let raw = Connection::open(dir.path().join("telson.db")).unwrap();
    let rows: i64 = raw.query_row("SELECT count(*) FROM entries", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 2);
}

#[test]
fn the_first_entries_of_a_transcript_are_moved_to_an_archive() {
    let shelf = Shelf::new();
    let line = |seq: u64| TranscriptEntry {
        parent: (seq > 1).then(|| entry("s", seq - 1, "").id),
        ..entry("s", seq, "words")
    };
    shelf.write((1..=6).map(|seq| Op::AppendEntry(line(seq))).collect()).unwrap();
    let archive = SessionId::new("s.bak.2026");
    shelf.write(vec![Op::CutTranscript { session: SessionId::new("s"), from: 5, archive, at: 9 }]).unwrap();
    assert_eq!(shelf.tail("s", 10, 10_000), [5, 6]);
    assert_eq!(shelf.tail("s.bak.2026", 10, 10_000), [0; 0], "an archive is out of reach");
    shelf.write(vec![Op::AppendEntry(line(7))]).unwrap();
    assert_eq!(shelf.tail("s", 10, 10_000), [5, 6, 7]);
    let dir = shelf.close();
    let raw = Connection::open(dir.path().join("telson.db")).unwrap();
    let rows = |sql: &str| -> i64 { raw.query_row(sql, [], |row| row.get(0)).unwrap() };
    assert_eq!(rows("SELECT count(*) FROM entries WHERE session = 's.bak.2026'"), 4);
    assert_eq!(rows("SELECT count(*) FROM entries WHERE session = 's' AND parent IS NULL"), 1);
    assert_eq!(rows("SELECT seq FROM transcripts WHERE session = 's.bak.2026' AND archived_at = 9"), 4);
}

#[test]
fn a_tail_is_limited_in_entries_and_bytes() {
    let shelf = Shelf::new();
    let ops = (1..=100).map(|seq| Op::AppendEntry(entry("s", seq, "0123456789"))).collect();
    shelf.write(ops).unwrap();
    shelf.write(vec![Op::AppendEntry(entry("t", 1, "another transcript"))]).unwrap();
    let size = entry("s", 1, "0123456789").message.as_str().len();
    assert_eq!(shelf.tail("s", 3, 10_000), [98, 99, 100]);
    assert_eq!(shelf.tail("s", 1_000, 1_000_000).len(), 100);
    assert_eq!(shelf.tail("s", 10, size * 2), [99, 100]);
    assert_eq!(shelf.tail("s", 10, size * 2 - 1), [100]);
    assert_eq!(shelf.tail("s", 10, 0), [100], "one entry comes whatever its size");
    assert_eq!(shelf.tail("s", 0, 10_000), [0; 0]);
    assert_eq!(shelf.tail("unknown", 10, 10_000), [0; 0]);
}

#[test]
fn a_tail_walks_the_index() {
    let shelf = Shelf::new();
    let dir = shelf.close();
    let raw = Connection::open(dir.path().join("telson.db")).unwrap();
    let plan: Vec<String> = raw
        .prepare(&format!("EXPLAIN QUERY PLAN {}", super::read::TAIL))
        .unwrap()
        .query_map(["s", "200"], |row| row.get(3))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert!(plan[0].contains("USING INDEX") && plan[0].contains("session=?"), "{plan:?}");
    assert!(!plan.iter().any(|step| step.contains("TEMP B-TREE")), "nothing is sorted: {plan:?}");
}

#[test]
fn a_transaction_is_written_whole_or_not_at_all_and_spoils_no_other() {
    let shelf = Shelf::new();
    shelf.write(vec![Op::AppendEntry(entry("s", 1, "first"))]).unwrap();
    shelf.hand_over(10, vec![Op::PutDevice(device("a", "before"))]);
    shelf.hand_over(
        11,
        vec![
            Op::PutDevice(device("b", "half")),
            Op::AppendEntry(entry("s", 1, "a place that is taken")),
            Op::PutDevice(device("c", "half")),
        ],
    );
    shelf.hand_over(12, vec![Op::PutDevice(device("d", "after"))]);
    let reports = [shelf.next(), shelf.next(), shelf.next()];
    let ids: Vec<u64> = reports
        .iter()
        .map(|report| if let Report::Stored { id, .. } = report { id.0 } else { panic!("{report:?}") })
        .collect();
    assert_eq!(ids, [10, 11, 12], "reports come in order");
    assert!(matches!(&reports[0], Report::Stored { result: Ok(()), .. }));
    assert!(matches!(&reports[1], Report::Stored { result: Err(StoreError::Failed(_)), .. }));
    assert!(matches!(&reports[2], Report::Stored { result: Ok(()), .. }));
    let kept = Shelf::at(shelf.close()).everything();
    assert_eq!(kept.devices, [device("a", "before"), device("d", "after")]);
    assert_eq!(kept.transcripts.len(), 1);
}

#[test]
fn a_load_sees_what_was_handed_over_before_it() {
    let shelf = Shelf::new();
    for round in 0..200 {
        shelf.hand_over(round, vec![Op::AppendEntry(entry("s", round + 1, "x"))]);
        let query = Query::Tail { session: SessionId::new("s"), limit: 1, max_bytes: 1_000 };
        shelf.store.load(QueryId(round), query, &shelf.tell);
    }
    for round in 0..200 {
        assert_eq!(shelf.next(), Report::Stored { id: TxId(round), result: Ok(()) });
        let Report::Loaded { result: Ok(Loaded::Entries(entries)), .. } = shelf.next() else {
            panic!("no entries")
        };
        assert_eq!(entries.last().map(|entry| entry.seq), Some(round + 1));
    }
}

#[test]
fn what_was_reported_survives_a_process_that_is_killed() {
    let shelf = Shelf::new();
    for round in 1..=20 {
        let key = round.to_string();
        shelf
            .write(vec![Op::AppendEntry(entry("s", round, "x")), Op::PutAnswer(answer(&key, round))])
            .unwrap();
        // What lies on the disk now is what a killed process leaves: the database and its log, nothing closed.
        let left = tempfile::tempdir().unwrap();
        for name in ["telson.db", "telson.db-wal"] {
            std::fs::copy(shelf.dir.path().join(name), left.path().join(name)).unwrap();
        }
        let after = Shelf::at(left);
        let kept = after.everything();
        assert_eq!((kept.transcripts[0].seq, kept.answers.len() as u64), (round, round));
        let left = after.close();
        let raw = Connection::open(left.path().join("telson.db")).unwrap();
        let verdict: String = raw.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(verdict, "ok");
    }
}

#[test]
fn dropping_the_handle_finishes_what_was_handed_over() {
    let shelf = Shelf::new();
    for id in 0..50 {
        shelf.hand_over(id, vec![Op::PutDevice(device(&format!("{id:02}"), "x"))]);
    }
    let Shelf { dir, store, told, tell } = shelf;
    drop((store, tell));
    let mut reports = 0;
    while told.recv_blocking().is_ok() {
        reports += 1;
    }
    assert_eq!(reports, 50);
    let raw = Connection::open_with_flags(
        dir.path().join("telson.db"),
        rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE,
    )
    .unwrap();
    raw.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
    let rows: i64 = raw.query_row("SELECT count(*) FROM devices", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 50);
}

#[test]
fn after_the_close_everything_fails_and_says_why() {
    let shelf = Shelf::new();
    let (store, tell, told) = (shelf.store.clone(), shelf.tell.clone(), shelf.told.clone());
    let _dir = shelf.close();
    store.write(Transaction { id: TxId(7), ops: Vec::new() }, &tell);
    let failed = StoreError::Failed("it is closed".to_owned());
    assert_eq!(told.recv_blocking(), Ok(Report::Stored { id: TxId(7), result: Err(failed.clone()) }));
    store.load(QueryId(8), Query::Everything, &tell);
    assert_eq!(told.recv_blocking(), Ok(Report::Loaded { id: QueryId(8), result: Err(failed) }));
}

#[test]
fn the_file_is_for_its_owner_only() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("telson.db");
    std::fs::write(&path, "").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let shelf = Shelf::at(dir);
    shelf.write(all_ops()).unwrap();
    for name in ["telson.db", "telson.db-wal"] {
        let mode = shelf.dir.path().join(name).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[test]
fn a_file_in_use_is_not_opened_twice() {
    let shelf = Shelf::new();
    assert_eq!(open(&shelf.path()).unwrap_err(), StoreOpenError::Locked);
    shelf.write(all_ops()).unwrap();
}

#[test]
fn a_file_that_is_no_database_is_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("telson.db");
    let text = "not a database at all, but long enough to look like a header".repeat(50);
    std::fs::write(&path, &text).unwrap();
    assert!(matches!(open(&path), Err(StoreOpenError::Corrupt(_))));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
}

#[test]
fn a_newer_database_is_not_touched() {
    let dir = Shelf::new().close();
    let path = dir.path().join("telson.db");
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    assert_eq!(open(&path).unwrap_err(), StoreOpenError::Newer { found: 99, known: 3 });
}

#[test]
fn a_directory_that_is_not_there_is_named_as_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let error = open(&dir.path().join("missing").join("telson.db")).unwrap_err();
    assert!(matches!(&error, StoreOpenError::Other(reason) if reason.contains("No such file")), "{error}");
}

#[test]
fn migrations_go_forwards_step_by_step() {
    let mut connection = Connection::open_in_memory().unwrap();
    let first = "CREATE TABLE a (x)";
    let second = "ALTER TABLE a ADD COLUMN y DEFAULT 7";
    schema::apply(&mut connection, &[first]).unwrap();
    connection.execute("INSERT INTO a (x) VALUES (1)", []).unwrap();
    schema::apply(&mut connection, &[first, second]).unwrap();
    schema::apply(&mut connection, &[first, second]).unwrap();
    let row: (i64, i64) =
        connection.query_row("SELECT x, y FROM a", [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    assert_eq!(row, (1, 7));
    assert_eq!(
        schema::apply(&mut connection, &[first]).unwrap_err(),
        StoreOpenError::Newer { found: 2, known: 1 }
    );
}

#[test]
fn a_migration_that_fails_leaves_the_version_before_it() {
    let mut connection = Connection::open_in_memory().unwrap();
    let outcome = schema::apply(&mut connection, &["CREATE TABLE a (x)", "CREATE TABLE b (x); nonsense"]);
    assert!(outcome.is_err());
    let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).unwrap();
    assert_eq!((version, tables), (1, 1));
}

#[test]
fn a_full_disk_is_told_and_passes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("telson.db");
    super::make_private(&path).unwrap();
    let mut connection = super::connect(&path).unwrap();
    schema::migrate(&mut connection).unwrap();
    let pages: i64 = connection.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
    connection.pragma_update(None, "max_page_count", pages + 2).unwrap();
    let large = "x".repeat(100_000);
    let small = Transaction { id: TxId(1), ops: vec![Op::PutDevice(device("a", "small"))] };
    let big = Transaction { id: TxId(2), ops: vec![Op::PutDevice(device("b", &large))] };
    let results = super::write::commit(&mut connection, &[big.clone(), small.clone()]);
    assert_eq!(results[0], Err(StoreError::Full));
    connection.pragma_update(None, "max_page_count", pages + 1_000).unwrap();
    assert_eq!(super::write::commit(&mut connection, &[big, small]), [Ok(()), Ok(())]);
}

#[test]
fn the_book_of_deeds_is_read_from_its_end() {
    let deed = |at: u64, actor: &str, action: &str, outcome: &str| store::AuditRecord {
        at,
        actor: actor.to_owned(),
        address: "127.0.0.1".to_owned(),
        action: action.to_owned(),
        subject: "d".to_owned(),
        outcome: outcome.to_owned(),
        reason: (outcome == "denied").then(|| "missing scope".to_owned()),
    };
    let book = [
        deed(1, "token", "device.pair.approve", "ok"),
        deed(2, "device:a", "device.pair.approve", "denied"),
        deed(3, "device:a", "node.invoke", "ok"),
    ];
    let shelf = Shelf::new();
    shelf.write(book.iter().cloned().map(Op::AppendAudit).collect()).unwrap();
    let queries = [
        store::AuditQuery { limit: 10, ..store::AuditQuery::default() },
        store::AuditQuery { limit: 1, before: Some(3), ..store::AuditQuery::default() },
        store::AuditQuery { limit: 9, actor: Some("device:a".to_owned()), ..store::AuditQuery::default() },
        store::AuditQuery { limit: 9, action: Some("device.".to_owned()), ..store::AuditQuery::default() },
        store::AuditQuery { limit: 9, outcome: Some("denied".to_owned()), ..store::AuditQuery::default() },
    ];
    for query in queries {
        let expected = query.of(&book);
        assert!(!expected.is_empty(), "{query:?}");
        assert_eq!(shelf.load(Query::Audit(query.clone())), Loaded::Audit(expected), "{query:?}");
    }
}
