//! What SQLite says, in the words of the gateway.

use std::io;

use rusqlite::ErrorCode;
use telson_core::store::StoreError;

/// Why the database cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreOpenError {
    /// The state directory or the file in it cannot be written.
    #[error("the state directory is read-only; make it writable and start again")]
    ReadOnly,
    /// The disk is full.
    #[error("the disk with the state directory is full; free space and start again")]
    Full,
    /// Another process has the file open.
    #[error("telson.db is in use by another process; stop it and start again")]
    Locked,
    /// The file is damaged or no database.
    #[error("telson.db is damaged ({0}); move it aside, or put a backup in its place, and start again")]
    Corrupt(String),
    /// A newer program has written it.
    #[error("telson.db has schema version {found}, this program knows {known}; use the newer program")]
    Newer {
        /// The version of the file.
        found: i64,
        /// The newest version that this program knows.
        known: i64,
    },
    /// Anything else, in the operating system's or the database's words.
    #[error("telson.db cannot be opened: {0}")]
    Other(String),
}

impl From<io::Error> for StoreOpenError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full,
            _ => Self::Other(error.to_string()),
        }
    }
}

impl From<rusqlite::Error> for StoreOpenError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => Self::ReadOnly,
            Some(ErrorCode::DiskFull) => Self::Full,
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Locked,
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => Self::Corrupt(error.to_string()),
            _ => Self::Other(error.to_string()),
        }
    }
}

/// Why one transaction or question failed.
pub(super) fn failure(error: &rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StoreError::Full,
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            StoreError::ReadOnly
        }
        _ => StoreError::Failed(error.to_string()),
    }
}
