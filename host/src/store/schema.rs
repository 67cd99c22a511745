//! The tables, and how older ones become them. Only forwards: a program never touches a newer file.

use rusqlite::{Connection, TransactionBehavior};

use super::StoreOpenError;

/// Each entry leads from the version that is its index to the next. Entries are never changed once released.
const MIGRATIONS: &[&str] = &["
    CREATE TABLE sessions (
        key        TEXT PRIMARY KEY,
        session    TEXT NOT NULL,
        updated_at INTEGER NOT NULL,
        entry      TEXT NOT NULL
    ) STRICT;

    -- Where each transcript ends, so that a start does not read the entries.
    CREATE TABLE transcripts (
        session     TEXT PRIMARY KEY,
        seq         INTEGER NOT NULL,
        id          TEXT NOT NULL,
        archived_at INTEGER
    ) STRICT;

    -- The size stands before the message: it is known without reading the message's pages.
    CREATE TABLE entries (
        session TEXT NOT NULL,
        seq     INTEGER NOT NULL,
        id      TEXT NOT NULL,
        parent  TEXT,
        at      INTEGER NOT NULL,
        run     TEXT,
        bytes   INTEGER NOT NULL,
        message TEXT NOT NULL,
        PRIMARY KEY (session, seq)
    ) STRICT;

    CREATE TABLE devices (
        id     TEXT PRIMARY KEY,
        record TEXT NOT NULL
    ) STRICT;

    CREATE TABLE answers (
        key    TEXT PRIMARY KEY,
        digest TEXT NOT NULL,
        at     INTEGER NOT NULL,
        answer TEXT NOT NULL
    ) STRICT;

    CREATE TABLE open_runs (
        run         TEXT PRIMARY KEY,
        session_key TEXT NOT NULL,
        answer_key  TEXT NOT NULL,
        at          INTEGER NOT NULL
    ) STRICT;
"];

/// Brings a database to the newest version, one committed step at a time.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), StoreOpenError> {
    apply(connection, MIGRATIONS)
}

/// As [`migrate`], with any list.
pub(super) fn apply(connection: &mut Connection, migrations: &[&str]) -> Result<(), StoreOpenError> {
    let known = i64::try_from(migrations.len()).unwrap_or(i64::MAX);
    let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let Some(missing) = usize::try_from(found).ok().and_then(|found| migrations.get(found..)) else {
        return Err(StoreOpenError::Newer { found, known });
    };
    for (version, sql) in (found + 1..).zip(missing) {
        let step = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        step.execute_batch(sql)?;
        step.pragma_update(None, "user_version", version)?;
        step.commit()?;
        tracing::info!(target: "gateway.store", version, "database schema migrated");
    }
    Ok(())
}
