//! The files of the older system: where they are, how their writers lock them, what they may contain.

use std::fs::{self, OpenOptions};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jsonc_parser::{CollectOptions, ParseOptions, ast, parse_to_ast};
use serde_json::{Map, Value};

use super::import::{TransferError, at};

/// How the older system waits for its lock (spec 02 §4.1).
const PATIENCE: Duration = Duration::from_secs(10);
const RETRY: Duration = Duration::from_millis(25);
const STALE: Duration = Duration::from_secs(30);
/// Deeper than this no value of a store is nested.
const MAX_DEPTH: usize = 64;

/// `<store>.lock`, held as the older system's processes hold it.
#[derive(Debug)]
pub(super) struct Lock(Option<PathBuf>);

impl Lock {
    /// Takes the lock of a `sessions.json`. A lock that is older than 30 seconds was left behind. In a directory
    /// that cannot be written nobody else writes either.
    pub(super) fn take(store: &Path) -> Result<Self, TransferError> {
        let path = store.with_extension("json.lock");
        let give_up = Instant::now() + PATIENCE;
        loop {
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(_) => return Ok(Self(Some(path))),
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem
                    ) =>
                {
                    return Ok(Self(None));
                }
                Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(at(&path)(error)),
                Err(_) => {}
            }
            let age = fs::metadata(&path).and_then(|held| held.modified()).ok();
            if age.and_then(|since| since.elapsed().ok()).is_some_and(|age| age > STALE) {
                let _ = fs::remove_file(&path);
            } else if Instant::now() >= give_up {
                return Err(TransferError::Locked(path));
            } else {
                std::thread::sleep(RETRY);
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            let _ = fs::remove_file(path);
        }
    }
}

/// The transcript of a session: the file that its entry names, if it lies in one of the directories, or the one
/// with the session's name.
pub(super) fn transcript(dirs: &[PathBuf], id: &str, fields: &Map<String, Value>) -> Option<PathBuf> {
    let own = fields.get("sessionFile").and_then(Value::as_str).and_then(|path| {
        let name = Path::new(path).file_name()?.to_str()?;
        is_plain_name(name).then(|| name.to_owned())
    });
    let names = own.into_iter().chain([format!("{id}.jsonl")]);
    let mut paths = names.flat_map(|name| dirs.iter().map(move |dir| dir.join(&name)));
    paths.find(|path| path.is_file())
}

/// Whether a text is the name of a file, and nothing that leads elsewhere.
pub(super) fn is_plain_name(text: &str) -> bool {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '@' | '+' | ' ');
    !text.is_empty() && text.len() <= 255 && !text.starts_with('.') && text.chars().all(plain)
}

/// Brings the names of fields up to date, and takes out what is a column in the store.
pub(super) fn modernise(fields: &mut Map<String, Value>) {
    for (old, new) in [("provider", "channel"), ("lastProvider", "lastChannel"), ("room", "groupChannel")] {
        if let Some(value) = fields.remove(old)
            && !fields.contains_key(new)
        {
            fields.insert(new.to_owned(), value);
        }
    }
    for column in ["sessionId", "updatedAt", "sessionFile"] {
        fields.remove(column);
    }
}

/// Reads JSON, or JSON5 when it is no JSON.
pub(super) fn lenient(text: &str) -> Option<Value> {
    if let Ok(value) = serde_json::from_str(text) {
        return Some(value);
    }
    let parsed = parse_to_ast(text, &CollectOptions::default(), &ParseOptions::default()).ok()?;
    value(parsed.value?, 0)
}

fn value(node: ast::Value<'_>, depth: usize) -> Option<Value> {
    if depth > MAX_DEPTH {
        return None;
    }
    Some(match node {
        ast::Value::StringLit(text) => Value::String(text.value.into_owned()),
        ast::Value::NumberLit(number) => serde_json::from_str(number.value).ok()?,
        ast::Value::BooleanLit(flag) => Value::Bool(flag.value),
        ast::Value::NullKeyword(_) => Value::Null,
        ast::Value::Array(array) => {
            let items = array.elements.into_iter().map(|item| value(item, depth + 1));
            Value::Array(items.collect::<Option<_>>()?)
        }
        ast::Value::Object(object) => {
            let member = |member: ast::ObjectProp<'_>| {
                let name = match member.name {
                    ast::ObjectPropName::String(name) => name.value.into_owned(),
                    ast::ObjectPropName::Word(word) => word.value.to_owned(),
                };
                Some((name, value(member.value, depth + 1)?))
            };
            Value::Object(object.properties.into_iter().map(member).collect::<Option<_>>()?)
        }
    })
}
