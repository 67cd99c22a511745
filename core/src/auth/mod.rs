//! Who are you, and what may you do (spec 01 §3–§6).
//!
//! The handshake turns a connect request into a [`Principal`] or a refusal; [`authorize()`] is the gate at the
//! effects. Devices themselves are kept by [`crate::devices`].

mod authorize;
mod bearer;
mod clients;
mod deviceless;
mod enter;
pub(crate) mod epochs;
mod failure;
pub(crate) mod handshake;
mod hello;
pub(crate) mod limiter;
pub(crate) mod origin;
mod principal;
mod proof;
mod request;
mod secret;
mod shared;
mod tailnet;
#[cfg(test)]
mod tests;
mod verify;
mod vouched;

pub use authorize::{Effect, authorize};
pub(crate) use authorize::{permits_tool, require, wrong_role};
pub(crate) use bearer::BearerFault;
pub use principal::{AuthMethod, Client, Credential, Declared, Principal};
pub use secret::Secret;
pub use vouched::TrustedProxySettings;
