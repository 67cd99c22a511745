//! The gateway about itself: health, status, ticks, system events and talk mode (spec 03 §5, §9, §12).
//!
//! The health summary is refreshed every 60 seconds and told to everyone; a tick goes out every 30 seconds.
//! System events wait, in memory and at most 20 for each session, for the session's next prompt.

mod beacon;
mod methods;
mod summary;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use telson_proto::Json;

use crate::ids::SessionKey;
use crate::limits;
use crate::time::Now;

pub(crate) use methods::{config_get, event, health, last_heartbeat, presence, status, talk_mode};

/// The state. See the [module documentation](self).
pub struct System {
    next_tick: Duration,
    next_health: Duration,
    next_sweep: Duration,
    health: Json,
    refreshed_at: Option<Duration>,
    health_version: u64,
    /// Texts that wait for a session's next prompt.
    events: BTreeMap<SessionKey, VecDeque<String>>,
    /// The payload of the `shutdown` event, while the gateway stops.
    pub(crate) shutdown: Option<Json>,
}

/// What is due.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Due {
    pub(crate) tick: bool,
    pub(crate) health: bool,
    pub(crate) sweep: bool,
}

impl System {
    pub(crate) fn new(now: Now) -> Self {
        Self {
            next_tick: now.mono,
            next_health: now.mono,
            next_sweep: now.mono,
            health: Json::empty(),
            refreshed_at: None,
            health_version: 1,
            events: BTreeMap::new(),
            shutdown: None,
        }
    }

    /// Starts the periodic work.
    pub(crate) fn start(&mut self, now: Now) {
        self.next_tick = now.mono + limits::millis(limits::TICK_MS);
        self.next_health = now.mono + limits::millis(limits::HEALTH_MS);
        self.next_sweep = now.mono + limits::millis(limits::ANSWER_SWEEP_MS);
    }

    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        Some(self.next_tick.min(self.next_health).min(self.next_sweep))
    }

    /// What is due by now. After a long sleep each kind of work is done once, not once for each interval.
    pub(crate) fn due(&mut self, now: Now) -> Due {
        let due = |next: &mut Duration, every: u64| {
            let is_due = *next <= now.mono;
            if is_due {
                *next = now.mono + limits::millis(every);
            }
            is_due
        };
        Due {
            tick: due(&mut self.next_tick, limits::TICK_MS),
            health: due(&mut self.next_health, limits::HEALTH_MS),
            sweep: due(&mut self.next_sweep, limits::ANSWER_SWEEP_MS),
        }
    }

    /// The last health summary, `{}` before the first.
    pub(crate) fn health(&self) -> Json {
        self.health.clone()
    }

    /// Raised by each refresh.
    pub(crate) fn health_version(&self) -> u64 {
        self.health_version
    }

    /// A refresh is complete.
    pub(crate) fn refreshed(&mut self, now: Now, summary: Json) {
        self.health = summary;
        self.refreshed_at = Some(now.mono);
        self.health_version += 1;
    }

    /// The last summary, if it is younger than the refresh interval.
    fn fresh_health(&self, now: Now) -> Option<Json> {
        let age = now.mono.checked_sub(self.refreshed_at?)?;
        (age < limits::millis(limits::HEALTH_MS)).then(|| self.health.clone())
    }

    /// Lets a text wait for the session's next prompt. Blank texts and repeats of the last one are skipped.
    pub(crate) fn enqueue(&mut self, key: SessionKey, text: &str) {
        const SESSIONS: usize = 1_024;
        let text = text.trim();
        if text.is_empty() || (self.events.len() >= SESSIONS && !self.events.contains_key(&key)) {
            return;
        }
        let queue = self.events.entry(key).or_default();
        if queue.back().is_some_and(|last| last == text) {
            return;
        }
        queue.push_back(text.to_owned());
        while queue.len() as u64 > limits::SYSTEM_EVENTS {
            queue.pop_front();
        }
    }

    /// The texts that wait for the session, oldest first; they wait no longer.
    pub(crate) fn take_events(&mut self, key: &SessionKey) -> Vec<String> {
        self.events.remove(key).map(Vec::from).unwrap_or_default()
    }

    /// The texts that wait for the session, oldest first.
    fn events(&self, key: &SessionKey) -> Vec<String> {
        self.events.get(key).map(|queue| queue.iter().cloned().collect()).unwrap_or_default()
    }
}
