//! The nodes that are connected (spec 03 §2.1, 07 P-31).
//!
//! A connection is known by its own id, so the close of an older one never touches a newer one of the same node.
//! The newest is the one that is asked; when it closes while an older one is still open, that one is asked again.
//! So a node is connected here exactly as long as presence shows it.

use std::collections::BTreeMap;
use std::sync::Arc;

use telson_proto::Json;

use super::offer::Offer;
use crate::auth::Principal;
use crate::ids::{ConnId, DeviceId};

/// One connection of a node.
pub(crate) struct Session {
    pub(crate) conn: ConnId,
    pub(crate) principal: Arc<Principal>,
    /// What it declared at its connect.
    pub(crate) declared: Offer,
    /// Epoch milliseconds of its connect.
    pub(crate) connected_at: u64,
    /// What the node told of its use by a person.
    pub(crate) activity: Option<Activity>,
    /// Load, memory and disk.
    pub(crate) host_stats: Option<Json>,
}

/// What a node told of its use by a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Activity {
    /// Epoch milliseconds of the last use.
    pub(crate) last_active_at: u64,
    /// Epoch milliseconds of the word about it.
    pub(crate) updated_at: u64,
}

/// The connections. See the [module documentation](self).
#[derive(Default)]
pub(crate) struct Registry {
    /// Of each node, the newest last.
    nodes: BTreeMap<DeviceId, Vec<Session>>,
    conns: BTreeMap<ConnId, DeviceId>,
}

/// Which node a connection is: its device; on the plain dialect, without one, what it calls itself. Such a name
/// is never that of a device (`auth/deviceless.rs`).
pub(crate) fn node_id(principal: &Principal) -> DeviceId {
    let named = || DeviceId::new(principal.declared.shown().id.trim());
    principal.device.clone().unwrap_or_else(named)
}

impl Registry {
    /// A connection is in; from now on it is the node's.
    pub(crate) fn enter(&mut self, node: &DeviceId, session: Session) {
        self.conns.insert(session.conn, node.clone());
        self.nodes.entry(node.clone()).or_default().push(session);
    }

    /// A connection is gone. Its node, and whether the node is gone with it.
    pub(crate) fn gone(&mut self, conn: ConnId) -> Option<(DeviceId, bool)> {
        let node = self.conns.remove(&conn)?;
        let sessions = self.nodes.get_mut(&node)?;
        sessions.retain(|session| session.conn != conn);
        let last = sessions.is_empty();
        if last {
            self.nodes.remove(&node);
        }
        Some((node, last))
    }

    /// The connection by which the node is asked.
    pub(crate) fn current(&self, node: &DeviceId) -> Option<&Session> {
        self.nodes.get(node)?.last()
    }

    /// A connection.
    pub(crate) fn session_mut(&mut self, conn: ConnId) -> Option<&mut Session> {
        let node = self.conns.get(&conn)?;
        self.nodes.get_mut(node)?.iter_mut().find(|session| session.conn == conn)
    }

    /// Every connection of a node.
    pub(crate) fn conns_of(&self, node: &DeviceId) -> Vec<ConnId> {
        self.nodes.get(node).into_iter().flatten().map(|session| session.conn).collect()
    }

    /// The nodes that are connected.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = &DeviceId> {
        self.nodes.keys()
    }
}
