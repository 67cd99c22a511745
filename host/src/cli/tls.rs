//! `tls`: the fingerprint of this machine's gateway, and the pins of others.

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::json;
use telson_core::config::{Failure, Flags, Loaded, TlsPlan};

use crate::config::Places;
use crate::state::{expand, host_name};
use crate::tls::{Pin, PinBook, TlsFiles, read_leaf};

use super::error::CliError;
use super::term::Output;
use super::trust::origin;

#[derive(Debug, Subcommand)]
pub(crate) enum Tls {
    /// Show the fingerprints of this machine's certificate, for clients that pin it
    Fingerprint,
    /// Pin a gateway's certificate or key, in place of an earlier pin
    Pin {
        /// The gateway, such as wss://box:18789
        url: String,
        /// The SHA-256 fingerprint of its certificate or key, as its owner has read it
        fingerprint: String,
    },
    /// Forget the pin of a gateway
    Forget {
        /// The gateway
        url: String,
    },
    /// List the pins
    Pins,
}

/// Where the certificate of this machine's gateway is.
pub(crate) fn files(places: &Places, plan: &TlsPlan) -> TlsFiles {
    let given = |path: &Option<String>| -> Option<PathBuf> { expand(path.as_ref()?.as_ref(), &places.env) };
    let dir = places.state.tls();
    TlsFiles {
        cert: given(&plan.cert).unwrap_or_else(|| dir.join("gateway-cert.pem")),
        key: given(&plan.key).unwrap_or_else(|| dir.join("gateway-key.pem")),
        ca: given(&plan.ca),
        generate: plan.generate,
        host: host_name(),
        names: Vec::new(),
    }
}

/// `tls …`
pub(crate) fn run(places: &Places, command: Tls, output: Output) -> Result<(), CliError> {
    match command {
        Tls::Fingerprint => fingerprint(places, output),
        Tls::Pin { url, fingerprint } => {
            let origin = secure_origin(&url)?;
            let pin = Pin::parse(&fingerprint)
                .map_err(|error| CliError::new(Failure::ArgInvalid, error.to_string()))?;
            let mut book = PinBook::open(&places.state)?;
            let before = book.get(&origin).ok().flatten();
            book.put(&places.state, &origin, pin)?;
            if output.json {
                let before = before.map(|pin| pin.to_string());
                output.value(
                    &json!({"ok": true, "origin": origin, "fingerprint": pin.to_string(), "before": before}),
                );
            } else {
                output.line(&format!("{origin} is pinned to {pin}"));
            }
            Ok(())
        }
        Tls::Forget { url } => {
            let origin = secure_origin(&url)?;
            let known = PinBook::open(&places.state)?.forget(&places.state, &origin)?;
            if output.json {
                output.value(&json!({"ok": true, "origin": origin, "known": known}));
            } else {
                output.line(&format!("{origin} {}", if known { "is forgotten" } else { "was not pinned" }));
            }
            Ok(())
        }
        Tls::Pins => {
            let book = PinBook::open(&places.state)?;
            if output.json {
                let pins: Vec<_> =
                    book.iter().map(|(origin, pin)| json!({"origin": origin, "fingerprint": pin})).collect();
                output.value(&json!({"ok": true, "pins": pins}));
            } else {
                output.table(
                    &["GATEWAY", "FINGERPRINT"],
                    book.iter().map(|(origin, pin)| vec![origin.to_owned(), pin.to_owned()]),
                );
            }
            Ok(())
        }
    }
}

fn secure_origin(url: &str) -> Result<String, CliError> {
    let origin = origin(url)?;
    if origin.starts_with("wss://") {
        return Ok(origin);
    }
    Err(CliError::new(Failure::ArgInvalid, format!("{url} shows no certificate that could be pinned"))
        .hint("use wss://"))
}

/// `tls fingerprint`: reads the file; makes nothing.
fn fingerprint(places: &Places, output: Output) -> Result<(), CliError> {
    let loaded: Loaded = places.load(&Flags::default())?;
    let plan = loaded.tls.clone().unwrap_or_default();
    let files = files(places, &plan);
    let leaf = read_leaf(&files.cert)?.ok_or_else(|| {
        let message = format!("there is no certificate: {} does not exist", files.cert.display());
        CliError::new(Failure::TlsFailed, message)
            .hint("set gateway.tls.enabled to true; it is made at the next start of: {program} gateway run")
    })?;
    if output.json {
        output.value(&json!({
            "ok": true, "enabled": loaded.tls.is_some(), "certPath": files.cert,
            "fingerprint": leaf.certificate.to_string(), "keyFingerprint": leaf.key.to_string(),
        }));
        return Ok(());
    }
    output.pairs(&[
        ("Key", leaf.key.to_string()),
        ("Certificate", leaf.certificate.to_string()),
        ("File", files.cert.display().to_string()),
    ]);
    output.note("Clients may pin either; the key's fingerprint stays when the certificate is renewed.");
    if loaded.tls.is_none() {
        output.note("gateway.tls.enabled is not set: the gateway does not show it.");
    }
    Ok(())
}
