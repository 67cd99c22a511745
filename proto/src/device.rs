//! Paired devices and the requests that wait for approval, as `device.pair.list` shows them (spec 01 §5.1,
//! §5.6). Token values are not among the words: nothing here can carry one.

use serde::{Deserialize, Serialize};

use crate::{Role, Scopes};

/// The result of `device.pair.list`.
#[derive(Clone, Debug, Serialize)]
pub struct PairList {
    /// Requests that wait, newest first.
    pub pending: Vec<PendingDevice>,
    /// Paired devices, the last approved first.
    pub paired: Vec<PairedDevice>,
}

/// A device that asks to be paired, or for more than it was approved for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PendingDevice {
    /// The request's name, a UUID.
    pub request_id: String,
    /// The device.
    pub device_id: String,
    /// Its key in unpadded base64url.
    pub public_key: String,
    /// What the client calls itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// The operating system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// v4: the kind of machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_family: Option<String>,
    /// The product's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// How the client is used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_mode: Option<String>,
    /// v4: the page's origin, for browsers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub browser_origin: Option<String>,
    /// The role asked for last.
    pub role: Role,
    /// The roles asked for.
    pub roles: Vec<Role>,
    /// The scopes asked for.
    pub scopes: Scopes,
    /// The address; absent for local clients.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote_ip: Option<String>,
    /// Whether it may be approved without asking anybody.
    pub silent: bool,
    /// Whether the device is paired already.
    pub is_repair: bool,
    /// Epoch milliseconds of the request.
    pub ts: u64,
}

/// A paired device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PairedDevice {
    /// The device.
    pub device_id: String,
    /// Its key in unpadded base64url.
    pub public_key: String,
    /// What the client calls itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// The operating system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// v4: the kind of machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_family: Option<String>,
    /// The product's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// How the client is used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_mode: Option<String>,
    /// The role it connected in last.
    pub role: Role,
    /// The roles it is approved for.
    pub roles: Vec<Role>,
    /// The scopes it is approved for.
    pub scopes: Scopes,
    /// The address; absent for local clients.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote_ip: Option<String>,
    /// v4: how it was approved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approved_via: Option<ApprovedVia>,
    /// Epoch milliseconds of the first approval.
    pub created_at_ms: u64,
    /// Epoch milliseconds of the last approval.
    pub approved_at_ms: u64,
    /// v4: epoch milliseconds of its last connect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_seen_at_ms: Option<u64>,
    /// Its tokens, one row for each role, by role; left out when it has none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tokens: Vec<TokenSummary>,
    /// v4: whether a connection of it is open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connected: Option<bool>,
}

/// How a device was approved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ApprovedVia {
    /// Somebody with the right to do so approved it.
    Owner,
    /// It connected directly from the gateway's own host.
    Silent,
}

/// What may be told about the tokens of one role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenSummary {
    /// The role they are good for.
    pub role: Role,
    /// The scopes they carry.
    pub scopes: Scopes,
    /// Epoch milliseconds of the first token.
    pub created_at_ms: u64,
    /// Epoch milliseconds of the newest token, when it is not the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotated_at_ms: Option<u64>,
    /// Epoch milliseconds of the last connect with one of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_used_at_ms: Option<u64>,
}

/// The payload of `device.pair.resolved`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PairResolved {
    /// The request.
    pub request_id: String,
    /// The device.
    pub device_id: String,
    /// `approved` or `rejected`.
    pub decision: &'static str,
    /// Epoch milliseconds.
    pub ts: u64,
}
