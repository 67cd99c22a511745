//! The question to the store's book, and its answer: sums by session, day and model.

use std::collections::BTreeMap;

use crate::ids::{SessionId, SessionKey};
use crate::store::TranscriptEntry;

use super::days;
use super::record::{Cost, Record, Speaker, Tokens};

/// At most this many days are asked for: beyond it the oldest are left out.
const MAX_DAYS: i64 = 36_600;
const MS_PER_DAY: i64 = 86_400_000;
/// No time zone is further from Greenwich.
const FURTHEST_ZONE_MS: i64 = 15 * 3_600_000;

/// A question to the book.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageQuery {
    /// Whose lines.
    pub whose: Whose,
    /// From when to when.
    pub span: Span,
    /// Whose calendar.
    pub zone: Zone,
    /// How finely.
    pub grain: Grain,
}

/// Whose lines are added up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whose {
    /// Everyone's answers that state tokens, not told apart by session.
    Everyone,
    /// The same of the sessions of an agent.
    Agent {
        /// How its keys begin: `agent:<id>:`.
        prefix: String,
        /// It is the default agent: keys that name no agent are its too.
        default: bool,
    },
    /// Those of some sessions, each by itself.
    Sessions {
        /// Key and current incarnation.
        sessions: Vec<(SessionKey, SessionId)>,
        /// The incarnations before a reset too.
        history: bool,
    },
}

/// A span of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// From a moment on, in epoch milliseconds.
    Since(u64),
    /// From one day to another, both included.
    Days(i64, i64),
    /// The day of a moment and the days before it: this many in all.
    Last(u64, i64),
}

/// Whose calendar a day belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Zone {
    /// Coordinated universal time.
    Utc,
    /// That of the gateway's host.
    Gateway,
    /// So many minutes east of Greenwich.
    Offset(i32),
    /// That of this name in the time zone database.
    Named(String),
}

/// How finely lines are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grain {
    /// By day.
    Day,
    /// In at most this many groups of equally many answers, in their order.
    Points(usize),
}

/// There is no time zone of this name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownZone(pub String);

/// What was added up.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UsageTable {
    /// The first day asked for, in days since 1970-01-01.
    pub first_day: i64,
    /// The last.
    pub last_day: i64,
    /// In the order of session, slot, provider and model.
    pub rows: Vec<UsageRow>,
}

/// Sums of lines that have everything but their moments in common.
#[derive(Clone, Debug, PartialEq)]
pub struct UsageRow {
    /// The session; empty when sessions are not told apart.
    pub key: SessionKey,
    /// Its day, or the number of its group.
    pub slot: i64,
    /// The provider; empty when messages name none.
    pub provider: String,
    /// The model; empty when messages name none.
    pub model: String,
    /// The sums.
    pub sums: Sums,
}

/// What can be added up.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sums {
    /// The first moment in epoch milliseconds.
    pub first_at: u64,
    /// The last.
    pub last_at: u64,
    /// Answers that state their tokens.
    pub calls: u64,
    /// Their tokens.
    pub tokens: Tokens,
    /// Those of them that used tokens and do not state what they cost.
    pub unpriced: u64,
    /// The tokens of these.
    pub unpriced_tokens: Tokens,
    /// The stated cost of the others.
    pub cost: Cost,
    /// Messages of the user.
    pub user: u64,
    /// Messages of the assistant.
    pub assistant: u64,
    /// Answers of tools.
    pub tool_results: u64,
    /// Failed answers and tools' errors.
    pub errors: u64,
    /// How often each tool was called.
    pub tools: BTreeMap<String, u64>,
}

/// A line of the book, or several added up, on its way into a table.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// The session; empty when sessions are not told apart.
    pub key: SessionKey,
    /// The provider; empty when unknown.
    pub provider: String,
    /// The model; empty when unknown.
    pub model: String,
    /// The sums.
    pub sums: Sums,
}

/// The moments and days of a span in some zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// No line before this moment belongs to the span.
    pub from_ms: u64,
    /// No line after this moment belongs to it.
    pub to_ms: u64,
    /// The first day.
    pub first_day: i64,
    /// The last day.
    pub last_day: i64,
}

impl UsageQuery {
    /// The bounds of the span, given on which day a moment lies in the zone.
    pub fn window(&self, day_of: &dyn Fn(u64) -> i64) -> Window {
        let (first_day, last_day) = match self.span {
            Span::Since(ms) => {
                return Window {
                    from_ms: ms,
                    to_ms: u64::MAX >> 1,
                    first_day: day_of(ms),
                    last_day: i64::MAX,
                };
            }
            Span::Days(first, last) => (first.max(last.saturating_sub(MAX_DAYS)), last),
            Span::Last(now, days) => {
                let today = day_of(now);
                (today - days.clamp(1, MAX_DAYS) + 1, today)
            }
        };
        let ms = |day: i64, slack: i64| {
            u64::try_from(day.saturating_mul(MS_PER_DAY).saturating_add(slack)).unwrap_or(0)
        };
        Window {
            from_ms: ms(first_day, -FURTHEST_ZONE_MS),
            to_ms: ms(last_day.saturating_add(1), FURTHEST_ZONE_MS),
            first_day,
            last_day,
        }
    }

    /// The answer from transcripts in memory; what the database answers in another way. It knows universal time
    /// and offsets only.
    ///
    /// # Errors
    ///
    /// For zones with a name other than `UTC`.
    pub fn of<'a>(
        &self,
        entries: impl Iterator<Item = (&'a SessionKey, &'a TranscriptEntry)>,
    ) -> Result<UsageTable, UnknownZone> {
        let offset = match &self.zone {
            Zone::Utc | Zone::Gateway => 0,
            Zone::Offset(minutes) => i64::from(*minutes),
            Zone::Named(name) if name == "UTC" => 0,
            Zone::Named(name) => return Err(UnknownZone(name.clone())),
        };
        let day_of = move |ms| days::day_at(ms, offset);
        let mut book = Book::new(self.window(&day_of));
        let (mut count, mut lines) = (0_usize, Vec::new());
        for (key, entry) in entries {
            let Some(record) = Record::of(&entry.message.to_value()) else { continue };
            let told_apart = match &self.whose {
                Whose::Everyone => false,
                Whose::Agent { prefix, default } => {
                    let text = key.as_str();
                    if !text.starts_with(prefix) && !(*default && !text.starts_with("agent:")) {
                        continue;
                    }
                    false
                }
                Whose::Sessions { sessions, history } => {
                    let same =
                        |(k, id): &(SessionKey, SessionId)| k == key && (*history || *id == entry.session);
                    if !sessions.iter().any(same) {
                        continue;
                    }
                    true
                }
            };
            if record.tokens.is_none() && !(told_apart && self.grain == Grain::Day) {
                continue;
            }
            count += 1;
            let name = if told_apart { key.clone() } else { SessionKey::new("") };
            lines.push((count, Line::of(name, entry.at, record)));
        }
        for (number, line) in lines {
            match self.grain {
                Grain::Day => book.add_day(day_of(line.sums.first_at), line),
                Grain::Points(most) => book.add(point(number - 1, count, most), line),
            }
        }
        Ok(book.close())
    }
}

/// The group of the `n`th of `count` lines when there are to be at most `most` groups.
pub fn point(n: usize, count: usize, most: usize) -> i64 {
    i64::try_from(n / count.div_ceil(most.max(1)).max(1)).unwrap_or(i64::MAX)
}

impl Line {
    /// The line of a message.
    pub fn of(key: SessionKey, at: u64, record: Record) -> Self {
        let failed = u64::from(record.failed);
        let mut sums = Sums { first_at: at, last_at: at, errors: failed, ..Sums::default() };
        match record.speaker {
            Speaker::User => sums.user = 1,
            Speaker::Assistant => sums.assistant = 1,
            Speaker::Tool => sums.tool_results = 1,
        }
        for tool in record.tools {
            *sums.tools.entry(tool).or_default() += 1;
        }
        if let Some(tokens) = record.tokens {
            sums.calls = 1;
            sums.tokens = tokens;
            match record.cost {
                Some(cost) => sums.cost = cost,
                None if tokens == Tokens::default() => {}
                None => {
                    sums.unpriced = 1;
                    sums.unpriced_tokens = tokens;
                }
            }
        }
        let (provider, model) = (record.provider.unwrap_or_default(), record.model.unwrap_or_default());
        Self { key, provider, model, sums }
    }
}

impl Sums {
    /// Takes other sums in.
    pub fn add(&mut self, other: Self) {
        let empty = self.last_at == 0;
        self.first_at = if empty { other.first_at } else { self.first_at.min(other.first_at) };
        self.last_at = self.last_at.max(other.last_at);
        self.calls += other.calls;
        self.tokens += other.tokens;
        self.unpriced += other.unpriced;
        self.unpriced_tokens += other.unpriced_tokens;
        self.cost += other.cost;
        self.user += other.user;
        self.assistant += other.assistant;
        self.tool_results += other.tool_results;
        self.errors += other.errors;
        for (tool, count) in other.tools {
            *self.tools.entry(tool).or_default() += count;
        }
    }
}

/// Session, slot, provider and model.
type RowKey = (SessionKey, i64, String, String);

/// Adds lines up to a table.
#[derive(Debug)]
pub struct Book {
    window: Window,
    rows: BTreeMap<RowKey, Sums>,
}

impl Book {
    /// An empty table for a window.
    pub fn new(window: Window) -> Self {
        Self { window, rows: BTreeMap::new() }
    }

    /// Adds a line of a day, unless the window does not have the day.
    pub fn add_day(&mut self, day: i64, line: Line) {
        let from = self.window.from_ms;
        if (self.window.first_day..=self.window.last_day).contains(&day) && line.sums.last_at >= from {
            self.add(day, line);
        }
    }

    /// Adds a line to a slot.
    pub fn add(&mut self, slot: i64, line: Line) {
        self.rows.entry((line.key, slot, line.provider, line.model)).or_default().add(line.sums);
    }

    /// The table.
    pub fn close(self) -> UsageTable {
        let row = |((key, slot, provider, model), sums)| UsageRow { key, slot, provider, model, sums };
        UsageTable {
            first_day: self.window.first_day,
            last_day: self.window.last_day,
            rows: self.rows.into_iter().map(row).collect(),
        }
    }
}
