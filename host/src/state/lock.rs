//! One gateway per state directory, held by a lock of the operating system (spec 05 §10.1 [D-38]).
//!
//! The lock decides; what stands in the file is for people, and for the command line, which learns the port
//! from it.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::{StateDir, StateError};

/// How often a held lock is tried again.
const RETRY: Duration = Duration::from_millis(100);

/// What a gateway says about itself in the lock file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Holder {
    /// Its process id.
    pub pid: u32,
    /// When it took the lock, as RFC 3339.
    pub created_at: String,
    /// The port on which it listens.
    pub port: u16,
    /// Its version.
    pub version: String,
    /// Its configuration file.
    pub config_path: String,
    /// Its state directory.
    #[serde(default)]
    pub state_dir: String,
    /// The addresses on which it listens, once it does.
    #[serde(default)]
    pub listen: Vec<SocketAddr>,
    /// Whether its port speaks TLS.
    #[serde(default)]
    pub tls: bool,
}

impl Holder {
    /// This process, at this port.
    pub fn this(state: &StateDir, port: u16, config_path: &std::path::Path) -> Self {
        Self {
            pid: std::process::id(),
            created_at: jiff::Timestamp::now().to_string(),
            port,
            version: crate::cli::VERSION.to_owned(),
            config_path: config_path.display().to_string(),
            state_dir: state.path().display().to_string(),
            listen: Vec::new(),
            tls: false,
        }
    }

    /// The same, at work on these addresses.
    #[must_use]
    pub fn listening(mut self, addrs: &[SocketAddr], tls: bool) -> Self {
        self.listen = addrs.to_vec();
        self.tls = tls;
        self
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pid {}, port {}, state directory {}", self.pid, self.port, self.state_dir)
    }
}

/// The lock, held until it is dropped or the process ends, however it ends.
#[derive(Debug)]
pub struct Lock {
    file: File,
    path: PathBuf,
}

impl Lock {
    /// Takes the lock of a prepared directory, waiting up to `patience` for a gateway that is just ending.
    ///
    /// # Errors
    ///
    /// [`StateError::Locked`] when another gateway holds it all that time.
    pub fn take(state: &StateDir, this: &Holder, patience: Duration) -> Result<Self, StateError> {
        let path = path(state);
        let fail = |cause| StateError::io(&path, cause);
        let mut options = OpenOptions::new();
        let file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(fail)?;
        let started = Instant::now();
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                Err(Errno::WOULDBLOCK) if started.elapsed() < patience => std::thread::sleep(RETRY),
                Err(Errno::WOULDBLOCK) => {
                    let holder = read(&file).unwrap_or_else(|| unknown(state));
                    return Err(StateError::Locked {
                        holder: Box::new(holder),
                        waited: started.elapsed().as_millis(),
                    });
                }
                Err(errno) => return Err(fail(errno.into())),
            }
        }
        let lock = Self { file, path };
        lock.say(this)?;
        Ok(lock)
    }

    /// Writes who holds the lock.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn say(&self, this: &Holder) -> Result<(), StateError> {
        let fail = |cause| StateError::io(&self.path, cause);
        let body = serde_json::to_vec(this).map_err(|error| fail(error.into()))?;
        let mut file = &self.file;
        file.rewind().and_then(|()| file.set_len(0)).and_then(|()| file.write_all(&body)).map_err(fail)
    }

    /// The gateway that holds a directory's lock right now, if one does.
    pub fn holder(state: &StateDir) -> Option<Holder> {
        let file = File::open(path(state)).ok()?;
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Err(Errno::WOULDBLOCK) => read(&file),
            _ => None,
        }
    }
}

fn path(state: &StateDir) -> PathBuf {
    state.run().join("gateway.lock")
}

fn read(mut file: &File) -> Option<Holder> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.take(16_384).read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

/// A holder that has taken the lock and not yet said who it is.
fn unknown(state: &StateDir) -> Holder {
    Holder {
        pid: 0,
        created_at: String::new(),
        port: 0,
        version: String::new(),
        config_path: String::new(),
        state_dir: state.path().display().to_string(),
        listen: Vec::new(),
        tls: false,
    }
}
