//! The request of a chat completion.

use serde_json::{Map, Value, json};

use super::super::conversation;
use super::super::request::{Block, Message, ModelRequest, Role, Thinking, ToolChoice};
use super::super::target::Target;
use crate::settings::Api;

/// Providers whose models want their thoughts back between the calls of tools.
const THOUGHTS_BACK: [&str; 2] = ["deepseek", "moonshot"];

/// Writes the request's body.
pub(super) fn write(target: Target<'_>, request: &ModelRequest) -> Value {
    let mut messages = Vec::new();
    messages.extend(request.system.as_ref().map(|text| json!({"role": "system", "content": text})));
    for message in conversation::of(request) {
        match message.role {
            Role::User => user(target, &message, &mut messages),
            Role::Assistant => messages.push(assistant(target, &message)),
        }
    }
    let mut body = json!({
        "model": target.id,
        "messages": messages,
        "stream": true,
        "stream_options": {"include_usage": true},
    });
    let Value::Object(members) = &mut body else { return body };
    limits(target, request, members);
    sampling(request, members);
    if target.calls_tools() {
        tools(request, members);
    }
    body
}

fn limits(target: Target<'_>, request: &ModelRequest, body: &mut Map<String, Value>) {
    // OpenAI itself knows only the new spelling with its newer models, and takes it with every one.
    let new_spelling = target.model.is_some_and(|model| model.max_completion_tokens)
        || target.provider.base_url.starts_with("https://api.openai.com/");
    let name = if new_spelling { "max_completion_tokens" } else { "max_tokens" };
    if let Some(limit) = target.max_tokens(request.max_tokens) {
        body.insert(name.to_owned(), limit.into());
    }
    if let Some(effort) = target.effort(request.thinking.as_deref()) {
        body.insert("reasoning_effort".to_owned(), effort.into());
    }
}

fn sampling(request: &ModelRequest, body: &mut Map<String, Value>) {
    let sampling = &request.sampling;
    let numbers = [
        ("temperature", sampling.temperature),
        ("top_p", sampling.top_p),
        ("frequency_penalty", sampling.frequency_penalty),
        ("presence_penalty", sampling.presence_penalty),
    ];
    for (name, number) in numbers {
        if let Some(number) = number {
            body.insert(name.to_owned(), number.into());
        }
    }
    if let Some(seed) = sampling.seed {
        body.insert("seed".to_owned(), seed.into());
    }
    if !sampling.stop.is_empty() {
        body.insert("stop".to_owned(), json!(sampling.stop));
    }
}

fn tools(request: &ModelRequest, body: &mut Map<String, Value>) {
    if request.tools.is_empty() {
        return;
    }
    let tools: Vec<Value> = request
        .tools
        .iter()
        .map(|tool| {
            let mut function = json!({
                "name": tool.name,
                "description": tool.description,
                "parameters": tool.parameters.to_value(),
            });
            if let Some(strict) = tool.strict {
                function["strict"] = strict.into();
            }
            json!({"type": "function", "function": function})
        })
        .collect();
    body.insert("tools".to_owned(), tools.into());
    let choice = match &request.tool_choice {
        ToolChoice::Auto => return,
        ToolChoice::None => "none".into(),
        ToolChoice::Required => "required".into(),
        ToolChoice::Named(name) => json!({"type": "function", "function": {"name": name}}),
    };
    body.insert("tool_choice".to_owned(), choice);
}

/// Results are messages of their own; what the user says, and the images of the results, come after them.
fn user(target: Target<'_>, message: &Message, messages: &mut Vec<Value>) {
    for block in &message.blocks {
        if let Block::ToolResult(result) = block {
            let text = conversation::result_text(result);
            messages.push(json!({"role": "tool", "tool_call_id": result.id, "content": text}));
        }
    }
    let (texts, images) = conversation::user_parts(message, target.sees_images());
    if images.is_empty() {
        if !texts.is_empty() {
            messages.push(json!({"role": "user", "content": texts.join("\n\n")}));
        }
        return;
    }
    let words = texts.into_iter().map(|text| json!({"type": "text", "text": text}));
    let pictures = images.into_iter().map(|image| {
        json!({"type": "image_url", "image_url": {"url": format!("data:{};base64,{}", image.mime, image.base64)}})
    });
    messages.push(json!({"role": "user", "content": words.chain(pictures).collect::<Vec<_>>()}));
}

fn assistant(target: Target<'_>, message: &Message) -> Value {
    let text = message.text();
    let mut calls: Vec<Value> = Vec::new();
    let mut proof = None;
    for block in &message.blocks {
        match block {
            Block::Thinking(thinking) if is_own(thinking) => proof = thinking.signature.as_deref(),
            Block::ToolCall(call) => {
                let arguments = conversation::arguments(call).to_string();
                let function = json!({"name": call.name, "arguments": arguments});
                let mut written = json!({"id": call.id, "type": "function", "function": function});
                if let Some(proof) = proof.take().filter(|_| is_google(target)) {
                    written["extra_content"] = json!({"google": {"thought_signature": proof}});
                }
                calls.push(written);
            }
            _ => {}
        }
    }
    if calls.is_empty() {
        return json!({"role": "assistant", "content": text});
    }
    let content = if text.is_empty() { Value::Null } else { text.into() };
    let mut written = json!({"role": "assistant", "content": content, "tool_calls": calls});
    if THOUGHTS_BACK.contains(&target.provider.id.as_str()) {
        written["reasoning_content"] = thoughts(message).into();
    }
    written
}

/// Google wants the proof of the thoughts that led to a call back; other servers do not know the member.
fn is_google(target: Target<'_>) -> bool {
    target.provider.id == "google" || target.provider.base_url.contains(".googleapis.com/")
}

fn is_own(thinking: &Thinking) -> bool {
    thinking.api.as_deref() == Some(Api::OpenAiChat.as_str())
}

/// The thoughts that came from this API.
fn thoughts(message: &Message) -> String {
    let own = message.blocks.iter().filter_map(|block| match block {
        Block::Thinking(thinking) if is_own(thinking) => Some(thinking.text.as_str()),
        _ => None,
    });
    own.collect()
}
