//! Presence, health and system events (spec 02 §17, 03 §9).

use serde::{Deserialize, Serialize};

/// One row of the presence list (spec 01 §7.2).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PresenceEntry {
    /// The name to show.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The address; absent for local clients.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    /// The client's version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The operating system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// The kind of machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_family: Option<String>,
    /// The model of the machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_identifier: Option<String>,
    /// How the client is used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// Seconds since the last input of its user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_input_seconds: Option<u64>,
    /// What caused the last change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_id: Option<String>,
    /// Roles seen under this entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub roles: Option<Vec<String>>,
    /// Scopes seen under this entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<String>>,
    /// The installation or tab.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance_id: Option<String>,
    /// The line to show.
    pub text: String,
    /// Epoch milliseconds of the last sign of life.
    pub ts: u64,
}

impl PresenceEntry {
    /// Keeps what `old` knew and this entry does not; roles and scopes are united.
    pub fn inherit(&mut self, old: Self) {
        self.host = self.host.take().or(old.host);
        self.ip = self.ip.take().or(old.ip);
        self.version = self.version.take().or(old.version);
        self.platform = self.platform.take().or(old.platform);
        self.device_family = self.device_family.take().or(old.device_family);
        self.model_identifier = self.model_identifier.take().or(old.model_identifier);
        self.mode = self.mode.take().or(old.mode);
        self.last_input_seconds = self.last_input_seconds.or(old.last_input_seconds);
        self.reason = self.reason.take().or(old.reason);
        self.device_id = self.device_id.take().or(old.device_id);
        self.instance_id = self.instance_id.take().or(old.instance_id);
        self.roles = united(self.roles.take(), old.roles);
        self.scopes = united(self.scopes.take(), old.scopes);
    }
}

fn united(a: Option<Vec<String>>, b: Option<Vec<String>>) -> Option<Vec<String>> {
    match (a, b) {
        (Some(mut a), Some(b)) => {
            a.extend(b);
            a.sort();
            a.dedup();
            Some(a)
        }
        (a, b) => a.or(b),
    }
}
