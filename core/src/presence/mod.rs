//! Who is connected, as every client may see it (spec 01 §7.2, 03 §9.4).
//!
//! An entry appears with a connection, is keyed by device, instance or connection, and stays while the
//! connection lives. An entry without a connection is forgotten five minutes after its last sign of life.
//! Each change raises the presence version; changes within one turn are announced once.

use std::collections::BTreeMap;

use serde::Serialize;
use telson_proto::system::PresenceEntry;
use telson_proto::{Json, Protocol, Role};

use crate::auth::{Client, Principal};
use crate::ids::{ConnId, DeviceId};
use crate::limits;
use crate::settings::Facts;
use crate::time::Now;

/// The entries. See the [module documentation](self).
pub struct Presence {
    entries: BTreeMap<String, PresenceEntry>,
    /// The key of each connection that has an entry.
    keys: BTreeMap<ConnId, String>,
    own: PresenceEntry,
    version: u64,
    changed: bool,
}

#[derive(Serialize)]
struct Announcement {
    presence: Vec<PresenceEntry>,
}

impl Presence {
    /// The gateway alone.
    pub(crate) fn new(facts: &Facts, now: Now) -> Self {
        let own = PresenceEntry {
            host: Some(facts.host.clone()),
            ip: facts.ip.clone(),
            version: Some(facts.version.clone()),
            platform: Some(facts.platform.clone()),
            device_family: Some(facts.device_family.clone()),
            mode: Some("gateway".to_owned()),
            reason: Some("self".to_owned()),
            text: own_text(facts),
            ts: now.wall,
            ..PresenceEntry::default()
        };
        Self { entries: BTreeMap::new(), keys: BTreeMap::new(), own, version: 1, changed: false }
    }

    /// A connection is in. Short-lived clients leave no trace: `cli` in protocol 3, `cli`, `backend` and `probe`
    /// in protocol 4.
    pub(crate) fn connected(&mut self, now: Now, conn: ConnId, principal: &Principal) {
        let client = principal.declared.shown();
        let fleeting = match principal.protocol {
            Protocol::V3 => client.mode == "cli",
            Protocol::V4 => matches!(client.mode.as_str(), "cli" | "backend" | "probe"),
        };
        if fleeting {
            return;
        }
        let key = key_of(conn, principal, client);
        let entry = entry_of(now, principal, client);
        self.keys.insert(conn, key.clone());
        self.upsert(key, entry);
    }

    /// A connection is gone. Its entry stays for a while with reason `disconnect`, unless a newer connection
    /// of the same device has taken it over.
    pub(crate) fn gone(&mut self, now: Now, conn: ConnId) {
        let Some(key) = self.keys.remove(&conn) else { return };
        if self.keys.values().any(|other| *other == key) {
            return;
        }
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.reason = Some("disconnect".to_owned());
            entry.ts = now.wall;
            self.touch();
        }
    }

    /// A sign of life of a connection; it ages no entry and is no change.
    pub(crate) fn alive(&mut self, now: Now, conn: ConnId) {
        if let Some(entry) = self.keys.get(&conn).and_then(|key| self.entries.get_mut(key)) {
            entry.ts = now.wall;
        }
    }

    /// A beacon of method `system-event`: merges into the entry of `key`. Returns what it was before.
    pub(crate) fn beacon(&mut self, key: &str, entry: PresenceEntry) -> Option<PresenceEntry> {
        let key = key.to_lowercase();
        let before = self.entries.get(&key).cloned();
        self.upsert(key, entry);
        before
    }

    /// Every entry, newest first, the gateway's own among them.
    pub(crate) fn list(&mut self, now: Now) -> Vec<PresenceEntry> {
        self.own.ts = now.wall;
        self.forget_old(now);
        let mut list: Vec<_> = self.entries.values().cloned().collect();
        list.push(self.own.clone());
        list.sort_by(|a, b| b.ts.cmp(&a.ts).then_with(|| a.text.cmp(&b.text)));
        list
    }

    /// The payload to publish if anything changed since the last call.
    pub(crate) fn announcement(&mut self, now: Now) -> Option<Json> {
        let changed = std::mem::take(&mut self.changed);
        changed.then(|| Json::of(&Announcement { presence: self.list(now) }))
    }

    /// Raised by each change.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    fn touch(&mut self) {
        self.version += 1;
        self.changed = true;
    }

    fn upsert(&mut self, key: String, mut entry: PresenceEntry) {
        if let Some(old) = self.entries.remove(&key) {
            entry.inherit(old);
        }
        self.entries.insert(key, entry);
        self.touch();
        self.bound();
    }

    /// Keeps at most [`limits::PRESENCE_ENTRIES`]: the oldest without a connection goes, then the oldest.
    fn bound(&mut self) {
        while self.entries.len() as u64 > limits::PRESENCE_ENTRIES {
            let connected = |key: &String| self.keys.values().any(|live| live == key);
            let oldest = self.entries.iter().min_by_key(|(key, entry)| (connected(key), entry.ts));
            let Some(key) = oldest.map(|(key, _)| key.clone()) else { return };
            self.entries.remove(&key);
        }
    }

    fn forget_old(&mut self, now: Now) {
        let keys = &self.keys;
        let oldest = now.wall.saturating_sub(limits::PRESENCE_TTL_MS);
        self.entries.retain(|key, entry| entry.ts >= oldest || keys.values().any(|live| live == key));
    }
}

fn key_of(conn: ConnId, principal: &Principal, client: &Client) -> String {
    let by_device = principal.protocol == Protocol::V3 || principal.role == Role::Node;
    let stable = principal.device.as_ref().map(DeviceId::as_str).or(client.instance_id.as_deref());
    match stable.filter(|_| by_device) {
        Some(key) => key.trim().to_lowercase(),
        None => format!("conn-{conn}"),
    }
}

fn entry_of(now: Now, principal: &Principal, client: &Client) -> PresenceEntry {
    let device_id = principal.device.as_ref().map(ToString::to_string);
    let host = client.name().to_owned();
    PresenceEntry {
        ip: (!principal.local).then(|| principal.addr.to_string()),
        version: client.version.clone(),
        platform: client.platform.clone(),
        device_family: client.device_family.clone(),
        model_identifier: client.model_identifier.clone(),
        mode: Some(client.mode.clone()).filter(|mode| !mode.is_empty()),
        reason: Some("connect".to_owned()),
        roles: Some(vec![principal.role.to_string()]),
        scopes: Some(principal.scopes.iter().map(|scope| scope.to_string()).collect()),
        instance_id: device_id.clone().or_else(|| client.instance_id.clone()),
        device_id,
        text: format!(
            "Node: {host} · mode {}",
            if client.mode.is_empty() { "unknown" } else { &client.mode }
        ),
        host: Some(host),
        ts: now.wall,
        ..PresenceEntry::default()
    }
}

fn own_text(facts: &Facts) -> String {
    let ip = facts.ip.as_deref().map(|ip| format!(" ({ip})")).unwrap_or_default();
    format!("Gateway: {}{ip} · app {} · mode gateway · reason self", facts.host, facts.version)
}

#[cfg(test)]
mod tests;
