//! A gateway for the fuzz targets: both machines, a store and a network that always work, and the promises
//! that must hold whatever a client says.
//!
//! A promise that is broken panics, which is how libFuzzer learns of it.

mod ledger;
mod shelf;
mod world;

pub use world::World;

/// The secret of every world that asks for one.
pub const SECRET: &str = "tide-and-moon-0123456789";
