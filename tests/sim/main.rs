//! The deterministic simulator: both machines in a world of virtual time, drawn from one seed.
//!
//! `world` holds clocks, network and the loop of an adapter; `store` a disk that forgets what was not yet
//! durable; `provider` a scripted model server; `clients` virtual clients of all three dialects; `invariants`
//! the promises, watched at every frame. `stories` tells what users rely on, `campaign` lets many of them
//! act at random, `year` lets time pass.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod campaign;
mod clients;
mod dice;
mod invariants;
mod provider;
mod store;
mod stories;
mod trace;
mod world;
mod year;
