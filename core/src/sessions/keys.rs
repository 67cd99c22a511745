//! Session keys: how clients may spell them, their one canonical form, and what a key tells (spec 02 §3).

use crate::ids::{AgentId, SessionKey};
use crate::settings::AgentSettings;

/// The longest spelling that methods accept, in characters.
pub const MAX_KEY_CHARS: usize = 512;

/// The word for all conversations taken together (`session.scope` is `global`).
pub const GLOBAL: &str = "global";
/// The word for conversations that cannot be told apart.
pub const UNKNOWN: &str = "unknown";

const MAX_AGENT_CHARS: usize = 64;

/// Words that begin the rest of a key and are lower case in its canonical form [C-05].
const FIRST_WORDS: [&str; 10] = [
    "subagent",
    "acp",
    "cron",
    "hook",
    "dm",
    "direct",
    "openai",
    "openai-user",
    "openresponses",
    "openresponses-user",
];

/// What a row's `kind` says (spec 02 §3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One person.
    Direct,
    /// A group, a channel or a room.
    Group,
    /// The reserved key `global`.
    Global,
    /// The reserved key `unknown`.
    Unknown,
}

impl Kind {
    /// The spelling on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Group => "group",
            Self::Global => GLOBAL,
            Self::Unknown => UNKNOWN,
        }
    }
}

/// The configured part of the rules for keys.
#[derive(Clone, Debug)]
pub struct KeyRules {
    default_agent: AgentId,
    main_key: String,
    global: bool,
}

impl KeyRules {
    /// The rules of a configuration.
    pub fn new(settings: &AgentSettings) -> Self {
        Self {
            default_agent: settings.default.clone(),
            main_key: settings.main_key.clone(),
            global: settings.global_scope,
        }
    }

    /// The agent of keys that name none [C-07].
    pub fn default_agent(&self) -> &AgentId {
        &self.default_agent
    }

    /// The main session of an agent; `global` when all conversations are one.
    pub fn main(&self, agent: &AgentId) -> SessionKey {
        if self.global {
            SessionKey::new(GLOBAL)
        } else {
            SessionKey::new(format!("agent:{agent}:{}", self.main_key))
        }
    }

    /// The canonical key behind a spelling (spec 02 §3.2); `None` for a spelling without any content.
    ///
    /// The prefix `agent:<id>` and the words of the grammar are case-insensitive, the rest is kept as
    /// written. Applying the rule twice changes nothing more.
    pub fn canonical(&self, spelling: &str) -> Option<SessionKey> {
        let parts: Vec<&str> = spelling.split(':').map(str::trim).filter(|part| !part.is_empty()).collect();
        let (agent, rest) = match parts.as_slice() {
            [] => return None,
            [word] if word.eq_ignore_ascii_case(GLOBAL) => return Some(SessionKey::new(GLOBAL)),
            [word] if word.eq_ignore_ascii_case(UNKNOWN) => return Some(SessionKey::new(UNKNOWN)),
            [prefix, agent, rest @ ..] if !rest.is_empty() && prefix.eq_ignore_ascii_case("agent") => {
                (normalise_agent(agent), rest)
            }
            all => (self.default_agent.clone(), all),
        };
        let joined = rest.join(":");
        if joined.eq_ignore_ascii_case("main") || joined.eq_ignore_ascii_case(&self.main_key) {
            return Some(self.main(&agent));
        }
        let rest = match rest.split_first() {
            Some((first, tail)) if FIRST_WORDS.iter().any(|word| first.eq_ignore_ascii_case(word)) => {
                let first = first.to_ascii_lowercase();
                std::iter::once(first.as_str()).chain(tail.iter().copied()).collect::<Vec<_>>().join(":")
            }
            _ => joined,
        };
        Some(SessionKey::new(format!("agent:{agent}:{rest}")))
    }

    /// The agent that a canonical key belongs to; reserved keys belong to the default agent.
    pub fn agent_of(&self, key: &SessionKey) -> AgentId {
        split(key).map_or_else(|| self.default_agent.clone(), |(agent, _)| AgentId::new(agent))
    }

    /// Whether the key is the main session of some agent.
    pub fn is_main(&self, key: &SessionKey) -> bool {
        if self.global {
            key.as_str() == GLOBAL
        } else {
            split(key).is_some_and(|(_, rest)| rest == self.main_key)
        }
    }
}

/// An agent id as it stands in keys (spec 02 §3.1): lower case, `[a-z0-9_-]` only, at most 64 characters;
/// `main` when nothing is left.
pub fn normalise_agent(text: &str) -> AgentId {
    let text = text.trim();
    if is_agent_id(text) {
        return AgentId::new(text.to_ascii_lowercase());
    }
    let mut id = String::with_capacity(text.len());
    let mut replaced = false;
    for c in text.chars().flat_map(char::to_lowercase) {
        let usable = c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
        if usable {
            id.push(c);
        } else if !replaced {
            id.push('-');
        }
        replaced = !usable;
    }
    let id: String = id.trim_matches('-').chars().take(MAX_AGENT_CHARS).collect();
    AgentId::new(if id.is_empty() { "main" } else { &id })
}

fn is_agent_id(text: &str) -> bool {
    text.len() <= MAX_AGENT_CHARS
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
}

/// The agent and the rest of a canonical key; `None` for reserved keys.
fn split(key: &SessionKey) -> Option<(&str, &str)> {
    key.as_str().strip_prefix("agent:")?.split_once(':')
}

/// Whether the key is `global` or `unknown`.
pub fn is_reserved(key: &SessionKey) -> bool {
    matches!(key.as_str(), GLOBAL | UNKNOWN)
}

/// The kind of a session, from its key and the `chatType` of its entry.
pub fn kind(key: &SessionKey, chat_type: Option<&str>) -> Kind {
    let text = key.as_str();
    match text {
        GLOBAL => Kind::Global,
        UNKNOWN => Kind::Unknown,
        _ if matches!(chat_type, Some("group" | "channel")) => Kind::Group,
        _ if text.contains(":group:") || text.contains(":channel:") => Kind::Group,
        _ => Kind::Direct,
    }
}

/// The key of the conversation that a thread or topic hangs on; `None` for keys that are no thread.
pub fn thread_parent(key: &SessionKey) -> Option<SessionKey> {
    let lower = key.as_str().to_ascii_lowercase();
    let at = [":thread:", ":topic:"].iter().filter_map(|marker| lower.rfind(marker)).max()?;
    key.as_str().get(..at).map(SessionKey::new)
}

/// Whether the session belongs to an agent that another agent has started.
pub fn is_subagent(key: &SessionKey) -> bool {
    split(key).is_some_and(|(_, rest)| rest.starts_with("subagent:"))
}

/// Whether the session belongs to an editor bridge.
pub fn is_acp(key: &SessionKey) -> bool {
    split(key).is_some_and(|(_, rest)| rest.starts_with("acp:"))
}
