//! `usage`: what the models used and cost, by day (spec 02 §16.2).

use serde_json::{Value, json};

use crate::config::Places;
use crate::runtime::Runtime;

use super::args::Usage;
use super::cells::{list, number, text};
use super::error::CliError;
use super::show::connect;
use super::term::Output;

const METHOD: &str = "usage.cost";

/// `usage`
pub(crate) async fn run<R: Runtime>(
    runtime: &R,
    places: &Places,
    args: &Usage,
    output: Output,
) -> Result<(), CliError> {
    let (mut client, _) = connect(runtime, places, &args.client).await?;
    let mut params = json!({"days": args.days});
    if let Some(agent) = &args.agent {
        params["agentId"] = agent.clone().into();
    }
    let outcome = match client.require(METHOD) {
        Ok(()) => client.call(METHOD, params).await,
        Err(error) => Err(error),
    };
    client.close().await;
    let usage = outcome?;
    if output.json {
        output.value(&usage);
        return Ok(());
    }
    let days = list(&usage, "daily");
    if days.is_empty() {
        output.line(&format!("Nothing was used in the last {} days.", args.days));
        return Ok(());
    }
    output.table(&["DAY", "INPUT", "OUTPUT", "CACHE READ", "CACHE WRITE", "TOKENS", "COST"], rows(&usage));
    if let Some(note) = unpriced(&usage) {
        output.note(&note);
    }
    Ok(())
}

/// A row for each day, and one for all of them.
fn rows(usage: &Value) -> Vec<Vec<String>> {
    let row = |name: String, numbers: &Value| {
        let mut row = vec![name];
        let names = ["input", "output", "cacheRead", "cacheWrite", "totalTokens"];
        row.extend(names.map(|name| number(numbers, name)));
        row.push(cost(numbers));
        row
    };
    let mut rows: Vec<_> = list(usage, "daily").iter().map(|day| row(text(day, "date"), day)).collect();
    if let Some(totals) = usage.get("totals") {
        rows.push(row("total".to_owned(), totals));
    }
    rows
}

/// The cost in dollars: `unknown` when no call has a price, and with a plus when some have none.
fn cost(numbers: &Value) -> String {
    let cost = numbers.get("totalCost").and_then(Value::as_f64).unwrap_or(0.0);
    let missing = numbers.get("missingCostEntries").and_then(Value::as_u64).unwrap_or(0);
    match (cost > 0.0, missing > 0) {
        (false, true) => "unknown".to_owned(),
        (true, true) => format!("{}+", dollars(cost)),
        (_, false) => dollars(cost),
    }
}

/// Small sums keep the digits that tell them from nothing.
fn dollars(cost: f64) -> String {
    if cost > 0.0 && cost < 0.1 { format!("${cost:.4}") } else { format!("${cost:.2}") }
}

fn unpriced(usage: &Value) -> Option<String> {
    let missing = usage.pointer("/totals/missingCostEntries").and_then(Value::as_u64).filter(|n| *n > 0)?;
    let answers = if missing == 1 { "1 answer has".to_owned() } else { format!("{missing} answers have") };
    Some(format!(
        "{answers} no price. Prices come from models.providers.<provider>.models[].cost in the configuration."
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage() -> Value {
        let day = |date: &str, cost: f64, missing: u64| {
            json!({"date": date, "input": 1_000, "output": 50, "cacheRead": 0, "cacheWrite": 0,
                "totalTokens": 1_050, "totalCost": cost, "missingCostEntries": missing})
        };
        let mut totals = day("", 1.5, 2);
        totals["totalTokens"] = 2_100.into();
        json!({"updatedAt": 0, "days": 30, "daily": [day("2026-01-30", 1.5, 0), day("2026-01-31", 0.0, 2)], "totals": totals})
    }

    #[test]
    fn each_day_has_a_row_and_so_have_all_together() {
        let rows = rows(&usage());
        assert_eq!(rows[0], ["2026-01-30", "1,000", "50", "0", "0", "1,050", "$1.50"]);
        assert_eq!(rows[1][6], "unknown", "no price is not the same as nothing to pay");
        assert_eq!(
            (rows[2][0].as_str(), rows[2][5].as_str(), rows[2][6].as_str()),
            ("total", "2,100", "$1.50+")
        );
    }

    #[test]
    fn small_sums_are_not_nothing() {
        assert_eq!(dollars(0.0004), "$0.0004");
        assert_eq!(dollars(0.0), "$0.00");
        assert_eq!(dollars(12.345), "$12.35");
    }

    #[test]
    fn what_has_no_price_is_said() {
        assert!(unpriced(&usage()).is_some_and(|note| note.starts_with("2 answers have no price")));
        assert_eq!(unpriced(&json!({"totals": {"missingCostEntries": 0}})), None);
    }
}
