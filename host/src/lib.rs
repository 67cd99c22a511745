//! What both runtimes share and an operating system is needed for.
//!
//! The machines of `telson-core` say what is to be done; this crate does it on any runtime that gives the few
//! things of [`runtime::Runtime`]: [`driver`] runs the machines on HTTP and WebSocket connections, [`net`]
//! speaks to others, [`store`] keeps what must survive, [`node`] lends this machine to a gateway, [`tls`]
//! holds certificates and pins, [`cli`] is the command line. The binaries are thin
//! adapters that hand their runtime to [`cli::run`].

pub mod cli;
pub mod config;
pub mod discovery;
pub mod driver;
mod group;
pub mod helpers;
pub mod logging;
pub mod net;
pub mod node;
pub mod reload;
pub mod runtime;
pub mod state;
pub mod store;
pub mod tls;
