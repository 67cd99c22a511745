//! A server's tool as it lists it, and its log messages: read with care, for a server may send anything.

use serde_json::{Value, json};
use telson_proto::Json;

/// The longest name and title in bytes.
const MAX_NAME: usize = 256;
/// The longest description in bytes; the rest is cut.
const MAX_DESCRIPTION: usize = 4_096;
/// The largest schema in bytes.
const MAX_SCHEMA: usize = 65_536;
const MAX_LOG: usize = 1_000;

/// A tool of a server.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ServerTool {
    pub(super) name: String,
    pub(super) title: Option<String>,
    pub(super) description: String,
    pub(super) schema: Json,
    /// `annotations.readOnlyHint`, the server's own word.
    pub(super) read_only: Option<bool>,
    /// `annotations.destructiveHint`.
    pub(super) destructive: Option<bool>,
}

impl ServerTool {
    /// Reads an item of `tools/list`.
    ///
    /// # Errors
    ///
    /// Why it cannot be offered.
    pub(super) fn read(tool: &Value) -> Result<Self, &'static str> {
        let name = tool["name"].as_str().filter(|name| !name.is_empty()).ok_or("it has no name")?;
        if name.len() > MAX_NAME {
            return Err("its name is too long");
        }
        let annotations = &tool["annotations"];
        let title = tool["title"].as_str().or(annotations["title"].as_str());
        let title = title.map(str::trim).filter(|title| !title.is_empty() && title.len() <= MAX_NAME);
        let description = tool["description"].as_str().unwrap_or_default();
        let clean: String =
            description.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect();
        Ok(Self {
            name: name.to_owned(),
            title: title.map(str::to_owned),
            description: crate::tools::cut(clean, MAX_DESCRIPTION),
            schema: schema(&tool["inputSchema"])?,
            read_only: annotations["readOnlyHint"].as_bool(),
            destructive: annotations["destructiveHint"].as_bool(),
        })
    }
}

/// A schema that every model provider takes: an object's.
fn schema(written: &Value) -> Result<Json, &'static str> {
    let mut schema = match written {
        Value::Object(members) => members.clone(),
        Value::Null => serde_json::Map::new(),
        _ => return Err("its inputSchema is no object"),
    };
    match schema.get("type") {
        None => {
            schema.insert("type".to_owned(), json!("object"));
        }
        Some(kind) if kind == "object" => {}
        Some(_) => return Err("its inputSchema is not that of an object"),
    }
    if !schema.get("properties").is_some_and(Value::is_object) {
        schema.insert("properties".to_owned(), json!({}));
    }
    let schema = Json::of(&Value::Object(schema));
    if schema.as_str().len() > MAX_SCHEMA { Err("its inputSchema is too large") } else { Ok(schema) }
}

/// A log message of a server goes to our log.
pub(super) fn log(params: &Value) {
    let data = match &params["data"] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let text: String = data.chars().take(MAX_LOG).collect();
    match params["level"].as_str() {
        Some("error" | "critical" | "alert" | "emergency") => tracing::error!(target: "mcp", text, "server"),
        Some("warning") => tracing::warn!(target: "mcp", text, "server"),
        Some("debug") => tracing::debug!(target: "mcp", text, "server"),
        _ => tracing::info!(target: "mcp", text, "server"),
    }
}
