//! The binaries as a user meets them: real processes, real sockets, a fresh home for each test.
//!
//! Every test runs once for each binary, and once for the smol adapter on async-std's executor. No test sleeps: it
//! waits for a frame, a line or an exit. Every frame that a client of these tests receives is held against the
//! dialect's schema on the way (`support::frames`).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod approvals;
mod chat;
mod cli_chat;
mod cli_models;
mod cli_sessions;
mod commands;
mod connect;
mod durable;
mod http;
mod import;
mod life;
mod limits;
mod node_host;
mod nodes;
mod pairing;
mod provider;
mod providers;
mod readme;
mod rotation;
mod secrets;
mod sessions;
mod start;
mod tailscale;
mod talk;
mod tls;
mod typed;
