//! `session.typing`: those who watch a session see that somebody writes (spec 02 §20.7).

use serde::{Deserialize, Serialize};
use telson_proto::params::Text;
use telson_proto::{EventName, Json};

use crate::auth::{Effect, Principal, authorize};
use crate::gateway::{Answer, Call, Gateway, Reply};
use crate::ids::{AgentId, SessionId, SessionKey};
use crate::messages::{Audience, Publish};

use super::methods;

/// The parameters.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TypingParams {
    session_key: Text<1, 512>,
    #[serde(default)]
    agent_id: Option<Text>,
    session_id: Text,
    typing: bool,
    #[serde(default)]
    preview: Option<Text<0, 400>>,
}

/// The answer.
#[derive(Debug, Serialize)]
pub(crate) struct Typed {
    ok: bool,
    /// Whether anybody watches.
    broadcast: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TypingEvent<'a> {
    session_key: &'a SessionKey,
    session_id: &'a SessionId,
    agent_id: AgentId,
    actor: Actor<'a>,
    typing: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    preview: Option<&'a str>,
    ts: u64,
}

#[derive(Serialize)]
struct Actor<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<&'a str>,
}

/// `session.typing`: tells it now, and keeps nothing.
pub(crate) fn typing(gateway: &mut Gateway, call: Call<TypingParams>) -> Answer<Typed> {
    let params = &call.params;
    let key = gateway.sessions.resolve_for(params.session_key.as_str(), params.agent_id.as_ref())?;
    authorize(&call.principal, &Effect::RunAgent { session: key.clone() })?;
    let session = SessionId::new(params.session_id.as_str());
    methods::check_incarnation(gateway, &key, Some(&session))?;
    let broadcast = gateway.sessions.watches.is_watched(&key);
    if broadcast {
        let payload = Json::of(&TypingEvent {
            session_key: &key,
            session_id: &session,
            agent_id: gateway.sessions.rules().agent_of(&key),
            actor: actor(&call.principal),
            typing: params.typing,
            preview: params.preview.as_ref().map(Text::as_str).filter(|text| !text.is_empty()),
            ts: gateway.now.wall,
        });
        let to = Audience::SessionMessages(key);
        let publish = Publish { v3: None, to, ..Publish::droppable(EventName::SessionTyping, payload) };
        gateway.publish(publish);
    }
    Ok(Reply::Ready(Typed { ok: true, broadcast }))
}

/// Who writes: the paired device, or what the client says it is.
fn actor(principal: &Principal) -> Actor<'_> {
    let client = principal.declared.shown();
    let declared = client.instance_id.as_deref().unwrap_or(client.id.as_str());
    let id = principal.device.as_ref().map_or(declared, |device| device.as_str());
    let label = Some(client.name()).filter(|name| !name.is_empty());
    Actor { kind: "human", id: if id.is_empty() { "operator" } else { id }, label }
}
