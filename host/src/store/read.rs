//! Questions to the store.

use rusqlite::types::Type;
use rusqlite::{Connection, Row, params};
use serde_json::value::RawValue;
use telson_core::store::{
    AnswerRecord, DeviceRecord, Everything, Loaded, OpenRun, Query, Record, SessionRecord, Shelf, StoreError,
    TranscriptEnd, TranscriptEntry,
};
use telson_core::{DeviceId, RunId, SessionId, SessionKey};
use telson_proto::Json;

use super::error::failure;
use super::{audit, page, search, usage};

/// Answers a question.
pub(super) fn load(connection: &Connection, query: &Query) -> Result<Loaded, StoreError> {
    let answer = match query {
        Query::Everything => everything(connection).map(|all| Loaded::Everything(Box::new(all))),
        Query::Tail { session, limit, max_bytes } => {
            tail(connection, session, *limit, *max_bytes).map(Loaded::Entries)
        }
        Query::Page(query) => page::page(connection, query).map(Loaded::Page),
        Query::Search(query) => search::search(connection, query).map(Loaded::Hits),
        Query::Audit(query) => audit::page(connection, query).map(Loaded::Audit),
        Query::Usage(query) => usage::usage(connection, query).map(Loaded::Usage),
    };
    answer.map_err(|error| failure(&error))
}

fn everything(connection: &Connection) -> rusqlite::Result<Everything> {
    Ok(Everything {
        sessions: rows(connection, "SELECT key, session, updated_at, entry FROM sessions", |row| {
            Ok(SessionRecord {
                key: SessionKey::new(row.get::<_, String>(0)?),
                session: SessionId::new(row.get::<_, String>(1)?),
                updated_at: row.get(2)?,
                entry: json(row, 3)?,
            })
        })?,
        devices: rows(connection, "SELECT id, record FROM devices", |row| {
            Ok(DeviceRecord { id: DeviceId::new(row.get::<_, String>(0)?), record: json(row, 1)? })
        })?,
        answers: rows(connection, "SELECT key, digest, at, answer FROM answers ORDER BY at, rowid", |row| {
            Ok(AnswerRecord { key: row.get(0)?, digest: row.get(1)?, at: row.get(2)?, answer: json(row, 3)? })
        })?,
        open_runs: rows(
            connection,
            "SELECT run, session_key, answer_key, at FROM open_runs ORDER BY rowid",
            |row| {
                Ok(OpenRun {
                    run: RunId::new(row.get::<_, String>(0)?),
                    session_key: SessionKey::new(row.get::<_, String>(1)?),
                    answer_key: row.get(2)?,
                    at: row.get(3)?,
                })
            },
        )?,
        transcripts: rows(
            connection,
            "SELECT session, seq, id FROM transcripts WHERE archived_at IS NULL",
            |row| {
                Ok(TranscriptEnd {
                    session: SessionId::new(row.get::<_, String>(0)?),
                    seq: row.get(1)?,
                    id: row.get(2)?,
                })
            },
        )?,
        records: records(connection)?,
    })
}

/// Small records. One of a shelf that this program does not know stays where it is.
fn records(connection: &Connection) -> rusqlite::Result<Vec<Record>> {
    let all = rows(connection, "SELECT shelf, key, record FROM records", |row| {
        let word: String = row.get(0)?;
        let shelf = Shelf::ALL.iter().copied().find(|shelf| shelf.as_str() == word);
        shelf.map(|shelf| Ok(Record { shelf, key: row.get(1)?, record: json(row, 2)? })).transpose()
    })?;
    Ok(all.into_iter().flatten().collect())
}

fn rows<T>(
    connection: &Connection,
    sql: &str,
    read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    connection.prepare(sql)?.query_map([], read)?.collect()
}

pub(super) const TAIL: &str = "SELECT seq, id, parent, at, run, bytes, message FROM entries
    WHERE session = ?1 AND (SELECT archived_at IS NULL FROM transcripts WHERE session = ?1)
    ORDER BY seq DESC LIMIT ?2";

/// The end of a transcript. Walks the index backwards and stops at the first entry that does not fit, whose
/// message is not read.
fn tail(
    connection: &Connection,
    session: &SessionId,
    limit: usize,
    max_bytes: usize,
) -> rusqlite::Result<Vec<TranscriptEntry>> {
    let mut statement = connection.prepare_cached(TAIL)?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut rows = statement.query(params![session.as_str(), limit])?;
    let mut entries = Vec::new();
    let mut room = max_bytes;
    while let Some(row) = rows.next()? {
        match room.checked_sub(row.get(5)?) {
            Some(rest) => room = rest,
            None if entries.is_empty() => room = 0,
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
    entries.reverse();
    Ok(entries)
}

/// A column that holds JSON.
pub(super) fn json(row: &Row<'_>, column: usize) -> rusqlite::Result<Json> {
    let text: String = row.get(column)?;
    let raw = RawValue::from_string(text)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error)))?;
    Ok(Json::from(&*raw))
}
