//! One answer over HTTP, whatever the API: from the head of the response to its end.
//!
//! ```text
//! Asked → Streaming | Whole | Refused → Over
//! ```

use super::answer::{Answer, MAX_ANSWER_BYTES};
use super::lines::LineParser;
use super::sse::{SseEvent, SseParser, TooLong};
use super::{ErrorKind, ModelError, ModelEvent, failure};
use crate::fetch::FetchEvent;
use crate::settings::Api;

/// As much of an error's body is kept.
const MAX_ERROR_BYTES: usize = 64 * 1024;

/// What tells one API from another: how the documents of its answers are read.
pub(super) trait Dialect: std::fmt::Debug + Send {
    fn api(&self) -> Api;

    /// Reads one document of a stream; `event` is its type, where the stream names one.
    fn document(&mut self, event: &str, text: &str, answer: &mut Answer);

    /// Reads the answer of a server that does not stream.
    fn whole(&mut self, text: &str, answer: &mut Answer);
}

/// An answer under way.
#[derive(Debug)]
pub(crate) struct HttpStream {
    dialect: Box<dyn Dialect>,
    answer: Answer,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Before the head of the response.
    Asked,
    Streaming(Parser),
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

#[derive(Debug)]
enum Parser {
    Events(SseParser),
    Lines(LineParser),
}

impl HttpStream {
    pub(super) fn new(dialect: Box<dyn Dialect>, answer: Answer) -> Self {
        Self { dialect, answer, state: State::Asked }
    }

    /// The word that transcripts show.
    pub(super) fn api(&self) -> &'static str {
        self.dialect.api().as_str()
    }

    /// Hears of the request.
    pub(super) fn fetched(&mut self, event: FetchEvent) -> Vec<ModelEvent> {
        match event {
            FetchEvent::Head { status, headers } => self.head(status, &headers),
            FetchEvent::Chunk(bytes) => self.chunk(&bytes),
            FetchEvent::End => self.end(),
            FetchEvent::Failed(error) => {
                let error = failure::from_fetch(self.answer.provider(), &error);
                self.broke_off(error);
            }
        }
        if self.answer.is_over() {
            self.state = State::Over;
        }
        self.answer.take()
    }

    fn head(&mut self, status: u16, headers: &[(String, String)]) {
        if !matches!(self.state, State::Asked) {
            return;
        }
        let is_json = headers.iter().any(|(name, value)| {
            name == "content-type" && value.trim_start().starts_with("application/json")
        });
        self.state = match status {
            200..=299 if self.dialect.api() == Api::Ollama => {
                State::Streaming(Parser::Lines(LineParser::default()))
            }
            200..=299 if is_json => State::Whole(Vec::new()),
            200..=299 => State::Streaming(Parser::Events(SseParser::default())),
            _ => State::Refused { status, retry_after_ms: failure::retry_after(headers), body: Vec::new() },
        };
    }

    fn chunk(&mut self, bytes: &[u8]) {
        match &mut self.state {
            State::Asked | State::Over => {}
            State::Refused { body, .. } => {
                let room = MAX_ERROR_BYTES.saturating_sub(body.len()).min(bytes.len());
                body.extend_from_slice(&bytes[..room]);
            }
            State::Whole(body) if body.len() + bytes.len() > MAX_ANSWER_BYTES => {
                let provider = self.answer.provider();
                let message = format!("the answer of {provider} is longer than {MAX_ANSWER_BYTES} bytes");
                self.answer.fail(ModelError::new(ErrorKind::Unknown, message));
            }
            State::Whole(body) => body.extend_from_slice(bytes),
            State::Streaming(parser) => {
                let mut events = Vec::new();
                let read = parser.push(bytes, &mut events);
                for event in events {
                    self.document(&event);
                }
                if let Err(error) = read {
                    self.answer.broke_off(ModelError::new(ErrorKind::Unknown, error.to_string()));
                }
            }
        }
    }

    fn document(&mut self, event: &SseEvent) {
        let text = event.data.trim();
        if !self.answer.is_over() && !text.is_empty() {
            self.dialect.document(&event.event, text, &mut self.answer);
        }
    }

    fn end(&mut self) {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Over => return,
            State::Refused { status, retry_after_ms, body } => {
                let error = failure::from_status(self.answer.provider(), status, retry_after_ms, &body);
                return self.answer.fail(error);
            }
            State::Whole(body) => self.dialect.whole(&String::from_utf8_lossy(&body), &mut self.answer),
            State::Streaming(Parser::Lines(mut parser)) => {
                let last = parser.finish().map(|data| SseEvent { event: String::new(), data });
                last.iter().for_each(|event| self.document(event));
            }
            State::Streaming(Parser::Events(_)) | State::Asked => {}
        }
        self.answer.close();
    }

    /// The connection is broken. An HTTP error is told by its status all the same.
    fn broke_off(&mut self, error: ModelError) {
        match &self.state {
            State::Over => {}
            State::Refused { status, retry_after_ms, body } => {
                let error = failure::from_status(self.answer.provider(), *status, *retry_after_ms, body);
                self.answer.fail(error);
            }
            _ => self.answer.broke_off(error),
        }
    }
}

impl Parser {
    fn push(&mut self, bytes: &[u8], events: &mut Vec<SseEvent>) -> Result<(), TooLong> {
        match self {
            Self::Events(parser) => parser.push(bytes, events),
            Self::Lines(parser) => {
                let mut lines = Vec::new();
                let read = parser.push(bytes, &mut lines);
                events.extend(lines.into_iter().map(|data| SseEvent { event: String::new(), data }));
                read
            }
        }
    }
}
