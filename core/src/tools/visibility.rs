//! Which sessions a caller's tools reach (spec 08 S-69): the spelling is resolved first, then the canonical key is
//! judged. A session that may not be seen looks like one that does not exist.

use crate::gateway::Gateway;
use crate::ids::{SessionId, SessionKey};
use crate::sessions::keys;

use super::policy::wildcard;
use super::settings::Visibility;
use super::{ToolContext, ToolOutcome};

/// Longer chains of who started whom are not followed.
const MAX_DEPTH: usize = 16;

impl Gateway {
    /// The session that a caller names by key, by the id of an incarnation, or as `current`.
    ///
    /// # Errors
    ///
    /// The same for what does not exist and for what the caller may not see.
    pub(super) fn session_for_tool(
        &self,
        context: &ToolContext,
        spelling: &str,
    ) -> Result<SessionKey, ToolOutcome> {
        let spelling = spelling.trim();
        let unknown = || {
            let shown: String = spelling.chars().take(128).collect();
            ToolOutcome::error(format!(
                "no session {shown:?} that you can reach; sessions_list shows those that you can"
            ))
        };
        let key = match spelling {
            "current" => context.session.clone(),
            _ => match self.sessions.by_id(&SessionId::new(spelling)) {
                Some(key) => key.clone(),
                None => self.sessions.resolve(spelling).map_err(|_| unknown())?,
            },
        };
        let there = self.sessions.get(&key).is_some() && self.sees(context, &key);
        if there { Ok(key) } else { Err(unknown()) }
    }

    /// Whether a caller's tools reach a session.
    pub(super) fn sees(&self, context: &ToolContext, key: &SessionKey) -> bool {
        if *key == context.session {
            return true;
        }
        let rules = self.sessions.rules();
        let same_agent = !keys::is_reserved(key) && rules.agent_of(key) == context.agent;
        let of_mine = || self.spawners(key).any(|ancestor| ancestor == context.session);
        match self.settings.tools.visibility {
            Visibility::Myself => false,
            Visibility::Tree => of_mine(),
            Visibility::Agent => same_agent || of_mine(),
            // Sub-agents stay in their tree.
            _ if keys::is_subagent(&context.session) => of_mine(),
            Visibility::All => same_agent || of_mine() || self.agents_may_talk(context, key),
        }
    }

    /// Whether the agents of the two sessions may reach each other.
    fn agents_may_talk(&self, context: &ToolContext, key: &SessionKey) -> bool {
        let Some(allow) = &self.settings.tools.agent_to_agent else { return false };
        let agent = self.sessions.rules().agent_of(key);
        let listed = |id: &str| {
            allow.is_empty() || allow.iter().any(|pattern| wildcard(&pattern.trim().to_lowercase(), id))
        };
        listed(context.agent.as_str()) && listed(agent.as_str())
    }

    /// The session that started a session, the one that started that, and so on.
    fn spawners(&self, key: &SessionKey) -> impl Iterator<Item = SessionKey> + use<'_> {
        let parent = |key: &SessionKey| {
            let parent = self.sessions.entry(key)?.spawned_by.as_deref()?;
            self.sessions.resolve(parent).ok()
        };
        std::iter::successors(parent(key), move |key| parent(key)).take(MAX_DEPTH)
    }

    /// How many sessions stand above a sub-agent's; 0 for a session that nobody has started. A sub-agent's session
    /// whose origin is unknown is one deep.
    pub(super) fn spawn_depth(&self, key: &SessionKey) -> usize {
        let above = self.spawners(key).count();
        if keys::is_subagent(key) { above.max(1) } else { above }
    }
}
