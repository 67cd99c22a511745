//! Agents and models as clients see them (spec 02 §8.3, §15, §20.4).

use serde::Serialize;

/// The answer to `agents.list`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentsList {
    /// The agent of keys that name none.
    pub default_id: String,
    /// The word for the main session.
    pub main_key: String,
    /// `per-sender`, or `global` when all conversations are one.
    pub scope: &'static str,
    /// Protocol 4: whether there is one agent (`sole`) or several (`explicit`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ownership: Option<&'static str>,
    /// Protocol 4: whether a client must choose an agent first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selection_required: Option<bool>,
    /// The default agent first, the rest by id.
    pub agents: Vec<AgentRow>,
}

/// An agent. Protocol 3 knows id, name and identity only.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentRow {
    /// Its id.
    pub id: String,
    /// `agent`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<&'static str>,
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// How it presents itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<AgentFace>,
    /// Its model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<AgentModel>,
    /// The levels that its model knows; absent when it does not think.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thinking_levels: Option<Vec<ThinkingLevel>>,
    /// The level of sessions that have chosen none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thinking_default: Option<String>,
}

/// How an agent presents itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentFace {
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its theme.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub theme: Option<String>,
    /// Its emoji.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub emoji: Option<String>,
    /// A URL, a data URI or a short text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub avatar: Option<String>,
    /// The avatar, when it is a URL or a data URI.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub avatar_url: Option<String>,
}

/// The model of an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AgentModel {
    /// `provider/model`; never empty, because the Control UI sends nothing without it (spec 06 §5.2).
    pub primary: String,
    /// What is asked when it cannot answer; left out when nobody is.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fallbacks: Vec<String>,
}

/// A thinking level with the word to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ThinkingLevel {
    /// The word that `sessions.patch` takes.
    pub id: &'static str,
    /// The word to show.
    pub label: &'static str,
}

/// The answer to `agent.identity.get`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentIdentity {
    /// The agent.
    pub agent_id: String,
    /// Its name, at most 50 characters.
    pub name: String,
    /// Protocol 4: `agent` when it was configured, else `default`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name_source: Option<&'static str>,
    /// A URL, a data URI or a short text, at most 200 characters.
    pub avatar: String,
    /// Protocol 4: `remote`, `data` or `none`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub avatar_status: Option<&'static str>,
    /// Protocol 4: its emoji.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub emoji: Option<String>,
}

/// The answer to `models.list`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ModelsList {
    /// By provider, then by name.
    pub models: Vec<ModelChoice>,
}

/// A model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ModelChoice {
    /// Its id at the provider.
    pub id: String,
    /// The name to show.
    pub name: String,
    /// Its provider.
    pub provider: String,
    /// Protocol 4: a short name that `sessions.patch` takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
    /// Protocol 4: whether it can be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub available: Option<bool>,
    /// Protocol 4: why it cannot: `missing-auth`, `auth-failed` or `cooldown`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unavailable_reason: Option<&'static str>,
    /// Protocol 4: until when, in milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unavailable_until: Option<u64>,
    /// Its context window in tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context_window: Option<u64>,
    /// Whether it thinks before it answers.
    pub reasoning: bool,
    /// Protocol 4: the levels that it knows; absent when it does not think.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thinking_levels: Option<Vec<ThinkingLevel>>,
    /// Protocol 4: the level of a session that has chosen none; absent when it does not think.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thinking_default: Option<String>,
    /// Protocol 4: whether it calls tools.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub supports_tools: Option<bool>,
    /// What it reads: `text`, `image`.
    pub input: Vec<&'static str>,
}
