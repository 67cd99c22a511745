#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bench;
mod decisions;
mod epochs;
mod guesses;
mod handshake;
mod hello;
mod log;
mod matrix;
mod orders;
mod pairing;
mod refusals;
mod service;
mod setup;
mod table;
mod tailnet;
mod vouched;
