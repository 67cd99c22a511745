//! `usage.cost`, `usage.status`, `sessions.usage`, `sessions.usage.timeseries` and `sessions.usage.logs`.

#![expect(clippy::needless_pass_by_value, reason = "the table of methods fixes the signatures")]

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use telson_proto::params::{Count, Text};
use telson_proto::{ErrorShape, Json, Protocol};

use crate::auth::{Effect, authorize};
use crate::gateway::{Answer, Call, Gateway, Reply};
use crate::ids::{AgentId, SessionId, SessionKey};
use crate::messages::Outcome;
use crate::sessions::keys::normalise_agent;
use crate::sessions::{SessionEntry, sanitise};
use crate::store::{Loaded, PageQuery, Place, Query, StoreError, TranscriptEntry};

use super::days;
use super::record::{Cost, Record, Tokens};
use super::report::{Totals, dearest_first, merge, of_session};
use super::table::{Grain, Line, Span, UsageQuery, UsageRow, UsageTable, Whose, Zone};

const DEFAULT_DAYS: i64 = 30;
const MS_PER_DAY: u64 = 86_400_000;
const DEFAULT_SESSIONS: usize = 50;
const MAX_SESSIONS: usize = 1_000;
const MAX_POINTS: usize = 200;
const DEFAULT_LOGS: usize = 200;
const MAX_LOGS: usize = 1_000;
/// The longest text of a log line, in characters.
const MAX_LOG_CHARS: usize = 2_000;
const MAX_LOG_BYTES: usize = 4 * 1024 * 1024;

/// When and whose, as a client says it.
#[derive(Debug, Default)]
struct Asked {
    days: Option<i64>,
    start: Option<String>,
    end: Option<String>,
    range: Option<String>,
    mode: Option<String>,
    time_zone: Option<String>,
    utc_offset: Option<String>,
}

impl Asked {
    fn read(params: &Map<String, Value>) -> Self {
        let text = |name: &str| params.get(name).and_then(Value::as_str).map(str::to_owned);
        Self {
            days: params.get("days").and_then(number),
            start: text("startDate"),
            end: text("endDate"),
            range: text("range"),
            mode: text("mode"),
            time_zone: text("timeZone"),
            utc_offset: text("utcOffset"),
        }
    }

    fn span(&self, method: &str, now: u64) -> Result<Span, ErrorShape> {
        let day = |name: &str, text: &str| {
            days::parse(text)
                .ok_or_else(|| invalid(method, &format!("at /{name}: must be a date such as 2026-01-31")))
        };
        if let (Some(start), Some(end)) = (&self.start, &self.end) {
            let (first, last) = (day("startDate", start)?, day("endDate", end)?);
            if first > last {
                return Err(invalid(method, "at /startDate: must not be after endDate"));
            }
            return Ok(Span::Days(first, last));
        }
        let days = match self.range.as_deref() {
            Some("7d") => 7,
            Some("30d") => 30,
            Some("90d") => 90,
            Some("1y") => 365,
            Some("all") => i64::MAX,
            _ => self.days.unwrap_or(DEFAULT_DAYS).max(1),
        };
        Ok(Span::Last(now, days))
    }

    /// Without a mode, days are those of universal time, as clients expect it.
    fn zone(&self, method: &str) -> Result<Zone, ErrorShape> {
        match (self.mode.as_deref(), &self.time_zone, &self.utc_offset) {
            (Some("gateway"), ..) => Ok(Zone::Gateway),
            (Some("specific"), Some(name), _) => Ok(Zone::Named(name.clone())),
            (Some("specific"), None, Some(offset)) => self::offset(offset)
                .map(Zone::Offset)
                .ok_or_else(|| invalid(method, "at /utcOffset: must be an offset such as UTC+2 or UTC-3:30")),
            (Some("specific"), None, None) => {
                Err(invalid(method, "mode specific requires timeZone, such as Europe/Berlin"))
            }
            _ => Ok(Zone::Utc),
        }
    }
}

/// The parameters of `sessions.usage`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct SessionsUsageParams {
    key: Option<Text>,
    agent_id: Option<Text>,
    agent_scope: Option<Text>,
    start_date: Option<String>,
    end_date: Option<String>,
    range: Option<String>,
    mode: Option<String>,
    time_zone: Option<Text>,
    utc_offset: Option<String>,
    group_by: Option<GroupBy>,
    include_historical: Option<bool>,
    limit: Option<Count<1>>,
    include_context_weight: Option<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
enum GroupBy {
    Instance,
    Family,
}

/// The parameters of `sessions.usage.timeseries` and `sessions.usage.logs`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OneSessionParams {
    key: Text,
    #[serde(default)]
    agent_id: Option<Text>,
    #[serde(default)]
    limit: Option<Count<1>>,
}

/// `usage.cost`: tokens and cost by day. Protocol 3 knows `days` and the default agent only, and its first day
/// begins that many times 24 hours ago.
pub(crate) fn cost(gateway: &mut Gateway, call: Call<Map<String, Value>>) -> Answer<()> {
    authorize(&call.principal, &Effect::ReadSessions)?;
    let now = gateway.now.wall;
    let asked = Asked::read(&call.params);
    let old = call.protocol() == Protocol::V3;
    let (span, zone, days) = if old {
        let days = asked.days.unwrap_or(DEFAULT_DAYS).max(1);
        let back = u64::try_from(days - 1).unwrap_or(0).saturating_mul(MS_PER_DAY);
        (Span::Since(now.saturating_sub(back)), Zone::Gateway, Some(days))
    } else {
        (asked.span("usage.cost", now)?, asked.zone("usage.cost")?, None)
    };
    let everyone = !old && call.params.get("agentScope").is_some_and(|scope| scope == "all");
    let agent = call.params.get("agentId").and_then(Value::as_str).filter(|_| !old);
    let whose = if everyone { Whose::Everyone } else { gateway.agents_lines(agent) };
    let query = UsageQuery { whose, span, zone, grain: Grain::Day };
    let ticket = call.ticket;
    gateway.load_usage("usage.cost", query, move |gateway, table| {
        let outcome = table.map(|table| {
            let (daily, totals) = gateway.usage.daily(&table, !old);
            let days = days.unwrap_or_else(|| table.last_day.saturating_sub(table.first_day) + 1);
            Outcome::ok(Json::of(&json!({"updatedAt": now, "days": days, "daily": daily, "totals": totals})))
        });
        gateway.reply(ticket, outcome.unwrap_or_else(Outcome::error));
    });
    Ok(Reply::Later)
}

/// `usage.status`: the providers whose quota the reference reads, of those that have a credential here. The
/// gateway does not ask them; it says so.
pub(crate) fn status(gateway: &mut Gateway, call: Call<Map<String, Value>>) -> Answer<Json> {
    const KNOWN: [(&str, &str); 8] = [
        ("anthropic", "Claude"),
        ("github-copilot", "Copilot"),
        ("google-gemini-cli", "Gemini"),
        ("google-antigravity", "Antigravity"),
        ("minimax", "MiniMax"),
        ("openai-codex", "Codex"),
        ("xiaomi", "Xiaomi"),
        ("zai", "z.ai"),
    ];
    authorize(&call.principal, &Effect::ReadSessions)?;
    let has_key = |id: &str| {
        gateway.settings.providers.iter().any(|provider| provider.id == id && provider.api_key.is_some())
    };
    let providers: Vec<Value> = KNOWN
        .iter()
        .filter(|(id, _)| has_key(id))
        .map(|(id, name)| {
            json!({"provider": id, "displayName": name, "windows": [], "error": "quota is not read by this gateway"})
        })
        .collect();
    Ok(Reply::Ready(Json::of(&json!({"updatedAt": gateway.now.wall, "providers": providers}))))
}

/// `sessions.usage`: what each session used, newest first, and what all of these used together.
pub(crate) fn sessions(gateway: &mut Gateway, call: Call<SessionsUsageParams>) -> Answer<()> {
    authorize(&call.principal, &Effect::ReadSessions)?;
    let params = call.params;
    let asked = Asked {
        days: None,
        start: params.start_date.clone(),
        end: params.end_date.clone(),
        range: params.range.clone(),
        mode: params.mode.clone(),
        time_zone: params.time_zone.as_ref().map(|zone| zone.as_str().to_owned()),
        utc_offset: params.utc_offset.clone(),
    };
    let now = gateway.now.wall;
    let (span, zone) = (asked.span("sessions.usage", now)?, asked.zone("sessions.usage")?);
    let family = params.group_by == Some(GroupBy::Family) || params.include_historical == Some(true);
    let chosen = gateway.chosen(&params, span)?;
    let matched = chosen.len();
    let limit = params.limit.map_or(DEFAULT_SESSIONS, Count::as_len).min(MAX_SESSIONS);
    let sessions: Vec<(SessionKey, SessionId)> = chosen.into_iter().take(limit).collect();
    let whose = Whose::Sessions { sessions: sessions.clone(), history: family };
    let query = UsageQuery { whose, span, zone, grain: Grain::Day };
    let about = About { family, weight: params.include_context_weight == Some(true), matched, now };
    let ticket = call.ticket;
    gateway.load_usage("sessions.usage", query, move |gateway, table| {
        let outcome = table.map(|table| Outcome::ok(gateway.sessions_usage(&sessions, &table, &about)));
        gateway.reply(ticket, outcome.unwrap_or_else(Outcome::error));
    });
    Ok(Reply::Later)
}

/// `sessions.usage.timeseries`: how a session's use has grown, in at most 200 points.
pub(crate) fn timeseries(gateway: &mut Gateway, call: Call<OneSessionParams>) -> Answer<()> {
    authorize(&call.principal, &Effect::ReadSessions)?;
    let (key, session) = gateway.one_session(&call.params)?;
    let id = session.as_str().to_owned();
    let query = UsageQuery {
        whose: Whose::Sessions { sessions: vec![(key, session)], history: false },
        span: Span::Since(0),
        zone: Zone::Utc,
        grain: Grain::Points(MAX_POINTS),
    };
    let ticket = call.ticket;
    gateway.load_usage("sessions.usage.timeseries", query, move |gateway, table| {
        let outcome = table.map(|table| {
            Outcome::ok(Json::of(&json!({"sessionId": id, "points": gateway.usage.points(&table)})))
        });
        gateway.reply(ticket, outcome.unwrap_or_else(Outcome::error));
    });
    Ok(Reply::Later)
}

/// `sessions.usage.logs`: the last messages of a session with what each cost, oldest first.
pub(crate) fn logs(gateway: &mut Gateway, call: Call<OneSessionParams>) -> Answer<()> {
    authorize(&call.principal, &Effect::ReadSessions)?;
    let (_, session) = gateway.one_session(&call.params)?;
    let limit = call.params.limit.map_or(DEFAULT_LOGS, Count::as_len).min(MAX_LOGS);
    let (place, max_bytes) = (Place::End(0), MAX_LOG_BYTES);
    let query = PageQuery { session, place, limit, max_bytes, brief: true, runs: Vec::new() };
    let ticket = call.ticket;
    gateway.load(Query::Page(query), move |gateway, loaded| {
        let outcome = match loaded {
            Ok(Loaded::Page(page)) => {
                let logs: Vec<Value> =
                    page.entries.iter().filter_map(|entry| gateway.log_line(entry)).collect();
                Outcome::ok(Json::of(&json!({"logs": logs})))
            }
            Ok(_) => Outcome::error(ErrorShape::unavailable("the store answered another question")),
            Err(error) => Outcome::error(error.into()),
        };
        gateway.reply(ticket, outcome);
    });
    Ok(Reply::Later)
}

/// What an answer to `sessions.usage` is to say.
struct About {
    family: bool,
    weight: bool,
    matched: usize,
    now: u64,
}

impl Gateway {
    /// Asks the store's book.
    fn load_usage(
        &mut self,
        method: &'static str,
        query: UsageQuery,
        then: impl FnOnce(&mut Self, Result<UsageTable, ErrorShape>) + Send + 'static,
    ) {
        self.load(Query::Usage(query), move |gateway, loaded: Result<Loaded, StoreError>| {
            let table = match loaded {
                Ok(Loaded::Usage(Ok(table))) => Ok(table),
                Ok(Loaded::Usage(Err(unknown))) => {
                    let name: String = unknown.0.chars().filter(|c| !c.is_control()).take(64).collect();
                    let detail =
                        format!("at /timeZone: no time zone is called {name}; use one such as Europe/Berlin");
                    Err(invalid(method, &detail))
                }
                Ok(_) => Err(ErrorShape::unavailable("the store answered another question")),
                Err(error) => Err(error.into()),
            };
            then(gateway, table);
        });
    }

    /// The lines of an agent's sessions; of the default agent's when none is named.
    fn agents_lines(&self, agent: Option<&str>) -> Whose {
        let own = self.sessions.rules().default_agent();
        let agent = agent.map_or_else(|| own.clone(), normalise_agent);
        Whose::Agent { prefix: format!("agent:{agent}:"), default: agent == *own }
    }

    /// The sessions that a question is about, newest first.
    fn chosen(
        &self,
        params: &SessionsUsageParams,
        span: Span,
    ) -> Result<Vec<(SessionKey, SessionId)>, ErrorShape> {
        if let Some(key) = &params.key {
            let key = self.sessions.resolve_for(key.as_str(), params.agent_id.as_ref())?;
            return Ok(self
                .sessions
                .get(&key)
                .map(|session| (key, session.id.clone()))
                .into_iter()
                .collect());
        }
        let everyone = params.agent_scope.as_ref().is_some_and(|scope| scope.as_str() == "all");
        let agent: Option<AgentId> =
            params.agent_id.as_ref().filter(|_| !everyone).map(|id| normalise_agent(id.as_str()));
        let query = UsageQuery { whose: Whose::Everyone, span, zone: Zone::Utc, grain: Grain::Day };
        let since = query.window(&|ms| days::day_at(ms, 0)).from_ms.saturating_sub(MS_PER_DAY);
        let sessions = self.sessions.in_order(agent.as_ref(), false);
        let recent = sessions.take_while(|(_, session)| session.updated_at >= since);
        Ok(recent.map(|(key, session)| (key.clone(), session.id.clone())).collect())
    }

    fn one_session(&self, params: &OneSessionParams) -> Result<(SessionKey, SessionId), ErrorShape> {
        let key = self.sessions.resolve_for(params.key.as_str(), params.agent_id.as_ref())?;
        let session = self.sessions.get(&key).map(|session| session.id.clone());
        let session = session
            .ok_or_else(|| ErrorShape::invalid(format!("No transcript found for session: {}", params.key)))?;
        Ok((key, session))
    }

    fn sessions_usage(
        &self,
        sessions: &[(SessionKey, SessionId)],
        table: &UsageTable,
        about: &About,
    ) -> Json {
        let (mut rows, mut durations) = (Vec::with_capacity(sessions.len()), Vec::new());
        let mut agents: BTreeMap<String, Totals> = BTreeMap::new();
        let mut channels: BTreeMap<String, Totals> = BTreeMap::new();
        for (key, id) in sessions {
            let Some(session) = self.sessions.get(key) else { continue };
            let lines = of_session(table, key);
            let summary = self.usage.summary(&lines);
            let agent = self.sessions.rules().agent_of(key);
            let entry = &session.entry;
            if !lines.is_empty() {
                durations.extend(summary.duration());
                let sums = agents.entry(agent.to_string()).or_insert_with(|| Totals::empty(true));
                merge(sums, &summary.totals);
                if let Some(channel) = channel(entry) {
                    let sums = channels.entry(channel.to_owned()).or_insert_with(|| Totals::empty(true));
                    merge(sums, &summary.totals);
                }
            }
            let usage = if lines.is_empty() { Value::Null } else { summary.of_session(id.as_str()) };
            let mut row = about_session(key, id, entry, about);
            row["updatedAt"] = session.updated_at.into();
            row["agentId"] = agent.as_str().into();
            row["usage"] = usage;
            rows.push(row);
        }
        let all: Vec<&UsageRow> = table.rows.iter().collect();
        let summary = self.usage.summary(&all);
        let mut aggregates = summary.aggregates();
        aggregates["byAgent"] = by("agentId", agents);
        aggregates["byChannel"] = by("channel", channels);
        Json::of(&json!({
            "updatedAt": about.now,
            "startDate": days::write(table.first_day),
            "endDate": days::write(table.last_day),
            "overview": {
                "matchedSessions": about.matched,
                "returnedSessions": rows.len(),
                "durationCount": durations.len(),
                "durationSumMs": durations.iter().sum::<u64>(),
            },
            "sessions": rows,
            "totals": summary.totals,
            "aggregates": aggregates,
        }))
    }

    /// A message as a line of the log.
    fn log_line(&self, entry: &TranscriptEntry) -> Option<Value> {
        let message = entry.message.to_value();
        let record = Record::of(&message)?;
        let role = match message.get("role")?.as_str()? {
            "tool" | "tool_result" => "toolResult",
            role => role,
        };
        let text = sanitise::text_of(&message);
        let text = if role == "user" { sanitise::user_text(&text).into_owned() } else { text };
        let mut content = match text.char_indices().nth(MAX_LOG_CHARS) {
            Some((at, _)) => format!("{}…", &text[..at]),
            None => text,
        };
        if content.trim().is_empty() {
            content = record.tools.iter().map(|tool| format!("[call {tool}]")).collect::<Vec<_>>().join(" ");
        }
        let mut line = json!({"timestamp": entry.at, "role": role, "content": content});
        if record.tokens.is_some_and(|tokens| tokens != Tokens::default()) {
            let Line { key, provider, model, sums } = Line::of(SessionKey::new(""), entry.at, record);
            let row = UsageRow { key, slot: 0, provider, model, sums };
            let (Cost { total, .. }, missing) = self.usage.cost_of(&row);
            line["tokens"] = row.sums.tokens.total.into();
            if missing == 0 {
                line["cost"] = json!(total);
            }
        }
        Some(line)
    }
}

fn channel(entry: &SessionEntry) -> Option<&str> {
    entry.text("channel").or_else(|| entry.extra.get("origin")?.get("provider")?.as_str())
}

/// What a row says of its session, use and agent apart.
fn about_session(key: &SessionKey, id: &SessionId, entry: &SessionEntry, about: &About) -> Value {
    let mut row = json!({
        "key": key,
        "sessionId": id,
        "scope": if about.family { "family" } else { "instance" },
    });
    let texts = [
        ("label", entry.label.as_deref()),
        ("channel", channel(entry)),
        ("chatType", entry.chat_type.as_deref()),
        ("modelOverride", entry.model_override.as_deref()),
        ("providerOverride", entry.provider_override.as_deref()),
        ("modelProvider", entry.model_provider.as_deref()),
        ("model", entry.model.as_deref()),
    ];
    for (name, text) in texts {
        if let Some(text) = text {
            row[name] = text.into();
        }
    }
    if let Some(origin) = entry.extra.get("origin") {
        row["origin"] = origin.clone();
    }
    if about.family {
        row["sessionFamilyKey"] = key.as_str().into();
        row["currentSessionId"] = id.as_str().into();
    }
    if about.weight {
        row["contextWeight"] = entry.extra.get("systemPromptReport").cloned().unwrap_or_default();
    }
    row
}

fn by(name: &str, totals: BTreeMap<String, Totals>) -> Value {
    let rows = totals.into_iter().map(|(id, totals)| (totals, json!({name: id, "totals": totals})));
    dearest_first(rows.collect()).into()
}

/// A number, or its text; rounded down.
fn number(value: &Value) -> Option<i64> {
    let number = value.as_f64().or_else(|| value.as_str()?.trim().parse().ok())?;
    #[expect(clippy::cast_possible_truncation, reason = "saturates")]
    number.is_finite().then(|| number.floor() as i64)
}

/// Reads `UTC+2` or `UTC-3:30`, in minutes.
fn offset(text: &str) -> Option<i32> {
    let rest = text.trim().strip_prefix("UTC")?;
    let (sign, rest) = match rest.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let (hours, minutes) = rest.split_once(':').unwrap_or((rest, "0"));
    let digits = |text: &str| !text.is_empty() && text.len() <= 2 && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(hours) || !digits(minutes) {
        return None;
    }
    let (hours, minutes): (i32, i32) = (hours.parse().ok()?, minutes.parse().ok()?);
    let offset = sign * (hours * 60 + minutes);
    (minutes < 60 && (-12 * 60..=14 * 60).contains(&offset)).then_some(offset)
}

fn invalid(method: &str, detail: &str) -> ErrorShape {
    ErrorShape::invalid(format!("invalid {method} params: {detail}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_read_as_clients_write_them() {
        for (text, minutes) in [("UTC+0", 0), ("UTC+2", 120), ("UTC-3:30", -210), ("UTC+14", 840)] {
            assert_eq!(offset(text), Some(minutes));
        }
        for text in ["", "UTC", "+2", "UTC+15", "UTC-13", "UTC+2:60", "UTC+2:", "UTC+-2", "UTC+é"] {
            assert_eq!(offset(text), None, "{text}");
        }
    }

    #[test]
    fn days_are_numbers_or_their_text() {
        assert_eq!(number(&json!(7.9)), Some(7));
        assert_eq!(number(&json!(" 12 ")), Some(12));
        assert_eq!(number(&json!("many")), None);
        assert_eq!(number(&json!(null)), None);
    }
}
