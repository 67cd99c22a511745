//! The arguments of a call: bounded, read into the tool's own type, with an error that names the field.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::limits;

use super::ToolOutcome;

/// Refuses arguments that no tool needs.
pub(super) fn check_size(arguments: &Value) -> Result<(), ToolOutcome> {
    let most = limits::length(limits::TOOL_ARGUMENT_BYTES);
    let mut left = most;
    match fits(arguments, &mut left) {
        true => Ok(()),
        false => Err(ToolOutcome::error(format!("the arguments are larger than {most} bytes; send less"))),
    }
}

fn fits(value: &Value, left: &mut usize) -> bool {
    let own = match value {
        Value::String(text) => text.len() + 2,
        _ => 4,
    };
    let Some(rest) = left.checked_sub(own) else { return false };
    *left = rest;
    match value {
        Value::Array(items) => items.iter().all(|item| fits(item, left)),
        Value::Object(members) => members.iter().all(|(name, value)| {
            left.checked_sub(name.len() + 4).is_some_and(|rest| {
                *left = rest;
                fits(value, left)
            })
        }),
        _ => true,
    }
}

/// Reads the arguments of a tool. What is absent may also be `null`: models write both.
///
/// # Errors
///
/// The field and what is wrong with it.
pub(super) fn read<T: DeserializeOwned>(arguments: &Value) -> Result<T, ToolOutcome> {
    let given = match arguments {
        Value::Null => Value::Object(serde_json::Map::new()),
        Value::Object(members) => Value::Object(
            members
                .iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(n, v)| (n.clone(), v.clone()))
                .collect(),
        ),
        _ => return Err(ToolOutcome::error("the arguments must be a JSON object")),
    };
    serde_path_to_error::deserialize(given).map_err(|error| {
        let path = error.path().to_string();
        let problem = error.inner().to_string();
        match path.as_str() {
            "." => ToolOutcome::error(format!("invalid arguments: {problem}")),
            _ => ToolOutcome::error(format!("invalid arguments: {path}: {problem}")),
        }
    })
}
