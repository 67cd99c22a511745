//! Who is not asked for a while: a key or a model that has failed rests, longer with each failure.

use std::collections::BTreeMap;
use std::time::Duration;

use super::choice::Candidate;
use super::{Fault, ModelError};
use crate::limits::{MODEL_COOLDOWNS, length};
use crate::settings::{CooldownSettings, ModelRef};

const MINUTE: Duration = Duration::from_secs(60);
/// The longest rest that a provider can ask for, and the longest that grows by itself.
const MAX_ASKED: Duration = Duration::from_secs(24 * 3_600);
const MAX_GROWN: Duration = Duration::from_secs(3_600);

/// What rests.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Lane {
    /// A key, with every model: it is refused, or its bill is not paid.
    Key { provider: String, profile: Option<String> },
    /// A key with one model: it has asked too often.
    KeyAndModel { model: ModelRef, profile: Option<String> },
    /// A model, with every key: its server is down.
    Model(ModelRef),
}

/// A rest.
#[derive(Clone, Copy, Debug)]
struct Rest {
    until: Duration,
    failures: u32,
    /// When it last failed.
    last: Duration,
    fault: Fault,
}

/// Why something is not asked, and until when on the monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Resting {
    pub(crate) until: Duration,
    pub(crate) fault: Fault,
}

/// Everything that rests.
#[derive(Debug)]
pub(super) struct Cooldowns {
    rules: CooldownSettings,
    rests: BTreeMap<Lane, Rest>,
}

impl Cooldowns {
    pub(super) fn new(rules: CooldownSettings) -> Self {
        Self { rules, rests: BTreeMap::new() }
    }

    /// Whether a candidate rests, and until when.
    pub(super) fn resting(&self, now: Duration, candidate: &Candidate) -> Option<Resting> {
        let rests = lanes(candidate).into_iter().filter_map(|lane| self.rests.get(&lane));
        let longest = rests.filter(|rest| rest.until > now).max_by_key(|rest| rest.until)?;
        Some(Resting { until: longest.until, fault: longest.fault })
    }

    /// A candidate has failed.
    pub(super) fn failed(&mut self, now: Duration, candidate: &Candidate, error: &ModelError) {
        let fault = error.fault();
        let [key, key_and_model, model] = lanes(candidate);
        let lane = match fault {
            Fault::Question => return,
            Fault::Key | Fault::Billing => key,
            Fault::Rate => key_and_model,
            Fault::Server => model,
        };
        let earlier = self.rests.get(&lane).filter(|rest| now.saturating_sub(rest.last) < self.rules.window);
        let failures = earlier.map_or(0, |rest| rest.failures).saturating_add(1);
        let asked = error.retry_after_ms.map(|wait| Duration::from_millis(wait).min(MAX_ASKED));
        let rest = match (fault, asked) {
            (Fault::Billing, _) => self.billing(&candidate.model.provider, failures),
            (_, Some(asked)) => asked,
            (_, None) => grown(failures),
        };
        self.make_room(now);
        self.rests.insert(lane, Rest { until: now.saturating_add(rest), failures, last: now, fault });
    }

    /// A candidate has answered: nothing of it rests any more.
    pub(super) fn worked(&mut self, candidate: &Candidate) {
        for lane in lanes(candidate) {
            self.rests.remove(&lane);
        }
    }

    fn billing(&self, provider: &str, failures: u32) -> Duration {
        let own = self.rules.billing_by_provider.iter().find(|(id, _)| id == provider);
        let first = own.map_or(self.rules.billing, |(_, rest)| *rest);
        first.saturating_mul(1 << (failures - 1).min(16)).min(self.rules.billing_max)
    }

    /// Sessions can name any model of some providers, so what is remembered has a bound.
    fn make_room(&mut self, now: Duration) {
        if self.rests.len() < length(MODEL_COOLDOWNS) {
            return;
        }
        self.rests.retain(|_, rest| rest.until > now);
        if self.rests.len() >= length(MODEL_COOLDOWNS) {
            let first = self.rests.iter().min_by_key(|(_, rest)| rest.until).map(|(lane, _)| lane.clone());
            first.map(|lane| self.rests.remove(&lane));
        }
    }
}

/// One minute, five, twenty-five, an hour.
fn grown(failures: u32) -> Duration {
    MINUTE.saturating_mul(5_u32.pow((failures - 1).min(3))).min(MAX_GROWN)
}

fn lanes(candidate: &Candidate) -> [Lane; 3] {
    let Candidate { model, profile } = candidate;
    [
        Lane::Key { provider: model.provider.clone(), profile: profile.clone() },
        Lane::KeyAndModel { model: model.clone(), profile: profile.clone() },
        Lane::Model(model.clone()),
    ]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::providers::ErrorKind;

    fn candidate(model: &str, profile: &str) -> Candidate {
        Candidate { model: ModelRef::parse(model).unwrap(), profile: Some(profile.to_owned()) }
    }

    fn error(status: u16) -> ModelError {
        let kind = if status == 429 { ErrorKind::RateLimit } else { ErrorKind::Unknown };
        ModelError { status: Some(status), ..ModelError::new(kind, "x") }
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_rest_grows_with_each_failure_and_success_ends_it() {
        let mut cooldowns = Cooldowns::new(CooldownSettings::default());
        let one = candidate("p/m", "a");
        let rests: Vec<u64> = (0..5)
            .map(|_| {
                cooldowns.failed(at(100), &one, &error(503));
                cooldowns.resting(at(100), &one).unwrap().until.as_secs() - 100
            })
            .collect();
        assert_eq!(rests, [60, 300, 1_500, 3_600, 3_600]);
        cooldowns.worked(&one);
        assert_eq!(cooldowns.resting(at(100), &one), None);
        cooldowns.failed(at(200), &one, &error(503));
        assert_eq!(cooldowns.resting(at(259), &one).unwrap().until, at(260));
        assert_eq!(cooldowns.resting(at(260), &one), None);
    }

    #[test]
    fn what_rests_depends_on_whose_fault_it_was() {
        let (same, other_key, other_model) =
            (candidate("p/m", "a"), candidate("p/m", "b"), candidate("p/n", "a"));
        for (status, resting) in [
            (401, [true, false, true]),
            (402, [true, false, true]),
            (429, [true, false, false]),
            (500, [true, true, false]),
            (404, [true, true, false]),
            (400, [false, false, false]),
        ] {
            let mut cooldowns = Cooldowns::new(CooldownSettings::default());
            cooldowns.failed(at(0), &same, &error(status));
            let found = [&same, &other_key, &other_model].map(|one| cooldowns.resting(at(1), one).is_some());
            assert_eq!(found, resting, "{status}");
        }
    }

    #[test]
    fn the_provider_says_how_long_unless_it_is_about_money() {
        let mut cooldowns = Cooldowns::new(CooldownSettings::default());
        let one = candidate("p/m", "a");
        cooldowns.failed(at(0), &one, &ModelError { retry_after_ms: Some(7_000), ..error(429) });
        assert_eq!(cooldowns.resting(at(0), &one).unwrap().until, at(7));
        let endless = ModelError { retry_after_ms: Some(u64::MAX), ..error(429) };
        cooldowns.failed(at(0), &one, &endless);
        assert_eq!(cooldowns.resting(at(0), &one).unwrap().until, MAX_ASKED);
        let hours = |cooldowns: &Cooldowns| cooldowns.resting(at(0), &one).unwrap().until.as_secs() / 3_600;
        let mut cooldowns = Cooldowns::new(CooldownSettings::default());
        let found = [0; 4].map(|_: u8| {
            cooldowns.failed(at(0), &one, &ModelError { retry_after_ms: Some(1), ..error(402) });
            hours(&cooldowns)
        });
        assert_eq!(found, [5, 10, 20, 24]);
    }

    #[test]
    fn old_failures_do_not_count() {
        let mut cooldowns = Cooldowns::new(CooldownSettings::default());
        let one = candidate("p/m", "a");
        cooldowns.failed(at(0), &one, &error(503));
        let day = 24 * 3_600;
        cooldowns.failed(at(day), &one, &error(503));
        assert_eq!(cooldowns.resting(at(day), &one).unwrap().until, at(day + 60));
    }

    #[test]
    fn what_is_remembered_has_a_bound() {
        let mut cooldowns = Cooldowns::new(CooldownSettings::default());
        for number in 0..MODEL_COOLDOWNS + 10 {
            cooldowns.failed(at(number), &candidate(&format!("p/{number}"), "a"), &error(503));
        }
        assert!(cooldowns.rests.len() <= length(MODEL_COOLDOWNS));
    }
}
