//! Work that waits for a node (spec 03 §2.10).

use serde::{Deserialize, Serialize};

use crate::params::{Count, Text};

/// What can wait for a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WorkKind {
    /// It is to tell how it is.
    #[serde(rename = "status.request")]
    Status,
    /// It is to tell where it is.
    #[serde(rename = "location.request")]
    Location,
}

/// How soon work is to be done; the order is that of delivery.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// Before the rest.
    High,
    /// As usual.
    #[default]
    Normal,
    /// What every node is asked for.
    Default,
}

/// The parameters of `node.pending.enqueue`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EnqueueParams {
    /// The node.
    pub node_id: Text,
    /// What it is to do.
    #[serde(rename = "type")]
    pub kind: WorkKind,
    /// How soon.
    #[serde(default)]
    pub priority: Option<AskedPriority>,
    /// How long it may wait, in milliseconds.
    #[serde(default)]
    pub expires_in_ms: Option<Count<1_000, 86_400_000>>,
    /// Whether to wake a node that is not connected; there is nothing here that could.
    #[serde(default)]
    pub wake: Option<bool>,
}

/// The priorities that can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AskedPriority {
    /// As usual.
    Normal,
    /// Before the rest.
    High,
}

/// Work that waits for a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkItem {
    /// Its name.
    pub id: String,
    /// What is to be done.
    #[serde(rename = "type")]
    pub kind: WorkKind,
    /// How soon.
    pub priority: Priority,
    /// Epoch milliseconds since when it waits.
    pub created_at_ms: u64,
    /// Epoch milliseconds until which it waits; null for what is always asked.
    pub expires_at_ms: Option<u64>,
}

/// The answer of `node.pending.enqueue`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Enqueued {
    /// The node.
    pub node_id: String,
    /// Raised by each change of the queue.
    pub revision: u64,
    /// What waits.
    pub queued: WorkItem,
    /// Whether the node is being woken.
    pub wake_triggered: bool,
}

/// The parameters of `node.pending.drain`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DrainParams {
    /// At most so many.
    #[serde(default)]
    pub max_items: Option<Count<1, 10>>,
}

/// The answer of `node.pending.drain`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Drained {
    /// The node.
    pub node_id: String,
    /// Raised by each change of the queue.
    pub revision: u64,
    /// What is to be done, most urgent first.
    pub items: Vec<WorkItem>,
    /// Whether more waits.
    pub has_more: bool,
}

/// A command that a node could not take while it was in the background.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkAction {
    /// Its name.
    pub id: String,
    /// What is to be done.
    pub command: String,
    /// The command's parameters as JSON text, or null.
    #[serde(rename = "paramsJSON")]
    pub params_json: Option<String>,
    /// Epoch milliseconds since when it waits.
    pub enqueued_at_ms: u64,
}

/// The answer of `node.pending.pull`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Pulled {
    /// The node.
    pub node_id: String,
    /// What is to be done, oldest first.
    pub actions: Vec<WorkAction>,
}

/// The parameters of `node.pending.ack`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AckParams {
    /// What was done.
    pub ids: Vec<Text<1, 128>>,
}

/// The answer of `node.pending.ack`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Acked {
    /// The node.
    pub node_id: String,
    /// What waits no longer.
    pub acked_ids: Vec<String>,
    /// How much still waits.
    pub remaining_count: usize,
}
