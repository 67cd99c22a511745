//! The SHA-256 of a certificate or of its public key, as people pass it around.

use std::fmt;

use rustls::pki_types::CertificateDer;
use rustls::server::ParsedCertificate;
use sha2::{Digest as _, Sha256};
use telson_core::config::fingerprint;

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

    /// Reads what a user typed, see [`fingerprint`].
    ///
    /// # Errors
    ///
    /// What is left is no SHA-256.
    pub fn parse(text: &str) -> Result<Self, PinError> {
        fingerprint(text).map(Self).ok_or(PinError)
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
