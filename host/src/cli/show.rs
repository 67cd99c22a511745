//! The commands that ask the gateway something and show the answer.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use serde_json::{Value, json};
use telson_core::config::Failure;

use crate::config::Places;
use crate::logging::escape;
use crate::runtime::Runtime;
use crate::state::{Holder, Lock, is_tailnet};
use crate::tls::Leaf;

use super::args::{Call, Client as ClientArgs};
use super::cells::{span, text};
use super::client::Client;
use super::error::CliError;
use super::target::{Credential, REMOTE, Target};
use super::term::Output;
use super::trust;

/// Connects to the target; a failure says what was tried and what may help.
pub(crate) async fn connect<R: Runtime>(
    runtime: &R,
    places: &Places,
    args: &ClientArgs,
) -> Result<(Client<R>, Target), CliError> {
    connect_with(runtime, places, args, &[]).await
}

/// The same with capabilities.
pub(crate) async fn connect_with<R: Runtime>(
    runtime: &R,
    places: &Places,
    args: &ClientArgs,
    capabilities: &[&str],
) -> Result<(Client<R>, Target), CliError> {
    let target = Target::resolve(places, args)?;
    match Client::connect(runtime, &target, args.patience(), capabilities).await {
        Ok(client) => Ok((client, target)),
        Err(error) => Err(explain(error, places, &target)),
    }
}

/// Adds the target to an error, and the remedy.
pub(crate) fn explain(error: CliError, places: &Places, target: &Target) -> CliError {
    let local = target.is_local();
    let remedy = match error.failure {
        Failure::GatewayUnreachable if local => Some("start it with: {program} gateway run".to_owned()),
        Failure::TlsPin => Some(trust::remedy(target.pin_source, &target.url)),
        Failure::AuthRefused if local && matches!(target.credential, Credential::Nothing) => Some(format!(
            "{} holds no token: was the gateway started with another --state-dir, or with a secret of its own?",
            places.state.run().display()
        )),
        Failure::AuthRefused if local => Some(
            "the gateway may have been started with another secret than the one configured now; restart it, or pass \
             --token or --password"
                .to_owned(),
        ),
        _ => None,
    };
    let error = error
        .hint(format!("Gateway target: {}", target.url))
        .hint(format!("Source: {}", target.source))
        .hint(format!("Config: {}", places.config.display()));
    remedy.into_iter().fold(error, CliError::hint)
}

/// One call with its connection.
pub(crate) async fn ask<R: Runtime>(
    runtime: &R,
    places: &Places,
    args: &ClientArgs,
    method: &str,
    params: Value,
) -> Result<Value, CliError> {
    let (mut client, _) = connect(runtime, places, args).await?;
    let answer = client.call(method, params).await;
    client.close().await;
    answer
}

/// What `status` found.
struct Status {
    target: Target,
    latency: u128,
    hello: Value,
    summary: Value,
    /// The certificate that it showed.
    leaf: Option<Leaf>,
    /// The process, when the gateway is the local one.
    holder: Option<Holder>,
}

/// `status`
pub(crate) async fn status<R: Runtime>(
    runtime: &R,
    places: &Places,
    args: &ClientArgs,
    output: Output,
) -> Result<(), CliError> {
    let started = Instant::now();
    let (mut client, target) = connect(runtime, places, args).await?;
    let latency = started.elapsed().as_millis();
    let answer = client.call("status", json!({})).await;
    let leaf = client.leaf();
    let hello = std::mem::take(&mut client.hello);
    client.close().await;
    let holder = Lock::holder(&places.state).filter(|_| target.is_local());
    let status = Status { target, latency, hello, summary: answer?, leaf, holder };
    if output.json {
        output.value(&status.json());
        return Ok(());
    }
    output.pairs(&status.pairs());
    for warning in &status.target.warnings {
        output.note(&format!("warning: {}", escape(warning)));
    }
    Ok(())
}

impl Status {
    /// The gateway's summary, and how it was reached (spec 05 §15.7).
    fn json(self) -> Value {
        let hello = |path: &str| self.hello.pointer(path).cloned().unwrap_or_default();
        let tls = json!({
            "enabled": self.leaf.is_some(), "fingerprint": self.leaf.map(|leaf| leaf.certificate.to_string()),
            "keyFingerprint": self.leaf.map(|leaf| leaf.key.to_string()),
        });
        let gateway = json!({
            "mode": if self.target.source == REMOTE { "remote" } else { "local" }, "url": self.target.url, "urlSource": self.target.source, "misconfigured": false,
            "reachable": true, "connectLatencyMs": self.latency, "authMode": self.target.credential.as_str(),
            "self": hello("/server"), "uptimeMs": hello("/snapshot/uptimeMs"), "pid": self.holder.as_ref().map(|holder| holder.pid),
            "listen": self.holder.as_ref().map(|holder| &holder.listen), "reach": self.reach(), "tls": tls,
            "configPath": hello("/snapshot/configPath"), "stateDir": hello("/snapshot/stateDir"),
            "warnings": self.target.warnings, "error": null,
        });
        let mut summary = self.summary;
        if let Value::Object(members) = &mut summary {
            members.insert("gateway".to_owned(), gateway);
            let os = json!({"platform": std::env::consts::OS, "arch": std::env::consts::ARCH});
            members.insert("os".to_owned(), os);
        }
        summary
    }

    /// Who can connect to the local gateway, going by the addresses on which it listens.
    fn reach(&self) -> Option<&'static str> {
        let listen = &self.holder.as_ref().filter(|holder| !holder.listen.is_empty())?.listen;
        Some(reach(listen.iter().map(SocketAddr::ip)))
    }

    fn pairs(&self) -> Vec<(&'static str, String)> {
        let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or("unknown").to_owned();
        let hello = |path: &str| self.hello.pointer(path);
        let pid = self.holder.as_ref().map_or_else(String::new, |holder| format!(", pid {}", holder.pid));
        let uptime = hello("/snapshot/uptimeMs").and_then(Value::as_u64).unwrap_or(0);
        let presence = hello("/snapshot/presence").and_then(Value::as_array).map_or(0, Vec::len);
        let sessions = self.summary.pointer("/sessions/count").and_then(Value::as_u64).unwrap_or(0);
        vec![
            ("Gateway", format!("running at {} ({})", self.target.url, self.target.source)),
            ("Version", format!("{}{pid}", text(hello("/server/version")))),
            ("Uptime", span(uptime)),
            ("Answer", format!("{} ms", self.latency)),
            ("Reach", self.reach().unwrap_or("unknown: it runs elsewhere").to_owned()),
            (
                "TLS",
                self.leaf
                    .map_or_else(|| "off".to_owned(), |leaf| format!("on, certificate {}", leaf.certificate)),
            ),
            ("Auth", self.target.credential.as_str().to_owned()),
            ("Model", text(self.summary.pointer("/sessions/defaults/model"))),
            ("Sessions", sessions.to_string()),
            ("Presence", presence.to_string()),
            ("State", text(hello("/snapshot/stateDir"))),
            ("Config", text(hello("/snapshot/configPath"))),
        ]
    }
}

/// Who can connect to these addresses.
fn reach(addresses: impl Iterator<Item = IpAddr>) -> &'static str {
    let open: Vec<IpAddr> = addresses.filter(|ip| !ip.is_loopback()).collect();
    if open.is_empty() {
        "this machine only"
    } else if open.iter().all(is_tailnet) {
        "this machine and its tailnet"
    } else if open.iter().any(IpAddr::is_unspecified) {
        "every machine that reaches this one"
    } else {
        "this machine and the network of the address"
    }
}

/// `health`
pub(crate) async fn health<R: Runtime>(
    runtime: &R,
    places: &Places,
    args: &ClientArgs,
    output: Output,
) -> Result<(), CliError> {
    let health = ask(runtime, places, args, "health", json!({})).await?;
    if output.json {
        output.value(&health);
        return Ok(());
    }
    let good = if health.get("ok") == Some(&Value::Bool(true)) { "ok" } else { "not ok" };
    output.line(&format!("Gateway: {good} ({} ms)", health.get("durationMs").unwrap_or(&Value::Null)));
    let agents = health.get("agents").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let rows = agents.iter().map(|agent| {
        let default = if agent.get("isDefault") == Some(&Value::Bool(true)) { "default" } else { "" };
        vec![
            text(agent, "agentId"),
            agent.pointer("/sessions/count").map_or_else(String::new, ToString::to_string),
            default.to_owned(),
        ]
    });
    output.table(&["AGENT", "SESSIONS", ""], rows);
    Ok(())
}

/// `call`
pub(crate) async fn call<R: Runtime>(
    runtime: &R,
    places: &Places,
    args: &Call,
    output: Output,
) -> Result<(), CliError> {
    let written = args.params.as_deref().or(args.params_flag.as_deref()).unwrap_or("{}");
    let params: Value = serde_json::from_str(written).map_err(|error| {
        CliError::new(Failure::ArgInvalid, format!("the parameters are not JSON: {error}"))
            .hint("such as '{\"limit\": 5}'")
    })?;
    let (mut client, _) = connect(runtime, places, &args.client).await?;
    let answer = if args.expect_final {
        client.call_twice(&args.method, params).await
    } else {
        client.call(&args.method, params).await
    };
    client.close().await;
    let answer = answer?;
    if !output.json {
        output.note(&format!("Gateway call: {}", args.method));
    }
    output.value(&answer);
    Ok(())
}
