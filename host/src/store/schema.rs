//! The tables, and how older ones become them. Only forwards: a program never touches a newer file.

use rusqlite::{Connection, TransactionBehavior};

use super::StoreOpenError;

/// Each entry leads from the version that is its index to the next. Entries are never changed once released.
const MIGRATIONS: &[&str] = &[
    "
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
",
    "
    CREATE INDEX sessions_session ON sessions (session);
    CREATE INDEX entries_id ON entries (id);
    CREATE INDEX entries_run ON entries (run) WHERE run IS NOT NULL;

    -- A short number for each transcript, and the session it belongs to, also after a reset.
    CREATE TABLE shelves (
        number  INTEGER PRIMARY KEY,
        session TEXT NOT NULL UNIQUE,
        key     TEXT NOT NULL
    ) STRICT;
    CREATE INDEX shelves_key ON shelves (key);

    -- Long messages without the data of their pictures: a page is read without reading these.
    CREATE TABLE briefs (
        session TEXT NOT NULL,
        seq     INTEGER NOT NULL,
        message TEXT NOT NULL,
        PRIMARY KEY (session, seq)
    ) STRICT;

    -- One line for each message: who wrote it, what it used. The speaker is 0 for users, 1 for the assistant,
    -- 2 for tools; tokens are NULL where none are stated, the cost where the message does not say.
    CREATE TABLE usage (
        shelf       INTEGER NOT NULL,
        seq         INTEGER NOT NULL,
        at          INTEGER NOT NULL,
        speaker     INTEGER NOT NULL,
        failed      INTEGER NOT NULL,
        provider    TEXT,
        model       TEXT,
        input       INTEGER,
        output      INTEGER,
        cache_read  INTEGER,
        cache_write INTEGER,
        total       INTEGER,
        cost             REAL,
        cost_input       REAL,
        cost_output      REAL,
        cost_cache_read  REAL,
        cost_cache_write REAL,
        tools       TEXT,
        PRIMARY KEY (shelf, seq)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX usage_at ON usage (at) WHERE total IS NOT NULL;

    -- The words of what people and the assistant said; the row's number is shelf * 2^32 + seq. Words come in
    -- lower case with blanks between them, so the simplest tokenizer knows them as the search does.
    CREATE VIRTUAL TABLE words USING fts5(
        text, content = '', contentless_delete = 1, detail = none, tokenize = 'ascii'
    );

    -- Entries from before these tables: those from next to last have not been read into them yet.
    CREATE TABLE unread (
        session TEXT PRIMARY KEY,
        next    INTEGER NOT NULL,
        last    INTEGER NOT NULL
    ) STRICT;
    INSERT INTO shelves (session, key)
        SELECT session, coalesce((SELECT min(key) FROM sessions WHERE session = t.session), '')
        FROM transcripts t ORDER BY rowid;
    INSERT INTO unread SELECT session, 1, seq FROM transcripts WHERE archived_at IS NULL;
",
    "
    -- Small things that the gateway keeps whole in memory.
    CREATE TABLE records (
        shelf  TEXT NOT NULL,
        key    TEXT NOT NULL,
        record TEXT NOT NULL,
        PRIMARY KEY (shelf, key)
    ) STRICT, WITHOUT ROWID;

    -- The book of deeds: who did what, from where, with which outcome.
    CREATE TABLE audit (
        id      INTEGER PRIMARY KEY,
        at      INTEGER NOT NULL,
        actor   TEXT NOT NULL,
        address TEXT NOT NULL,
        action  TEXT NOT NULL,
        subject TEXT NOT NULL,
        outcome TEXT NOT NULL,
        reason  TEXT
    ) STRICT;
",
];

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
