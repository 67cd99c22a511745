//! The invocations under way: bound to a connection, bounded in number and time, answered once.

use std::collections::BTreeMap;
use std::time::Duration;

use telson_proto::node::{InvokeCancel, InvokeRequest};
use telson_proto::{EventName, Json, Protocol};

use super::Fault;
use crate::gateway::Gateway;
use crate::ids::{CallId, ConnId, DeviceId};
use crate::limits;
use crate::time::earliest;

/// How often a node that was not ready is asked again (spec 03 §2.10).
const MOST_RETRIES: u32 = 4;
/// How long before the first of these; each further one waits twice as long.
const FIRST_RETRY: Duration = Duration::from_millis(250);

/// Who waits for an invocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asker {
    /// A connection, by a method.
    Conn(ConnId),
    /// A call of a tool.
    Tool(CallId),
}

/// What a node answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answered {
    /// The answer.
    pub(crate) payload: Option<Json>,
    /// The same as the node wrote it.
    pub(crate) payload_json: Option<String>,
}

/// What is done with the end of an invocation.
pub(super) type Then = Box<dyn FnOnce(&mut Gateway, Result<Answered, Fault>) + Send>;

/// An invocation that has no result yet.
pub(super) struct Pending {
    pub(super) node: DeviceId,
    /// The connection that it was sent on: nothing else can answer it.
    pub(super) conn: ConnId,
    pub(super) command: String,
    pub(super) params: Option<String>,
    pub(super) key: String,
    /// The time that the caller gave, as the node is told.
    pub(super) timeout_ms: Option<u64>,
    /// When it ends without a result.
    pub(super) deadline: Option<Duration>,
    pub(super) asker: Asker,
    pub(super) then: Then,
    /// How often it was sent again.
    pub(super) retries: u32,
    /// When it is sent again.
    pub(super) resend_at: Option<Duration>,
    /// The number of the last piece of output.
    pub(super) heard: Option<u64>,
}

/// The invocations. See the [module documentation](self).
#[derive(Default)]
pub(crate) struct Invocations {
    pending: BTreeMap<String, Pending>,
}

impl Invocations {
    /// When the first of them has something to do.
    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        self.pending.values().filter_map(|pending| earliest(pending.deadline, pending.resend_at)).min()
    }

    /// Whether a node, or the gateway, has no room for another one.
    pub(super) fn is_full(&self, node: &DeviceId) -> bool {
        let of_node = self.pending.values().filter(|pending| pending.node == *node).count();
        self.pending.len() >= limits::length(limits::NODE_INVOKES)
            || of_node >= limits::length(limits::NODE_INVOKES_EACH)
    }

    /// The invocation that a connection speaks of, if it was sent there.
    pub(super) fn of_conn(&mut self, id: &str, conn: ConnId) -> Option<&mut Pending> {
        self.pending.get_mut(id).filter(|pending| pending.conn == conn)
    }

    /// How many are under way.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.pending.len()
    }
}

impl Gateway {
    /// Asks the node, under a new id.
    pub(super) fn send_invocation(&mut self, pending: Pending) {
        let id = self.entropy.uuid();
        let request = InvokeRequest {
            id: &id,
            node_id: pending.node.as_str(),
            command: &pending.command,
            params_json: pending.params.as_deref(),
            timeout_ms: pending.timeout_ms,
            idempotency_key: &pending.key,
        };
        self.address(pending.conn, EventName::NodeInvokeRequest, Json::of(&request));
        self.nodes.invocations.pending.insert(id, pending);
    }

    /// An invocation has come to its end.
    pub(super) fn end_invocation(&mut self, id: &str, outcome: Result<Answered, Fault>) {
        if let Some(pending) = self.nodes.invocations.pending.remove(id) {
            (pending.then)(self, outcome);
        }
    }

    /// The node was not ready and has done nothing: it is asked again in a while. False when that was tried often
    /// enough, or when there is no time left.
    pub(super) fn retry_invocation(&mut self, id: &str) -> bool {
        let now = self.now.mono;
        let Some(pending) = self.nodes.invocations.pending.get_mut(id) else { return false };
        let at = now + FIRST_RETRY * 2_u32.pow(pending.retries);
        if pending.retries >= MOST_RETRIES || pending.deadline.is_some_and(|deadline| deadline <= at) {
            return false;
        }
        pending.retries += 1;
        pending.resend_at = Some(at);
        true
    }

    /// Ends the invocations that `ends` names with a fault.
    pub(super) fn fail_invocations(&mut self, ends: impl Fn(&Pending) -> bool, fault: &Fault) {
        for id in self.invocations_that(ends) {
            self.end_invocation(&id, Err(fault.clone()));
        }
    }

    /// Nobody waits any more for what somebody asked for: the nodes are told, as far as they understand it.
    pub(crate) fn cancel_invocations(&mut self, asker: Asker, reason: &'static str) {
        for id in self.invocations_that(|pending| pending.asker == asker) {
            self.tell_cancelled(&id, reason);
            self.nodes.invocations.pending.remove(&id);
        }
    }

    /// The ids of the invocations under way that are so.
    pub(super) fn invocations_that(&self, wanted: impl Fn(&Pending) -> bool) -> Vec<String> {
        let pending = self.nodes.invocations.pending.iter();
        pending.filter(|(_, pending)| wanted(pending)).map(|(id, _)| id.clone()).collect()
    }

    fn tell_cancelled(&mut self, id: &str, reason: &'static str) {
        let Some(pending) = self.nodes.invocations.pending.get(id) else { return };
        let conn = pending.conn;
        let understands = self.conns.get(&conn).is_some_and(|p| p.protocol == Protocol::V4);
        let payload = Json::of(&InvokeCancel { id, node_id: pending.node.as_str(), reason });
        if understands {
            self.address(conn, EventName::NodeInvokeCancel, payload);
        }
    }

    /// Ends what has taken too long, and asks again those that were not ready.
    pub(super) fn invocation_timeouts(&mut self) {
        let now = self.now.mono;
        let due = |at: Option<Duration>| at.is_some_and(|at| at <= now);
        for id in self.invocations_that(|pending| due(pending.deadline)) {
            self.tell_cancelled(&id, "it took too long");
            self.end_invocation(&id, Err(Fault::TimedOut));
        }
        for id in self.invocations_that(|pending| due(pending.resend_at)) {
            let Some(pending) = self.nodes.invocations.pending.remove(&id) else { continue };
            // The rules may have changed while it waited [S-63].
            match self.may_invoke_now(&pending.node, &pending.command) {
                Ok(()) => self.send_invocation(Pending { resend_at: None, heard: None, ..pending }),
                Err(fault) => (pending.then)(self, Err(fault)),
            }
        }
    }
}
