#![allow(clippy::unwrap_used, clippy::panic)]

mod evaluate;
mod file;
