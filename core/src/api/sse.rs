//! Server-sent events, as text.

use serde::Serialize;

/// What keeps a silent connection open; clients pass it over.
pub(super) const KEEP_ALIVE: &str = ": keepalive\n\n";
/// The end of a stream.
pub(super) const DONE: &str = "data: [DONE]\n\n";

/// An event without a name.
pub(super) fn unnamed<T: Serialize>(data: &T) -> String {
    format!("data: {}\n\n", text(data))
}

/// An event with a name.
pub(super) fn named<T: Serialize>(name: &str, data: &T) -> String {
    format!("event: {name}\ndata: {}\n\n", text(data))
}

fn text<T: Serialize>(data: &T) -> String {
    serde_json::to_string(data).unwrap_or_else(|_| "null".to_owned())
}
