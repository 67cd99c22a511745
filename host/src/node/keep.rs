//! The files of a node: its key, the tokens that gateways gave it, and the lock that keeps two hosts apart.
//!
//! They stand in `node` below the state directory, readable for their owner only. A key that cannot be read is an
//! error and stays as it is: a new one would be another node.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::{FlockOperation, flock};
use telson_core::nodehost::{DeviceToken, Identity, IdentityFault, Tokens};

use crate::state::{StateDir, StateError};

/// Why the files of a node cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// The operating system does not let it.
    #[error(transparent)]
    State(#[from] StateError),
    /// The key cannot be read.
    #[error("{path}: {fault}; repair the file, or move it away to make this machine a new node")]
    Identity {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        fault: IdentityFault,
    },
    /// Another node host runs.
    #[error("another node host runs on {0}; stop it first, or pass another --state-dir")]
    Held(PathBuf),
}

/// Where a node keeps its files.
#[derive(Clone, Debug)]
pub struct Keep {
    dir: PathBuf,
    id: String,
}

/// Held while a node host runs.
#[derive(Debug)]
pub struct NodeLock {
    _file: File,
}

impl Keep {
    /// The files of a state directory, and the key, which is made at the first time.
    ///
    /// # Errors
    ///
    /// See [`KeepError`].
    pub fn open(state: &StateDir) -> Result<(Self, Identity), KeepError> {
        state.prepare()?;
        let dir = state.path().join("node");
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&dir);
        made.map_err(|cause| StateError::io(&dir, cause))?;
        let path = dir.join("identity.json");
        let identity = match read_identity(&path)? {
            Some(identity) => identity,
            None => make_identity(&path)?,
        };
        Ok((Self { dir, id: identity.id().to_owned() }, identity))
    }

    /// Keeps every other node host away.
    ///
    /// # Errors
    ///
    /// [`KeepError::Held`] when there is one.
    pub fn lock(&self) -> Result<NodeLock, KeepError> {
        let path = self.dir.join("lock");
        let fail = |cause| StateError::io(&path, cause);
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(fail)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(NodeLock { _file: file }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(KeepError::Held(self.dir.clone())),
            Err(cause) => Err(fail(cause.into()).into()),
        }
    }

    /// The tokens.
    ///
    /// # Errors
    ///
    /// The file is there and cannot be read.
    pub fn tokens(&self) -> Result<Tokens, KeepError> {
        let path = self.tokens_file();
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Tokens::read(&text, &self.id)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Tokens::default()),
            Err(cause) => Err(StateError::io(&path, cause).into()),
        }
    }

    /// Keeps the token of an origin, or forgets it. Blocks.
    ///
    /// # Errors
    ///
    /// The file cannot be read or written.
    pub fn set_token(&self, origin: &str, token: Option<DeviceToken>) -> io::Result<()> {
        let mut tokens = self.tokens().map_err(io::Error::other)?;
        tokens.set(origin, token);
        replace(&self.tokens_file(), &tokens.write(&self.id))
    }

    fn tokens_file(&self) -> PathBuf {
        self.dir.join("device-auth.json")
    }
}

fn read_identity(path: &Path) -> Result<Option<Identity>, KeepError> {
    match fs::read_to_string(path) {
        Ok(text) => {
            let read = Identity::read(&text);
            read.map(Some).map_err(|fault| KeepError::Identity { path: path.to_owned(), fault })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(StateError::io(path, cause).into()),
    }
}

/// Makes a key. Of two programs that do so at once, the first one's stays.
fn make_identity(path: &Path) -> Result<Identity, KeepError> {
    let fail = |cause| StateError::io(path, cause);
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| fail(io::Error::other(error)))?;
    let identity = Identity::from_seed(&seed);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let text = identity.write(u64::try_from(now.as_millis()).unwrap_or_default());
    let draft = draft_of(path);
    write_draft(&draft, &text).map_err(fail)?;
    // A link is made only where nothing stands.
    let linked = fs::hard_link(&draft, path);
    let _ = fs::remove_file(&draft);
    match linked {
        Ok(()) => Ok(identity),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            read_identity(path)?.ok_or_else(|| fail(io::ErrorKind::NotFound.into()).into())
        }
        Err(cause) => Err(fail(cause).into()),
    }
}

/// Replaces a file in one step by one that only its owner reads.
pub(super) fn replace(path: &Path, text: &str) -> io::Result<()> {
    let draft = draft_of(path);
    let written = write_draft(&draft, text).and_then(|()| fs::rename(&draft, path));
    if written.is_err() {
        let _ = fs::remove_file(&draft);
    }
    written
}

fn draft_of(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}.new", std::process::id()))
}

fn write_draft(draft: &Path, text: &str) -> io::Result<()> {
    let _ = fs::remove_file(draft);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(draft)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
