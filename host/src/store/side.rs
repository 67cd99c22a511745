//! What is kept beside a message: its line in the book of usage, its words for the search, its brief form.
//!
//! It is written in the message's own transaction. Entries from before these tables existed are read into them
//! in idle moments, a batch at a time.

use rusqlite::{Connection, OptionalExtension as _, params};
use serde_json::Value;
use telson_core::store::{brief, index_text, visible_text};
use telson_core::usage::{Record, Speaker};

/// A batch of older entries is at most so many, and so many bytes of messages but for the first.
const BATCH: (usize, usize) = (100, 1024 * 1024);

/// The number of a transcript, made when it has none.
pub(super) fn shelf(connection: &Connection, session: &str) -> rusqlite::Result<i64> {
    let known = connection
        .prepare_cached("SELECT number FROM shelves WHERE session = ?1")?
        .query_row([session], |row| row.get(0))
        .optional()?;
    if let Some(number) = known {
        return Ok(number);
    }
    connection
        .prepare_cached(
            "INSERT INTO shelves (session, key)
             VALUES (?1, coalesce((SELECT min(key) FROM sessions WHERE session = ?1), ''))",
        )?
        .execute([session])?;
    Ok(connection.last_insert_rowid())
}

/// Notes which session a transcript belongs to.
pub(super) fn belongs(connection: &Connection, session: &str, key: &str) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO shelves (session, key) VALUES (?1, ?2)
             ON CONFLICT (session) DO UPDATE SET key = ?2 WHERE key IS NOT ?2",
        )?
        .execute([session, key])?;
    Ok(())
}

/// The number of an entry in the index of words.
pub(super) fn word_row(shelf: i64, seq: u64) -> i64 {
    (shelf << 32) | i64::try_from(seq & u64::from(u32::MAX)).unwrap_or(0)
}

/// Takes a message in.
pub(super) fn take_in(
    connection: &Connection,
    session: &str,
    seq: u64,
    at: u64,
    text: &str,
) -> rusqlite::Result<()> {
    let Ok(message) = serde_json::from_str::<Value>(text) else { return Ok(()) };
    let shelf = shelf(connection, session)?;
    if let Some(record) = Record::of(&message) {
        account(connection, (shelf, seq, at), &record)?;
    }
    if let Some((_, words)) = visible_text(&message) {
        connection
            .prepare_cached("INSERT INTO words (rowid, text) VALUES (?1, ?2)")?
            .execute(params![word_row(shelf, seq), index_text(&words)])?;
    }
    if let Some(brief) = brief(text.len(), &message) {
        connection
            .prepare_cached("INSERT OR REPLACE INTO briefs (session, seq, message) VALUES (?1, ?2, ?3)")?
            .execute(params![session, seq, brief.to_string()])?;
    }
    Ok(())
}

fn account(
    connection: &Connection,
    (shelf, seq, at): (i64, u64, u64),
    record: &Record,
) -> rusqlite::Result<()> {
    let speaker = match record.speaker {
        Speaker::User => 0,
        Speaker::Assistant => 1,
        Speaker::Tool => 2,
    };
    let (tokens, cost) = (record.tokens.as_ref(), record.cost.as_ref());
    let tools = (!record.tools.is_empty()).then(|| record.tools.join("\n"));
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO usage (shelf, seq, at, speaker, failed, provider, model,
                 input, output, cache_read, cache_write, total,
                 cost, cost_input, cost_output, cost_cache_read, cost_cache_write, tools)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)",
        )?
        .execute(params![
            shelf,
            seq,
            at,
            speaker,
            record.failed,
            record.provider,
            record.model,
            tokens.map(|tokens| tokens.input),
            tokens.map(|tokens| tokens.output),
            tokens.map(|tokens| tokens.cache_read),
            tokens.map(|tokens| tokens.cache_write),
            tokens.map(|tokens| tokens.total),
            cost.map(|cost| cost.total),
            cost.map(|cost| cost.input),
            cost.map(|cost| cost.output),
            cost.map(|cost| cost.cache_read),
            cost.map(|cost| cost.cache_write),
            tools,
        ])?;
    Ok(())
}

/// A transcript is out of reach: nobody finds its words any more. What it used stays in the book.
pub(super) fn put_away(connection: &Connection, session: &str) -> rusqlite::Result<()> {
    connection.prepare_cached("DELETE FROM unread WHERE session = ?1")?.execute([session])?;
    connection.prepare_cached("DELETE FROM briefs WHERE session = ?1")?.execute([session])?;
    let number: Option<i64> = connection
        .prepare_cached("SELECT number FROM shelves WHERE session = ?1")?
        .query_row([session], |row| row.get(0))
        .optional()?;
    if let Some(number) = number {
        connection
            .prepare_cached("DELETE FROM words WHERE rowid BETWEEN ?1 AND ?2")?
            .execute([word_row(number, 0), word_row(number, u64::from(u32::MAX))])?;
    }
    Ok(())
}

/// A session is deleted: what it used vanishes from the sums (spec 02 §16.2).
pub(super) fn forget_usage(connection: &Connection, key: &str) -> rusqlite::Result<()> {
    connection
        .prepare_cached("DELETE FROM usage WHERE shelf IN (SELECT number FROM shelves WHERE key = ?1)")?
        .execute([key])?;
    Ok(())
}

/// Whether older entries wait to be read.
pub(super) fn is_behind(connection: &Connection) -> rusqlite::Result<bool> {
    connection.prepare_cached("SELECT EXISTS (SELECT 1 FROM unread)")?.query_row([], |row| row.get(0))
}

/// Reads a batch of older entries. Says whether more wait.
pub(super) fn catch_up(connection: &mut Connection) -> rusqlite::Result<bool> {
    let batch = connection.transaction()?;
    let first: Option<(String, u64, u64)> = batch
        .prepare_cached("SELECT session, next, last FROM unread LIMIT 1")?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let Some((session, next, last)) = first else { return Ok(false) };
    let reached = read_batch(&batch, &session, next, last)?;
    if reached < last {
        batch
            .prepare_cached("UPDATE unread SET next = ?2 WHERE session = ?1")?
            .execute(params![session, reached + 1])?;
    } else {
        batch.prepare_cached("DELETE FROM unread WHERE session = ?1")?.execute([&session])?;
    }
    batch.commit()?;
    is_behind(connection)
}

/// Says how far it came.
fn read_batch(connection: &Connection, session: &str, next: u64, last: u64) -> rusqlite::Result<u64> {
    let mut statement = connection.prepare_cached(
        "SELECT seq, at, bytes, message FROM entries WHERE session = ?1 AND seq BETWEEN ?2 AND ?3 ORDER BY seq",
    )?;
    let mut rows = statement.query(params![session, next, last])?;
    let (mut count, mut room, mut reached) = (0, BATCH.1, next - 1);
    while let Some(row) = rows.next()? {
        let bytes: usize = row.get(2)?;
        if count == BATCH.0 || (count > 0 && bytes > room) {
            return Ok(reached);
        }
        (count, room) = (count + 1, room.saturating_sub(bytes));
        reached = row.get(0)?;
        take_in(connection, session, reached, row.get(1)?, row.get_ref(3)?.as_str()?)?;
    }
    Ok(last)
}
