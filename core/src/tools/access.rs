//! What a caller may use: the chain of rules, and the tools that are there (spec 04 §12).

use serde_json::Value;
use telson_proto::Json;

use crate::auth::permits_tool;
use crate::gateway::Gateway;
use crate::sessions::keys;

use super::catalogue::{BUILT_IN, BuiltIn};
use super::policy::{self, Rule, SUBAGENT_DENY, SUBAGENT_DENY_ALWAYS, Subject, UNTRUSTED_DENY};
use super::settings::{PolicySettings, Profile};
use super::{ToolContext, ToolSpec};

/// A tool that a caller may use.
pub(super) enum Found {
    BuiltIn(&'static BuiltIn),
    /// The server's place and the tool's name there.
    Server(usize, String),
}

impl Gateway {
    /// The tools that an agent may use in a session, by the policy: the gateway's own first, in the order of their
    /// table, then those of servers by name.
    pub(crate) fn tools_for(&self, context: &ToolContext) -> Vec<ToolSpec> {
        let rules = self.tool_rules(context);
        let own =
            BUILT_IN.iter().filter(|tool| self.has_built_in(context, tool, &rules)).map(|tool| ToolSpec {
                name: tool.name.to_owned(),
                description: tool.description.to_owned(),
                parameters: Json::of(&(tool.parameters)()),
                strict: None,
            });
        let servers = self.tools.mcp.offered().filter(|offer| {
            let subject = Subject { name: offer.name, foreign: true };
            rules.iter().all(|rule| rule.permits(subject))
                && self.session_permits(context, offer.server, offer.tool)
        });
        own.chain(servers.map(|offer| offer.spec())).collect()
    }

    /// The tool of this name, if the caller may use it. What is unknown and what is denied look the same.
    pub(super) fn find_tool(&self, context: &ToolContext, name: &str) -> Option<Found> {
        let rules = self.tool_rules(context);
        if let Some(tool) = BUILT_IN.iter().find(|tool| tool.name == name) {
            return self.has_built_in(context, tool, &rules).then_some(Found::BuiltIn(tool));
        }
        let offer = self.tools.mcp.offer(name)?;
        let subject = Subject { name: offer.name, foreign: true };
        let permitted = rules.iter().all(|rule| rule.permits(subject))
            && self.session_permits(context, offer.server, offer.tool);
        permitted.then(|| Found::Server(offer.place, offer.tool.to_owned()))
    }

    fn has_built_in(&self, context: &ToolContext, tool: &BuiltIn, rules: &[Rule]) -> bool {
        let subject = Subject { name: tool.name, foreign: false };
        permits_tool(context.owner, &(tool.effect)(&context.session))
            && (tool.offered)(self, context)
            && rules.iter().all(|rule| rule.permits(subject))
    }

    /// The chain of rules for a caller; a tool must pass each.
    fn tool_rules(&self, context: &ToolContext) -> Vec<Rule> {
        let settings = &self.settings.tools;
        let global = &settings.policy;
        let nothing = PolicySettings::default();
        let agent = settings.agents.get(&context.agent).map_or(&nothing, |agent| &agent.policy);
        let model = self.model_of(&context.session);
        let by_model = |policy| policy::for_model(policy, &model.provider, &model.model);
        let (global_model, agent_model) = (by_model(global), by_model(agent));

        let mut rules = Vec::new();
        if let Some(profile) = agent.profile.or(global.profile) {
            rules.push(Rule::profile(profile, also(agent, global)));
        }
        let profiled = agent_model.filter(|policy| policy.profile.is_some()).or(global_model);
        if let Some((policy, profile)) = profiled.and_then(|policy| Some((policy, policy.profile?))) {
            rules.push(Rule::profile(profile, &policy.also_allow));
        }
        rules.push(policy::rules(global));
        rules.extend(global_model.map(policy::rules));
        rules.push(policy::rules(agent));
        rules.extend(agent_model.map(policy::rules));
        rules.extend(self.inherited_rule(context));
        if context.untrusted {
            rules.push(Rule::without(UNTRUSTED_DENY.iter().copied()));
        }
        if keys::is_subagent(&context.session) {
            rules.push(self.subagent_rule(context));
            rules.push(Rule::lists(&settings.subagents.policy.allow, &settings.subagents.policy.deny));
        }
        rules
    }

    /// A sub-agent has no sessions to care for, unless it may start sub-agents itself.
    fn subagent_rule(&self, context: &ToolContext) -> Rule {
        let subagents = &self.settings.tools.subagents;
        let leaf = self.spawn_depth(&context.session) >= subagents.max_depth;
        let denied = if leaf { SUBAGENT_DENY } else { SUBAGENT_DENY_ALWAYS };
        let also = Rule::lists(&subagents.policy.also_allow, &[]);
        let lifted = |name: &str| {
            !subagents.policy.also_allow.is_empty() && also.permits(Subject { name, foreign: false })
        };
        Rule::without(denied.iter().copied().filter(|name| !lifted(name)))
    }

    /// What protocol 4 lets a session inherit from the one that started it.
    fn inherited_rule(&self, context: &ToolContext) -> Option<Rule> {
        let entry = self.sessions.entry(&context.session)?;
        let names = |field: &str| -> Vec<String> {
            let list =
                entry.extra.get(field).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            list.iter().filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let (allow, deny) = (names("inheritedToolAllow"), names("inheritedToolDeny"));
        (!allow.is_empty() || !deny.is_empty()).then(|| Rule::lists(&allow, &deny))
    }

    /// Whether the session's own `toolOverrides` leave a server's tool in (protocol 4).
    fn session_permits(&self, context: &ToolContext, server: &str, tool: &str) -> bool {
        let entry = self.sessions.entry(&context.session);
        let Some(overrides) = entry.and_then(|entry| entry.extra.get("toolOverrides")) else { return true };
        let off = overrides["mcpServers"][server] == Value::Bool(false);
        let denied = overrides["mcpToolsDeny"][server].as_array();
        !off && !denied.is_some_and(|names| names.iter().any(|name| name.as_str() == Some(tool)))
    }

    /// The name of the profile that is in force for an agent; `full` when none is configured.
    pub(super) fn profile_of(&self, agent: &crate::ids::AgentId) -> Profile {
        let settings = &self.settings.tools;
        let own = settings.agents.get(agent).and_then(|agent| agent.policy.profile);
        own.or(settings.policy.profile).unwrap_or(Profile::Full)
    }
}

fn also<'a>(agent: &'a PolicySettings, global: &'a PolicySettings) -> &'a [String] {
    if agent.also_allow.is_empty() { &global.also_allow } else { &agent.also_allow }
}
