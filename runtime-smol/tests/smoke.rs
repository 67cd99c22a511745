//! The driver on smol.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../../runtime-tokio/tests/suite/mod.rs"]
mod suite;

use std::sync::OnceLock;

use telson_smol::Smol;

struct Held {
    runtime: Smol,
}

/// One executor for the whole process, as in the binary.
fn smol() -> Held {
    static SMOL: OnceLock<Smol> = OnceLock::new();
    Held { runtime: SMOL.get_or_init(|| Smol::start(2).unwrap()).clone() }
}

suite::stories!(smol);
