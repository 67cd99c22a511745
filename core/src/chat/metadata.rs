//! `chat.metadata` (spec 02 §20.5): what a composer offers.

#![expect(clippy::needless_pass_by_value, reason = "the table of methods fixes the signatures")]

use serde::Deserialize;
use serde_json::json;
use telson_proto::Json;
use telson_proto::params::Text;

use crate::auth::{Effect, authorize};
use crate::gateway::{Answer, Call, Gateway, Reply};

/// The parameters. Every agent and session is offered the same models.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MetadataParams {
    #[serde(default)]
    agent_id: Option<Text>,
    #[serde(default)]
    session_key: Option<Text>,
}

/// `chat.metadata`: the models that can be chosen.
pub(crate) fn metadata(gateway: &mut Gateway, call: Call<MetadataParams>) -> Answer<Json> {
    authorize(&call.principal, &Effect::ReadSessions)?;
    if let Some(key) = &call.params.session_key {
        gateway.sessions.resolve_for(key.as_str(), call.params.agent_id.as_ref())?;
    }
    Ok(Reply::Ready(gateway.chat_metadata()))
}

impl Gateway {
    /// The answer to `chat.metadata`.
    pub(super) fn chat_metadata(&self) -> Json {
        Json::of(&json!({"models": self.agents.offered_choices(&self.providers, self.now)}))
    }
}
