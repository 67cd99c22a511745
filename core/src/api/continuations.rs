//! Responses that later requests may continue by `previous_response_id` (spec 04 §5.2).

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::ids::{AgentId, SessionId, SessionKey};
use crate::limits;

/// A response that can be continued.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Continuation {
    /// How its caller proved itself.
    pub(super) subject: String,
    pub(super) agent: AgentId,
    pub(super) key: SessionKey,
    pub(super) session: SessionId,
}

/// The newest of them, as many as [`limits::RESPONSES_KEPT`], for as long as [`limits::RESPONSES_KEPT_MS`].
#[derive(Debug, Default)]
pub(super) struct Continuations {
    by_id: BTreeMap<String, Continuation>,
    /// Oldest first.
    order: VecDeque<(Duration, String)>,
}

impl Continuations {
    pub(super) fn keep(&mut self, now: Duration, id: String, continuation: Continuation) {
        self.forget(now);
        if self.by_id.insert(id.clone(), continuation).is_none() {
            self.order.push_back((now, id));
        }
        while self.order.len() > limits::length(limits::RESPONSES_KEPT) {
            if let Some((_, oldest)) = self.order.pop_front() {
                self.by_id.remove(&oldest);
            }
        }
    }

    pub(super) fn get(&mut self, now: Duration, id: &str) -> Option<&Continuation> {
        self.forget(now);
        self.by_id.get(id)
    }

    fn forget(&mut self, now: Duration) {
        let life = limits::millis(limits::RESPONSES_KEPT_MS);
        while let Some((at, _)) = self.order.front() {
            if now.saturating_sub(*at) < life {
                break;
            }
            if let Some((_, id)) = self.order.pop_front() {
                self.by_id.remove(&id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn continuation() -> Continuation {
        Continuation {
            subject: "token".to_owned(),
            agent: AgentId::new("main"),
            key: SessionKey::new("agent:main:openresponses:1"),
            session: SessionId::new("s"),
        }
    }

    #[test]
    fn the_newest_thousand_are_kept_for_a_day() {
        let mut kept = Continuations::default();
        for n in 0..1_001 {
            kept.keep(Duration::from_secs(n), format!("resp_{n}"), continuation());
        }
        let noon = Duration::from_secs(43_200);
        assert_eq!(kept.get(noon, "resp_0"), None);
        assert_eq!(kept.get(noon, "resp_1"), Some(&continuation()));
        let next_day = Duration::from_secs(86_400 + 500);
        assert_eq!(kept.get(next_day, "resp_500"), None);
        assert!(kept.get(next_day, "resp_501").is_some());
        assert_eq!((kept.by_id.len(), kept.order.len()), (500, 500));
    }
}
