//! A chat completion in pieces (spec 04 §7.3, §7.4).

use serde::Serialize;
use serde_json::{Value, json};

use super::answer::{Answer, Tokens, finish_reason};
use crate::api::errors::Refusal;
use crate::api::outcome::{self, Said};
use crate::api::sse;
use crate::providers::Usage;
use crate::providers::request::ToolCall;

/// The longest piece of a call's arguments, in characters.
const FRAGMENT: usize = 256;

#[derive(Serialize)]
struct Chunk<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    choices: Vec<Choice>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Tokens>,
}

#[derive(Serialize)]
struct Choice {
    index: u32,
    delta: Value,
    logprobs: Option<()>,
    finish_reason: Option<&'static str>,
}

impl Answer {
    /// The first piece: who speaks.
    pub(in crate::api) fn first(&mut self) -> String {
        self.delta(json!({"role": "assistant"}), None)
    }

    /// More words.
    pub(in crate::api) fn said(&mut self, words: &str, anew: bool) -> Option<String> {
        let news = self.words.say(words, anew)?;
        Some(self.delta(json!({"content": news}), None))
    }

    /// What is missing at the end, and the end itself.
    pub(super) fn last(&self, said: Result<Said<'_>, Refusal>, usage: Option<&Usage>) -> String {
        let finished = said.and_then(|said| {
            let rest = self.words.rest(&said.text).ok_or_else(Refusal::internal)?.to_owned();
            Ok((said, rest))
        });
        let mut out = match finished {
            Ok((said, rest)) => self.finish(&said, &rest, usage),
            Err(refusal) => sse::unnamed(&json!({"error": refusal.v1()})),
        };
        out.push_str(sse::DONE);
        out
    }

    fn finish(&self, said: &Said<'_>, rest: &str, usage: Option<&Usage>) -> String {
        let mut out = String::new();
        if !rest.is_empty() {
            out.push_str(&self.delta(json!({"content": rest}), None));
        }
        for (index, call) in said.calls.iter().enumerate() {
            self.call(index, call, &mut out);
        }
        out.push_str(&self.delta(json!({}), Some(finish_reason(said))));
        if self.include_usage {
            out.push_str(&sse::unnamed(&Chunk { usage: Some(Tokens::of(usage)), ..self.chunk(Vec::new()) }));
        }
        out
    }

    fn call(&self, index: usize, call: &ToolCall, out: &mut String) {
        let function = json!({"name": call.name, "arguments": ""});
        let head = json!([{"index": index, "id": call.id, "type": "function", "function": function}]);
        out.push_str(&self.delta(json!({"tool_calls": head}), None));
        let mut rest = outcome::arguments(call);
        while !rest.is_empty() {
            let at = rest.char_indices().nth(FRAGMENT).map_or(rest.len(), |(at, _)| at);
            let (piece, after) = rest.split_at(at);
            let fragment = json!([{"index": index, "function": {"arguments": piece}}]);
            out.push_str(&self.delta(json!({"tool_calls": fragment}), None));
            rest = after;
        }
    }

    fn delta(&self, delta: Value, finish_reason: Option<&'static str>) -> String {
        sse::unnamed(&self.chunk(vec![Choice { index: 0, delta, logprobs: None, finish_reason }]))
    }

    fn chunk(&self, choices: Vec<Choice>) -> Chunk<'_> {
        Chunk {
            id: &self.id,
            object: "chat.completion.chunk",
            created: self.created,
            model: &self.model,
            choices,
            usage: None,
        }
    }
}
