//! `chat.message.get` (spec 02 §20.5): one message, also when it is too long for the history.

use telson_proto::chat::{ChatMessageFound, ChatMessageGetParams};
use telson_proto::params::Count;
use telson_proto::{ErrorShape, Json};

use crate::auth::{Effect, authorize};
use crate::gateway::{Answer, Call, Gateway, Reply};
use crate::messages::Outcome;
use crate::store::{Loaded, PageQuery, Place, Query, TranscriptEntry};

use super::history::as_seen;

/// The longest message that is shown, in bytes.
const MAX_BYTES: usize = 2 * 1024 * 1024;

/// `chat.message.get`: the message of this id, wherever it stands in the transcript.
pub(crate) fn get(gateway: &mut Gateway, call: Call<ChatMessageGetParams>) -> Answer<ChatMessageFound> {
    authorize(&call.principal, &Effect::ReadSessions)?;
    let Call { principal, ticket, params, .. } = call;
    let key = gateway.sessions.resolve_for(params.session_key.as_str(), params.agent_id.as_ref())?;
    let Some(session) = gateway.sessions.get(&key).map(|session| session.id.clone()) else {
        return Ok(Reply::Ready(unavailable("not_found")));
    };
    let place = Place::Around(params.message_id.as_str().to_owned());
    let query = PageQuery { session, place, limit: 1, max_bytes: MAX_BYTES, brief: false, runs: Vec::new() };
    gateway.load(Query::Page(query), move |gateway, loaded| {
        let outcome = match loaded {
            Ok(Loaded::Page(page)) => {
                let entry = page.entries.first();
                let max_chars = params.max_chars.map(Count::as_len);
                let found = entry.map(|entry| found(entry, principal.protocol, max_chars));
                Outcome::ok(Json::of(&found.unwrap_or_else(|| unavailable("not_found"))))
            }
            Ok(_) => Outcome::error(ErrorShape::unavailable("the store answered another question")),
            Err(error) => Outcome::error(error.into()),
        };
        gateway.reply(ticket, outcome);
    });
    Ok(Reply::Later)
}

fn found(
    entry: &TranscriptEntry,
    protocol: telson_proto::Protocol,
    max_chars: Option<usize>,
) -> ChatMessageFound {
    if entry.message.as_str().len() > MAX_BYTES {
        return unavailable("oversized");
    }
    match as_seen(entry, protocol, false, max_chars) {
        Some(message) => ChatMessageFound { ok: true, message: Some(message), unavailable_reason: None },
        None => unavailable("not_visible"),
    }
}

fn unavailable(reason: &'static str) -> ChatMessageFound {
    ChatMessageFound { ok: false, message: None, unavailable_reason: Some(reason) }
}
