//! What must survive: one SQLite database, owned by one thread.
//!
//! Nobody else opens the file: it is locked for this process alone as long as the gateway runs. Transactions
//! that wait are committed together, each in a savepoint of its own, so that one `fsync` serves many and one
//! failure spoils none of the others. Loads see everything handed over before them.

mod audit;
mod error;
pub mod export;
mod foreign;
pub mod import;
mod page;
mod read;
mod schema;
mod search;
mod side;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_large;
#[cfg(test)]
mod tests_transfer;
mod usage;
mod write;

use std::fs::{self, OpenOptions, Permissions};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::mpsc;

use async_channel::Sender;
use rusqlite::{Connection, OpenFlags};
use telson_core::store::{Loaded, Query, StoreError, Transaction};
use telson_core::{QueryId, TxId};

pub use error::StoreOpenError;

/// At most so many transactions share a commit, so that the first does not wait for all that come after it.
const GROUP: usize = 256;

/// The way to the store. Dropping the last handle ends its thread when all that was handed over is done.
#[derive(Clone, Debug)]
pub struct StoreHandle(mpsc::Sender<Job>);

/// What the store tells.
#[derive(Debug, PartialEq)]
pub enum Report {
    /// A transaction will survive a crash, or was not written at all.
    Stored {
        /// The transaction.
        id: TxId,
        /// Why it failed.
        result: Result<(), StoreError>,
    },
    /// The answer to a question.
    Loaded {
        /// The question.
        id: QueryId,
        /// The answer.
        result: Result<Loaded, StoreError>,
    },
}

#[derive(Debug)]
enum Job {
    Write(Transaction, Sender<Report>),
    Load(QueryId, Query, Sender<Report>),
    Close(Sender<()>),
}

/// Opens the database, makes or migrates its tables, and starts its thread. Blocks for some milliseconds.
///
/// # Errors
/// See [`StoreOpenError`]. A database that cannot be used is left as it is.
pub fn open(path: &Path) -> Result<StoreHandle, StoreOpenError> {
    make_private(path)?;
    let mut connection = connect(path)?;
    schema::migrate(&mut connection)?;
    let (jobs, queue) = mpsc::channel();
    std::thread::Builder::new()
        .name("telson-store".to_owned())
        .stack_size(1024 * 1024)
        .spawn(move || run(connection, &queue))
        .map_err(|error| StoreOpenError::Other(error.to_string()))?;
    Ok(StoreHandle(jobs))
}

/// Makes the file, readable for its owner only; SQLite gives the files beside it the same mode. The descriptor
/// is closed before SQLite opens the file: closing one later would drop SQLite's locks (07 P-07).
fn make_private(path: &Path) -> Result<(), StoreOpenError> {
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        fs::set_permissions(path, Permissions::from_mode(0o600))?;
    }
    Ok(())
}

fn connect(path: &Path) -> Result<Connection, StoreOpenError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.set_prepared_statement_cache_capacity(64);
    connection.busy_timeout(std::time::Duration::ZERO)?;
    for (name, value) in PRAGMAS {
        connection.pragma_update(None, name, value)?;
    }
    if connection.is_readonly(rusqlite::MAIN_DB)? {
        return Err(StoreOpenError::ReadOnly);
    }
    Ok(connection)
}

/// Locked for this process alone, durable at each commit, and small in memory.
const PRAGMAS: [(&str, &str); 9] = [
    ("locking_mode", "EXCLUSIVE"),
    ("cache_size", "-512"),
    ("mmap_size", "0"),
    ("journal_mode", "WAL"),
    ("synchronous", "FULL"),
    ("journal_size_limit", "4194304"),
    ("foreign_keys", "ON"),
    ("trusted_schema", "OFF"),
    ("temp_store", "MEMORY"),
];

impl StoreHandle {
    /// Writes a transaction; `reports` hears how it went.
    pub fn write(&self, transaction: Transaction, reports: &Sender<Report>) {
        let id = transaction.id;
        if self.0.send(Job::Write(transaction, reports.clone())).is_err() {
            tell(reports, Report::Stored { id, result: Err(gone()) });
        }
    }

    /// Asks a question; `reports` hears the answer.
    pub fn load(&self, id: QueryId, query: Query, reports: &Sender<Report>) {
        if self.0.send(Job::Load(id, query, reports.clone())).is_err() {
            tell(reports, Report::Loaded { id, result: Err(gone()) });
        }
    }

    /// Ends when everything handed over so far is done and the file is closed. Afterwards everything fails.
    pub async fn close(&self) {
        let (done, closed) = async_channel::bounded(1);
        if self.0.send(Job::Close(done)).is_ok() {
            let _ = closed.recv().await;
        }
    }
}

fn gone() -> StoreError {
    StoreError::Failed("it is closed".to_owned())
}

/// Nobody who asked may be listening any more.
fn tell(reports: &Sender<Report>, report: Report) {
    let _ = reports.try_send(report);
}

/// The thread.
fn run(mut connection: Connection, queue: &mpsc::Receiver<Job>) {
    // Whether entries from before a migration wait for an idle moment.
    let mut behind = side::is_behind(&connection).unwrap_or(false);
    let mut next = wait(&mut connection, queue, &mut behind);
    while let Some(job) = next.take() {
        match job {
            Job::Write(transaction, reports) => {
                let (group, after) = gather(queue, transaction, reports);
                write_group(&mut connection, group);
                next = after;
            }
            Job::Load(id, query, reports) => {
                let result = read::load(&connection, &query);
                tell(&reports, Report::Loaded { id, result });
            }
            Job::Close(done) => {
                close(connection);
                let _ = done.try_send(());
                return;
            }
        }
        if next.is_none() {
            next = wait(&mut connection, queue, &mut behind);
        }
    }
    close(connection);
}

/// The next job. While there is none, older entries are read into newer tables.
fn wait(connection: &mut Connection, queue: &mpsc::Receiver<Job>, behind: &mut bool) -> Option<Job> {
    while *behind {
        match queue.try_recv() {
            Ok(job) => return Some(job),
            Err(mpsc::TryRecvError::Disconnected) => return None,
            Err(mpsc::TryRecvError::Empty) => {}
        }
        *behind = side::catch_up(connection).unwrap_or_else(|error| {
            tracing::error!(target: "gateway.store", %error, "older messages are not indexed until the next start");
            false
        });
    }
    queue.recv().ok()
}

type Group = (Vec<Transaction>, Vec<Sender<Report>>);

/// Takes the transactions that wait behind the first, up to a job of another kind.
fn gather(queue: &mpsc::Receiver<Job>, first: Transaction, reports: Sender<Report>) -> (Group, Option<Job>) {
    let mut group = (vec![first], vec![reports]);
    while group.0.len() < GROUP {
        match queue.try_recv() {
            Ok(Job::Write(transaction, reports)) => {
                group.0.push(transaction);
                group.1.push(reports);
            }
            Ok(other) => return (group, Some(other)),
            Err(_) => break,
        }
    }
    (group, None)
}

fn write_group(connection: &mut Connection, (transactions, reports): Group) {
    let results = write::commit(connection, &transactions);
    for ((transaction, reports), result) in transactions.iter().zip(reports).zip(results) {
        tell(&reports, Report::Stored { id: transaction.id, result });
    }
}

fn close(connection: Connection) {
    if let Err((_, error)) = connection.close() {
        tracing::error!(target: "gateway.store", %error, "the database was not closed cleanly; nothing is lost");
    }
}
