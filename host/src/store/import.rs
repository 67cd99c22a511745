//! Sessions and transcripts of the older system, into the store and out of it (spec 02 §4.1, §5) [C-08].
//!
//! The source is a state directory (`agents/<id>/sessions/sessions.json`) or one directory of sessions. It is
//! only read, under the lock that its writers honour. What the store already has is left as it is, so an import
//! can be repeated, and one that was interrupted goes on where it stopped.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _};
use serde_json::{Map, Value};
use telson_core::sessions::keys::{KeyRules, normalise_agent};
use telson_core::sessions::{SessionEntry, sanitise};
use telson_core::settings::AgentSettings;
use telson_core::store::{Op, SessionRecord, StoreError, Transaction, TranscriptEntry};
use telson_core::{SessionId, SessionKey, TxId};
use telson_proto::Json;

use super::foreign::{self, Lock};
use super::{StoreOpenError, connect, make_private, schema, write};

/// A longer line of a transcript is left out, in bytes.
const MAX_LINE: u64 = 64 * 1024 * 1024;
/// So much of a transcript is written at once: entries, and bytes of messages but for the last.
const BATCH: (usize, usize) = (1_000, 8 * 1024 * 1024);

/// What an import has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Sessions that are new in the store.
    pub sessions: usize,
    /// Their messages, those of tools too.
    pub messages: usize,
    /// Sessions that the store had already; they are as they were.
    pub already_there: usize,
    /// Sessions without a transcript; they came with their settings alone.
    pub without_transcript: usize,
    /// Lines that are no messages, by their type: `compaction`, `model_change`, …
    pub other_lines: BTreeMap<String, usize>,
    /// What was left out, each with its place and the reason.
    pub skipped: Vec<String>,
}

/// Why an import or an export cannot go on. What was written before is kept.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// Nothing to import.
    #[error(
        "{0} has no sessions.json and no agents/<id>/sessions/sessions.json; name the state directory of the other gateway"
    )]
    Nothing(PathBuf),
    /// The export would overwrite.
    #[error("{0} exists already; choose an empty directory")]
    Exists(PathBuf),
    /// Somebody else writes these sessions.
    #[error("{0} is held by another process; stop the other gateway and try again")]
    Locked(PathBuf),
    /// A file.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The database cannot be opened.
    #[error(transparent)]
    Open(#[from] StoreOpenError),
    /// The database cannot be written or read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<rusqlite::Error> for TransferError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(super::error::failure(&error))
    }
}

/// Attaches a path to an error of the operating system.
pub(super) fn at(path: &Path) -> impl FnOnce(io::Error) -> TransferError + '_ {
    |source| TransferError::File { path: path.to_owned(), source }
}

/// Imports sessions and transcripts into a database that no gateway has open; it is made when there is none.
///
/// # Errors
/// See [`TransferError`]. What cannot be read of a store or a transcript is no error: it is skipped and told.
pub fn import(database: &Path, from: &Path) -> Result<Imported, TransferError> {
    let stores = stores(from)?;
    make_private(database)?;
    let mut connection = connect(database)?;
    schema::migrate(&mut connection)?;
    let mut import = Import { connection, done: Imported::default() };
    for store in &stores {
        let _lock = Lock::take(&store.file)?;
        import.store(store)?;
    }
    Ok(import.done)
}

/// One `sessions.json` and where its transcripts may be.
struct Store {
    file: PathBuf,
    agent: String,
    /// Where transcripts are looked for, in this order.
    transcripts: Vec<PathBuf>,
}

fn stores(from: &Path) -> Result<Vec<Store>, TransferError> {
    let one = |dir: PathBuf, agent: &str, more: Option<PathBuf>| {
        let file = dir.join("sessions.json");
        let transcripts = std::iter::once(dir).chain(more).collect();
        file.is_file().then_some(Store { file, agent: agent.to_owned(), transcripts })
    };
    if let Some(store) = one(from.to_owned(), "main", None) {
        return Ok(vec![store]);
    }
    let mut stores = Vec::new();
    let agents = from.join("agents");
    if let Ok(found) = std::fs::read_dir(&agents) {
        let mut names: Vec<String> =
            found.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort_unstable();
        for name in names {
            let dir = agents.join(&name).join("sessions");
            stores.extend(one(dir, &name, Some(from.join("sessions"))));
        }
    }
    stores.extend(one(from.join("sessions"), "main", None));
    if stores.is_empty() { Err(TransferError::Nothing(from.to_owned())) } else { Ok(stores) }
}

struct Import {
    connection: Connection,
    done: Imported,
}

impl Import {
    fn store(&mut self, store: &Store) -> Result<(), TransferError> {
        let text = std::fs::read_to_string(&store.file).map_err(at(&store.file))?;
        let Some(Value::Object(entries)) = foreign::lenient(&text) else {
            // The other gateway takes a broken file for an empty one, and says nothing.
            self.done.skipped.push(format!("{}: not a JSON object", store.file.display()));
            return Ok(());
        };
        let agents = AgentSettings { default: normalise_agent(&store.agent), ..AgentSettings::default() };
        let rules = KeyRules::new(&agents);
        for (spelling, entry) in entries {
            let skip = |reason: &str| format!("{}: session {spelling}: {reason}", store.file.display());
            let Value::Object(fields) = entry else {
                self.done.skipped.push(skip("not an object"));
                continue;
            };
            let Some(key) = rules.canonical(&spelling) else {
                self.done.skipped.push(skip("no key"));
                continue;
            };
            match fields.get("sessionId").and_then(Value::as_str) {
                Some(id) if foreign::is_plain_name(id) => {
                    let id = SessionId::new(id);
                    self.session(store, key, id, fields)?;
                }
                _ => self.done.skipped.push(skip("no usable sessionId")),
            }
        }
        Ok(())
    }

    fn session(
        &mut self,
        store: &Store,
        key: SessionKey,
        id: SessionId,
        mut fields: Map<String, Value>,
    ) -> Result<(), TransferError> {
        let known: Option<String> = self
            .connection
            .query_row(
                "SELECT key FROM sessions WHERE key = ?1 OR session = ?2",
                [key.as_str(), id.as_str()],
                |row| row.get(0),
            )
            .optional()?;
        if known.is_some() {
            self.done.already_there += 1;
            return Ok(());
        }
        // Left by an import that was interrupted.
        self.write(vec![Op::DeleteTranscript(id.clone())])?;
        let mut noted = SessionEntry::default();
        match foreign::transcript(&store.transcripts, id.as_str(), &fields) {
            Some(path) => self.transcript(&path, &id, &mut noted)?,
            None => self.done.without_transcript += 1,
        }
        let updated_at = fields.get("updatedAt").and_then(Value::as_f64).unwrap_or_default().max(0.0);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "not negative; saturates"
        )]
        let updated_at = updated_at as u64;
        foreign::modernise(&mut fields);
        if let Value::Object(noted) = serde_json::to_value(&noted).unwrap_or_default() {
            for (name, value) in noted {
                fields.entry(name).or_insert(value);
            }
        }
        let entry = Json::of(&fields);
        self.write(vec![Op::PutSession(SessionRecord { key, session: id, updated_at, entry })])?;
        self.done.sessions += 1;
        Ok(())
    }

    fn transcript(
        &mut self,
        path: &Path,
        session: &SessionId,
        noted: &mut SessionEntry,
    ) -> Result<(), TransferError> {
        let mut reader = BufReader::new(File::open(path).map_err(at(path))?);
        let (mut seq, mut parent, mut number) = (0, None::<String>, 0_usize);
        let (mut batch, mut bytes) = (Vec::new(), 0);
        loop {
            let mut line = Vec::new();
            let read = reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut line).map_err(at(path))?;
            if read == 0 {
                break;
            }
            number += 1;
            if line.last() != Some(&b'\n') && u64::try_from(read) == Ok(MAX_LINE) {
                reader.skip_until(b'\n').map_err(at(path))?;
                self.done.skipped.push(format!("{}:{number}: the line is too long", path.display()));
                continue;
            }
            let Some(message) = self.message(&line, path, number) else { continue };
            seq += 1;
            let entry = message.into_entry(session, seq, parent.take());
            note(noted, &entry);
            parent = Some(entry.id.clone());
            bytes += entry.message.as_str().len();
            batch.push(Op::AppendEntry(entry));
            self.done.messages += 1;
            if batch.len() >= BATCH.0 || bytes >= BATCH.1 {
                self.write(std::mem::take(&mut batch))?;
                bytes = 0;
            }
        }
        self.write(batch)
    }

    /// The message of a line; any other line is counted.
    fn message(&mut self, line: &[u8], path: &Path, number: usize) -> Option<Message> {
        if line.trim_ascii().is_empty() {
            return None;
        }
        let Ok(Value::Object(mut fields)) = serde_json::from_slice(line) else {
            self.done.skipped.push(format!("{}:{number}: not a JSON object", path.display()));
            return None;
        };
        let kind = fields.get("type").and_then(Value::as_str).unwrap_or("no type").to_owned();
        match (kind.as_str(), fields.remove("message")) {
            ("message", Some(message @ Value::Object(_))) => Some(Message { fields, message }),
            ("message", _) => {
                self.done.skipped.push(format!("{}:{number}: a message without content", path.display()));
                None
            }
            ("session", _) => None,
            _ => {
                *self.done.other_lines.entry(kind).or_default() += 1;
                None
            }
        }
    }

    fn write(&mut self, ops: Vec<Op>) -> Result<(), TransferError> {
        if ops.is_empty() {
            return Ok(());
        }
        let results = write::commit(&mut self.connection, &[Transaction { id: TxId(0), ops }]);
        results.into_iter().collect::<Result<(), StoreError>>().map_err(Into::into)
    }
}

/// A line with a message.
struct Message {
    fields: Map<String, Value>,
    message: Value,
}

impl Message {
    /// The line as an entry. Lines without a parent hang on the one before them [C-11].
    fn into_entry(self, session: &SessionId, seq: u64, before: Option<String>) -> TranscriptEntry {
        let text = |name: &str| self.fields.get(name).and_then(Value::as_str).map(str::to_owned);
        let stamp = text("timestamp").and_then(|stamp| stamp.parse::<Timestamp>().ok());
        let at = stamp
            .and_then(|stamp| u64::try_from(stamp.as_millisecond()).ok())
            .or_else(|| self.message.get("timestamp")?.as_u64())
            .unwrap_or(0);
        TranscriptEntry {
            session: session.clone(),
            seq,
            id: text("id").unwrap_or_else(|| format!("{seq:08x}")),
            parent: text("parentId").or(before),
            at,
            run: None,
            message: Json::of(&self.message),
        }
    }
}

/// Keeps what lists show of a message.
fn note(noted: &mut SessionEntry, entry: &TranscriptEntry) {
    let message = entry.message.to_value();
    let role = message.get("role").and_then(Value::as_str).unwrap_or_default();
    noted.created_at.get_or_insert(entry.at);
    noted.note_message(entry.at, role, &sanitise::text_of(&message));
}
