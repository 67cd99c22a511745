//! The method of the book.

use telson_proto::audit::{AuditPage, AuditParams};
use telson_proto::params::{Count, Text};
use telson_proto::{ErrorShape, Json};

use crate::auth::{Effect, authorize};
use crate::gateway::{Answer, Call, Gateway, Reply};
use crate::messages::Outcome;
use crate::store::{AuditLine, AuditQuery, Loaded, Query};

/// How many lines there are when nobody asks for a number.
const DEFAULT_LIMIT: usize = 100;

/// `audit.list`: a page of the book, newest first.
pub(crate) fn list(gateway: &mut Gateway, call: Call<AuditParams>) -> Answer<AuditPage<AuditLine>> {
    authorize(&call.principal, &Effect::ReadAudit)?;
    let params = call.params;
    let limit = params.limit.map_or(DEFAULT_LIMIT, Count::as_len);
    let query = AuditQuery {
        before: params.before.map(Count::get),
        limit: limit + 1,
        actor: params.actor.map(Text::into_string),
        action: params.action.map(Text::into_string),
        outcome: params.outcome.map(|outcome| outcome.as_str().to_owned()),
    };
    let ticket = call.ticket;
    gateway.load(Query::Audit(query), move |gateway, loaded| {
        let outcome = match loaded {
            Ok(Loaded::Audit(lines)) => Outcome::ok(Json::of(&page(lines, limit))),
            Ok(_) => Outcome::error(ErrorShape::unavailable("the store answered another question")),
            Err(error) => Outcome::error(error.into()),
        };
        gateway.reply(ticket, outcome);
    });
    Ok(Reply::Later)
}

/// A page of at most so many lines, and where the next one begins.
fn page(mut lines: Vec<AuditLine>, limit: usize) -> AuditPage<AuditLine> {
    let more = lines.len() > limit;
    lines.truncate(limit);
    let next_before = lines.last().filter(|_| more).map(|line| line.id);
    AuditPage { entries: lines, next_before }
}
