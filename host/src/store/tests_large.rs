//! Pages, words and the book of usage, held against what the same questions find in memory.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use rusqlite::{Connection, params};
use serde_json::{Value, json};
use telson_core::store::{
    Op, Page, PageQuery, Place, SearchHits, SearchQuery, SessionRecord, Transaction, TranscriptEntry,
    words_of,
};
use telson_core::usage::{Grain, Span, UnknownZone, UsageQuery, UsageTable, Whose, Zone};
use telson_core::{RunId, SessionId, SessionKey, TxId};
use telson_proto::Json;

use super::{connect, make_private, page, schema, search, side, usage, write};

const NOON: u64 = 1_769_774_400_000; // 2026-01-30 12:00 UTC
const DAY: u64 = 86_400_000;

/// A database of its own and what it holds.
struct Desk {
    _dir: tempfile::TempDir,
    raw: Connection,
    kept: Vec<TranscriptEntry>,
}

impl Desk {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("telson.db");
        make_private(&path).unwrap();
        let mut raw = connect(&path).unwrap();
        schema::migrate(&mut raw).unwrap();
        Self { _dir: dir, raw, kept: Vec::new() }
    }

    fn write(&mut self, ops: Vec<Op>) {
        for op in &ops {
            if let Op::AppendEntry(entry) = op {
                self.kept.push(entry.clone());
            }
        }
        let results = write::commit(&mut self.raw, &[Transaction { id: TxId(1), ops }]);
        assert_eq!(results, [Ok(())]);
    }

    fn session(&mut self, key: &str, session: &str) {
        self.write(vec![Op::PutSession(SessionRecord {
            key: SessionKey::new(key),
            session: SessionId::new(session),
            updated_at: 1,
            entry: Json::empty(),
        })]);
    }

    fn say(&mut self, session: &str, seq: u64, at: u64, message: &Value) {
        self.write(vec![Op::AppendEntry(TranscriptEntry {
            session: SessionId::new(session),
            seq,
            id: format!("{seq:08x}"),
            parent: None,
            at,
            run: Some(RunId::new(format!("run-{}", seq / 2))),
            message: Json::of(message),
        })]);
    }

    fn page(&self, query: &PageQuery) -> Page {
        page::page(&self.raw, query).unwrap()
    }

    fn search(&self, query: &SearchQuery) -> SearchHits {
        search::search(&self.raw, query).unwrap()
    }

    fn usage(&self, query: &UsageQuery) -> Result<UsageTable, UnknownZone> {
        usage::usage(&self.raw, query).unwrap()
    }

    fn count(&self, table: &str) -> i64 {
        self.raw.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
    }
}

fn user(text: &str) -> Value {
    json!({"role": "user", "content": [{"type": "text", "text": text}]})
}

fn answer(text: &str, usage: &Value) -> Value {
    json!({
        "role": "assistant", "provider": "acme", "model": "m", "usage": usage,
        "content": [{"type": "text", "text": text}],
    })
}

fn query(place: Place, limit: usize, max_bytes: usize) -> PageQuery {
    let runs = vec![RunId::new("run-3"), RunId::new("run-99")];
    PageQuery { session: SessionId::new("s"), place, limit, max_bytes, brief: true, runs }
}

fn find(text: &str) -> SearchQuery {
    SearchQuery { words: words_of(text), sessions: None, key_prefix: None, limit: 25 }
}

#[test]
fn pages_are_those_that_memory_would_give() {
    let mut desk = Desk::new();
    desk.session("agent:main:main", "s");
    // Positions have gaps where a transaction failed; sizes differ.
    for seq in (1..60).filter(|seq| seq % 7 != 0) {
        desk.say("s", seq, seq, &user(&"x".repeat(usize::try_from(seq % 5).unwrap() * 40)));
    }
    let all = desk.kept.clone();
    let mut places = vec![Place::Around("ffffffff".to_owned())];
    for n in [0_u64, 1, 2, 6, 7, 8, 30, 57, 58, 59, 70] {
        places.push(Place::End(usize::try_from(n).unwrap()));
        places.extend([Place::Before(n), Place::After(n), Place::Around(format!("{n:08x}"))]);
    }
    for place in places {
        for limit in [1, 2, 5, 100] {
            for max_bytes in [0, 90, 500, 100_000] {
                let query = query(place.clone(), limit, max_bytes);
                let (found, wanted) = (desk.page(&query), query.of(&all));
                let found_ends = (found.earlier, found.later);
                assert_eq!(found.entries, wanted.entries, "{query:?}");
                assert_eq!(found.words_of, wanted.words_of, "{query:?}");
                if !found.entries.is_empty() {
                    assert_eq!(found_ends, (wanted.earlier, wanted.later), "{query:?}");
                }
            }
        }
    }
}

#[test]
fn a_page_leaves_the_pictures_of_long_messages_on_the_disk() {
    let mut desk = Desk::new();
    desk.session("agent:main:main", "s");
    let picture = json!({"role": "user", "content": [
        {"type": "text", "text": "look"}, {"type": "image", "mimeType": "image/png", "data": "x".repeat(400_000)},
    ]});
    for seq in 1..=20 {
        desk.say("s", seq, seq, &picture);
    }
    let page = desk.page(&query(Place::End(0), 20, 100_000));
    assert_eq!(page.entries.len(), 20, "their brief forms fit");
    assert!(page.entries[0].message.as_str().len() < 1_000);
    assert_eq!(page.entries[0].message.to_value()["content"][1]["bytes"], 300_000);
    let whole = PageQuery { brief: false, ..query(Place::End(0), 20, 100_000) };
    let page = desk.page(&whole);
    assert_eq!((page.entries.len(), page.entries[0].message.to_value()), (1, picture));
}

#[test]
fn pages_walk_the_index() {
    let desk = Desk::new();
    for sql in [page::BACK, page::FORTH] {
        let mut statement = desk.raw.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let plan: Vec<String> = statement
            .query_map(params!["s", 10, true, 200, 0], |row| row.get(3))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        assert!(plan[0].contains("USING INDEX") && plan[0].contains("session=?"), "{plan:?}");
        assert!(!plan.iter().any(|step| step.contains("TEMP B-TREE")), "nothing is sorted: {plan:?}");
    }
}

#[test]
fn words_are_found_until_their_transcript_is_put_away() {
    let mut desk = Desk::new();
    for (key, session) in [("agent:main:main", "s"), ("agent:ops:x", "t")] {
        desk.session(key, session);
    }
    desk.say("s", 1, 1, &user("What moves the sea?"));
    desk.say("s", 2, 2, &answer("The Moon, my dear: Ebbe und Flut, ÜBERALL.", &json!({})));
    desk.say("t", 1, 3, &user("moonlight"));
    desk.say("t", 2, 4, &json!({"role": "toolResult", "content": "moon"}));
    let found = |query: &SearchQuery, desk: &Desk| -> Vec<(String, String)> {
        let hits = desk.search(query).hits;
        hits.into_iter().map(|hit| (hit.session.to_string(), hit.id)).collect()
    };
    let hit = |session: &str, seq: u64| (session.to_owned(), format!("{seq:08x}"));
    assert_eq!(found(&find("MOON"), &desk), [hit("t", 1), hit("s", 2)]);
    assert_eq!(found(&find("überall"), &desk), [hit("s", 2)]);
    assert_eq!(found(&find("sea moon"), &desk), []);
    assert_eq!(found(&find("moon \"quoted* OR -odd"), &desk), []);
    let ops = SearchQuery { key_prefix: Some("agent:ops:".to_owned()), ..find("moon") };
    assert_eq!(found(&ops, &desk), [hit("t", 1)]);
    let one =
        SearchQuery { sessions: Some(vec![SessionId::new("s"), SessionId::new("none")]), ..find("moon") };
    assert_eq!(found(&one, &desk), [hit("s", 2)]);
    desk.write(vec![Op::ArchiveTranscript { session: SessionId::new("s"), at: 9 }]);
    desk.write(vec![Op::DeleteTranscript(SessionId::new("t"))]);
    assert_eq!(found(&find("moon"), &desk), []);
    assert_eq!(desk.count("words"), 0);
}

#[test]
fn words_that_occur_everywhere_do_not_make_a_question_long() {
    let mut desk = Desk::new();
    desk.session("agent:main:main", "s");
    for seq in 1..=500 {
        desk.say("s", seq, seq, &user("moon"));
    }
    let found = desk.search(&find("moon"));
    assert_eq!((found.hits.len(), found.truncated, found.indexing), (25, true, false));
    assert_eq!(found.hits[0].at, 500);
}

#[test]
fn sums_are_those_that_memory_would_give() {
    let mut desk = Desk::new();
    for (key, session) in [("agent:main:main", "s"), ("agent:ops:x", "t"), ("global", "g")] {
        desk.session(key, session);
    }
    let costs = [
        json!({"input": 10, "output": 5, "cost": {"total": 0.25, "input": 0.25}}),
        json!({"input": 7}),
        json!({}),
    ];
    let mut seq = 0;
    for day in 0..40 {
        for (session, usage) in ["s", "t", "g"].iter().zip(&costs) {
            seq += 1;
            desk.say(session, seq, NOON - day * DAY, &user("x"));
            seq += 1;
            let tool = json!({"type": "toolCall", "name": "exec"});
            let mut message = answer("y", usage);
            message["content"] = json!([tool, tool]);
            desk.say(session, seq, NOON - day * DAY + 50_000_000, &message);
        }
    }
    let keys = [
        ("s", SessionKey::new("agent:main:main")),
        ("t", SessionKey::new("agent:ops:x")),
        ("g", SessionKey::new("global")),
    ];
    let kept = desk.kept.clone();
    let key_of =
        |entry: &TranscriptEntry| &keys.iter().find(|(id, _)| *id == entry.session.as_str()).unwrap().1;
    let sessions = vec![(keys[0].1.clone(), SessionId::new("s")), (keys[1].1.clone(), SessionId::new("t"))];
    let agent = |prefix: &str, default| Whose::Agent { prefix: prefix.to_owned(), default };
    let whose = [
        Whose::Everyone,
        agent("agent:main:", true),
        agent("agent:ops:", false),
        Whose::Sessions { sessions: sessions.clone(), history: false },
        Whose::Sessions { sessions, history: true },
    ];
    let day = i64::try_from(NOON / DAY).unwrap();
    let spans = [
        Span::Since(NOON - 3 * DAY),
        Span::Days(day - 5, day - 1),
        Span::Last(NOON, 7),
        Span::Last(NOON, i64::MAX),
    ];
    for whose in whose {
        for span in spans {
            for zone in [Zone::Utc, Zone::Offset(600), Zone::Offset(-570)] {
                for grain in [Grain::Day, Grain::Points(7)] {
                    if matches!(grain, Grain::Points(_))
                        && !matches!((&whose, span), (Whose::Sessions { .. }, Span::Last(_, i64::MAX)))
                    {
                        continue;
                    }
                    let query = UsageQuery { whose: whose.clone(), span, zone: zone.clone(), grain };
                    let mut wanted = query.of(kept.iter().map(|entry| (key_of(entry), entry))).unwrap();
                    let mut found = desk.usage(&query).unwrap();
                    if matches!(grain, Grain::Points(_)) {
                        // In memory the points of several sessions are counted together.
                        found.rows.clear();
                        wanted.rows.clear();
                    }
                    assert_eq!(found, wanted, "{query:?}");
                }
            }
        }
    }
}

#[test]
fn a_day_is_that_of_the_zone_also_when_clocks_change() {
    let mut desk = Desk::new();
    desk.session("agent:main:main", "s");
    // Berlin, 2026-03-29: one o'clock UTC is when two becomes three. Midnights are at 23:00 and at 22:00 UTC.
    let midnights = [1_774_738_800_000_u64, 1_774_821_600_000];
    for (n, at) in midnights.iter().flat_map(|at| [at - 1, *at]).enumerate() {
        desk.say("s", u64::try_from(n).unwrap() + 1, at, &answer("x", &json!({"input": 1})));
    }
    let of = |zone: &str| {
        let query = UsageQuery {
            whose: Whose::Everyone,
            span: Span::Last(midnights[1], 3),
            zone: Zone::Named(zone.to_owned()),
            grain: Grain::Day,
        };
        desk.usage(&query).map(|table| table.rows.iter().map(|row| row.sums.calls).collect::<Vec<_>>())
    };
    assert_eq!(of("Europe/Berlin"), Ok(vec![1, 2, 1]));
    assert_eq!(of("Middle-earth/Shire"), Err(UnknownZone("Middle-earth/Shire".to_owned())));
    assert!(of(&"x".repeat(10_000)).is_err());
    assert!(of("../../etc/passwd").is_err());
}

#[test]
fn a_reset_keeps_what_was_used_and_a_deletion_does_not() {
    let mut desk = Desk::new();
    desk.session("agent:main:main", "s");
    desk.say("s", 1, NOON, &answer("x", &json!({"input": 7})));
    desk.write(vec![Op::ArchiveTranscript { session: SessionId::new("s"), at: 9 }]);
    desk.session("agent:main:main", "s2");
    desk.say("s2", 1, NOON, &answer("x", &json!({"input": 5})));
    let sum = |desk: &Desk| {
        let span = Span::Since(0);
        let query = UsageQuery { whose: Whose::Everyone, span, zone: Zone::Utc, grain: Grain::Day };
        desk.usage(&query).unwrap().rows.iter().map(|row| row.sums.tokens.input).sum::<u64>()
    };
    assert_eq!(sum(&desk), 12);
    desk.write(vec![Op::DeleteSession(SessionKey::new("agent:main:main"))]);
    assert_eq!(sum(&desk), 0);
}

#[test]
fn older_entries_are_read_into_newer_tables_in_idle_moments() {
    let mut desk = Desk::new();
    desk.session("agent:main:main", "s");
    for seq in 1..=250 {
        desk.say("s", seq, NOON, &answer("moon", &json!({"input": 1})));
    }
    // As an older program has left it.
    desk.raw
        .execute_batch("DELETE FROM words; DELETE FROM usage; INSERT INTO unread SELECT session, 1, seq FROM transcripts")
        .unwrap();
    assert!(desk.search(&find("moon")).indexing);
    assert!(side::catch_up(&mut desk.raw).unwrap());
    assert_eq!((desk.count("words"), desk.count("usage")), (100, 100));
    desk.say("s", 251, NOON, &answer("moon", &json!({"input": 1})));
    while side::catch_up(&mut desk.raw).unwrap() {}
    assert_eq!((desk.count("words"), desk.count("usage")), (251, 251));
    assert!(!desk.search(&find("moon")).indexing);
    assert!(!side::catch_up(&mut desk.raw).unwrap());
}
