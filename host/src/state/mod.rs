//! The state directory: where it is, who may use it, and what a gateway at work leaves in it for the command
//! line (spec 05 §1.1, §10.1).
//!
//! The place is worked out once per process, here and nowhere else, and handed on [D-04].

mod facts;
mod lock;
mod token;

#[cfg(test)]
mod tests;

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use telson_core::config::{Environment, Failure};

pub use facts::{facts, host_name, is_tailnet, surroundings};
pub use lock::{Holder, Lock};
pub use token::{made_token, new_token, stored_token, token_file};

/// How long to wait for another gateway that is just ending.
pub const LOCK_PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);

/// Why the state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Neither a flag nor the environment says where it is.
    #[error("no state directory: HOME is not set; set TELSON_STATE_DIR or pass --state-dir")]
    Nowhere,
    /// Something that is no directory stands there.
    #[error("{0} is not a directory; pass another one with --state-dir")]
    NotADirectory(PathBuf),
    /// It belongs to another user, who could read and change what is kept in it.
    #[error("{path} belongs to user {owner}, not to user {user}; pass another one with --state-dir")]
    NotOurs {
        /// The directory.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// Who runs the gateway.
        user: u32,
    },
    /// It cannot be written.
    #[error(
        "{path} cannot be written: {cause}; make it writable for this user, or pass another one with --state-dir"
    )]
    ReadOnly {
        /// The file or directory.
        path: PathBuf,
        /// The operating system's reason.
        cause: io::Error,
    },
    /// The disk is full.
    #[error("no space is left for {path}: {cause}; free some space on its disk")]
    Full {
        /// The file or directory.
        path: PathBuf,
        /// The operating system's reason.
        cause: io::Error,
    },
    /// Another gateway uses it.
    #[error(
        "gateway already running ({holder}); lock timeout after {waited}ms; stop it first, or pass another --state-dir"
    )]
    Locked {
        /// Who holds it.
        holder: Box<Holder>,
        /// How long this process waited, in milliseconds.
        waited: u128,
    },
    /// Anything else that the operating system says.
    #[error("{path}: {cause}")]
    Broken {
        /// The file or directory.
        path: PathBuf,
        /// The operating system's reason.
        cause: io::Error,
    },
}

impl StateError {
    /// Sorts an error of the operating system.
    pub fn io(path: &Path, cause: io::Error) -> Self {
        let path = path.to_owned();
        match cause.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::ROFS | Errno::ACCESS | Errno::PERM) => Self::ReadOnly { path, cause },
            Some(Errno::NOSPC | Errno::DQUOT) => Self::Full { path, cause },
            Some(Errno::NOTDIR | Errno::EXIST) => Self::NotADirectory(path),
            _ => Self::Broken { path, cause },
        }
    }

    /// The stable name of the failure.
    pub const fn failure(&self) -> Failure {
        match self {
            Self::ReadOnly { .. } => Failure::StateReadOnly,
            Self::Full { .. } => Failure::StateFull,
            Self::Locked { .. } => Failure::LockHeld,
            Self::Nowhere => Failure::ArgInvalid,
            Self::NotADirectory(_) | Self::NotOurs { .. } | Self::Broken { .. } => Failure::StateBroken,
        }
    }
}

/// The state directory of this process. It need not exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateDir(PathBuf);

impl StateDir {
    /// Where it is: `--state-dir`, else `TELSON_STATE_DIR`, else `~/.telson`.
    ///
    /// # Errors
    ///
    /// [`StateError::Nowhere`] when none of them says.
    pub fn resolve(flag: Option<&Path>, env: &Environment) -> Result<Self, StateError> {
        let named =
            flag.map(Path::to_owned).or_else(|| env.find("STATE_DIR").map(|found| found.value.into()));
        let path = match named {
            Some(path) => expand(&path, env).ok_or(StateError::Nowhere)?,
            None => home(env).ok_or(StateError::Nowhere)?.join(".telson"),
        };
        let absolute = std::path::absolute(&path).map_err(|cause| StateError::io(&path, cause))?;
        Ok(Self(absolute))
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The database.
    pub fn database(&self) -> PathBuf {
        self.0.join("telson.db")
    }

    /// Where log files go.
    pub fn logs(&self) -> PathBuf {
        self.0.join("logs")
    }

    /// Where the certificate is that is made here.
    pub fn tls(&self) -> PathBuf {
        self.0.join("gateway").join("tls")
    }

    /// Where a gateway at work leaves its lock and its token.
    pub fn run(&self) -> PathBuf {
        self.0.join("run")
    }

    /// The configuration file: `--config`, else `TELSON_CONFIG_PATH`, else `telson.json` in the directory.
    pub fn config_file(&self, flag: Option<&Path>, env: &Environment) -> PathBuf {
        let named =
            flag.map(Path::to_owned).or_else(|| env.find("CONFIG_PATH").map(|found| found.value.into()));
        let path = named.and_then(|path| expand(&path, env)).unwrap_or_else(|| self.0.join("telson.json"));
        std::path::absolute(&path).unwrap_or(path)
    }

    /// Makes the directory and those in it, readable for this user only, and proves that they can be written.
    ///
    /// # Errors
    ///
    /// See [`StateError`].
    pub fn prepare(&self) -> Result<(), StateError> {
        for path in [self.0.clone(), self.run(), self.logs()] {
            private_dir(&path)?;
        }
        let probe = self.run().join(format!(".probe-{}", std::process::id()));
        let written = fs::write(&probe, b"telson").map_err(|cause| StateError::io(&self.0, cause));
        let _ = fs::remove_file(&probe);
        written
    }
}

/// Makes a directory with mode 0700; one that exists must be this user's and is closed to others.
fn private_dir(path: &Path) -> Result<(), StateError> {
    let fail = |cause| StateError::io(path, cause);
    match DirBuilder::new().recursive(true).mode(0o700).create(path) {
        Err(_) if path.exists() && !path.is_dir() => return Err(StateError::NotADirectory(path.to_owned())),
        made => made.map_err(fail)?,
    }
    let metadata = fs::metadata(path).map_err(fail)?;
    let (owner, user) = (metadata.uid(), rustix::process::geteuid().as_raw());
    if owner != user && user != 0 {
        return Err(StateError::NotOurs { path: path.to_owned(), owner, user });
    }
    if metadata.mode() & 0o077 != 0 {
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(fail)?;
    }
    Ok(())
}

/// The user's home directory.
pub fn home(env: &Environment) -> Option<PathBuf> {
    env.get("HOME").map(PathBuf::from)
}

/// The path with a leading `~` replaced by the home directory; `None` when there is none.
pub fn expand(path: &Path, env: &Environment) -> Option<PathBuf> {
    match path.strip_prefix("~") {
        Ok(rest) => Some(home(env)?.join(rest)),
        Err(_) => Some(path.to_owned()),
    }
}
