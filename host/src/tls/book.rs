//! The pins that the user has agreed to, one for each exact origin (spec 08 S-21, S-93).
//!
//! A pin comes in by `--trust-on-first-use` or `tls pin`, and only `tls pin` and `tls forget` change one that is
//! there. What is discovered on the network never does.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use url::Url;

use crate::state::{StateDir, StateError};

use super::pin::Pin;

/// The largest file that is read, and the most pins in it.
const LARGEST: u64 = 1024 * 1024;
const MOST: usize = 1_000;

/// The stored pins.
#[derive(Debug)]
pub struct PinBook {
    path: PathBuf,
    content: Content,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Content {
    pins: BTreeMap<String, String>,
}

impl PinBook {
    /// Reads the book of a state directory; there need not be one.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or is no book: it is never taken for an empty one.
    pub fn open(state: &StateDir) -> Result<Self, StateError> {
        let path = state.run().join("pins.json");
        let fail = |cause| StateError::io(&path, cause);
        let file = match fs::File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self { path, content: Content::default() });
            }
            Err(cause) => return Err(fail(cause)),
        };
        let mut text = String::new();
        file.take(LARGEST).read_to_string(&mut text).map_err(fail)?;
        let content = serde_json::from_str(&text).map_err(|error| fail(error.into()))?;
        Ok(Self { path, content })
    }

    /// The origin of a URL, as the book spells it: scheme, host and port.
    pub fn origin(url: &str) -> Option<String> {
        let url = Url::parse(url).ok()?;
        let host = url.host_str()?.to_ascii_lowercase();
        Some(format!("{}://{host}:{}", url.scheme(), url.port_or_known_default()?))
    }

    /// The pin of an origin.
    ///
    /// # Errors
    ///
    /// What stands there is no pin; it is not taken for none.
    pub fn get(&self, origin: &str) -> Result<Option<Pin>, StateError> {
        let Some(text) = self.content.pins.get(origin) else { return Ok(None) };
        let damaged =
            || StateError::io(&self.path, io::Error::other(format!("the pin of {origin} is damaged")));
        Pin::parse(text).map(Some).map_err(|_| damaged())
    }

    /// Every origin with its pin as it is written.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.content.pins.iter().map(|(origin, pin)| (origin.as_str(), pin.as_str()))
    }

    /// Keeps a pin, in place of another one if there is one.
    ///
    /// # Errors
    ///
    /// The book cannot be written, or is full.
    pub fn put(&mut self, state: &StateDir, origin: &str, pin: Pin) -> Result<(), StateError> {
        if self.content.pins.len() >= MOST && !self.content.pins.contains_key(origin) {
            let full = io::Error::other(format!("there are {MOST} pins already; forget some"));
            return Err(StateError::io(&self.path, full));
        }
        self.content.pins.insert(origin.to_owned(), pin.to_string());
        self.write(state)
    }

    /// Forgets a pin; false when there was none.
    ///
    /// # Errors
    ///
    /// The book cannot be written.
    pub fn forget(&mut self, state: &StateDir, origin: &str) -> Result<bool, StateError> {
        if self.content.pins.remove(origin).is_none() {
            return Ok(false);
        }
        self.write(state).map(|()| true)
    }

    /// Written beside its place and then moved, so that no reader sees half of it.
    fn write(&self, state: &StateDir) -> Result<(), StateError> {
        state.prepare()?;
        let fail = |cause| StateError::io(&self.path, cause);
        let bytes = serde_json::to_vec_pretty(&self.content).map_err(|error| fail(error.into()))?;
        let draft = self.path.with_file_name(format!(".pins.json.{}", std::process::id()));
        let _ = fs::remove_file(&draft);
        let written =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft).and_then(|mut file| {
                file.write_all(&bytes)?;
                file.sync_all()
            });
        written.and_then(|()| fs::rename(&draft, &self.path)).map_err(|cause| {
            let _ = fs::remove_file(&draft);
            fail(cause)
        })
    }
}
