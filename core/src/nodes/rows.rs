//! The nodes as lists show them (spec 03 §2.3).

use std::collections::BTreeSet;

use telson_proto::Protocol;
use telson_proto::node::{NodeRow, NodeRowMore};

use super::record::NodeRecord;
use super::registry::Session;
use crate::devices::PairedDevice;
use crate::gateway::Gateway;
use crate::ids::DeviceId;

impl Gateway {
    /// Every node that is paired or connected, as a caller of this protocol sees it.
    pub(crate) fn node_rows(&self, protocol: Protocol) -> Vec<NodeRow> {
        let paired = self.devices.nodes().map(|(node, _)| node);
        let nodes: BTreeSet<&DeviceId> = paired.chain(self.nodes.registry.nodes()).collect();
        let mut rows: Vec<NodeRow> =
            nodes.into_iter().filter_map(|node| self.node_row(node, protocol)).collect();
        let name = |row: &NodeRow| row.display_name.as_ref().unwrap_or(&row.node_id).to_lowercase();
        rows.sort_by_cached_key(|row| (!row.connected, name(row), row.node_id.clone()));
        rows
    }

    /// A node that is paired or connected.
    pub(crate) fn node_row(&self, node: &DeviceId, protocol: Protocol) -> Option<NodeRow> {
        let device = self.devices.node(node);
        let session = self.nodes.registry.current(node);
        if device.is_none() && session.is_none() {
            return None;
        }
        let record = self.nodes.records.get(node);
        let v4 = protocol == Protocol::V4;
        let usable = match self.standing(node) {
            Some(standing) => standing.usable(&self.settings.nodes),
            // Offline: what could be used if it were here, which the old protocol does not show.
            None => record
                .and_then(|record| record.approved.as_ref())
                .filter(|_| v4)
                .map_or_else(super::offer::Offer::default, |approved| approved.offer.clone()),
        };
        let client = session.map(|session| session.principal.declared.shown());
        let live = |field: fn(&crate::auth::Client) -> &Option<String>| client.and_then(|c| field(c).clone());
        Some(NodeRow {
            node_id: node.to_string(),
            display_name: name(device, live(|client| &client.display_name), record),
            platform: live(|client| &client.platform).or_else(|| device.and_then(|d| d.platform.clone())),
            version: live(|client| &client.version),
            device_family: live(|client| &client.device_family)
                .or_else(|| device.filter(|_| v4).and_then(|d| d.device_family.clone())),
            model_identifier: live(|client| &client.model_identifier),
            remote_ip: match session {
                Some(session) => {
                    let addr = session.principal.addr;
                    (!addr.is_loopback()).then(|| addr.to_string())
                }
                None => device.and_then(|device| device.remote_ip.clone()),
            },
            permissions: usable.permissions().filter(|_| session.is_some()),
            caps: usable.caps(),
            commands: usable.commands(),
            path_env: live(|client| &client.path_env),
            connected_at_ms: session.map(|session| session.connected_at),
            paired: device.is_some(),
            connected: session.is_some(),
            more: v4.then(|| self.more(device, session, record)),
        })
    }

    fn more(
        &self,
        device: Option<&PairedDevice>,
        session: Option<&Session>,
        record: Option<&NodeRecord>,
    ) -> NodeRowMore {
        let client = session.map(|session| session.principal.declared.shown());
        let request = record.and_then(|record| record.request.as_ref());
        let activity = session.and_then(|session| session.activity);
        let mode = client.map(|client| client.mode.clone()).filter(|mode| !mode.is_empty());
        NodeRowMore {
            client_id: client
                .map(|client| client.id.clone())
                .or_else(|| device.and_then(|device| device.client_id.clone())),
            client_mode: mode.or_else(|| device.and_then(|device| device.client_mode.clone())),
            approval_state: record.map_or("unapproved", NodeRecord::state),
            pending_request_id: request.map(|request| request.id.clone()),
            pending_declared_caps: request.map(|request| request.offer.caps()),
            pending_declared_commands: request.map(|request| request.offer.commands()),
            pending_declared_permissions: request.and_then(|request| request.offer.permissions()),
            approved_at_ms: record.and_then(|r| r.approved.as_ref()).map(|approved| approved.at_ms),
            last_connected_at_ms: record.and_then(|record| record.last_connected_at_ms),
            last_disconnected_at_ms: record.and_then(|record| record.last_disconnected_at_ms),
            last_seen_at_ms: record.and_then(|record| record.last_seen_at_ms),
            last_seen_reason: record.and_then(|record| record.last_seen_reason.clone()),
            last_active_at_ms: activity.map(|activity| activity.last_active_at),
            presence_updated_at_ms: activity.map(|activity| activity.updated_at),
            active: activity.map(|activity| activity.is_fresh(self.now.wall)),
            host_stats: session.and_then(|session| session.host_stats.clone()),
        }
    }
}

/// The name: the operator's, the connection's, the device's, the request's.
fn name(device: Option<&PairedDevice>, live: Option<String>, record: Option<&NodeRecord>) -> Option<String> {
    let label = device.and_then(|device| device.operator_label.clone());
    let asked = || record?.request.as_ref()?.about.display_name.clone();
    label.or(live).or_else(|| device.and_then(|device| device.display_name.clone())).or_else(asked)
}
