//! `sessions.search`: full text over transcripts (spec 02 §20.7).

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use telson_proto::params::{Count, Text};
use telson_proto::{ErrorShape, Json};

use crate::auth::{Effect, authorize};
use crate::gateway::{Answer, Call, Gateway, Reply};
use crate::ids::{SessionId, SessionKey};
use crate::messages::Outcome;
use crate::store::{Loaded, Query, SearchHit, SearchHits, SearchQuery, words_of};

use super::{keys, methods};

const DEFAULT_LIMIT: usize = 10;
const MAX_KEYS: usize = 200;

/// The parameters.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SearchParams {
    query: Text<1, 4096>,
    #[serde(default)]
    agent_id: Option<Text>,
    #[serde(default)]
    session_keys: Option<Vec<Text>>,
    #[serde(default)]
    limit: Option<Count<1, 25>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Hit<'a> {
    session_key: &'a SessionKey,
    session_id: &'a SessionId,
    message_id: &'a str,
    role: &'a str,
    timestamp: u64,
    snippet: &'a str,
    score: f64,
}

#[derive(Serialize)]
struct SearchResult<'a> {
    results: Vec<Hit<'a>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    indexing: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    truncated: bool,
}

/// `sessions.search`: the messages that contain every word, among the newest that do the best first.
pub(crate) fn search(gateway: &mut Gateway, call: Call<SearchParams>) -> Answer<Json> {
    authorize(&call.principal, &Effect::ReadSessions)?;
    let params = &call.params;
    let limit = params.limit.map_or(DEFAULT_LIMIT, Count::as_len);
    let query = SearchQuery {
        words: words_of(params.query.as_str()),
        sessions: gateway.named_sessions(params)?,
        key_prefix: params
            .agent_id
            .as_ref()
            .map(|id| format!("agent:{}:", keys::normalise_agent(id.as_str()))),
        limit,
    };
    let nowhere = query.sessions.as_ref().is_some_and(Vec::is_empty);
    if query.words.is_empty() || nowhere {
        return Ok(Reply::Ready(gateway.search_result(&SearchHits::default())));
    }
    let ticket = call.ticket;
    gateway.load(Query::Search(query), move |gateway, loaded| {
        let outcome = match loaded {
            Ok(Loaded::Hits(hits)) => Outcome::ok(gateway.search_result(&hits)),
            Ok(_) => Outcome::error(ErrorShape::unavailable("the store answered another question")),
            Err(error) => Outcome::error(error.into()),
        };
        gateway.reply(ticket, outcome);
    });
    Ok(Reply::Later)
}

impl Gateway {
    /// The transcripts of the keys that a question names; those of unknown keys are left out.
    fn named_sessions(&self, params: &SearchParams) -> Result<Option<Vec<SessionId>>, ErrorShape> {
        let Some(named) = &params.session_keys else { return Ok(None) };
        let refuse = |reason: &str| Err(methods::invalid("sessions.search", "sessionKeys", &reason));
        if named.is_empty() {
            return refuse("must NOT have fewer than 1 items");
        }
        if named.len() > MAX_KEYS {
            return refuse("must NOT have more than 200 items");
        }
        let mut ids = BTreeSet::new();
        for spelling in named {
            let key = self.sessions.resolve_for(spelling.as_str(), params.agent_id.as_ref())?;
            ids.extend(self.sessions.get(&key).map(|session| session.id.clone()));
        }
        Ok(Some(ids.into_iter().collect()))
    }

    /// Hits in transcripts of sessions that are gone meanwhile are left out.
    fn search_result(&self, found: &SearchHits) -> Json {
        let hits = found.hits.iter().filter_map(|SearchHit { session, id, role, at, snippet, score }| {
            Some(Hit {
                session_key: self.sessions.by_id(session)?,
                session_id: session,
                message_id: id,
                role,
                timestamp: *at,
                snippet,
                score: *score,
            })
        });
        Json::of(&SearchResult {
            results: hits.collect(),
            indexing: found.indexing,
            truncated: found.truncated,
        })
    }
}
