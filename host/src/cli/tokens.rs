//! `tokens`: bearers with scopes and an end, for programs (07 P-23).

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::config::Places;
use crate::logging::escape;
use crate::runtime::Runtime;

use super::args::Client;
use super::cells::{age, list, text, words};
use super::desk::Desk;
use super::error::CliError;
use super::term::Output;

#[derive(Debug, Subcommand)]
pub(crate) enum Tokens {
    /// Make a token and show it, this once
    Create(Create),
    /// List the tokens
    List(Client),
    /// End a token, and whatever it let in
    Revoke(Revoke),
}

#[derive(Debug, Args)]
pub(crate) struct Create {
    /// What the token is for
    #[arg(long)]
    pub(crate) name: String,
    /// What it allows, such as operator.read,operator.write
    #[arg(long, value_delimiter = ',', required = true)]
    pub(crate) scopes: Vec<String>,
    /// How long it is good, such as 90d, 12h or 30m (default: without an end)
    #[arg(long, value_name = "TIME", value_parser = millis)]
    pub(crate) expires: Option<u64>,
    #[command(flatten)]
    pub(crate) client: Client,
}

#[derive(Debug, Args)]
pub(crate) struct Revoke {
    /// The token's id, as `tokens list` shows it
    pub(crate) id: String,
    #[command(flatten)]
    pub(crate) client: Client,
}

/// `tokens`
pub(crate) async fn run<R: Runtime>(
    runtime: &R,
    places: &Places,
    command: Tokens,
    output: Output,
) -> Result<(), CliError> {
    let args = match &command {
        Tokens::Create(create) => &create.client,
        Tokens::List(client) => client,
        Tokens::Revoke(revoke) => &revoke.client,
    };
    let mut desk = Desk::open(runtime, places, args).await?;
    let outcome = match &command {
        Tokens::Create(create) => {
            let mut params = json!({"name": create.name, "scopes": create.scopes});
            if let Some(left) = create.expires {
                params["expiresInMs"] = left.into();
            }
            desk.call("tokens.create", params).await
        }
        Tokens::List(_) => desk.call("tokens.list", json!({})).await,
        Tokens::Revoke(revoke) => desk.call("tokens.revoke", json!({"id": revoke.id})).await,
    };
    desk.close().await;
    let answer = outcome?;
    if output.json {
        output.value(&answer);
        return Ok(());
    }
    match command {
        Tokens::Create(_) => {
            output.line(&text(&answer, "value"));
            output.note(&format!(
                "Token {} is shown this once; keep it where the program reads it.",
                text(&answer, "id")
            ));
        }
        Tokens::List(_) => show(&answer, output),
        Tokens::Revoke(_) => output.line(&format!("Revoked: token {}.", escape(&text(&answer, "id")))),
    }
    Ok(())
}

fn show(answer: &Value, output: Output) {
    let tokens = list(answer, "tokens");
    if tokens.is_empty() {
        return output.line("No tokens.");
    }
    let rows = tokens.iter().map(|token| {
        vec![
            text(token, "id"),
            text(token, "name"),
            words(token, "scope", "scopes").replace("operator.", ""),
            age(token.get("createdAtMs")),
            token.get("lastUsedAtMs").map_or_else(|| "never".to_owned(), |at| age(Some(at))),
            token.get("expiresAtMs").and_then(Value::as_u64).map_or_else(|| "never".to_owned(), day),
        ]
    });
    output.table(&["TOKEN", "NAME", "SCOPES", "MADE", "USED", "ENDS"], rows);
}

/// A moment as people read it.
fn day(at_ms: u64) -> String {
    let at = i64::try_from(at_ms).ok().and_then(|at| jiff::Timestamp::from_millisecond(at).ok());
    at.map_or_else(String::new, |at| {
        jiff::tz::TimeZone::system().to_datetime(at).strftime("%Y-%m-%d %H:%M").to_string()
    })
}

/// Reads a time such as `90d`.
fn millis(text: &str) -> Result<u64, String> {
    let wrong = || "expected a whole number and d, h, m or s, such as 90d".to_owned();
    let unit = text.chars().last().ok_or_else(wrong)?;
    let factor = match unit {
        'd' => 86_400_000,
        'h' => 3_600_000,
        'm' => 60_000,
        's' => 1_000,
        _ => return Err(wrong()),
    };
    let number: u64 = text.strip_suffix(unit).and_then(|number| number.parse().ok()).ok_or_else(wrong)?;
    number.checked_mul(factor).filter(|left| *left > 0).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::millis;

    #[test]
    fn a_time_is_a_number_and_a_unit() {
        assert_eq!(millis("90d"), Ok(7_776_000_000));
        assert_eq!((millis("12h"), millis("30m"), millis("5s")), (Ok(43_200_000), Ok(1_800_000), Ok(5_000)));
        for text in ["", "d", "90", "1.5d", "-1d", "0s", "9999999999999999999d", "1 d", "1ä"] {
            assert!(millis(text).is_err(), "{text}");
        }
    }
}
