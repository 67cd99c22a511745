//! Transactions on their way to the disk.

use rusqlite::{Connection, Params, TransactionBehavior, params};
use telson_core::store::{Op, StoreError, Transaction, TranscriptEntry};

use super::error::failure;
use super::{audit, side};

/// Writes transactions with one commit. Each succeeds or fails by itself, unless the commit as a whole fails.
pub(super) fn commit(connection: &mut Connection, group: &[Transaction]) -> Vec<Result<(), StoreError>> {
    match try_commit(connection, group) {
        Ok(results) => results,
        Err(error) => group.iter().map(|_| Err(failure(&error))).collect(),
    }
}

fn try_commit(
    connection: &mut Connection,
    group: &[Transaction],
) -> rusqlite::Result<Vec<Result<(), StoreError>>> {
    let mut commit = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut results = Vec::with_capacity(group.len());
    for transaction in group {
        let point = commit.savepoint()?;
        let outcome = transaction.ops.iter().try_for_each(|op| apply(&point, op));
        let outcome = outcome.and_then(|()| point.commit());
        if let Err(error) = outcome {
            // A disk that is full may have made SQLite give up the whole commit.
            if commit.is_autocommit() {
                return Err(error);
            }
            results.push(Err(failure(&error)));
        } else {
            results.push(Ok(()));
        }
    }
    commit.commit()?;
    Ok(results)
}

fn apply(connection: &Connection, op: &Op) -> rusqlite::Result<()> {
    let run = |sql: &str, params: &[&dyn rusqlite::ToSql]| execute(connection, sql, params);
    match op {
        Op::PutSession(record) => {
            run(
                "INSERT INTO sessions (key, session, updated_at, entry) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (key) DO UPDATE SET session = ?2, updated_at = ?3, entry = ?4",
                params![
                    record.key.as_str(),
                    record.session.as_str(),
                    record.updated_at,
                    record.entry.as_str()
                ],
            )?;
            side::belongs(connection, record.session.as_str(), record.key.as_str())
        }
        Op::DeleteSession(key) => {
            side::forget_usage(connection, key.as_str())?;
            run("DELETE FROM sessions WHERE key = ?1", params![key.as_str()])
        }
        Op::AppendEntry(entry) => append(connection, entry),
        Op::ArchiveTranscript { session, at } => {
            side::put_away(connection, session.as_str())?;
            run("UPDATE transcripts SET archived_at = ?2 WHERE session = ?1", params![session.as_str(), at])
        }
        Op::CutTranscript { session, from, archive, at } => {
            let (session, archive) = (session.as_str(), archive.as_str());
            run(
                "INSERT INTO transcripts (session, seq, id, archived_at)
                 SELECT ?2, seq, id, ?4 FROM entries WHERE session = ?1 AND seq < ?3 ORDER BY seq DESC LIMIT 1",
                params![session, archive, from, at],
            )?;
            run(
                "UPDATE entries SET session = ?2 WHERE session = ?1 AND seq < ?3",
                params![session, archive, from],
            )?;
            run(
                "UPDATE entries SET parent = NULL WHERE session = ?1 AND parent IS NOT NULL
                 AND parent NOT IN (SELECT id FROM entries WHERE session = ?1)",
                params![session],
            )
        }
        Op::DeleteTranscript(session) => {
            side::put_away(connection, session.as_str())?;
            run("DELETE FROM entries WHERE session = ?1", params![session.as_str()])?;
            run("DELETE FROM transcripts WHERE session = ?1", params![session.as_str()])
        }
        Op::PutDevice(record) => run(
            "INSERT INTO devices (id, record) VALUES (?1, ?2)
             ON CONFLICT (id) DO UPDATE SET record = ?2",
            params![record.id.as_str(), record.record.as_str()],
        ),
        Op::DeleteDevice(id) => run("DELETE FROM devices WHERE id = ?1", params![id.as_str()]),
        Op::PutRecord(record) => run(
            "INSERT INTO records (shelf, key, record) VALUES (?1, ?2, ?3)
             ON CONFLICT (shelf, key) DO UPDATE SET record = ?3",
            params![record.shelf.as_str(), record.key, record.record.as_str()],
        ),
        Op::DeleteRecord { shelf, key } => {
            run("DELETE FROM records WHERE shelf = ?1 AND key = ?2", params![shelf.as_str(), key])
        }
        Op::AppendAudit(record) => audit::append(connection, record),
        Op::PutAnswer(record) => run(
            "INSERT INTO answers (key, digest, at, answer) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (key) DO UPDATE SET digest = ?2, at = ?3, answer = ?4",
            params![record.key, record.digest, record.at, record.answer.as_str()],
        ),
        Op::DeleteAnswers(keys) => {
            keys.iter().try_for_each(|key| run("DELETE FROM answers WHERE key = ?1", params![key]))
        }
        Op::OpenRun(open) => run(
            "INSERT INTO open_runs (run, session_key, answer_key, at) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (run) DO UPDATE SET session_key = ?2, answer_key = ?3, at = ?4",
            params![open.run.as_str(), open.session_key.as_str(), open.answer_key, open.at],
        ),
        Op::CloseRun(run_id) => run("DELETE FROM open_runs WHERE run = ?1", params![run_id.as_str()]),
    }
}

/// Adds an entry, moves the end of its transcript and keeps what is found out about it.
fn append(connection: &Connection, entry: &TranscriptEntry) -> rusqlite::Result<()> {
    let message = entry.message.as_str();
    execute(
        connection,
        "INSERT INTO entries (session, seq, id, parent, at, run, bytes, message)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        params![
            entry.session.as_str(),
            entry.seq,
            entry.id,
            entry.parent,
            entry.at,
            entry.run.as_ref().map(telson_core::RunId::as_str),
            message.len(),
            message
        ],
    )?;
    execute(
        connection,
        "INSERT INTO transcripts (session, seq, id) VALUES (?1, ?2, ?3)
         ON CONFLICT (session) DO UPDATE SET seq = ?2, id = ?3",
        params![entry.session.as_str(), entry.seq, entry.id],
    )?;
    side::take_in(connection, entry.session.as_str(), entry.seq, entry.at, message)
}

fn execute(connection: &Connection, sql: &str, params: impl Params) -> rusqlite::Result<()> {
    connection.prepare_cached(sql)?.execute(params)?;
    Ok(())
}
