//! What the tests of whole programs share: the binaries, a client for each dialect that checks every frame it
//! sees, a scripted model server, and the clients that nobody here wrote.
//!
//! Everything here panics when the world is not as a test expects it: that is how a test fails.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
pub mod support;
