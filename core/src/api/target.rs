//! Which agent, which session and which model a request means (spec 04 §5.1, §5.2).

use super::errors::Refusal;
use super::route::Head;
use crate::auth::{Effect, Principal, authorize};
use crate::gateway::Gateway;
use crate::ids::{AgentId, SessionKey};
use crate::sessions::keys;
use crate::settings::ModelRef;
use telson_proto::Scope;

/// The model name that means the default agent; answers to requests without one name it too.
pub(super) const OURS: &str = "openclaw";
/// Namespaces of sessions that the gateway makes itself.
const RESERVED: [&str; 3] = ["subagent:", "cron:", "acp:"];
/// The longest user name that becomes a part of a session's key, in characters.
const LONGEST_USER: usize = 256;

/// Where a request goes.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) agent: AgentId,
    pub(super) key: SessionKey,
    /// Whether the client has named the session itself.
    pub(super) named: bool,
    /// The model in place of the agent's.
    pub(super) model: Option<ModelRef>,
    /// What the session keeps as its last channel.
    pub(super) channel: String,
}

/// What a request says of its target.
pub(super) struct Wish<'a> {
    pub(super) model: Option<&'a str>,
    pub(super) user: Option<&'a str>,
    /// `openai` or `openresponses`.
    pub(super) kind: &'static str,
    pub(super) accept_any_model: bool,
}

/// What a model name says.
enum Named {
    Default,
    Agent(AgentId),
    /// It is no agent's.
    Other,
}

impl Gateway {
    /// Where a request goes, and whether the caller may run an agent there.
    ///
    /// # Errors
    ///
    /// The agent or model is unknown, the key is reserved, the caller may not.
    pub(super) fn target(
        &mut self,
        head: &Head,
        principal: &Principal,
        wish: &Wish<'_>,
    ) -> Result<Target, Refusal> {
        let header = head.openclaw("agent-id").or_else(|| head.openclaw("agent"));
        let by_header = header.map(keys::normalise_agent);
        let agent = match &by_header {
            Some(agent) => agent.clone(),
            None => self.agent_of_model(wish.model, wish.accept_any_model)?,
        };
        self.check_known(&agent)?;
        let (agent, key, named) = self.session_for(head, by_header.as_ref(), &agent, wish)?;
        authorize(principal, &Effect::RunAgent { session: key.clone() })
            .map_err(|error| Refusal::of(&error))?;
        if self.is_blocked(&key) {
            return Err(Refusal::invalid("send blocked by session policy"));
        }
        let model = self.backend_model(head, principal)?;
        Ok(Target { agent, key, named, model, channel: channel(head)? })
    }

    fn session_for(
        &mut self,
        head: &Head,
        by_header: Option<&AgentId>,
        agent: &AgentId,
        wish: &Wish<'_>,
    ) -> Result<(AgentId, SessionKey, bool), Refusal> {
        let kind = wish.kind;
        let (spelling, named) = match (head.openclaw("session-key"), wish.user) {
            (Some(key), _) => {
                check_reserved(key)?;
                let whole = key.get(..6).is_some_and(|word| word.eq_ignore_ascii_case("agent:"));
                let alone = [keys::GLOBAL, keys::UNKNOWN].iter().any(|word| key.eq_ignore_ascii_case(word));
                let spelling = if whole || alone { key.to_owned() } else { format!("agent:{agent}:{key}") };
                (spelling, true)
            }
            (None, Some(user)) if user.chars().count() > LONGEST_USER => {
                let message = format!("`user` is too long; use at most {LONGEST_USER} characters.");
                return Err(Refusal::invalid(message));
            }
            (None, Some(user)) => (format!("agent:{agent}:{kind}-user:{}", user.to_lowercase()), true),
            (None, None) => (format!("agent:{agent}:{kind}:{}", self.entropy.uuid()), false),
        };
        let key = self.sessions.resolve(&spelling).map_err(|error| Refusal::of(&error))?;
        let owner = self.sessions.rules().agent_of(&key);
        if by_header.is_some_and(|asked| *asked != owner) {
            let message = format!(
                "the session {key} belongs to agent \"{owner}\", not to the agent of x-openclaw-agent-id"
            );
            return Err(Refusal::invalid(message));
        }
        self.check_known(&owner)?;
        Ok((owner, key, named))
    }

    /// The agent that a model name means.
    pub(super) fn agent_of_model(&self, model: Option<&str>, any: bool) -> Result<AgentId, Refusal> {
        let default = || self.settings.agents.default.clone();
        match model.map_or(Named::Default, |model| self.read_model(model)) {
            Named::Default => Ok(default()),
            Named::Agent(agent) => Ok(agent),
            Named::Other if any => Ok(default()),
            Named::Other => {
                let shown: String = model.unwrap_or_default().chars().take(100).collect();
                Err(Refusal::invalid(format!(
                    "Invalid model {shown:?}. Use \"openclaw\" or \"openclaw/<agent>\"; GET /v1/models lists them."
                )))
            }
        }
    }

    fn read_model(&self, model: &str) -> Named {
        let model = model.trim().to_lowercase();
        let words: &[&str] = match self.settings.api.legacy_names {
            true => &[OURS, "agent", "clawdbot", "moltbot"],
            false => &[OURS, "agent"],
        };
        for word in words {
            let Some(rest) = model.strip_prefix(word) else { continue };
            let id = match (rest.chars().next(), *word) {
                (None, "agent") => return Named::Other,
                (None, _) => return Named::Default,
                (Some(':'), _) => &rest[1..],
                (Some('/'), word) if word != "agent" => &rest[1..],
                _ => continue,
            };
            return match id {
                "default" => Named::Default,
                id if is_agent_id(id) => Named::Agent(AgentId::new(id)),
                _ => Named::Other,
            };
        }
        Named::Other
    }

    /// A typo must not make a new agent.
    fn check_known(&self, agent: &AgentId) -> Result<(), Refusal> {
        if self.knows_agent(agent) {
            Ok(())
        } else {
            Err(Refusal::invalid(format!("Unknown agent \"{agent}\". GET /v1/models lists the agents.")))
        }
    }

    pub(super) fn knows_agent(&self, agent: &AgentId) -> bool {
        self.settings.agents.list.iter().any(|profile| profile.id == *agent)
    }

    /// `x-openclaw-model`, which only the owner may use (spec 08 S-75).
    fn backend_model(&self, head: &Head, principal: &Principal) -> Result<Option<ModelRef>, Refusal> {
        let Some(text) = head.openclaw("model") else { return Ok(None) };
        if !principal.holds(Scope::Admin) {
            return Err(Refusal::forbidden("x-openclaw-model needs operator.admin"));
        }
        let model = self.agents.choose(text).map_err(|error| Refusal::of(&error))?;
        Ok(Some(model))
    }
}

/// `x-openclaw-message-channel`, in place of `webchat`.
fn channel(head: &Head) -> Result<String, Refusal> {
    let Some(channel) = head.openclaw("message-channel") else { return Ok("webchat".to_owned()) };
    let channel = channel.to_lowercase();
    if is_agent_id(&channel) {
        Ok(channel)
    } else {
        Err(Refusal::invalid("x-openclaw-message-channel must be letters, digits, `_` and `-`"))
    }
}

/// Sessions that the gateway makes itself cannot be named.
fn check_reserved(key: &str) -> Result<(), Refusal> {
    let lower = key.to_lowercase();
    let parts: Vec<&str> = lower.split(':').map(str::trim).filter(|part| !part.is_empty()).collect();
    let rest = match parts.as_slice() {
        ["agent", _, rest @ ..] if !rest.is_empty() => rest,
        all => all,
    };
    let reserved = |word: &&str| RESERVED.contains(&format!("{word}:").as_str());
    if rest.first().is_some_and(reserved) {
        return Err(Refusal::invalid(
            "x-openclaw-session-key is in a reserved namespace (subagent:, cron:, acp:)",
        ));
    }
    Ok(())
}

/// `[a-z0-9][a-z0-9_-]{0,63}`.
pub(super) fn is_agent_id(text: &str) -> bool {
    let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.len() <= 64 && text.starts_with(word) && text.chars().all(|c| word(c) || c == '_' || c == '-')
}
