//! The pairing of nodes: what they may be asked for (spec 01 §5.7).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::params::Text;

/// The parameters of methods that name a pairing request.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestParams {
    /// The request.
    pub request_id: Text,
}

/// The parameters of protocol 3's `node.pair.request`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PairRequestParams {
    /// The node.
    pub node_id: Text<1, 128>,
    /// What it calls itself.
    #[serde(default)]
    pub display_name: Option<Text<0, 256>>,
    /// Its operating system.
    #[serde(default)]
    pub platform: Option<Text<0, 256>>,
    /// Its version.
    #[serde(default)]
    pub version: Option<Text<0, 256>>,
    /// The version of its core.
    #[serde(default)]
    pub core_version: Option<Text<0, 256>>,
    /// The version of its user interface.
    #[serde(default)]
    pub ui_version: Option<Text<0, 256>>,
    /// The kind of machine.
    #[serde(default)]
    pub device_family: Option<Text<0, 256>>,
    /// The model of the machine.
    #[serde(default)]
    pub model_identifier: Option<Text<0, 256>>,
    /// What it can do, in groups.
    #[serde(default)]
    pub caps: Option<Vec<Text<1, 128>>>,
    /// The commands that it knows.
    #[serde(default)]
    pub commands: Option<Vec<Text<1, 128>>>,
    /// Its address.
    #[serde(default)]
    pub remote_ip: Option<Text<0, 64>>,
    /// Whether it may be approved without asking anybody; shown, not obeyed.
    #[serde(default)]
    pub silent: Option<bool>,
}

/// The parameters of protocol 3's `node.pair.verify`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VerifyParams {
    /// The node.
    pub node_id: Text<1, 128>,
    /// The token that its approval gave it.
    pub token: Text<1, 256>,
}

/// A request that waits, as `node.pair.list` and `node.pair.requested` show it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PendingNode {
    /// The request.
    pub request_id: String,
    /// The node.
    pub node_id: String,
    /// What it calls itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// Its operating system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// Its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The version of its core.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub core_version: Option<String>,
    /// The version of its user interface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ui_version: Option<String>,
    /// The kind of machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_family: Option<String>,
    /// The model of the machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_identifier: Option<String>,
    /// The product's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// How it is used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_mode: Option<String>,
    /// What it can do, in groups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caps: Option<Vec<String>>,
    /// The commands that it asks to be approved for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commands: Option<Vec<String>>,
    /// The permissions of its system that it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permissions: Option<BTreeMap<String, bool>>,
    /// Its address, unless it is this host's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_ip: Option<String>,
    /// The scopes that an approval takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub required_approve_scopes: Option<Vec<String>>,
    /// Whether it comes from this host with the gateway's own secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silent: Option<bool>,
    /// Whether it has been approved before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_repair: Option<bool>,
    /// Epoch milliseconds of the request.
    pub ts: u64,
}

/// A node whose commands are approved, as `node.pair.list` and `node.pair.approve` show it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PairedNode {
    /// The node.
    pub node_id: String,
    /// Protocol 3's own pairing: the node's token, shown once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// What it is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// Its operating system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// Its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The version of its core.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub core_version: Option<String>,
    /// The version of its user interface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ui_version: Option<String>,
    /// The kind of machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_family: Option<String>,
    /// The model of the machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_identifier: Option<String>,
    /// What it may do, in groups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caps: Option<Vec<String>>,
    /// The commands that it is approved for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commands: Option<Vec<String>>,
    /// The permissions that were approved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permissions: Option<BTreeMap<String, bool>>,
    /// Its address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_ip: Option<String>,
    /// Epoch milliseconds of the first approval.
    pub created_at_ms: u64,
    /// Epoch milliseconds of the last approval.
    pub approved_at_ms: u64,
    /// Epoch milliseconds of its last connect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_connected_at_ms: Option<u64>,
}

/// The answer of `node.pair.list`.
#[derive(Clone, Debug, Serialize)]
pub struct NodePairList {
    /// Requests that wait, newest first.
    pub pending: Vec<PendingNode>,
    /// Approved nodes, the last approved first.
    pub paired: Vec<PairedNode>,
}

/// The answer of `node.pair.request`.
#[derive(Clone, Debug, Serialize)]
pub struct PairRequested {
    /// Always `pending`.
    pub status: &'static str,
    /// The request.
    pub request: PendingNode,
    /// Whether it is new.
    pub created: bool,
}

/// The answer of `node.pair.approve`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeApproved {
    /// The request.
    pub request_id: String,
    /// The node.
    pub node: PairedNode,
}

/// The answer of `node.pair.reject`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeRejected {
    /// The request.
    pub request_id: String,
    /// The node.
    pub node_id: String,
}

/// The answer of `node.pair.remove`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeRemoved {
    /// The node.
    pub node_id: String,
}

/// The answer of `node.pair.verify`.
#[derive(Clone, Debug, Serialize)]
pub struct Verified {
    /// Whether the token is the node's.
    pub ok: bool,
    /// The node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<PairedNode>,
}

/// The payload of `node.pair.resolved`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeResolved {
    /// The request; empty when the pairing was removed.
    pub request_id: String,
    /// The node.
    pub node_id: String,
    /// `approved`, `rejected` or `removed`.
    pub decision: &'static str,
    /// Epoch milliseconds.
    pub ts: u64,
}
