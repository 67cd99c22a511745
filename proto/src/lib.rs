//! The words of the gateway protocol: frames, parameters, results, events, errors and scopes.
//!
//! Nothing here decides anything. Types say what travels; [`dialect`] says how it is spelled on the wire
//! (spec 01 §1 and §9). Who may call what, and what happens then, is `telson-core`'s business.

pub mod approval;
pub mod audit;
pub mod chat;
pub mod command;
pub mod connect;
pub mod device;
pub mod dialect;
pub mod error;
pub mod event;
pub mod json;
pub mod node;
pub mod params;
pub mod protocol;
pub mod scope;
pub mod session;
pub mod system;
pub mod token;
pub mod tools;

pub use dialect::{Dialect, Inbound};
pub use error::{CloseCode, ErrorCode, ErrorShape};
pub use event::{EventName, StateVersion};
pub use json::Json;
pub use protocol::Protocol;
pub use scope::{Role, Scope, Scopes};
