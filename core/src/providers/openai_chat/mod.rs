//! Any server that speaks OpenAI's chat completions.
//!
//! An answer is complete when its finish reason has come; what breaks off before is an error, however much
//! text it has brought. Servers that ignore `stream` and answer with one JSON document are understood too.

mod body;
mod calls;
#[cfg(test)]
pub(super) mod tests;

use serde::Deserialize;
use serde_json::Value;

use super::answer::Answer;
use super::conversation::CallIds;
use super::request::ModelRequest;
use super::target::Target;
use super::wire::Dialect;
use super::{StopReason, Usage, failure};
use crate::fetch::FetchRequest;
use crate::settings::Api;

use calls::{CallDelta, Calls, FunctionDelta};

/// How the answers are read.
#[derive(Debug)]
pub(super) struct OpenAiChat {
    calls: Calls,
}

#[derive(Deserialize)]
struct Chunk {
    #[serde(default)]
    choices: Option<Vec<Choice>>,
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
    reasoning: Option<Value>,
    #[serde(default)]
    tool_calls: Option<Vec<CallDelta>>,
    /// The form before there were several calls.
    #[serde(default)]
    function_call: Option<FunctionDelta>,
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
    /// The spelling of some servers.
    #[serde(default)]
    prompt_cache_hit_tokens: Option<u64>,
}

#[derive(Deserialize)]
struct PromptDetails {
    #[serde(default)]
    cached_tokens: Option<u64>,
}

/// How the answer will be read, and the request to make.
pub(super) fn start(target: Target<'_>, request: &ModelRequest) -> (OpenAiChat, FetchRequest) {
    let url = format!("{}/chat/completions", target.base(&["/chat/completions"]));
    let fetch = target.fetch(url, "text/event-stream", target.bearer(), &body::write(target, request));
    (OpenAiChat { calls: Calls::new(CallIds::after(request)) }, fetch)
}

impl Dialect for OpenAiChat {
    fn api(&self) -> Api {
        Api::OpenAiChat
    }

    fn document(&mut self, _event: &str, text: &str, answer: &mut Answer) {
        if text == "[DONE]" {
            return answer.close();
        }
        let chunk: Chunk = match serde_json::from_str(text) {
            Ok(chunk) => chunk,
            Err(error) => return answer.nonsense(&error),
        };
        if let Some(error) = chunk.error.filter(|error| !error.is_null()) {
            return answer.fail(failure::from_event(&error));
        }
        if let Some(usage) = &chunk.usage {
            answer.usage(usage.read());
        }
        // Only one answer was asked for.
        let Some(choice) = chunk.choices.into_iter().flatten().next() else { return };
        self.spoken(choice.delta.unwrap_or_default(), answer);
        let stop = match choice.finish_reason.as_deref().filter(|reason| !reason.is_empty()) {
            None => return,
            Some("content_filter") => return answer.refused("content filter"),
            Some("length" | "max_tokens") => StopReason::Length,
            Some("tool_calls" | "function_call") => StopReason::ToolUse,
            Some(_) => StopReason::Stop,
        };
        // What the limit has cut off must not be called.
        self.calls.give_out(stop == StopReason::Length, answer);
        answer.stop(stop);
    }

    fn whole(&mut self, text: &str, answer: &mut Answer) {
        self.document("", text, answer);
    }
}

impl OpenAiChat {
    fn spoken(&mut self, delta: Delta, answer: &mut Answer) {
        let thoughts = delta.reasoning_content.or(delta.reasoning.map(text_of));
        answer.thinking(thoughts.unwrap_or_default());
        answer.text(delta.content.map(text_of).unwrap_or_default());
        answer.text(delta.refusal.unwrap_or_default());
        for call in delta.tool_calls.into_iter().flatten() {
            self.calls.heard(call, answer);
        }
        if let Some(function) = delta.function_call {
            self.calls.heard(CallDelta::legacy(function), answer);
        }
    }
}

impl WireUsage {
    fn read(&self) -> Usage {
        let prompt = self.prompt_tokens.unwrap_or(0);
        let output = self.completion_tokens.unwrap_or(0);
        let cached = self.prompt_tokens_details.as_ref().and_then(|details| details.cached_tokens);
        let cache_read = cached.or(self.prompt_cache_hit_tokens).unwrap_or(0).min(prompt);
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
