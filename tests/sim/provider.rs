//! A scripted server of the OpenAI chat API, as the gateway meets such servers: some are slow, some break off.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use telson_core::FetchId;
use telson_core::fetch::{FetchError, FetchEvent, FetchRequest};

use crate::dice::Dice;

/// What a model may ask for, with the arguments: tools that work, one that leads nowhere, and nonsense.
const TOOLS: [(&str, &str); 6] = [
    ("agents_list", "{}"),
    ("session_status", "{}"),
    ("sessions_list", r#"{"limit": 3}"#),
    ("web_fetch", r#"{"url": "http://127.0.0.1/secret"}"#),
    ("no_such_tool", "{}"),
    ("agents_list", "{half"),
];

/// How a model answers one request.
#[derive(Clone, Debug)]
pub(crate) enum Model {
    /// Says this text, word by word.
    Says { text: String, pace: Duration },
    /// Says something and asks for tools; the next request brings their results.
    Calls { text: String, tools: Vec<(&'static str, &'static str)> },
    /// Says the beginning of a text; then the connection breaks.
    BreaksOff { text: String },
    /// Ends the answer in the middle of a chunk's JSON, without `[DONE]`.
    HalfJson { text: String },
    /// Refuses with this status, `retry-after` and message.
    Refuses { status: u16, retry_after: Option<u64>, message: String },
    /// Sends a head and then nothing.
    Stalls,
    /// Cannot be reached.
    Unreachable,
}

impl Model {
    pub(crate) fn says(text: &str, pace: Duration) -> Self {
        Self::Says { text: text.to_owned(), pace }
    }

    pub(crate) fn refuses(status: u16, message: &str) -> Self {
        Self::Refuses { status, retry_after: None, message: message.to_owned() }
    }

    /// Any of them.
    pub(crate) fn any(dice: &mut Dice) -> Self {
        let words = ["the", "moon", "pulls", "water", "tide", "ünd", "sea 🌊", "salt\n", "wind"];
        let length = dice.between(1, 25);
        let text: Vec<&str> = (0..length).map(|_| *dice.pick(&words)).collect();
        let text = text.join(" ");
        match dice.below(15) {
            0 => Self::BreaksOff { text },
            1 => Self::HalfJson { text },
            2 => Self::Refuses { status: 429, retry_after: Some(7), message: "slow down".to_owned() },
            3 => Self::refuses(500, "internal mistake"),
            4 => Self::Stalls,
            5 => Self::Unreachable,
            6..=8 => {
                Self::Calls { text, tools: (0..dice.between(1, 3)).map(|_| *dice.pick(&TOOLS)).collect() }
            }
            _ => Self::Says { text, pace: dice.millis(0, 400) },
        }
    }
}

/// The server.
#[derive(Default)]
pub(crate) struct Provider {
    /// The answers to the next requests; the last one stays.
    pub(crate) script: VecDeque<Model>,
    /// What was asked, oldest first: the user's last words.
    pub(crate) asked: Vec<String>,
    streams: BTreeMap<FetchId, Stream>,
}

/// An answer under way.
struct Stream {
    /// Each event with the time that passes before it.
    rest: VecDeque<(Duration, FetchEvent)>,
    idle: Duration,
}

impl Provider {
    /// Begins to answer. Says when the first event comes.
    pub(crate) fn begin(&mut self, dice: &mut Dice, id: FetchId, request: &FetchRequest) -> Option<Duration> {
        let body: Value = serde_json::from_slice(&request.body).unwrap_or(Value::Null);
        self.asked.push(last_words(&body));
        let model = match self.script.len() {
            0 => Model::any(dice),
            1 => self.script[0].clone(),
            _ => self.script.pop_front().unwrap_or(Model::Unreachable),
        };
        let rest = write(dice, &model, request);
        let stream = Stream { rest, idle: request.idle_timeout };
        let first = stream.rest.front().map(|(wait, _)| *wait);
        self.streams.insert(id, stream);
        first
    }

    /// The next event of an answer, and when the one after it comes. Nothing for an answer that was given up.
    pub(crate) fn next(&mut self, id: FetchId) -> Option<(FetchEvent, Option<Duration>)> {
        let stream = self.streams.get_mut(&id)?;
        let Some((_, event)) = stream.rest.pop_front() else {
            // It has gone silent: the adapter's own deadline ends it.
            let idle = stream.idle;
            self.streams.remove(&id);
            return Some((FetchEvent::Failed(FetchError::Timeout(idle)), None));
        };
        if matches!(event, FetchEvent::End | FetchEvent::Failed(_)) {
            self.streams.remove(&id);
            return Some((event, None));
        }
        let next = stream.rest.front().map_or(stream.idle, |(wait, _)| (*wait).min(stream.idle));
        Some((event, Some(next)))
    }

    /// The gateway gave up.
    pub(crate) fn abort(&mut self, id: FetchId) {
        self.streams.remove(&id);
    }

    /// The process died and its requests with it.
    pub(crate) fn crash(&mut self) {
        self.streams.clear();
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.streams.is_empty()
    }
}

/// The last thing the user said, as text.
fn last_words(body: &Value) -> String {
    let last = body["messages"].as_array().and_then(|all| all.last()).cloned().unwrap_or(Value::Null);
    crate::store::text_of(&last)
}

fn write(dice: &mut Dice, model: &Model, request: &FetchRequest) -> VecDeque<(Duration, FetchEvent)> {
    let mut events = VecDeque::new();
    let head = dice.millis(1, 300);
    let ok =
        FetchEvent::Head { status: 200, headers: vec![("content-type".into(), "text/event-stream".into())] };
    match model {
        Model::Says { text, pace } => {
            events.push_back((head, ok));
            speak(dice, &mut events, &sse(text, true), *pace);
            events.push_back((Duration::from_millis(1), FetchEvent::End));
        }
        Model::Calls { text, tools } => {
            events.push_back((head, ok));
            let mut pieces = sse(text, false);
            pieces.extend(calls(dice, tools));
            speak(dice, &mut events, &pieces, Duration::from_millis(20));
            events.push_back((Duration::from_millis(1), FetchEvent::End));
        }
        Model::BreaksOff { text } => {
            events.push_back((head, ok));
            speak(dice, &mut events, &sse(text, false), Duration::from_millis(30));
            let broken = FetchError::Broken("connection reset by peer".to_owned());
            events.push_back((Duration::from_millis(5), FetchEvent::Failed(broken)));
        }
        Model::HalfJson { text } => {
            events.push_back((head, ok));
            let mut pieces = sse(text, false);
            pieces.push("data: {\"choices\":[{\"delta\":{\"con".to_owned());
            speak(dice, &mut events, &pieces, Duration::from_millis(10));
            events.push_back((Duration::from_millis(1), FetchEvent::End));
        }
        Model::Refuses { status, retry_after, message } => {
            let mut headers = vec![("content-type".to_owned(), "application/json".to_owned())];
            headers.extend(retry_after.map(|seconds| ("retry-after".to_owned(), seconds.to_string())));
            events.push_back((head, FetchEvent::Head { status: *status, headers }));
            let body = json!({"error": {"message": message, "type": "server_error"}}).to_string();
            events.push_back((Duration::from_millis(1), FetchEvent::Chunk(Bytes::from(body))));
            events.push_back((Duration::from_millis(1), FetchEvent::End));
        }
        Model::Stalls => events.push_back((head, ok)),
        Model::Unreachable => {
            let refused =
                FetchError::Connect { host: "model.sim".into(), reason: "connection refused".into() };
            events.push_back((head.min(request.head_timeout), FetchEvent::Failed(refused)));
        }
    }
    events
}

/// The server-sent events of an answer, one a word.
fn sse(text: &str, whole: bool) -> Vec<String> {
    let mut pieces: Vec<String> = text
        .split_inclusive(' ')
        .map(|word| json!({"choices": [{"index": 0, "delta": {"content": word}}]}))
        .map(|chunk| format!("data: {chunk}\n\n"))
        .collect();
    if whole {
        let stop = json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]});
        pieces.push(format!("data: {stop}\n\n"));
        pieces.push("data: [DONE]\n\n".to_owned());
    }
    pieces
}

/// The server-sent events that ask for tools, the arguments in two pieces.
fn calls(dice: &mut Dice, tools: &[(&str, &str)]) -> Vec<String> {
    let mut pieces = Vec::new();
    for (index, (name, arguments)) in tools.iter().enumerate() {
        let id = format!("call-{}-{index}", dice.below(1_000_000));
        let (first, second) = arguments.split_at(arguments.len() / 2);
        let begin = json!({"index": index, "id": id, "type": "function", "function": {"name": name, "arguments": first}});
        let rest = json!({"index": index, "function": {"arguments": second}});
        for call in [begin, rest] {
            pieces.push(json!({"choices": [{"index": 0, "delta": {"tool_calls": [call]}}]}));
        }
    }
    pieces.push(json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}));
    let mut pieces: Vec<String> = pieces.iter().map(|chunk| format!("data: {chunk}\n\n")).collect();
    pieces.push("data: [DONE]\n\n".to_owned());
    pieces
}

/// Sends pieces, cut where the network happens to cut them: in the middle of a line or of a character.
fn speak(dice: &mut Dice, events: &mut VecDeque<(Duration, FetchEvent)>, pieces: &[String], pace: Duration) {
    for piece in pieces {
        let bytes = Bytes::from(piece.clone());
        let cut = usize::try_from(dice.between(0, bytes.len() as u64)).unwrap_or(0);
        let (first, second) = (bytes.slice(..cut), bytes.slice(cut..));
        events.push_back((pace, FetchEvent::Chunk(first)));
        if !second.is_empty() {
            events.push_back((dice.millis(0, 3), FetchEvent::Chunk(second)));
        }
    }
}
