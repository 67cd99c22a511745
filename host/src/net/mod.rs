//! Speaking to others: outbound HTTP, the WebSocket client of the command line, and what both need.

pub(crate) mod dial;
pub mod fetch;
pub(crate) mod patience;
pub(crate) mod timer;
pub(crate) mod tls;
pub mod ws;
