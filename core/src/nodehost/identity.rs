//! The key of this node: made once, kept in a file that only its owner reads, named by its hash (spec 01 §4.1, §4.6).

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ed25519_dalek::{Signer as _, SigningKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::entropy::hex;

/// What stands before the 32 bytes of a seed in a DER-encoded private key.
const PKCS8_PREFIX: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// What stands before the 32 bytes of a public key.
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// The key of a node and its name.
#[derive(Clone)]
pub struct Identity {
    key: SigningKey,
    id: String,
}

/// Why a file holds no identity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityFault {
    /// It is not the JSON of an identity.
    #[error("it is no identity file: {0}")]
    Shape(String),
    /// The version is not known.
    #[error("its version is {0}; this program reads version 1")]
    Version(u64),
    /// The private key is not an Ed25519 key in PKCS#8.
    #[error("privateKeyPem is no Ed25519 key in PKCS#8")]
    Key,
}

/// The file, in the shape that the clients of this protocol share.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    version: u64,
    device_id: String,
    public_key_pem: String,
    private_key_pem: String,
    created_at_ms: u64,
}

impl Identity {
    /// The identity of a key.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let key = SigningKey::from_bytes(seed);
        let id = hex(Sha256::digest(key.verifying_key().as_bytes()).as_slice());
        Self { key, id }
    }

    /// Reads the file. A `deviceId` that disagrees with the key is passed over: the key counts.
    ///
    /// # Errors
    ///
    /// See [`IdentityFault`].
    pub fn read(text: &str) -> Result<Self, IdentityFault> {
        let file: File =
            serde_json::from_str(text).map_err(|error| IdentityFault::Shape(error.to_string()))?;
        if file.version != 1 {
            return Err(IdentityFault::Version(file.version));
        }
        let pem = Zeroizing::new(file.private_key_pem);
        let body: Zeroizing<String> =
            Zeroizing::new(pem.lines().map(str::trim).filter(|line| !line.starts_with("-----")).collect());
        let der = Zeroizing::new(STANDARD.decode(body.as_bytes()).map_err(|_| IdentityFault::Key)?);
        let seed = der.strip_prefix(&PKCS8_PREFIX[..]).ok_or(IdentityFault::Key)?;
        let seed: [u8; 32] = seed.try_into().map_err(|_| IdentityFault::Key)?;
        Ok(Self::from_seed(&seed))
    }

    /// The text of the file.
    pub fn write(&self, created_at_ms: u64) -> String {
        let pem = |label: &str, der: &[u8]| {
            format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
        };
        let private = Zeroizing::new([&PKCS8_PREFIX[..], self.key.as_bytes()].concat());
        let file = File {
            version: 1,
            device_id: self.id.clone(),
            public_key_pem: pem(
                "PUBLIC KEY",
                &[&SPKI_PREFIX[..], self.key.verifying_key().as_bytes()].concat(),
            ),
            private_key_pem: pem("PRIVATE KEY", &private),
            created_at_ms,
        };
        let mut text = serde_json::to_string_pretty(&file).unwrap_or_default();
        text.push('\n');
        text
    }

    /// The device id: the hash of the public key in lower-case hex.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The public key in unpadded base64url.
    pub fn public_key(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.key.verifying_key().as_bytes())
    }

    /// The signature of a text in unpadded base64url.
    pub(super) fn sign(&self, text: &str) -> String {
        URL_SAFE_NO_PAD.encode(self.key.sign(text.as_bytes()).to_bytes())
    }
}

impl std::fmt::Debug for Identity {
    /// The key itself is never shown.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Identity({})", self.id)
    }
}
