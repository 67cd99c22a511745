//! The configuration file on disk. What stands in it is [`telson_core::config`]'s business; here it is only
//! found and read, never written.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use telson_core::config::{self, Environment, Flags, Issue, Loaded};

use crate::state::{StateDir, StateError, surroundings};

/// The largest file that is read, in bytes.
pub const LARGEST: u64 = 2 * 1024 * 1024;

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{path}: read failed: {cause}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        cause: io::Error,
    },
    /// The file, the environment or the flags hold mistakes.
    #[error("{}", lines(path, issues))]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        issues: Vec<Issue>,
    },
    /// There is no place to look for it.
    #[error(transparent)]
    State(#[from] StateError),
}

/// The issues as lines, each beginning with its place.
fn lines(path: &Path, issues: &[Issue]) -> String {
    let file = path.display().to_string();
    issues.iter().map(|issue| issue.line(&file)).collect::<Vec<_>>().join("\n")
}

/// Where a process keeps its state and finds its configuration.
#[derive(Clone, Debug)]
pub struct Places {
    /// The state directory.
    pub state: StateDir,
    /// The configuration file, whether or not it exists.
    pub config: PathBuf,
    /// The environment.
    pub env: Environment,
    /// Whether the file was asked for by name, so that it must exist.
    named: bool,
}

impl Places {
    /// Works out the places from the flags `--state-dir` and `--config` and the environment.
    ///
    /// # Errors
    ///
    /// There is no place for the state directory.
    pub fn resolve(
        state_dir: Option<&Path>,
        config: Option<&Path>,
        env: Environment,
    ) -> Result<Self, StateError> {
        let state = StateDir::resolve(state_dir, &env)?;
        let named = config.is_some();
        let config = state.config_file(config, &env);
        Ok(Self { state, config, env, named })
    }

    /// Reads the file; a missing one is no mistake unless `--config` asked for it.
    ///
    /// # Errors
    ///
    /// See [`ConfigError`].
    pub fn load(&self, flags: &Flags) -> Result<Loaded, ConfigError> {
        let text = match read(&self.config) {
            Ok(text) => Some(text),
            Err(error) if is_absent(&error) && !self.named => None,
            Err(cause) => return Err(ConfigError::Read { path: self.config.clone(), cause }),
        };
        config::load(text.as_deref(), &self.env, flags, &surroundings())
            .map_err(|issues| ConfigError::Invalid { path: self.config.clone(), issues })
    }
}

/// Whether there is no such file. That its directory is none is said when the state directory is used.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(LARGEST + 1).read_to_string(&mut text)?;
    if text.len() as u64 > LARGEST {
        return Err(io::Error::other(format!("the file is larger than {LARGEST} bytes")));
    }
    Ok(text)
}

/// A copy of the process environment; variables that are not UTF-8 are left out.
pub fn environment() -> Environment {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    fn places(dir: &Path, config: Option<&Path>) -> Places {
        Places::resolve(Some(dir), config, Environment::default()).unwrap()
    }

    #[test]
    fn a_missing_file_is_fine_unless_it_was_asked_for() {
        let temp = tempfile::tempdir().unwrap();
        assert!(places(temp.path(), None).load(&Flags::default()).is_ok());
        let named = places(temp.path(), Some(&temp.path().join("none.json"))).load(&Flags::default());
        assert!(matches!(named, Err(ConfigError::Read { .. })));
    }

    #[test]
    fn mistakes_begin_with_file_line_and_column() {
        let temp = tempfile::tempdir().unwrap();
        let places = places(temp.path(), None);
        std::fs::write(&places.config, "{\n  gateway: {bind: 'lann'},\n  colour: 1,\n}").unwrap();
        let error = places.load(&Flags::default()).unwrap_err().to_string();
        let file = places.config.display();
        assert_eq!(
            error,
            format!(
                "{file}:2:19: gateway.bind: is \"lann\" (expected one of auto, lan, loopback, custom, tailnet; did you mean \
                 \"lan\"?)\n{file}:3:3: colour: is not a known key"
            )
        );
    }

    #[test]
    fn a_file_that_is_no_text_is_named() {
        let temp = tempfile::tempdir().unwrap();
        let places = places(temp.path(), None);
        std::fs::write(&places.config, [0xff, 0xfe]).unwrap();
        assert!(matches!(places.load(&Flags::default()), Err(ConfigError::Read { .. })));
    }

    #[test]
    fn reading_never_writes() {
        let temp = tempfile::tempdir().unwrap();
        let places = places(&temp.path().join("state"), None);
        places.load(&Flags::default()).unwrap();
        assert!(!places.state.path().exists());
    }
}
