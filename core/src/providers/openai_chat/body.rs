//! The request of a chat completion.

use bytes::Bytes;
use serde::Serialize;

use super::super::request::{Image, Message, ModelRequest, Role};
use crate::settings::ModelSettings;

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    messages: Vec<WireMessage>,
    stream: bool,
    stream_options: StreamOptions,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_completion_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_effort: Option<&'static str>,
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}

#[derive(Serialize)]
struct WireMessage {
    role: &'static str,
    content: Content,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Part {
    Text { text: String },
    ImageUrl { image_url: ImageUrl },
}

#[derive(Serialize)]
struct ImageUrl {
    url: String,
}

/// Writes the request's body. A model that is not listed in the configuration is taken to see images and to
/// know its own limits.
pub(super) fn write(id: &str, model: Option<&ModelSettings>, request: &ModelRequest) -> Bytes {
    let sees_images = model.is_none_or(|model| model.images);
    let system = request
        .system
        .iter()
        .map(|text| WireMessage { role: "system", content: Content::Text(text.clone()) });
    let spoken = request.merged().into_iter().map(|message| wire(message, sees_images));
    let limit = model.map(|model| model.max_tokens).filter(|tokens| *tokens > 0);
    let new_spelling = model.is_some_and(|model| model.max_completion_tokens);
    let reasoning = model.is_some_and(|model| model.reasoning);
    let body = Body {
        model: id,
        messages: system.chain(spoken).collect(),
        stream: true,
        stream_options: StreamOptions { include_usage: true },
        max_tokens: limit.filter(|_| !new_spelling),
        max_completion_tokens: limit.filter(|_| new_spelling),
        reasoning_effort: request.thinking.as_deref().filter(|_| reasoning).and_then(effort),
    };
    serde_json::to_vec(&body).unwrap_or_default().into()
}

fn wire(message: Message, sees_images: bool) -> WireMessage {
    let role = match message.role {
        Role::User => "user",
        Role::Assistant => "assistant",
    };
    let mut text = message.text();
    let images: Vec<Image> = message.images().cloned().collect();
    if images.is_empty() {
        return WireMessage { role, content: Content::Text(text) };
    }
    if !sees_images {
        // The turn goes on without them, and the model can say so.
        let note = format!("[{} attached; this model cannot see images]", counted(images.len()));
        text = if text.is_empty() { note } else { format!("{text}\n\n{note}") };
        return WireMessage { role, content: Content::Text(text) };
    }
    let words = (!text.is_empty()).then_some(Part::Text { text });
    let pictures = images.into_iter().map(|image| Part::ImageUrl {
        image_url: ImageUrl { url: format!("data:{};base64,{}", image.mime, image.base64) },
    });
    WireMessage { role, content: Content::Parts(words.into_iter().chain(pictures).collect()) }
}

fn counted(images: usize) -> String {
    if images == 1 { "one image".to_owned() } else { format!("{images} images") }
}

/// The level in the provider's words; `off` leaves the choice to the model.
fn effort(level: &str) -> Option<&'static str> {
    match level {
        "minimal" => Some("minimal"),
        "low" => Some("low"),
        "medium" => Some("medium"),
        "high" | "xhigh" => Some("high"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::{Value, json};

    use super::super::super::request::{Block, Image};
    use super::*;

    fn model() -> ModelSettings {
        ModelSettings {
            id: "m".to_owned(),
            name: "M".to_owned(),
            reasoning: true,
            images: true,
            context_window: 8_192,
            max_tokens: 512,
            max_completion_tokens: false,
        }
    }

    fn request() -> ModelRequest {
        ModelRequest {
            system: Some("be brief".to_owned()),
            messages: vec![
                Message::user("one"),
                Message::assistant("two"),
                Message {
                    role: Role::User,
                    blocks: vec![
                        Block::Text("three".to_owned()),
                        Block::Image(Image { mime: "image/png".to_owned(), base64: "QUJD".into() }),
                    ],
                },
            ],
            thinking: Some("xhigh".to_owned()),
            ..ModelRequest::default()
        }
    }

    fn written(model: Option<&ModelSettings>, request: &ModelRequest) -> Value {
        serde_json::from_slice(&write("m", model, request)).unwrap()
    }

    #[test]
    fn the_conversation_goes_in_order_with_images_as_data() {
        let body = written(Some(&model()), &request());
        let expected = json!({
            "model": "m",
            "messages": [
                {"role": "system", "content": "be brief"},
                {"role": "user", "content": "one"},
                {"role": "assistant", "content": "two"},
                {"role": "user", "content": [
                    {"type": "text", "text": "three"},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}},
                ]},
            ],
            "stream": true,
            "stream_options": {"include_usage": true},
            "max_tokens": 512,
            "reasoning_effort": "high",
        });
        assert_eq!(body, expected);
    }

    #[test]
    fn a_model_without_eyes_is_told_that_there_was_an_image() {
        let blind = ModelSettings { images: false, max_completion_tokens: true, reasoning: false, ..model() };
        let body = written(Some(&blind), &request());
        let content = body["messages"][3]["content"].as_str().unwrap();
        assert_eq!(content, "three\n\n[one image attached; this model cannot see images]");
        assert_eq!(body["max_completion_tokens"], 512);
        assert_eq!((body.get("max_tokens"), body.get("reasoning_effort")), (None, None));
    }

    #[test]
    fn a_model_that_is_not_listed_gets_no_limit_and_all_images() {
        let body = written(None, &request());
        assert_eq!(body.get("max_tokens"), None);
        assert!(body["messages"][3]["content"].is_array());
    }
}
