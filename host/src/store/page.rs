//! Pages of transcripts.
//!
//! Every page walks the index of positions and stops where it is full: the message of an entry that does not
//! fit is not read, and a long message with a brief form is not read at all when that is asked for.

use rusqlite::{Connection, OptionalExtension as _, Params, params};
use telson_core::store::{Page, PageQuery, Place, TranscriptEntry};
use telson_core::{RunId, SessionId};

use super::read::json;

/// Up to a position, the newest first.
pub(super) const BACK: &str = "SELECT e.seq, e.id, e.parent, e.at, e.run,
        coalesce(octet_length(b.message), e.bytes), coalesce(b.message, e.message)
    FROM entries e LEFT JOIN briefs b ON ?3 AND b.session = e.session AND b.seq = e.seq
    WHERE e.session = ?1 AND e.seq <= ?2 ORDER BY e.seq DESC LIMIT ?4 OFFSET ?5";
/// From a position on, the oldest first.
pub(super) const FORTH: &str = "SELECT e.seq, e.id, e.parent, e.at, e.run,
        coalesce(octet_length(b.message), e.bytes), coalesce(b.message, e.message)
    FROM entries e LEFT JOIN briefs b ON ?3 AND b.session = e.session AND b.seq = e.seq
    WHERE e.session = ?1 AND e.seq >= ?2 ORDER BY e.seq LIMIT ?4 OFFSET ?5";

/// How much more a page may take.
struct Room {
    bytes: usize,
    /// One entry comes whatever its size.
    at_least_one: bool,
}

pub(super) fn page(connection: &Connection, query: &PageQuery) -> rusqlite::Result<Page> {
    let session = query.session.as_str();
    if !is_live(connection, session)? {
        return Ok(Page::default());
    }
    let mut room = Room { bytes: query.max_bytes, at_least_one: true };
    let walk = |sql: &str, from: i64, limit: usize, skip: usize, room: &mut Room| {
        let (limit, skip) = (length(limit), length(skip));
        entries(connection, sql, params![session, from, query.brief, limit, skip], &query.session, room)
    };
    let entries = match &query.place {
        Place::End(skip) => reversed(walk(BACK, i64::MAX, query.limit, *skip, &mut room)?),
        Place::Before(seq) => reversed(walk(BACK, number(*seq) - 1, query.limit, 0, &mut room)?),
        Place::After(seq) => walk(FORTH, number(*seq).saturating_add(1), query.limit, 0, &mut room)?,
        Place::Around(id) => {
            let Some(seq) = seq_of(connection, session, id)? else { return Ok(Page::default()) };
            let mut later = Room { bytes: query.max_bytes / 2, at_least_one: false };
            let after = walk(FORTH, seq + 1, query.limit / 2, 0, &mut later)?;
            room.bytes -= query.max_bytes / 2 - later.bytes;
            let before = walk(BACK, seq, query.limit.saturating_sub(after.len()), 0, &mut room)?;
            let mut entries = reversed(before);
            entries.extend(after);
            entries
        }
    };
    let beyond = |seq: Option<u64>, sql: &str| match seq {
        Some(seq) => exists(connection, sql, params![session, seq]),
        None => Ok(false),
    };
    let ends = (entries.first().map(|entry| entry.seq), entries.last().map(|entry| entry.seq));
    let (earlier, later) = match (&query.place, ends) {
        // Behind the end there is everything, before the beginning nothing.
        (Place::End(_) | Place::Around(_), (None, _)) => (false, false),
        (Place::Before(seq), (None, _)) => (false, beyond(Some(seq.saturating_sub(1)), LATER)?),
        (Place::After(seq), (None, _)) => (beyond(seq.checked_add(1), EARLIER)?, false),
        (_, (first, last)) => (beyond(first, EARLIER)?, beyond(last, LATER)?),
    };
    Ok(Page { entries, earlier, later, words_of: words_of(connection, session, &query.runs)? })
}

const EARLIER: &str = "SELECT EXISTS (SELECT 1 FROM entries WHERE session = ?1 AND seq < ?2)";
const LATER: &str = "SELECT EXISTS (SELECT 1 FROM entries WHERE session = ?1 AND seq > ?2)";

fn exists(connection: &Connection, sql: &str, params: impl Params) -> rusqlite::Result<bool> {
    connection.prepare_cached(sql)?.query_row(params, |row| row.get(0))
}

fn is_live(connection: &Connection, session: &str) -> rusqlite::Result<bool> {
    exists(
        connection,
        "SELECT EXISTS (SELECT 1 FROM transcripts WHERE session = ?1 AND archived_at IS NULL)",
        [session],
    )
}

fn seq_of(connection: &Connection, session: &str, id: &str) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached("SELECT seq FROM entries WHERE id = ?2 AND session = ?1 ORDER BY +seq LIMIT 1")?
        .query_row([session, id], |row| row.get(0))
        .optional()
}

/// The entry with the words of each run: its first.
fn words_of(
    connection: &Connection,
    session: &str,
    runs: &[RunId],
) -> rusqlite::Result<Vec<(RunId, String)>> {
    let mut statement = connection
        .prepare_cached("SELECT id FROM entries WHERE run = ?2 AND session = ?1 ORDER BY +seq LIMIT 1")?;
    let mut found = Vec::new();
    for run in runs {
        let id = statement.query_row([session, run.as_str()], |row| row.get(0)).optional()?;
        found.extend(id.map(|id| (run.clone(), id)));
    }
    Ok(found)
}

fn entries(
    connection: &Connection,
    sql: &str,
    params: impl Params,
    session: &SessionId,
    room: &mut Room,
) -> rusqlite::Result<Vec<TranscriptEntry>> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    let mut entries = Vec::new();
    while let Some(row) = rows.next()? {
        match room.bytes.checked_sub(row.get(5)?) {
            Some(rest) => room.bytes = rest,
            None if entries.is_empty() && room.at_least_one => room.bytes = 0,
            None => break,
        }
        entries.push(TranscriptEntry {
            session: session.clone(),
            seq: row.get(0)?,
            id: row.get(1)?,
            parent: row.get(2)?,
            at: row.get(3)?,
            run: row.get::<_, Option<String>>(4)?.map(RunId::new),
            message: json(row, 6)?,
        });
    }
    Ok(entries)
}

fn reversed(mut entries: Vec<TranscriptEntry>) -> Vec<TranscriptEntry> {
    entries.reverse();
    entries
}

fn number(seq: u64) -> i64 {
    i64::try_from(seq).unwrap_or(i64::MAX)
}

fn length(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}
