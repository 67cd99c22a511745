//! OpenAI's responses: an answer is a list of items, and each of them streams.
//!
//! The thoughts of a model come encrypted and go back as they came, so that nothing needs to be kept at the
//! provider (`store: false`).

mod body;
#[cfg(test)]
pub(super) mod tests;

use serde_json::{Value, json};

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
pub(super) struct OpenAiResponses {
    ids: CallIds,
    /// Whether words of the present item have come.
    said: bool,
    /// Whether thoughts of the present item have come.
    thought: bool,
}

/// How the answer will be read, and the request to make.
pub(super) fn start(target: Target<'_>, request: &ModelRequest) -> (OpenAiResponses, FetchRequest) {
    let url = format!("{}/responses", target.base(&["/responses"]));
    let fetch = target.fetch(url, "text/event-stream", target.bearer(), &body::write(target, request));
    (OpenAiResponses { ids: CallIds::after(request), said: false, thought: false }, fetch)
}

impl Dialect for OpenAiResponses {
    fn api(&self) -> Api {
        Api::OpenAiResponses
    }

    fn document(&mut self, event: &str, text: &str, answer: &mut Answer) {
        if text == "[DONE]" {
            return answer.close();
        }
        let document: Value = match serde_json::from_str(text) {
            Ok(document) => document,
            Err(error) => return answer.nonsense(&error),
        };
        let delta = || document["delta"].as_str().unwrap_or_default();
        match document["type"].as_str().unwrap_or(event) {
            "response.output_item.added" => (self.said, self.thought) = (false, false),
            "response.output_text.delta" | "response.refusal.delta" => {
                self.said |= !delta().is_empty();
                answer.text(delta());
            }
            "response.reasoning_summary_part.added" if self.thought => answer.thinking("\n\n"),
            "response.reasoning_summary_text.delta" | "response.reasoning_text.delta" => {
                self.thought |= !delta().is_empty();
                answer.thinking(delta());
            }
            "response.output_item.done" => self.item(&document["item"], answer),
            "response.completed" | "response.incomplete" | "response.failed" | "response.cancelled" => {
                ended(&document["response"], answer);
            }
            "error" => {
                let error = if document["error"].is_object() { &document["error"] } else { &document };
                answer.fail(failure::from_event(error));
            }
            // A server that answers in another form says so in this one.
            _ if document["error"].is_object() => answer.fail(failure::from_event(&document["error"])),
            _ => {}
        }
    }

    fn whole(&mut self, text: &str, answer: &mut Answer) {
        let response: Value = match serde_json::from_str(text) {
            Ok(response) => response,
            Err(error) => return answer.nonsense(&error),
        };
        for item in response["output"].as_array().into_iter().flatten() {
            (self.said, self.thought) = (false, false);
            self.item(item, answer);
        }
        ended(&response, answer);
    }
}

impl OpenAiResponses {
    /// An item is complete. What has not streamed comes now.
    fn item(&mut self, item: &Value, answer: &mut Answer) {
        let text = |name: &str| item[name].as_str().unwrap_or_default();
        match text("type") {
            "message" if !self.said => answer.text(joined(&item["content"])),
            "function_call" => {
                let arguments = match text("arguments").trim() {
                    "" => "{}",
                    _ => text("arguments"),
                };
                // An item that the limit has cut off is not called.
                if text("status") != "incomplete" && !text("name").is_empty() {
                    answer.call(ToolCall {
                        id: self.ids.settle(text("call_id")),
                        name: text("name").to_owned(),
                        arguments: arguments.to_owned(),
                    });
                }
            }
            "reasoning" => {
                if !self.thought {
                    answer.thinking(joined(&item["summary"]));
                }
                if !text("encrypted_content").is_empty() {
                    let proof = json!({
                        "id": text("id"),
                        "encrypted_content": text("encrypted_content"),
                        "summary": item["summary"],
                    });
                    answer.signature(proof.to_string());
                }
            }
            _ => {}
        }
        (self.said, self.thought) = (false, false);
    }
}

/// The last event, with the response as a whole.
fn ended(response: &Value, answer: &mut Answer) {
    if response["usage"].is_object() {
        answer.usage(usage(&response["usage"]));
    }
    let error = &response["error"];
    match response["status"].as_str().unwrap_or_default() {
        _ if error.is_object() || error.is_string() => answer.fail(failure::from_event(error)),
        "completed" => answer.stop(StopReason::Stop),
        "incomplete" => match response["incomplete_details"]["reason"].as_str() {
            Some("content_filter") => answer.refused("content filter"),
            _ => answer.stop(StopReason::Length),
        },
        // Failed, cancelled, or something else: the answer is not complete.
        _ => {}
    }
    answer.close();
}

fn usage(usage: &Value) -> Usage {
    let count = |value: &Value| value.as_u64().unwrap_or(0);
    let (prompt, output) = (count(&usage["input_tokens"]), count(&usage["output_tokens"]));
    let cache_read = count(&usage["input_tokens_details"]["cached_tokens"]).min(prompt);
    let total = usage["total_tokens"].as_u64().unwrap_or_else(|| prompt.saturating_add(output));
    Usage { input: prompt - cache_read, output, cache_read, cache_write: 0, total }
}

/// The texts of parts.
fn joined(parts: &Value) -> String {
    let texts = parts.as_array().into_iter().flatten().filter_map(|part| {
        part["text"].as_str().or_else(|| part["refusal"].as_str()).filter(|text| !text.is_empty())
    });
    texts.collect::<Vec<_>>().join("\n\n")
}
