//! Clients that nobody here wrote, unchanged from npm, against both binaries; and our node host against a gateway
//! that nobody here wrote.
//!
//! `scripts/interop-setup` installs them into a cache outside the tree.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod browser;
mod gateway_client;
mod llama;
mod mcp;
mod node_host;
mod openclaw;
mod openclaw_node;
mod openclaw_node_host;
mod proxies;
mod sdk;

use telson_tests::support::binary::workspace;
use telson_tests::support::command::Outcome;
use telson_tests::support::gateway::Gateway;
use telson_tests::support::packages;

/// Runs a script of this folder against the gateway; it prints one JSON document.
fn script(gateway: &Gateway, name: &str, arguments: &[&str]) -> serde_json::Value {
    let mut command = packages::node(&workspace().join("tests/interop").join(name));
    command.args([&gateway.url(), &gateway.token()]).args(arguments);
    command.env("HOME", gateway.home.path("client-home"));
    Outcome::of(&mut command).success().json()
}
