//! Tables as the answers to clients: totals, days, sessions (spec 02 §16.2, §20.7).

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use crate::ids::SessionKey;

use super::record::{Cost, Tokens};
use super::table::{Sums, UsageRow, UsageTable};
use super::{Usage, days};

/// Tokens and their cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Totals {
    pub(super) input: u64,
    pub(super) output: u64,
    pub(super) cache_read: u64,
    pub(super) cache_write: u64,
    pub(super) total_tokens: u64,
    pub(super) total_cost: f64,
    pub(super) missing_cost_entries: u64,
    /// What protocol 4 adds.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    parts: Option<Parts>,
}

/// The cost by kind of token, where it is known by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Parts {
    input_cost: f64,
    output_cost: f64,
    cache_read_cost: f64,
    cache_write_cost: f64,
}

/// A day's totals.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Day {
    date: String,
    #[serde(flatten)]
    totals: Totals,
}

impl Totals {
    /// Nothing yet, with the cost by kind or without.
    pub(super) fn empty(by_kind: bool) -> Self {
        Self { parts: by_kind.then(Parts::default), ..Self::default() }
    }

    fn add(&mut self, tokens: &Tokens, cost: &Cost, missing: u64) {
        self.input = self.input.saturating_add(tokens.input);
        self.output = self.output.saturating_add(tokens.output);
        self.cache_read = self.cache_read.saturating_add(tokens.cache_read);
        self.cache_write = self.cache_write.saturating_add(tokens.cache_write);
        self.total_tokens = self.total_tokens.saturating_add(tokens.total);
        self.total_cost += cost.total;
        self.missing_cost_entries += missing;
        if let Some(parts) = &mut self.parts {
            parts.input_cost += cost.input;
            parts.output_cost += cost.output;
            parts.cache_read_cost += cost.cache_read;
            parts.cache_write_cost += cost.cache_write;
        }
    }
}

impl Usage {
    /// The cost of a row, stated and priced, and how many of its messages have none.
    pub(super) fn cost_of(&self, row: &UsageRow) -> (Cost, u64) {
        let mut cost = row.sums.cost;
        match self.price(&row.provider, &row.model) {
            Some(price) => cost += price.of(&row.sums.unpriced_tokens),
            None => return (cost, row.sums.unpriced),
        }
        (cost, 0)
    }

    fn add(&self, totals: &mut Totals, row: &UsageRow) {
        let (cost, missing) = self.cost_of(row);
        totals.add(&row.sums.tokens, &cost, missing);
    }

    /// The days that have answers, oldest first, and the totals.
    pub(super) fn daily(&self, table: &UsageTable, by_kind: bool) -> (Vec<Day>, Totals) {
        let mut days = BTreeMap::new();
        let mut totals = Totals::empty(by_kind);
        for row in table.rows.iter().filter(|row| row.sums.calls > 0) {
            self.add(days.entry(row.slot).or_insert_with(|| Totals::empty(by_kind)), row);
            self.add(&mut totals, row);
        }
        let day = |(slot, totals)| Day { date: days::write(slot), totals };
        (days.into_iter().map(day).collect(), totals)
    }

    /// The points of a session's time series, oldest first.
    pub(super) fn points(&self, table: &UsageTable) -> Vec<Value> {
        let mut slots: BTreeMap<i64, (u64, Totals)> = BTreeMap::new();
        for row in table.rows.iter().filter(|row| row.sums.calls > 0) {
            let (at, totals) = slots.entry(row.slot).or_default();
            *at = (*at).max(row.sums.last_at);
            self.add(totals, row);
        }
        let (mut tokens, mut cost) = (0_u64, 0.0);
        let point = |(at, totals): (u64, Totals)| {
            tokens = tokens.saturating_add(totals.total_tokens);
            cost += totals.total_cost;
            json!({
                "timestamp": at,
                "input": totals.input,
                "output": totals.output,
                "cacheRead": totals.cache_read,
                "cacheWrite": totals.cache_write,
                "totalTokens": totals.total_tokens,
                "cost": totals.total_cost,
                "cumulativeTokens": tokens,
                "cumulativeCost": cost,
            })
        };
        slots.into_values().map(point).collect()
    }

    /// Everything about some rows: one session's, or all.
    pub(super) fn summary(&self, rows: &[&UsageRow]) -> Summary {
        let mut summary = Summary { totals: Totals::empty(true), ..Summary::default() };
        for row in rows {
            self.add(&mut summary.totals, row);
            let (cost, _) = self.cost_of(row);
            summary.sums.add(row.sums.clone());
            let day = summary.days.entry(row.slot).or_default();
            day.cost += cost.total;
            day.sums.add(row.sums.clone());
            if row.sums.calls > 0 {
                let name = (row.provider.clone(), row.model.clone());
                let model = summary.models.entry(name.clone()).or_insert((0, Totals::empty(true)));
                model.0 += row.sums.calls;
                self.add(&mut model.1, row);
                let daily = summary.model_days.entry((row.slot, name.0, name.1)).or_default();
                daily.0 += row.sums.tokens.total;
                daily.1 += cost.total;
                daily.2 += row.sums.calls;
            }
        }
        summary
    }
}

/// Everything about one session, or about all.
#[derive(Default)]
pub(super) struct Summary {
    pub(super) totals: Totals,
    sums: Sums,
    days: BTreeMap<i64, DaySums>,
    /// Calls and totals by provider and model.
    models: BTreeMap<(String, String), (u64, Totals)>,
    /// Tokens, cost and calls by day, provider and model.
    model_days: BTreeMap<(i64, String, String), (u64, f64, u64)>,
}

#[derive(Default)]
struct DaySums {
    cost: f64,
    sums: Sums,
}

impl Summary {
    /// How long the session has been active, in milliseconds; `None` when it was not.
    pub(super) fn duration(&self) -> Option<u64> {
        (self.sums.last_at > 0).then(|| self.sums.last_at - self.sums.first_at)
    }

    /// As the `usage` of a session.
    pub(super) fn of_session(&self, session: &str) -> Value {
        let dates: Vec<String> = self.days.keys().map(|day| days::write(*day)).collect();
        let breakdown: Vec<Value> = self
            .days
            .iter()
            .map(|(day, of)| json!({"date": days::write(*day), "tokens": of.sums.tokens.total, "cost": of.cost}))
            .collect();
        let daily_counts: Vec<Value> = self
            .days
            .iter()
            .map(|(day, of)| {
                let mut counts = counts(&of.sums);
                counts["date"] = days::write(*day).into();
                counts
            })
            .collect();
        let mut usage = serde_json::to_value(self.totals).unwrap_or_default();
        usage["sessionId"] = session.into();
        usage["firstActivity"] = self.sums.first_at.into();
        usage["lastActivity"] = self.sums.last_at.into();
        usage["durationMs"] = self.duration().into();
        usage["activityDates"] = json!(dates);
        usage["dailyBreakdown"] = json!(breakdown);
        usage["dailyMessageCounts"] = json!(daily_counts);
        usage["dailyModelUsage"] = json!(self.model_days());
        usage["messageCounts"] = counts(&self.sums);
        usage["toolUsage"] = tools(&self.sums);
        usage["modelUsage"] = json!(self.by_model());
        usage
    }

    /// As the `aggregates` of all sessions; agents and channels are the caller's.
    pub(super) fn aggregates(&self) -> Value {
        let daily: Vec<Value> = self
            .days
            .iter()
            .map(|(day, of)| {
                json!({
                    "date": days::write(*day),
                    "tokens": of.sums.tokens.total,
                    "cost": of.cost,
                    "messages": messages(&of.sums),
                    "toolCalls": of.sums.tools.values().sum::<u64>(),
                    "errors": of.sums.errors,
                })
            })
            .collect();
        json!({
            "messages": counts(&self.sums),
            "tools": tools(&self.sums),
            "byModel": self.by_model(),
            "byProvider": self.by_provider(),
            "modelDaily": self.model_days(),
            "daily": daily,
        })
    }

    fn by_model(&self) -> Vec<Value> {
        let models = self.models.iter().map(|((provider, model), (count, totals))| {
            (
                *totals,
                json!({"provider": named(provider), "model": named(model), "count": count, "totals": totals}),
            )
        });
        dearest_first(models.collect())
    }

    fn by_provider(&self) -> Vec<Value> {
        let mut providers: BTreeMap<&str, (u64, Totals)> = BTreeMap::new();
        for ((provider, _), (count, totals)) in &self.models {
            let sum = providers.entry(provider).or_insert((0, Totals::empty(true)));
            sum.0 += count;
            merge(&mut sum.1, totals);
        }
        let providers = providers.into_iter().map(|(provider, (count, totals))| {
            (totals, json!({"provider": named(provider), "count": count, "totals": totals}))
        });
        dearest_first(providers.collect())
    }

    fn model_days(&self) -> Vec<Value> {
        let day =
            |((day, provider, model), (tokens, cost, count)): (&(i64, String, String), &(u64, f64, u64))| {
                json!({
                    "date": days::write(*day), "provider": named(provider), "model": named(model),
                    "tokens": tokens, "cost": cost, "count": count,
                })
            };
        self.model_days.iter().map(day).collect()
    }
}

/// Adds totals to totals.
pub(super) fn merge(into: &mut Totals, other: &Totals) {
    let tokens = Tokens {
        input: other.input,
        output: other.output,
        cache_read: other.cache_read,
        cache_write: other.cache_write,
        total: other.total_tokens,
    };
    let parts = other.parts.unwrap_or_default();
    let cost = Cost {
        total: other.total_cost,
        input: parts.input_cost,
        output: parts.output_cost,
        cache_read: parts.cache_read_cost,
        cache_write: parts.cache_write_cost,
    };
    into.add(&tokens, &cost, other.missing_cost_entries);
}

/// Those that cost most first, then those with most tokens.
pub(super) fn dearest_first(mut rows: Vec<(Totals, Value)>) -> Vec<Value> {
    rows.sort_by(|(a, _), (b, _)| {
        b.total_cost.total_cmp(&a.total_cost).then(b.total_tokens.cmp(&a.total_tokens))
    });
    rows.into_iter().map(|(_, row)| row).collect()
}

/// The rows of one session.
pub(super) fn of_session<'a>(table: &'a UsageTable, key: &SessionKey) -> Vec<&'a UsageRow> {
    let from = table.rows.partition_point(|row| row.key < *key);
    table.rows[from..].iter().take_while(|row| row.key == *key).collect()
}

fn named(name: &str) -> Option<&str> {
    (!name.is_empty()).then_some(name)
}

fn messages(sums: &Sums) -> u64 {
    sums.user + sums.assistant
}

fn counts(sums: &Sums) -> Value {
    json!({
        "total": messages(sums),
        "user": sums.user,
        "assistant": sums.assistant,
        "toolCalls": sums.tools.values().sum::<u64>(),
        "toolResults": sums.tool_results,
        "errors": sums.errors,
    })
}

fn tools(sums: &Sums) -> Value {
    let mut tools: Vec<(&String, &u64)> = sums.tools.iter().collect();
    tools.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let list: Vec<Value> = tools.iter().map(|(name, count)| json!({"name": name, "count": count})).collect();
    json!({
        "totalCalls": sums.tools.values().sum::<u64>(),
        "uniqueTools": sums.tools.len(),
        "tools": list,
    })
}
