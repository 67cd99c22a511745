//! Model providers: from a turn of a conversation to a stream of words.
//!
//! A stream is a small machine of its own. It asks for an outbound request or for time, is told what became
//! of it, and says what the model says. It ends with exactly one `ModelEvent::Done` or
//! `ModelEvent::Failed`; afterwards it says nothing more.

mod echo;
mod openai_chat;
pub(crate) mod request;
pub(crate) mod sse;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::fetch::{FetchEvent, FetchRequest};
use crate::settings::{ModelRef, ProviderSettings, Settings};

use echo::Echo;
use openai_chat::OpenAiChat;
use request::{ModelRequest, ToolCall};

/// The providers that are configured. The built-in `echo` is always there.
pub struct Providers {
    by_id: BTreeMap<String, Arc<ProviderSettings>>,
}

impl Providers {
    pub(crate) fn new(settings: &Settings) -> Self {
        let by_id = settings.providers.iter().map(|p| (p.id.clone(), Arc::new(p.clone()))).collect();
        Self { by_id }
    }

    /// Begins an answer of `model`; with it comes the outbound request to make, if one is needed.
    ///
    /// # Errors
    ///
    /// The provider is not configured.
    pub(crate) fn start(
        &self,
        now: Duration,
        model: &ModelRef,
        request: &ModelRequest,
    ) -> Result<(ModelStream, Option<FetchRequest>), ModelError> {
        match self.by_id.get(&model.provider) {
            Some(provider) => {
                let (stream, fetch) = OpenAiChat::start(Arc::clone(provider), model, request);
                Ok((ModelStream::OpenAiChat(Box::new(stream)), Some(fetch)))
            }
            None if model.provider == "echo" => Ok((ModelStream::Echo(Echo::new(now, request)), None)),
            None => {
                let known: Vec<&str> = self.by_id.keys().map(String::as_str).chain(["echo"]).collect();
                Err(ModelError::new(
                    ErrorKind::Unknown,
                    format!(
                        "unknown model provider \"{}\" of {model}; configure models.providers.{} or use one of: {}",
                        model.provider,
                        model.provider,
                        known.join(", ")
                    ),
                ))
            }
        }
    }
}

/// An answer under way.
#[derive(Debug)]
pub(crate) enum ModelStream {
    Echo(Echo),
    OpenAiChat(Box<OpenAiChat>),
}

impl ModelStream {
    /// The wire format that the transcript names as `api`.
    pub(crate) const fn api(&self) -> &'static str {
        match self {
            Self::Echo(_) => "echo",
            Self::OpenAiChat(_) => "openai-completions",
        }
    }

    /// Hears of its outbound request.
    pub(crate) fn fetched(&mut self, event: FetchEvent) -> Vec<ModelEvent> {
        match self {
            Self::Echo(_) => Vec::new(),
            Self::OpenAiChat(stream) => stream.fetched(event),
        }
    }

    /// Does what is due by now.
    pub(crate) fn timeout(&mut self, now: Duration) -> Vec<ModelEvent> {
        match self {
            Self::Echo(echo) => echo.timeout(now),
            Self::OpenAiChat(_) => Vec::new(),
        }
    }

    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        match self {
            Self::Echo(echo) => echo.next_deadline(),
            Self::OpenAiChat(_) => None,
        }
    }
}

/// What a model says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ModelEvent {
    /// Further words of the answer.
    Text(String),
    /// Further words of the thoughts behind it.
    Thinking(String),
    /// The thoughts so far are complete, with the provider's proof of them.
    Signature(String),
    /// A tool is to be called: complete, and after the words that came before it.
    ToolCall(ToolCall),
    /// The answer is complete.
    Done { stop_reason: StopReason, usage: Option<Usage> },
    /// There is no answer, or only a part of one.
    Failed(ModelError),
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StopReason {
    /// The model had said everything.
    Stop,
    /// The limit on tokens was reached.
    Length,
    /// The model asks for a tool.
    ToolUse,
}

impl StopReason {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::ToolUse => "toolUse",
        }
    }
}

/// The tokens of one model call (spec 02 §6.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Tokens of the prompt, without those read from the cache.
    pub(crate) input: u64,
    pub(crate) output: u64,
    pub(crate) cache_read: u64,
    pub(crate) cache_write: u64,
    pub(crate) total: u64,
}

impl Usage {
    /// The tokens of two calls.
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            input: self.input.saturating_add(other.input),
            output: self.output.saturating_add(other.output),
            cache_read: self.cache_read.saturating_add(other.cache_read),
            cache_write: self.cache_write.saturating_add(other.cache_write),
            total: self.total.saturating_add(other.total),
        }
    }

    /// The size of the prompt, which is what fills a context window.
    pub(crate) fn prompt(&self) -> u64 {
        self.input.saturating_add(self.cache_read).saturating_add(self.cache_write)
    }
}

/// Why a model call failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct ModelError {
    pub(crate) kind: ErrorKind,
    /// One sentence for people, with the provider's own words.
    pub(crate) message: String,
    /// The HTTP status, when the provider answered.
    pub(crate) status: Option<u16>,
    /// When the provider wants to be asked again.
    pub(crate) retry_after_ms: Option<u64>,
}

impl ModelError {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), status: None, retry_after_ms: None }
    }
}

/// The kinds that v4 clients tell apart (spec 02 §20.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ErrorKind {
    Refusal,
    Timeout,
    RateLimit,
    ContextLength,
    Unknown,
}

impl ErrorKind {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Refusal => "refusal",
            Self::Timeout => "timeout",
            Self::RateLimit => "rate_limit",
            Self::ContextLength => "context_length",
            Self::Unknown => "unknown",
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::auth::Secret;
    use crate::settings::AuthMode;

    #[test]
    fn an_unknown_provider_is_named_with_the_known_ones() {
        let providers = Providers::new(&Settings::plain(AuthMode::Token(Secret::new("t"))));
        let model = ModelRef::parse("nowhere/m").unwrap();
        let error = providers.start(Duration::ZERO, &model, &ModelRequest::default()).unwrap_err();
        assert!(error.message.contains("\"nowhere\"") && error.message.contains("echo"), "{error}");
    }
}
