//! The lines of a run in the transcript (spec 02 §6).

use serde_json::{Value, json};
use telson_proto::Json;

use crate::ids::RunId;
use crate::providers::request::{Image, ToolCall};
use crate::providers::{Cost, Usage};
use crate::sessions::sanitise::INTERNAL;
use crate::tools::ToolOutcome;

use super::saying::Saying;
use super::{Ask, Run};

/// The user's words. `idempotencyKey` is how clients know their own message again (spec 06 §5.2).
pub(super) fn user(run: &RunId, ask: &Ask, at: u64, bare: bool) -> Json {
    let mut content: Vec<Value> = Vec::with_capacity(1 + ask.images.len());
    if !ask.text.is_empty() {
        content.push(json!({"type": "text", "text": ask.text}));
    }
    content.extend(ask.images.iter().map(image));
    let key = format!("{run}:user");
    let mut message = json!({"role": "user", "content": content, "timestamp": at, "idempotencyKey": key});
    if ask.internal {
        message[INTERNAL] = true.into();
    }
    if bare {
        message[BARE] = true.into();
    }
    Json::of(&message)
}

/// What a model has said in one call.
pub(super) fn assistant(
    run: &Run,
    saying: &Saying,
    stop_reason: &str,
    (usage, cost): (Option<Usage>, Option<Cost>),
    error: Option<&str>,
    at: u64,
) -> Value {
    let usage = usage.unwrap_or_default();
    let mut message = json!({
        "role": "assistant",
        "content": saying.content(),
        "api": run.api,
        "provider": run.model.provider,
        "model": run.model.model,
        "usage": {
            "input": usage.input,
            "output": usage.output,
            "cacheRead": usage.cache_read,
            "cacheWrite": usage.cache_write,
            "totalTokens": usage.total,
        },
        "stopReason": stop_reason,
        "timestamp": at,
    });
    if let Some(cost) = cost {
        message["usage"]["cost"] = json!({
            "input": cost.input,
            "output": cost.output,
            "cacheRead": cost.cache_read,
            "cacheWrite": cost.cache_write,
            "total": cost.total,
        });
    }
    if let Some(error) = error {
        message["errorMessage"] = error.into();
    }
    if !run.talk.steered.is_empty() {
        let ids: Vec<&str> = run.talk.steered.iter().map(RunId::as_str).collect();
        message[STEERED] = ids.into();
    }
    message
}

/// The member of words that the model gets as they are. Clients never see it.
pub(crate) const BARE: &str = "__bare";

/// The member of an answer that names the runs whose words came in while it was made. Clients never see it.
pub(crate) const STEERED: &str = "__steered";

/// What a tool has answered.
pub(super) fn tool_result(call: &ToolCall, outcome: &ToolOutcome, at: u64) -> Json {
    let mut content = Vec::with_capacity(1 + outcome.images.len());
    if !outcome.text.is_empty() || outcome.images.is_empty() {
        content.push(json!({"type": "text", "text": outcome.text}));
    }
    content.extend(outcome.images.iter().map(image));
    let mut message = json!({
        "role": "toolResult",
        "toolCallId": call.id,
        "toolName": call.name,
        "content": content,
        "isError": outcome.is_error,
        "timestamp": at,
    });
    if let Some(details) = &outcome.details {
        message["details"] = details.clone();
    }
    Json::of(&message)
}

fn image(image: &Image) -> Value {
    json!({"type": "image", "data": &*image.base64, "mimeType": image.mime})
}
