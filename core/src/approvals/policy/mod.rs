//! The standing policy: which commands may run without asking (spec 03 §3.5, §3.7).
//!
//! It is a file of each machine that runs commands: this gateway keeps its own, and a node its own. Everything
//! here is free of files and of the gateway, so that both read and judge alike: [`ApprovalsFile`] is what is
//! kept, [`shell`] takes a command apart, [`glob`] compares paths, and [`crate::approvals::evaluate`] decides.

mod file;
pub mod glob;
mod levels;
pub mod safe;
pub mod shell;

pub use file::{AgentPolicy, AllowEntry, ApprovalsFile, Defaults, FileFault, Socket};
pub use levels::{Ask, Security};
