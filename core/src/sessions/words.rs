//! `sessions.send` and `sessions.steer`: `chat.send` by the session's name (spec 02 §20.7).

use serde::Deserialize;
use telson_proto::ErrorShape;
use telson_proto::chat::Attachment;
use telson_proto::params::{Count, Text};

use crate::chat::{self, SendWords};
use crate::gateway::{Answer, Call, Gateway, Reply};
use crate::ids::RunId;
use crate::runs::Asker;

/// The parameters of both methods.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SendParams {
    key: Text<1, 512>,
    message: String,
    #[serde(default)]
    agent_id: Option<Text>,
    #[serde(default)]
    thinking: Option<String>,
    #[serde(default)]
    attachments: Option<Vec<Attachment>>,
    #[serde(default)]
    timeout_ms: Option<Count>,
    #[serde(default)]
    idempotency_key: Option<Text>,
}

/// `sessions.send`: sends the user's words into a session that exists.
pub(crate) fn send(gateway: &mut Gateway, call: Call<SendParams>) -> Answer<()> {
    say(gateway, call, false)
}

/// `sessions.steer`: the same in place of whatever is under way there.
pub(crate) fn steer(gateway: &mut Gateway, call: Call<SendParams>) -> Answer<()> {
    say(gateway, call, true)
}

fn say(gateway: &mut Gateway, call: Call<SendParams>, interrupts: bool) -> Answer<()> {
    let Call { principal, ticket, params, digest } = call;
    let key = gateway.sessions.resolve_for(params.key.as_str(), params.agent_id.as_ref())?;
    if gateway.sessions.get(&key).is_none() {
        chat::authorize_words(&principal, &key)?;
        return Err(ErrorShape::invalid(format!("session not found: {}", params.key)));
    }
    let run = match params.idempotency_key {
        Some(own) => RunId::new(own.as_str()),
        None => RunId::new(gateway.entropy.uuid()),
    };
    let words = SendWords {
        key,
        message: params.message,
        attachments: params.attachments,
        thinking: params.thinking,
        timeout_ms: params.timeout_ms.map(Count::get),
        run,
        interrupts,
        is_plain: false,
        queue: None,
    };
    let asker = Asker::Call(ticket.clone());
    chat::start(gateway, &principal, &ticket, asker, digest, words)?;
    Ok(Reply::Later)
}
