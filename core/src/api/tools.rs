//! The tools that a client brings, and whether the model must call one (spec 04 §7.1, §8.1).

use serde_json::{Value, json};
use telson_proto::Json;

use super::errors::Refusal;
use super::fields::Fields;
use crate::limits;
use crate::providers::request::ToolChoice;
use crate::tools::ToolSpec;

/// What must be called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Must {
    /// Nothing.
    #[default]
    Nothing,
    /// One of the client's tools.
    Something,
    /// This one.
    Named(String),
}

impl Must {
    /// The same for the model.
    pub(super) fn choice(&self) -> ToolChoice {
        match self {
            Self::Nothing => ToolChoice::Auto,
            Self::Something => ToolChoice::Required,
            Self::Named(name) => ToolChoice::Named(name.clone()),
        }
    }

    /// The sentence that tells a model that knows no such choice.
    pub(super) fn directive(&self) -> Option<String> {
        match self {
            Self::Nothing => None,
            Self::Something => Some("You must call one of the client's tools before you answer.".to_owned()),
            Self::Named(name) => Some(format!("You must call the tool {name} before you answer.")),
        }
    }
}

/// The tools of a request and what must be called of them.
///
/// # Errors
///
/// A tool or the choice is not as it must be; the message names it.
pub(super) fn read(fields: &Fields<'_>) -> Result<(Vec<ToolSpec>, Must), Refusal> {
    let mut tools = match fields.get("tools") {
        None => Vec::new(),
        Some(Value::Array(list)) => specs(list)?,
        Some(_) => return Err(Refusal::invalid("`tools` must be an array.")),
    };
    let must = match fields.get("tool_choice") {
        None => Must::Nothing,
        Some(Value::String(word)) => match word.as_str() {
            "auto" => Must::Nothing,
            "none" => {
                tools.clear();
                Must::Nothing
            }
            "required" if tools.is_empty() => {
                return Err(Refusal::invalid("`tool_choice` is \"required\" but `tools` is empty."));
            }
            "required" => Must::Something,
            _ => return Err(unknown_choice()),
        },
        Some(choice) => {
            let name = pinned(choice)?;
            tools.retain(|tool| tool.name == name);
            if tools.is_empty() {
                return Err(Refusal::invalid(format!(
                    "`tool_choice` names {name:?}, which is not in `tools`."
                )));
            }
            Must::Named(name)
        }
    };
    Ok((tools, must))
}

fn unknown_choice() -> Refusal {
    Refusal::invalid("`tool_choice` must be \"auto\", \"none\", \"required\" or a function by name.")
}

/// The name in `{type: "function", function: {name}}` or `{type: "function", name}`.
fn pinned(choice: &Value) -> Result<String, Refusal> {
    let fields = Fields::of(choice);
    if fields.text("type") != Some("function") {
        return Err(unknown_choice());
    }
    let nested = fields.get("function").map(Fields::of);
    let name = nested.as_ref().unwrap_or(&fields).text("name");
    name.map(str::to_owned).ok_or_else(unknown_choice)
}

fn specs(list: &[Value]) -> Result<Vec<ToolSpec>, Refusal> {
    let most = limits::length(limits::API_TOOLS);
    if list.len() > most {
        return Err(Refusal::invalid(format!("`tools` has {} items; use at most {most}.", list.len())));
    }
    let mut specs: Vec<ToolSpec> = Vec::with_capacity(list.len());
    for (index, tool) in list.iter().enumerate() {
        let spec = spec(tool).map_err(|problem| Refusal::invalid(format!("`tools[{index}]` {problem}.")))?;
        if specs.iter().any(|known| known.name == spec.name) {
            return Err(Refusal::invalid(format!("`tools[{index}]` names {:?} a second time.", spec.name)));
        }
        specs.push(spec);
    }
    Ok(specs)
}

/// A tool, nested as for chat completions or flat as for responses.
fn spec(tool: &Value) -> Result<ToolSpec, &'static str> {
    const LONGEST: usize = 64;
    let outer = Fields::of(tool);
    if outer.text("type") != Some("function") {
        return Err("must be of type \"function\"");
    }
    let nested = outer.get("function").map(Fields::of);
    let fields = nested.as_ref().unwrap_or(&outer);
    let name = fields.text("name").ok_or("must have a name")?;
    let usable = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if name.len() > LONGEST || !name.chars().all(usable) {
        return Err("must have a name of at most 64 letters, digits, `_` and `-`");
    }
    let parameters = match fields.get("parameters") {
        None => json!({"type": "object", "properties": {}}),
        Some(schema @ Value::Object(_)) => schema.clone(),
        Some(_) => return Err("must have an object as `parameters`"),
    };
    Ok(ToolSpec {
        name: name.to_owned(),
        description: fields.text("description").unwrap_or_default().to_owned(),
        parameters: Json::of(&parameters),
        strict: fields.get("strict").and_then(Value::as_bool),
    })
}
