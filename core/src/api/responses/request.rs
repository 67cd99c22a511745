//! What a request for a response asks (spec 04 §8.1, §8.2).

use serde_json::Value;

use super::items::Input;
use crate::api::call::Asked;
use crate::api::errors::Refusal;
use crate::api::fields::Fields;
use crate::api::prompt::Prompt;
use crate::api::tools;

/// A request that was read.
pub(super) struct Request {
    pub(super) asked: Asked,
    pub(super) user: Option<String>,
    pub(super) stream: bool,
    pub(super) echo: Echo,
}

/// What the response repeats of its request.
pub(in crate::api) struct Echo {
    pub(super) model: String,
    pub(super) instructions: Option<String>,
    pub(super) metadata: Value,
    pub(super) temperature: Option<f64>,
    pub(super) top_p: Option<f64>,
    pub(super) tools: Value,
    pub(super) tool_choice: Value,
    pub(super) max_output_tokens: Option<u64>,
    pub(super) previous_response_id: Option<String>,
}

/// Reads a request; at most `most` pictures and files may come with it.
pub(super) fn read(body: &Value, most: usize) -> Result<Request, Refusal> {
    if !body.is_object() {
        return Err(Refusal::invalid("The body must be a JSON object."));
    }
    let fields = Fields::of(body);
    let model = match fields.get("model") {
        Some(Value::String(model)) if !model.trim().is_empty() => model.clone(),
        _ => return Err(Refusal::invalid("`model` is required and must be a string.")),
    };
    let instructions = match fields.get("instructions") {
        None => None,
        Some(Value::String(text)) => Some(text.clone()),
        Some(_) => return Err(Refusal::invalid("`instructions` must be a string.")),
    };
    let previous_response_id = match fields.get("previous_response_id") {
        None => None,
        Some(Value::String(id)) => Some(id.clone()),
        Some(_) => return Err(Refusal::invalid("`previous_response_id` must be a string.")),
    };
    let (tools, must) = tools::read(&fields)?;
    let max_tokens = fields.positive("max_output_tokens")?;
    let sampling = fields.sampling()?;
    let input = Input::read(fields.get("input"), most)?;
    let own = instructions.iter().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    let system = own.chain(input.system).collect();
    let prompt =
        Prompt::of(input.entries).ok_or_else(|| Refusal::invalid("Missing user message in `input`."))?;
    let list = |name: &str| fields.get(name).cloned();
    let echo = Echo {
        model,
        instructions,
        metadata: list("metadata")
            .filter(Value::is_object)
            .unwrap_or_else(|| Value::Object(serde_json::Map::new())),
        temperature: sampling.temperature,
        top_p: sampling.top_p,
        tools: list("tools").unwrap_or_else(|| Value::Array(Vec::new())),
        tool_choice: list("tool_choice").unwrap_or_else(|| "auto".into()),
        max_output_tokens: max_tokens,
        previous_response_id,
    };
    Ok(Request {
        asked: Asked { prompt, system, wanted: input.wanted, tools, must, max_tokens, sampling },
        user: fields.text("user").map(str::to_owned),
        stream: fields.truthy("stream"),
        echo,
    })
}
