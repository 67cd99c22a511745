//! The store as the older system keeps it: `agents/<id>/sessions/sessions.json` and a file of lines for each
//! transcript (spec 02 §4.1, §5).

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use jiff::Timestamp;
use rusqlite::Connection;
use serde_json::{Map, Value, json};
use telson_core::SessionKey;
use telson_core::sessions::keys::KeyRules;
use telson_core::settings::AgentSettings;

use super::foreign::is_plain_name;
use super::import::{TransferError, at};
use super::{connect, schema};

/// What an export has written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// Sessions.
    pub sessions: usize,
    /// Lines with messages.
    pub messages: usize,
}

/// Writes every session and its transcript below a directory, readable for the owner only. The database must
/// not be open elsewhere.
///
/// # Errors
/// See [`TransferError`]. A directory that has sessions already is refused before anything is written.
pub fn export(database: &Path, to: &Path) -> Result<Exported, TransferError> {
    // Opening would make a database that is not there.
    fs::metadata(database).map_err(at(database))?;
    let mut connection = connect(database)?;
    schema::migrate(&mut connection)?;
    let mut agents = agents(&connection)?;
    for agent in agents.keys() {
        let file = to.join("agents").join(agent).join("sessions").join("sessions.json");
        if file.exists() {
            return Err(TransferError::Exists(file));
        }
    }
    let mut done = Exported::default();
    for (agent, sessions) in &mut agents {
        let dir = to.join("agents").join(agent).join("sessions");
        fs::create_dir_all(&dir).map_err(at(&dir))?;
        for entry in sessions.values() {
            if let Some(id) = entry.get("sessionId").and_then(Value::as_str) {
                done.messages += transcript(&connection, &dir, id)?;
            }
        }
        done.sessions += sessions.len();
        // The list comes last: whoever finds it finds the transcripts too.
        let path = dir.join("sessions.json");
        let mut file = create(&path)?;
        serde_json::to_writer_pretty(&mut file, &sessions).map_err(|error| at(&path)(error.into()))?;
        file.flush().map_err(at(&path))?;
    }
    Ok(done)
}

/// The entries of each agent's sessions, by key.
fn agents(connection: &Connection) -> Result<BTreeMap<String, Map<String, Value>>, TransferError> {
    let rules = KeyRules::new(&AgentSettings::default());
    let mut agents: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    let mut statement = connection.prepare("SELECT key, session, updated_at, entry FROM sessions")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (key, id, updated_at): (String, String, u64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        if !is_plain_name(&id) {
            continue;
        }
        let mut entry: Map<String, Value> =
            serde_json::from_str(row.get_ref(3)?.as_str().unwrap_or("{}")).unwrap_or_default();
        entry.insert("sessionId".to_owned(), id.into());
        entry.insert("updatedAt".to_owned(), updated_at.into());
        let agent = rules.agent_of(&SessionKey::new(key.as_str())).to_string();
        agents.entry(agent).or_default().insert(key, Value::Object(entry));
    }
    Ok(agents)
}

/// Writes the lines of a transcript, one after the other; says how many messages there are.
fn transcript(connection: &Connection, dir: &Path, id: &str) -> Result<usize, TransferError> {
    let path = dir.join(format!("{id}.jsonl"));
    let mut statement = connection.prepare_cached(
        "SELECT id, parent, at, message FROM entries WHERE session = ?1
         AND (SELECT archived_at IS NULL FROM transcripts WHERE session = ?1) ORDER BY seq",
    )?;
    let mut rows = statement.query([id])?;
    let mut file = None;
    let mut count = 0;
    while let Some(row) = rows.next()? {
        let at_ms: u64 = row.get(2)?;
        let file = match &mut file {
            Some(file) => file,
            None => {
                let header =
                    json!({"type": "session", "version": 3, "id": id, "timestamp": stamp(at_ms), "cwd": "/"});
                let mut new = create(&path)?;
                writeln!(new, "{header}").map_err(at(&path))?;
                file.insert(new)
            }
        };
        let (entry, parent): (String, Option<String>) = (row.get(0)?, row.get(1)?);
        let line = json!({"type": "message", "id": entry, "parentId": parent, "timestamp": stamp(at_ms)});
        // The message goes out as it was stored.
        let head = line.to_string();
        let message = row.get_ref(3)?.as_str().unwrap_or("null");
        writeln!(file, "{},\"message\":{message}}}", head.trim_end_matches('}')).map_err(at(&path))?;
        count += 1;
    }
    if let Some(mut file) = file {
        file.flush().map_err(at(&path))?;
    }
    Ok(count)
}

fn create(path: &Path) -> Result<BufWriter<File>, TransferError> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(at(path))?;
    Ok(BufWriter::new(file))
}

/// A moment as the older system writes it: `2026-01-30T10:00:00.000Z`.
fn stamp(ms: u64) -> String {
    let ms = i64::try_from(ms).unwrap_or(0);
    let at = Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH);
    at.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}
