//! The search over transcripts.
//!
//! The index of words narrows down to the entries that contain every word, newest transcript first; at most
//! [`MAX_CANDIDATES`] of them are read. So no question takes long, however often its words occur.

use rusqlite::{Connection, OptionalExtension as _, Params, params};
use telson_core::SessionId;
use telson_core::store::{MAX_CANDIDATES, SearchHits, SearchQuery, TranscriptEntry};

use super::read::json;
use super::side;

const EVERYWHERE: &str = "SELECT rowid FROM words WHERE words MATCH ?1 ORDER BY rowid DESC LIMIT ?2";
const WITH_PREFIX: &str = "SELECT w.rowid FROM words w CROSS JOIN shelves s ON s.number = w.rowid >> 32
    WHERE words MATCH ?1 AND s.key >= ?3 AND s.key < ?3 || char(1114111) ORDER BY w.rowid DESC LIMIT ?2";
const IN_ONE: &str = "SELECT rowid FROM words
    WHERE words MATCH ?1 AND rowid BETWEEN ?3 AND ?4 ORDER BY rowid DESC LIMIT ?2";

pub(super) fn search(connection: &Connection, query: &SearchQuery) -> rusqlite::Result<SearchHits> {
    let wanted = expression(query);
    let most = i64::try_from(MAX_CANDIDATES + 1).unwrap_or(i64::MAX);
    let mut found = match (&query.sessions, &query.key_prefix) {
        (Some(sessions), _) => {
            let mut found = Vec::new();
            for session in sessions {
                let Some(shelf) = shelf(connection, session.as_str())? else { continue };
                let (first, last) = (side::word_row(shelf, 0), side::word_row(shelf, u64::from(u32::MAX)));
                found.extend(numbers(connection, IN_ONE, params![wanted, most, first, last])?);
            }
            found.sort_unstable_by(|a, b| b.cmp(a));
            found
        }
        (None, Some(prefix)) => numbers(connection, WITH_PREFIX, params![wanted, most, prefix])?,
        (None, None) => numbers(connection, EVERYWHERE, params![wanted, most])?,
    };
    let more = found.len() > MAX_CANDIDATES;
    found.truncate(MAX_CANDIDATES);
    let mut hits = Vec::with_capacity(found.len());
    for number in found {
        // One at a time: no more than one message is in memory.
        let entry = entry(connection, number)?;
        hits.extend(entry.and_then(|entry| query.hit(&entry)));
    }
    let mut hits = query.best(hits);
    hits.truncated |= more;
    hits.indexing = side::is_behind(connection)?;
    Ok(hits)
}

/// The words as the index is asked for them: all of them, in any order. Words are letters and digits alone.
fn expression(query: &SearchQuery) -> String {
    let words = query.words.iter().enumerate();
    let words = words.map(|(n, word)| format!("\"{word}\"{}", if query.is_prefix(n) { "*" } else { "" }));
    words.collect::<Vec<_>>().join(" ")
}

fn numbers(connection: &Connection, sql: &str, params: impl Params) -> rusqlite::Result<Vec<i64>> {
    connection.prepare_cached(sql)?.query_map(params, |row| row.get(0))?.collect()
}

fn shelf(connection: &Connection, session: &str) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached("SELECT number FROM shelves WHERE session = ?1")?
        .query_row([session], |row| row.get(0))
        .optional()
}

fn entry(connection: &Connection, number: i64) -> rusqlite::Result<Option<TranscriptEntry>> {
    connection
        .prepare_cached(
            "SELECT e.session, e.seq, e.id, e.parent, e.at, coalesce(b.message, e.message)
             FROM shelves s JOIN entries e ON e.session = s.session AND e.seq = ?2
             LEFT JOIN briefs b ON b.session = e.session AND b.seq = e.seq
             WHERE s.number = ?1",
        )?
        .query_row([number >> 32, number & i64::from(u32::MAX)], |row| {
            Ok(TranscriptEntry {
                session: SessionId::new(row.get::<_, String>(0)?),
                seq: row.get(1)?,
                id: row.get(2)?,
                parent: row.get(3)?,
                at: row.get(4)?,
                run: None,
                message: json(row, 5)?,
            })
        })
        .optional()
}
