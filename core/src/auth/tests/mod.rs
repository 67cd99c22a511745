#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bench;
mod guesses;
mod handshake;
mod hello;
mod log;
mod matrix;
mod pairing;
mod refusals;
mod table;
mod vouched;
