//! The built-in tools that work inside the gateway, a file for each: what a model is told, the arguments, and what is
//! done.

pub(super) mod agents_list;
pub(super) mod gateway_tool;
pub(super) mod nodes;
pub(super) mod session_status;
pub(super) mod sessions_history;
pub(super) mod sessions_list;
pub(super) mod sessions_send;
pub(super) mod sessions_spawn;

use serde_json::{Value, json};

/// The schema of an object with these properties.
pub(super) fn object(properties: &Value, required: &[&str]) -> Value {
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}
