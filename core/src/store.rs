//! What the gateway keeps, as it tells the store (DESIGN.md, *One journal*).
//!
//! A transaction is written whole or not at all, in the order in which it was handed over, and reported as
//! stored only when it will survive a crash. Memory is a cache of these rows.

mod page;
mod search;

use serde::{Deserialize, Serialize};
use telson_proto::Json;

use crate::ids::{DeviceId, RunId, SessionId, SessionKey, TxId};
use crate::usage::{UnknownZone, UsageQuery, UsageTable};

pub use page::{LONG_MESSAGE, Page, PageQuery, Place, brief, images_of};
pub use search::{MAX_CANDIDATES, SearchHit, SearchHits, SearchQuery, index_text, visible_text, words_of};

/// Changes that belong together.
#[derive(Clone, Debug, PartialEq)]
pub struct Transaction {
    /// Named in the report.
    pub id: TxId,
    /// The changes, in order.
    pub ops: Vec<Op>,
}

/// One change.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// Writes a session's row, replacing the one of the same key.
    PutSession(SessionRecord),
    /// Removes a session's row; its transcript stays until archived.
    DeleteSession(SessionKey),
    /// Adds an entry to the end of a transcript.
    AppendEntry(TranscriptEntry),
    /// Takes a transcript out of reach of every query but keeps its rows.
    ArchiveTranscript {
        /// The transcript.
        session: SessionId,
        /// When, in epoch milliseconds.
        at: u64,
    },
    /// Moves the first entries of a transcript into an archived one. Those that stay and whose parents go
    /// become roots.
    CutTranscript {
        /// The transcript.
        session: SessionId,
        /// The position of the first entry that stays.
        from: u64,
        /// The transcript of those that go; there is none of that name yet.
        archive: SessionId,
        /// When, in epoch milliseconds.
        at: u64,
    },
    /// Removes a transcript's rows.
    DeleteTranscript(SessionId),
    /// Writes a device's row, replacing the one of the same id.
    PutDevice(DeviceRecord),
    /// Removes a device and its tokens.
    DeleteDevice(DeviceId),
    /// Writes a small record, replacing the one of the same shelf and key.
    PutRecord(Record),
    /// Removes a small record.
    DeleteRecord {
        /// Its shelf.
        shelf: Shelf,
        /// Its key.
        key: String,
    },
    /// Adds a line to the book of deeds; the oldest beyond [`crate::limits::AUDIT_ROWS`] go.
    AppendAudit(AuditRecord),
    /// Writes the answer recorded for an idempotency key.
    PutAnswer(AnswerRecord),
    /// Forgets answers: those named.
    DeleteAnswers(Vec<String>),
    /// Notes a run that is under way.
    OpenRun(OpenRun),
    /// The run has ended.
    CloseRun(RunId),
}

/// A session's row: the columns that are searched, and the entry as the sessions domain writes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionRecord {
    /// The canonical key.
    pub key: SessionKey,
    /// The current incarnation.
    pub session: SessionId,
    /// Epoch milliseconds of the last change.
    pub updated_at: u64,
    /// The entry (spec 02 §4.2).
    pub entry: Json,
}

/// One line of a transcript (spec 02 §5).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TranscriptEntry {
    /// The transcript it belongs to.
    pub session: SessionId,
    /// Its one-based position.
    pub seq: u64,
    /// Eight hex digits.
    pub id: String,
    /// The entry before it on its branch.
    pub parent: Option<String>,
    /// Epoch milliseconds.
    pub at: u64,
    /// The run that wrote it.
    pub run: Option<RunId>,
    /// The message (spec 02 §6).
    pub message: Json,
}

/// A paired device (spec 01 §5.1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRecord {
    /// The device.
    pub id: DeviceId,
    /// The record as the devices domain writes it.
    pub record: Json,
}

/// A small thing that its domain keeps whole in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Where it belongs.
    pub shelf: Shelf,
    /// Its name there.
    pub key: String,
    /// The record as its domain writes it.
    pub record: Json,
}

macro_rules! shelves {
    ($( $(#[$doc:meta])* $name:ident = $word:literal; )*) => {
        /// Where small records are kept.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Shelf { $( $(#[$doc])* $name, )* }

        impl Shelf {
            /// Every shelf.
            pub const ALL: &'static [Self] = &[ $( Self::$name, )* ];

            /// The word in the database.
            pub const fn as_str(self) -> &'static str {
                match self { $( Self::$name => $word, )* }
            }
        }
    };
}

shelves! {
    /// Requests of devices that wait, by device.
    PairRequests = "pair-requests";
    /// Setup codes, by id.
    SetupCodes = "setup-codes";
    /// Tokens for programs, by id.
    ServiceTokens = "service-tokens";
    /// What each node may do and asks to do, by device.
    NodeSurfaces = "node-surfaces";
    /// Work that waits for a node.
    NodeWork = "node-work";
    /// Approvals of commands, by id.
    Approvals = "approvals";
    /// The standing policy for commands of this host.
    ApprovalPolicy = "approval-policy";
}

/// Something that was done or refused (08, *Test conventions*).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditRecord {
    /// When, in epoch milliseconds.
    pub at: u64,
    /// Who: `device:<id>`, `token`, `password`, `service:<id>`, `user:<name>`, `none`, `gateway`.
    pub actor: String,
    /// From where: the client's address.
    pub address: String,
    /// What: a method or an effect.
    pub action: String,
    /// To what: a device, a session, a node, a request.
    pub subject: String,
    /// `ok`, `denied` or `failed`.
    pub outcome: String,
    /// Why, in words without secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A page of the book of deeds, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditQuery {
    /// Only lines before this position.
    pub before: Option<u64>,
    /// At most so many.
    pub limit: usize,
    /// Only these actors.
    pub actor: Option<String>,
    /// Only actions that begin so.
    pub action: Option<String>,
    /// Only this outcome.
    pub outcome: Option<String>,
}

/// A line of the book with its position.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AuditLine {
    /// Its position; later lines have higher ones.
    pub id: u64,
    /// What it says.
    #[serde(flatten)]
    pub record: AuditRecord,
}

impl AuditQuery {
    /// The page of a book in memory, oldest first, positions from 1: what a store of tests answers.
    pub fn of(&self, book: &[AuditRecord]) -> Vec<AuditLine> {
        let fits = |record: &AuditRecord| {
            self.actor.as_ref().is_none_or(|actor| *actor == record.actor)
                && self.action.as_ref().is_none_or(|action| record.action.starts_with(action))
                && self.outcome.as_ref().is_none_or(|outcome| *outcome == record.outcome)
        };
        let lines = (1..).zip(book).map(|(id, record)| AuditLine { id, record: record.clone() });
        let mut page: Vec<AuditLine> = lines
            .filter(|line| self.before.is_none_or(|before| line.id < before) && fits(&line.record))
            .collect();
        page.reverse();
        page.truncate(self.limit);
        page
    }
}

/// What was answered to an idempotency key (spec 02 §2.3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnswerRecord {
    /// `<family>:<idempotency key>`.
    pub key: String,
    /// Hex SHA-256 of the parameters.
    pub digest: String,
    /// When it was recorded, in epoch milliseconds.
    pub at: u64,
    /// The answer as the answers room writes it.
    pub answer: Json,
}

/// A run that has been acknowledged and has not ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenRun {
    /// The run.
    pub run: RunId,
    /// Its session.
    pub session_key: SessionKey,
    /// The key of its answer.
    pub answer_key: String,
    /// When it was admitted, in epoch milliseconds.
    pub at: u64,
}

/// A question to the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Query {
    /// Everything that the gateway keeps in memory; asked once, at the start.
    Everything,
    /// The end of a transcript.
    Tail {
        /// The transcript.
        session: SessionId,
        /// At most this many entries.
        limit: usize,
        /// At most this many bytes of messages, but at least one entry.
        max_bytes: usize,
    },
    /// A part of a transcript.
    Page(PageQuery),
    /// The entries that contain some words.
    Search(SearchQuery),
    /// Tokens and cost.
    Usage(UsageQuery),
    /// A page of the book of deeds.
    Audit(AuditQuery),
}

/// The store's answer to a [`Query`].
#[derive(Clone, Debug, PartialEq)]
pub enum Loaded {
    /// To [`Query::Everything`].
    Everything(Box<Everything>),
    /// To [`Query::Tail`]: oldest first.
    Entries(Vec<TranscriptEntry>),
    /// To [`Query::Page`].
    Page(Page),
    /// To [`Query::Search`].
    Hits(SearchHits),
    /// To [`Query::Usage`].
    Usage(Result<UsageTable, UnknownZone>),
    /// To [`Query::Audit`]: newest first.
    Audit(Vec<AuditLine>),
}

/// What the gateway keeps in memory.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Everything {
    /// Every session.
    pub sessions: Vec<SessionRecord>,
    /// Every paired device.
    pub devices: Vec<DeviceRecord>,
    /// The recorded answers, oldest first.
    pub answers: Vec<AnswerRecord>,
    /// Runs that were under way when the last process ended.
    pub open_runs: Vec<OpenRun>,
    /// The length of each live transcript: the `seq` and id of its last entry.
    pub transcripts: Vec<TranscriptEnd>,
    /// Small records of every shelf.
    pub records: Vec<Record>,
}

/// Where a transcript ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TranscriptEnd {
    /// The transcript.
    pub session: SessionId,
    /// The position of its last entry.
    pub seq: u64,
    /// The id of its last entry.
    pub id: String,
}

/// Why the store could not do it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The disk is full.
    #[error("the disk with the state directory is full; free space and try again")]
    Full,
    /// The state directory cannot be written.
    #[error("the state directory is read-only; make it writable and try again")]
    ReadOnly,
    /// Anything else, in the database's words.
    #[error("the store failed: {0}")]
    Failed(String),
}
