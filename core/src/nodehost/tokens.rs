//! The device tokens of this node, by the origin of the gateway that gave them (spec 01 §4.6, 08 S-21).
//!
//! A token is shown to the origin that gave it and to nobody else.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::auth::Secret;

/// The gateways that are remembered; beyond it the token that is oldest is forgotten.
const MOST_GATEWAYS: usize = 64;

/// The longest token that is kept, in characters.
pub(super) const MOST_CHARS: usize = 4_096;

/// A token that a gateway gave to this node.
#[derive(Clone, Debug)]
pub struct DeviceToken {
    /// The token itself.
    pub token: Secret,
    /// When it was given, in epoch milliseconds of this machine.
    pub updated_at_ms: u64,
}

/// Every token of this node.
#[derive(Clone, Debug, Default)]
pub struct Tokens(BTreeMap<String, DeviceToken>);

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    version: u64,
    device_id: String,
    #[serde(default)]
    gateways: BTreeMap<String, Gateway>,
}

#[derive(Serialize, Deserialize)]
struct Gateway {
    tokens: BTreeMap<String, Entry>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    token: String,
    role: String,
    #[serde(default)]
    scopes: Vec<String>,
    updated_at_ms: u64,
}

impl Tokens {
    /// Reads the file. What is no token file, or belongs to another key, holds no tokens: the node pairs anew.
    pub fn read(text: &str, device_id: &str) -> Self {
        let Ok(file) = serde_json::from_str::<File>(text) else { return Self::default() };
        if file.version != 1 || file.device_id != device_id {
            return Self::default();
        }
        let tokens = file.gateways.into_iter().filter_map(|(origin, mut gateway)| {
            let entry = gateway.tokens.remove("node").filter(|entry| is_usable(&entry.token))?;
            Some((
                origin,
                DeviceToken { token: Secret::new(entry.token), updated_at_ms: entry.updated_at_ms },
            ))
        });
        Self(tokens.collect())
    }

    /// The text of the file.
    pub fn write(&self, device_id: &str) -> String {
        let entry = |token: &DeviceToken| Entry {
            token: token.token.expose().to_owned(),
            role: "node".to_owned(),
            scopes: Vec::new(),
            updated_at_ms: token.updated_at_ms,
        };
        let gateways = self.0.iter().map(|(origin, token)| {
            (origin.clone(), Gateway { tokens: BTreeMap::from([("node".to_owned(), entry(token))]) })
        });
        let file = File { version: 1, device_id: device_id.to_owned(), gateways: gateways.collect() };
        let mut text = serde_json::to_string_pretty(&file).unwrap_or_default();
        text.push('\n');
        text
    }

    /// The token for an origin.
    pub fn of(&self, origin: &str) -> Option<&DeviceToken> {
        self.0.get(origin)
    }

    /// Keeps or forgets the token of an origin.
    pub fn set(&mut self, origin: &str, token: Option<DeviceToken>) {
        match token {
            Some(token) => self.0.insert(origin.to_owned(), token),
            None => self.0.remove(origin),
        };
        while self.0.len() > MOST_GATEWAYS {
            let oldest = self.0.iter().min_by_key(|(_, token)| token.updated_at_ms);
            let Some(oldest) = oldest.map(|(origin, _)| origin.clone()) else { return };
            self.0.remove(&oldest);
        }
    }
}

/// Whether a text can be a token at all.
pub(super) fn is_usable(token: &str) -> bool {
    !token.trim().is_empty() && token.len() <= MOST_CHARS
}
