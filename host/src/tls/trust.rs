//! Which certificate a client believes.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, SignatureScheme};

use super::pin::{Leaf, Pin};
use super::provider;

/// What a client believes of the gateway at a `wss://` URL. With anything but [`Trust::Public`] a `ws://` URL is
/// an error: a pin that nothing checks would be a false comfort.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Trust {
    /// A chain to a public root, and the right name.
    #[default]
    Public,
    /// A certificate, or a key, with one of these fingerprints. Names and chains mean nothing. Not empty.
    Pinned(Vec<Pin>),
    /// Whatever is shown, because the user has said so for the first connection; the caller keeps the pin before
    /// it sends anything.
    FirstUse,
}

/// The certificate was not the pinned one.
#[derive(Debug)]
pub(crate) struct Mismatch {
    /// The pins.
    pub(crate) pinned: Vec<Pin>,
    /// What the server showed.
    pub(crate) found: Leaf,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the certificate {} is not the pinned one", self.found.certificate)
    }
}

impl std::error::Error for Mismatch {}

/// The configuration for anything but public trust; `None` for that.
pub(crate) fn private_config(trust: &Trust) -> Result<Option<Arc<ClientConfig>>, Error> {
    let pins = match trust {
        Trust::Public => return Ok(None),
        Trust::Pinned(pins) => Some(pins.clone()),
        Trust::FirstUse => None,
    };
    let provider = provider();
    let verifier = Arc::new(Verifier { pins, provider: Arc::clone(&provider) });
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    // A resumed session shows no certificate, and there is nothing to gain for one connection.
    config.resumption = rustls::client::Resumption::disabled();
    Ok(Some(Arc::new(config)))
}

/// The mismatch in the error of a handshake, if it was one.
pub(crate) fn mismatch(error: &std::io::Error) -> Option<&Mismatch> {
    match error.get_ref()?.downcast_ref::<Error>()? {
        Error::InvalidCertificate(CertificateError::Other(OtherError(cause))) => cause.downcast_ref(),
        _ => None,
    }
}

/// Looks at the server's own certificate alone. That the server holds its key is proved by the handshake's
/// signature, as always.
#[derive(Debug)]
struct Verifier {
    /// `None` takes any certificate.
    pins: Option<Vec<Pin>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let found = Leaf::of(end_entity)?;
        match &self.pins {
            Some(pins) if !pins.iter().any(|pin| found.is(*pin)) => {
                let mismatch = Mismatch { pinned: pins.clone(), found };
                Err(CertificateError::Other(OtherError(Arc::new(mismatch))).into())
            }
            Some(_) | None => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
