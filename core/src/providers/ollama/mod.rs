//! Ollama's own chat: one JSON document on each line.

mod body;
#[cfg(test)]
pub(super) mod tests;

use serde::Deserialize;
use serde_json::Value;

use super::answer::Answer;
use super::conversation::CallIds;
use super::request::{ModelRequest, ToolCall};
use super::target::Target;
use super::wire::Dialect;
use super::{StopReason, Usage, failure};
use crate::fetch::FetchRequest;
use crate::settings::Api;

/// How the answers are read.
#[derive(Debug)]
pub(super) struct Ollama {
    ids: CallIds,
}

#[derive(Deserialize)]
struct Line {
    #[serde(default)]
    message: Option<Said>,
    #[serde(default)]
    done: bool,
    #[serde(default)]
    done_reason: Option<String>,
    /// Left out where the whole prompt came from the server's cache.
    #[serde(default)]
    prompt_eval_count: Option<u64>,
    #[serde(default)]
    eval_count: Option<u64>,
    #[serde(default)]
    error: Option<Value>,
}

#[derive(Default, Deserialize)]
struct Said {
    #[serde(default)]
    content: Option<String>,
    #[serde(default)]
    thinking: Option<String>,
    #[serde(default)]
    tool_calls: Option<Vec<Call>>,
}

#[derive(Deserialize)]
struct Call {
    #[serde(default)]
    id: Option<String>,
    function: Function,
}

#[derive(Deserialize)]
struct Function {
    name: String,
    #[serde(default)]
    arguments: Value,
}

/// How the answer will be read, and the request to make.
pub(super) fn start(target: Target<'_>, request: &ModelRequest) -> (Ollama, FetchRequest) {
    let url = format!("{}/api/chat", target.base(&["/api/chat", "/v1", "/api"]));
    let fetch = target.fetch(url, "application/x-ndjson", target.bearer(), &body::write(target, request));
    (Ollama { ids: CallIds::after(request) }, fetch)
}

impl Dialect for Ollama {
    fn api(&self) -> Api {
        Api::Ollama
    }

    fn document(&mut self, _event: &str, text: &str, answer: &mut Answer) {
        let line: Line = match serde_json::from_str(text) {
            Ok(line) => line,
            Err(error) => return answer.nonsense(&error),
        };
        if let Some(error) = line.error.filter(|error| !error.is_null()) {
            return answer.fail(failure::from_event(&error));
        }
        let said = line.message.unwrap_or_default();
        answer.thinking(said.thinking.unwrap_or_default());
        answer.text(said.content.unwrap_or_default());
        for call in said.tool_calls.into_iter().flatten() {
            answer.call(ToolCall {
                id: self.ids.settle(call.id.as_deref().unwrap_or_default()),
                name: call.function.name,
                arguments: match call.function.arguments {
                    Value::Null => "{}".to_owned(),
                    Value::String(text) => text,
                    other => other.to_string(),
                },
            });
        }
        if line.done {
            let (input, output) = (line.prompt_eval_count.unwrap_or(0), line.eval_count.unwrap_or(0));
            let total = input.saturating_add(output);
            answer.usage(Usage { input, output, cache_read: 0, cache_write: 0, total });
            answer.stop(match line.done_reason.as_deref() {
                Some("length") => StopReason::Length,
                _ => StopReason::Stop,
            });
            answer.close();
        }
    }

    fn whole(&mut self, text: &str, answer: &mut Answer) {
        self.document("", text, answer);
    }
}
