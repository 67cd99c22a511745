//! TLS: the certificate that the gateway shows, and which certificates a client believes (spec 05 §7).
//!
//! The gateway's pair is given by the operator or made here (`pair`), and the file it stands in is looked at
//! again and again, so that new connections get a new one ([`Live`]). A client believes the public roots, or a
//! [`Pin`]: the SHA-256 of a certificate, or of the public key in it, which a renewal keeps. Pins that a user
//! has agreed to are kept by origin ([`PinBook`]). Nothing here lets a name, a chain or a discovered hint stand
//! in for a pin.

mod book;
mod live;
mod names;
mod pair;
mod pin;
mod trust;

#[cfg(test)]
mod tests;

pub use book::PinBook;
pub use live::{Live, TlsFiles};
pub use names::names;
pub use pair::{Pair, TlsError, read_leaf};
pub use pin::{Leaf, Pin, PinError};
pub use trust::Trust;

pub(crate) use trust::{mismatch, private_config};

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

/// The cryptography of both sides.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
