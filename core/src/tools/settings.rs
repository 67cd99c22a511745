//! What the configuration says about tools (spec 05 §3.6).

use std::collections::BTreeMap;
use std::time::Duration;

use crate::ids::AgentId;
use crate::settings::ModelRef;

/// Everything under `tools`, and what stands about tools elsewhere.
#[derive(Clone, Debug)]
pub struct ToolSettings {
    /// `tools.{profile,allow,alsoAllow,deny,byProvider}`.
    pub policy: PolicySettings,
    /// What agents say for themselves.
    pub agents: BTreeMap<AgentId, AgentToolSettings>,
    /// Agents that agents start.
    pub subagents: SubagentSettings,
    /// `tools.agentToAgent.allow` when that is enabled: agents that may reach each other's sessions.
    pub agent_to_agent: Option<Vec<String>>,
    /// `tools.sessions.visibility`.
    pub visibility: Visibility,
    /// `tools.web.fetch`.
    pub web_fetch: WebFetchSettings,
}

/// One scope of the policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicySettings {
    /// The set of tools to begin with.
    pub profile: Option<Profile>,
    /// Only these; everything when empty.
    pub allow: Vec<String>,
    /// These beyond the profile.
    pub also_allow: Vec<String>,
    /// Not these, whatever else is said.
    pub deny: Vec<String>,
    /// Further restrictions while a provider, or a `provider/model`, is used.
    pub by_provider: BTreeMap<String, PolicySettings>,
}

/// What an agent says about tools (`agents.list[]`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AgentToolSettings {
    /// `tools`.
    pub policy: PolicySettings,
    /// `subagents.allowAgents`: the agents that it may start beside itself; `*` for any.
    pub allow_agents: Vec<String>,
}

/// A named set of tools.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Only to know where it stands.
    Minimal,
    /// For work on code.
    Coding,
    /// For conversations.
    Messaging,
    /// Everything.
    Full,
}

impl Profile {
    /// Every profile with the name to show.
    pub const ALL: [(Self, &'static str); 4] = [
        (Self::Minimal, "Minimal"),
        (Self::Coding, "Coding"),
        (Self::Messaging, "Messaging"),
        (Self::Full, "Full"),
    ];

    /// The configured word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Minimal => "minimal",
            Self::Coding => "coding",
            Self::Messaging => "messaging",
            Self::Full => "full",
        }
    }

    /// The profile of a word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().map(|(profile, _)| profile).find(|profile| profile.as_str() == word)
    }
}

/// Which sessions the tools of a session reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visibility {
    /// Itself.
    Myself,
    /// Itself and the sessions that it has started, and theirs.
    Tree,
    /// Every session of its agent.
    Agent,
    /// Every session; those of other agents only as `tools.agentToAgent` permits.
    All,
}

impl Visibility {
    /// The visibility of a configured word.
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "self" => Some(Self::Myself),
            "tree" => Some(Self::Tree),
            "agent" => Some(Self::Agent),
            "all" => Some(Self::All),
            _ => None,
        }
    }
}

/// Agents that agents start (`agents.defaults.subagents`, `tools.subagents.tools`).
#[derive(Clone, Debug)]
pub struct SubagentSettings {
    /// How deep they nest.
    pub max_depth: usize,
    /// How many of one session run at once.
    pub max_children: usize,
    /// Their model.
    pub model: Option<ModelRef>,
    /// How long one may run.
    pub timeout: Option<Duration>,
    /// What they may use.
    pub policy: PolicySettings,
}

/// `tools.web.fetch`.
#[derive(Clone, Debug)]
pub struct WebFetchSettings {
    /// Whether there is the tool.
    pub enabled: bool,
    /// The most characters of a page.
    pub max_chars: usize,
    /// The largest response in bytes.
    pub max_bytes: usize,
    /// For all hops together.
    pub timeout: Duration,
    /// How many redirects are followed.
    pub max_redirects: usize,
    /// The `User-Agent`.
    pub user_agent: String,
}

impl Default for ToolSettings {
    fn default() -> Self {
        Self {
            policy: PolicySettings::default(),
            agents: BTreeMap::new(),
            subagents: SubagentSettings::default(),
            agent_to_agent: None,
            visibility: Visibility::Tree,
            web_fetch: WebFetchSettings::default(),
        }
    }
}

impl Default for SubagentSettings {
    fn default() -> Self {
        Self { max_depth: 1, max_children: 5, model: None, timeout: None, policy: PolicySettings::default() }
    }
}

impl Default for WebFetchSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            max_chars: 50_000,
            max_bytes: 2_000_000,
            timeout: Duration::from_secs(30),
            max_redirects: 3,
            user_agent: "Telson/1.0 (personal assistant)".to_owned(),
        }
    }
}
