//! What lists filter, search and sort by, of all sessions in one place.
//!
//! A list with a filter looks at every session. Their entries lie scattered in memory; here the few columns
//! that decide stand side by side, and the texts that people search stand in one string, lower case, a line for
//! each session. A search is then one pass over that string.
//!
//! Bounded by what is stored: the length of the searched texts, twice at most, and about 150 bytes and two
//! copies of the key for each session.

use std::collections::BTreeMap;

use memchr::memmem;

use crate::ids::{AgentId, SessionKey};

use super::keys::KeyRules;
use super::row::display_name;
use super::{Session, SessionEntry};

/// A gap smaller than this is not worth closing, in bytes.
const MIN_GAP: usize = 64 * 1024;

/// See the [module documentation](self).
#[derive(Debug, Default)]
pub(super) struct Roll {
    /// The searched texts, a line for each place.
    text: String,
    /// In the order of their lines. Those without a key are gaps.
    places: Vec<Place>,
    by_key: BTreeMap<SessionKey, usize>,
    agents: Vec<AgentId>,
    /// The length of lines that are gaps.
    gaps: usize,
}

#[derive(Debug)]
struct Place {
    /// Where its line begins; it ends where the next one begins.
    start: usize,
    line: Option<Line>,
}

/// What decides whether and where a list shows a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) key: SessionKey,
    /// The number of its agent, to be compared with [`Roll::agent`].
    pub(super) agent: usize,
    pub(super) updated_at: u64,
    pub(super) last_interaction_at: Option<u64>,
    pub(super) last_activity_at: Option<u64>,
    pub(super) archived: bool,
    pub(super) pinned: bool,
}

impl Roll {
    /// Takes a session in, in place of the one of the same key.
    pub(super) fn put(&mut self, rules: &KeyRules, key: &SessionKey, session: &Session) {
        let text = searched(key, session);
        let agent = self.number(rules.agent_of(key));
        let entry = &session.entry;
        let line = Line {
            key: key.clone(),
            agent,
            updated_at: session.updated_at,
            last_interaction_at: entry.last_interaction_at,
            last_activity_at: entry.last_activity_at,
            archived: entry.archived.unwrap_or(false),
            pinned: entry.pinned.unwrap_or(false),
        };
        if let Some(place) = self.by_key.get(key).copied() {
            if self.line(place) == text {
                self.places[place].line = Some(line);
                return;
            }
            self.remove(key);
        }
        self.by_key.insert(key.clone(), self.places.len());
        self.places.push(Place { start: self.text.len(), line: Some(line) });
        self.text.push_str(&text);
    }

    /// Forgets a session.
    pub(super) fn remove(&mut self, key: &SessionKey) {
        let Some(place) = self.by_key.remove(key) else { return };
        self.places[place].line = None;
        self.gaps += self.line(place).len();
        if self.gaps > MIN_GAP && self.gaps > self.text.len() / 2 {
            self.close_gaps();
        }
    }

    /// The number of an agent that has or had sessions.
    pub(super) fn agent(&self, id: &AgentId) -> Option<usize> {
        self.agents.iter().position(|agent| agent == id)
    }

    /// The sessions whose searched texts contain `wanted`, which is lower case and one line.
    pub(super) fn containing<'a>(&'a self, wanted: &'a str) -> impl Iterator<Item = &'a Line> {
        let finder = memmem::Finder::new(wanted);
        let (mut at, mut place) = (0, 0);
        std::iter::from_fn(move || {
            loop {
                let found = at + finder.find(self.text.as_bytes().get(at..)?)?;
                place += self.places[place..].partition_point(|place| place.start <= found) - 1;
                at = self.end(place);
                if let Some(line) = &self.places[place].line {
                    return Some(line);
                }
            }
        })
    }

    /// A session.
    pub(super) fn get(&self, key: &SessionKey) -> Option<&Line> {
        self.places[*self.by_key.get(key)?].line.as_ref()
    }

    /// Whether the searched texts of a session contain `wanted`.
    pub(super) fn matches(&self, key: &SessionKey, wanted: &str) -> bool {
        self.by_key.get(key).is_some_and(|place| self.line(*place).contains(wanted))
    }

    /// Every session.
    pub(super) fn all(&self) -> impl Iterator<Item = &Line> {
        self.places.iter().filter_map(|place| place.line.as_ref())
    }

    fn number(&mut self, agent: AgentId) -> usize {
        self.agent(&agent).unwrap_or_else(|| {
            self.agents.push(agent);
            self.agents.len() - 1
        })
    }

    fn end(&self, place: usize) -> usize {
        self.places.get(place + 1).map_or(self.text.len(), |next| next.start)
    }

    fn line(&self, place: usize) -> &str {
        &self.text[self.places[place].start..self.end(place)]
    }

    fn close_gaps(&mut self) {
        let mut text = String::with_capacity(self.text.len() - self.gaps);
        let old = std::mem::take(&mut self.places);
        let ends = old.iter().skip(1).map(|place| place.start).chain([self.text.len()]).collect::<Vec<_>>();
        for (place, end) in old.into_iter().zip(ends) {
            let Some(line) = place.line else { continue };
            self.by_key.insert(line.key.clone(), self.places.len());
            self.places.push(Place { start: text.len(), line: Some(line) });
            text.push_str(&self.text[place.start..end]);
        }
        self.text = text;
        self.gaps = 0;
    }
}

/// The texts by which people search, on one line, lower case. Between two of them stands a character that
/// nobody searches for.
fn searched(key: &SessionKey, session: &Session) -> String {
    let entry: &SessionEntry = &session.entry;
    let name = display_name(key, entry);
    let texts = [
        Some(key.as_str()),
        Some(session.id.as_str()),
        entry.label.as_deref(),
        entry.text("subject"),
        name.as_deref(),
    ];
    let mut line = String::new();
    for text in texts.into_iter().flatten() {
        line.extend(text.chars().map(on_one_line).flat_map(char::to_lowercase));
        line.push('\0');
    }
    line.push('\n');
    line
}

/// What is searched for as the searched texts have it; `None` when that is nothing.
pub(super) fn wanted(text: &str) -> Option<String> {
    let wanted: String = text.trim().chars().map(on_one_line).flat_map(char::to_lowercase).collect();
    (!wanted.is_empty()).then_some(wanted)
}

fn on_one_line(c: char) -> char {
    if matches!(c, '\n' | '\0') { ' ' } else { c }
}
