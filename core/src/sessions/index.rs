//! Ways to find sessions without looking at all of them.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::{AgentId, SessionId, SessionKey};

use super::Session;
use super::keys::{KeyRules, is_reserved};

/// Keys by the time of their last change.
type ByTime = BTreeSet<(u64, SessionKey)>;

/// See the [module documentation](self).
#[derive(Debug, Default)]
pub(super) struct Index {
    ids: BTreeMap<SessionId, SessionKey>,
    /// All but reserved keys.
    all: ByTime,
    /// The same, agent by agent.
    agents: BTreeMap<AgentId, ByTime>,
    reserved: ByTime,
    pinned: ByTime,
    labels: BTreeSet<(String, SessionKey)>,
    /// Keys by the session that has started them.
    children: BTreeSet<(String, SessionKey)>,
    /// How many sessions of each agent are archived.
    archived: BTreeMap<AgentId, usize>,
    /// Keys that are not lower case, by their lower-case spelling.
    mixed_case: BTreeMap<String, BTreeSet<SessionKey>>,
}

impl Index {
    pub(super) fn add(&mut self, rules: &KeyRules, key: &SessionKey, session: &Session) {
        self.ids.insert(session.id.clone(), key.clone());
        let place = (session.updated_at, key.clone());
        if is_reserved(key) {
            self.reserved.insert(place.clone());
        } else {
            let agent = rules.agent_of(key);
            if session.entry.archived == Some(true) {
                *self.archived.entry(agent.clone()).or_default() += 1;
            }
            self.agents.entry(agent).or_default().insert(place.clone());
            self.all.insert(place.clone());
        }
        if session.entry.pinned == Some(true) {
            self.pinned.insert(place);
        }
        if let Some(label) = &session.entry.label {
            self.labels.insert((label.clone(), key.clone()));
        }
        if let Some(parent) = &session.entry.spawned_by {
            self.children.insert((parent.clone(), key.clone()));
        }
        let folded = key.as_str().to_lowercase();
        if folded != key.as_str() {
            self.mixed_case.entry(folded).or_default().insert(key.clone());
        }
    }

    pub(super) fn remove(&mut self, rules: &KeyRules, key: &SessionKey, session: &Session) {
        if self.ids.get(&session.id) == Some(key) {
            self.ids.remove(&session.id);
        }
        let place = (session.updated_at, key.clone());
        let counted = self.all.remove(&place);
        self.reserved.remove(&place);
        self.pinned.remove(&place);
        let agent = rules.agent_of(key);
        if counted && session.entry.archived == Some(true) {
            self.archived.entry(agent.clone()).and_modify(|count| *count = count.saturating_sub(1));
        }
        if let Some(keys) = self.agents.get_mut(&agent) {
            keys.remove(&place);
            if keys.is_empty() {
                self.agents.remove(&agent);
            }
        }
        if let Some(label) = &session.entry.label {
            self.labels.remove(&(label.clone(), key.clone()));
        }
        if let Some(parent) = &session.entry.spawned_by {
            self.children.remove(&(parent.clone(), key.clone()));
        }
        let folded = key.as_str().to_lowercase();
        if let Some(keys) = self.mixed_case.get_mut(&folded) {
            keys.remove(key);
            if keys.is_empty() {
                self.mixed_case.remove(&folded);
            }
        }
    }

    pub(super) fn by_id(&self, id: &SessionId) -> Option<&SessionKey> {
        self.ids.get(id)
    }

    /// A key that differs from this one in case only.
    pub(super) fn folded(&self, key: &SessionKey) -> Option<SessionKey> {
        let folded = key.as_str().to_lowercase();
        let mixed = self.mixed_case.get(&folded).and_then(BTreeSet::first).cloned();
        mixed.or_else(|| Some(SessionKey::new(folded)))
    }

    pub(super) fn labelled(&self, label: String) -> impl Iterator<Item = &SessionKey> {
        named(&self.labels, label)
    }

    pub(super) fn children(&self, parent: String) -> impl Iterator<Item = &SessionKey> {
        named(&self.children, parent)
    }

    /// How many sessions are not archived, of the agents that `shown` lets pass; without reserved keys.
    pub(super) fn unarchived(&self, shown: impl Fn(&AgentId) -> bool) -> usize {
        let agents = self.agents.iter().filter(|(agent, _)| shown(agent));
        agents.map(|(agent, keys)| keys.len() - self.archived.get(agent).copied().unwrap_or(0)).sum()
    }

    pub(super) fn reserved(&self) -> impl Iterator<Item = &SessionKey> {
        self.reserved.iter().map(|(_, key)| key)
    }

    pub(super) fn count(&self, agent: Option<&AgentId>) -> usize {
        match agent {
            Some(agent) => self.agents.get(agent).map_or(0, BTreeSet::len),
            None => self.all.len(),
        }
    }

    /// Newest first, without reserved keys.
    pub(super) fn recent(&self, agent: Option<&AgentId>) -> impl Iterator<Item = (u64, &SessionKey)> {
        let keys = match agent {
            Some(agent) => self.agents.get(agent),
            None => Some(&self.all),
        };
        keys.into_iter().flat_map(|keys| keys.iter().rev()).map(|(at, key)| (*at, key))
    }

    /// Newest first, with reserved keys unless an agent is named; the pinned ones before all others when asked.
    pub(super) fn in_order(
        &self,
        agent: Option<&AgentId>,
        pinned_first: bool,
    ) -> impl Iterator<Item = &SessionKey> {
        let mut reserved: Vec<_> = self.reserved.iter().rev().map(|(at, key)| (*at, key)).collect();
        if agent.is_some() {
            reserved.clear();
        }
        let pinned = self.pinned.iter().rev().map(|(_, key)| key).filter(move |_| pinned_first);
        let rest = Merged { a: self.recent(agent).peekable(), b: reserved.into_iter().peekable() };
        let rest = rest.filter(move |(at, key)| !pinned_first || !self.is_pinned(*at, key));
        pinned.chain(rest.map(|(_, key)| key))
    }

    fn is_pinned(&self, at: u64, key: &SessionKey) -> bool {
        !self.pinned.is_empty() && self.pinned.contains(&(at, key.clone()))
    }
}

/// The keys that stand under a name, in their order.
fn named(names: &BTreeSet<(String, SessionKey)>, name: String) -> impl Iterator<Item = &SessionKey> {
    let first = (name.clone(), SessionKey::new(""));
    names.range(first..).take_while(move |(found, _)| *found == name).map(|(_, key)| key)
}

/// Two descending sequences as one.
struct Merged<A: Iterator, B: Iterator> {
    a: std::iter::Peekable<A>,
    b: std::iter::Peekable<B>,
}

impl<T: Ord, A: Iterator<Item = T>, B: Iterator<Item = T>> Iterator for Merged<A, B> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        match (self.a.peek(), self.b.peek()) {
            (Some(a), Some(b)) if b > a => self.b.next(),
            (None, _) => self.b.next(),
            _ => self.a.next(),
        }
    }
}
