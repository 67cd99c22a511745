//! The handshake: the challenge, the connect parameters and the hello that answers them (spec 01 §2).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::params::{Count, Text};
use crate::{Json, Protocol, Role, Scopes, StateVersion};

/// The payload of `connect.challenge`.
#[derive(Clone, Debug, Serialize)]
pub struct Challenge {
    /// A fresh random UUID; what the device signs.
    pub nonce: String,
    /// The gateway's clock in epoch milliseconds; v4 clients sign with it.
    pub ts: u64,
}

/// The parameters of `connect`, of either dialect. Unknown members are ignored.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConnectParams {
    /// The lowest protocol the client speaks.
    #[serde(default)]
    pub min_protocol: Option<Count<1>>,
    /// The highest protocol the client speaks.
    #[serde(default)]
    pub max_protocol: Option<Count<1>>,
    /// What the client says it is.
    pub client: ClientInfo,
    /// Client capabilities, such as `tool-events`.
    #[serde(default)]
    pub caps: Vec<Text>,
    /// Commands that a node offers.
    #[serde(default)]
    pub commands: Vec<Text>,
    /// Permissions that a node holds.
    #[serde(default)]
    pub permissions: BTreeMap<String, bool>,
    /// Where a node's system looks for programs.
    #[serde(default)]
    pub path_env: Option<String>,
    /// `operator` when absent.
    #[serde(default)]
    pub role: Option<Text>,
    /// The scopes asked for.
    #[serde(default)]
    pub scopes: Option<Vec<Text>>,
    /// The device's proof.
    #[serde(default)]
    pub device: Option<DeviceProof>,
    /// Credentials of the native dialect.
    #[serde(default)]
    pub auth: Option<AuthParams>,
    /// Plain dialect: the shared token.
    #[serde(default)]
    pub token: Option<String>,
    /// Plain dialect: the shared password.
    #[serde(default)]
    pub password: Option<String>,
    /// Plain dialect: a device token.
    #[serde(default)]
    pub device_token: Option<String>,
    /// The user agent of a browser.
    #[serde(default)]
    pub user_agent: Option<String>,
    /// The user's locale.
    #[serde(default)]
    pub locale: Option<String>,
}

/// What a client declares about itself. None of it is verified.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClientInfo {
    /// The product's id.
    pub id: Text,
    /// The name to show.
    #[serde(default)]
    pub display_name: Option<Text>,
    /// The client's version.
    #[serde(default)]
    pub version: Option<Text>,
    /// The operating system.
    #[serde(default)]
    pub platform: Option<Text>,
    /// The kind of machine.
    #[serde(default)]
    pub device_family: Option<Text>,
    /// The model of the machine.
    #[serde(default)]
    pub model_identifier: Option<Text>,
    /// How the client is used: `cli`, `ui`, `webchat`, …
    #[serde(default)]
    pub mode: Option<Text>,
    /// Stable per installation or tab.
    #[serde(default)]
    pub instance_id: Option<Text>,
    /// The IANA time zone.
    #[serde(default)]
    pub time_zone: Option<String>,
}

/// Credentials of the native dialect.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuthParams {
    /// The shared token, or a device token of v3 clients.
    #[serde(default)]
    pub token: Option<String>,
    /// The shared password.
    #[serde(default)]
    pub password: Option<String>,
    /// A device token.
    #[serde(default)]
    pub device_token: Option<String>,
    /// A setup code's token.
    #[serde(default)]
    pub bootstrap_token: Option<String>,
}

/// A device's proof that it holds its private key (spec 01 §4).
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceProof {
    /// Lower-case hex SHA-256 of the raw public key.
    pub id: Text,
    /// PEM, or base64 of the 32 raw bytes.
    pub public_key: Text,
    /// base64 of the Ed25519 signature.
    pub signature: Text,
    /// Epoch milliseconds.
    pub signed_at: Count,
    /// The challenge's nonce.
    #[serde(default)]
    pub nonce: Option<String>,
}

/// The payload that answers a successful connect.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HelloOk {
    /// Always `hello-ok`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The negotiated protocol.
    pub protocol: Protocol,
    /// Who answers.
    pub server: ServerInfo,
    /// What exists.
    pub features: Features,
    /// The state to start from.
    pub snapshot: Snapshot,
    /// What was granted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth: Option<HelloAuth>,
    /// The limits that are enforced.
    pub policy: Policy,
}

/// The gateway as a hello names it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerInfo {
    /// The gateway's version.
    pub version: String,
    /// v3: the host's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// This connection's id.
    pub conn_id: String,
    /// v4: new at each start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boot_id: Option<String>,
    /// v4: `configured`, which switches the Control UI's build check off (D6).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control_ui_build_source: Option<&'static str>,
}

/// The methods and events that exist for the negotiated protocol.
#[derive(Clone, Debug, Serialize)]
pub struct Features {
    /// Method names.
    pub methods: Vec<&'static str>,
    /// Event names.
    pub events: Vec<&'static str>,
    /// v4: promises beyond methods and events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Vec<&'static str>>,
}

/// The state a client starts from.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    /// Who is connected; empty for a client that may not see it.
    pub presence: Json,
    /// The last health summary, or `{}`.
    pub health: Json,
    /// Their versions.
    pub state_version: StateVersion,
    /// How long the gateway has been up, in milliseconds.
    pub uptime_ms: u64,
    /// Where the configuration is; for admins only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_path: Option<String>,
    /// Where the state is; for admins only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state_dir: Option<String>,
    /// The keys that stand for the main session.
    pub session_defaults: SessionDefaults,
    /// v4, admins only: the configured mode.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_mode: Option<&'static str>,
    /// v4: whether new work is accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suspension: Option<Suspension>,
}

/// v4: whether new work is accepted.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Suspension {
    /// `accepting` or `draining`.
    pub phase: &'static str,
}

/// The keys that stand for the main session (spec 02 §3.2).
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionDefaults {
    /// The agent of keys that name none.
    pub default_agent_id: String,
    /// The word for the main session.
    pub main_key: String,
    /// The main session's canonical key.
    pub main_session_key: String,
    /// `per-sender` or `global`.
    pub scope: &'static str,
    /// v4: whether a model is there to answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_configured: Option<bool>,
}

/// What was granted.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HelloAuth {
    /// v4: how the connection proved itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<&'static str>,
    /// The role.
    pub role: Role,
    /// The scopes in force.
    pub scopes: Scopes,
    /// The device's token for the next connect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_token: Option<String>,
    /// When that token was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issued_at_ms: Option<u64>,
    /// v4: further tokens of a device that has redeemed a setup code, for its other roles.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub device_tokens: Vec<RoleToken>,
    /// Scopes that were asked for and are not in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub withheld_scopes: Option<Scopes>,
    /// Why they are not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub withheld_reason: Option<&'static str>,
}

/// A device's token for one role.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RoleToken {
    /// The token.
    pub device_token: String,
    /// The role.
    pub role: Role,
    /// What it allows.
    pub scopes: Scopes,
    /// When it was made.
    pub issued_at_ms: u64,
}

/// The limits that are enforced on this connection.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Policy {
    /// The largest message the client may send, in bytes.
    pub max_payload: u64,
    /// How many bytes of events may wait for the client.
    pub max_buffered_bytes: u64,
    /// The interval of `tick`.
    pub tick_interval_ms: u64,
    /// v4: the sizes of attachments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attachments: Option<AttachmentPolicy>,
}

/// v4: the sizes of attachments, in decoded bytes.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AttachmentPolicy {
    /// Any attachment.
    pub max_bytes: u64,
    /// An image.
    pub max_image_bytes: u64,
}
