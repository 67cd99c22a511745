//! `approvals`: what waits for a decision, the decision, and the standing policy (spec 03 §3).

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use telson_core::config::Failure;

use crate::config::Places;
use crate::logging::escape;
use crate::runtime::Runtime;

use super::args::Client as ClientArgs;
use super::cells::{cut, list, moment, text};
use super::error::CliError;
use super::show::connect;
use super::term::Output;

#[derive(Debug, Subcommand)]
pub(crate) enum Approvals {
    /// List what waits for a decision
    List(List),
    /// Show one approval whole, with what became of it
    Get(Named),
    /// Allow a command
    Allow(Allow),
    /// Refuse a command
    Deny(Named),
    /// Show the standing policy for commands, or replace it
    Policy(Policy),
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Also those of the last 30 days that were decided
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Debug, Args)]
pub(crate) struct Named {
    /// The approval, by its id or the beginning of it
    id: String,
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Debug, Args)]
pub(crate) struct Allow {
    /// From now on without asking
    #[arg(long)]
    always: bool,
    /// For so many days the gateway answers the same question by itself
    #[arg(long, value_name = "DAYS", requires = "always", value_parser = clap::value_parser!(u64).range(1..=3_650))]
    days: Option<u64>,
    #[command(flatten)]
    named: Named,
}

#[derive(Debug, Args)]
pub(crate) struct Policy {
    /// A file with the new policy, as `approvals policy --json` shows it under `file`
    #[arg(long, value_name = "FILE")]
    set: Option<PathBuf>,
    #[command(flatten)]
    client: ClientArgs,
}

/// `approvals`
pub(crate) async fn run<R: Runtime>(
    runtime: &R,
    places: &Places,
    command: Approvals,
    output: Output,
) -> Result<(), CliError> {
    match command {
        Approvals::List(args) => show_list(runtime, places, &args, output).await,
        Approvals::Get(args) => get(runtime, places, &args, output).await,
        Approvals::Allow(args) => {
            let decision = if args.always { "allow-always" } else { "allow-once" };
            decide(runtime, places, &args.named, decision, args.days, output).await
        }
        Approvals::Deny(args) => decide(runtime, places, &args, "deny", None, output).await,
        Approvals::Policy(args) => policy(runtime, places, &args, output).await,
    }
}

async fn ask<R: Runtime>(
    runtime: &R,
    places: &Places,
    args: &ClientArgs,
    method: &str,
    params: Value,
) -> Result<Value, CliError> {
    let (mut client, _) = connect(runtime, places, args).await?;
    let outcome = match client.require(method) {
        Ok(()) => client.call(method, params).await,
        Err(error) => Err(error),
    };
    client.close().await;
    outcome
}

/// `approvals list`
async fn show_list<R: Runtime>(
    runtime: &R,
    places: &Places,
    args: &List,
    output: Output,
) -> Result<(), CliError> {
    let method = if args.all { "approval.history" } else { "exec.approval.list" };
    let params = if args.all { json!({"limit": 100}) } else { json!({}) };
    let answer = ask(runtime, places, &args.client, method, params).await?;
    if output.json {
        output.value(&answer);
        return Ok(());
    }
    let waiting = answer.as_array().map(Vec::as_slice);
    let rows = waiting.unwrap_or_else(|| list(&answer, "items"));
    if rows.is_empty() {
        output.line(if args.all {
            "No approvals in the last 30 days."
        } else {
            "Nothing waits for a decision."
        });
        return Ok(());
    }
    output.table(&["ID", "STATE", "ASKED", "AGENT", "WHERE", "COMMAND"], rows.iter().map(row));
    if !args.all {
        output.note("A long command is cut here; see it whole with: approvals get ID");
    }
    Ok(())
}

fn row(approval: &Value) -> Vec<String> {
    // What waits carries its request, what has ended how it was presented.
    let request = approval.get("request").or(approval.get("presentation")).unwrap_or(&Value::Null);
    let state = text(approval, "status");
    let words = [text(request, "command"), text(request, "commandText"), text(request, "title")];
    let words = words.iter().find(|words| !words.is_empty()).cloned().unwrap_or_default();
    vec![
        text(approval, "id"),
        if state.is_empty() { "pending".to_owned() } else { state },
        moment(approval.get("createdAtMs")),
        text(request, "agentId"),
        place(request),
        cut(&words, 60),
    ]
}

fn place(request: &Value) -> String {
    let node = text(request, "nodeId");
    if node.is_empty() { text(request, "host") } else { format!("node {}", cut(&node, 12)) }
}

/// `approvals get`
async fn get<R: Runtime>(runtime: &R, places: &Places, args: &Named, output: Output) -> Result<(), CliError> {
    let (mut client, _) = connect(runtime, places, &args.client).await?;
    let outcome = async {
        client.require("approval.get")?;
        let mut found = client.call("approval.get", json!({"id": args.id})).await?;
        let mut approval = found.get_mut("approval").map(Value::take).unwrap_or_default();
        // All that an answer is bound to is told as long as one can be given.
        let list = if text(&approval["presentation"], "kind") == "exec" {
            "exec.approval.list"
        } else {
            "plugin.approval.list"
        };
        let waiting = client.call(list, json!({})).await?;
        let same = waiting.as_array().into_iter().flatten().find(|other| other["id"] == approval["id"]);
        if let Some(request) = same.and_then(|same| same.get("request")) {
            approval["request"] = request.clone();
        }
        Ok::<Value, CliError>(approval)
    }
    .await;
    client.close().await;
    show(&outcome?, output);
    Ok(())
}

/// An approval whole: nothing of what would run is left out.
fn show(approval: &Value, output: Output) {
    if output.json {
        output.value(approval);
        return;
    }
    let nothing = Value::Null;
    let request = approval.get("request").unwrap_or(&nothing);
    let shown = approval.get("presentation").unwrap_or(&nothing);
    let env = request.get("env").and_then(Value::as_object).map(|env| {
        let pairs = env.iter().map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default()));
        pairs.collect::<Vec<_>>().join(" ")
    });
    let source = approval.get("source").unwrap_or(&nothing);
    let either = |name: &str| {
        [text(request, name), text(shown, name), text(source, name)].into_iter().find(|text| !text.is_empty())
    };
    let pairs = [
        ("Approval", Some(text(approval, "id"))),
        ("State", Some([text(approval, "status"), text(approval, "reason")].join(" "))),
        ("Decision", Some(text(approval, "decision"))),
        ("Decided by", approval.pointer("/resolver/id").and_then(Value::as_str).map(str::to_owned)),
        ("Asked", Some(moment(approval.get("createdAtMs")))),
        ("Agent", either("agentId")),
        ("Session", either("sessionKey")),
        ("Where", Some(place(shown))),
        ("Directory", either("cwd")),
        ("Variables", env),
        ("Warning", either("warningText")),
        ("Title", either("title")),
        ("Question", either("description")),
        ("Detail", either("detail")),
    ];
    let told: Vec<(&str, String)> = pairs
        .into_iter()
        .filter_map(|(name, value)| Some((name, value.filter(|value| !value.trim().is_empty())?)))
        .collect();
    output.pairs(&told);
    let command = text(shown, "commandText");
    if !command.is_empty() {
        output.line("Command:");
        output.line(&escape(&command));
    }
}

/// `approvals allow` and `approvals deny`
async fn decide<R: Runtime>(
    runtime: &R,
    places: &Places,
    args: &Named,
    decision: &str,
    days: Option<u64>,
    output: Output,
) -> Result<(), CliError> {
    let (mut client, _) = connect(runtime, places, &args.client).await?;
    let outcome = async {
        client.require("approval.resolve")?;
        // The beginning of an id is enough to find it; the answer names it whole.
        let found = client.call("approval.get", json!({"id": args.id})).await?;
        let approval = found.get("approval").unwrap_or(&Value::Null);
        let kind = text(&approval["presentation"], "kind");
        let mut params = json!({"id": text(approval, "id"), "kind": kind, "decision": decision});
        if let Some(days) = days {
            params["grantExpiresInDays"] = days.into();
        }
        client.call("approval.resolve", params).await
    }
    .await;
    client.close().await;
    let answer = outcome?;
    let approval = answer.get("approval").unwrap_or(&Value::Null);
    if answer.get("applied") != Some(&Value::Bool(true)) && text(approval, "decision") != decision {
        let ended = [text(approval, "status"), text(approval, "reason")].join(", ");
        let error = CliError::new(Failure::RpcError, format!("the approval has ended already: {ended}"));
        return Err(error.hint("see it with: {program} approvals get ID"));
    }
    if output.json {
        output.value(&answer);
    } else {
        output.line(&format!("{}: {decision}", text(approval, "id")));
    }
    Ok(())
}

/// `approvals policy`
async fn policy<R: Runtime>(
    runtime: &R,
    places: &Places,
    args: &Policy,
    output: Output,
) -> Result<(), CliError> {
    let file = args.set.as_deref().map(read_policy).transpose()?;
    let (mut client, _) = connect(runtime, places, &args.client).await?;
    let outcome = async {
        let present = client.call("exec.approvals.get", json!({})).await?;
        match file {
            None => Ok(present),
            Some(file) => {
                let params = json!({"file": file, "baseHash": text(&present, "hash")});
                client.call("exec.approvals.set", params).await
            }
        }
    }
    .await;
    client.close().await;
    let snapshot = outcome?;
    if output.json {
        output.value(&snapshot);
        return Ok(());
    }
    let file = snapshot.get("file").unwrap_or(&Value::Null);
    let defaults = snapshot.get("resolvedDefaults").unwrap_or(&Value::Null);
    output.pairs(&[
        ("Security", text(defaults, "security")),
        ("Ask", text(defaults, "ask")),
        ("Hash", text(&snapshot, "hash")),
    ]);
    let agents = file.get("agents").and_then(Value::as_object).into_iter().flatten();
    let rows: Vec<Vec<String>> = agents.flat_map(|(name, agent)| agent_rows(name, agent)).collect();
    if !rows.is_empty() {
        output.table(&["AGENT", "SECURITY", "ASK", "ALLOWED WITHOUT ASKING"], rows);
    }
    Ok(())
}

/// A row for each line of an agent's allowlist, and one when there is none.
fn agent_rows(name: &str, agent: &Value) -> Vec<Vec<String>> {
    let row = |pattern: String| vec![name.to_owned(), text(agent, "security"), text(agent, "ask"), pattern];
    let lines = list(agent, "allowlist");
    if lines.is_empty() {
        return vec![row(String::new())];
    }
    lines.iter().map(|line| row(text(line, "pattern"))).collect()
}

fn read_policy(path: &std::path::Path) -> Result<Value, CliError> {
    let wrong =
        |problem: String| CliError::new(Failure::ArgInvalid, format!("{}: {problem}", path.display()));
    let written = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    let value: Value = serde_json::from_str(&written).map_err(|error| wrong(format!("not JSON: {error}")))?;
    // What the command shows can be given back as it is.
    Ok(value.get("file").cloned().unwrap_or(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_what_waits_and_where() {
        let approval = json!({"id": "a", "createdAtMs": 0, "request": {"command": "git push", "host": "node",
            "nodeId": "0123456789abcdef", "agentId": "main"}});
        let row = row(&approval);
        assert_eq!((row[0].as_str(), row[1].as_str(), row[3].as_str()), ("a", "pending", "main"));
        assert_eq!((row[4].as_str(), row[5].as_str()), ("node 0123456789a…", "git push"));
    }

    #[test]
    fn each_line_of_an_allowlist_has_a_row() {
        let agent = json!({"security": "allowlist", "allowlist": [{"pattern": "/a"}, {"pattern": "/b"}]});
        assert_eq!(agent_rows("main", &agent).len(), 2);
        assert_eq!(agent_rows("main", &json!({})), [vec!["main", "", "", ""]]);
    }
}
