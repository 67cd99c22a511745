//! The node host as a whole.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod commands;
mod frames;
mod link;
mod running;
