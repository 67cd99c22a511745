//! The SHA-256 of a certificate or of its public key, as people pass it around.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::CertificateDer;
use rustls::server::ParsedCertificate;
use sha2::{Digest as _, Sha256};

/// A fingerprint: 32 bytes, written as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pin([u8; 32]);

/// Why a text is no fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a fingerprint is 64 hexadecimal digits, or sha256// and a key's hash in base64")]
pub struct PinError;

impl Pin {
    /// The fingerprint of something in DER.
    pub fn of(der: &[u8]) -> Self {
        Self(Sha256::digest(der).into())
    }

    /// Reads what a user typed: with or without a label, colons and spaces, in either case; or
    /// `sha256//` and base64, as `curl --pinnedpubkey` has it.
    ///
    /// # Errors
    ///
    /// What is left is no SHA-256.
    pub fn parse(text: &str) -> Result<Self, PinError> {
        let text = text.trim();
        if let Some(key) = text.strip_prefix("sha256//") {
            let bytes = STANDARD.decode(key).map_err(|_| PinError)?;
            return bytes.try_into().map(Self).map_err(|_| PinError);
        }
        let lower = text.to_ascii_lowercase();
        let bare = ["sha-256", "sha256"].iter().find_map(|label| lower.strip_prefix(label)).unwrap_or(&lower);
        let digits: Vec<u8> = bare.chars().filter_map(|c| u8::try_from(c.to_digit(16)?).ok()).collect();
        let (pairs, rest) = digits.as_chunks::<2>();
        let bytes: Vec<u8> = pairs.iter().map(|[high, low]| high << 4 | low).collect();
        if !rest.is_empty() {
            return Err(PinError);
        }
        bytes.try_into().map(Self).map_err(|_| PinError)
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a server showed: the fingerprints of its own certificate, whoever signed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// Of the whole certificate. It changes with each renewal.
    pub certificate: Pin,
    /// Of the public key. It stays as long as the key does.
    pub key: Pin,
}

impl Leaf {
    /// The fingerprints of a certificate.
    ///
    /// # Errors
    ///
    /// It is no certificate that TLS could use.
    pub fn of(certificate: &CertificateDer<'_>) -> Result<Self, rustls::Error> {
        let parsed = ParsedCertificate::try_from(certificate)?;
        let key = Pin::of(parsed.subject_public_key_info().as_ref());
        Ok(Self { certificate: Pin::of(certificate), key })
    }

    /// Whether a pin means this certificate, or its key.
    pub fn is(&self, pin: Pin) -> bool {
        pin == self.certificate || pin == self.key
    }
}
