//! The request of a message.

use serde_json::{Map, Value, json};

use super::super::conversation;
use super::super::request::{Block, Image, Message, ModelRequest, Role, Thinking, ToolChoice, ToolResult};
use super::super::target::Target;
use super::REDACTED;
use crate::settings::Api;

/// The API insists on a limit; this one is for models of which nothing is known.
const MAX_TOKENS: u64 = 8_192;
/// The least budget for thoughts that the API takes.
const LEAST_BUDGET: u64 = 1_024;
/// What is left for the answer when the limit has to hold thoughts too.
const LEAST_ANSWER: u64 = 1_024;

/// Writes the request's body.
pub(super) fn write(target: Target<'_>, request: &ModelRequest) -> Value {
    let conversation = conversation::of(request);
    let own = target.max_tokens(None).unwrap_or(MAX_TOKENS);
    let limit = target.max_tokens(request.max_tokens).unwrap_or(MAX_TOKENS);
    let budget =
        budget(target, request, &conversation).map(|budget| budget.min(own.saturating_sub(LEAST_ANSWER)));
    let budget = budget.filter(|budget| *budget >= LEAST_BUDGET);
    let mut messages: Vec<Value> = conversation.iter().map(|message| wire(target, message)).collect();
    mark_last(&mut messages);
    // The limit holds thoughts and answer together.
    let limit = budget.map_or(limit, |budget| limit.max(budget + LEAST_ANSWER).min(own));
    let mut body = json!({
        "model": target.id,
        "max_tokens": limit,
        "messages": messages,
        "stream": true,
    });
    let Value::Object(members) = &mut body else { return body };
    if let Some(system) = request.system.as_ref().filter(|text| !text.trim().is_empty()) {
        let block = json!({"type": "text", "text": system, "cache_control": {"type": "ephemeral"}});
        members.insert("system".to_owned(), json!([block]));
    }
    if let Some(budget) = budget {
        members.insert("thinking".to_owned(), json!({"type": "enabled", "budget_tokens": budget}));
    } else {
        sampling(request, members);
    }
    if !request.sampling.stop.is_empty() {
        members.insert("stop_sequences".to_owned(), json!(request.sampling.stop));
    }
    if target.calls_tools() {
        tools(request, members);
    }
    body
}

/// The tokens to think with, if the model is to think. It cannot where a tool is forced on it, nor in the middle
/// of calls that it has begun without thoughts.
fn budget(target: Target<'_>, request: &ModelRequest, conversation: &[Message]) -> Option<u64> {
    if !target.reasons() || matches!(request.tool_choice, ToolChoice::Required | ToolChoice::Named(_)) {
        return None;
    }
    let begun = conversation.iter().rev().find(|message| message.role == Role::Assistant);
    let in_calls = conversation
        .last()
        .is_some_and(|last| last.blocks.iter().any(|block| matches!(block, Block::ToolResult(_))));
    let thoughtless = begun.is_some_and(|begun| {
        let first = begun.blocks.first().and_then(|block| match block {
            Block::Thinking(thinking) => thought(thinking),
            _ => None,
        });
        first.is_none()
    });
    if in_calls && thoughtless {
        return None;
    }
    match request.thinking.as_deref()? {
        "minimal" => Some(1_024),
        "low" => Some(2_048),
        "medium" => Some(8_192),
        "high" => Some(16_384),
        "xhigh" => Some(32_768),
        _ => None,
    }
}

/// The newer models take one of the two only.
fn sampling(request: &ModelRequest, body: &mut Map<String, Value>) {
    let sampling = &request.sampling;
    match (sampling.temperature, sampling.top_p) {
        (Some(temperature), _) => body.insert("temperature".to_owned(), temperature.clamp(0.0, 1.0).into()),
        (None, Some(top_p)) => body.insert("top_p".to_owned(), top_p.into()),
        (None, None) => None,
    };
}

fn tools(request: &ModelRequest, body: &mut Map<String, Value>) {
    if request.tools.is_empty() {
        return;
    }
    let tools: Vec<Value> = request
        .tools
        .iter()
        .map(|tool| {
            json!({
                "name": tool.name,
                "description": tool.description,
                "input_schema": tool.parameters.to_value(),
            })
        })
        .collect();
    body.insert("tools".to_owned(), tools.into());
    let choice = match &request.tool_choice {
        ToolChoice::Auto => return,
        ToolChoice::None => json!({"type": "none"}),
        ToolChoice::Required => json!({"type": "any"}),
        ToolChoice::Named(name) => json!({"type": "tool", "name": name}),
    };
    body.insert("tool_choice".to_owned(), choice);
}

fn wire(target: Target<'_>, message: &Message) -> Value {
    let role = match message.role {
        Role::User => "user",
        Role::Assistant => "assistant",
    };
    let mut content = Vec::new();
    let mut unseen = 0;
    for block in &message.blocks {
        match block {
            Block::Text(text) => content.push(json!({"type": "text", "text": text})),
            Block::Image(_) if !target.sees_images() => unseen += 1,
            Block::Image(image) => content.push(picture(image)),
            Block::Thinking(thinking) => content.extend(thought(thinking)),
            Block::ToolCall(call) => content.push(json!({
                "type": "tool_use",
                "id": id(&call.id),
                "name": call.name,
                "input": conversation::arguments(call),
            })),
            Block::ToolResult(result) => content.push(outcome(target, result)),
        }
    }
    if unseen > 0 {
        content.push(json!({"type": "text", "text": conversation::unseen(unseen)}));
    }
    json!({"role": role, "content": content})
}

fn picture(image: &Image) -> Value {
    let source = json!({"type": "base64", "media_type": image.mime, "data": image.base64.as_ref()});
    json!({"type": "image", "source": source})
}

fn outcome(target: Target<'_>, result: &ToolResult) -> Value {
    let mut content = vec![json!({"type": "text", "text": conversation::result_text(result)})];
    match result.images.len() {
        0 => {}
        _ if target.sees_images() => content.extend(result.images.iter().map(picture)),
        count => content.push(json!({"type": "text", "text": conversation::unseen(count)})),
    }
    json!({
        "type": "tool_result",
        "tool_use_id": id(&result.id),
        "content": content,
        "is_error": result.is_error,
    })
}

/// Thoughts as they came, if they came from this API with its proof.
fn thought(thinking: &Thinking) -> Option<Value> {
    let own = thinking.api.as_deref() == Some(Api::Anthropic.as_str());
    let signature = thinking.signature.as_deref().filter(|signature| own && !signature.is_empty())?;
    Some(match signature.strip_prefix(REDACTED) {
        Some(data) => json!({"type": "redacted_thinking", "data": data}),
        None => json!({"type": "thinking", "thinking": thinking.text, "signature": signature}),
    })
}

/// Ids of other providers may hold characters that this API does not take.
fn id(id: &str) -> String {
    id.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect()
}

/// Everything up to the newest message goes into the cache: the next question begins with it.
fn mark_last(messages: &mut [Value]) {
    let last = messages.last_mut().and_then(|message| message["content"].as_array_mut()?.last_mut());
    if let Some(block) = last {
        block["cache_control"] = json!({"type": "ephemeral"});
    }
}
