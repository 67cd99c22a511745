//! `sessions.describe` and `sessions.get` (spec 02 §20.7).

#![expect(clippy::needless_pass_by_value, reason = "the table of methods fixes the signatures")]

use serde::{Deserialize, Serialize};
use serde_json::json;
use telson_proto::params::{Count, Text};
use telson_proto::{ErrorShape, Json};

use crate::auth::{Effect, authorize};
use crate::gateway::{Answer, Call, Gateway, Reply};
use crate::messages::Outcome;

use super::Row;
use super::row::derived_title;

const DEFAULT_MESSAGES: usize = 200;

/// The parameters of `sessions.describe`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DescribeParams {
    key: Text,
    #[serde(default)]
    agent_id: Option<Text>,
    #[serde(default)]
    include_derived_titles: Option<bool>,
    #[serde(default)]
    include_last_message: Option<bool>,
}

#[derive(Debug, Serialize)]
struct Described<'a> {
    session: Option<Row<'a>>,
}

/// `sessions.describe`: the row of one session, or null.
pub(crate) fn describe(gateway: &mut Gateway, call: Call<DescribeParams>) -> Answer<Json> {
    authorize(&call.principal, &Effect::ReadSessions)?;
    let params = &call.params;
    let key = gateway.sessions.resolve_for(params.key.as_str(), params.agent_id.as_ref())?;
    let session = gateway.sessions.stored(&key).map(|(key, session)| {
        let mut row = gateway.row(key, session, call.protocol());
        if params.include_derived_titles == Some(true) {
            row.derived_title = Some(derived_title(session));
        }
        if params.include_last_message == Some(true) {
            row.last_message_preview = session.entry.last_message.as_deref();
        }
        row
    });
    Ok(Reply::Ready(Json::of(&Described { session })))
}

/// The parameters of `sessions.get`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GetParams {
    #[serde(default)]
    key: Option<Text>,
    #[serde(default)]
    session_key: Option<Text>,
    #[serde(default)]
    agent_id: Option<Text>,
    #[serde(default)]
    limit: Option<Count<1, 1000>>,
}

/// `sessions.get`: the last messages of a session; none when there is no such session.
pub(crate) fn get(gateway: &mut Gateway, call: Call<GetParams>) -> Answer<Json> {
    authorize(&call.principal, &Effect::ReadSessions)?;
    let Call { ticket, params, .. } = call;
    let Some(spelling) = params.key.as_ref().or(params.session_key.as_ref()) else {
        return Err(ErrorShape::invalid("invalid sessions.get params: must have required property 'key'"));
    };
    let key = gateway.sessions.resolve_for(spelling.as_str(), params.agent_id.as_ref())?;
    let limit = params.limit.map_or(DEFAULT_MESSAGES, Count::as_len);
    gateway.last_messages(&key, limit, move |gateway, messages| {
        let outcome = match messages {
            Ok(messages) => Outcome::ok(Json::of(&json!({"messages": messages}))),
            Err(error) => Outcome::error(error),
        };
        gateway.reply(ticket, outcome);
    });
    Ok(Reply::Later)
}
