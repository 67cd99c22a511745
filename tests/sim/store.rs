//! A store that forgets what was not yet durable when the process dies.
//!
//! It keeps the contract of `telson_core::store`: transactions are written whole, in the order in which they
//! were handed over. When each becomes durable, and when the gateway hears of it, is the world's choice; so is
//! a disk that is full for a while.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::Value;
use telson_core::store::{
    AnswerRecord, AuditRecord, DeviceRecord, Everything, Loaded, Op, OpenRun, Query, Record, SessionRecord,
    Shelf, StoreError, Transaction, TranscriptEnd, TranscriptEntry,
};
use telson_core::{DeviceId, QueryId, RunId, SessionId, SessionKey, TxId};

/// The disk, the transactions on their way to it, and the reports on their way back.
#[derive(Default)]
pub(crate) struct Disk {
    tables: Tables,
    waiting: VecDeque<Transaction>,
    reports: VecDeque<(TxId, Result<(), StoreError>)>,
    questions: VecDeque<(QueryId, Query)>,
    /// While set, nothing can be written.
    pub(crate) fault: Option<StoreError>,
    pub(crate) ever: Ever,
}

/// What is durable now.
#[derive(Default)]
struct Tables {
    sessions: BTreeMap<SessionKey, SessionRecord>,
    transcripts: BTreeMap<SessionId, Vec<TranscriptEntry>>,
    archived: BTreeMap<SessionId, Vec<TranscriptEntry>>,
    devices: BTreeMap<DeviceId, DeviceRecord>,
    answers: BTreeMap<String, AnswerRecord>,
    open_runs: Vec<OpenRun>,
    records: BTreeMap<(Shelf, String), Record>,
    audit: Vec<AuditRecord>,
}

/// What was durable at any time, whatever became of it since: what promises are checked against.
#[derive(Default)]
pub(crate) struct Ever {
    pub(crate) lines: Vec<Line>,
    pub(crate) rows: BTreeMap<SessionKey, Vec<SessionRecord>>,
    pub(crate) removed: BTreeSet<SessionKey>,
    pub(crate) devices: BTreeSet<DeviceId>,
    pub(crate) answers: BTreeSet<String>,
    /// How often each run was opened.
    pub(crate) opened: BTreeMap<RunId, u32>,
    pub(crate) closed: BTreeSet<RunId>,
    /// Runs that a failed transaction concerned.
    pub(crate) hurt: BTreeSet<RunId>,
}

/// A line of a transcript, read.
pub(crate) struct Line {
    pub(crate) entry: TranscriptEntry,
    pub(crate) role: String,
    pub(crate) text: String,
}

impl Disk {
    pub(crate) fn hand_over(&mut self, transaction: Transaction) {
        self.waiting.push_back(transaction);
    }

    pub(crate) fn ask(&mut self, id: QueryId, query: Query) {
        self.questions.push_back((id, query));
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.reports.is_empty() && self.questions.is_empty()
    }

    /// Writes the oldest transaction. Says whether there was one.
    ///
    /// # Errors
    ///
    /// What the transaction breaks of the contract, in words.
    pub(crate) fn write(&mut self) -> Result<bool, String> {
        let Some(transaction) = self.waiting.pop_front() else { return Ok(false) };
        let result = match &self.fault {
            Some(fault) => {
                self.ever.hurt.extend(transaction.ops.iter().filter_map(run_of));
                Err(fault.clone())
            }
            None => {
                for op in transaction.ops {
                    self.tables.apply(&mut self.ever, op)?;
                }
                Ok(())
            }
        };
        self.reports.push_back((transaction.id, result));
        Ok(true)
    }

    pub(crate) fn report(&mut self) -> Option<(TxId, Result<(), StoreError>)> {
        self.reports.pop_front()
    }

    /// Answers the oldest question from what is durable.
    pub(crate) fn answer(&mut self) -> Option<(QueryId, Loaded)> {
        let (id, query) = self.questions.pop_front()?;
        Some((id, self.tables.answer(&query)))
    }

    /// The process died: what was on its way in either direction is lost.
    pub(crate) fn crash(&mut self) {
        self.waiting.clear();
        self.reports.clear();
        self.questions.clear();
    }

    pub(crate) fn open_runs(&self) -> usize {
        self.tables.open_runs.len()
    }

    /// How many answers are recorded.
    pub(crate) fn answers(&self) -> usize {
        self.tables.answers.len()
    }

    /// A run that is noted as under way although its end could have been written; for a quiet gateway.
    pub(crate) fn forgotten_run(&self) -> Option<&RunId> {
        self.tables.open_runs.iter().map(|open| &open.run).find(|run| !self.ever.hurt.contains(run))
    }

    /// Whether a run is noted as under way.
    pub(crate) fn is_open(&self, run: &str) -> bool {
        self.tables.open_runs.iter().any(|open| open.run.as_str() == run)
    }
}

impl Tables {
    fn apply(&mut self, ever: &mut Ever, op: Op) -> Result<(), String> {
        match op {
            Op::PutSession(row) => {
                ever.rows.entry(row.key.clone()).or_default().push(row.clone());
                self.sessions.insert(row.key.clone(), row);
            }
            Op::DeleteSession(key) => {
                self.sessions.remove(&key);
                ever.removed.insert(key);
            }
            Op::AppendEntry(entry) => self.append(ever, entry)?,
            Op::ArchiveTranscript { session, .. } => {
                if let Some(entries) = self.transcripts.remove(&session) {
                    self.archived.entry(session).or_default().extend(entries);
                }
            }
            Op::CutTranscript { session, from, archive, .. } => {
                if let Some(entries) = self.transcripts.get_mut(&session) {
                    let (gone, mut kept): (Vec<_>, Vec<_>) =
                        std::mem::take(entries).into_iter().partition(|entry| entry.seq < from);
                    let ids: Vec<String> = kept.iter().map(|entry| entry.id.clone()).collect();
                    for entry in &mut kept {
                        entry.parent = entry.parent.take().filter(|parent| ids.contains(parent));
                    }
                    *entries = kept;
                    self.archived.entry(archive).or_default().extend(gone);
                }
            }
            Op::DeleteTranscript(session) => {
                self.transcripts.remove(&session);
                self.archived.remove(&session);
            }
            Op::PutDevice(device) => {
                ever.devices.insert(device.id.clone());
                self.devices.insert(device.id.clone(), device);
            }
            Op::DeleteDevice(id) => {
                self.devices.remove(&id);
            }
            Op::PutRecord(record) => {
                self.records.insert((record.shelf, record.key.clone()), record);
            }
            Op::DeleteRecord { shelf, key } => {
                self.records.remove(&(shelf, key));
            }
            Op::AppendAudit(record) => self.audit.push(record),
            Op::PutAnswer(answer) => {
                ever.answers.insert(answer.key.clone());
                self.answers.insert(answer.key.clone(), answer);
            }
            Op::DeleteAnswers(keys) => keys.iter().for_each(|key| {
                self.answers.remove(key);
            }),
            Op::OpenRun(open) => {
                *ever.opened.entry(open.run.clone()).or_default() += 1;
                self.open_runs.push(open);
            }
            Op::CloseRun(run) => {
                self.open_runs.retain(|open| open.run != run);
                ever.closed.insert(run);
            }
        }
        Ok(())
    }

    /// Positions rise and ids do not repeat within one transcript.
    fn append(&mut self, ever: &mut Ever, entry: TranscriptEntry) -> Result<(), String> {
        let entries = self.transcripts.entry(entry.session.clone()).or_default();
        if entries.last().is_some_and(|last| last.seq >= entry.seq) {
            return Err(format!(
                "transcript position {} of session {} does not rise",
                entry.seq, entry.session
            ));
        }
        if entries.iter().any(|other| other.id == entry.id) {
            return Err(format!("transcript entry id {} of session {} repeats", entry.id, entry.session));
        }
        entries.push(entry.clone());
        let message = entry.message.to_value();
        let role = message["role"].as_str().unwrap_or_default().to_owned();
        ever.lines.push(Line { role, text: text_of(&message), entry });
        Ok(())
    }

    fn answer(&self, query: &Query) -> Loaded {
        match query {
            Query::Everything => Loaded::Everything(Box::new(self.everything())),
            Query::Tail { session, limit, max_bytes } => {
                let all = self.transcripts.get(session).map_or(&[][..], Vec::as_slice);
                let mut bytes = 0;
                let mut tail: Vec<TranscriptEntry> = Vec::new();
                for entry in all.iter().rev().take(*limit) {
                    bytes += entry.message.as_str().len();
                    if bytes > *max_bytes && !tail.is_empty() {
                        break;
                    }
                    tail.push(entry.clone());
                }
                tail.reverse();
                Loaded::Entries(tail)
            }
            Query::Page(page) => {
                Loaded::Page(page.of(self.transcripts.get(&page.session).map_or(&[], Vec::as_slice)))
            }
            Query::Search(search) => Loaded::Hits(search.rank(self.keyed().map(|(_, entry)| entry))),
            Query::Usage(usage) => Loaded::Usage(usage.of(self.keyed())),
            Query::Audit(query) => Loaded::Audit(query.of(&self.audit)),
        }
    }

    /// Every entry of the sessions that there are, with the session's key.
    fn keyed(&self) -> impl Iterator<Item = (&SessionKey, &TranscriptEntry)> {
        let entries = |row: &SessionRecord| self.transcripts.get(&row.session).into_iter().flatten();
        self.sessions.values().flat_map(move |row| entries(row).map(move |entry| (&row.key, entry)))
    }

    fn everything(&self) -> Everything {
        let mut answers: Vec<AnswerRecord> = self.answers.values().cloned().collect();
        answers.sort_by_key(|answer| answer.at);
        let end = |(session, entries): (&SessionId, &Vec<TranscriptEntry>)| {
            let last = entries.last()?;
            Some(TranscriptEnd { session: session.clone(), seq: last.seq, id: last.id.clone() })
        };
        Everything {
            sessions: self.sessions.values().cloned().collect(),
            devices: self.devices.values().cloned().collect(),
            answers,
            open_runs: self.open_runs.clone(),
            transcripts: self.transcripts.iter().filter_map(end).collect(),
            records: self.records.values().cloned().collect(),
        }
    }
}

impl Ever {
    /// Whether a line of this role was written that `fits`.
    pub(crate) fn has_line(&self, role: &str, fits: impl Fn(&Line) -> bool) -> bool {
        self.lines.iter().rev().any(|line| line.role == role && fits(line))
    }
}

fn run_of(op: &Op) -> Option<RunId> {
    match op {
        Op::AppendEntry(entry) => entry.run.clone(),
        Op::OpenRun(open) => Some(open.run.clone()),
        Op::CloseRun(run) => Some(run.clone()),
        _ => None,
    }
}

/// The text of a message: its string, or its text blocks together.
pub(crate) fn text_of(message: &Value) -> String {
    match &message["content"] {
        Value::String(text) => text.clone(),
        Value::Array(blocks) => blocks
            .iter()
            .filter(|block| block["type"] == "text")
            .filter_map(|block| block["text"].as_str())
            .collect(),
        _ => String::new(),
    }
}
