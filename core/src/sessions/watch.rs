//! Who watches which session's messages (spec 02 §20.7): `sessions.messages.subscribe` and `.unsubscribe`.
//!
//! The switchboard knows it too and decides who hears an event. The gateway keeps its own account so that nothing
//! is written down for nobody, and to keep what one connection may watch bounded.

#![expect(clippy::needless_pass_by_value, reason = "the table of methods fixes the signatures")]

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use telson_proto::ErrorShape;
use telson_proto::params::Text;

use crate::auth::{Effect, authorize};
use crate::gateway::{Answer, Call, Gateway, Reply};
use crate::ids::{ConnId, SessionKey};
use crate::limits;
use crate::messages::Down;

/// The watched sessions. See the [module documentation](self).
#[derive(Debug, Default)]
pub(crate) struct Watches {
    conns: BTreeMap<ConnId, BTreeSet<SessionKey>>,
    /// How many connections watch a session.
    counts: BTreeMap<SessionKey, usize>,
}

impl Watches {
    /// Whether anybody watches the session.
    pub(crate) fn is_watched(&self, key: &SessionKey) -> bool {
        self.counts.contains_key(key)
    }

    /// The connection is gone.
    pub(crate) fn gone(&mut self, conn: ConnId) {
        for key in self.conns.remove(&conn).unwrap_or_default() {
            self.release(&key);
        }
    }

    /// The connection watches the session. False when it watches too many.
    fn add(&mut self, conn: ConnId, key: &SessionKey) -> bool {
        let keys = self.conns.entry(conn).or_default();
        if keys.len() >= limits::length(limits::WATCHED_SESSIONS) && !keys.contains(key) {
            return false;
        }
        if keys.insert(key.clone()) {
            *self.counts.entry(key.clone()).or_default() += 1;
        }
        true
    }

    fn remove(&mut self, conn: ConnId, key: &SessionKey) {
        let Some(keys) = self.conns.get_mut(&conn) else { return };
        let watched = keys.remove(key);
        if keys.is_empty() {
            self.conns.remove(&conn);
        }
        if watched {
            self.release(key);
        }
    }

    fn release(&mut self, key: &SessionKey) {
        if let Some(count) = self.counts.get_mut(key) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(key);
            }
        }
    }
}

/// The parameters of both methods.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WatchParams {
    key: Text,
    #[serde(default)]
    agent_id: Option<Text>,
}

/// The answer to both methods.
#[derive(Debug, Serialize)]
pub(crate) struct Watched {
    subscribed: bool,
    /// The canonical key, by which events name the session.
    key: SessionKey,
}

/// `sessions.messages.subscribe`: from now on the connection hears `session.message` of the session, which need
/// not be there yet.
pub(crate) fn subscribe_messages(gateway: &mut Gateway, call: Call<WatchParams>) -> Answer<Watched> {
    let key = named(gateway, &call)?;
    gateway.watch_messages(call.ticket.conn, &key, true)?;
    Ok(Reply::Ready(Watched { subscribed: true, key }))
}

/// `sessions.messages.unsubscribe`: the opposite.
pub(crate) fn unsubscribe_messages(gateway: &mut Gateway, call: Call<WatchParams>) -> Answer<Watched> {
    let key = named(gateway, &call)?;
    gateway.watch_messages(call.ticket.conn, &key, false)?;
    Ok(Reply::Ready(Watched { subscribed: false, key }))
}

impl Gateway {
    /// From now on, or no longer, a connection hears a session.
    ///
    /// # Errors
    ///
    /// It hears too many.
    pub(crate) fn watch_messages(
        &mut self,
        conn: ConnId,
        key: &SessionKey,
        on: bool,
    ) -> Result<(), ErrorShape> {
        if !on {
            self.sessions.watches.remove(conn, key);
        } else if !self.sessions.watches.add(conn, key) {
            let most = limits::WATCHED_SESSIONS;
            return Err(ErrorShape::invalid(format!(
                "this connection watches {most} sessions already; unsubscribe from one first"
            ))
            .with_details(&serde_json::json!({"limit": "watched-sessions"})));
        }
        self.tell(Down::WatchMessages { conn, key: key.clone(), on });
        Ok(())
    }
}

fn named(gateway: &Gateway, call: &Call<WatchParams>) -> Result<SessionKey, ErrorShape> {
    authorize(&call.principal, &Effect::ReadSessions)?;
    gateway.sessions.resolve_for(call.params.key.as_str(), call.params.agent_id.as_ref())
}
