//! Protocol 3's own pairing of nodes: a node is named by whoever asks, and gets a token that `node.pair.verify`
//! knows again (spec 03 §2.6). It grants nothing here; old clients keep their books with it. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use telson_proto::node::{PairRequestParams, PairedNode, PendingNode};
use telson_proto::params::Text;

use crate::entropy::hex;
use crate::ids::DeviceId;
use crate::limits;
use crate::time::Now;

/// The pairings. See the [module documentation](self).
#[derive(Default)]
pub(crate) struct Legacy {
    pending: BTreeMap<DeviceId, (PendingNode, Duration)>,
    paired: BTreeMap<DeviceId, LegacyNode>,
}

/// A pairing as it is kept: never with the token itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LegacyNode {
    node: PairedNode,
    /// Lower-case hex SHA-256 of the token.
    token_hash: String,
}

impl Legacy {
    pub(super) fn restore(&mut self, node: DeviceId, paired: LegacyNode) {
        self.paired.insert(node, paired);
    }

    /// Notes a request. One of the same node that waits already is returned instead, and whether it is new.
    pub(super) fn ask(
        &mut self,
        now: Now,
        params: PairRequestParams,
        fresh_id: impl FnOnce() -> String,
    ) -> (PendingNode, bool) {
        self.prune(now);
        let node = DeviceId::new(params.node_id.as_str().trim());
        if let Some((waiting, _)) = self.pending.get(&node) {
            return (waiting.clone(), false);
        }
        if self.pending.len() >= limits::length(limits::PAIR_REQUESTS) {
            let oldest = self.pending.iter().min_by_key(|(_, (_, until))| *until).map(|(id, _)| id.clone());
            if let Some(oldest) = oldest {
                self.pending.remove(&oldest);
            }
        }
        let request = described(params, &node, fresh_id(), self.paired.contains_key(&node), now.wall);
        let until = now.mono + limits::millis(limits::PAIR_REQUEST_TTL_MS);
        self.pending.insert(node, (request.clone(), until));
        (request, true)
    }

    /// The requests that wait.
    pub(super) fn pending(&mut self, now: Now) -> Vec<PendingNode> {
        self.prune(now);
        self.pending.values().map(|(request, _)| request.clone()).collect()
    }

    /// The pairings, without their tokens.
    pub(super) fn paired(&self) -> impl Iterator<Item = &PairedNode> {
        self.paired.values().map(|paired| &paired.node)
    }

    /// Takes a request out.
    pub(super) fn take(&mut self, now: Now, request_id: &str) -> Option<(DeviceId, PendingNode)> {
        self.prune(now);
        let node = self.pending.iter().find(|(_, (request, _))| request.request_id == request_id)?.0.clone();
        let (request, _) = self.pending.remove(&node)?;
        Some((node, request))
    }

    /// Whether there is room for the pairing of a node.
    pub(super) fn has_room(&self, node: &DeviceId) -> bool {
        self.paired.contains_key(node) || self.paired.len() < limits::length(limits::NODE_RECORDS)
    }

    /// The pairing that an approval makes, to be stored and then kept.
    pub(super) fn approved(
        &self,
        now_ms: u64,
        node: &DeviceId,
        request: PendingNode,
        token: &str,
    ) -> LegacyNode {
        let old = self.paired.get(node);
        LegacyNode {
            node: PairedNode {
                node_id: node.to_string(),
                token: None,
                display_name: request.display_name,
                platform: request.platform,
                version: request.version,
                core_version: request.core_version,
                ui_version: request.ui_version,
                device_family: request.device_family,
                model_identifier: request.model_identifier,
                caps: request.caps,
                commands: request.commands,
                permissions: None,
                remote_ip: request.remote_ip,
                created_at_ms: old.map_or(now_ms, |old| old.node.created_at_ms),
                approved_at_ms: now_ms,
                last_connected_at_ms: old.and_then(|old| old.node.last_connected_at_ms),
            },
            token_hash: hash(token),
        }
    }

    /// The pairing whose token this is.
    pub(super) fn verify(&self, node: &DeviceId, token: &str) -> Option<&PairedNode> {
        let paired = self.paired.get(node)?;
        let same: bool = paired.token_hash.as_bytes().ct_eq(hash(token).as_bytes()).into();
        same.then_some(&paired.node)
    }

    fn prune(&mut self, now: Now) {
        self.pending.retain(|_, (_, until)| *until > now.mono);
    }
}

impl LegacyNode {
    /// As it is shown, once, to whoever has approved it.
    pub(super) fn shown_with(&self, token: String) -> PairedNode {
        PairedNode { token: Some(token), ..self.node.clone() }
    }
}

fn described(params: PairRequestParams, node: &DeviceId, id: String, again: bool, ts: u64) -> PendingNode {
    fn text<const A: usize, const B: usize>(text: Option<Text<A, B>>) -> Option<String> {
        text.map(|text| text.as_str().trim().to_owned()).filter(|text| !text.is_empty())
    }
    let list = |list: Option<Vec<Text<1, 128>>>| {
        list.map(|list| list.into_iter().take(256).map(Text::into_string).collect())
    };
    PendingNode {
        request_id: id,
        node_id: node.to_string(),
        display_name: text(params.display_name),
        platform: text(params.platform),
        version: text(params.version),
        core_version: text(params.core_version),
        ui_version: text(params.ui_version),
        device_family: text(params.device_family),
        model_identifier: text(params.model_identifier),
        caps: list(params.caps),
        commands: list(params.commands),
        remote_ip: text(params.remote_ip),
        silent: params.silent,
        is_repair: Some(again),
        ts,
        ..PendingNode::default()
    }
}

fn hash(token: &str) -> String {
    hex(Sha256::digest(token.as_bytes()).as_slice())
}
