//! Nodes: what they are called with, what they answer, and how lists show them (spec 03 §2).

mod pair;
mod work;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Json;
use crate::params::{Count, Text};

pub use pair::*;
pub use work::*;

/// The longest wait that a caller may ask for, in milliseconds: that of a timer in the reference.
pub const MAX_WAIT_MS: u64 = 2_147_483_647;

/// The parameters of methods that name a node.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeParams {
    /// The node.
    pub node_id: Text,
}

/// The parameters of `node.rename`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RenameParams {
    /// The node.
    pub node_id: Text,
    /// What it is to be called.
    pub display_name: Text<1, 256>,
}

/// The answer of `node.rename`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Renamed {
    /// The node.
    pub node_id: String,
    /// What it is called now.
    pub display_name: String,
}

/// The parameters of `node.invoke`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InvokeParams {
    /// The node.
    pub node_id: Text,
    /// What it is to do.
    pub command: Text,
    /// The command's own parameters.
    #[serde(default)]
    pub params: Option<Value>,
    /// How long to wait, in milliseconds.
    #[serde(default)]
    pub timeout_ms: Option<Count<0, MAX_WAIT_MS>>,
    /// Passed on to the node; the gateway itself invokes again when asked again.
    pub idempotency_key: Text<1, 256>,
    /// v4: the session on whose behalf.
    #[serde(default)]
    pub session_key: Option<Text>,
    /// v4: the channel on whose behalf.
    #[serde(default)]
    pub turn_source_channel: Option<String>,
    /// v4: the same, whom it answers.
    #[serde(default)]
    pub turn_source_to: Option<String>,
    /// v4: the same, by which account.
    #[serde(default)]
    pub turn_source_account_id: Option<String>,
    /// v4: the same, in which thread.
    #[serde(default)]
    pub turn_source_thread_id: Option<Value>,
}

/// The answer of `node.invoke`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Invoked {
    /// Always true.
    pub ok: bool,
    /// The node.
    pub node_id: String,
    /// What it did.
    pub command: String,
    /// What it answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<Json>,
    /// The same as the node wrote it, or null.
    #[serde(rename = "payloadJSON")]
    pub payload_json: Option<String>,
}

/// The payload of `node.invoke.request`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InvokeRequest<'a> {
    /// To be named in the result.
    pub id: &'a str,
    /// The node.
    pub node_id: &'a str,
    /// What it is to do.
    pub command: &'a str,
    /// The command's parameters as JSON text, or null.
    #[serde(rename = "paramsJSON")]
    pub params_json: Option<&'a str>,
    /// How long the caller waits, when it has said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// The caller's key.
    pub idempotency_key: &'a str,
}

/// The payload of `node.invoke.cancel`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InvokeCancel<'a> {
    /// The id of the request.
    pub id: &'a str,
    /// The node.
    pub node_id: &'a str,
    /// Why nobody waits any more.
    pub reason: &'static str,
}

/// The parameters of `node.invoke.result`. What the reference repairs before it validates is read leniently.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InvokeResultParams {
    /// The request.
    pub id: Text,
    /// The node.
    pub node_id: Text,
    /// Whether it was done.
    pub ok: bool,
    /// What came of it.
    #[serde(default)]
    pub payload: Option<Value>,
    /// The same as JSON text; anything else stands for `payload`.
    #[serde(default, rename = "payloadJSON")]
    pub payload_json: Option<Value>,
    /// What went wrong.
    #[serde(default)]
    pub error: Option<NodeError>,
}

/// What went wrong on a node, in its own words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeError {
    /// A word for programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// A sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// The parameters of `node.invoke.progress`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProgressParams {
    /// The request.
    pub invoke_id: Text,
    /// The node.
    pub node_id: Text,
    /// The piece's number; it rises.
    pub seq: Count,
    /// A piece of output.
    pub chunk: Text<0, 16_384>,
}

/// The answer to what a node reports about an invocation.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Heard {
    /// Always true.
    pub ok: bool,
    /// Nobody waits for it: it is late, or was asked of another connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ignored: Option<bool>,
}

/// The parameters of `node.event`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EventParams {
    /// What happened.
    pub event: Text<1, 128>,
    /// Its particulars.
    #[serde(default)]
    pub payload: Option<Value>,
    /// The same as JSON text.
    #[serde(default, rename = "payloadJSON")]
    pub payload_json: Option<Value>,
}

/// The answer of `node.event`; protocol 3 knows `ok` alone.
#[derive(Clone, Debug, Serialize)]
pub struct EventHeard {
    /// Always true.
    pub ok: bool,
    /// v4: the event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// v4: whether anything came of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handled: Option<bool>,
    /// v4: what, or why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
}

/// The answer of `skills.bins`.
#[derive(Clone, Debug, Serialize)]
pub struct SkillBins {
    /// Programs that skills of this gateway need on a node.
    pub bins: Vec<String>,
}

/// The answer of `node.list`.
#[derive(Clone, Debug, Serialize)]
pub struct NodeList {
    /// Epoch milliseconds of the answer.
    pub ts: u64,
    /// The nodes, connected ones first, then by name.
    pub nodes: Vec<NodeRow>,
}

/// The answer of `node.describe`.
#[derive(Clone, Debug, Serialize)]
pub struct Described {
    /// Epoch milliseconds of the answer.
    pub ts: u64,
    /// The node.
    #[serde(flatten)]
    pub node: NodeRow,
}

/// A node as lists show it. What is not known is left out.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeRow {
    /// Its id: its device's.
    pub node_id: String,
    /// What it is called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// Its operating system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// Its version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The kind of machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_family: Option<String>,
    /// The model of the machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_identifier: Option<String>,
    /// Its address, unless it is this host's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote_ip: Option<String>,
    /// What it can do, in groups.
    pub caps: Vec<String>,
    /// The commands that it can be asked for now.
    pub commands: Vec<String>,
    /// The permissions of its system that it holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub permissions: Option<BTreeMap<String, bool>>,
    /// Where its system looks for programs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_env: Option<String>,
    /// Epoch milliseconds of its connect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connected_at_ms: Option<u64>,
    /// Whether its device is paired as a node.
    pub paired: bool,
    /// Whether a connection of it is open.
    pub connected: bool,
    /// What protocol 4 adds.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub more: Option<NodeRowMore>,
}

/// What protocol 4 adds to a row.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeRowMore {
    /// The product's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// How it is used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_mode: Option<String>,
    /// `approved`, `pending-approval`, `pending-reapproval` or `unapproved`.
    pub approval_state: &'static str,
    /// The request that waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pending_request_id: Option<String>,
    /// The capabilities that it asks for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pending_declared_caps: Option<Vec<String>>,
    /// The commands that it asks for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pending_declared_commands: Option<Vec<String>>,
    /// The permissions that it asks for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pending_declared_permissions: Option<BTreeMap<String, bool>>,
    /// Epoch milliseconds of the last approval of what it can do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approved_at_ms: Option<u64>,
    /// Epoch milliseconds of its last connect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_connected_at_ms: Option<u64>,
    /// Epoch milliseconds of the end of its last connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_disconnected_at_ms: Option<u64>,
    /// Epoch milliseconds of its last sign of life.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_seen_at_ms: Option<u64>,
    /// What that sign was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_seen_reason: Option<String>,
    /// Epoch milliseconds of the last use by a person that it told of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_active_at_ms: Option<u64>,
    /// Epoch milliseconds of the last word about its use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub presence_updated_at_ms: Option<u64>,
    /// Whether somebody uses it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active: Option<bool>,
    /// Load, memory and disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_stats: Option<Json>,
}

/// The payload of `node.presence`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodePresence {
    /// The node.
    pub node_id: String,
    /// Whether a connection of it is open.
    pub connected: bool,
    /// Whether somebody uses it, if it has told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active: Option<bool>,
    /// Epoch milliseconds of the last use by a person.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_active_at_ms: Option<u64>,
    /// `connect`, `disconnect`, `activity` or `alive`.
    pub reason: &'static str,
    /// Epoch milliseconds.
    pub ts: u64,
}

/// The payload of `node.hostStats`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HostStatsEvent {
    /// The node.
    pub node_id: String,
    /// Load, memory and disk.
    pub host_stats: Json,
}
