//! `sessions`: the conversations, one by one and all together (spec 02 §14).

mod export;

use std::io::{self, BufRead as _, IsTerminal as _};
use std::time::Duration;

use serde_json::{Value, json};
use telson_core::config::Failure;

use crate::config::Places;
use crate::logging::escape;
use crate::runtime::Runtime;

use super::args::{
    Sessions, SessionsCommand, SessionsCompact, SessionsDelete, SessionsList, SessionsNamed, SessionsReset,
    SessionsShow,
};
use super::cells::{age, grouped, list, moment, number, text, title};
use super::chat;
use super::client::Client;
use super::error::CliError;
use super::show::{ask, connect};
use super::term::Output;

/// How long a summary may take.
const SUMMARY: Duration = Duration::from_secs(300);

/// `sessions`
pub(crate) async fn run<R: Runtime>(
    runtime: &R,
    places: &Places,
    args: Sessions,
    output: Output,
) -> Result<(), CliError> {
    match args.command.unwrap_or(SessionsCommand::List(args.list)) {
        SessionsCommand::List(args) => overview(runtime, places, &args, output).await,
        SessionsCommand::Show(args) => show(runtime, places, &args, output).await,
        SessionsCommand::Reset(args) => reset(runtime, places, &args, output).await,
        SessionsCommand::Delete(args) => delete(runtime, places, &args, output).await,
        SessionsCommand::Export(args) => export::run(runtime, places, &args, output).await,
        SessionsCommand::Compact(args) => compact(runtime, places, &args, output).await,
    }
}

/// `sessions list`
async fn overview<R: Runtime>(
    runtime: &R,
    places: &Places,
    args: &SessionsList,
    output: Output,
) -> Result<(), CliError> {
    let found = ask(runtime, places, &args.client, "sessions.list", list_params(args)).await?;
    if output.json {
        output.value(&found);
        return Ok(());
    }
    let rows = list(&found, "sessions");
    if rows.is_empty() {
        let filtered = args.search.is_some() || args.agent.is_some() || args.active.is_some();
        output.line(if filtered || args.archived { "No such sessions." } else { "No sessions yet." });
        return Ok(());
    }
    let cells = rows.iter().map(|row| {
        let updated = row.get("updatedAt");
        let updated = if output.terminal.interactive { age(updated) } else { moment(updated) };
        vec![text(row, "key"), text(row, "kind"), updated, model(row), number(row, "totalTokens"), title(row)]
    });
    output.table(&["KEY", "KIND", "UPDATED", "MODEL", "TOKENS", "TITLE"], cells);
    if found.get("hasMore") == Some(&Value::Bool(true)) {
        let total = found.get("totalCount").and_then(Value::as_u64).unwrap_or_default();
        output.note(&format!("{} of {}; --limit shows more", rows.len(), grouped(total)));
    }
    Ok(())
}

fn list_params(args: &SessionsList) -> Value {
    let mut params = json!({"includeDerivedTitles": true});
    let mut set = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            params[name] = value;
        }
    };
    set("limit", args.limit.map(Value::from));
    set("search", args.search.clone().map(Value::from));
    set("agentId", args.agent.clone().map(Value::from));
    set("activeMinutes", args.active.map(Value::from));
    set("archived", args.archived.then_some(Value::Bool(true)));
    params
}

fn model(row: &Value) -> String {
    let (provider, model) = (text(row, "modelProvider"), text(row, "model"));
    if provider.is_empty() { model } else { format!("{provider}/{model}") }
}

/// A connection, and the canonical key of the session that the user named.
async fn open<R: Runtime>(
    runtime: &R,
    places: &Places,
    args: &SessionsNamed,
) -> Result<(Client<R>, String), CliError> {
    let (mut client, _) = connect(runtime, places, &args.client).await?;
    match resolve(&mut client, &args.key).await {
        Ok(key) => Ok((client, key)),
        Err(error) => {
            client.close().await;
            Err(error)
        }
    }
}

/// The canonical key of a session, by its key or by its label.
async fn resolve<R: Runtime>(client: &mut Client<R>, name: &str) -> Result<String, CliError> {
    let mut first = None;
    for by in ["key", "label"] {
        match client.call("sessions.resolve", json!({by: name})).await {
            Ok(found) => return Ok(text(&found, "key")),
            Err(error) if error.failure == Failure::RpcError => first = first.or(Some(error)),
            Err(error) => return Err(error),
        }
    }
    let error = first.unwrap_or_else(|| CliError::new(Failure::RpcError, "no such session"));
    Err(error.hint("see: {program} sessions list"))
}

/// `sessions show`
async fn show<R: Runtime>(
    runtime: &R,
    places: &Places,
    args: &SessionsShow,
    output: Output,
) -> Result<(), CliError> {
    let (mut client, key) = open(runtime, places, &args.named).await?;
    let answer = client.call("chat.history", json!({"sessionKey": key, "limit": args.limit})).await;
    client.close().await;
    let history = answer?;
    if output.json {
        output.value(&history);
        return Ok(());
    }
    let messages = list(&history, "messages");
    let row = history.get("sessionInfo").unwrap_or(&Value::Null);
    let total = history.get("totalMessages").and_then(Value::as_u64).unwrap_or(messages.len() as u64);
    let pairs = [
        ("Session", key),
        ("Title", title(row)),
        ("Updated", moment(row.get("updatedAt"))),
        ("Model", model(row)),
        ("Thinking", text(&history, "thinkingLevel")),
        ("Tokens", tokens(row)),
        ("Messages", format!("{} of {}", messages.len(), grouped(total))),
    ];
    let known: Vec<_> = pairs.into_iter().filter(|(_, value)| !value.is_empty()).collect();
    output.pairs(&known);
    output.line("");
    chat::show_messages(messages, output);
    Ok(())
}

/// The tokens in the context, and how many fit.
fn tokens(row: &Value) -> String {
    let (total, most) = (number(row, "totalTokens"), number(row, "contextTokens"));
    if total.is_empty() || most.is_empty() { total } else { format!("{total} of {most}") }
}

/// `sessions reset`
async fn reset<R: Runtime>(
    runtime: &R,
    places: &Places,
    args: &SessionsReset,
    output: Output,
) -> Result<(), CliError> {
    let (mut client, key) = open(runtime, places, &args.named).await?;
    let outcome = async {
        confirm(runtime, args.yes, &format!("Begin {} anew?", escape(&key)), output).await?;
        client.call("sessions.reset", json!({"key": key})).await
    }
    .await;
    client.close().await;
    let answer = outcome?;
    if output.json {
        output.value(&answer);
    } else {
        output.line(&format!("{} begins anew.", escape(&key)));
    }
    Ok(())
}

/// `sessions delete`
async fn delete<R: Runtime>(
    runtime: &R,
    places: &Places,
    args: &SessionsDelete,
    output: Output,
) -> Result<(), CliError> {
    let (mut client, key) = open(runtime, places, &args.named).await?;
    client.wait_for(args.named.client.patience_or(Duration::from_secs(30)));
    let outcome = async {
        confirm(runtime, args.yes, &format!("Delete {}?", escape(&key)), output).await?;
        client.call("sessions.delete", json!({"key": key, "deleteTranscript": !args.keep_transcript})).await
    }
    .await;
    client.close().await;
    let answer = outcome?;
    if output.json {
        output.value(&answer);
    } else {
        output.line(&format!("{} is deleted.", escape(&key)));
    }
    Ok(())
}

/// `sessions compact`
async fn compact<R: Runtime>(
    runtime: &R,
    places: &Places,
    args: &SessionsCompact,
    output: Output,
) -> Result<(), CliError> {
    let (mut client, key) = open(runtime, places, &args.named).await?;
    client.wait_for(args.named.client.patience_or(SUMMARY));
    let mut params = json!({"key": key});
    if let Some(lines) = args.keep {
        params["maxLines"] = lines.into();
    }
    let outcome = match client.require("sessions.compact") {
        Ok(()) => client.call("sessions.compact", params).await,
        Err(error) => Err(error),
    };
    client.close().await;
    let answer = outcome.map_err(|error| {
        let no_summary = args.keep.is_none() && error.message.contains("maxLines");
        if no_summary { error.hint("--keep N keeps the last N lines, without a summary") } else { error }
    })?;
    if output.json {
        output.value(&answer);
    } else {
        output.line(&compacted(&key, &answer));
    }
    Ok(())
}

/// What came of a compaction, in a sentence.
fn compacted(key: &str, answer: &Value) -> String {
    let key = escape(key);
    if answer.get("compacted") == Some(&Value::Bool(true)) {
        let result = answer.get("result").unwrap_or(answer);
        return match (number(result, "tokensBefore"), number(result, "tokensAfter")) {
            (before, after) if !before.is_empty() && !after.is_empty() => {
                format!("{key} is shorter now: {after} instead of {before} tokens.")
            }
            _ => format!("{key} is shorter now."),
        };
    }
    let reason = text(answer, "reason");
    let reason = if reason.is_empty() { "there is little to leave out".to_owned() } else { escape(&reason) };
    format!("{key} stays as it is: {reason}.")
}

/// Asks before something is lost; where nobody can be asked, `--yes` must have been said.
async fn confirm<R: Runtime>(runtime: &R, yes: bool, question: &str, output: Output) -> Result<(), CliError> {
    if yes {
        return Ok(());
    }
    if output.json || !io::stdin().is_terminal() {
        let error = CliError::new(Failure::ArgInvalid, "this cannot be undone, and nobody can be asked");
        return Err(error.hint("add --yes to do it without asking"));
    }
    output.piece(&format!("{question} [y/N] "));
    let read = runtime.unblock(|| {
        let mut line = String::new();
        io::stdin().lock().read_line(&mut line).map(|_| line)
    });
    let line = read.await.and_then(|line| line);
    let line = line.map_err(|error| CliError::new(Failure::Internal, error.to_string()))?;
    if matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes") {
        return Ok(());
    }
    Err(CliError::new(Failure::Interrupted, "nothing is changed"))
}

#[cfg(test)]
mod tests {
    use crate::cli::args::Client as ClientArgs;

    use super::*;

    fn client() -> ClientArgs {
        ClientArgs::default()
    }

    #[test]
    fn what_is_not_asked_for_is_not_sent() {
        let mut args = SessionsList {
            limit: None,
            search: None,
            agent: None,
            active: None,
            archived: false,
            client: client(),
        };
        assert_eq!(list_params(&args), json!({"includeDerivedTitles": true}));
        args = SessionsList { limit: Some(2), archived: true, active: Some(5), ..args };
        let params = list_params(&args);
        let sent = (&params["limit"], &params["archived"], &params["activeMinutes"], params.get("search"));
        assert_eq!(sent, (&json!(2), &json!(true), &json!(5), None));
    }

    #[test]
    fn a_compaction_says_what_came_of_it() {
        let shorter =
            json!({"ok": true, "compacted": true, "result": {"tokensBefore": 9_000, "tokensAfter": 800}});
        assert_eq!(compacted("k", &shorter), "k is shorter now: 800 instead of 9,000 tokens.");
        assert_eq!(compacted("k", &json!({"compacted": true, "kept": 4})), "k is shorter now.");
        let same = json!({"compacted": false, "reason": "no transcript"});
        assert_eq!(compacted("k", &same), "k stays as it is: no transcript.");
    }

    #[test]
    fn the_meter_shows_how_much_fits() {
        assert_eq!(tokens(&json!({"totalTokens": 1_200, "contextTokens": 200_000})), "1,200 of 200,000");
        assert_eq!(tokens(&json!({"totalTokens": 7})), "7");
        assert_eq!(tokens(&json!({})), "");
    }
}
