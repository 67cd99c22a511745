//! Work that waits for a node: `node.pending.*` (spec 03 §2.10).
//!
//! It survives restarts, and it is looked at again when it is handed over: what the node may no longer be asked
//! for is dropped [S-63].

use telson_proto::node::{
    AckParams, Acked, AskedPriority, DrainParams, Drained, EnqueueParams, Enqueued, Priority, Pulled,
    WorkAction, WorkItem, WorkKind,
};
use telson_proto::params::{Count, NoParams, Text};
use telson_proto::{ErrorShape, Json};

use super::Fault;
use super::registry::node_id;
use super::work::USUAL_MS;
use crate::auth::{Effect, Principal, authorize};
use crate::gateway::{Answer, Call, Gateway, Reply};
use crate::ids::{DeviceId, Ticket};
use crate::limits;
use crate::messages::Outcome;

/// How many requests a node gets when it names no number.
const USUAL_DRAIN: usize = 4;
/// The largest parameters that wait for a node, in bytes.
const MOST_PARAMS: usize = 65_536;

/// `node.pending.enqueue`: a request waits for a node until it asks.
pub(crate) fn enqueue(gateway: &mut Gateway, call: Call<EnqueueParams>) -> Answer<()> {
    authorize(&call.principal, &Effect::InvokeNode { admin: false })?;
    let params = call.params;
    let node = DeviceId::new(params.node_id.as_str().trim());
    if gateway.devices.node(&node).is_none() {
        return Err(ErrorShape::invalid("unknown nodeId"));
    }
    let priority = match params.priority {
        Some(AskedPriority::High) => Priority::High,
        Some(AskedPriority::Normal) | None => Priority::Normal,
    };
    let lifetime = params.expires_in_ms.map_or(USUAL_MS, Count::get);
    let entropy = &mut gateway.entropy;
    let work = gateway.nodes.work.entry(node.clone()).or_default();
    let (queued, created) =
        work.enqueue(gateway.now.wall, params.kind, priority, lifetime, || entropy.uuid());
    let answer = Json::of(&Enqueued {
        node_id: node.to_string(),
        revision: work.revision,
        queued,
        wake_triggered: false,
    });
    if !created {
        gateway.reply(call.ticket, Outcome::ok(answer));
        return Ok(Reply::Later);
    }
    gateway.store_work(&node, call.ticket, answer);
    Ok(Reply::Later)
}

/// `node.pending.drain`: a node takes the requests that wait for it. It is always asked how it is.
pub(crate) fn drain(gateway: &mut Gateway, call: Call<DrainParams>) -> Answer<()> {
    let node = paired(gateway, &call.principal)?;
    let most = call.params.max_items.map_or(USUAL_DRAIN, Count::as_len);
    let may_locate = gateway.may_invoke_now(&node, "location.get").is_ok();
    let now = gateway.now.wall;
    let work = gateway.nodes.work.entry(node.clone()).or_default();
    let before = work.revision;
    let (mut items, has_more) = work.drain(now, most, |kind| kind == WorkKind::Status || may_locate);
    let asked = items.iter().any(|item| item.kind == WorkKind::Status) || work.asks_for_status();
    if !asked && items.len() < most {
        items.push(WorkItem {
            id: "baseline-status".to_owned(),
            kind: WorkKind::Status,
            priority: Priority::Default,
            created_at_ms: now,
            expires_at_ms: None,
        });
    }
    let (revision, changed) = (work.revision, work.revision != before);
    let answer = Json::of(&Drained { node_id: node.to_string(), revision, items, has_more });
    gateway.answer_work(&node, changed, call.ticket, answer);
    Ok(Reply::Later)
}

/// `node.pending.pull`: the commands that a node could not take while it was in the background.
pub(crate) fn pull(gateway: &mut Gateway, call: Call<NoParams>) -> Answer<()> {
    let node = paired(gateway, &call.principal)?;
    let mut work = gateway.nodes.work.remove(&node).unwrap_or_default();
    let (actions, dropped) =
        work.pull(gateway.now.wall, |command| gateway.may_invoke_now(&node, command).is_ok());
    gateway.nodes.work.insert(node.clone(), work);
    let answer = Json::of(&Pulled { node_id: node.to_string(), actions });
    gateway.answer_work(&node, dropped, call.ticket, answer);
    Ok(Reply::Later)
}

/// `node.pending.ack`: a node has done them.
pub(crate) fn ack(gateway: &mut Gateway, call: Call<AckParams>) -> Answer<()> {
    let node = paired(gateway, &call.principal)?;
    if call.params.ids.is_empty() {
        let problem = "invalid node.pending.ack params: at /ids: must NOT have fewer than 1 items";
        return Err(ErrorShape::invalid(problem));
    }
    let ids: Vec<&str> =
        call.params.ids.iter().take(limits::length(limits::NODE_ACTIONS)).map(Text::as_str).collect();
    let work = gateway.nodes.work.entry(node.clone()).or_default();
    let (acked_ids, remaining_count) = work.acknowledge(gateway.now.wall, &ids);
    let changed = !acked_ids.is_empty();
    let answer = Json::of(&Acked { node_id: node.to_string(), acked_ids, remaining_count });
    gateway.answer_work(&node, changed, call.ticket, answer);
    Ok(Reply::Later)
}

/// The node that calls, as long as its device is paired as one.
fn paired(gateway: &Gateway, principal: &Principal) -> Result<DeviceId, ErrorShape> {
    let node = node_id(principal);
    match gateway.devices.node(&node) {
        Some(_) => Ok(node),
        None => Err(Fault::PairingChanged.shape("node.pending", principal.protocol)),
    }
}

impl Gateway {
    fn answer_work(&mut self, node: &DeviceId, changed: bool, ticket: Ticket, answer: Json) {
        match changed {
            true => self.store_work(node, ticket, answer),
            false => {
                self.forget_empty_work(node);
                self.reply(ticket, Outcome::ok(answer));
            }
        }
    }

    /// Writes the node's queue down, then answers.
    fn store_work(&mut self, node: &DeviceId, ticket: Ticket, answer: Json) {
        let op = self.nodes.work_op(node);
        self.forget_empty_work(node);
        self.store(vec![op], move |gateway, stored| {
            let outcome = match stored {
                Ok(()) => Outcome::ok(answer),
                Err(error) => Outcome::error(error.into()),
            };
            gateway.reply(ticket, outcome);
        });
    }

    fn forget_empty_work(&mut self, node: &DeviceId) {
        if self.nodes.work.get(node).is_some_and(super::work::Work::is_empty) {
            self.nodes.work.remove(node);
        }
    }

    /// A node in the background could not take a command: it waits until the node asks for it, and its caller is
    /// told so once that is written down.
    pub(super) fn queue_action(
        &mut self,
        id: &str,
        node: &DeviceId,
        command: String,
        params: Option<String>,
    ) {
        let fits = params.as_ref().is_none_or(|params| params.len() <= MOST_PARAMS);
        let action = WorkAction {
            id: self.entropy.uuid(),
            command,
            params_json: params,
            enqueued_at_ms: self.now.wall,
        };
        let now = self.now.wall;
        if !fits || !self.nodes.work.entry(node.clone()).or_default().defer(now, action) {
            self.forget_empty_work(node);
            return self.end_invocation(id, Err(Fault::Full));
        }
        let op = self.nodes.work_op(node);
        let id = id.to_owned();
        self.store(vec![op], move |gateway, stored| {
            let fault = match stored {
                Ok(()) => Fault::Queued,
                Err(error) => Fault::NotStored(error.to_string()),
            };
            gateway.end_invocation(&id, Err(fault));
        });
    }
}
