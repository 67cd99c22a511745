//! `audit`: who did what, from where, with which outcome.

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use crate::config::Places;
use crate::runtime::Runtime;

use super::args::Client as ClientArgs;
use super::cells::{list, moment, text};
use super::error::CliError;
use super::show::connect;
use super::term::Output;

#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    /// List the deeds, the newest first
    List(List),
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// How many lines
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=500))]
    limit: u64,
    /// Only lines before this one, as the list before said
    #[arg(long, value_name = "LINE", value_parser = clap::value_parser!(u64).range(1..))]
    before: Option<u64>,
    /// Only deeds of this actor, such as `device:ID` or `token`
    #[arg(long, value_name = "WHO")]
    actor: Option<String>,
    /// Only deeds whose name begins so, such as `device.` or `exec.approval.resolve`
    #[arg(long, value_name = "WHAT")]
    action: Option<String>,
    /// Only deeds that ended so
    #[arg(long, value_enum)]
    outcome: Option<Outcome>,
    #[command(flatten)]
    client: ClientArgs,
}

/// How a deed ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Outcome {
    /// It was done
    Ok,
    /// It was refused
    Denied,
    /// It did not work
    Failed,
}

impl Outcome {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Denied => "denied",
            Self::Failed => "failed",
        }
    }
}

/// `audit list`
pub(crate) async fn run<R: Runtime>(
    runtime: &R,
    places: &Places,
    command: Audit,
    output: Output,
) -> Result<(), CliError> {
    let Audit::List(args) = command;
    let mut params = json!({"limit": args.limit});
    if let Some(before) = args.before {
        params["before"] = before.into();
    }
    let words = [
        ("actor", args.actor),
        ("action", args.action),
        ("outcome", args.outcome.map(|o| o.as_str().to_owned())),
    ];
    for (name, word) in words {
        if let Some(word) = word {
            params[name] = word.into();
        }
    }
    let (mut client, _) = connect(runtime, places, &args.client).await?;
    let outcome = client.call("audit.list", params).await;
    client.close().await;
    let page = outcome?;
    if output.json {
        output.value(&page);
        return Ok(());
    }
    let lines = list(&page, "entries");
    if lines.is_empty() {
        output.line("No such deeds.");
        return Ok(());
    }
    output.table(&["TIME", "WHO", "FROM", "WHAT", "TO WHAT", "OUTCOME", "WHY"], lines.iter().map(row));
    if let Some(before) = page.get("nextBefore").and_then(Value::as_u64) {
        output.note(&format!("There are older ones: --before {before}"));
    }
    Ok(())
}

fn row(line: &Value) -> Vec<String> {
    let mut row = vec![moment(line.get("at"))];
    row.extend(["actor", "address", "action", "subject", "outcome", "reason"].map(|name| text(line, name)));
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_book_is_a_row() {
        let line = json!({"id": 1, "at": 0, "actor": "token", "address": "127.0.0.1", "action": "sessions.reset",
            "subject": "main", "outcome": "ok"});
        let row = row(&line);
        assert_eq!(row[1..], ["token", "127.0.0.1", "sessions.reset", "main", "ok", ""]);
    }
}
