//! The proof that a device holds its private key (spec 01 §4).
//!
//! The client signs the challenge of its own connection together with what it asks for; the key's hash is the
//! device's name. A proof is good on one connection only, so nothing needs to be remembered.

use std::time::Duration;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use ed25519_dalek::{Signature, VerifyingKey};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use telson_proto::connect::DeviceProof;
use telson_proto::{ErrorShape, Protocol, Role};

use super::failure::Refusal;
use super::request::SignedFields;
use crate::entropy::hex;
use crate::ids::DeviceId;

/// The longest key or signature that is looked at, in characters.
const MOST_CHARS: usize = 4_096;

/// What stands before the 32 raw bytes in a DER-encoded public key.
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// Reads base64 with or without padding, as other implementations do.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// What a proof is checked against.
pub(super) struct Challenge<'a> {
    pub(super) nonce: &'a str,
    /// The gateway's clock in epoch milliseconds.
    pub(super) now_ms: u64,
    pub(super) protocol: Protocol,
    /// Whether the client is on this host; such clients of protocol 3 may leave the nonce out.
    pub(super) local: bool,
    pub(super) role: Role,
    /// The credential that was signed too.
    pub(super) token: &'a str,
    pub(super) fields: &'a SignedFields,
}

/// A device that has proved itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ProvenDevice {
    pub(super) id: DeviceId,
    /// Its key in unpadded base64url.
    pub(super) public_key: String,
}

/// Why a proof does not do, in the order in which it is looked at (spec 01 §4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProofFault {
    IdMismatch,
    Expired,
    NonceMissing,
    NonceMismatch,
    Signature,
    PublicKey,
}

impl ProofFault {
    const fn words(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::IdMismatch => {
                ("device identity mismatch", "device-id-mismatch", "DEVICE_AUTH_DEVICE_ID_MISMATCH")
            }
            Self::Expired => {
                ("device signature expired", "device-signature-stale", "DEVICE_AUTH_SIGNATURE_EXPIRED")
            }
            Self::NonceMissing => {
                ("device nonce required", "device-nonce-missing", "DEVICE_AUTH_NONCE_REQUIRED")
            }
            Self::NonceMismatch => {
                ("device nonce mismatch", "device-nonce-mismatch", "DEVICE_AUTH_NONCE_MISMATCH")
            }
            Self::Signature => {
                ("device signature invalid", "device-signature", "DEVICE_AUTH_SIGNATURE_INVALID")
            }
            Self::PublicKey => {
                ("device public key invalid", "device-public-key", "DEVICE_AUTH_PUBLIC_KEY_INVALID")
            }
        }
    }

    /// The refusal.
    pub(super) fn refusal(self) -> Refusal {
        let (message, reason, code) = self.words();
        let details = json!({"code": code, "reason": reason});
        Refusal::policy(reason, ErrorShape::invalid(message).with_details(&details))
    }
}

/// Checks a proof.
///
/// # Errors
///
/// The first [`ProofFault`].
pub(super) fn verify(proof: &DeviceProof, challenge: &Challenge<'_>) -> Result<ProvenDevice, ProofFault> {
    let text = proof.public_key.as_str();
    if text.len() > MOST_CHARS {
        return Err(ProofFault::PublicKey);
    }
    let raw = read_key(text).ok_or(ProofFault::IdMismatch)?;
    let id = hex(Sha256::digest(raw).as_slice());
    if id != proof.id.as_str() {
        return Err(ProofFault::IdMismatch);
    }
    let skew = match challenge.protocol {
        Protocol::V3 => Duration::from_secs(600),
        Protocol::V4 => Duration::from_secs(120),
    };
    let signed_at = proof.signed_at.get();
    if Duration::from_millis(signed_at.abs_diff(challenge.now_ms)) > skew {
        return Err(ProofFault::Expired);
    }
    let nonce = proof.nonce.as_deref().map(str::trim).filter(|nonce| !nonce.is_empty());
    match nonce {
        None if challenge.protocol == Protocol::V3 && challenge.local => {}
        None => return Err(ProofFault::NonceMissing),
        Some(nonce) if nonce != challenge.nonce => return Err(ProofFault::NonceMismatch),
        Some(_) => {}
    }
    let key = VerifyingKey::from_bytes(&raw).map_err(|_| ProofFault::PublicKey)?;
    let signature = read_signature(proof.signature.as_str()).ok_or(ProofFault::Signature)?;
    let signed = |version| {
        let payload = payload(version, &id, signed_at, nonce.unwrap_or_default(), challenge);
        // Strict: neither a weak key nor a second spelling of the same signature passes (spec 08 S-52).
        key.verify_strict(payload.as_bytes(), &signature).is_ok()
    };
    let versions: &[Version] = if nonce.is_some() { &[Version::V3, Version::V2] } else { &[Version::V1] };
    if !versions.iter().any(|version| signed(*version)) {
        return Err(ProofFault::Signature);
    }
    let public_key = URL_SAFE_NO_PAD.encode(raw);
    if challenge.protocol == Protocol::V4 && !is_canonical(text, &public_key) {
        return Err(ProofFault::PublicKey);
    }
    Ok(ProvenDevice { id: DeviceId::new(id), public_key })
}

/// The generations of the signed text. None is announced: the verifier tries.
#[derive(Clone, Copy, Debug)]
enum Version {
    V1,
    V2,
    V3,
}

/// The signed text (spec 01 §4.2).
fn payload(version: Version, id: &str, signed_at: u64, nonce: &str, challenge: &Challenge<'_>) -> String {
    let fields = challenge.fields;
    let word = match version {
        Version::V1 => "v1",
        Version::V2 => "v2",
        Version::V3 => "v3",
    };
    let mut text = [
        word,
        id,
        &fields.client_id,
        &fields.client_mode,
        challenge.role.as_str(),
        &fields.scopes.join(","),
        &signed_at.to_string(),
        challenge.token,
    ]
    .join("|");
    let more: &[&str] = match version {
        Version::V1 => &[],
        Version::V2 => &[nonce],
        Version::V3 => &[nonce, &normal(&fields.platform), &normal(&fields.device_family)],
    };
    for field in more {
        text.push('|');
        text.push_str(field);
    }
    text
}

/// A platform or device family as it is signed, pinned and compared: trimmed, ASCII letters in lower case.
pub(super) fn normal(word: &str) -> String {
    word.trim().to_ascii_lowercase()
}

/// The 32 raw bytes of a key in PEM or in base64 of either alphabet.
fn read_key(text: &str) -> Option<[u8; 32]> {
    if !text.contains("BEGIN") {
        return decode(text)?.try_into().ok();
    }
    let body: String = text.lines().map(str::trim).filter(|line| !line.starts_with("-----")).collect();
    decode(&body)?.strip_prefix(&SPKI_PREFIX[..])?.try_into().ok()
}

fn read_signature(text: &str) -> Option<Signature> {
    if text.len() > MOST_CHARS {
        return None;
    }
    let bytes: [u8; 64] = decode(text)?.try_into().ok()?;
    Some(Signature::from_bytes(&bytes))
}

fn decode(text: &str) -> Option<Vec<u8>> {
    LENIENT.decode(text.trim().replace('+', "-").replace('/', "_")).ok()
}

/// Whether a key is written in the one way that it encodes to, up to alphabet and padding.
fn is_canonical(text: &str, public_key: &str) -> bool {
    text.contains("BEGIN") || {
        let plain = text.trim().trim_end_matches('=').replace('+', "-").replace('/', "_");
        plain == public_key
    }
}

#[cfg(test)]
#[path = "tests/proof.rs"]
mod tests;
