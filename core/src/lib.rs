//! The gateway as two state machines.
//!
//! Nothing here opens a socket, reads a clock or draws a random number. An adapter tells the machines what
//! happened and when; the machines say what is to be done:
//!
//! ```
//! use telson_core::auth::Secret;
//! use telson_core::settings::{AuthMode, Settings};
//! use telson_core::{Input, Joined, Now, Output, Seed, gateway};
//!
//! let settings = Settings::plain(AuthMode::Token(Secret::new("a token of the operator")));
//! let mut machines = Joined::new(settings, Seed::from([7; 32]), Now::epoch());
//!
//! machines.handle(Now::epoch(), Input::Gateway(gateway::Input::Started));
//! while let Some(output) = machines.poll_output() {
//!     match output {
//!         Output::Gateway(gateway::Output::Load { id, query }) => { /* ask the store, then tell: Input::Loaded */ }
//!         other => drop(other),
//!     }
//! }
//! let wake_me_at = machines.poll_timeout();
//! # let _ = wake_me_at;
//! ```
//!
//! One rule of use: after each `handle`, drain `poll_output` until it is empty; then wait until something
//! happens or `poll_timeout` has passed.
//!
//! [`Switchboard`] owns the connections of one I/O thread, [`Gateway`] the control plane; [`Joined`] runs both
//! on one thread. Every domain of the gateway is a module with the same few rooms: `mod.rs` says what the
//! domain is and owns its state, `methods.rs` holds its RPC methods, `tests.rs` its tests.

pub mod agents;
pub mod api;
pub mod approvals;
pub mod audit;
pub mod auth;
pub mod chat;
pub mod commands;
pub mod config;
pub mod desk;
pub mod devices;
mod entropy;
pub mod fetch;
pub mod gateway;
pub mod guard;
pub mod http;
mod ids;
pub mod ingress;
mod joined;
pub mod limits;
pub mod mcp;
pub mod messages;
pub mod nodehost;
pub mod nodes;
pub mod peer;
pub mod policy;
pub mod presence;
pub mod process;
pub mod providers;
pub mod runs;
pub mod sessions;
pub mod settings;
pub mod store;
pub mod switchboard;
pub mod system;
pub mod tailscale;
#[cfg(test)]
mod testing;
mod time;
pub mod tokens;
pub mod tools;
pub mod usage;

pub use entropy::{Entropy, Seed, hex};
pub use gateway::Gateway;
pub use ids::{
    AgentId, CallId, ConnId, DeviceId, FetchId, HttpId, ProcessId, QueryId, RunId, SessionId, SessionKey,
    Ticket, TxId,
};
pub use joined::{Input, Joined, Output};
pub use switchboard::Switchboard;
pub use time::Now;
