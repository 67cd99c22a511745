//! A gateway with a store of maps and clients that speak by function call.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use telson_proto::{Json, Protocol, Role, Scope, Scopes};

use crate::auth::{AuthMethod, Client, Credential, Declared, Principal};
use crate::gateway::{Input, Output};
use crate::messages::{Audience, Down, Outcome, Publish, Request, Up};
use crate::settings::{AuthMode, Settings};
use crate::store::{Everything, Loaded, Op, Query, SessionRecord, StoreError, Transaction, TranscriptEntry};
use crate::{ConnId, Gateway, Now, Seed, SessionId, SessionKey, Ticket};

pub(super) struct World {
    pub(super) gateway: Gateway,
    pub(super) now: Now,
    pub(super) rows: BTreeMap<SessionKey, SessionRecord>,
    pub(super) lines: BTreeMap<SessionId, Vec<TranscriptEntry>>,
    /// Transactions are refused.
    pub(super) full: bool,
    /// Transactions wait in `held`.
    pub(super) slow: bool,
    pub(super) held: Vec<Transaction>,
    replies: Vec<(Ticket, Outcome)>,
    pub(super) published: Vec<Arc<Publish>>,
    pub(super) told: Vec<Down>,
    conns: u64,
}

impl World {
    pub(super) fn new() -> Self {
        Self::with(Settings::plain(AuthMode::None))
    }

    pub(super) fn with(settings: Settings) -> Self {
        let now = Now { mono: Duration::ZERO, wall: 1_769_767_200_000 };
        let mut world = Self {
            gateway: Gateway::new(settings, Seed::from([3; 32]), now),
            now,
            rows: BTreeMap::new(),
            lines: BTreeMap::new(),
            full: false,
            slow: false,
            held: Vec::new(),
            replies: Vec::new(),
            published: Vec::new(),
            told: Vec::new(),
            conns: 0,
        };
        world.handle(Input::Started);
        world
    }

    pub(super) fn tick(&mut self, millis: u64) {
        self.now.wall += millis;
        self.now.mono += Duration::from_millis(millis);
    }

    pub(super) fn client(&mut self, protocol: Protocol, scopes: &[Scope]) -> ConnId {
        self.conns += 1;
        let conn = ConnId(self.conns);
        let principal = Principal {
            role: Role::Operator,
            scopes: Scopes::from_iter(scopes.iter().copied()),
            method: AuthMethod::Token,
            credential: Credential::Shared { epoch: 0 },
            user: None,
            device: None,
            protocol,
            addr: IpAddr::V4(Ipv4Addr::LOCALHOST),
            local: true,
            declared: Declared::new(Client::default()),
        };
        self.gateway.conns.insert(conn, Arc::new(principal));
        conn
    }

    pub(super) fn admin(&mut self, protocol: Protocol) -> ConnId {
        self.client(protocol, &[Scope::Admin])
    }

    /// Sends a request without waiting for the answer.
    pub(super) fn send(&mut self, conn: ConnId, method: &str, params: &Value) -> Ticket {
        self.conns += 1;
        let ticket = Ticket { conn, id: "r".to_owned(), serial: self.conns };
        let params = serde_json::value::RawValue::from_string(params.to_string()).unwrap();
        let request = Request { ticket: ticket.clone(), method: method.to_owned(), params: Some(params) };
        self.handle(Input::Up(Up::Request(request)));
        ticket
    }

    pub(super) fn outcome(&mut self, ticket: &Ticket) -> Option<Outcome> {
        let at = self.replies.iter().position(|(other, _)| other == ticket)?;
        Some(self.replies.remove(at).1)
    }

    /// Calls a method that must succeed.
    pub(super) fn call(&mut self, conn: ConnId, method: &str, params: Value) -> Value {
        let ticket = self.send(conn, method, &params);
        let outcome = self.outcome(&ticket).expect("no answer");
        assert_eq!(outcome.error, None, "{method} {params}");
        outcome.payload.expect("no payload").to_value()
    }

    /// Calls a method that must be refused, and gives the text.
    pub(super) fn refusal(&mut self, conn: ConnId, method: &str, params: Value) -> String {
        let ticket = self.send(conn, method, &params);
        let outcome = self.outcome(&ticket).expect("no answer");
        outcome.error.unwrap_or_else(|| panic!("{method} {params} was accepted")).message
    }

    pub(super) fn key(&self, spelling: &str) -> SessionKey {
        self.gateway.sessions.resolve(spelling).unwrap()
    }

    /// Writes a message into a session, which is made when missing.
    pub(super) fn say(&mut self, spelling: &str, role: &str, text: &str) {
        let key = self.key(spelling);
        let message = json!({"role": role, "content": [{"type": "text", "text": text}]});
        let gateway = &mut self.gateway;
        gateway.now = self.now;
        gateway.sessions.ensure(self.now, &mut gateway.entropy, &key);
        let line =
            gateway.sessions.append(self.now, &mut gateway.entropy, &key, Json::of(&message), None).unwrap();
        gateway.sessions.edit(self.now, &key, |entry| entry.note_message(self.now.wall, role, text));
        gateway.store_session(&key, vec![Op::AppendEntry(line)], |_, _| {});
        self.drain();
    }

    /// Lets the oldest transaction that waits succeed or fail.
    pub(super) fn settle(&mut self, stored: bool) {
        let transaction = self.held.remove(0);
        self.finish(transaction, stored);
        self.drain();
    }

    /// The reasons of `sessions.changed` events for a key, in order.
    pub(super) fn changes(&self, key: &str) -> Vec<(String, Value)> {
        let payloads = self.published.iter().filter(|publish| publish.to == Audience::SessionList);
        let payloads = payloads.map(|publish| {
            assert!(publish.v3.is_none(), "protocol 3 has no such event");
            publish.v4.as_ref().unwrap().to_value()
        });
        let own = payloads.filter(|payload| payload["sessionKey"] == key);
        own.map(|payload| (payload["reason"].as_str().unwrap().to_owned(), payload)).collect()
    }

    /// A gateway that starts from what this one has stored.
    pub(super) fn restarted(&self) -> Self {
        let mut world = Self::new();
        let ends = self.lines.iter().filter_map(|(session, lines)| {
            let last = lines.last()?;
            Some(crate::store::TranscriptEnd { session: session.clone(), seq: last.seq, id: last.id.clone() })
        });
        world.gateway.sessions.restore(self.rows.values().cloned().collect(), ends.collect());
        world.rows = self.rows.clone();
        world.lines = self.lines.clone();
        world.now = self.now;
        world
    }

    pub(super) fn handle(&mut self, input: Input) {
        self.gateway.handle(self.now, input);
        self.drain();
    }

    pub(super) fn drain(&mut self) {
        while let Some(output) = self.gateway.poll_output() {
            match output {
                Output::Store(transaction) if self.slow => self.held.push(transaction),
                Output::Store(transaction) => self.finish(transaction, !self.full),
                Output::Load { id, query } => {
                    let result = Ok(self.load(&query));
                    self.gateway.handle(self.now, Input::Loaded { id, result });
                }
                Output::Down(Down::Reply { ticket, outcome }) => self.replies.push((ticket, outcome)),
                Output::Down(Down::Publish(publish)) => self.published.push(publish),
                Output::Down(down) => self.told.push(down),
                _ => {}
            }
        }
    }

    fn finish(&mut self, transaction: Transaction, stored: bool) {
        let id = transaction.id;
        let result = if stored { Ok(()) } else { Err(StoreError::Full) };
        if stored {
            transaction.ops.into_iter().for_each(|op| self.apply(op));
        }
        self.gateway.handle(self.now, Input::Stored { id, result });
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::PutSession(record) => {
                self.rows.insert(record.key.clone(), record);
            }
            Op::DeleteSession(key) => {
                self.rows.remove(&key);
            }
            Op::AppendEntry(line) => self.lines.entry(line.session.clone()).or_default().push(line),
            Op::ArchiveTranscript { session, .. } | Op::DeleteTranscript(session) => {
                self.lines.remove(&session);
            }
            Op::CutTranscript { session, from, .. } => {
                if let Some(entries) = self.lines.get_mut(&session) {
                    entries.retain(|entry| entry.seq >= from);
                    let kept: Vec<String> = entries.iter().map(|entry| entry.id.clone()).collect();
                    for entry in entries {
                        entry.parent = entry.parent.take().filter(|parent| kept.contains(parent));
                    }
                }
            }
            _ => {}
        }
    }

    fn load(&self, query: &Query) -> Loaded {
        match query {
            Query::Everything => Loaded::Everything(Box::<Everything>::default()),
            Query::Tail { session, limit, .. } => {
                let lines = self.lines.get(session).cloned().unwrap_or_default();
                Loaded::Entries(lines[lines.len().saturating_sub(*limit)..].to_vec())
            }
            Query::Page(page) => {
                Loaded::Page(page.of(self.lines.get(&page.session).map_or(&[], Vec::as_slice)))
            }
            Query::Search(search) => Loaded::Hits(search.rank(self.lines.values().flatten().rev())),
            Query::Usage(usage) => Loaded::Usage(usage.of(std::iter::empty())),
            Query::Audit(query) => Loaded::Audit(query.of(&[])),
        }
    }
}
