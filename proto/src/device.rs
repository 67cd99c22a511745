//! Paired devices and the requests that wait for approval, as `device.pair.list` shows them (spec 01 §5.1,
//! §5.6). Token values are not among the words: nothing here can carry one.

use serde::{Deserialize, Serialize};

use crate::params::{Count, Text};
use crate::{Role, Scopes};

/// The parameters of `device.pair.approve` and `device.pair.reject`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PairDecision {
    /// The request.
    pub request_id: Text<1, 128>,
}

/// The parameters of `device.pair.remove`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PairRemove {
    /// The device.
    pub device_id: Text<1, 128>,
}

/// The parameters of `device.pair.rename`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PairRename {
    /// The device.
    pub device_id: Text<1, 128>,
    /// What people call it.
    pub label: Text<0, 64>,
}

/// The parameters of `device.token.rotate` and `device.token.revoke`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenTarget {
    /// The device.
    pub device_id: Text<1, 128>,
    /// The role whose tokens are meant.
    pub role: Text<1, 32>,
}

/// The parameters of `device.token.rotate`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenRotate {
    /// The device.
    pub device_id: Text<1, 128>,
    /// The role whose tokens are replaced.
    pub role: Text<1, 32>,
    /// What the new token allows; as much as the old ones when left out.
    #[serde(default)]
    pub scopes: Option<Vec<Text<1, 64>>>,
}

/// The parameters of `device.scopes.requestUpgrade`.
#[derive(Clone, Debug, Deserialize)]
pub struct ScopesRequest {
    /// What the device wants to be approved for, its present scopes among it.
    pub scopes: Vec<Text<1, 64>>,
}

/// The parameters of `device.pair.setupCode`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SetupCodeParams {
    /// What the device becomes: `limited` (or `mobile`), `full` (or `mobile-full`), `node`, `control-ui` or
    /// `voice-node`.
    #[serde(default)]
    pub bootstrap_profile: Option<Text<1, 32>>,
    /// Where the device finds the gateway.
    #[serde(default)]
    pub public_url: Option<Text<1, 512>>,
    /// Other ways to it, at most seven.
    #[serde(default)]
    pub public_urls: Vec<Text<1, 512>>,
    /// How long the code is good.
    #[serde(default)]
    pub expires_in_ms: Option<Count<1_000, 600_000>>,
    /// Whether the address of a remote gateway goes first; this gateway knows its own only.
    #[serde(default)]
    pub prefer_remote_url: Option<bool>,
    /// Whether a picture of the code is wanted; clients draw it themselves.
    #[serde(default)]
    pub include_qr: Option<bool>,
    /// Whether a link to a page is wanted; there is none.
    #[serde(default)]
    pub join_url: Option<bool>,
}

/// The parameters of `device.pair.setupStatus`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SetupStatusParams {
    /// The code's name.
    pub setup_id: Text<1, 128>,
}

/// The result of `device.pair.approve`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PairApproved {
    /// The request.
    pub request_id: String,
    /// The device as it is approved now.
    pub device: PairedDevice,
}

/// The result of `device.pair.reject`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PairRejected {
    /// The request.
    pub request_id: String,
    /// Its device.
    pub device_id: String,
}

/// The result of `device.pair.remove`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PairRemoved {
    /// The device.
    pub device_id: String,
}

/// The result of `device.pair.rename`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PairRenamed {
    /// The device.
    pub device_id: String,
    /// What it is called now.
    pub label: String,
}

/// The result of `device.token.rotate`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenRotated {
    /// The device.
    pub device_id: String,
    /// The role.
    pub role: Role,
    /// The new token; for the device itself only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// v4: whether the token is here, `in-band` or `withheld-cross-device`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_delivery: Option<&'static str>,
    /// What the new token allows.
    pub scopes: Scopes,
    /// Epoch milliseconds.
    pub rotated_at_ms: u64,
}

/// The result of `device.token.revoke`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenRevoked {
    /// The device.
    pub device_id: String,
    /// The role.
    pub role: Role,
    /// Epoch milliseconds.
    pub revoked_at_ms: u64,
}

/// The result of `device.scopes.requestUpgrade`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ScopesRequested {
    /// The request that waits.
    pub request_id: String,
}

/// The result of `device.scopes.waitUpgrade`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UpgradeOutcome {
    /// `approved`, `rejected` or `expired`.
    pub status: &'static str,
    /// The request.
    pub request_id: String,
    /// The token with the new scopes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_token: Option<String>,
    /// What it allows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Scopes>,
}

/// The result of `device.pair.setupCode`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SetupCode {
    /// The code's name, which is no secret.
    pub setup_id: String,
    /// What the device reads: base64url of [`SetupPayload`].
    pub setup_code: String,
    /// Where the device finds the gateway.
    pub gateway_url: String,
    /// All ways to it, when there are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gateway_urls: Vec<String>,
    /// What other clients of this gateway show: `token` or `password`.
    pub auth: &'static str,
    /// From where the URL is: `params` or `listener`.
    pub url_source: &'static str,
    /// `full`, `limited` or `node`.
    pub access: &'static str,
    /// Epoch milliseconds.
    pub expires_at_ms: u64,
}

/// What a setup code holds. The gateway's own secret is not among it (spec 08 S-46).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SetupPayload {
    /// Where the device finds the gateway.
    pub url: String,
    /// Other ways to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    /// Good for one device, once.
    pub bootstrap_token: String,
    /// The fingerprint of the gateway's certificate, when it speaks TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_fingerprint: Option<String>,
    /// Epoch milliseconds.
    pub expires_at_ms: u64,
}

/// The result of `device.pair.setupStatus`: empty while the code waits.
#[derive(Clone, Debug, Default, Serialize)]
pub struct SetupStatus {
    /// Who has redeemed the code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completion: Option<SetupCompleted>,
}

/// The payload of `device.pair.setup.completed`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SetupCompleted {
    /// The code's name.
    pub setup_id: String,
    /// The device that redeemed it.
    pub device_id: String,
    /// What the client calls itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_name: Option<String>,
    /// `full`, `limited` or `node`.
    pub access: &'static str,
    /// Epoch milliseconds.
    pub ts: u64,
}

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
    /// v4: what people call it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operator_label: Option<String>,
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
    /// It connected from a network whose new nodes are trusted.
    TrustedCidr,
    /// It showed a setup code.
    Bootstrap,
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
    /// Epoch milliseconds at which the last ones were revoked, when there are none now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoked_at_ms: Option<u64>,
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
