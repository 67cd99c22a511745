#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::needless_pass_by_value)]

mod branches;
mod changes;
mod compaction;
mod creation;
mod events;
mod fields;
mod keys;
mod listed;
mod lists;
mod patches;
mod world;
