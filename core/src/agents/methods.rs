//! `agents.list`, `agent.identity.get` and `models.list` (spec 02 §8.3, §15, §20.4).

#![expect(clippy::needless_pass_by_value, reason = "the table of methods fixes the signatures")]

use serde::Deserialize;
use telson_proto::params::{NoParams, Text};
use telson_proto::session::{AgentFace, AgentIdentity, AgentModel, AgentRow, AgentsList, ModelsList};
use telson_proto::{ErrorShape, Protocol};

use super::catalogue::View;
use crate::auth::{Effect, authorize};
use crate::gateway::{Answer, Call, Gateway, Reply};
use crate::ids::AgentId;
use crate::sessions::{closed, keys};
use crate::settings::{AgentProfile, Identity};

const MAX_NAME_CHARS: usize = 50;
const MAX_AVATAR_CHARS: usize = 200;
/// The longest text that is shown as an avatar.
const MAX_SHORT_AVATAR_CHARS: usize = 4;

/// The parameters of `agent.identity.get`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct IdentityParams {
    #[serde(default)]
    agent_id: Option<Text>,
    #[serde(default)]
    session_key: Option<Text<0>>,
}

/// The parameters of `models.list`; protocol 3 has none.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ModelsParams {
    #[serde(default)]
    view: Option<View>,
    #[serde(default)]
    agent_id: Option<Text>,
}

/// `agents.list`: the default agent first, the rest by id.
pub(crate) fn list(gateway: &mut Gateway, call: Call<NoParams>) -> Answer<AgentsList> {
    authorize(&call.principal, &Effect::ReadSessions)?;
    Ok(Reply::Ready(gateway.agents_list(call.protocol())))
}

/// `agent.identity.get`: how an agent presents itself.
pub(crate) fn identity(gateway: &mut Gateway, call: Call<IdentityParams>) -> Answer<AgentIdentity> {
    authorize(&call.principal, &Effect::ReadSessions)?;
    let asked = call.params.agent_id.as_ref().map(|id| keys::normalise_agent(id.as_str()));
    let spelling = call.params.session_key.as_ref().map(Text::as_str).filter(|key| !key.trim().is_empty());
    let key = spelling.map(|spelling| gateway.sessions.resolve(spelling)).transpose()?;
    let owner = key.map(|key| gateway.sessions.rules().agent_of(&key));
    let agent = match (asked, owner) {
        (Some(asked), Some(owner)) if asked != owner => {
            return Err(ErrorShape::invalid(format!(
                "invalid agent.identity.get params: agent \"{asked}\" does not match session key agent \"{owner}\""
            )));
        }
        (Some(agent), _) | (None, Some(agent)) => agent,
        (None, None) => gateway.settings.agents.default.clone(),
    };
    Ok(Reply::Ready(gateway.identity_of(&agent, call.protocol())))
}

/// `models.list`: the models, by provider and then by name.
pub(crate) fn models(gateway: &mut Gateway, call: Call<ModelsParams>) -> Answer<ModelsList> {
    authorize(&call.principal, &Effect::ReadSessions)?;
    let params = &call.params;
    let later = [("agentId", params.agent_id.is_some()), ("view", params.view.is_some())];
    closed("models.list", call.protocol(), &later)?;
    let models = match call.protocol() {
        Protocol::V3 => gateway.agents.choices(),
        Protocol::V4 => {
            let view = params.view.unwrap_or_default();
            gateway.agents.detailed_choices(view, &gateway.providers, gateway.now)
        }
    };
    Ok(Reply::Ready(ModelsList { models }))
}

impl Gateway {
    /// The agents as a client of this protocol sees them.
    pub(crate) fn agents_list(&self, protocol: Protocol) -> AgentsList {
        let settings = &self.settings.agents;
        let later = protocol == Protocol::V4;
        let ownership = if settings.list.len() > 1 { "explicit" } else { "sole" };
        AgentsList {
            default_id: settings.default.as_str().to_owned(),
            main_key: settings.main_key.clone(),
            scope: if settings.global_scope { "global" } else { "per-sender" },
            ownership: later.then_some(ownership),
            selection_required: later.then_some(false),
            agents: settings.list.iter().map(|profile| self.agent_row(profile, protocol)).collect(),
        }
    }

    fn agent_row(&self, profile: &AgentProfile, protocol: Protocol) -> AgentRow {
        let row = AgentRow {
            id: profile.id.as_str().to_owned(),
            name: profile.name.clone().filter(|name| !name.is_empty()),
            identity: face(&profile.identity),
            ..AgentRow::default()
        };
        if protocol == Protocol::V3 {
            return row;
        }
        let model = self.agents.model_of(&profile.id, None);
        let thinking_levels = self.agents.thinking_levels(&model);
        AgentRow {
            kind: Some("agent"),
            model: Some(AgentModel {
                primary: model.to_string(),
                fallbacks: self.agents.fallbacks_of(&profile.id).iter().map(ToString::to_string).collect(),
            }),
            thinking_default: thinking_levels.as_ref().map(|_| self.agents.thinking_default(&model)),
            thinking_levels,
            ..row
        }
    }

    /// How an agent presents itself, `Assistant` and `A` when nothing is configured.
    pub(crate) fn identity_of(&self, agent: &AgentId, protocol: Protocol) -> AgentIdentity {
        let profile = self.settings.agents.list.iter().find(|profile| profile.id == *agent);
        let identity = profile.map(|profile| profile.identity.clone()).unwrap_or_default();
        let own = identity.name.or_else(|| profile.and_then(|profile| profile.name.clone()));
        let own = own.map(|name| name.trim().chars().take(MAX_NAME_CHARS).collect::<String>());
        let own = own.filter(|name| !name.is_empty());
        let emoji = identity.emoji.filter(|emoji| !emoji.is_empty());
        let avatar = identity.avatar.filter(|avatar| usable_avatar(avatar));
        let avatar = avatar.or_else(|| emoji.clone().filter(|emoji| usable_avatar(emoji)));
        let avatar = avatar.unwrap_or_else(|| "A".to_owned());
        let later = protocol == Protocol::V4;
        AgentIdentity {
            agent_id: agent.as_str().to_owned(),
            name_source: later.then_some(if own.is_some() { "agent" } else { "default" }),
            name: own.unwrap_or_else(|| "Assistant".to_owned()),
            avatar_status: later.then(|| avatar_status(&avatar)),
            avatar,
            emoji: emoji.filter(|_| later),
        }
    }
}

fn face(identity: &Identity) -> Option<AgentFace> {
    let filled = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let avatar = filled(&identity.avatar);
    let face = AgentFace {
        name: filled(&identity.name),
        theme: filled(&identity.theme),
        emoji: filled(&identity.emoji),
        avatar_url: avatar.clone().filter(|avatar| avatar_status(avatar) != "none"),
        avatar,
    };
    (face != AgentFace::default()).then_some(face)
}

/// Whether a text can stand for an agent: an address that is not too long, or very few characters.
fn usable_avatar(avatar: &str) -> bool {
    let length = avatar.chars().count();
    let most = if avatar_status(avatar) == "none" { MAX_SHORT_AVATAR_CHARS } else { MAX_AVATAR_CHARS };
    (1..=most).contains(&length)
}

fn avatar_status(avatar: &str) -> &'static str {
    if avatar.starts_with("http://") || avatar.starts_with("https://") {
        "remote"
    } else if avatar.starts_with("data:") {
        "data"
    } else {
        "none"
    }
}
