//! When a session begins anew by itself (spec 02 §19.1).

use std::collections::BTreeMap;

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
/// The hour of the day at which a daily reset falls due when no hour is named.
pub const DEFAULT_HOUR: u8 = 4;
/// How long a session may be idle in mode `idle` when no time is named, in minutes.
pub const DEFAULT_IDLE_MINUTES: u64 = 60;

/// What makes a session old.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The hour of the day has come.
    Daily,
    /// Nobody has said anything for a while.
    Idle,
    /// Nothing.
    None,
}

/// One rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResetRule {
    /// What makes a session old.
    pub mode: Mode,
    /// The hour of mode `daily`, 0 to 23, in the gateway's local time.
    pub at_hour: u8,
    /// After so many idle minutes a session is old, in mode `daily` too.
    pub idle_minutes: Option<u64>,
}

/// The kind of conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Type {
    /// One person; `dm` and `direct` in the configuration.
    Direct,
    /// A group or a channel.
    Group,
    /// A thread or a topic.
    Thread,
}

/// The rules: a channel's own beats that of the type, which beats the base.
#[derive(Clone, Debug, Default)]
pub struct ResetRules {
    /// `session.reset`.
    pub base: ResetRule,
    /// `session.resetByType`.
    pub by_type: BTreeMap<Type, ResetRule>,
    /// `session.resetByChannel`, by the channel's name in lower case.
    pub by_channel: BTreeMap<String, ResetRule>,
}

impl Default for ResetRule {
    fn default() -> Self {
        Self { mode: Mode::None, at_hour: DEFAULT_HOUR, idle_minutes: None }
    }
}

impl ResetRule {
    /// The rule of a configuration that says nothing: daily at four [C-39].
    pub const fn daily() -> Self {
        Self { mode: Mode::Daily, at_hour: DEFAULT_HOUR, idle_minutes: None }
    }

    /// Whether a session that was last changed at `updated_at` is old at `now`, both in epoch milliseconds.
    /// `offset` is what local time is ahead of UTC, in seconds.
    pub fn is_stale(&self, updated_at: u64, now: u64, offset: i32) -> bool {
        let idle = match self.mode {
            Mode::None => return false,
            Mode::Idle => Some(self.idle_minutes.unwrap_or(DEFAULT_IDLE_MINUTES)),
            Mode::Daily => self.idle_minutes,
        };
        let is_idle =
            idle.is_some_and(|minutes| now > updated_at.saturating_add(minutes.saturating_mul(60_000)));
        let before_boundary = self.mode == Mode::Daily
            && i64::try_from(updated_at).unwrap_or(i64::MAX) < self.boundary(now, offset);
        is_idle || before_boundary
    }

    /// The last moment at which the hour of the day came, in epoch milliseconds.
    fn boundary(&self, now: u64, offset: i32) -> i64 {
        let shift = i64::from(offset) * 1_000 - i64::from(self.at_hour) * HOUR_MS;
        let now = i64::try_from(now).unwrap_or(i64::MAX - DAY_MS).min(i64::MAX - 2 * DAY_MS);
        (now + shift).div_euclid(DAY_MS) * DAY_MS - shift
    }
}

impl ResetRules {
    /// The rule for a kind of conversation on a channel.
    pub fn rule(&self, kind: Type, channel: &str) -> &ResetRule {
        let own = self.by_channel.get(&channel.to_lowercase());
        own.or_else(|| self.by_type.get(&kind)).unwrap_or(&self.base)
    }
}
