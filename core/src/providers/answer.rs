//! What a model has said, within bounds, and whether it has ended.

use super::request::ToolCall;
use super::{ErrorKind, ModelError, ModelEvent, StopReason, Usage, failure};
use crate::auth::Secret;

/// As long may an answer be: words, thoughts and calls together.
pub(super) const MAX_ANSWER_BYTES: usize = 4 * 1024 * 1024;
/// As many tools may one answer call.
pub(super) const MAX_CALLS: usize = 128;

/// The answer so far. It ends once; what comes after the end is not heard.
#[derive(Debug)]
pub(super) struct Answer {
    /// The provider's id, for error messages.
    provider: String,
    /// The key that went out: it must not come back in an error message.
    secret: Option<Secret>,
    said: Vec<ModelEvent>,
    finished: Option<StopReason>,
    usage: Option<Usage>,
    bytes: usize,
    calls: usize,
    over: bool,
}

impl Answer {
    pub(super) fn new(provider: &str, secret: Option<Secret>) -> Self {
        Self {
            provider: provider.to_owned(),
            secret,
            said: Vec::new(),
            finished: None,
            usage: None,
            bytes: 0,
            calls: 0,
            over: false,
        }
    }

    pub(super) fn provider(&self) -> &str {
        &self.provider
    }

    /// Whether it has ended.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// The events since the last call.
    pub(super) fn take(&mut self) -> Vec<ModelEvent> {
        std::mem::take(&mut self.said)
    }

    pub(super) fn text(&mut self, text: impl Into<String>) {
        let text = text.into();
        if !text.is_empty() && self.fits(text.len()) {
            self.said.push(ModelEvent::Text(text));
        }
    }

    pub(super) fn thinking(&mut self, text: impl Into<String>) {
        let text = text.into();
        if !text.is_empty() && self.fits(text.len()) {
            self.said.push(ModelEvent::Thinking(text));
        }
    }

    pub(super) fn signature(&mut self, signature: impl Into<String>) {
        let signature = signature.into();
        if !signature.is_empty() && self.fits(signature.len()) {
            self.said.push(ModelEvent::Signature(signature));
        }
    }

    pub(super) fn call(&mut self, call: ToolCall) {
        self.calls += 1;
        if self.calls > MAX_CALLS {
            let message = format!("{} calls more than {MAX_CALLS} tools at once", self.provider);
            return self.fail(ModelError::new(ErrorKind::Unknown, message));
        }
        if self.fits(call.id.len() + call.name.len() + call.arguments.len()) {
            self.said.push(ModelEvent::ToolCall(call));
        }
    }

    pub(super) fn usage(&mut self, usage: Usage) {
        self.usage = Some(usage);
    }

    /// The model has said why it stops. Usage may still come.
    pub(super) fn stop(&mut self, reason: StopReason) {
        self.finished = Some(reason);
    }

    /// No more comes: an answer with a reason for its end is complete, another one was cut.
    pub(super) fn close(&mut self) {
        let message = format!("{} ended the answer before it was complete", self.provider);
        self.broke_off(ModelError::new(ErrorKind::Unknown, message));
    }

    /// The connection or the stream is broken. An answer that had come to its end is whole all the same.
    pub(super) fn broke_off(&mut self, error: ModelError) {
        match self.finished {
            Some(_) => self.done(),
            None => self.fail(error),
        }
    }

    /// The server says what the API does not know.
    pub(super) fn nonsense(&mut self, error: &dyn std::fmt::Display) {
        let message = format!("{} sent what its API does not know: {error}", self.provider);
        self.broke_off(ModelError::new(ErrorKind::Unknown, message));
    }

    /// The provider withholds the answer.
    pub(super) fn refused(&mut self, why: &str) {
        let message = format!("{} withheld the rest of the answer ({why})", self.provider);
        self.fail(ModelError::new(ErrorKind::Refusal, message));
    }

    pub(super) fn fail(&mut self, error: ModelError) {
        if !std::mem::replace(&mut self.over, true) {
            let key = self.secret.as_ref().map(Secret::expose);
            self.said.push(ModelEvent::Failed(failure::without_secret(error, key)));
        }
    }

    fn done(&mut self) {
        if std::mem::replace(&mut self.over, true) {
            return;
        }
        let stop_reason = match self.finished.unwrap_or(StopReason::Stop) {
            // Some servers call it a plain end.
            StopReason::Stop if self.calls > 0 => StopReason::ToolUse,
            other => other,
        };
        self.said.push(ModelEvent::Done { stop_reason, usage: self.usage });
    }

    /// Adds a piece to a text that is held back until it is whole. What does not fit ends the answer.
    pub(super) fn grow(&mut self, text: &mut String, more: &str) {
        let most = MAX_ANSWER_BYTES.saturating_sub(self.bytes);
        if text.len() + more.len() > most {
            self.fits(text.len() + more.len());
        } else {
            text.push_str(more);
        }
    }

    fn fits(&mut self, more: usize) -> bool {
        if self.over {
            return false;
        }
        self.bytes += more;
        if self.bytes > MAX_ANSWER_BYTES {
            let message = format!("the answer of {} is longer than {MAX_ANSWER_BYTES} bytes", self.provider);
            self.fail(ModelError::new(ErrorKind::Unknown, message));
        }
        !self.over
    }
}
