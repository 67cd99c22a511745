//! What a chat completion asks (spec 04 §7.1).

use serde_json::Value;

use crate::api::call::Asked;
use crate::api::errors::Refusal;
use crate::api::fields::Fields;
use crate::api::media::{Kind, Source, Wanted};
use crate::api::prompt::{Entry, PICTURES, Prompt, Speaker};
use crate::api::tools;
use crate::limits;

/// A request that was read.
pub(super) struct Request {
    pub(super) asked: Asked,
    /// As written.
    pub(super) model: Option<String>,
    pub(super) user: Option<String>,
    pub(super) stream: bool,
    pub(super) include_usage: bool,
}

/// Reads a request; at most `most` images may come with its last message of a user.
pub(super) fn read(body: &Value, most: usize) -> Result<Request, Refusal> {
    let fields = Fields::of(body);
    let model = match fields.get("model") {
        None => None,
        Some(Value::String(model)) => Some(model.clone()).filter(|model| !model.trim().is_empty()),
        Some(_) => return Err(Refusal::invalid("`model` must be a string.")),
    };
    if fields.get("n").is_some_and(|n| n.as_u64() != Some(1)) {
        return Err(Refusal::invalid("`n` must be 1: the gateway gives one answer."));
    }
    let (tools, must) = tools::read(&fields)?;
    let (new, old) = (fields.positive("max_completion_tokens")?, fields.positive("max_tokens")?);
    let sampling = fields.sampling()?;
    let conversation = Conversation::read(&fields, most)?;
    let prompt = Prompt::of(conversation.entries)
        .ok_or_else(|| Refusal::invalid("Missing user message in `messages`."))?;
    let asked = Asked {
        prompt,
        system: conversation.system,
        wanted: conversation.wanted,
        tools,
        must,
        max_tokens: new.or(old),
        sampling,
    };
    Ok(Request {
        asked,
        model,
        user: fields.text("user").map(str::to_owned),
        stream: fields.truthy("stream"),
        include_usage: fields
            .get("stream_options")
            .is_some_and(|options| Fields::of(options).truthy("include_usage")),
    })
}

#[derive(Default)]
struct Conversation {
    system: Vec<String>,
    entries: Vec<Entry>,
    wanted: Vec<Wanted>,
}

impl Conversation {
    fn read(fields: &Fields<'_>, most: usize) -> Result<Self, Refusal> {
        let messages = match fields.get("messages") {
            None => &[],
            Some(Value::Array(messages)) => messages.as_slice(),
            Some(_) => return Err(Refusal::invalid("`messages` must be an array.")),
        };
        let longest = limits::length(limits::API_MESSAGES);
        if messages.len() > longest {
            let message = format!("`messages` has {} items; use at most {longest}.", messages.len());
            return Err(Refusal::invalid(message));
        }
        let mut conversation = Self::default();
        let is_users = |message: &Value| message.get("role").is_some_and(|role| role == "user");
        let last = messages.iter().rposition(is_users);
        for (index, message) in messages.iter().enumerate() {
            let pictures = if Some(index) == last { Some(most) } else { None };
            conversation.message(message, pictures)?;
        }
        Ok(conversation)
    }

    /// Takes a message in; `pictures` says how many it may bring, and `None` that they are passed over.
    fn message(&mut self, message: &Value, pictures: Option<usize>) -> Result<(), Refusal> {
        let fields = Fields::of(message);
        let content = fields.get("content");
        let mut text = content.map(text_of).unwrap_or_default();
        match fields.text("role") {
            Some("system" | "developer") if !text.trim().is_empty() => {
                self.system.push(text.trim().to_owned());
            }
            Some("user") => {
                if let Some(most) = pictures {
                    self.wanted = content.map_or_else(|| Ok(Vec::new()), |content| images(content, most))?;
                    if text.trim().is_empty() && !self.wanted.is_empty() {
                        PICTURES.clone_into(&mut text);
                    }
                }
                self.entries.push(Entry::new(Speaker::User, text));
            }
            Some("assistant") => {
                self.entries.push(Entry::new(Speaker::Assistant, text));
                let calls = fields.get("tool_calls").and_then(Value::as_array);
                self.entries.extend(calls.into_iter().flatten().filter_map(call));
            }
            Some("tool" | "function") => {
                let id = fields.text("tool_call_id").or_else(|| fields.text("name"));
                self.entries.push(Entry::tool(id, text));
            }
            _ => {}
        }
        Ok(())
    }
}

/// An echoed call of a tool.
fn call(call: &Value) -> Option<Entry> {
    let fields = Fields::of(call);
    let function = Fields::of(fields.get("function")?);
    let arguments = function.text("arguments").unwrap_or("{}");
    Some(Entry::call(fields.text("id"), function.text("name")?, arguments))
}

/// The text of a content: the string, or the text parts, one a line.
fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            let texts = parts.iter().filter_map(|part| {
                let fields = Fields::of(part);
                let is_text = matches!(fields.text("type"), Some("text" | "input_text"));
                is_text.then(|| fields.get("text")?.as_str()).flatten()
            });
            texts.collect::<Vec<_>>().join("\n")
        }
        _ => String::new(),
    }
}

fn images(content: &Value, most: usize) -> Result<Vec<Wanted>, Refusal> {
    let invalid =
        |problem: &str| Refusal::invalid(format!("Invalid image_url content in messages: {problem}."));
    let mut images = Vec::new();
    for part in content.as_array().into_iter().flatten() {
        let fields = Fields::of(part);
        if fields.text("type") != Some("image_url") {
            continue;
        }
        let url = match fields.get("image_url") {
            Some(Value::String(url)) => Some(url.as_str()),
            Some(image) => Fields::of(image).text("url"),
            None => None,
        };
        let url = url.ok_or_else(|| invalid("an image has no url"))?;
        let source = Source::of_url(url).map_err(|problem| invalid(&format!("an image {problem}")))?;
        images.push(Wanted { kind: Kind::Image, source });
    }
    if images.len() > most {
        return Err(invalid(&format!("{} images; use at most {most}", images.len())));
    }
    Ok(images)
}
