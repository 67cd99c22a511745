#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::needless_pass_by_value)]

mod changes;
mod keys;
mod listed;
mod lists;
mod patches;
mod world;
