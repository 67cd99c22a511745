//! What users rely on, each told as a story.

mod connections;
mod crashes;
mod effects;
mod epochs;
mod nodes;
mod pairing;
mod runs;

use std::time::Duration;

use crate::provider::Model;
use crate::world::World;

/// A model that speaks five words a second.
fn slowly(text: &str) -> Model {
    Model::says(text, Duration::from_millis(200))
}

/// A world whose model speaks at once.
fn quick(seed: u64) -> World {
    World::seeded(seed).with_model(Model::says("tide and moon", Duration::ZERO))
}
