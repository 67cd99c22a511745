//! Programs of the system that the gateway runs on its own behalf (spec 08 S-29).
//!
//! They are found once, at the start, by absolute path in the places where a system keeps its programs, never
//! through `PATH`, which whoever starts the gateway may have changed. What others could replace is not run.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Where a system keeps its programs.
const FOLDERS: [&str; 7] = [
    "/usr/bin",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/local/sbin",
    "/bin",
    "/opt/homebrew/bin",
    "/run/current-system/sw/bin",
];

/// Why a program is not run.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum HelperError {
    /// It is not where programs are.
    #[error("the program `{0}` is in none of {list}", list = FOLDERS.join(", "))]
    Absent(String),
    /// A path was given that is relative.
    #[error("{0} is not an absolute path")]
    Relative(PathBuf),
    /// Something else stands there.
    #[error("{0} is no program that can be run")]
    NoProgram(PathBuf),
    /// Others than its owner could put something else in its place.
    #[error("{0} can be changed by other users of this machine; it is not run")]
    Changeable(PathBuf),
    /// It belongs to another user, who could change it.
    #[error("{0} belongs to another user of this machine; it is not run")]
    Foreign(PathBuf),
}

/// Finds a program by name in the fixed places and then in `further` ones, whole paths. The first that is there
/// counts: one that must not be run is not passed over in silence.
///
/// # Errors
///
/// See [`HelperError`].
pub fn find(name: &str, further: &[&str]) -> Result<PathBuf, HelperError> {
    let usual = FOLDERS.iter().map(|folder| Path::new(folder).join(name));
    let there = usual.chain(further.iter().map(PathBuf::from)).find(|path| path.exists());
    check(&there.ok_or_else(|| HelperError::Absent(name.to_owned()))?)
}

/// Checks a program that the operator named. Links are followed; what is returned is the program itself.
///
/// # Errors
///
/// See [`HelperError`].
pub fn check(path: &Path) -> Result<PathBuf, HelperError> {
    if !path.is_absolute() {
        return Err(HelperError::Relative(path.to_owned()));
    }
    let nothing = || HelperError::NoProgram(path.to_owned());
    let real = fs::canonicalize(path).map_err(|_| nothing())?;
    let metadata = fs::metadata(&real).map_err(|_| nothing())?;
    if !metadata.is_file() || metadata.mode() & 0o111 == 0 {
        return Err(nothing());
    }
    // The link and the program may stand in different folders; whoever can write to either decides what is run.
    for place in real.ancestors().chain(path.parent().into_iter().flat_map(Path::ancestors)) {
        let metadata = fs::metadata(place).map_err(|_| nothing())?;
        is_safe(place, &metadata)?;
    }
    Ok(real)
}

/// Only this user and the system's own may be able to change it. In a folder such as `/tmp` nobody can replace
/// what belongs to others.
fn is_safe(place: &Path, metadata: &Metadata) -> Result<(), HelperError> {
    const STICKY: u32 = 0o1000;
    let shared = metadata.is_dir() && metadata.mode() & STICKY != 0;
    if metadata.mode() & 0o022 != 0 && !shared {
        return Err(HelperError::Changeable(place.to_owned()));
    }
    let (owner, user) = (metadata.uid(), rustix::process::geteuid().as_raw());
    if owner != 0 && owner != user {
        return Err(HelperError::Foreign(place.to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn program(folder: &Path, mode: u32) -> PathBuf {
        let path = folder.join("helper");
        fs::write(&path, "#!/bin/true\n").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn a_program_that_only_its_owner_can_change_is_run() {
        let temp = tempfile::tempdir().unwrap();
        let path = program(temp.path(), 0o755);
        assert_eq!(check(&path), Ok(fs::canonicalize(&path).unwrap()));
        let link = temp.path().join("link");
        symlink(&path, &link).unwrap();
        assert_eq!(check(&link), Ok(fs::canonicalize(&path).unwrap()), "the program itself is run");
    }

    #[test]
    fn what_others_can_change_is_not() {
        for mode in [0o775, 0o757, 0o777] {
            let temp = tempfile::tempdir().unwrap();
            let path = program(temp.path(), mode);
            assert!(matches!(check(&path), Err(HelperError::Changeable(_))), "{mode:o}");
        }
        let temp = tempfile::tempdir().unwrap();
        let folder = temp.path().join("open");
        fs::create_dir(&folder).unwrap();
        let path = program(&folder, 0o755);
        fs::set_permissions(&folder, Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(check(&path), Err(HelperError::Changeable(_))), "its folder");
        let link = temp.path().join("link");
        symlink(&path, &link).unwrap();
        assert!(matches!(check(&link), Err(HelperError::Changeable(_))), "behind a link");
    }

    #[test]
    fn only_programs_are_run() {
        let temp = tempfile::tempdir().unwrap();
        let path = program(temp.path(), 0o644);
        assert!(matches!(check(&path), Err(HelperError::NoProgram(_))), "no program");
        assert!(matches!(check(temp.path()), Err(HelperError::NoProgram(_))), "a folder");
        assert!(matches!(check(&temp.path().join("none")), Err(HelperError::NoProgram(_))));
        assert!(matches!(check(Path::new("bin/true")), Err(HelperError::Relative(_))));
    }

    #[test]
    fn the_search_path_of_the_process_does_not_count() {
        let found = find("sh", &[]).unwrap();
        assert!(found.is_absolute());
        let absent = find("telson-no-such-program", &[]).unwrap_err();
        assert!(absent.to_string().contains("/usr/bin"), "{absent}");
    }
}
