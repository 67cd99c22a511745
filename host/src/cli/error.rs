//! Why a command failed, in the words of the terminal and of `--json`.

use serde::Serialize;
use telson_core::config::{Failure, Issue};

use crate::config::ConfigError;
use crate::driver::ServeError;
use crate::state::StateError;
use crate::store::StoreOpenError;
use crate::tls::TlsError;

use super::exit::Exit;

/// Why a command failed.
#[derive(Debug)]
pub(crate) struct CliError {
    pub(crate) failure: Failure,
    pub(crate) message: String,
    /// What the user may try, or should know, one line each.
    pub(crate) hints: Vec<String>,
    /// Whether the log has already said so on the console.
    pub(crate) told: bool,
}

#[derive(Serialize)]
struct Answer<'a> {
    ok: bool,
    error: Shape<'a>,
}

#[derive(Serialize)]
struct Shape<'a> {
    code: &'a str,
    message: &'a str,
    hints: &'a [String],
}

impl CliError {
    pub(crate) fn new(failure: Failure, message: impl Into<String>) -> Self {
        Self { failure, message: message.into(), hints: Vec::new(), told: false }
    }

    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    pub(crate) fn exit(&self) -> Exit {
        self.failure.into()
    }

    /// The `--json` form.
    pub(crate) fn shape(&self) -> impl Serialize + '_ {
        let error = Shape { code: self.failure.code(), message: &self.message, hints: &self.hints };
        Answer { ok: false, error }
    }
}

impl From<TlsError> for CliError {
    fn from(error: TlsError) -> Self {
        Self::new(Failure::TlsFailed, error.to_string())
    }
}

impl From<StateError> for CliError {
    fn from(error: StateError) -> Self {
        Self::new(error.failure(), error.to_string())
    }
}

impl From<StoreOpenError> for CliError {
    fn from(error: StoreOpenError) -> Self {
        let failure = match &error {
            StoreOpenError::ReadOnly => Failure::StateReadOnly,
            StoreOpenError::Full => Failure::StateFull,
            StoreOpenError::Locked => Failure::LockHeld,
            StoreOpenError::Corrupt(_) | StoreOpenError::Newer { .. } | StoreOpenError::Other(_) => {
                Failure::StateBroken
            }
        };
        Self::new(failure, error.to_string())
    }
}

impl From<ConfigError> for CliError {
    fn from(error: ConfigError) -> Self {
        match error {
            ConfigError::State(error) => error.into(),
            ConfigError::Read { .. } => Self::new(Failure::ConfigRead, error.to_string()),
            ConfigError::Invalid { path, issues } => {
                // The most telling code: what would expose the gateway, else the first.
                let grave = |issue: &&Issue| {
                    matches!(
                        issue.code,
                        Failure::AuthRequiredForBind | Failure::AuthMissing | Failure::ConfigConflict
                    )
                };
                let file = path.display().to_string();
                let code = issues
                    .iter()
                    .find(grave)
                    .or(issues.first())
                    .map_or(Failure::ConfigInvalid, |issue| issue.code);
                let mut lines = issues.iter().map(|issue| issue.line(&file));
                let first = lines.next().unwrap_or_default();
                Self { hints: lines.collect(), ..Self::new(code, first) }
            }
        }
    }
}

impl From<ServeError> for CliError {
    fn from(error: ServeError) -> Self {
        let failure = match &error {
            ServeError::PortInUse { .. } => Failure::PortInUse,
            ServeError::Bind { .. } | ServeError::NoListener => Failure::BindFailed,
            ServeError::Tailnet(_) => Failure::TsFailed,
            ServeError::Signals(_) => Failure::Internal,
            ServeError::State => Failure::StateBroken,
        };
        let shown = Self::new(failure, error.to_string());
        match failure {
            Failure::PortInUse => shown.hint("stop that program, or choose another port with --port"),
            _ => shown,
        }
    }
}
