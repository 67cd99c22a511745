//! Lists and histories of a large store: run with `cargo bench -p telson-benches --bench store`.
//!
//! `TELSON_BENCH_SESSIONS` (50,000) and `TELSON_BENCH_MB` (1,024) change the size. Times are of the machines
//! and the store together, from a client's frame to the answer's frame, without a socket; the transcript is
//! also read by SQLite alone, which does nothing else.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use async_channel::Receiver;
use rusqlite::Connection;
use serde_json::{Value, json};
use telson_core::auth::Secret;
use telson_core::peer::Peer;
use telson_core::settings::{AuthMode, Settings};
use telson_core::store::{Op, SessionRecord, Transaction, TranscriptEntry};
use telson_core::{
    ConnId, Input, Joined, Now, Output, Seed, SessionId, SessionKey, TxId, gateway, switchboard,
};
use telson_host::store::{self, Report, StoreHandle};
use telson_proto::Json;

const SECRET: &str = "a-token-for-the-benches";
const CLIENT: ConnId = ConnId(1);
const WALL: u64 = 1_769_700_000_000;
const ROUNDS: usize = 300;
const BYTES_PER_MESSAGE: usize = 1_024;
const PER_TRANSACTION: usize = 250;

/// The machines on a real store.
struct Bench {
    machines: Joined,
    store: StoreHandle,
    tell: async_channel::Sender<Report>,
    told: Receiver<Report>,
    now: Now,
    last: String,
}

impl Bench {
    fn on(database: &Path) -> Self {
        let now = Now { mono: Duration::ZERO, wall: WALL };
        let settings = Settings::plain(AuthMode::Token(Secret::new(SECRET)));
        let (tell, told) = async_channel::unbounded();
        let store = store::open(database).unwrap();
        let machines = Joined::new(settings, Seed::from([5; 32]), now);
        let mut bench = Self { machines, store, tell, told, now, last: String::new() };
        bench.tell(Input::Gateway(gateway::Input::Started));
        let peer = Peer::at(IpAddr::from([127, 0, 0, 1]));
        bench.tell(Input::Switchboard(switchboard::Input::Upgrade { conn: CLIENT, peer }));
        let hello = bench.ask(
            "connect",
            &json!({
                "minProtocol": 4, "maxProtocol": 4, "role": "operator", "scopes": ["operator.admin"],
                "client": {"id": "gateway-client", "version": "1", "platform": "linux", "mode": "backend"},
                "auth": {"token": SECRET},
            }),
        );
        assert!(hello.contains(r#""ok":true"#), "{hello}");
        bench
    }

    /// Sends a request and takes its answer.
    fn ask(&mut self, method: &str, params: &Value) -> String {
        self.last.clear();
        let text = json!({"type": "req", "id": "1", "method": method, "params": params}).to_string();
        self.tell(Input::Switchboard(switchboard::Input::Message { conn: CLIENT, text }));
        std::mem::take(&mut self.last)
    }

    fn tell(&mut self, input: Input) {
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            self.machines.handle(self.now, input);
            while let Some(output) = self.machines.poll_output() {
                inputs.extend(self.perform(output));
            }
        }
    }

    fn perform(&mut self, output: Output) -> Option<Input> {
        match output {
            Output::Switchboard(switchboard::Output::Admit { conn }) => {
                Some(Input::Switchboard(switchboard::Input::Opened { conn }))
            }
            Output::Switchboard(switchboard::Output::Send { conn, text }) => {
                let bytes = text.len();
                if text.contains(r#""type":"res""#) {
                    self.last = text.to_string();
                }
                Some(Input::Switchboard(switchboard::Input::Flushed { conn, bytes }))
            }
            Output::Switchboard(switchboard::Output::Close { reason, .. }) => panic!("closed: {reason}"),
            Output::Gateway(gateway::Output::Load { id, query }) => {
                self.store.load(id, query, &self.tell);
                Some(self.report())
            }
            Output::Gateway(gateway::Output::Store(transaction)) => {
                self.store.write(transaction, &self.tell);
                Some(self.report())
            }
            _ => None,
        }
    }

    fn report(&self) -> Input {
        Input::Gateway(match self.told.recv_blocking().unwrap() {
            Report::Stored { id, result } => gateway::Input::Stored { id, result },
            Report::Loaded { id, result } => gateway::Input::Loaded { id, result },
        })
    }

    /// The median and the 99th percentile of a request.
    fn measure(&mut self, what: &str, method: &str, params: &Value) -> Duration {
        let mut bytes = 0;
        let took = times(|| {
            let answer = self.ask(method, params);
            assert!(answer.contains(r#""ok":true"#), "{answer}");
            bytes = answer.len();
        });
        print(what, &took, bytes);
        took[ROUNDS / 2]
    }
}

fn times(mut run: impl FnMut()) -> Vec<Duration> {
    let mut took: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let begun = Instant::now();
            run();
            begun.elapsed()
        })
        .collect();
    took.sort_unstable();
    took
}

fn print(what: &str, took: &[Duration], bytes: usize) {
    let ms = |at: usize| took[at].as_secs_f64() * 1_000.0;
    println!(
        "{what:<58} p50 {:>8.3} ms   p99 {:>8.3} ms   {bytes:>9} bytes",
        ms(ROUNDS / 2),
        ms(ROUNDS * 99 / 100)
    );
}

fn size(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Memory that is resident, in KiB.
fn resident() -> i64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn session(n: usize) -> Op {
    let day = u64::try_from(n).unwrap();
    Op::PutSession(SessionRecord {
        key: SessionKey::new(format!("agent:main:dashboard:{n:08x}-5f1d-4c1e-9a55-1d0e6c1b7d20")),
        session: SessionId::new(format!("{n:08x}-2f4d-4c1e-9a55-1d0e6c1b7d20")),
        updated_at: WALL - day * 1_000,
        entry: Json::of(&json!({
            "label": format!("Notes {n}"), "displayName": format!("Conversation about subject {}", n % 977),
            "firstMessage": "what moves the sea?", "lastMessage": "The Moon, for the most part.",
            "lastChannel": "webchat", "createdAt": WALL, "lastActivityAt": WALL, "pinned": n % 10_000 == 7,
            "archived": n % 100 == 3, "inputTokens": 12, "outputTokens": 7, "totalTokens": 12,
        })),
    })
}

fn message(seq: u64) -> Op {
    let words = "the tide follows the moon and the sun helps a little ";
    let text = format!("{seq} {}", words.repeat(BYTES_PER_MESSAGE / words.len() - 3));
    let message = if seq % 2 == 1 {
        json!({"role": "user", "content": [{"type": "text", "text": text}], "timestamp": WALL})
    } else {
        json!({
            "role": "assistant", "content": [{"type": "text", "text": text}], "provider": "acme", "model": "m",
            "usage": {"input": 12, "output": 7, "totalTokens": 19}, "stopReason": "stop", "timestamp": WALL,
        })
    };
    Op::AppendEntry(TranscriptEntry {
        session: SessionId::new(format!("{:08x}-2f4d-4c1e-9a55-1d0e6c1b7d20", 0)),
        seq,
        id: format!("{seq:08x}"),
        parent: Some(format!("{:08x}", seq - 1)),
        at: WALL,
        run: None,
        message: Json::of(&message),
    })
}

/// Writes the store; says how many messages a second it took.
fn fill(database: &Path, sessions: usize, messages: u64) -> f64 {
    let store = store::open(database).unwrap();
    let (tell, told) = async_channel::unbounded();
    let write = |ops: Vec<Op>| {
        store.write(Transaction { id: TxId(1), ops }, &tell);
        assert!(matches!(told.recv_blocking(), Ok(Report::Stored { result: Ok(()), .. })));
    };
    write((0..sessions).map(session).collect());
    let begun = Instant::now();
    let mut seq = 0;
    while seq < messages {
        let ops: Vec<Op> = (0..PER_TRANSACTION as u64).map(|n| message(seq + n + 1)).collect();
        seq += ops.len() as u64;
        write(ops);
    }
    let rate = seq as f64 / begun.elapsed().as_secs_f64();
    drop(tell);
    let (done, closed) = async_channel::bounded::<()>(1);
    drop((store, done));
    let _ = closed.recv_blocking();
    rate
}

/// The same messages into one table, by SQLite alone.
fn fill_raw(database: &Path, messages: u64) -> f64 {
    let mut raw = Connection::open(database).unwrap();
    raw.execute_batch(
        "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -512;
         CREATE TABLE entries (session TEXT, seq INTEGER, message TEXT, PRIMARY KEY (session, seq));",
    )
    .unwrap();
    let begun = Instant::now();
    let mut seq = 0;
    while seq < messages {
        let group = raw.transaction().unwrap();
        for _ in 0..PER_TRANSACTION {
            seq += 1;
            let Op::AppendEntry(entry) = message(seq) else { continue };
            let row = (entry.session.as_str(), seq, entry.message.as_str());
            group.prepare_cached("INSERT INTO entries VALUES (?1, ?2, ?3)").unwrap().execute(row).unwrap();
        }
        group.commit().unwrap();
    }
    seq as f64 / begun.elapsed().as_secs_f64()
}

/// The last 200 messages, by SQLite alone.
fn read_raw(database: &Path) -> Duration {
    let raw = loop {
        // The store's thread may still be closing the file.
        let raw = Connection::open(database).unwrap();
        raw.execute_batch("PRAGMA cache_size = -512; PRAGMA mmap_size = 0").unwrap();
        if raw.query_row("SELECT count(*) FROM devices", [], |_| Ok(())).is_ok() {
            break raw;
        }
    };
    let id = format!("{:08x}-2f4d-4c1e-9a55-1d0e6c1b7d20", 0);
    let mut bytes = 0;
    let took = times(|| {
        let mut statement = raw
            .prepare_cached("SELECT message FROM entries WHERE session = ?1 ORDER BY seq DESC LIMIT 200")
            .unwrap();
        let rows = statement.query_map([&id], |row| row.get::<_, String>(0)).unwrap();
        bytes = rows.map(|row| row.unwrap().len()).sum();
    });
    print("SQLite alone: last 200 messages", &took, bytes);
    took[ROUNDS / 2]
}

fn main() {
    let sessions = size("TELSON_BENCH_SESSIONS", 50_000);
    let messages = (size("TELSON_BENCH_MB", 1_024) * 1_024 * 1_024 / BYTES_PER_MESSAGE) as u64;
    let dir = tempfile::tempdir().unwrap();
    let database = dir.path().join("telson.db");
    let rate = fill(&database, sessions, messages);
    let raw = fill_raw(&dir.path().join("raw.db"), messages.min(100_000));
    println!(
        "append: {rate:.0} messages/s, SQLite alone without usage, words and indexes: {raw:.0} messages/s ({:.2})",
        raw / rate
    );
    let alone = read_raw(&database);

    let begun = Instant::now();
    let before = resident();
    let mut bench = Bench::on(&database);
    println!(
        "start with {sessions} sessions: {:.0} ms, {} KiB resident",
        begun.elapsed().as_secs_f64() * 1_000.0,
        resident() - before
    );
    for (what, params) in [
        ("first page", json!({"limit": 50})),
        (
            "with titles and last messages",
            json!({"limit": 50, "includeDerivedTitles": true, "includeLastMessage": true}),
        ),
        ("search for one", json!({"limit": 50, "search": "notes 49876"})),
        ("search for none", json!({"limit": 50, "search": "no such words"})),
        ("search for all", json!({"limit": 50, "search": "a"})),
        ("archived", json!({"limit": 50, "archived": true})),
        ("by activity", json!({"limit": 50, "sortBy": "activity", "archived": "all"})),
        ("last hour", json!({"limit": 50, "activeMinutes": 60})),
        ("far back", json!({"limit": 50, "offset": sessions - 2_000})),
    ] {
        bench.measure(&format!("sessions.list: {what}"), "sessions.list", &params);
    }
    let key = "agent:main:dashboard:00000000-5f1d-4c1e-9a55-1d0e6c1b7d20";
    let before = resident();
    let took = bench.measure("chat.history: last 200 messages", "chat.history", &json!({"sessionKey": key}));
    println!(
        "beside SQLite alone: {:.1} times; resident memory grew by {} KiB",
        took.as_secs_f64() / alone.as_secs_f64(),
        resident() - before
    );
    let middle = json!({"sessionKey": key, "offset": messages / 2});
    bench.measure("chat.history: 200 from the middle", "chat.history", &middle);
    let around = json!({"sessionKey": key, "messageId": format!("{:08x}", messages / 3)});
    bench.measure("chat.history: 200 around a message", "chat.history", &around);
    let words = json!({"query": "tide moon"});
    bench.measure("sessions.search: words of every message", "sessions.search", &words);
    bench.measure(
        "sessions.search: one message",
        "sessions.search",
        &json!({"query": (messages / 2).to_string()}),
    );
    bench.measure("usage.cost: 30 days", "usage.cost", &json!({}));
    println!("resident memory grew by {} KiB in all", resident() - before);
}
