//! Any server that speaks OpenAI's chat completions, streaming.
//!
//! An answer is complete when its finish reason has come; what breaks off before is an error, however much
//! text it has brought. Servers that ignore `stream` and answer with one JSON document are understood too.

mod body;
mod failure;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::request::ModelRequest;
use super::sse::{SseEvent, SseParser};
use super::{ErrorKind, ModelError, ModelEvent, StopReason, Usage};
use crate::auth::Secret;
use crate::fetch::{FetchEvent, FetchRequest, Reach};
use crate::settings::{ModelRef, ProviderSettings};

/// How long connecting and the head of the answer may take: a local server reads a long prompt first.
const HEAD_TIMEOUT: Duration = Duration::from_secs(300);
/// How long the answer may pause.
const IDLE_TIMEOUT: Duration = Duration::from_secs(120);
/// As much of an error's body is kept.
const MAX_ERROR_BYTES: usize = 64 * 1024;
/// As large may an answer be that does not stream, and as long the text of one that does.
const MAX_ANSWER_BYTES: usize = 4 * 1024 * 1024;

/// One answer under way.
#[derive(Debug)]
pub(crate) struct OpenAiChat {
    provider: Arc<ProviderSettings>,
    state: State,
    /// Why the model stopped, once it has said so.
    finished: Option<StopReason>,
    usage: Option<Usage>,
    text_bytes: usize,
}

#[derive(Debug)]
enum State {
    /// Before the head of the answer.
    Asked,
    Streaming(SseParser),
    /// A server that does not stream.
    Whole(Vec<u8>),
    /// The body of an HTTP error.
    Refused {
        status: u16,
        retry_after_ms: Option<u64>,
        body: Vec<u8>,
    },
    Over,
}

#[derive(Deserialize)]
struct Chunk {
    #[serde(default)]
    choices: Vec<Choice>,
    #[serde(default)]
    usage: Option<WireUsage>,
    #[serde(default)]
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default, alias = "message")]
    delta: Option<Delta>,
    #[serde(default)]
    finish_reason: Option<String>,
}

#[derive(Default, Deserialize)]
struct Delta {
    #[serde(default)]
    content: Option<Value>,
    #[serde(default)]
    refusal: Option<String>,
    #[serde(default)]
    reasoning_content: Option<String>,
    #[serde(default)]
    reasoning: Option<String>,
}

#[derive(Deserialize)]
struct WireUsage {
    #[serde(default)]
    prompt_tokens: Option<u64>,
    #[serde(default)]
    completion_tokens: Option<u64>,
    #[serde(default)]
    total_tokens: Option<u64>,
    #[serde(default)]
    prompt_tokens_details: Option<PromptDetails>,
}

#[derive(Deserialize)]
struct PromptDetails {
    #[serde(default)]
    cached_tokens: Option<u64>,
}

impl OpenAiChat {
    /// The stream and the request to make.
    pub(super) fn start(
        provider: Arc<ProviderSettings>,
        model: &ModelRef,
        request: &ModelRequest,
    ) -> (Self, FetchRequest) {
        let settings = provider.models.iter().find(|known| known.id == model.model);
        let mut headers = vec![
            ("content-type".to_owned(), "application/json".to_owned()),
            ("accept".to_owned(), "text/event-stream".to_owned()),
        ];
        if let Some(key) = provider.api_key.as_ref().filter(|_| provider.auth_header) {
            headers.push(("authorization".to_owned(), format!("Bearer {}", key.expose())));
        }
        headers
            .extend(provider.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone())));
        let fetch = FetchRequest {
            method: "POST",
            url: format!("{}/chat/completions", provider.base_url.trim_end_matches('/')),
            headers,
            body: body::write(&model.model, settings, request),
            head_timeout: HEAD_TIMEOUT,
            idle_timeout: IDLE_TIMEOUT,
            reach: Reach::Anywhere,
        };
        (Self { provider, state: State::Asked, finished: None, usage: None, text_bytes: 0 }, fetch)
    }

    /// Hears of the request.
    pub(super) fn fetched(&mut self, event: FetchEvent) -> Vec<ModelEvent> {
        let mut said = Vec::new();
        match event {
            FetchEvent::Head { status, headers } => self.head(status, &headers),
            FetchEvent::Chunk(bytes) => self.chunk(&bytes, &mut said),
            FetchEvent::End => self.end(&mut said),
            FetchEvent::Failed(error) => {
                self.broke_off(failure::from_fetch(&self.provider.id, &error), &mut said);
            }
        }
        said
    }

    fn head(&mut self, status: u16, headers: &[(String, String)]) {
        let is = |name: &str, word: &str| {
            headers.iter().any(|(found, value)| found == name && value.contains(word))
        };
        self.state = match status {
            200..=299 if is("content-type", "application/json") => State::Whole(Vec::new()),
            200..=299 => State::Streaming(SseParser::default()),
            _ => State::Refused { status, retry_after_ms: failure::retry_after(headers), body: Vec::new() },
        };
    }

    fn chunk(&mut self, bytes: &[u8], said: &mut Vec<ModelEvent>) {
        match &mut self.state {
            State::Asked | State::Over => {}
            State::Refused { body, .. } => {
                let room = MAX_ERROR_BYTES.saturating_sub(body.len()).min(bytes.len());
                body.extend_from_slice(&bytes[..room]);
            }
            State::Whole(body) if body.len() + bytes.len() > MAX_ANSWER_BYTES => self.too_long(said),
            State::Whole(body) => body.extend_from_slice(bytes),
            State::Streaming(parser) => {
                let mut events = Vec::new();
                let read = parser.push(bytes, &mut events);
                for event in events {
                    self.event(&event, said);
                }
                if let Err(error) = read {
                    self.broke_off(ModelError::new(ErrorKind::Unknown, error.to_string()), said);
                }
            }
        }
    }

    fn event(&mut self, event: &SseEvent, said: &mut Vec<ModelEvent>) {
        if matches!(self.state, State::Over) {
            return;
        }
        match event.data.trim() {
            "" => {}
            "[DONE]" => match self.finished {
                Some(_) => self.done(said),
                None => self.broke_off(self.cut(), said),
            },
            text => self.document(text, said),
        }
    }

    /// One JSON document of the answer: a chunk of a stream, or all of it.
    fn document(&mut self, text: &str, said: &mut Vec<ModelEvent>) {
        let chunk: Chunk = match serde_json::from_str(text) {
            Ok(chunk) => chunk,
            Err(error) => {
                let message = format!("{} sent what is no chat completion: {error}", self.provider.id);
                return self.broke_off(ModelError::new(ErrorKind::Unknown, message), said);
            }
        };
        if let Some(error) = chunk.error.filter(|error| !error.is_null()) {
            return self.fail(failure::from_event(&error), said);
        }
        if let Some(usage) = &chunk.usage {
            self.usage = Some(usage.read());
        }
        // Only one answer was asked for.
        let Some(choice) = chunk.choices.into_iter().next() else { return };
        self.spoken(choice.delta.unwrap_or_default(), said);
        match choice.finish_reason.as_deref().filter(|reason| !reason.is_empty()) {
            None => {}
            Some("content_filter") => {
                let message =
                    format!("{} withheld the rest of the answer (content filter)", self.provider.id);
                self.fail(ModelError::new(ErrorKind::Refusal, message), said);
            }
            Some("length" | "max_tokens") => self.finished = Some(StopReason::Length),
            Some("tool_calls" | "function_call") => self.finished = Some(StopReason::ToolUse),
            Some(_) => self.finished = Some(StopReason::Stop),
        }
    }

    fn spoken(&mut self, delta: Delta, said: &mut Vec<ModelEvent>) {
        let thoughts = delta.reasoning_content.or(delta.reasoning).filter(|text| !text.is_empty());
        said.extend(thoughts.map(ModelEvent::Thinking));
        let words = delta.content.map(text_of).into_iter().chain(delta.refusal);
        for text in words.filter(|text| !text.is_empty()) {
            self.text_bytes += text.len();
            if self.text_bytes > MAX_ANSWER_BYTES {
                return self.too_long(said);
            }
            said.push(ModelEvent::Text(text));
        }
    }

    fn end(&mut self, said: &mut Vec<ModelEvent>) {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Over => {}
            State::Refused { status, retry_after_ms, body } => {
                self.fail_over(failure::from_status(&self.provider.id, status, retry_after_ms, &body), said);
            }
            State::Whole(body) => {
                self.state = State::Whole(Vec::new());
                self.document(&String::from_utf8_lossy(&body), said);
                self.close(said);
            }
            state @ (State::Asked | State::Streaming(_)) => {
                self.state = state;
                self.close(said);
            }
        }
    }

    /// The answer's bytes are over.
    fn close(&mut self, said: &mut Vec<ModelEvent>) {
        match self.finished {
            Some(_) => self.done(said),
            None => self.broke_off(self.cut(), said),
        }
    }

    fn cut(&self) -> ModelError {
        let message = format!("{} ended the answer before it was complete", self.provider.id);
        ModelError::new(ErrorKind::Unknown, message)
    }

    fn too_long(&mut self, said: &mut Vec<ModelEvent>) {
        let message = format!("the answer of {} is longer than {MAX_ANSWER_BYTES} bytes", self.provider.id);
        self.fail(ModelError::new(ErrorKind::Unknown, message), said);
    }

    /// The connection or the stream is broken. An answer that had come to its end is whole all the same; an
    /// HTTP error is told by its status.
    fn broke_off(&mut self, error: ModelError, said: &mut Vec<ModelEvent>) {
        if let State::Refused { status, retry_after_ms, body } = &self.state {
            let error = failure::from_status(&self.provider.id, *status, *retry_after_ms, body);
            return self.fail(error, said);
        }
        match self.finished {
            Some(_) => self.done(said),
            None => self.fail(error, said),
        }
    }

    fn done(&mut self, said: &mut Vec<ModelEvent>) {
        if matches!(self.state, State::Over) {
            return;
        }
        self.state = State::Over;
        let stop_reason = self.finished.unwrap_or(StopReason::Stop);
        said.push(ModelEvent::Done { stop_reason, usage: self.usage });
    }

    fn fail(&mut self, error: ModelError, said: &mut Vec<ModelEvent>) {
        if !matches!(self.state, State::Over) {
            self.fail_over(error, said);
        }
    }

    fn fail_over(&mut self, error: ModelError, said: &mut Vec<ModelEvent>) {
        self.state = State::Over;
        let key = self.provider.api_key.as_ref().map(Secret::expose);
        said.push(ModelEvent::Failed(failure::without_secret(error, key)));
    }
}

impl WireUsage {
    fn read(&self) -> Usage {
        let prompt = self.prompt_tokens.unwrap_or(0);
        let output = self.completion_tokens.unwrap_or(0);
        let cached = self.prompt_tokens_details.as_ref().and_then(|details| details.cached_tokens);
        let cache_read = cached.unwrap_or(0).min(prompt);
        let total = self.total_tokens.unwrap_or_else(|| prompt.saturating_add(output));
        Usage { input: prompt - cache_read, output, cache_read, cache_write: 0, total }
    }
}

/// Content is a string, or a list of parts of which the texts count.
fn text_of(content: Value) -> String {
    match content {
        Value::String(text) => text,
        Value::Array(parts) => parts.iter().filter_map(|part| part.get("text")?.as_str()).collect(),
        _ => String::new(),
    }
}
