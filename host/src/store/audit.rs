//! The book of deeds on disk.

use rusqlite::{Connection, params};
use telson_core::limits;
use telson_core::store::{AuditLine, AuditQuery, AuditRecord};

/// Adds a line and removes what the book has no room for.
pub(super) fn append(connection: &Connection, record: &AuditRecord) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO audit (at, actor, address, action, subject, outcome, reason)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            record.at,
            record.actor,
            record.address,
            record.action,
            record.subject,
            record.outcome,
            record.reason
        ])?;
    let most = i64::try_from(limits::AUDIT_ROWS).unwrap_or(i64::MAX);
    let oldest = connection.last_insert_rowid().saturating_sub(most);
    connection.prepare_cached("DELETE FROM audit WHERE id <= ?1")?.execute(params![oldest])?;
    Ok(())
}

/// A page, newest first.
pub(super) fn page(connection: &Connection, query: &AuditQuery) -> rusqlite::Result<Vec<AuditLine>> {
    let mut statement = connection.prepare_cached(
        "SELECT id, at, actor, address, action, subject, outcome, reason FROM audit
         WHERE id < ?1 AND (?2 IS NULL OR actor = ?2)
           AND (?3 IS NULL OR substr(action, 1, length(?3)) = ?3) AND (?4 IS NULL OR outcome = ?4)
         ORDER BY id DESC LIMIT ?5",
    )?;
    let before = query.before.and_then(|before| i64::try_from(before).ok()).unwrap_or(i64::MAX);
    let limit = i64::try_from(query.limit).unwrap_or(i64::MAX);
    let rows =
        statement.query_map(params![before, query.actor, query.action, query.outcome, limit], |row| {
            let record = AuditRecord {
                at: row.get(1)?,
                actor: row.get(2)?,
                address: row.get(3)?,
                action: row.get(4)?,
                subject: row.get(5)?,
                outcome: row.get(6)?,
                reason: row.get(7)?,
            };
            Ok(AuditLine { id: row.get(0)?, record })
        })?;
    rows.collect()
}
