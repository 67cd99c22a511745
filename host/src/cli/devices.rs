//! `devices`: who may connect, who waits, and the decisions about both (spec 01 §5.6).

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};
use telson_core::config::Failure;

use crate::config::Places;
use crate::logging::escape;
use crate::runtime::Runtime;

use super::args::Client;
use super::cells::{age, list, text, words};
use super::desk::Desk;
use super::error::CliError;
use super::term::Output;

#[derive(Debug, Subcommand)]
pub(crate) enum Devices {
    /// List paired devices and those that wait
    List(Client),
    /// Let a device in that waits; without a request, say who waits
    Approve(Request),
    /// Refuse a device that waits
    Reject(Request),
    /// Forget a device and close its connections
    Remove(Named),
    /// Give a device a name
    Rename(Rename),
    /// End the tokens of a device
    Revoke(Tokens),
    /// Replace the tokens of a device by a new one, which only the device itself is told
    Rotate(Tokens),
}

#[derive(Debug, Args)]
pub(crate) struct Request {
    /// The request, as `devices list` shows it
    pub(crate) request: Option<String>,
    #[command(flatten)]
    pub(crate) client: Client,
}

#[derive(Debug, Args)]
pub(crate) struct Named {
    /// The device, or the beginning of its id
    pub(crate) device: String,
    #[command(flatten)]
    pub(crate) client: Client,
}

#[derive(Debug, Args)]
pub(crate) struct Rename {
    #[command(flatten)]
    pub(crate) named: Named,
    /// The name
    #[arg(long)]
    pub(crate) name: String,
}

#[derive(Debug, Args)]
pub(crate) struct Tokens {
    #[command(flatten)]
    pub(crate) named: Named,
    /// The role whose tokens are meant
    #[arg(long, value_enum, default_value_t = RoleName::Operator)]
    pub(crate) role: RoleName,
}

/// A role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RoleName {
    /// Somebody who operates the gateway
    Operator,
    /// A machine that lends its abilities
    Node,
}

impl RoleName {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Node => "node",
        }
    }
}

/// `devices`
pub(crate) async fn run<R: Runtime>(
    runtime: &R,
    places: &Places,
    command: Devices,
    output: Output,
) -> Result<(), CliError> {
    let args = match &command {
        Devices::List(client) => client,
        Devices::Approve(request) | Devices::Reject(request) => &request.client,
        Devices::Remove(named) => &named.client,
        Devices::Rename(rename) => &rename.named.client,
        Devices::Revoke(tokens) | Devices::Rotate(tokens) => &tokens.named.client,
    };
    let mut desk = Desk::open(runtime, places, args).await?;
    let outcome = decide(&mut desk, &command, output).await;
    desk.close().await;
    outcome
}

async fn decide<R: Runtime>(desk: &mut Desk<R>, command: &Devices, output: Output) -> Result<(), CliError> {
    let (method, params) = match command {
        Devices::List(_) => return show(desk, output).await,
        Devices::Approve(Request { request: None, .. }) => return waiting(desk, "approve", output).await,
        Devices::Reject(Request { request: None, .. }) => return waiting(desk, "reject", output).await,
        Devices::Approve(Request { request: Some(id), .. }) => {
            ("device.pair.approve", json!({"requestId": id}))
        }
        Devices::Reject(Request { request: Some(id), .. }) => {
            ("device.pair.reject", json!({"requestId": id}))
        }
        Devices::Remove(named) => {
            ("device.pair.remove", json!({"deviceId": whole(desk, &named.device).await?}))
        }
        Devices::Rename(Rename { named, name }) => {
            ("device.pair.rename", json!({"deviceId": whole(desk, &named.device).await?, "label": name}))
        }
        Devices::Revoke(tokens) => ("device.token.revoke", target(desk, tokens).await?),
        Devices::Rotate(tokens) => ("device.token.rotate", target(desk, tokens).await?),
    };
    let answer = desk.call(method, params).await.map_err(remedy)?;
    if output.json {
        output.value(&answer);
        return Ok(());
    }
    let device = answer.pointer("/device/deviceId").and_then(Value::as_str).map(str::to_owned);
    let device = short(&device.unwrap_or_else(|| text(&answer, "deviceId")));
    output.line(&match command {
        Devices::Approve(_) => format!("Approved: device {device} may connect now."),
        Devices::Reject(_) => format!("Rejected: device {device}."),
        Devices::Remove(_) => format!("Removed: device {device}."),
        Devices::Rename(_) => format!("Renamed: device {device} is {}.", escape(&text(&answer, "label"))),
        Devices::Revoke(_) => {
            format!("Revoked: device {device} has no {} token any more.", text(&answer, "role"))
        }
        Devices::Rotate(_) => {
            format!("Rotated: the {} tokens of device {device} are no longer good.", text(&answer, "role"))
        }
        Devices::List(_) => String::new(),
    });
    Ok(())
}

/// Adds what helps to an error about a name.
fn remedy(error: CliError) -> CliError {
    match error.message.as_str() {
        "unknown requestId" => {
            error.hint("the request was decided or has ended; see: {program} devices list")
        }
        "unknown deviceId" => error.hint("see: {program} devices list"),
        _ => error,
    }
}

async fn target<R: Runtime>(desk: &mut Desk<R>, tokens: &Tokens) -> Result<Value, CliError> {
    Ok(json!({"deviceId": whole(desk, &tokens.named.device).await?, "role": tokens.role.as_str()}))
}

/// The whole id of the one device whose id begins so.
async fn whole<R: Runtime>(desk: &mut Desk<R>, beginning: &str) -> Result<String, CliError> {
    let known = desk.call("device.pair.list", json!({})).await?;
    let ids = list(&known, "paired").iter().map(|device| text(device, "deviceId"));
    let found: Vec<String> = ids.filter(|id| id.starts_with(beginning)).collect();
    match &found[..] {
        [one] => Ok(one.clone()),
        [] => Err(CliError::new(Failure::ArgInvalid, format!("no device begins with {}", escape(beginning)))
            .hint("see: {program} devices list")),
        _ => Err(CliError::new(
            Failure::ArgInvalid,
            format!("{} devices begin with {}; say more of the id", found.len(), escape(beginning)),
        )),
    }
}

/// Who waits, and the command that decides when there is one only.
async fn waiting<R: Runtime>(desk: &mut Desk<R>, verb: &str, output: Output) -> Result<(), CliError> {
    let known = desk.call("device.pair.list", json!({})).await?;
    let pending = list(&known, "pending");
    if output.json {
        output.value(&json!({"pending": pending}));
        return Ok(());
    }
    show_pending(pending, output);
    match pending {
        [] => output.line("No device waits."),
        [one] => {
            output.line(&format!("To {verb} it: {} devices {verb} {}", super::NAME, text(one, "requestId")));
        }
        _ => output.line(&format!("To {verb} one: {} devices {verb} <REQUEST>", super::NAME)),
    }
    Ok(())
}

/// `devices list`
async fn show<R: Runtime>(desk: &mut Desk<R>, output: Output) -> Result<(), CliError> {
    let known = desk.call("device.pair.list", json!({})).await?;
    if output.json {
        output.value(&known);
        return Ok(());
    }
    let (pending, paired) = (list(&known, "pending"), list(&known, "paired"));
    if pending.is_empty() && paired.is_empty() {
        output.line("No devices.");
    }
    show_pending(pending, output);
    if !paired.is_empty() {
        output.line("Paired:");
        let rows = paired.iter().map(|device| {
            vec![
                short(&text(device, "deviceId")),
                name(device),
                words(device, "role", "roles"),
                words(device, "scope", "scopes").replace("operator.", ""),
                text(device, "platform"),
                age(device.get("approvedAtMs")),
            ]
        });
        output.table(&["DEVICE", "NAME", "ROLE", "SCOPES", "PLATFORM", "PAIRED"], rows);
    }
    Ok(())
}

fn show_pending(pending: &[Value], output: Output) {
    if pending.is_empty() {
        return;
    }
    output.line("Waiting:");
    let rows = pending.iter().map(|device| {
        vec![
            text(device, "requestId"),
            name(device),
            words(device, "role", "roles"),
            words(device, "scope", "scopes").replace("operator.", ""),
            text(device, "platform"),
            text(device, "remoteIp"),
            age(device.get("ts")),
        ]
    });
    output.table(&["REQUEST", "NAME", "ROLE", "SCOPES", "PLATFORM", "FROM", "ASKED"], rows);
}

/// What people call a device, else what it calls itself.
fn name(device: &Value) -> String {
    let names = ["operatorLabel", "displayName", "clientId"];
    names.iter().map(|name| text(device, name)).find(|name| !name.is_empty()).unwrap_or_default()
}

/// As much of a device's id as tells it from others.
fn short(id: &str) -> String {
    id.chars().take(12).collect()
}
