//! How fast the gateway is, beside a server that does no work.
//!
//! `telson-load` measures a gateway binary from outside, through its socket; `raw-epoll` speaks
//! the same bytes and decides nothing, so it shows the machine's own limit. The client side is one thread on
//! epoll with frames written by hand, so that it costs less than what it measures; each result says how busy
//! the client was. `telson-relay` measures tokens from a model server to clients, beside a direct reader.
//! `telson-flood` measures how a client fares while others flood the gateway.

pub mod flood;
pub mod measure;
pub mod mux;
pub mod relay;
pub mod report;
pub mod server;
pub mod target;
pub mod wire;
