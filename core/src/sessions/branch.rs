//! The branches of a transcript (spec 02 §5, §20.7).
//!
//! A transcript is a tree written line by line: each line names the one before it on its branch. The active
//! branch is the chain from the session's last entry upward, and is the conversation that people and models see.
//! As long as nobody goes back in a conversation there is one branch, and nothing is looked up.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::SessionKey;
use crate::store::TranscriptEntry;

use super::{Session, SessionEntry, Sessions};

/// The member of an entry that names the active leaf when that is not the transcript's last line. Empty: the
/// conversation begins anew at the root.
const LEAF: &str = "activeLeafEntryId";
/// The member of an entry that says that its transcript has more branches than one.
const BRANCHED: &str = "branched";

/// The active leaf of a session whose transcript ends with the line `last`.
pub(super) fn leaf(entry: &SessionEntry, last: Option<String>) -> Option<String> {
    match entry.text(LEAF) {
        Some("") => None,
        Some(id) => Some(id.to_owned()),
        None => last,
    }
}

/// A line was added: it is the active leaf and the transcript's last line.
pub(super) fn follow(entry: &mut SessionEntry) {
    entry.set(LEAF, None);
}

/// The lines from the root to the one with this id, oldest first; empty when there is no such line.
///
/// A line whose transaction failed may be missing although a later one was stored. Its place is seen by the gap
/// in the positions, and the chain goes on with the line before it.
pub(super) fn chain<'a>(lines: &'a [TranscriptEntry], leaf: &str) -> Vec<&'a TranscriptEntry> {
    let places: BTreeMap<&str, usize> =
        lines.iter().enumerate().map(|(place, line)| (line.id.as_str(), place)).collect();
    let mut chain = Vec::new();
    let mut next = places.get(leaf).copied();
    while let Some(place) = next {
        let line = &lines[place];
        chain.push(line);
        let Some(parent) = line.parent.as_deref() else { break };
        let before = place.checked_sub(1);
        next = match places.get(parent) {
            Some(parent) if *parent < place => Some(*parent),
            Some(_) => None,
            None => before.filter(|before| lines[*before].seq + 1 < line.seq),
        };
    }
    chain.reverse();
    chain
}

/// The lines that no other line builds on, newest first.
pub(super) fn tips(lines: &[TranscriptEntry]) -> Vec<&TranscriptEntry> {
    let parents: BTreeSet<&str> = lines.iter().filter_map(|line| line.parent.as_deref()).collect();
    lines.iter().rev().filter(|line| !parents.contains(line.id.as_str())).collect()
}

impl Session {
    /// Makes a line, or the root, the active leaf.
    pub(super) fn switch(&mut self, leaf: Option<&str>, last_line: Option<&str>) {
        self.last_entry = leaf.map(str::to_owned);
        let mark = (leaf != last_line).then(|| leaf.unwrap_or_default().into());
        self.entry.set(LEAF, mark);
        self.entry.set(BRANCHED, Some(true.into()));
    }

    /// Whether the transcript has more branches than one.
    pub(crate) fn is_branched(&self) -> bool {
        self.entry.extra.contains_key(BRANCHED)
    }
}

impl Sessions {
    /// Whether lines of a session's transcript may lie on other branches than the active one.
    pub(crate) fn is_branched(&self, key: &SessionKey) -> bool {
        self.get(key).is_some_and(Session::is_branched)
    }

    /// Those of a transcript's lines that lie on the active branch.
    pub(crate) fn on_branch(&self, key: &SessionKey, lines: Vec<TranscriptEntry>) -> Vec<TranscriptEntry> {
        let Some(session) = self.get(key).filter(|session| session.is_branched()) else { return lines };
        let marked = session.entry.text(LEAF);
        let leaf = match marked {
            Some("") => return Vec::new(),
            Some(id) => Some(id),
            // The last line may have been added after these were read.
            None => lines.last().map(|line| line.id.as_str()),
        };
        let kept: BTreeSet<u64> =
            leaf.into_iter().flat_map(|leaf| chain(&lines, leaf)).map(|line| line.seq).collect();
        lines.into_iter().filter(|line| kept.contains(&line.seq)).collect()
    }
}

#[cfg(test)]
mod tests {
    use telson_proto::Json;

    use super::*;
    use crate::ids::SessionId;

    /// A line for each pair of id and parent; an empty parent is none.
    fn lines(pairs: &[(u64, &str, &str)]) -> Vec<TranscriptEntry> {
        let line = |(seq, id, parent): &(u64, &str, &str)| TranscriptEntry {
            session: SessionId::new("s"),
            seq: *seq,
            id: (*id).to_owned(),
            parent: (!parent.is_empty()).then(|| (*parent).to_owned()),
            at: *seq,
            run: None,
            message: Json::empty(),
        };
        pairs.iter().map(line).collect()
    }

    fn ids(lines: &[&TranscriptEntry]) -> Vec<String> {
        lines.iter().map(|line| line.id.clone()).collect()
    }

    #[test]
    fn a_chain_leads_from_the_root_to_its_leaf() {
        let lines = lines(&[(1, "a", ""), (2, "b", "a"), (3, "c", "b"), (4, "d", "a"), (5, "e", "d")]);
        assert_eq!(ids(&chain(&lines, "e")), ["a", "d", "e"]);
        assert_eq!(ids(&chain(&lines, "c")), ["a", "b", "c"]);
        assert!(chain(&lines, "x").is_empty());
        assert_eq!(ids(&tips(&lines)), ["e", "c"]);
    }

    #[test]
    fn a_lost_line_does_not_end_a_chain_but_an_unread_one_does() {
        let lost = lines(&[(1, "a", ""), (3, "c", "b"), (4, "d", "c")]);
        assert_eq!(ids(&chain(&lost, "d")), ["a", "c", "d"]);
        let unread = lines(&[(7, "x", "w"), (8, "y", "old"), (9, "z", "y")]);
        assert_eq!(ids(&chain(&unread, "z")), ["y", "z"]);
    }

    #[test]
    fn a_line_that_names_itself_or_a_later_one_ends_the_chain() {
        let odd = lines(&[(1, "a", "b"), (2, "b", "a"), (3, "c", "c")]);
        assert_eq!(ids(&chain(&odd, "b")), ["a", "b"]);
        assert_eq!(ids(&chain(&odd, "c")), ["c"]);
    }
}
