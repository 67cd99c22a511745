//! How a run has ended, for those who asked for it from inside: HTTP endpoints, tools, cron.

use crate::ids::SessionId;
use crate::providers::request::ToolCall;
use crate::providers::{ErrorKind, Usage};
use crate::settings::ModelRef;

/// The end of a run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RunResult {
    /// What the assistant has said, message by message.
    pub(crate) texts: Vec<String>,
    /// The tools of the asker that the model has called; the answer is up to the asker.
    pub(crate) client_calls: Vec<ToolCall>,
    /// The tokens of all calls of the model; `None` when no provider has counted.
    pub(crate) usage: Option<Usage>,
    /// `stop`, `length`, `toolUse`, `aborted` or `error`.
    pub(crate) stop_reason: &'static str,
    /// Why there is no answer, or only a part of one.
    pub(crate) failure: Option<RunFailure>,
    pub(crate) model: ModelRef,
    pub(crate) session: SessionId,
}

/// Why a run has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RunFailure {
    pub(crate) kind: ErrorKind,
    /// For people, with the provider's own words.
    pub(crate) message: String,
}

impl RunResult {
    /// The end of a run that never began.
    pub(crate) fn failed(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            texts: Vec::new(),
            client_calls: Vec::new(),
            usage: None,
            stop_reason: "error",
            failure: Some(RunFailure { kind, message: message.into() }),
            model: ModelRef::echo(),
            session: SessionId::new(""),
        }
    }
}
