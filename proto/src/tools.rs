//! `tools.catalog` and `tools.effective` (protocol 4): which tools there are and which a session may use.

use serde::{Deserialize, Serialize};

use crate::params::Text;

/// The parameters of `tools.catalog`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ToolsCatalogParams {
    /// The agent; the default one when absent.
    pub agent_id: Option<Text>,
    /// Whether tools of other programs are listed too; they are when absent.
    pub include_plugins: Option<bool>,
}

/// The result of `tools.catalog`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ToolsCatalog {
    /// The agent.
    pub agent_id: String,
    /// The named sets of tools.
    pub profiles: Vec<ToolProfile>,
    /// The tools.
    pub groups: Vec<ToolGroup<CatalogTool>>,
}

/// A named set of tools.
#[derive(Clone, Debug, Serialize)]
pub struct ToolProfile {
    /// The configured word.
    pub id: &'static str,
    /// The name to show.
    pub label: &'static str,
}

/// Tools that belong together.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ToolGroup<T> {
    /// Its id.
    pub id: String,
    /// The name to show.
    pub label: String,
    /// `core`, `plugin` or `mcp`.
    pub source: &'static str,
    /// The program that brings them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plugin_id: Option<&'static str>,
    /// The tools.
    pub tools: Vec<T>,
}

/// A tool of the catalogue.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CatalogTool {
    /// The name by which it is called.
    pub id: String,
    /// The name to show.
    pub label: String,
    /// What it does.
    pub description: String,
    /// `core` or `plugin`.
    pub source: &'static str,
    /// The program that brings it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plugin_id: Option<&'static str>,
    /// `low`, `medium` or `high`.
    pub risk: &'static str,
    /// The profiles that hold it.
    pub default_profiles: Vec<&'static str>,
}

/// The parameters of `tools.effective`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ToolsEffectiveParams {
    /// The session.
    pub session_key: Text,
    /// Its agent.
    #[serde(default)]
    pub agent_id: Option<Text>,
}

/// The result of `tools.effective`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ToolsEffective {
    /// The session's agent.
    pub agent_id: String,
    /// The profile in force.
    pub profile: &'static str,
    /// The tools.
    pub groups: Vec<ToolGroup<EffectiveTool>>,
    /// What is missing, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notices: Vec<ToolNotice>,
}

/// A tool that a session may use.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EffectiveTool {
    /// The name by which it is called.
    pub id: String,
    /// The name to show.
    pub label: String,
    /// What it does, in a line.
    pub description: String,
    /// What a model is told of it.
    pub raw_description: String,
    /// `core` or `mcp`.
    pub source: &'static str,
    /// The server that brings it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mcp_server: Option<String>,
    /// Its name there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mcp_tool_name: Option<String>,
    /// `low`, `medium` or `high`.
    pub risk: &'static str,
}

/// Something to know about the list.
#[derive(Clone, Debug, Serialize)]
pub struct ToolNotice {
    /// Which notice it is.
    pub id: &'static str,
    /// `info` or `warning`.
    pub severity: &'static str,
    /// In words.
    pub message: String,
    /// The servers that it is about.
    pub servers: Vec<String>,
}
