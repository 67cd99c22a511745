//! Anthropic's messages: an answer is a list of blocks, and each of them streams.

mod body;
#[cfg(test)]
pub(super) mod tests;

use serde_json::Value;

use super::answer::Answer;
use super::conversation::CallIds;
use super::request::{ModelRequest, ToolCall};
use super::target::Target;
use super::wire::Dialect;
use super::{StopReason, Usage, failure};
use crate::fetch::FetchRequest;
use crate::settings::{Api, KeyMode};

const VERSION: &str = "2023-06-01";
/// What the API wants to see beside a token of a subscription.
const TOKEN_BETA: &str = "oauth-2025-04-20";
/// Marks the signature of thoughts that came encrypted as a whole. No other signature contains a colon.
const REDACTED: &str = "redacted:";

/// How the answers are read.
#[derive(Debug)]
pub(super) struct Anthropic {
    ids: CallIds,
    block: Block,
    usage: Usage,
}

/// The block that streams.
#[derive(Debug)]
enum Block {
    /// Text, or something that is passed over.
    Other,
    Thinking {
        signature: String,
    },
    Call {
        call: ToolCall,
        /// What the block began with: servers that do not stream calls say everything there.
        input: Value,
    },
}

/// How the answer will be read, and the request to make.
pub(super) fn start(target: Target<'_>, request: &ModelRequest) -> (Anthropic, FetchRequest) {
    let url = format!("{}/v1/messages", target.base(&["/v1/messages", "/v1"]));
    let fetch = target.fetch(url, "text/event-stream", headers(target), &body::write(target, request));
    (Anthropic { ids: CallIds::after(request), block: Block::Other, usage: Usage::default() }, fetch)
}

fn headers(target: Target<'_>) -> Vec<(String, String)> {
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let mut headers = vec![header("anthropic-version", VERSION)];
    if target.profile.is_some_and(|profile| profile.mode == KeyMode::Token) {
        headers.push(header("anthropic-beta", TOKEN_BETA));
    }
    let bearer = target.bearer();
    match target.secret() {
        Some(key) if bearer.is_empty() => headers.push(header("x-api-key", key.expose())),
        _ => headers.extend(bearer),
    }
    headers
}

impl Dialect for Anthropic {
    fn api(&self) -> Api {
        Api::Anthropic
    }

    fn document(&mut self, event: &str, text: &str, answer: &mut Answer) {
        let document: Value = match serde_json::from_str(text) {
            Ok(document) => document,
            Err(error) => return answer.nonsense(&error),
        };
        match document["type"].as_str().unwrap_or(event) {
            "message_start" => self.counted(&document["message"]["usage"], answer),
            "content_block_start" => self.begin(&document["content_block"], answer),
            "content_block_delta" => self.delta(&document["delta"], answer),
            "content_block_stop" => self.end_block(false, answer),
            "message_delta" => {
                self.counted(&document["usage"], answer);
                // A block that has not ended was cut off.
                self.block = Block::Other;
                stopped(document["delta"]["stop_reason"].as_str(), answer);
            }
            "message_stop" => answer.close(),
            "error" => answer.fail(failure::from_event(&document["error"])),
            _ => {}
        }
    }

    fn whole(&mut self, text: &str, answer: &mut Answer) {
        let message: Value = match serde_json::from_str(text) {
            Ok(message) => message,
            Err(error) => return answer.nonsense(&error),
        };
        if message["error"].is_object() {
            return answer.fail(failure::from_event(&message["error"]));
        }
        for block in message["content"].as_array().into_iter().flatten() {
            self.begin(block, answer);
            self.end_block(true, answer);
        }
        self.counted(&message["usage"], answer);
        stopped(message["stop_reason"].as_str(), answer);
    }
}

impl Anthropic {
    fn begin(&mut self, block: &Value, answer: &mut Answer) {
        let text = |name: &str| block[name].as_str().unwrap_or_default();
        self.block = match text("type") {
            "thinking" => {
                answer.thinking(text("thinking"));
                Block::Thinking { signature: text("signature").to_owned() }
            }
            "redacted_thinking" => Block::Thinking { signature: format!("{REDACTED}{}", text("data")) },
            "tool_use" => Block::Call {
                call: ToolCall {
                    id: text("id").to_owned(),
                    name: text("name").to_owned(),
                    arguments: String::new(),
                },
                input: block["input"].clone(),
            },
            _ => {
                answer.text(text("text"));
                Block::Other
            }
        };
    }

    fn delta(&mut self, delta: &Value, answer: &mut Answer) {
        let text = |name: &str| delta[name].as_str().unwrap_or_default();
        match (text("type"), &mut self.block) {
            ("text_delta", _) => answer.text(text("text")),
            ("thinking_delta", _) => answer.thinking(text("thinking")),
            ("signature_delta", Block::Thinking { signature }) => answer.grow(signature, text("signature")),
            ("input_json_delta", Block::Call { call, .. }) => {
                answer.grow(&mut call.arguments, text("partial_json"));
            }
            _ => {}
        }
    }

    fn end_block(&mut self, whole: bool, answer: &mut Answer) {
        match std::mem::replace(&mut self.block, Block::Other) {
            Block::Other => {}
            Block::Thinking { signature } => answer.signature(signature),
            Block::Call { mut call, input } => {
                if whole || call.arguments.trim().is_empty() {
                    call.arguments = if input.is_object() { input.to_string() } else { "{}".to_owned() };
                }
                call.id = self.ids.settle(&call.id);
                answer.call(call);
            }
        }
    }

    /// Counters come at the start and at the end; the later ones hold.
    fn counted(&mut self, counters: &Value, answer: &mut Answer) {
        if !counters.is_object() {
            return;
        }
        let usage = &mut self.usage;
        let fields = [
            ("input_tokens", &mut usage.input),
            ("output_tokens", &mut usage.output),
            ("cache_read_input_tokens", &mut usage.cache_read),
            ("cache_creation_input_tokens", &mut usage.cache_write),
        ];
        for (name, count) in fields {
            *count = counters[name].as_u64().unwrap_or(*count);
        }
        usage.total = usage.prompt().saturating_add(usage.output);
        answer.usage(*usage);
    }
}

fn stopped(reason: Option<&str>, answer: &mut Answer) {
    match reason {
        None => {}
        Some("refusal") => answer.refused("refusal"),
        Some("max_tokens" | "model_context_window_exceeded") => answer.stop(StopReason::Length),
        Some("tool_use") => answer.stop(StopReason::ToolUse),
        Some(_) => answer.stop(StopReason::Stop),
    }
}
