//! A device identity, as clients keep one (spec 01 §4).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signer as _, SigningKey};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// A device with a key pair.
pub struct Device {
    key: SigningKey,
}

/// What a device signs beside its own id.
pub struct Claim<'a> {
    /// `client.id`.
    pub client_id: &'a str,
    /// `client.mode`.
    pub client_mode: &'a str,
    /// `operator` or `node`.
    pub role: &'a str,
    /// The scopes asked for.
    pub scopes: &'a [&'a str],
    /// `auth.token`, empty without one.
    pub token: &'a str,
    /// `client.platform`.
    pub platform: &'a str,
}

impl Device {
    /// The device whose key is made of this byte.
    pub fn new(seed: u8) -> Self {
        Self { key: SigningKey::from_bytes(&[seed; 32]) }
    }

    /// Its id: the hash of its public key.
    pub fn id(&self) -> String {
        Sha256::digest(self.key.verifying_key().as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The `device` member of a connect request, signed in the third form.
    pub fn proof(&self, claim: &Claim<'_>, challenge: &Value) -> Value {
        let nonce = challenge["nonce"].as_str().expect("a challenge has a nonce");
        let signed_at = challenge["ts"].as_u64().expect("a challenge has a time");
        let payload = [
            "v3",
            &self.id(),
            claim.client_id,
            claim.client_mode,
            claim.role,
            &claim.scopes.join(","),
            &signed_at.to_string(),
            claim.token,
            nonce,
            &claim.platform.to_lowercase(),
            "",
        ]
        .join("|");
        json!({
            "id": self.id(),
            "publicKey": URL_SAFE_NO_PAD.encode(self.key.verifying_key().as_bytes()),
            "signature": URL_SAFE_NO_PAD.encode(self.key.sign(payload.as_bytes()).to_bytes()),
            "signedAt": signed_at,
            "nonce": nonce,
        })
    }
}
