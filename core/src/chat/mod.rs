//! Chat and agent methods (spec 02 §7, §8): what clients ask of runs and transcripts.
//!
//! The methods check and translate; [`crate::runs`] does the work. A message is acknowledged when it is
//! stored, an abort when its run has ended.

mod abort;
mod after;
mod agent;
mod anew;
mod attachments;
pub(crate) mod envelope;
mod history;
mod inject;
mod message;
mod metadata;
mod send;
mod startup;
#[cfg(test)]
mod tests;

use std::time::Duration;

use telson_proto::params::Text;
use telson_proto::{ErrorShape, Scope};

use crate::auth::Principal;
use crate::gateway::Gateway;
use crate::ids::{SessionKey, Ticket};
use crate::runs::Owner;

pub(crate) use abort::{abort, may_abort, may_abort_child, stoppable};
pub(crate) use agent::{agent, wait};
pub(crate) use history::{as_event, history};
pub(crate) use inject::inject;
pub(crate) use message::get as message;
pub(crate) use metadata::metadata;
pub(crate) use send::{SendWords, authorize_words, send, start};
pub(crate) use startup::startup;

/// The session that a request means, by whichever name the client uses.
fn session_named(
    gateway: &mut Gateway,
    principal: &Principal,
    ticket: &Ticket,
    spelling: &str,
    agent: Option<&Text>,
) -> Result<SessionKey, ErrorShape> {
    match agent {
        Some(_) => gateway.sessions.resolve_for(spelling, agent),
        None => gateway.canonical_for(principal, ticket.conn, spelling),
    }
}

/// Whose run it is that this request starts or ends.
pub(crate) fn owner(principal: &Principal, ticket: &Ticket) -> Owner {
    Owner {
        conn: ticket.conn,
        device: principal.device.clone(),
        protocol: principal.protocol,
        admin: principal.scopes.grants(Scope::Admin, principal.protocol),
        untrusted: false,
    }
}

/// A timeout in the given unit; absent and 0 are the default. No run needs more than 30 days.
fn timeout(asked: Option<u64>, unit: Duration, default: Duration) -> Duration {
    const MOST: Duration = Duration::from_secs(30 * 24 * 3_600);
    match asked.unwrap_or(0) {
        0 => default,
        count => u32::try_from(count).map_or(MOST, |count| unit.saturating_mul(count)).min(MOST),
    }
}

/// The refusal of a session that takes no messages.
fn blocked() -> ErrorShape {
    ErrorShape::invalid("send blocked by session policy")
}
