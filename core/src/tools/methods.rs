//! `tools.catalog` and `tools.effective` (protocol 4).

#![expect(clippy::needless_pass_by_value, reason = "the table of methods fixes the signatures")]

use telson_proto::ErrorShape;
use telson_proto::params::Text;
use telson_proto::tools::{
    CatalogTool, EffectiveTool, ToolGroup, ToolNotice, ToolProfile, ToolsCatalog, ToolsCatalogParams,
    ToolsEffective, ToolsEffectiveParams,
};

use crate::auth::{Effect, authorize};
use crate::gateway::{Answer, Call, Gateway, Reply};
use crate::ids::{AgentId, RunId};
use crate::mcp::Offer;
use crate::sessions::keys;

use super::catalogue::{BUILT_IN, BuiltIn, SECTIONS};
use super::policy::{Subject, profiles_of};
use super::settings::Profile;
use super::{Caller, ToolContext};

/// What the reference calls the tools of servers where it calls them by the program that brings them.
const PLUGIN: &str = "bundle-mcp";
const MAX_LINE: usize = 160;

/// `tools.catalog`: every tool there is, for who configures what agents may use.
pub(crate) fn catalog(gateway: &mut Gateway, call: Call<ToolsCatalogParams>) -> Answer<ToolsCatalog> {
    authorize(&call.principal, &Effect::SeeTools)?;
    let asked = call.params.agent_id.as_ref().map(|id| keys::normalise_agent(id.as_str()));
    let agent = asked.unwrap_or_else(|| gateway.settings.agents.default.clone());
    known(gateway, &agent)?;
    let own = SECTIONS.iter().map(|(id, label)| ToolGroup {
        id: (*id).to_owned(),
        label: (*label).to_owned(),
        source: "core",
        plugin_id: None,
        tools: BUILT_IN.iter().filter(|tool| tool.group == *id).map(own_entry).collect(),
    });
    let mut groups: Vec<ToolGroup<CatalogTool>> = own.collect();
    if call.params.include_plugins != Some(false) {
        groups.extend(server_groups(gateway));
    }
    let profiles = Profile::ALL.map(|(profile, label)| ToolProfile { id: profile.as_str(), label });
    Ok(Reply::Ready(ToolsCatalog { agent_id: agent.as_str().to_owned(), profiles: profiles.into(), groups }))
}

fn known(gateway: &Gateway, agent: &AgentId) -> Result<(), ErrorShape> {
    let known = gateway.settings.agents.list.iter().any(|profile| profile.id == *agent);
    if known { Ok(()) } else { Err(ErrorShape::invalid(format!("unknown agent id \"{agent}\""))) }
}

fn own_entry(tool: &BuiltIn) -> CatalogTool {
    CatalogTool {
        id: tool.name.to_owned(),
        label: tool.label.to_owned(),
        description: line(tool.description),
        source: "core",
        plugin_id: None,
        risk: tool.risk,
        default_profiles: profiles_of(Subject { name: tool.name, foreign: false }),
    }
}

fn server_groups(gateway: &Gateway) -> Vec<ToolGroup<CatalogTool>> {
    let mut groups: Vec<ToolGroup<CatalogTool>> = Vec::new();
    for offer in gateway.tools.mcp.offered() {
        let entry = CatalogTool {
            id: offer.name.to_owned(),
            label: offer.title().to_owned(),
            description: line(offer.description()),
            source: "plugin",
            plugin_id: Some(PLUGIN),
            risk: offer.risk(),
            default_profiles: profiles_of(Subject { name: offer.name, foreign: true }),
        };
        let id = format!("mcp:{}", offer.server);
        match groups.iter_mut().find(|group| group.id == id) {
            Some(group) => group.tools.push(entry),
            None => groups.push(ToolGroup {
                id,
                label: offer.server.to_owned(),
                source: "plugin",
                plugin_id: Some(PLUGIN),
                tools: vec![entry],
            }),
        }
    }
    groups
}

/// `tools.effective`: what an agent may use in a session when this caller runs it.
pub(crate) fn effective(gateway: &mut Gateway, call: Call<ToolsEffectiveParams>) -> Answer<ToolsEffective> {
    authorize(&call.principal, &Effect::SeeTools)?;
    let session = gateway.sessions.resolve(call.params.session_key.as_str())?;
    let owner = gateway.sessions.rules().agent_of(&session);
    let asked = call.params.agent_id.as_ref().map(Text::as_str).map(keys::normalise_agent);
    let agent = match asked {
        Some(asked) if asked != owner && !keys::is_reserved(&session) => {
            return Err(ErrorShape::invalid(format!(
                "invalid tools.effective params: agent \"{asked}\" does not match session key agent \"{owner}\""
            )));
        }
        Some(agent) => agent,
        None => owner,
    };
    known(gateway, &agent)?;
    let context = ToolContext {
        caller: Caller::Run { run: RunId::new(""), id: String::new() },
        agent: agent.clone(),
        session,
        owner: call.principal.holds(telson_proto::Scope::Admin),
        untrusted: false,
    };
    let names = gateway.tools_for(&context);
    let permitted = |name: &str| names.iter().any(|spec| spec.name == name);
    let own = BUILT_IN.iter().filter(|tool| permitted(tool.name)).map(|tool| EffectiveTool {
        id: tool.name.to_owned(),
        label: tool.label.to_owned(),
        description: line(tool.description),
        raw_description: tool.description.to_owned(),
        source: "core",
        mcp_server: None,
        mcp_tool_name: None,
        risk: tool.risk,
    });
    let servers =
        gateway.tools.mcp.offered().filter(|offer| permitted(offer.name)).map(|offer| server_entry(&offer));
    let groups =
        [("core", "Built-in tools", own.collect::<Vec<_>>()), ("mcp", "MCP servers", servers.collect())];
    let groups = groups.into_iter().filter(|(_, _, tools)| !tools.is_empty()).map(|(id, label, tools)| {
        ToolGroup { id: id.to_owned(), label: label.to_owned(), source: id, plugin_id: None, tools }
    });
    Ok(Reply::Ready(ToolsEffective {
        groups: groups.collect(),
        profile: gateway.profile_of(&agent).as_str(),
        agent_id: agent.as_str().to_owned(),
        notices: notices(gateway),
    }))
}

fn server_entry(offer: &Offer<'_>) -> EffectiveTool {
    EffectiveTool {
        id: offer.name.to_owned(),
        label: offer.title().to_owned(),
        description: line(offer.description()),
        raw_description: offer.description().to_owned(),
        source: "mcp",
        mcp_server: Some(offer.server.to_owned()),
        mcp_tool_name: Some(offer.tool.to_owned()),
        risk: offer.risk(),
    }
}

fn notices(gateway: &Gateway) -> Vec<ToolNotice> {
    let missing = gateway.tools.mcp.servers().filter(|server| server.state != "ready");
    let servers: Vec<String> = missing.map(|server| server.name.to_owned()).collect();
    if servers.is_empty() {
        return Vec::new();
    }
    let message = format!("Tools of servers that are not ready are missing: {}.", servers.join(", "));
    vec![ToolNotice { id: "mcp-not-ready", severity: "warning", message, servers }]
}

/// The beginning of a description, for a list.
fn line(text: &str) -> String {
    let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match flat.char_indices().nth(MAX_LINE) {
        Some((at, _)) => format!("{}…", flat[..at].trim_end()),
        None => flat,
    }
}
