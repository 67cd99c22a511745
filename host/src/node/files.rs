//! What a node does with files: the standing policy, looking programs up, listing a directory.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};
use telson_core::limits;
use telson_core::nodehost::{Entry, EntryKind, Errand, MOST_ENTRIES, Machine, Outcome};

use super::keep::replace;

/// Where the files are that a node may touch.
#[derive(Clone, Debug)]
pub(super) struct Files {
    policy: PathBuf,
    home: Option<PathBuf>,
}

impl Files {
    pub(super) fn new(machine: &Machine) -> Self {
        Self { policy: PathBuf::from(&machine.policy), home: machine.home.as_ref().map(PathBuf::from) }
    }

    /// Does an errand. Blocks.
    pub(super) fn perform(&self, errand: Errand) -> Outcome {
        match errand {
            Errand::ReadPolicy => match self.read_policy() {
                Ok(text) => Outcome::Policy(text),
                Err(error) => Outcome::Failed(format!("{}: {error}", self.policy.display())),
            },
            Errand::WritePolicy { text, was } => match self.read_policy() {
                Ok(is) if is != was => Outcome::Changed,
                Ok(_) => match replace(&self.policy, &text) {
                    Ok(()) => Outcome::Written,
                    Err(error) => Outcome::Failed(format!("{}: {error}", self.policy.display())),
                },
                Err(error) => Outcome::Failed(format!("{}: {error}", self.policy.display())),
            },
            Errand::Look { programs, files, path, cwd } => self.look(programs, files, &path, cwd.as_deref()),
            Errand::List { below } => self.list(&below),
        }
    }

    fn read_policy(&self) -> io::Result<Option<String>> {
        let mut file = match File::open(&self.policy) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut bytes = Vec::new();
        (&mut file).take(limits::APPROVALS_FILE_BYTES + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > limits::APPROVALS_FILE_BYTES {
            return Err(io::Error::other(format!("it has more than {} bytes", limits::APPROVALS_FILE_BYTES)));
        }
        String::from_utf8(bytes).map(Some).map_err(|_| io::Error::other("it is not UTF-8"))
    }

    fn look(&self, programs: Vec<String>, files: Vec<String>, path: &str, cwd: Option<&str>) -> Outcome {
        let here = cwd.map(Path::new).or(self.home.as_deref()).unwrap_or(Path::new("/"));
        let mut found = BTreeMap::new();
        for name in programs {
            if let Some(place) = self.find(&name, path, here) {
                found.insert(name, place);
            }
        }
        let there = |name: &String| fs::symlink_metadata(here.join(name)).is_ok();
        Outcome::Found { programs: found, files: files.into_iter().filter(there).collect() }
    }

    /// The executable that a word names.
    fn find(&self, name: &str, path: &str, here: &Path) -> Option<String> {
        if name.is_empty() {
            return None;
        }
        if name.contains('/') {
            let named = match (name.strip_prefix("~/"), &self.home) {
                (Some(rest), Some(home)) => home.join(rest),
                _ => here.join(name),
            };
            return executable(&named);
        }
        // A directory that is not absolute would depend on where somebody stands.
        path.split(':')
            .filter(|dir| dir.starts_with('/'))
            .find_map(|dir| executable(&Path::new(dir).join(name)))
    }

    fn list(&self, below: &str) -> Outcome {
        match self.entries(below) {
            Ok((path, entries, truncated)) => {
                Outcome::Listed { path: path.display().to_string(), entries, truncated }
            }
            Err(error) => Outcome::Failed(format!("the directory cannot be listed: {error}")),
        }
    }

    fn entries(&self, below: &str) -> io::Result<(PathBuf, Vec<Entry>, bool)> {
        let home = self.home.as_ref().ok_or_else(|| io::Error::other("there is no home directory"))?;
        let home = fs::canonicalize(home)?;
        let path = fs::canonicalize(home.join(below))?;
        if !path.starts_with(&home) {
            return Err(io::Error::other("a link leads out of the home directory"));
        }
        let most = usize::try_from(MOST_ENTRIES).unwrap_or(usize::MAX);
        let mut entries = Vec::new();
        let mut truncated = false;
        for entry in fs::read_dir(&path)? {
            if entries.len() >= most {
                truncated = true;
                break;
            }
            let entry = entry?;
            let Ok(metadata) = entry.metadata() else { continue };
            let kind = match metadata.file_type() {
                kind if kind.is_file() => EntryKind::File,
                kind if kind.is_dir() => EntryKind::Directory,
                kind if kind.is_symlink() => EntryKind::Link,
                _ => EntryKind::Other,
            };
            let size = metadata.is_file().then_some(metadata.len());
            entries.push(Entry { name: entry.file_name().to_string_lossy().into_owned(), kind, size });
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok((path, entries, truncated))
    }
}

/// The path of an executable file: its directory without links, and its own name, by which programs that are one
/// file know what they are.
fn executable(path: &Path) -> Option<String> {
    if !fs::metadata(path).is_ok_and(|metadata| metadata.is_file()) || access(path, Access::EXEC_OK).is_err()
    {
        return None;
    }
    let place = fs::canonicalize(path.parent()?).ok()?.join(path.file_name()?);
    place.into_os_string().into_string().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn files(dir: &Path) -> Files {
        Files { policy: dir.join("state/exec-approvals.json"), home: Some(dir.to_owned()) }
    }

    #[test]
    fn a_policy_is_replaced_only_while_it_is_what_it_was() {
        use std::os::unix::fs::PermissionsExt as _;
        let temp = tempfile::tempdir().unwrap();
        let files = files(temp.path());
        let write = |text: &str, was: Option<&str>| {
            files.perform(Errand::WritePolicy { text: text.to_owned(), was: was.map(str::to_owned) })
        };
        fs::create_dir(temp.path().join("state")).unwrap();
        assert_eq!(files.perform(Errand::ReadPolicy), Outcome::Policy(None));
        assert_eq!(write("a", None), Outcome::Written);
        assert_eq!(write("b", None), Outcome::Changed);
        assert_eq!(write("b", Some("a")), Outcome::Written);
        assert_eq!(files.perform(Errand::ReadPolicy), Outcome::Policy(Some("b".to_owned())));
        assert_eq!(fs::metadata(&files.policy).unwrap().permissions().mode() & 0o777, 0o600);
        let left: Vec<_> = fs::read_dir(temp.path().join("state")).unwrap().collect();
        assert_eq!(left.len(), 1, "no draft is left");
        fs::write(&files.policy, "x".repeat(300_000)).unwrap();
        assert!(matches!(files.perform(Errand::ReadPolicy), Outcome::Failed(_)));
    }

    #[test]
    fn programs_are_looked_for_where_they_would_be_started_from() {
        use std::os::unix::fs::{PermissionsExt as _, symlink};
        let temp = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(temp.path()).unwrap();
        let bin = root.join("bin");
        fs::create_dir(&bin).unwrap();
        for (name, mode) in [("tool", 0o755), ("text", 0o644)] {
            fs::write(bin.join(name), "#!/bin/sh\n").unwrap();
            fs::set_permissions(bin.join(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        symlink("tool", bin.join("other")).unwrap();
        fs::create_dir(bin.join("dir")).unwrap();
        let files = files(&root);
        let find = |name: &str| files.find(name, &format!("bin::{}", bin.display()), &root);
        let place = |name: &str| Some(bin.join(name).display().to_string());
        assert_eq!(find("tool"), place("tool"));
        assert_eq!(find("other"), place("other"), "it keeps the name by which it is called");
        assert_eq!(find("bin/../bin/tool"), place("tool"));
        assert_eq!(find("~/bin/tool"), place("tool"));
        for name in ["text", "dir", "absent", "", "/absent", "."] {
            assert_eq!(find(name), None, "{name}");
        }
    }

    #[test]
    fn a_listing_does_not_leave_the_home_directory() {
        use std::os::unix::fs::symlink;
        let temp = tempfile::tempdir().unwrap();
        fs::create_dir(temp.path().join("docs")).unwrap();
        fs::write(temp.path().join("docs/b.txt"), "12345").unwrap();
        symlink("/etc", temp.path().join("docs/a-way-out")).unwrap();
        let files = files(temp.path());
        let Outcome::Listed { entries, truncated, .. } =
            files.perform(Errand::List { below: "docs".to_owned() })
        else {
            unreachable!("it is there")
        };
        let names: Vec<(&str, EntryKind, Option<u64>)> =
            entries.iter().map(|entry| (entry.name.as_str(), entry.kind, entry.size)).collect();
        assert_eq!(names, [("a-way-out", EntryKind::Link, None), ("b.txt", EntryKind::File, Some(5))]);
        assert!(!truncated);
        for below in ["docs/a-way-out", "absent", "docs/b.txt"] {
            let outcome = files.perform(Errand::List { below: below.to_owned() });
            assert!(matches!(outcome, Outcome::Failed(_)), "{below}: {outcome:?}");
        }
    }
}
