//! The request of a response.

use serde_json::{Map, Value, json};

use super::super::conversation;
use super::super::request::{Block, Message, ModelRequest, Role, Thinking, ToolChoice};
use super::super::target::Target;
use crate::settings::Api;

/// The least that the API takes as a limit.
const LEAST_TOKENS: u64 = 16;

/// Writes the request's body.
pub(super) fn write(target: Target<'_>, request: &ModelRequest) -> Value {
    let mut input = Vec::new();
    for message in conversation::of(request) {
        match message.role {
            Role::User => user(target, &message, &mut input),
            Role::Assistant => assistant(&message, &mut input),
        }
    }
    let mut body = json!({"model": target.id, "input": input, "stream": true, "store": false});
    let Value::Object(members) = &mut body else { return body };
    if let Some(system) = &request.system {
        members.insert("instructions".to_owned(), system.as_str().into());
    }
    if let Some(limit) = target.max_tokens(request.max_tokens) {
        members.insert("max_output_tokens".to_owned(), limit.max(LEAST_TOKENS).into());
    }
    if target.reasons() {
        members.insert("include".to_owned(), json!(["reasoning.encrypted_content"]));
        if let Some(effort) = target.effort(request.thinking.as_deref()) {
            members.insert("reasoning".to_owned(), json!({"effort": effort, "summary": "auto"}));
        }
    }
    let sampling = [("temperature", request.sampling.temperature), ("top_p", request.sampling.top_p)];
    for (name, number) in sampling {
        if let Some(number) = number {
            members.insert(name.to_owned(), number.into());
        }
    }
    if target.calls_tools() {
        tools(request, members);
    }
    body
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
                "type": "function",
                "name": tool.name,
                "description": tool.description,
                "parameters": tool.parameters.to_value(),
                // Left out, it would be true, and most schemas refused.
                "strict": tool.strict.unwrap_or(false),
            })
        })
        .collect();
    body.insert("tools".to_owned(), tools.into());
    let choice = match &request.tool_choice {
        ToolChoice::Auto => return,
        ToolChoice::None => "none".into(),
        ToolChoice::Required => "required".into(),
        ToolChoice::Named(name) => json!({"type": "function", "name": name}),
    };
    body.insert("tool_choice".to_owned(), choice);
}

fn user(target: Target<'_>, message: &Message, input: &mut Vec<Value>) {
    for block in &message.blocks {
        if let Block::ToolResult(result) = block {
            let output = conversation::result_text(result);
            input.push(json!({"type": "function_call_output", "call_id": result.id, "output": output}));
        }
    }
    let (texts, images) = conversation::user_parts(message, target.sees_images());
    let words = texts.into_iter().map(|text| json!({"type": "input_text", "text": text}));
    let pictures = images.into_iter().map(|image| {
        let url = format!("data:{};base64,{}", image.mime, image.base64);
        json!({"type": "input_image", "detail": "auto", "image_url": url})
    });
    let content: Vec<Value> = words.chain(pictures).collect();
    if !content.is_empty() {
        input.push(json!({"role": "user", "content": content}));
    }
}

fn assistant(message: &Message, input: &mut Vec<Value>) {
    // Thoughts without what they led to are refused.
    let last = message.blocks.iter().rposition(|block| !matches!(block, Block::Thinking(_))).unwrap_or(0);
    for (at, block) in message.blocks.iter().enumerate() {
        match block {
            Block::Text(text) => input.push(json!({"role": "assistant", "content": text})),
            Block::Thinking(thinking) if at < last => input.extend(reasoning(thinking)),
            Block::ToolCall(call) => input.push(json!({
                "type": "function_call",
                "call_id": call.id,
                "name": call.name,
                "arguments": conversation::arguments(call).to_string(),
            })),
            _ => {}
        }
    }
}

/// The item as it came, if it came from this API.
fn reasoning(thinking: &Thinking) -> Option<Value> {
    let own = thinking.api.as_deref() == Some(Api::OpenAiResponses.as_str());
    let proof: Value = serde_json::from_str(thinking.signature.as_deref().filter(|_| own)?).ok()?;
    let encrypted = proof["encrypted_content"].as_str()?;
    let summary = if proof["summary"].is_array() { proof["summary"].clone() } else { json!([]) };
    let mut item = json!({"type": "reasoning", "summary": summary, "encrypted_content": encrypted});
    if let Some(id) = proof["id"].as_str().filter(|id| !id.is_empty()) {
        item["id"] = id.into();
    }
    Some(item)
}
