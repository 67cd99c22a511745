//! `node.pair.*`: what nodes may be asked for is approved, rejected and taken away (spec 01 §5.7).

#![expect(clippy::needless_pass_by_value, reason = "the table of methods fixes the signatures")]

use telson_proto::node::{
    NodeApproved, NodePairList, NodeParams, NodeRejected, NodeRemoved, PairRequestParams, PairRequested,
    PairedNode, PendingNode, RequestParams, Verified, VerifyParams,
};
use telson_proto::params::NoParams;
use telson_proto::{ErrorShape, EventName, Json, Protocol, Role};

use super::{Fault, LEGACY};
use crate::audit::Verdict;
use crate::auth::{Effect, authorize};
use crate::gateway::{Answer, Call, Gateway, Reply};
use crate::ids::{DeviceId, Ticket};
use crate::messages::{Outcome, Publish};
use crate::store::{Op, Record, Shelf, StoreError};

/// `node.pair.list`: the requests that wait and what is approved. Tokens are never among it.
pub(crate) fn pairings(gateway: &mut Gateway, call: Call<NoParams>) -> Answer<NodePairList> {
    authorize(&call.principal, &Effect::ManageNodes)?;
    let nodes: Vec<DeviceId> = gateway.nodes.records.keys().cloned().collect();
    let mut pending: Vec<PendingNode> = nodes.iter().filter_map(|node| gateway.pending_node(node)).collect();
    let mut paired: Vec<PairedNode> = nodes.iter().filter_map(|node| gateway.paired_node(node)).collect();
    if call.protocol() == Protocol::V3 {
        pending.extend(gateway.nodes.legacy.pending(gateway.now));
        paired.extend(gateway.nodes.legacy.paired().cloned());
    }
    pending.sort_by_key(|request| std::cmp::Reverse(request.ts));
    paired.sort_by_key(|node| std::cmp::Reverse(node.approved_at_ms));
    Ok(Reply::Ready(NodePairList { pending, paired }))
}

/// `node.pair.approve`: the node may be asked for what its request names. It takes the right to ask for that,
/// too: `operator.write`, or `operator.admin` for what acts with the rights of the node's user.
pub(crate) fn approve(gateway: &mut Gateway, call: Call<RequestParams>) -> Answer<()> {
    authorize(&call.principal, &Effect::ManageNodes)?;
    let id = call.params.request_id.as_str().to_owned();
    let Some(node) = gateway.node_that_asks(&id) else {
        return gateway.approve_legacy(call, &id);
    };
    let Some(record) = gateway.nodes.records.get(&node) else {
        return Err(ErrorShape::invalid("unknown requestId"));
    };
    let scope = record.request.as_ref().and_then(super::record::Request::further_scope);
    if let Some(scope) = scope {
        let effect = Effect::LendCommands { host: scope == telson_proto::Scope::Admin };
        if let Err(error) = authorize(&call.principal, &effect) {
            gateway.audit(&call.principal, "node.pair.approve", node.as_str(), &Verdict::from(&error));
            return Err(error);
        }
    }
    let before = record.clone();
    let (now, pairing) = (gateway.now.wall, gateway.node_pairing(&node));
    if let Some(record) = gateway.nodes.records.get_mut(&node) {
        record.grant(&id, pairing, now);
    }
    let granted = gateway.nodes.records.get(&node).cloned();
    let mut ops = gateway.node_record_ops(&node);
    ops.push(gateway.audit_op(&call.principal, "node.pair.approve", node.as_str(), &Verdict::Done));
    gateway.store(ops, move |gateway, stored| {
        if let Err(error) = stored {
            // Nothing is granted that is not written down; a request that came meanwhile stays.
            if let (Some(record), Some(granted)) = (gateway.nodes.records.get_mut(&node), granted)
                && record.approved == granted.approved
            {
                record.approved = before.approved;
                record.request = record.request.take().or(before.request);
            }
            return gateway.reply(call.ticket, Outcome::error(error.into()));
        }
        let paired = gateway.paired_node(&node).unwrap_or_default();
        let answer = NodeApproved { request_id: id.clone(), node: paired };
        gateway.reply(call.ticket, Outcome::ok(Json::of(&answer)));
        gateway.tell_resolved(&id, &node, "approved");
        gateway.recheck_invocations(&node);
    });
    Ok(Reply::Later)
}

/// `node.pair.reject`: the request is settled; what was approved before stays.
pub(crate) fn reject(gateway: &mut Gateway, call: Call<RequestParams>) -> Answer<()> {
    authorize(&call.principal, &Effect::ManageNodes)?;
    let id = call.params.request_id.as_str().to_owned();
    let now = gateway.now;
    if let Some((node, _)) = gateway.nodes.legacy.take(now, &id) {
        let op = gateway.audit_op(&call.principal, "node.pair.reject", node.as_str(), &Verdict::Done);
        gateway.store(vec![op], move |gateway, stored| gateway.rejected(call.ticket, id, &node, stored));
        return Ok(Reply::Later);
    }
    let node = gateway.node_that_asks(&id).ok_or_else(|| ErrorShape::invalid("unknown requestId"))?;
    let request = gateway.nodes.records.get_mut(&node).and_then(|record| record.request.take());
    let mut ops = gateway.node_record_ops(&node);
    ops.push(gateway.audit_op(&call.principal, "node.pair.reject", node.as_str(), &Verdict::Done));
    gateway.store(ops, move |gateway, stored| {
        if stored.is_err()
            && let Some(record) = gateway.nodes.records.get_mut(&node)
        {
            record.request = record.request.take().or(request);
        }
        gateway.rejected(call.ticket, id, &node, stored);
    });
    Ok(Reply::Later)
}

/// `node.pair.remove`: the device is a node no longer, and its connections end at once.
pub(crate) fn remove(gateway: &mut Gateway, call: Call<NodeParams>) -> Answer<()> {
    authorize(&call.principal, &Effect::ManageNodes)?;
    let node = DeviceId::new(call.params.node_id.as_str().trim());
    let device = gateway.devices.drop_node(&node);
    let record = gateway.nodes.records.remove(&node);
    if device.is_none() && record.is_none() {
        return Err(ErrorShape::invalid("unknown nodeId"));
    }
    let work = gateway.nodes.work.remove(&node);
    let (before, device_op) = device.unzip();
    let mut ops: Vec<Op> = device_op.into_iter().collect();
    for shelf in [Shelf::NodeSurfaces, Shelf::NodeWork] {
        ops.push(Op::DeleteRecord { shelf, key: node.as_str().to_owned() });
    }
    ops.push(gateway.audit_op(&call.principal, "node.pair.remove", node.as_str(), &Verdict::Done));
    gateway.store(ops, move |gateway, stored| {
        if let Err(error) = stored {
            if let Some(before) = before {
                gateway.devices.keep_node(&node, before);
            }
            if let Some(record) = record {
                gateway.nodes.records.entry(node.clone()).or_insert(record);
            }
            if let Some(work) = work {
                gateway.nodes.work.entry(node.clone()).or_insert(work);
            }
            return gateway.reply(call.ticket, Outcome::error(error.into()));
        }
        let answer = NodeRemoved { node_id: node.to_string() };
        gateway.reply(call.ticket, Outcome::ok(Json::of(&answer)));
        gateway.tell_resolved("", &node, "removed");
        gateway.fail_invocations(|pending| pending.node == node, &Fault::PairingChanged);
        gateway.end_where("node pairing removed", |principal| {
            principal.role == Role::Node && super::registry::node_id(principal) == node
        });
    });
    Ok(Reply::Later)
}

/// `node.pair.request`: protocol 3's own pairing, asked for by an operator.
pub(crate) fn request(gateway: &mut Gateway, call: Call<PairRequestParams>) -> Answer<PairRequested> {
    authorize(&call.principal, &Effect::ManageNodes)?;
    if call.params.node_id.as_str().trim().is_empty() {
        return Err(ErrorShape::invalid("nodeId required"));
    }
    let entropy = &mut gateway.entropy;
    let (request, created) = gateway.nodes.legacy.ask(gateway.now, call.params, || entropy.uuid());
    if created {
        gateway.publish(Publish::droppable(EventName::NodePairRequested, Json::of(&request)));
    }
    Ok(Reply::Ready(PairRequested { status: "pending", request, created }))
}

/// `node.pair.verify`: whether a token is the one that an approval of [`request`] gave.
pub(crate) fn verify(gateway: &mut Gateway, call: Call<VerifyParams>) -> Answer<Verified> {
    authorize(&call.principal, &Effect::ManageNodes)?;
    let node = DeviceId::new(call.params.node_id.as_str().trim());
    let node = gateway.nodes.legacy.verify(&node, call.params.token.as_str()).cloned();
    Ok(Reply::Ready(Verified { ok: node.is_some(), node }))
}

impl Gateway {
    /// The node whose request has this id.
    fn node_that_asks(&self, request_id: &str) -> Option<DeviceId> {
        let asks = |(_, record): &(&DeviceId, &super::record::NodeRecord)| {
            record.request.as_ref().is_some_and(|request| request.id == request_id)
        };
        self.nodes.records.iter().find(asks).map(|(node, _)| node.clone())
    }

    /// A node that is approved for something, as it is shown.
    fn paired_node(&self, node: &DeviceId) -> Option<PairedNode> {
        let record = self.nodes.records.get(node)?;
        let approved = record.approved.as_ref()?;
        let row = self.node_row(node, Protocol::V4);
        let row = row.unwrap_or_default();
        Some(PairedNode {
            node_id: node.to_string(),
            display_name: row.display_name,
            platform: row.platform,
            version: row.version,
            device_family: row.device_family,
            model_identifier: row.model_identifier,
            caps: Some(approved.offer.caps()),
            commands: Some(approved.offer.commands()),
            permissions: approved.offer.permissions(),
            remote_ip: row.remote_ip,
            created_at_ms: approved.created_at_ms,
            approved_at_ms: approved.at_ms,
            last_connected_at_ms: record.last_connected_at_ms,
            ..PairedNode::default()
        })
    }

    /// Ends what a node is at and may no longer be asked for.
    fn recheck_invocations(&mut self, node: &DeviceId) {
        let stale = self.invocations_that(|pending| {
            pending.node == *node && self.may_invoke_now(node, &pending.command).is_err()
        });
        for id in stale {
            self.end_invocation(&id, Err(Fault::PairingChanged));
        }
    }

    /// Approves a request of protocol 3's own pairing.
    fn approve_legacy(&mut self, call: Call<RequestParams>, id: &str) -> Answer<()> {
        let taken = match call.protocol() {
            Protocol::V3 => self.nodes.legacy.take(self.now, id),
            Protocol::V4 => None,
        };
        let (node, request) = taken.ok_or_else(|| ErrorShape::invalid("unknown requestId"))?;
        if !self.nodes.legacy.has_room(&node) {
            return Err(ErrorShape::invalid("too many nodes are paired; remove one first"));
        }
        let token = self.entropy.uuid().replace('-', "");
        let paired = self.nodes.legacy.approved(self.now.wall, &node, request, &token);
        let record =
            Record { shelf: Shelf::NodeSurfaces, key: format!("{LEGACY}{node}"), record: Json::of(&paired) };
        let audit = self.audit_op(&call.principal, "node.pair.approve", node.as_str(), &Verdict::Done);
        let id = id.to_owned();
        self.store(vec![Op::PutRecord(record), audit], move |gateway, stored| {
            if let Err(error) = stored {
                return gateway.reply(call.ticket, Outcome::error(error.into()));
            }
            let answer = NodeApproved { request_id: id.clone(), node: paired.shown_with(token) };
            gateway.nodes.legacy.restore(node.clone(), paired);
            gateway.reply(call.ticket, Outcome::ok(Json::of(&answer)));
            gateway.tell_resolved(&id, &node, "approved");
        });
        Ok(Reply::Later)
    }

    fn rejected(&mut self, ticket: Ticket, id: String, node: &DeviceId, stored: Result<(), StoreError>) {
        if let Err(error) = stored {
            return self.reply(ticket, Outcome::error(error.into()));
        }
        let answer = NodeRejected { request_id: id.clone(), node_id: node.to_string() };
        self.reply(ticket, Outcome::ok(Json::of(&answer)));
        self.tell_resolved(&id, node, "rejected");
    }
}
