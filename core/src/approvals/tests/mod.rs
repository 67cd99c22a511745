#![allow(clippy::unwrap_used, clippy::panic)]

mod evaluate;
mod file;
mod grants;
mod ledger;
mod own_policy;
