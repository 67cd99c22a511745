//! The nodes: machines that lend the assistant a camera, a canvas or a shell (spec 03 §2).
//!
//! A node is a device in the role `node`. It declares what it can do at its connect; of that it may be asked for
//! what its platform and the operator allow and what somebody has approved for it, and nothing else. An invocation
//! is bound to the connection that it was sent on and is answered exactly once: by the node's result, by its
//! deadline, or at once when the connection is gone.
//!
//! What a node tells is never the gateway's own word: its words reach a model as untrusted text, in runs that may
//! use few tools.

mod enter;
mod events;
mod exec;
mod exec_events;
mod fault;
mod invocations;
mod invoke;
mod legacy;
mod methods;
mod offer;
mod pairing;
mod pending;
mod platform;
mod policy;
mod record;
mod registry;
mod results;
mod rows;
mod settings;
mod words;
mod work;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::gateway::Gateway;
use crate::ids::{ConnId, DeviceId};
use crate::limits;
use crate::store::{Op, Record, Shelf};
use crate::time::Now;

use telson_proto::Json;

use exec_events::Execs;
use invocations::Invocations;
use legacy::Legacy;
use record::NodeRecord;
use registry::Registry;
use work::Work;

pub(crate) use events::event;
pub(crate) use fault::Fault;
pub(crate) use invocations::{Answered, Asker};
pub(crate) use invoke::{Ask, invoke};
pub(crate) use methods::{describe, list, rename, skill_bins};
pub(crate) use pairing::{approve, pairings, reject, remove, request, verify};
pub(crate) use pending::{ack, drain, enqueue, pull};
pub(crate) use policy::is_reserved;
pub(crate) use results::{progress, result};
pub use settings::NodeSettings;

/// The prefix of protocol 3's own pairings on the shelf of nodes; no device is called so.
const LEGACY: &str = "legacy:";

/// The nodes. See the [module documentation](self).
#[derive(Default)]
pub struct Nodes {
    pub(crate) registry: Registry,
    records: BTreeMap<DeviceId, NodeRecord>,
    invocations: Invocations,
    execs: Execs,
    legacy: Legacy,
    work: BTreeMap<DeviceId, Work>,
}

impl Nodes {
    /// Takes over what was kept. What cannot be read grants nothing.
    pub(crate) fn restore(&mut self, _now: Now, shelf: Shelf, records: Vec<Record>) {
        for Record { key, record, .. } in records {
            let read = match (shelf, key.strip_prefix(LEGACY)) {
                (Shelf::NodeWork, _) => serde_json::from_str(record.as_str())
                    .map(|work| drop(self.work.insert(DeviceId::new(key.as_str()), work))),
                (_, Some(node)) => serde_json::from_str(record.as_str())
                    .map(|paired| self.legacy.restore(DeviceId::new(node), paired)),
                (_, None) => serde_json::from_str(record.as_str())
                    .map(|known| drop(self.records.insert(DeviceId::new(key.as_str()), known))),
            };
            if let Err(error) = read {
                tracing::error!(target: "gateway", node = %key, %error, "a node's record cannot be read; it grants nothing");
            }
        }
    }

    /// When something is due.
    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        self.invocations.next_deadline()
    }

    /// The record of a node, made if there is none; `None` when there are too many.
    fn record_mut(&mut self, node: &DeviceId) -> Option<&mut NodeRecord> {
        let full = self.records.len() >= limits::length(limits::NODE_RECORDS);
        if full && !self.records.contains_key(node) {
            return None;
        }
        Some(self.records.entry(node.clone()).or_default())
    }

    /// The change that writes a node's record down.
    fn record_op(&self, node: &DeviceId) -> Option<Op> {
        let record = Json::of(self.records.get(node)?);
        let key = node.as_str().to_owned();
        Some(Op::PutRecord(Record { shelf: Shelf::NodeSurfaces, key, record }))
    }

    /// Forgets a node whose device is no more. Returns the changes that say so.
    pub(crate) fn forget(&mut self, node: &DeviceId) -> [Op; 2] {
        self.records.remove(node);
        self.work.remove(node);
        [Shelf::NodeSurfaces, Shelf::NodeWork]
            .map(|shelf| Op::DeleteRecord { shelf, key: node.as_str().to_owned() })
    }

    /// The change that writes down what waits for a node.
    fn work_op(&self, node: &DeviceId) -> Op {
        let key = node.as_str().to_owned();
        match self.work.get(node).filter(|work| !work.is_empty()) {
            Some(work) => Op::PutRecord(Record { shelf: Shelf::NodeWork, key, record: Json::of(work) }),
            None => Op::DeleteRecord { shelf: Shelf::NodeWork, key },
        }
    }
}

impl Gateway {
    /// A connection is gone, whatever its role: nobody waits for what it asked of nodes, and if it was a node's,
    /// whoever waits for that is answered.
    pub(crate) fn node_gone(&mut self, conn: ConnId, principal: &crate::auth::Principal) {
        self.cancel_invocations(Asker::Conn(conn), "the caller is gone");
        if principal.role == telson_proto::Role::Node {
            self.node_left(conn, principal);
        }
    }

    /// Does what is due.
    pub(crate) fn node_timeouts(&mut self) {
        self.invocation_timeouts();
    }
}
