//! A gateway in a test: time is the test's, the store is memory, and model servers are played by hand.
//!
//! ```text
//! let mut world = World::new();
//! let phone = world.operator(Protocol::V4);
//! world.call(phone, "chat.send", json!({…}));
//! world.advance(1_000);
//! ```

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::needless_pass_by_value)]

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use serde_json::value::RawValue;
use telson_proto::{ErrorShape, EventName, Protocol, Role, Scope, Scopes};

use crate::auth::{AuthMethod, Client, Credential, Declared, Principal, Secret};
use crate::entropy::Seed;
use crate::fetch::{FetchEvent, FetchRequest};
use crate::gateway::{Gateway, Input, Output};
use crate::http::{HttpRequest, HttpResponse};
use crate::ids::{
    ConnId, DeviceId, FetchId, HttpId, ProcessId, QueryId, RunId, SessionId, SessionKey, Ticket,
};
use crate::messages::{Down, Outcome, Publish, Request, Up};
use crate::process::ProcessSpec;
use crate::settings::{AuthMode, ModelRef, ModelSettings, ProviderSettings, Settings};
use crate::store::{
    AnswerRecord, AuditRecord, DeviceRecord, Everything, Loaded, Op, OpenRun, Query, Record, SearchHits,
    SearchQuery, SessionRecord, Shelf, StoreError, Transaction, TranscriptEnd, TranscriptEntry,
};
use crate::time::Now;

/// The wall clock at the start of a test.
pub(crate) const DAWN: u64 = 1_769_767_200_000;

/// What a client was told, in order.
#[derive(Clone, Debug)]
pub(crate) enum Told {
    Reply(Ticket, Outcome),
    Event(Arc<Publish>),
    Other(Down),
}

/// A piece of the answer to an HTTP request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Piece {
    Whole(HttpResponse),
    Head(HttpResponse),
    Chunk(Bytes),
    End,
}

/// The store as memory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    pub(crate) sessions: BTreeMap<SessionKey, SessionRecord>,
    pub(crate) entries: BTreeMap<SessionId, Vec<TranscriptEntry>>,
    pub(crate) devices: BTreeMap<DeviceId, DeviceRecord>,
    pub(crate) answers: BTreeMap<String, AnswerRecord>,
    pub(crate) open_runs: BTreeMap<RunId, OpenRun>,
    pub(crate) records: BTreeMap<(Shelf, String), Record>,
    pub(crate) audit: Vec<AuditRecord>,
}

impl Disk {
    /// Writes a transaction.
    pub(crate) fn apply(&mut self, ops: Vec<Op>) {
        for op in ops {
            match op {
                Op::PutSession(record) => {
                    self.sessions.insert(record.key.clone(), record);
                }
                Op::DeleteSession(key) => {
                    self.sessions.remove(&key);
                }
                Op::AppendEntry(entry) => {
                    let entries = self.entries.entry(entry.session.clone()).or_default();
                    assert!(entries.last().is_none_or(|last| last.seq < entry.seq), "positions rise");
                    entries.push(entry);
                }
                Op::ArchiveTranscript { session, .. } | Op::DeleteTranscript(session) => {
                    self.entries.remove(&session);
                }
                Op::CutTranscript { session, from, .. } => {
                    if let Some(entries) = self.entries.get_mut(&session) {
                        entries.retain(|entry| entry.seq >= from);
                        let kept: Vec<String> = entries.iter().map(|entry| entry.id.clone()).collect();
                        for entry in entries {
                            entry.parent = entry.parent.take().filter(|parent| kept.contains(parent));
                        }
                    }
                }
                Op::PutDevice(record) => {
                    self.devices.insert(record.id.clone(), record);
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
                Op::PutAnswer(record) => {
                    self.answers.insert(record.key.clone(), record);
                }
                Op::DeleteAnswers(keys) => {
                    for key in keys {
                        self.answers.remove(&key);
                    }
                }
                Op::OpenRun(run) => {
                    self.open_runs.insert(run.run.clone(), run);
                }
                Op::CloseRun(run) => {
                    self.open_runs.remove(&run);
                }
            }
        }
    }

    /// Answers a question.
    pub(crate) fn query(&self, query: &Query) -> Loaded {
        match query {
            Query::Everything => {
                let mut answers: Vec<AnswerRecord> = self.answers.values().cloned().collect();
                answers.sort_by_key(|record| record.at);
                let ends = self.entries.iter().filter_map(|(session, entries)| {
                    let last = entries.last()?;
                    Some(TranscriptEnd { session: session.clone(), seq: last.seq, id: last.id.clone() })
                });
                Loaded::Everything(Box::new(Everything {
                    sessions: self.sessions.values().cloned().collect(),
                    devices: self.devices.values().cloned().collect(),
                    answers,
                    open_runs: self.open_runs.values().cloned().collect(),
                    transcripts: ends.collect(),
                    records: self.records.values().cloned().collect(),
                }))
            }
            Query::Tail { session, limit, max_bytes } => {
                let all = self.entries.get(session).map(Vec::as_slice).unwrap_or_default();
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
                Loaded::Page(page.of(self.entries.get(&page.session).map_or(&[], Vec::as_slice)))
            }
            Query::Search(search) => Loaded::Hits(self.search(search)),
            Query::Usage(usage) => Loaded::Usage(usage.of(self.keyed())),
            Query::Audit(query) => Loaded::Audit(query.of(&self.audit)),
        }
    }

    /// Every entry of the sessions that there are, with the session's key.
    fn keyed(&self) -> impl Iterator<Item = (&SessionKey, &TranscriptEntry)> {
        let all = self.sessions.values();
        all.flat_map(|row| {
            self.entries.get(&row.session).into_iter().flatten().map(|entry| (&row.key, entry))
        })
    }

    fn search(&self, search: &SearchQuery) -> SearchHits {
        let here = |key: &SessionKey, entry: &TranscriptEntry| {
            search.key_prefix.as_ref().is_none_or(|prefix| key.as_str().starts_with(prefix))
                && search.sessions.as_ref().is_none_or(|sessions| sessions.contains(&entry.session))
        };
        let mut newest: Vec<&TranscriptEntry> =
            self.keyed().filter(|(key, entry)| here(key, entry)).map(|(_, entry)| entry).collect();
        newest.reverse();
        search.rank(newest.into_iter())
    }

    /// The messages of a session's transcript.
    pub(crate) fn messages(&self, key: &str) -> Vec<Value> {
        let record = self.sessions.get(&SessionKey::new(key));
        let entries = record.and_then(|record| self.entries.get(&record.session));
        entries.into_iter().flatten().map(|entry| entry.message.to_value()).collect()
    }

    /// The entry of a session.
    pub(crate) fn entry(&self, key: &str) -> Value {
        self.sessions.get(&SessionKey::new(key)).map(|record| record.entry.to_value()).unwrap_or_default()
    }
}

/// What a model was asked without what the gateway puts around the user's words (spec 02 §6.5).
pub(crate) fn undressed(messages: &Value) -> Value {
    let mut messages = messages.clone();
    for message in messages.as_array_mut().into_iter().flatten() {
        let Some(text) = message["content"].as_str() else { continue };
        let lines = text.split('\n').filter(|line| !line.starts_with("[message_id: "));
        let bare = |line: &str| match line.strip_prefix("[Fri 2026-01-30 10:00 UTC] ") {
            Some(rest) => rest.to_owned(),
            None => line.to_owned(),
        };
        message["content"] = lines.map(bare).collect::<Vec<_>>().join("\n").into();
    }
    messages
}

/// A gateway and everything around it.
pub(crate) struct World {
    pub(crate) gateway: Gateway,
    pub(crate) now: Now,
    pub(crate) shelf: Disk,
    /// Outbound requests that are under way.
    pub(crate) fetches: Vec<(FetchId, FetchRequest)>,
    /// Everything that clients were told.
    pub(crate) told: Vec<Told>,
    /// Everything that HTTP clients were answered.
    pub(crate) answers: Vec<(HttpId, Piece)>,
    /// The bodies of HTTP requests that have not been asked for.
    bodies: BTreeMap<HttpId, Bytes>,
    /// Processes that are under way.
    pub(crate) processes: Vec<(ProcessId, ProcessSpec)>,
    /// What was written to processes.
    pub(crate) lines: Vec<(ProcessId, String)>,
    /// Transactions that wait while [`Self::hold`] is set.
    pub(crate) held: Vec<Transaction>,
    /// Whether transactions wait until [`Self::release`].
    pub(crate) hold: bool,
    /// What becomes of transactions instead of being written.
    pub(crate) broken: Option<StoreError>,
    pub(crate) stopped: bool,
    settings: Settings,
    conns: u64,
    serial: u64,
}

impl World {
    /// A gateway with nothing configured: it answers with `echo`.
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    /// A gateway whose default model is `fake/m`, whose server is played by the test.
    pub(crate) fn with_model() -> Self {
        Self::with_model_and(|_| {})
    }

    /// The same with other settings.
    pub(crate) fn with_model_and(change: impl FnOnce(&mut Settings)) -> Self {
        Self::with(|settings| {
            settings.providers.push(ProviderSettings {
                models: vec![ModelSettings {
                    name: "M".to_owned(),
                    images: true,
                    context_window: 8_192,
                    max_tokens: 0,
                    ..ModelSettings::new("m")
                }],
                ..ProviderSettings::new("fake", "http://127.0.0.1:1/v1")
            });
            settings.agents.model = ModelRef::parse("fake/m").unwrap();
            change(settings);
        })
    }

    /// A gateway with other settings.
    pub(crate) fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings::plain(AuthMode::Token(Secret::new("t")));
        change(&mut settings);
        Self::started(settings, Disk::default(), Now { mono: Duration::ZERO, wall: DAWN })
    }

    fn started(settings: Settings, shelf: Disk, now: Now) -> Self {
        let mut world = Self {
            gateway: Gateway::new(settings.clone(), Seed::from([3; 32]), now),
            now,
            shelf,
            fetches: Vec::new(),
            told: Vec::new(),
            answers: Vec::new(),
            bodies: BTreeMap::new(),
            processes: Vec::new(),
            lines: Vec::new(),
            held: Vec::new(),
            hold: false,
            broken: None,
            stopped: false,
            settings,
            conns: 0,
            serial: 0,
        };
        world.input(Input::Started);
        world
    }

    /// The process dies and another one finds what was stored.
    pub(crate) fn crash(self) -> Self {
        Self::started(self.settings, self.shelf, Now { mono: Duration::ZERO, wall: self.now.wall })
    }

    /// A client with every scope.
    pub(crate) fn operator(&mut self, protocol: Protocol) -> ConnId {
        self.client(protocol, Scopes::all(), None)
    }

    /// A client with some scopes, and maybe a device.
    pub(crate) fn client(&mut self, protocol: Protocol, scopes: Scopes, device: Option<&str>) -> ConnId {
        self.conns += 1;
        let conn = ConnId(self.conns);
        let principal = Principal {
            role: Role::Operator,
            scopes,
            method: AuthMethod::Token,
            credential: Credential::Shared { epoch: 0 },
            user: None,
            device: device.map(DeviceId::new),
            protocol,
            addr: IpAddr::from([127, 0, 0, 1]),
            local: true,
            declared: Declared::new(Client::default()),
        };
        self.gateway.conns.insert(conn, Arc::new(principal));
        conn
    }

    /// Scopes without admin.
    pub(crate) fn read_write() -> Scopes {
        [Scope::Read, Scope::Write].into_iter().collect()
    }

    /// Sends a request; its replies are found by the number that this returns.
    pub(crate) fn call(&mut self, conn: ConnId, method: &str, params: Value) -> u64 {
        self.serial += 1;
        let ticket = Ticket { conn, id: self.serial.to_string(), serial: self.serial };
        let params = Some(RawValue::from_string(params.to_string()).unwrap());
        self.input(Input::Up(Up::Request(Request { ticket, method: method.to_owned(), params })));
        self.serial
    }

    /// Sends a request and takes its only answer so far.
    pub(crate) fn ask(&mut self, conn: ConnId, method: &str, params: Value) -> Value {
        let call = self.call(conn, method, params);
        self.reply(call).payload.expect("a payload").to_value()
    }

    /// Sends a request and takes its error.
    pub(crate) fn refusal(&mut self, conn: ConnId, method: &str, params: Value) -> ErrorShape {
        let call = self.call(conn, method, params);
        self.reply(call).error.expect("an error")
    }

    /// Every reply to a request.
    pub(crate) fn replies(&self, call: u64) -> Vec<Outcome> {
        let replies = self.told.iter().filter_map(|told| match told {
            Told::Reply(ticket, outcome) if ticket.serial == call => Some(outcome.clone()),
            _ => None,
        });
        replies.collect()
    }

    /// The one reply to a request.
    pub(crate) fn reply(&self, call: u64) -> Outcome {
        let mut replies = self.replies(call);
        assert_eq!(replies.len(), 1, "replies to {call}: {replies:?}");
        replies.remove(0)
    }

    /// The payloads of an event as a protocol gets them.
    pub(crate) fn events(&self, name: EventName, protocol: Protocol) -> Vec<Value> {
        let events = self.told.iter().filter_map(|told| match told {
            Told::Event(publish) if publish.event == name => Some(publish.payload(protocol)?.to_value()),
            _ => None,
        });
        events.collect()
    }

    /// The states of a run's chat events.
    pub(crate) fn chat_states(&self, run: &str, protocol: Protocol) -> Vec<String> {
        let events = self.events(EventName::Chat, protocol);
        let of_run = events.iter().filter(|event| event["runId"] == run);
        of_run.map(|event| event["state"].as_str().unwrap().to_owned()).collect()
    }

    /// The terminal chat event of a run; there must be one at most.
    pub(crate) fn terminal(&self, run: &str, protocol: Protocol) -> Option<Value> {
        let events = self.events(EventName::Chat, protocol);
        let mut ends: Vec<Value> =
            events.into_iter().filter(|event| event["runId"] == run && event["state"] != "delta").collect();
        assert!(ends.len() <= 1, "one terminal event: {ends:?}");
        ends.pop()
    }

    /// Sends an HTTP request; its answer is found by the number that this returns.
    pub(crate) fn http(&mut self, request: HttpRequest, body: impl Into<Bytes>) -> HttpId {
        self.serial += 1;
        let id = HttpId(self.serial);
        self.bodies.insert(id, body.into());
        self.input(Input::Http { id, request: Box::new(request) });
        id
    }

    /// The whole answer to an HTTP request: status, and body with the pieces joined.
    pub(crate) fn answered(&self, id: HttpId) -> Option<(u16, String)> {
        let mut status = None;
        let mut text = String::new();
        for (_, piece) in self.answers.iter().filter(|(of, _)| *of == id) {
            match piece {
                Piece::Whole(response) => return Some((response.status, response.body.clone())),
                Piece::Head(head) => status = Some(head.status),
                Piece::Chunk(chunk) => text.push_str(std::str::from_utf8(chunk).unwrap()),
                Piece::End => return Some((status?, text)),
            }
        }
        None
    }

    /// Lets time pass, deadline by deadline.
    pub(crate) fn advance(&mut self, millis: u64) {
        let end = self.now.mono + Duration::from_millis(millis);
        while let Some(due) = self.gateway.poll_timeout().filter(|due| *due <= end) {
            self.set_time(due.max(self.now.mono));
            self.input(Input::Timeout);
        }
        self.set_time(end);
    }

    fn set_time(&mut self, mono: Duration) {
        let passed = mono - self.now.mono;
        self.now.wall += u64::try_from(passed.as_millis()).unwrap();
        self.now.mono = mono;
    }

    /// The only outbound request under way.
    pub(crate) fn fetch(&self) -> (FetchId, Value) {
        assert_eq!(self.fetches.len(), 1, "{:?}", self.fetches);
        let (id, request) = &self.fetches[0];
        (*id, serde_json::from_slice(&request.body).unwrap())
    }

    /// The model server begins to stream.
    pub(crate) fn head(&mut self, id: FetchId) {
        let headers = vec![("content-type".to_owned(), "text/event-stream".to_owned())];
        self.input(Input::Fetch { id, event: FetchEvent::Head { status: 200, headers } });
    }

    /// The model server streams some words.
    pub(crate) fn words(&mut self, id: FetchId, words: &str) {
        let chunk = serde_json::json!({"choices": [{"delta": {"content": words}}]});
        self.chunk(id, &format!("data: {chunk}\n\n"));
    }

    /// The model server sends a piece of its body.
    pub(crate) fn chunk(&mut self, id: FetchId, text: &str) {
        let bytes = Bytes::copy_from_slice(text.as_bytes());
        self.input(Input::Fetch { id, event: FetchEvent::Chunk(bytes) });
    }

    /// The model server ends its answer.
    pub(crate) fn done(&mut self, id: FetchId) {
        let finish = serde_json::json!({
            "choices": [{"delta": {}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
        });
        self.chunk(id, &format!("data: {finish}\n\ndata: [DONE]\n\n"));
        self.input(Input::Fetch { id, event: FetchEvent::End });
    }

    /// The model server refuses.
    pub(crate) fn refuse(&mut self, id: FetchId, status: u16, message: &str) {
        let headers = Vec::new();
        self.input(Input::Fetch { id, event: FetchEvent::Head { status, headers } });
        self.chunk(id, &serde_json::json!({"error": {"message": message}}).to_string());
        self.input(Input::Fetch { id, event: FetchEvent::End });
    }

    /// The model server answers whole.
    pub(crate) fn answer(&mut self, words: &str) {
        let (id, _) = self.fetch();
        self.head(id);
        self.words(id, words);
        self.done(id);
    }

    /// Writes what was held, and holds no more.
    pub(crate) fn release(&mut self) {
        self.hold = false;
        for transaction in std::mem::take(&mut self.held) {
            let id = self.write(transaction);
            self.input(id);
        }
    }

    fn write(&mut self, Transaction { id, ops }: Transaction) -> Input {
        let result = match &self.broken {
            Some(error) => Err(error.clone()),
            None => {
                self.shelf.apply(ops);
                Ok(())
            }
        };
        Input::Stored { id, result }
    }

    /// Tells the gateway something and performs what it asks for, until it is quiet.
    pub(crate) fn input(&mut self, input: Input) {
        let mut inputs = std::collections::VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            if let Input::Fetch { id, event: FetchEvent::End | FetchEvent::Failed(_) } = &input {
                self.fetches.retain(|(other, _)| other != id);
            }
            self.gateway.handle(self.now, input);
            while let Some(output) = self.gateway.poll_output() {
                inputs.extend(self.perform(output));
            }
        }
    }

    fn perform(&mut self, output: Output) -> Option<Input> {
        match output {
            Output::Down(Down::Reply { ticket, outcome }) => self.told.push(Told::Reply(ticket, outcome)),
            Output::Down(Down::Publish(publish)) => self.told.push(Told::Event(publish)),
            Output::Down(other) => self.told.push(Told::Other(other)),
            Output::Fetch { id, request } => self.fetches.push((id, request)),
            Output::AbortFetch { id } => self.fetches.retain(|(other, _)| *other != id),
            Output::Store(transaction) if self.hold => self.held.push(transaction),
            Output::Store(transaction) => return Some(self.write(transaction)),
            Output::Load { id, query } => {
                let id: QueryId = id;
                return Some(Input::Loaded { id, result: Ok(self.shelf.query(&query)) });
            }
            Output::Stopped => self.stopped = true,
            Output::Respond { id, response } => self.answers.push((id, Piece::Whole(response))),
            Output::RespondHead { id, head } => self.answers.push((id, Piece::Head(head))),
            Output::RespondChunk { id, chunk } => self.answers.push((id, Piece::Chunk(chunk))),
            Output::RespondEnd { id } => self.answers.push((id, Piece::End)),
            Output::ReadBody { id, .. } => {
                let body = self.bodies.remove(&id).unwrap_or_default();
                return Some(Input::HttpBody { id, body: Ok(body) });
            }
            Output::Spawn { id, spec } => self.processes.push((id, spec)),
            Output::WriteLine { id, line } => self.lines.push((id, line)),
            Output::Kill { id } => self.processes.retain(|(other, _)| *other != id),
        }
        None
    }

    /// Forgets what was told so far.
    pub(crate) fn forget(&mut self) {
        self.told.clear();
    }
}
