//! Conversations: who talks with which agent, under which key, with which settings (spec 02 §3, §4, §14).
//!
//! Every session's entry is in memory; transcripts are not. What lists show of a transcript (title, preview,
//! last activity) is therefore kept in the entry. Keys are canonical inside; `Sessions::resolve` is the door.
//!
//! A change is made in memory first and is then written. `Gateway::store_session` writes it together with
//! whatever belongs to it, and takes it back when the store fails:
//!
//! ```text
//! let key = gateway.canonical_for(&call.principal, call.ticket.conn, &params.session_key)?;
//! gateway.sessions.ensure(gateway.now, &mut gateway.entropy, &key);
//! let line = gateway.sessions.append(gateway.now, &mut gateway.entropy, &key, message, Some(run));
//! gateway.sessions.edit(gateway.now, &key, |entry| entry.system_sent = Some(true));
//! gateway.store_session(&key, vec![Op::AppendEntry(line), …], |gateway, stored| …);
//! ```

pub(crate) mod announce;
mod arrange;
mod branch;
mod changes;
mod compact;
mod create;
pub mod entry;
mod fork;
mod groups;
mod index;
pub mod keys;
pub(crate) mod levels;
mod list;
mod maintain;
mod many;
mod methods;
mod patch;
mod preview;
mod recover;
mod reset;
mod roll;
mod row;
pub mod sanitise;
mod search;
mod show;
mod slot;
mod stop;
pub mod title;
mod typing;
pub(crate) mod watch;
mod words;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use telson_proto::{ErrorShape, Json};

use crate::entropy::Entropy;
use crate::ids::{AgentId, RunId, SessionId, SessionKey};
use crate::settings::AgentSettings;
use crate::store::{Op, SessionRecord, TranscriptEnd, TranscriptEntry};
use crate::time::Now;

pub(crate) use announce::Reason;
pub(crate) use compact::compact;
pub(crate) use create::create;
pub use entry::SessionEntry;
pub(crate) use fork::{fork, list as list_branches, rewind, switch as switch_branch};
pub(crate) use groups::{
    delete as delete_group, list as list_groups, put as put_groups, rename as rename_group,
};
pub(crate) use list::{list, subscribe};
pub(crate) use maintain::cleanup;
pub(crate) use many::patch_many;
pub(crate) use methods::{by_short_id, closed, delete, resolve};
pub(crate) use patch::patch;
pub(crate) use preview::preview;
pub(crate) use recover::recover;
pub(crate) use reset::reset;
pub(crate) use row::Row;
pub(crate) use search::search;
pub(crate) use show::{describe, get};
pub(crate) use stop::abort;
pub(crate) use typing::typing;
pub(crate) use watch::{subscribe_messages, unsubscribe_messages};
pub(crate) use words::{send, steer};

use changes::Changes;
use index::Index;
use keys::KeyRules;
use roll::Roll;
use slot::Slot;
use watch::Watches;

/// A session.
#[derive(Clone, Debug, PartialEq)]
pub struct Session {
    /// The current incarnation; a reset makes a new one.
    pub id: SessionId,
    /// Epoch milliseconds of the last change.
    pub updated_at: u64,
    /// Everything else that is kept.
    pub entry: SessionEntry,
    /// The position of the transcript's last entry; 0 when it is empty.
    pub last_seq: u64,
    /// The id of the last entry of the transcript's active branch, on which the next one builds.
    pub last_entry: Option<String>,
}

impl Session {
    /// A word that changes when the session begins anew, is archived or comes back from there.
    pub(crate) fn lifecycle(&self) -> &str {
        self.entry.text("lifecycleRevision").unwrap_or_else(|| self.id.as_str())
    }
}

/// A change on its way to the store; to be given to [`Sessions::settle`].
#[derive(Debug)]
#[must_use = "a change that is not settled is never taken back"]
pub(crate) struct Change {
    key: SessionKey,
    revision: u64,
}

/// How a run ended, as `status` of a v4 row says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RunStatus {
    Done,
    Failed,
    Killed,
    Timeout,
}

impl RunStatus {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Killed => "killed",
            Self::Timeout => "timeout",
        }
    }
}

/// Every session. See the [module documentation](self).
pub struct Sessions {
    rules: KeyRules,
    slots: BTreeMap<SessionKey, Slot>,
    index: Index,
    roll: Roll,
    /// Runs that are admitted and have not ended. Not part of a session: taking a change back must not end them.
    active: BTreeMap<SessionKey, BTreeSet<RunId>>,
    /// Changes that were told lately or wait to be.
    pub(crate) changes: Changes,
    /// Who watches which session's messages.
    pub(crate) watches: Watches,
    revision: u64,
}

impl Sessions {
    /// No sessions.
    pub(crate) fn new(settings: &AgentSettings) -> Self {
        Self {
            rules: KeyRules::new(settings),
            slots: BTreeMap::new(),
            index: Index::default(),
            roll: Roll::default(),
            active: BTreeMap::new(),
            changes: Changes::default(),
            watches: Watches::default(),
            revision: 0,
        }
    }

    /// Takes over what was kept.
    pub(crate) fn restore(&mut self, records: Vec<SessionRecord>, ends: Vec<TranscriptEnd>) {
        let mut ends: BTreeMap<SessionId, TranscriptEnd> =
            ends.into_iter().map(|end| (end.session.clone(), end)).collect();
        for record in records {
            let end = ends.remove(&record.session);
            let entry = SessionEntry::read(record.key.as_str(), &record.entry);
            let session = Session {
                id: record.session,
                updated_at: record.updated_at,
                last_seq: end.as_ref().map_or(0, |end| end.seq),
                last_entry: branch::leaf(&entry, end.map(|end| end.id)),
                entry,
            };
            self.index.add(&self.rules, &record.key, &session);
            self.roll.put(&self.rules, &record.key, &session);
            self.slots.insert(record.key, Slot::holding(session));
        }
    }

    /// The rules for keys.
    pub(crate) fn rules(&self) -> &KeyRules {
        &self.rules
    }

    /// The main session of the default agent.
    pub(crate) fn main_key(&self) -> SessionKey {
        self.rules.main(self.rules.default_agent())
    }

    /// The session that a client means: the canonical key, or that of a stored session which differs in case
    /// only [C-05]. There need not be such a session.
    ///
    /// # Errors
    ///
    /// `key required` for a blank spelling (spec 02 §2.1); a limit error for one of more than 512 characters.
    pub(crate) fn resolve(&self, spelling: &str) -> Result<SessionKey, ErrorShape> {
        let length = spelling.chars().count();
        if length > keys::MAX_KEY_CHARS {
            let most = keys::MAX_KEY_CHARS;
            return Err(ErrorShape::invalid(format!(
                "session key too long: {length} characters; use at most {most}"
            )));
        }
        let key = self.rules.canonical(spelling).ok_or_else(|| ErrorShape::invalid("key required"))?;
        if self.get(&key).is_some() {
            return Ok(key);
        }
        Ok(self.index.folded(&key).filter(|found| self.get(found).is_some()).unwrap_or(key))
    }

    /// A session.
    pub(crate) fn get(&self, key: &SessionKey) -> Option<&Session> {
        self.slots.get(key).and_then(Slot::current)
    }

    /// The same, with the key as it is kept.
    pub(crate) fn stored(&self, key: &SessionKey) -> Option<(&SessionKey, &Session)> {
        let (key, slot) = self.slots.get_key_value(key)?;
        Some((key, slot.current()?))
    }

    /// The entry of a session.
    pub(crate) fn entry(&self, key: &SessionKey) -> Option<&SessionEntry> {
        self.get(key).map(|session| &session.entry)
    }

    /// The session of an incarnation's id.
    pub(crate) fn by_id(&self, id: &SessionId) -> Option<&SessionKey> {
        self.index.by_id(id)
    }

    /// How many sessions there are, of one agent or of all; reserved keys do not count.
    pub(crate) fn count(&self, agent: Option<&AgentId>) -> usize {
        self.index.count(agent)
    }

    /// The sessions of one agent or of all that changed last, newest first, with the time of the change;
    /// without reserved keys.
    pub(crate) fn recent(&self, agent: Option<&AgentId>, most: usize) -> Vec<(SessionKey, u64)> {
        self.index.recent(agent).take(most).map(|(at, key)| (key.clone(), at)).collect()
    }

    /// The session, made when there is none. Says whether it was made.
    pub(crate) fn ensure(&mut self, now: Now, entropy: &mut Entropy, key: &SessionKey) -> bool {
        if self.get(key).is_some() {
            return false;
        }
        let entry = SessionEntry { created_at: Some(now.wall), ..SessionEntry::default() };
        self.put(now, entropy, key, entry);
        true
    }

    /// A new incarnation with this entry and an empty transcript, in place of the one there may be.
    pub(crate) fn put(&mut self, now: Now, entropy: &mut Entropy, key: &SessionKey, entry: SessionEntry) {
        let id = SessionId::new(entropy.uuid());
        let updated_at = now.wall.max(self.get(key).map_or(0, |old| old.updated_at));
        self.set(key, Some(Session { id, updated_at, entry, last_seq: 0, last_entry: None }));
    }

    /// Changes the entry of a session and its time stamp; nothing when there is no such session.
    pub(crate) fn edit(&mut self, now: Now, key: &SessionKey, change: impl FnOnce(&mut SessionEntry)) {
        let Some(mut session) = self.get(key).cloned() else { return };
        change(&mut session.entry);
        session.updated_at = session.updated_at.max(now.wall);
        self.set(key, Some(session));
    }

    /// The same for a change that does not make the session recent.
    pub(crate) fn edit_quietly(&mut self, key: &SessionKey, change: impl FnOnce(&mut SessionEntry)) {
        let Some(mut session) = self.get(key).cloned() else { return };
        change(&mut session.entry);
        self.set(key, Some(session));
    }

    /// The next line of a session's transcript, which the caller stores with [`Op::AppendEntry`] in the
    /// transaction of the same change. `None` when there is no such session.
    ///
    /// Positions are handed out at once, so several lines may be on their way. When a transaction fails its
    /// lines are taken back, unless a later one is already on its way: positions then have a gap, but they
    /// never repeat and always rise.
    pub(crate) fn append(
        &mut self,
        now: Now,
        entropy: &mut Entropy,
        key: &SessionKey,
        message: Json,
        run: Option<RunId>,
    ) -> Option<TranscriptEntry> {
        let mut session = self.get(key)?.clone();
        let line = TranscriptEntry {
            session: session.id.clone(),
            seq: session.last_seq + 1,
            id: entropy.entry_id(),
            parent: session.last_entry.clone(),
            at: now.wall,
            run,
            message,
        };
        session.last_seq = line.seq;
        session.last_entry = Some(line.id.clone());
        // The line is the transcript's last one, so the branch needs no other mark.
        branch::follow(&mut session.entry);
        session.updated_at = session.updated_at.max(now.wall);
        self.set(key, Some(session));
        Some(line)
    }

    /// Copies lines of another transcript into a new session's, as one branch; to be stored with it.
    fn copy_lines(&mut self, key: &SessionKey, lines: &[TranscriptEntry]) -> Vec<TranscriptEntry> {
        let Some(mut session) = self.get(key).cloned() else { return Vec::new() };
        let mut copies = Vec::with_capacity(lines.len());
        for line in lines {
            session.last_seq += 1;
            let parent = session.last_entry.replace(line.id.clone());
            copies.push(TranscriptEntry {
                session: session.id.clone(),
                seq: session.last_seq,
                parent,
                ..line.clone()
            });
        }
        self.set(key, Some(session));
        copies
    }

    /// Makes a line of the transcript, or its root, the end of the conversation; `preview` is what lists show of
    /// it.
    fn switch(
        &mut self,
        now: Now,
        key: &SessionKey,
        leaf: Option<&str>,
        last_line: Option<&str>,
        preview: Option<String>,
    ) {
        let Some(mut session) = self.get(key).cloned() else { return };
        session.switch(leaf, last_line);
        session.entry.last_message = preview;
        session.updated_at = session.updated_at.max(now.wall);
        self.set(key, Some(session));
    }

    /// Removes a session.
    pub(crate) fn remove(&mut self, key: &SessionKey) {
        self.set(key, None);
    }

    /// A run of the session was admitted.
    pub(crate) fn run_opened(&mut self, key: &SessionKey, run: RunId) {
        self.active.entry(key.clone()).or_default().insert(run);
    }

    /// A run of the session has ended; together with [`Self::note_run_end`] in the transaction of its end.
    pub(crate) fn run_closed(&mut self, key: &SessionKey, run: &RunId) {
        if let Some(runs) = self.active.get_mut(key) {
            runs.remove(run);
            if runs.is_empty() {
                self.active.remove(key);
            }
        }
    }

    /// Keeps how a run ended, for the session's row.
    pub(crate) fn note_run_end(&mut self, now: Now, key: &SessionKey, run: &RunId, status: RunStatus) {
        self.edit(now, key, |entry| {
            entry.last_run_id = Some(run.as_str().to_owned());
            entry.status = Some(status.as_str().to_owned());
            entry.aborted_last_run = Some(matches!(status, RunStatus::Killed | RunStatus::Timeout));
        });
    }

    /// The runs of a session that are admitted and have not ended.
    pub(crate) fn active_runs(&self, key: &SessionKey) -> impl Iterator<Item = &RunId> {
        self.active.get(key).into_iter().flatten()
    }

    /// Closes the change that the calls since the last one have made, and says what is to be stored.
    pub(crate) fn commit(&mut self, key: &SessionKey) -> (Op, Change) {
        self.revision += 1;
        let revision = self.revision;
        let slot = self.slots.entry(key.clone()).or_default();
        slot.commit(revision);
        let op = match slot.current() {
            Some(session) => Op::PutSession(SessionRecord {
                key: key.clone(),
                session: session.id.clone(),
                updated_at: session.updated_at,
                entry: session.entry.to_json(),
            }),
            None => Op::DeleteSession(key.clone()),
        };
        (op, Change { key: key.clone(), revision })
    }

    /// The store has spoken: keeps the change or takes it back. A change that a later one builds on cannot be
    /// taken back by itself: it goes when that one fails too, and is kept when that one is stored, because a
    /// row is always written whole.
    pub(crate) fn settle(&mut self, change: &Change, stored: bool) {
        let Some(slot) = self.slots.get_mut(&change.key) else { return };
        let restore = if stored {
            slot.stored(change.revision);
            None
        } else {
            slot.failed(change.revision)
        };
        match restore {
            Some(before) => self.replace(&change.key, before),
            None => self.tidy(&change.key),
        }
    }

    /// Every session, newest first, reserved keys too; `pinned` first when asked for.
    pub(crate) fn in_order(
        &self,
        agent: Option<&AgentId>,
        pinned_first: bool,
    ) -> impl Iterator<Item = (&SessionKey, &Session)> {
        self.index.in_order(agent, pinned_first).filter_map(|key| Some((key, self.get(key)?)))
    }

    /// The sessions that carry a label, in the order of their keys.
    fn labelled(&self, label: impl Into<String>) -> impl Iterator<Item = (&SessionKey, &Session)> {
        self.index.labelled(label.into()).filter_map(|key| Some((key, self.get(key)?)))
    }

    /// The sessions that a session has started, and those that these have started, and so on; without itself.
    pub(crate) fn descendants(&self, key: &SessionKey) -> Vec<SessionKey> {
        let mut found = Vec::new();
        let mut seen = BTreeSet::from([key.clone()]);
        let mut ahead = vec![key.clone()];
        while let Some(parent) = ahead.pop() {
            for (child, _) in self.children(parent.as_str()) {
                if seen.insert(child.clone()) {
                    found.push(child.clone());
                    ahead.push(child.clone());
                }
            }
        }
        found
    }

    /// The sessions that a session has started, in the order of their keys.
    fn children(&self, parent: impl Into<String>) -> impl Iterator<Item = (&SessionKey, &Session)> {
        self.index.children(parent.into()).filter_map(|key| Some((key, self.get(key)?)))
    }

    /// Changes a session as part of the change that is being made.
    fn set(&mut self, key: &SessionKey, session: Option<Session>) {
        self.slots.entry(key.clone()).or_default().begin();
        self.replace(key, session);
    }

    /// Puts a session in its place and in the indexes.
    fn replace(&mut self, key: &SessionKey, session: Option<Session>) {
        let slot = self.slots.entry(key.clone()).or_default();
        if let Some(old) = slot.current() {
            self.index.remove(&self.rules, key, old);
        }
        match &session {
            Some(new) => {
                self.index.add(&self.rules, key, new);
                self.roll.put(&self.rules, key, new);
            }
            None => self.roll.remove(key),
        }
        slot.put(session);
        self.tidy(key);
    }

    /// A place that holds nothing and waits for nothing goes.
    fn tidy(&mut self, key: &SessionKey) {
        if self.slots.get(key).is_some_and(Slot::is_idle) {
            self.slots.remove(key);
        }
    }
}
