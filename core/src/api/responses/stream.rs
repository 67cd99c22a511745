//! A response in events (spec 04 §8.5).
//!
//! The message is opened with its first words, so an answer that only calls tools has none. Exactly one terminal
//! event comes, then the end.

use serde_json::{Map, Value, json};

use super::answer::{Answer, status_of};
use super::resource::{Status, function_call, message, text_part};
use crate::api::errors::Refusal;
use crate::api::outcome::{self, Said};
use crate::api::sse;
use crate::entropy::Entropy;
use crate::providers::Usage;
use crate::providers::request::ToolCall;

/// Where a stream is.
pub(super) struct Stream {
    message: String,
    /// Whether the message has been opened.
    opened: bool,
    /// The number of the next event.
    next: u64,
}

impl Stream {
    pub(super) fn new(message: String) -> Self {
        Self { message, opened: false, next: 0 }
    }

    /// The id of the message.
    pub(super) fn message_id(&self) -> &str {
        &self.message
    }

    fn event(&mut self, kind: &str, members: Value) -> String {
        let mut data = match members {
            Value::Object(members) => members,
            _ => Map::new(),
        };
        data.insert("type".to_owned(), kind.into());
        data.insert("sequence_number".to_owned(), self.next.into());
        self.next += 1;
        sse::named(kind, &Value::Object(data))
    }

    /// More words of the message, which is opened first.
    fn words(&mut self, words: &str) -> String {
        let mut out = String::new();
        if !self.opened {
            self.opened = true;
            let item = message(&self.message, Status::InProgress, &[]);
            out.push_str(&self.event("response.output_item.added", json!({"output_index": 0, "item": item})));
            out.push_str(&self.part("response.content_part.added", ""));
        }
        let delta = json!({
            "item_id": self.message, "output_index": 0, "content_index": 0, "delta": words, "logprobs": [],
        });
        out.push_str(&self.event("response.output_text.delta", delta));
        out
    }

    fn part(&mut self, kind: &str, text: &str) -> String {
        let members = json!({
            "item_id": self.message, "output_index": 0, "content_index": 0, "part": text_part(text),
        });
        self.event(kind, members)
    }

    /// Closes the message. Returns its item beside the events.
    fn close(&mut self, text: &str, status: Status) -> (String, Value) {
        let done = json!({
            "item_id": self.message, "output_index": 0, "content_index": 0, "text": text, "logprobs": [],
        });
        let mut out = self.event("response.output_text.done", done);
        out.push_str(&self.part("response.content_part.done", text));
        let item = message(&self.message, status, &[text_part(text)]);
        let members = json!({"output_index": 0, "item": item});
        out.push_str(&self.event("response.output_item.done", members));
        (out, item)
    }

    /// A call of a tool. Returns its item beside the events.
    fn call(&mut self, index: usize, id: &str, call: &ToolCall) -> (String, Value) {
        let arguments = outcome::arguments(call);
        let begun = function_call(id, &call.id, &call.name, "", Status::InProgress);
        let item = function_call(id, &call.id, &call.name, arguments, Status::Completed);
        let added = json!({"output_index": index, "item": begun});
        let delta = json!({"item_id": id, "output_index": index, "delta": arguments});
        let done = json!({"item_id": id, "output_index": index, "name": call.name, "arguments": arguments});
        let mut out = self.event("response.output_item.added", added);
        out.push_str(&self.event("response.function_call_arguments.delta", delta));
        out.push_str(&self.event("response.function_call_arguments.done", done));
        out.push_str(&self.event("response.output_item.done", json!({"output_index": index, "item": item})));
        (out, item)
    }
}

impl Answer {
    /// The first events: the response is made, and under way.
    pub(in crate::api) fn first(&mut self) -> String {
        let resource = self.shown(Status::InProgress, &[], None, None);
        let mut out = self.events.event("response.created", json!({"response": resource}));
        out.push_str(&self.events.event("response.in_progress", json!({"response": resource})));
        out
    }

    /// More words.
    pub(in crate::api) fn said(&mut self, words: &str, anew: bool) -> Option<String> {
        let news = self.words.say(words, anew)?;
        Some(self.events.words(&news))
    }

    /// What is missing at the end, and the end itself.
    pub(super) fn last(
        &mut self,
        said: Result<Said<'_>, Refusal>,
        usage: Option<&Usage>,
        entropy: &mut Entropy,
    ) -> String {
        let finished = said.and_then(|said| {
            let rest = self.words.rest(&said.text).ok_or_else(Refusal::internal)?.to_owned();
            Ok((said, rest))
        });
        let mut out = match finished {
            Ok((said, rest)) => self.finish(&said, &rest, usage, entropy),
            Err(refusal) => {
                let resource = self.shown(Status::Failed, &[], usage, Some(&refusal.message));
                self.events.event("response.failed", json!({"response": resource}))
            }
        };
        out.push_str(sse::DONE);
        out
    }

    fn finish(
        &mut self,
        said: &Said<'_>,
        rest: &str,
        usage: Option<&Usage>,
        entropy: &mut Entropy,
    ) -> String {
        let status = status_of(said);
        let mut out = String::new();
        let mut output = Vec::new();
        if !rest.is_empty() {
            out.push_str(&self.events.words(rest));
        }
        if self.events.opened {
            // What the client has put together from the pieces, so that both agree.
            let text = format!("{}{rest}", self.words.sent());
            let (closed, item) = self.events.close(&text, status);
            out.push_str(&closed);
            output.push(item);
        }
        for call in said.calls {
            let id = format!("fc_{}", entropy.uuid());
            let (called, item) = self.events.call(output.len(), &id, call);
            out.push_str(&called);
            output.push(item);
        }
        let resource = self.shown(status, &output, usage, None);
        let kind = match status {
            Status::Incomplete => "response.incomplete",
            _ => "response.completed",
        };
        out.push_str(&self.events.event(kind, json!({"response": resource})));
        out
    }

    fn shown(&self, status: Status, output: &[Value], usage: Option<&Usage>, failure: Option<&str>) -> Value {
        serde_json::to_value(self.resource(status, output, usage, failure)).unwrap_or_default()
    }
}
