//! The reference pages of the documentation, written from the tables in the code.
//!
//! [`pages`] is pure; the binary writes the pages into `docs/src/reference`, and a test fails when the committed
//! ones are out of step.

mod markdown;
mod operation;
mod protocol;
mod tools;

use std::path::PathBuf;

/// One generated page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The file's name inside `docs/src/reference`.
    pub name: &'static str,
    /// The whole text.
    pub text: String,
}

/// Every generated page.
pub fn pages() -> Vec<Page> {
    vec![
        Page { name: "methods.md", text: protocol::methods() },
        Page { name: "commands.md", text: protocol::commands() },
        Page { name: "events.md", text: protocol::events() },
        Page { name: "errors.md", text: protocol::errors() },
        Page { name: "scopes.md", text: protocol::scopes() },
        Page { name: "tools.md", text: tools::tools() },
        Page { name: "limits.md", text: operation::limits() },
        Page { name: "configuration.md", text: operation::configuration() },
        Page { name: "exit-codes.md", text: operation::exit_codes() },
    ]
}

/// The book's source directory.
pub fn book() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../src")
}

/// The command that writes the pages.
pub const REGENERATE: &str = "cargo run -p telson-reference";

#[cfg(test)]
mod tests;
