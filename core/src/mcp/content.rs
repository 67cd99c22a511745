//! The result of a call as a server sends it, made into an outcome: text, pictures, resources.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::providers::request::Image;
use crate::tools::{ToolOutcome, wrap_untrusted};

/// At most so many pictures of one result are kept.
const MAX_IMAGES: usize = 8;
/// The largest picture in base64 characters.
const MAX_IMAGE: usize = 7_000_000;

/// The outcome of a result. What the server says comes from outside, so it is put between boundaries.
pub(super) fn outcome(server: &str, marker: &str, result: &Value) -> ToolOutcome {
    let mut parts = Vec::new();
    let mut images = Vec::new();
    for block in result["content"].as_array().map(Vec::as_slice).unwrap_or_default() {
        match picture(block) {
            Some(image) if images.len() < MAX_IMAGES => images.push(image),
            _ => parts.push(told(block)),
        }
    }
    let structured = result.get("structuredContent").filter(|value| !value.is_null());
    if parts.is_empty() && images.is_empty() {
        parts.extend(structured.map(|value| serde_json::to_string_pretty(value).unwrap_or_default()));
    }
    let text = parts.join("\n\n");
    let text = match (text.is_empty(), images.is_empty()) {
        (true, true) => "(The tool gave no result.)".to_owned(),
        (true, false) => String::new(),
        (false, _) => wrap_untrusted(marker, &format!("MCP server {server}"), &text),
    };
    let is_error = result["isError"].as_bool().unwrap_or(false);
    ToolOutcome { text, images, details: structured.cloned(), is_error }
}

fn picture(block: &Value) -> Option<Image> {
    if block["type"] != "image" {
        return None;
    }
    let (mime, data) = (block["mimeType"].as_str()?, block["data"].as_str()?);
    let usable = mime.starts_with("image/") && mime.len() < 64 && data.len() <= MAX_IMAGE;
    (usable && STANDARD.decode(data).is_ok()).then(|| Image { mime: mime.to_owned(), base64: data.into() })
}

/// A block in words.
fn told(block: &Value) -> String {
    let text = |name: &str| block[name].as_str().unwrap_or_default();
    match text("type") {
        "text" => text("text").to_owned(),
        kind @ ("image" | "audio") => {
            format!("[{kind} {}, {} bytes, not shown]", text("mimeType"), text("data").len() / 4 * 3)
        }
        "resource" => resource(&block["resource"]),
        "resource_link" => format!("[resource {}: {}] {}", text("name"), text("uri"), text("description"))
            .trim_end()
            .to_owned(),
        other => format!("[a block of the unknown type {:?}]", other.chars().take(40).collect::<String>()),
    }
}

fn resource(resource: &Value) -> String {
    let uri = resource["uri"].as_str().unwrap_or_default();
    let mime = resource["mimeType"].as_str().unwrap_or("unknown type");
    match (resource["text"].as_str(), resource["blob"].as_str()) {
        (Some(text), _) => format!("[resource {uri}]\n{text}"),
        (None, Some(blob)) => format!("[resource {uri}, {mime}, {} bytes, not shown]", blob.len() / 4 * 3),
        (None, None) => format!("[resource {uri}]"),
    }
}
