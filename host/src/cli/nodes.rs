//! `nodes`: the machines that lend their abilities, and what they may be asked for (spec 03 §2).

use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use telson_core::config::Failure;

use crate::config::Places;
use crate::logging::escape;
use crate::runtime::Runtime;

use super::args::Client as ClientArgs;
use super::cells::{age, list, moment, text, words};
use super::client::Client;
use super::error::CliError;
use super::show::{ask, connect};
use super::term::Output;

/// `nodes` alone is `nodes list`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Nodes {
    #[command(subcommand)]
    command: Option<NodesCommand>,
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Debug, Subcommand)]
enum NodesCommand {
    /// List the nodes, connected ones first
    List(ClientArgs),
    /// Show one node
    Describe(Named),
    /// Give a node a name
    Rename(Rename),
    /// Ask a node to do something
    Invoke(Invoke),
    /// List what nodes ask to be approved for
    Pending(ClientArgs),
    /// Let a node be asked for what its request names
    Approve(Request),
    /// Settle a node's request without granting it
    Reject(Request),
    /// Make a device a node no longer
    Remove(Named),
}

#[derive(Debug, Args)]
struct Named {
    /// The node: its id, the beginning of it, or its name
    node: String,
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Debug, Args)]
struct Rename {
    /// What it is to be called
    #[arg(long, value_name = "NAME")]
    name: String,
    #[command(flatten)]
    named: Named,
}

#[derive(Debug, Args)]
struct Invoke {
    /// The node: its id, the beginning of it, or its name
    node: String,
    /// What it is to do, such as `system.which`
    command: String,
    /// The command's parameters, a JSON object
    #[arg(long, value_name = "JSON")]
    params: Option<String>,
    /// How long the node may take, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 15_000, value_parser = clap::value_parser!(u64).range(1..=3_600_000))]
    invoke_timeout: u64,
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Debug, Args)]
struct Request {
    /// The request's id, of `nodes pending`
    request: String,
    #[command(flatten)]
    client: ClientArgs,
}

/// `nodes`
pub(crate) async fn run<R: Runtime>(
    runtime: &R,
    places: &Places,
    args: Nodes,
    output: Output,
) -> Result<(), CliError> {
    match args.command.unwrap_or(NodesCommand::List(args.client)) {
        NodesCommand::List(args) => overview(runtime, places, &args, output).await,
        NodesCommand::Describe(args) => describe(runtime, places, &args, output).await,
        NodesCommand::Rename(args) => {
            let (client, node) = open(runtime, places, &args.named.client, &args.named.node).await?;
            let params = json!({"nodeId": node, "displayName": args.name});
            finish(client, "node.rename", params, output, &format!("It is called {} now.", args.name)).await
        }
        NodesCommand::Invoke(args) => invoke(runtime, places, &args, output).await,
        NodesCommand::Pending(args) => pending(runtime, places, &args, output).await,
        NodesCommand::Approve(args) => {
            let (client, _) = connect(runtime, places, &args.client).await?;
            let params = json!({"requestId": args.request});
            finish(client, "node.pair.approve", params, output, "Approved.").await
        }
        NodesCommand::Reject(args) => {
            let (client, _) = connect(runtime, places, &args.client).await?;
            let params = json!({"requestId": args.request});
            finish(client, "node.pair.reject", params, output, "Rejected.").await
        }
        NodesCommand::Remove(args) => {
            let (client, node) = open(runtime, places, &args.client, &args.node).await?;
            let said = "Removed; its connections have ended.";
            finish(client, "node.pair.remove", json!({"nodeId": node}), output, said).await
        }
    }
}

/// A last call, and the word about it.
async fn finish<R: Runtime>(
    mut client: Client<R>,
    method: &str,
    params: Value,
    output: Output,
    said: &str,
) -> Result<(), CliError> {
    let answer = client.call(method, params).await;
    client.close().await;
    let answer = answer?;
    if output.json {
        output.value(&answer);
    } else {
        output.line(said);
    }
    Ok(())
}

/// A connection, and the id of the node that the user named.
async fn open<R: Runtime>(
    runtime: &R,
    places: &Places,
    args: &ClientArgs,
    name: &str,
) -> Result<(Client<R>, String), CliError> {
    let (mut client, _) = connect(runtime, places, args).await?;
    let found = client.call("node.list", json!({})).await.and_then(|rows| chosen(&rows, name));
    match found {
        Ok(node) => Ok((client, node)),
        Err(error) => {
            client.close().await;
            Err(error)
        }
    }
}

/// The node that a name means: its id, its name, or the beginning of its id.
fn chosen(rows: &Value, name: &str) -> Result<String, CliError> {
    const SHORTEST: usize = 6;
    let rows = list(rows, "nodes");
    if rows.iter().any(|row| text(row, "nodeId") == name) {
        return Ok(name.to_owned());
    }
    let fits = |row: &&Value| {
        text(row, "displayName").eq_ignore_ascii_case(name)
            || (name.len() >= SHORTEST && text(row, "nodeId").starts_with(name))
    };
    let mut found = rows.iter().filter(fits);
    let problem = match (found.next(), found.next()) {
        (Some(row), None) => return Ok(text(row, "nodeId")),
        (Some(_), Some(_)) => format!("{name} means more than one node; use its whole id"),
        (None, _) => format!("no node {name}"),
    };
    Err(CliError::new(Failure::RpcError, problem).hint("see: {program} nodes list"))
}

/// `nodes list`
async fn overview<R: Runtime>(
    runtime: &R,
    places: &Places,
    args: &ClientArgs,
    output: Output,
) -> Result<(), CliError> {
    let found = ask(runtime, places, args, "node.list", json!({})).await?;
    if output.json {
        output.value(&found);
        return Ok(());
    }
    let rows = list(&found, "nodes");
    if rows.is_empty() {
        output.line("No nodes.");
        return Ok(());
    }
    let cells = rows.iter().map(|row| {
        vec![
            text(row, "nodeId").chars().take(12).collect(),
            text(row, "displayName"),
            state(row).to_owned(),
            text(row, "platform"),
            text(row, "approvalState"),
            words(row, "command", "commands"),
        ]
    });
    output.table(&["NODE", "NAME", "STATE", "PLATFORM", "APPROVAL", "COMMANDS"], cells);
    Ok(())
}

fn state(row: &Value) -> &'static str {
    if row.get("connected") == Some(&Value::Bool(true)) { "connected" } else { "away" }
}

/// `nodes describe`
async fn describe<R: Runtime>(
    runtime: &R,
    places: &Places,
    args: &Named,
    output: Output,
) -> Result<(), CliError> {
    let (mut client, node) = open(runtime, places, &args.client, &args.node).await?;
    let answer = client.call("node.describe", json!({"nodeId": node})).await;
    client.close().await;
    let row = answer?;
    if output.json {
        output.value(&row);
        return Ok(());
    }
    output.pairs(&[
        ("Node", node),
        ("Name", text(&row, "displayName")),
        ("State", state(&row).to_owned()),
        ("Platform", text(&row, "platform")),
        ("Version", text(&row, "version")),
        ("Address", text(&row, "remoteIp")),
        ("Approval", text(&row, "approvalState")),
        ("Commands", words(&row, "command", "commands")),
        ("Waiting", words(&row, "command", "pendingDeclaredCommands")),
        ("Request", text(&row, "pendingRequestId")),
        ("Last seen", moment(row.get("lastSeenAtMs"))),
    ]);
    Ok(())
}

/// `nodes invoke`
async fn invoke<R: Runtime>(
    runtime: &R,
    places: &Places,
    args: &Invoke,
    output: Output,
) -> Result<(), CliError> {
    let wrong = |problem: String| CliError::new(Failure::ArgInvalid, format!("--params: {problem}"));
    let params = match args.params.as_deref().map(serde_json::from_str::<Value>) {
        None => json!({}),
        Some(Ok(params)) if params.is_object() => params,
        Some(Ok(_)) => return Err(wrong("must be a JSON object".to_owned())),
        Some(Err(error)) => return Err(wrong(format!("must be a JSON object: {error}"))),
    };
    let (mut client, node) = open(runtime, places, &args.client, &args.node).await?;
    client.wait_for(Duration::from_millis(args.invoke_timeout) + args.client.patience());
    let key = format!("cli-{}-{}", std::process::id(), jiff::Timestamp::now().as_microsecond());
    let params = json!({
        "nodeId": node,
        "command": args.command,
        "params": params,
        "timeoutMs": args.invoke_timeout,
        "idempotencyKey": key,
    });
    let answer = client.call("node.invoke", params).await;
    client.close().await;
    let answer = answer?;
    if output.json {
        output.value(&answer);
        return Ok(());
    }
    let payload = answer.get("payload").unwrap_or(&Value::Null);
    // What a node says must not draw on the terminal.
    for line in serde_json::to_string_pretty(payload).unwrap_or_default().lines() {
        output.line(&escape(line));
    }
    Ok(())
}

/// `nodes pending`
async fn pending<R: Runtime>(
    runtime: &R,
    places: &Places,
    args: &ClientArgs,
    output: Output,
) -> Result<(), CliError> {
    let found = ask(runtime, places, args, "node.pair.list", json!({})).await?;
    if output.json {
        output.value(&found);
        return Ok(());
    }
    let rows = list(&found, "pending");
    if rows.is_empty() {
        output.line("Nothing waits.");
        return Ok(());
    }
    let cells = rows.iter().map(|row| {
        vec![
            text(row, "requestId"),
            text(row, "displayName"),
            text(row, "platform"),
            words(row, "command", "commands"),
            words(row, "scope", "requiredApproveScopes").replace("operator.", ""),
            age(row.get("ts")),
        ]
    });
    output.table(&["REQUEST", "NAME", "PLATFORM", "COMMANDS", "TAKES", "ASKED"], cells);
    Ok(())
}
