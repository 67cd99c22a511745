//! `agents_list`: the agents that the caller may start.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::gateway::Gateway;
use crate::ids::{AgentId, CallId};

use super::super::arguments::read;
use super::super::calls::Begun;
use super::super::{ToolContext, ToolOutcome};
use super::object;

pub(in crate::tools) const DESCRIPTION: &str =
    "List the agents that you may start with sessions_spawn, by id and name; you yourself come first.";

#[derive(Deserialize)]
struct Arguments {}

pub(in crate::tools) fn parameters() -> Value {
    object(&json!({}), &[])
}

pub(in crate::tools) fn begin(
    gateway: &mut Gateway,
    _: CallId,
    context: &ToolContext,
    arguments: &Value,
) -> Result<Begun, ToolOutcome> {
    let Arguments {} = read(arguments)?;
    let all = &gateway.settings.agents.list;
    let own = all.iter().filter(|profile| profile.id == context.agent);
    let others = all
        .iter()
        .filter(|profile| profile.id != context.agent && gateway.may_start(&context.agent, &profile.id));
    let agents: Vec<Value> = own
        .chain(others)
        .map(|profile| {
            let name = profile.name.as_deref().or(profile.identity.name.as_deref());
            json!({"id": profile.id, "name": name})
        })
        .collect();
    Ok(Begun::Done(ToolOutcome::json(json!({"requester": context.agent, "agents": agents}))))
}

impl Gateway {
    /// Whether an agent may start another one (`agents.list[].subagents.allowAgents`).
    pub(in crate::tools) fn may_start(&self, agent: &AgentId, other: &AgentId) -> bool {
        let allowed = self.settings.tools.agents.get(agent).map(|agent| agent.allow_agents.as_slice());
        let mut names = allowed.unwrap_or_default().iter().map(|name| name.trim());
        agent == other || names.any(|name| name == "*" || name.eq_ignore_ascii_case(other.as_str()))
    }
}
