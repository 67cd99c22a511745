//! The driver on tokio.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod suite;

use telson_tokio::Tokio;

/// A runtime that lives as long as a test.
struct Held {
    runtime: Tokio,
    _tokio: tokio::runtime::Runtime,
}

fn tokio() -> Held {
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    Held { runtime: Tokio::new(tokio.handle().clone()), _tokio: tokio }
}

suite::stories!(tokio);
