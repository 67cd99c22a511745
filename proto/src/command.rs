//! The commands that people type, as protocol 4 lists them (`commands.list`).

use serde::Serialize;

/// The result of `commands.list`.
#[derive(Clone, Debug, Serialize)]
pub struct CommandsList {
    /// The commands.
    pub commands: Vec<CommandEntry>,
}

/// A command.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CommandEntry {
    /// Its name, without a slash.
    pub name: &'static str,
    /// What may be typed, each with its slash.
    pub text_aliases: Vec<String>,
    /// What it does.
    pub description: &'static str,
    /// `session`, `options`, `status` or `management`.
    pub category: &'static str,
    /// `native`: the gateway's own.
    pub source: &'static str,
    /// `text`: it is typed.
    pub scope: &'static str,
    /// Whether anything may follow the name.
    pub accepts_args: bool,
    /// What may follow.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<ArgEntry>,
}

/// An argument of a command.
#[derive(Clone, Debug, Serialize)]
pub struct ArgEntry {
    /// Its name.
    pub name: &'static str,
    /// What it says.
    pub description: &'static str,
    /// `string`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The values that can be chosen.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub choices: Vec<ArgChoice>,
}

/// A value that can be chosen.
#[derive(Clone, Debug, Serialize)]
pub struct ArgChoice {
    /// What is typed.
    pub value: &'static str,
    /// What is shown.
    pub label: &'static str,
}
