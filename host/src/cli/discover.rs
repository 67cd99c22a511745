//! `discover`: gateways in the local network (spec 05 §9.3, §15.6).

use std::time::Duration;

use clap::Args;
use serde_json::json;
use telson_core::config::Failure;

use crate::discovery::{self, browse};
use crate::logging::escape;
use crate::runtime::Runtime;

use super::error::CliError;
use super::term::Output;

#[derive(Debug, Args)]
pub(crate) struct Discover {
    /// How long to listen, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 2_000, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    timeout: u64,
}

/// Listens, and shows who announced itself.
pub(crate) async fn run<R: Runtime>(runtime: &R, args: &Discover, output: Output) -> Result<(), CliError> {
    let patience = Duration::from_millis(args.timeout);
    let found = runtime.unblock(move || browse(discovery::PORT, patience)).await;
    let beacons = found
        .map_err(|error| CliError::new(Failure::Internal, error.to_string()))?
        .map_err(|error| CliError::new(Failure::Internal, error.to_string()))?;
    if output.json {
        output.value(&json!({
            "timeoutMs": args.timeout, "domains": ["local."], "count": beacons.len(), "beacons": beacons,
        }));
        return Ok(());
    }
    if beacons.is_empty() {
        output.line("No gateways.");
        return Ok(());
    }
    let rows = beacons.iter().map(|beacon| {
        let print = beacon.gateway_tls_sha256.as_deref().unwrap_or_default();
        vec![escape(&beacon.display_name).to_string(), beacon.ws_url.clone(), escape(print).to_string()]
    });
    output.table(&["NAME", "URL", "CERTIFICATE"], rows);
    output.note(
        "Anybody in the network can announce anything. Ask a gateway's owner for its fingerprint before you connect: \
         --url URL --tls-fingerprint FINGERPRINT",
    );
    Ok(())
}
