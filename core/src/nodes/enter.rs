//! A node comes, and goes.

use std::sync::Arc;

use telson_proto::node::{NodePresence, NodeResolved, PendingNode};
use telson_proto::{EventName, Json, Protocol};

use super::Fault;
use super::offer::Offer;
use super::platform::Platform;
use super::policy::Standing;
use super::record::{About, Arrival};
use super::registry::{Session, node_id};
use crate::audit::Verdict;
use crate::auth::{Client, Credential, Principal};
use crate::gateway::{Gateway, Phase};
use crate::ids::{ConnId, DeviceId};
use crate::messages::Publish;
use crate::store::Op;

impl Gateway {
    /// A node's connection is in. What it offers beyond what it was approved for waits for somebody's word.
    ///
    /// The old protocol knows no such approval: there a paired node can be used at once. That is kept for the
    /// first connect of a node of this host that shows the gateway's own secret, whose holder could as well
    /// approve it himself; every other node waits [S-59].
    pub(crate) fn node_entered(&mut self, conn: ConnId, principal: &Arc<Principal>) {
        let node = node_id(principal);
        let declared = Offer::declared(principal.declared.shown());
        let session = Session {
            conn,
            principal: Arc::clone(principal),
            declared,
            connected_at: self.now.wall,
            activity: None,
            host_stats: None,
        };
        self.nodes.registry.enter(&node, session);
        let own = matches!(principal.credential, Credential::Shared { .. } | Credential::Nothing);
        let silent = own && principal.local && self.settings.auth.auto_approve_local;
        let arrival = Arrival {
            offer: self.permitted_offer(&node),
            platform: self.node_platform(&node, principal.declared.shown()),
            pairing: self.node_pairing(&node),
            about: about(principal),
            silent,
            at_once: silent && principal.protocol == Protocol::V3,
            now_ms: self.now.wall,
        };
        let entropy = &mut self.entropy;
        let Some(record) = self.nodes.record_mut(&node) else {
            tracing::warn!(target: "gateway", %node, "too many nodes are known; this one can be asked for nothing");
            return;
        };
        let outcome = record.arrive(arrival, || entropy.uuid());
        let asked = if outcome.asked { self.pending_node(&node) } else { None };
        self.tell_presence(&node, "connect");
        let mut ops = self.node_record_ops(&node);
        if outcome.approved {
            ops.push(self.audit_op(principal, "node.pair.approve", node.as_str(), &Verdict::Done));
        }
        self.store(ops, move |gateway, stored| {
            if let Err(error) = stored {
                // The next connect asks again; until then it is what memory says.
                tracing::error!(target: "gateway", %node, %error, "a node's record was not stored");
            }
            if let Some(request_id) = outcome.settled {
                gateway.tell_resolved(&request_id, &node, "rejected");
            }
            if let Some(request) = asked {
                gateway.publish(Publish::droppable(EventName::NodePairRequested, Json::of(&request)));
            }
        });
    }

    /// A node's connection is gone.
    pub(super) fn node_left(&mut self, conn: ConnId, principal: &Principal) {
        self.nodes.execs.gone(conn);
        let Some((node, last)) = self.nodes.registry.gone(conn) else { return };
        let unpaired = principal.device.is_some() && self.devices.node(&node).is_none();
        let fault = if unpaired { Fault::PairingChanged } else { Fault::Disconnected };
        self.fail_invocations(|pending| pending.conn == conn, &fault);
        if !last {
            return;
        }
        if let Some(record) = self.nodes.records.get_mut(&node) {
            record.last_disconnected_at_ms = Some(self.now.wall);
            record.seen(self.now.wall, "disconnect");
        }
        self.tell_presence(&node, "disconnect");
        // A gateway that stops writes nothing more; when its connections ended is known without.
        if let Some(op) = self.nodes.record_op(&node).filter(|_| self.phase == Phase::Serving) {
            self.store(vec![op], |_, _| {});
        }
    }

    /// The kind of machine, by what was pinned when the device was approved and by what it says now. A node that
    /// says something else than was approved is a machine that nobody knows [S-61].
    pub(super) fn node_platform(&self, node: &DeviceId, client: &Client) -> Platform {
        let (platform, family) = (client.platform.as_deref(), client.device_family.as_deref());
        let Some(record) = self.devices.node(node) else { return Platform::of(platform, family) };
        let (pinned, kind) = (record.platform.as_deref(), record.device_family.as_deref());
        let claimed = Platform::of(platform.or(pinned), family.or(kind));
        let approved = Platform::of(pinned.or(platform), kind.or(family));
        if claimed == approved { approved } else { Platform::Unknown }
    }

    /// When a node's device was paired.
    pub(super) fn node_pairing(&self, node: &DeviceId) -> Option<u64> {
        self.devices.node(node).map(|record| record.created_at_ms)
    }

    /// What a connected node offers, as far as policy lets it.
    fn permitted_offer(&self, node: &DeviceId) -> Offer {
        let settings = &self.settings.nodes;
        self.standing(node).map(|standing| standing.permitted(settings)).unwrap_or_default()
    }

    /// What is known of a connected node when a command is to be checked.
    pub(super) fn standing(&self, node: &DeviceId) -> Option<Standing<'_>> {
        let session = self.nodes.registry.current(node)?;
        let platform = self.node_platform(node, session.principal.declared.shown());
        Some(Standing {
            protocol: session.principal.protocol,
            platform,
            declared: &session.declared,
            approved: self
                .nodes
                .records
                .get(node)
                .and_then(|record| record.approved_on(platform, self.node_pairing(node))),
        })
    }

    /// The request of a node that waits, as it is shown.
    pub(super) fn pending_node(&self, node: &DeviceId) -> Option<PendingNode> {
        let request = self.nodes.records.get(node)?.request.as_ref()?;
        let scopes = std::iter::once(telson_proto::Scope::Pairing).chain(request.further_scope());
        let about = request.about.clone();
        Some(PendingNode {
            request_id: request.id.clone(),
            node_id: node.to_string(),
            display_name: about.display_name,
            platform: about.platform,
            version: about.version,
            device_family: about.device_family,
            model_identifier: about.model_identifier,
            client_id: about.client_id,
            client_mode: about.client_mode,
            caps: Some(request.offer.caps()),
            commands: Some(request.offer.commands()),
            permissions: request.offer.permissions(),
            remote_ip: about.remote_ip,
            required_approve_scopes: Some(scopes.map(|scope| scope.to_string()).collect()),
            silent: Some(request.silent),
            is_repair: Some(request.is_repair),
            ts: request.ts,
            ..PendingNode::default()
        })
    }

    /// Tells operators, and the node itself, what became of a request.
    pub(super) fn tell_resolved(&mut self, request_id: &str, node: &DeviceId, decision: &'static str) {
        let payload = Json::of(&NodeResolved {
            request_id: request_id.to_owned(),
            node_id: node.to_string(),
            decision,
            ts: self.now.wall,
        });
        for conn in self.nodes.registry.conns_of(node) {
            self.address(conn, EventName::NodePairResolved, payload.clone());
        }
        self.publish(Publish::droppable(EventName::NodePairResolved, payload));
    }

    /// Tells operators that a node came, went, or is used.
    pub(super) fn tell_presence(&mut self, node: &DeviceId, reason: &'static str) {
        let session = self.nodes.registry.current(node);
        let activity = session.and_then(|session| session.activity);
        let payload = NodePresence {
            node_id: node.to_string(),
            connected: session.is_some(),
            active: activity.map(|activity| activity.is_fresh(self.now.wall)),
            last_active_at_ms: activity.map(|activity| activity.last_active_at),
            reason,
            ts: self.now.wall,
        };
        let publish = Publish::droppable(EventName::NodePresence, Json::of(&payload));
        self.publish(Publish { v3: None, ..publish });
    }

    /// The change that writes a node's record down, for a transaction of something else.
    pub(super) fn node_record_ops(&self, node: &DeviceId) -> Vec<Op> {
        self.nodes.record_op(node).into_iter().collect()
    }
}

fn about(principal: &Principal) -> About {
    let client = principal.declared.shown();
    About {
        display_name: client.display_name.clone(),
        platform: client.platform.clone(),
        version: client.version.clone(),
        device_family: client.device_family.clone(),
        model_identifier: client.model_identifier.clone(),
        client_id: Some(client.id.clone()).filter(|id| !id.is_empty()),
        client_mode: Some(client.mode.clone()).filter(|mode| !mode.is_empty()),
        remote_ip: (!principal.addr.is_loopback()).then(|| principal.addr.to_string()),
    }
}
