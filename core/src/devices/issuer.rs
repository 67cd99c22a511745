//! Tokens of web pages end with the secret that brought them (spec 01 §5.1).
//!
//! Somebody who typed the gateway's secret into a page has a token in that browser from then on. When the secret
//! is changed because others have learnt it, what they got with it must not stay. So such a token remembers the
//! secret: as a hash that is different for each token and good for nothing else.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::Devices;
use crate::auth::Secret;
use crate::entropy::hex;
use crate::gateway::Gateway;
use crate::ids::DeviceId;
use telson_proto::Role;

/// What keeps this hash apart from every other use of a secret (spec 08 S-15).
const LABEL: &str = "telson device token issuer 1";

/// Under which secret a token was handed out: lower-case hex SHA-256 of a label, the token's hash and the secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Issuer(String);

impl Issuer {
    /// The secret, as the token of this hash remembers it.
    pub(super) fn of(secret: &Secret, token: &str) -> Self {
        let parts = [LABEL, token, secret.expose()];
        let digest = parts.into_iter().fold(Sha256::new(), |digest, part| {
            let length = u64::try_from(part.len()).unwrap_or(u64::MAX);
            digest.chain_update(length.to_be_bytes()).chain_update(part.as_bytes())
        });
        Self(hex(digest.finalize().as_slice()))
    }

    /// Whether the token of this hash was handed out under this secret.
    pub(super) fn is(&self, secret: &Secret, token: &str) -> bool {
        Self::of(secret, token).0.as_bytes().ct_eq(self.0.as_bytes()).into()
    }
}

impl Devices {
    /// The token was handed to a page that had shown this secret.
    pub(crate) fn bind_token(&mut self, device: &DeviceId, role: Role, value: &str, secret: &Secret) {
        if let Some(record) = self.paired.get_mut(device) {
            record.bind(role, value, secret);
            self.unsaved.insert(device.clone());
        }
    }

    /// Ends the tokens that pages got under another secret than this. The hashes of those that ended, and the
    /// devices whose rows are behind now.
    fn end_page_tokens(&mut self, secret: Option<&Secret>) -> (Vec<String>, Vec<DeviceId>) {
        let (mut hashes, mut devices) = (Vec::new(), Vec::new());
        for (device, record) in &mut self.paired {
            let ended = record.end_of_other_secrets(secret);
            if !ended.is_empty() {
                self.unsaved.insert(device.clone());
                devices.push(device.clone());
                hashes.extend(ended);
            }
        }
        (hashes, devices)
    }
}

impl Gateway {
    /// Ends the tokens that pages got under another secret than the one in force, and writes that down. Returns
    /// the hashes of those that ended. A row that cannot be written is written with the device's next connect;
    /// until then the tokens end anew at each start.
    pub(crate) fn end_page_tokens(&mut self) -> Vec<String> {
        let secret = self.settings.auth.mode.secret().cloned();
        let (hashes, devices) = self.devices.end_page_tokens(secret.as_ref());
        for device in devices {
            if let Some(op) = self.devices.save(&device) {
                self.store(vec![op], move |gateway, result| gateway.devices.saved(&device, result.is_ok()));
            }
        }
        hashes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_token_remembers_the_secret_in_its_own_way() {
        let (one, two) = (Secret::new("the secret"), Secret::new("another secret"));
        let issuer = Issuer::of(&one, "token a");
        assert!(issuer.is(&one, "token a"));
        assert!(!issuer.is(&two, "token a") && !issuer.is(&one, "token b"));
        assert_ne!(issuer, Issuer::of(&one, "token b"));
        assert_ne!(Issuer::of(&Secret::new("bc"), "a"), Issuer::of(&Secret::new("c"), "ab"));
        assert_ne!(issuer.0, super::super::hash("the secret"));
    }
}
