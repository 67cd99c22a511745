//! `chat.startup` (spec 02 §20.5): a page of history with what a client needs for its first paint.

use telson_proto::chat::{ChatHistoryParams, ChatStartupParams};
use telson_proto::params::Text;
use telson_proto::{ErrorShape, Json};

use crate::auth::{Effect, authorize};
use crate::gateway::{Answer, Call, Gateway, Reply, read_params};
use crate::messages::{Down, Outcome};
use crate::sessions;

use super::history::{self, FirstPaint};

/// `chat.startup`: of a session by its key; or by the beginning of its id, and then the connection hears
/// `sessions.changed` from now on.
pub(crate) fn startup(gateway: &mut Gateway, call: Call<ChatStartupParams>) -> Answer<()> {
    let Call { principal, ticket, params, digest } = call;
    authorize(&principal, &Effect::ReadSessions)?;
    let mut paint = FirstPaint::default();
    let session_key = match (&params.session_key, &params.short_id) {
        (Some(key), None) => key.clone(),
        (None, Some(short)) => {
            gateway.tell(Down::SubscribeSessions { conn: ticket.conn });
            let (key, resolution) = sessions::by_short_id(gateway, short, params.agent_id.as_ref());
            let Some(key) = key else {
                let answer = serde_json::json!({"resolution": resolution});
                gateway.reply(ticket, Outcome::ok(Json::of(&answer)));
                return Ok(Reply::Later);
            };
            paint.resolution = Some(resolution);
            text(key.as_str())?
        }
        _ => {
            let text = "invalid chat.startup params: give either sessionKey or shortId";
            return Err(ErrorShape::invalid(text));
        }
    };
    let params = ChatHistoryParams {
        session_key,
        limit: params.limit,
        agent_id: params.agent_id,
        cursor: params.cursor,
        offset: params.offset,
        message_id: params.message_id,
        session_id: params.session_id,
        max_chars: params.max_chars,
        max_bytes: params.max_bytes,
        input_run_ids: params.input_run_ids,
        pending_before: params.pending_before,
    };
    let page = Call { principal, ticket: ticket.clone(), params, digest };
    match history::load(gateway, page, Some(paint))? {
        Reply::Ready(page) => gateway.reply(ticket, Outcome::ok(Json::of(&page))),
        Reply::Later => {}
    }
    Ok(Reply::Later)
}

/// A key as a parameter.
fn text(key: &str) -> Result<Text, ErrorShape> {
    #[derive(serde::Deserialize)]
    struct Key {
        key: Text,
    }
    let json = serde_json::json!({"key": key}).to_string();
    read_params("chat.startup", &json, telson_proto::Protocol::V4).map(|Key { key }| key)
}
