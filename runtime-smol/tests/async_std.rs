//! The driver on the smol adapter, with async-std's executor running its tasks.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../../runtime-tokio/tests/suite/mod.rs"]
mod suite;

use telson_smol::Smol;

struct Held {
    runtime: Smol,
}

fn async_std() -> Held {
    Held { runtime: Smol::with_spawner(|task| drop(async_std::task::spawn(task))) }
}

suite::stories!(async_std);
