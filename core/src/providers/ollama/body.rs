//! The request of a chat.

use serde_json::{Map, Value, json};

use super::super::conversation;
use super::super::request::{Block, Image, Message, ModelRequest, Role, ToolChoice};
use super::super::target::Target;
use crate::settings::Api;

/// Writes the request's body.
pub(super) fn write(target: Target<'_>, request: &ModelRequest) -> Value {
    let mut messages = Vec::new();
    messages.extend(request.system.as_ref().map(|text| json!({"role": "system", "content": text})));
    for message in conversation::of(request) {
        match message.role {
            Role::User => user(target, &message, &mut messages),
            Role::Assistant => messages.push(assistant(&message)),
        }
    }
    let mut body = json!({
        "model": target.id,
        "messages": messages,
        "stream": true,
        "options": options(target, request),
    });
    if let Some(think) = think(target, request) {
        body["think"] = think;
    }
    let tools = tools(request);
    if target.calls_tools() && !tools.is_empty() {
        body["tools"] = tools.into();
    }
    body
}

/// Without a size of its own the server cuts prompts to a few thousand tokens, and says nothing.
fn options(target: Target<'_>, request: &ModelRequest) -> Value {
    let mut options = Map::new();
    let mut set = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            options.insert(name.to_owned(), value);
        }
    };
    let sampling = &request.sampling;
    set("num_ctx", target.model.map(|model| model.context_window).filter(|size| *size > 0).map(Value::from));
    set("num_predict", target.max_tokens(request.max_tokens).map(Value::from));
    set("temperature", sampling.temperature.map(Value::from));
    set("top_p", sampling.top_p.map(Value::from));
    set("frequency_penalty", sampling.frequency_penalty.map(Value::from));
    set("presence_penalty", sampling.presence_penalty.map(Value::from));
    set("seed", sampling.seed.map(Value::from));
    set("stop", (!sampling.stop.is_empty()).then(|| json!(sampling.stop)));
    Value::Object(options)
}

/// Some models take a level; the others only yes or no. One that does not think takes neither.
fn think(target: Target<'_>, request: &ModelRequest) -> Option<Value> {
    let level = request.thinking.as_deref().filter(|_| target.reasons())?;
    Some(match level {
        "minimal" | "low" if takes_levels(target.id) => "low".into(),
        "medium" if takes_levels(target.id) => "medium".into(),
        "high" | "xhigh" if takes_levels(target.id) => "high".into(),
        other => (other != "off").into(),
    })
}

fn takes_levels(model: &str) -> bool {
    model.starts_with("gpt-oss")
}

/// The API does not know a choice: what must not be called is not offered.
fn tools(request: &ModelRequest) -> Vec<Value> {
    let offered = request.tools.iter().filter(|tool| match &request.tool_choice {
        ToolChoice::Auto | ToolChoice::Required => true,
        ToolChoice::None => false,
        ToolChoice::Named(name) => tool.name == *name,
    });
    let written = offered.map(|tool| {
        json!({"type": "function", "function": {
            "name": tool.name,
            "description": tool.description,
            "parameters": tool.parameters.to_value(),
        }})
    });
    written.collect()
}

fn user(target: Target<'_>, message: &Message, messages: &mut Vec<Value>) {
    for block in &message.blocks {
        if let Block::ToolResult(result) = block {
            let text = conversation::result_text(result);
            messages.push(json!({"role": "tool", "tool_name": result.name, "content": text}));
        }
    }
    let (texts, images) = conversation::user_parts(message, target.sees_images());
    if texts.is_empty() && images.is_empty() {
        return;
    }
    let mut written = json!({"role": "user", "content": texts.join("\n\n")});
    if !images.is_empty() {
        let data = |image: &Image| Value::from(image.base64.as_ref());
        written["images"] = images.into_iter().map(data).collect();
    }
    messages.push(written);
}

fn assistant(message: &Message) -> Value {
    let mut written = json!({"role": "assistant", "content": message.text()});
    let mut calls = Vec::new();
    let mut thoughts = String::new();
    for block in &message.blocks {
        match block {
            Block::ToolCall(call) => {
                calls.push(
                    json!({"function": {"name": call.name, "arguments": conversation::arguments(call)}}),
                );
            }
            Block::Thinking(thinking) if thinking.api.as_deref() == Some(Api::Ollama.as_str()) => {
                thoughts.push_str(&thinking.text);
            }
            _ => {}
        }
    }
    if !calls.is_empty() {
        written["tool_calls"] = calls.into();
        if !thoughts.is_empty() {
            written["thinking"] = thoughts.into();
        }
    }
    written
}
