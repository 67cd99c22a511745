//! The response as a resource (spec 04 §8.4, §8.6).

use serde::Serialize;
use serde_json::{Value, json};

use super::answer::Answer;
use crate::api::outcome;
use crate::providers::Usage;

/// Where a response is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    InProgress,
    Completed,
    Incomplete,
    Failed,
}

impl Status {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::InProgress => "in_progress",
            Self::Completed => "completed",
            Self::Incomplete => "incomplete",
            Self::Failed => "failed",
        }
    }
}

/// A response.
#[derive(Serialize)]
pub(super) struct Resource<'a> {
    id: &'a str,
    object: &'static str,
    created_at: u64,
    status: &'static str,
    error: Option<Value>,
    incomplete_details: Option<Value>,
    instructions: Option<&'a str>,
    max_output_tokens: Option<u64>,
    metadata: &'a Value,
    model: &'a str,
    output: &'a [Value],
    parallel_tool_calls: bool,
    previous_response_id: Option<&'a str>,
    temperature: Option<f64>,
    tool_choice: &'a Value,
    tools: &'a Value,
    top_p: Option<f64>,
    usage: Option<Value>,
}

impl Answer {
    /// The response with this output. `failure` is what is told of a failure.
    pub(super) fn resource<'a>(
        &'a self,
        status: Status,
        output: &'a [Value],
        usage: Option<&Usage>,
        failure: Option<&str>,
    ) -> Resource<'a> {
        let echo = &self.echo;
        Resource {
            id: &self.id,
            object: "response",
            created_at: self.created,
            status: status.as_str(),
            error: failure
                .map(|message| json!({"code": "api_error", "message": message, "type": "api_error"})),
            incomplete_details: (status == Status::Incomplete)
                .then(|| json!({"reason": "max_output_tokens"})),
            instructions: echo.instructions.as_deref(),
            max_output_tokens: echo.max_output_tokens,
            metadata: &echo.metadata,
            model: &echo.model,
            output,
            parallel_tool_calls: true,
            previous_response_id: echo.previous_response_id.as_deref(),
            temperature: echo.temperature,
            tool_choice: &echo.tool_choice,
            tools: &echo.tools,
            top_p: echo.top_p,
            usage: (status != Status::InProgress).then(|| tokens(usage)),
        }
    }
}

fn tokens(usage: Option<&Usage>) -> Value {
    let usage = usage.copied().unwrap_or_default();
    json!({
        "input_tokens": usage.input,
        "input_tokens_details": {"cached_tokens": usage.cache_read},
        "output_tokens": usage.output,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": outcome::total(&usage),
    })
}

/// A text part of a message.
pub(super) fn text_part(text: &str) -> Value {
    json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []})
}

/// A message of the assistant.
pub(super) fn message(id: &str, status: Status, content: &[Value]) -> Value {
    json!({
        "type": "message", "id": id, "role": "assistant", "status": status.as_str(), "content": content,
    })
}

/// A call of a tool.
pub(super) fn function_call(id: &str, call_id: &str, name: &str, arguments: &str, status: Status) -> Value {
    json!({
        "type": "function_call", "id": id, "call_id": call_id, "name": name, "arguments": arguments,
        "status": status.as_str(),
    })
}
