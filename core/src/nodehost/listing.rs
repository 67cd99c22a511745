//! `fs.listDir`: what a directory below the user's home holds.

use serde_json::{Value, json};

use crate::limits;

use super::desk::{Act, Desk, Errand, Fault, Outcome, Work};
use super::settings::Machine;

/// What of a directory is listed at most.
pub const MOST_ENTRIES: u64 = limits::NODE_LISTING;

/// The longest path, in bytes.
const LONGEST: usize = 4_096;

/// Something in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name; what is no UTF-8 is replaced.
    pub name: String,
    /// What it is.
    pub kind: EntryKind,
    /// The size of a file in bytes.
    pub size: Option<u64>,
}

/// What stands in a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link, which is not followed.
    Link,
    /// Something else.
    Other,
}

impl EntryKind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Directory => "directory",
            Self::Link => "symlink",
            Self::Other => "other",
        }
    }
}

/// A question after a directory.
pub(super) struct Listing {
    below: String,
}

impl Listing {
    pub(super) fn new(params: &Value, machine: &Machine) -> Result<Self, Fault> {
        let home = machine.home.as_deref().ok_or_else(|| Fault::unavailable("command not supported"))?;
        let path = match params.get("path") {
            None | Some(Value::Null) => "",
            Some(Value::String(path)) => path.trim(),
            Some(_) => return Err(Fault::invalid("path is no string")),
        };
        let below = below(path, home).ok_or_else(|| {
            Fault::invalid("path leads out of the home directory; give one below it, such as ~/Documents")
        })?;
        Ok(Self { below })
    }
}

/// The path relative to the home directory; `None` when it leads out of it.
fn below(path: &str, home: &str) -> Option<String> {
    if path.len() > LONGEST || path.contains('\0') {
        return None;
    }
    let rest = match path.strip_prefix('~') {
        Some("") => "",
        Some(rest) => rest.strip_prefix('/')?,
        None if path.starts_with('/') => {
            let rest = path.strip_prefix(home.trim_end_matches('/'))?;
            if rest.is_empty() { "" } else { rest.strip_prefix('/')? }
        }
        None => path,
    };
    let parts = rest.split('/').filter(|part| !part.is_empty() && *part != ".");
    let parts: Vec<&str> = parts.collect();
    (!parts.contains(&"..")).then(|| parts.join("/"))
}

impl Work for Listing {
    fn begin(&mut self, desk: &mut Desk<'_>) {
        desk.act(Act::Ask(Errand::List { below: std::mem::take(&mut self.below) }));
    }

    fn told(&mut self, desk: &mut Desk<'_>, outcome: Outcome) {
        desk.answer(match outcome {
            Outcome::Listed { path, entries, truncated } => {
                let entries: Vec<Value> = entries.iter().map(shown).collect();
                Ok(json!({"path": path, "entries": entries, "truncated": truncated}))
            }
            Outcome::Failed(reason) => Err(Fault::unavailable(reason)),
            _ => return,
        });
    }
}

fn shown(entry: &Entry) -> Value {
    let mut shown = json!({"name": entry.name, "kind": entry.kind.as_str()});
    if let (Some(size), Some(object)) = (entry.size, shown.as_object_mut()) {
        object.insert("size".to_owned(), size.into());
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stays_below_the_home_directory() {
        let below = |path: &str| below(path, "/home/ann");
        for (path, wanted) in [
            ("", ""),
            ("~", ""),
            ("~/", ""),
            ("~/a//b/./c", "a/b/c"),
            ("/home/ann", ""),
            ("/home/ann/x", "x"),
            ("x y", "x y"),
        ] {
            assert_eq!(below(path).as_deref(), Some(wanted), "{path}");
        }
        for path in ["..", "a/../..", "~/..", "/etc", "/home/anna", "/", "~bob/x", "a\0b", "/home/ann/../bob"]
        {
            assert_eq!(below(path), None, "{path}");
        }
    }
}
