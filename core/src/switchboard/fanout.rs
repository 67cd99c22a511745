//! What leaves for the clients: answers, events for those who may hear them, closes (spec 01 §6.7, §7.1).

use std::sync::Arc;

use telson_proto::error::close_reason;
use telson_proto::event::Guard;
use telson_proto::{CloseCode, Dialect, ErrorCode, EventName, Json, Protocol, Scope, dialect};

use crate::ids::{ConnId, SessionKey, Ticket};
use crate::ingress::Walls;
use crate::limits;
use crate::messages::{Accept, Audience, Down, Outcome, Publish};
use crate::time::Now;

use super::conn::{Conn, Live, Stage};
use super::outbox::Kind;
use super::{Output, Switchboard};

impl Switchboard {
    pub(super) fn down(&mut self, now: Now, down: Down) {
        match down {
            Down::Accept(accept) => self.accept(now, *accept),
            Down::Refuse { ticket, error, code, reason } => {
                self.answer(&ticket, &Outcome::error(error));
                self.close(ticket.conn, code, &reason);
            }
            Down::Reply { ticket, outcome } => self.reply(now, &ticket, &outcome),
            Down::Publish(publish) => self.publish(&publish),
            Down::Address { conn, event, payload } => self.address(conn, event, &payload),
            Down::SubscribeSessions { conn } => {
                if let Some(live) = self.live(conn) {
                    live.session_list = true;
                }
            }
            Down::WatchMessages { conn, key, on } => {
                if let Some(live) = self.live(conn) {
                    match on {
                        true => live.watched.insert(key),
                        false => live.watched.remove(&key),
                    };
                }
            }
            Down::TakePart { conn, key } => {
                if let Some(live) = self.live(conn) {
                    live.take_part(key);
                }
            }
            Down::Alias { conn, key, spelling } => {
                if let Some(live) = self.live(conn) {
                    live.learn_alias(key, spelling);
                }
            }
            Down::Rules(rules) => self.walls = Walls::new(rules),
            Down::Close { conn, code, reason } => self.close(conn, code, &reason),
            Down::CloseAll { code, reason } => {
                self.closing = true;
                let all: Vec<ConnId> = self.conns.keys().copied().collect();
                for id in all {
                    self.close(id, code, &reason);
                }
            }
        }
    }

    fn live(&mut self, id: ConnId) -> Option<&mut Live> {
        self.conns.get_mut(&id).and_then(Conn::live_mut)
    }

    /// Lets a connection in and replays what it sent meanwhile.
    fn accept(&mut self, now: Now, accept: Accept) {
        let id = accept.ticket.conn;
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let Stage::Handshaking { dialect, waiting } = &mut conn.stage else { return };
        let (dialect, waiting) = (*dialect, std::mem::take(waiting));
        let addr = conn.peer.addr;
        conn.stage = Stage::Live(Box::new(Live::new(dialect, accept.principal, accept.limits)));
        self.release_preauth(addr);
        self.emit(Output::Authenticated { conn: id });
        self.answer(&accept.ticket, &Outcome::ok(accept.hello));
        self.set_deadline(id, Some(now.mono + limits::millis(limits::PING_MS)));
        for text in waiting {
            self.live_frame(now, id, &text);
        }
    }

    fn reply(&mut self, now: Now, ticket: &Ticket, outcome: &Outcome) {
        let Some(live) = self.live(ticket.conn) else { return };
        // A request whose first answer says that more follows leaves the account with that answer: a run
        // that takes its time must not keep its client from asking for other things.
        let first = live.in_flight.remove(&ticket.serial);
        live.in_flight_bytes -= first.unwrap_or(0);
        if live.dialect == Dialect::Plain && first.is_none() {
            return; // the plain dialect knows one answer per request
        }
        let wrong_role = outcome.error.as_ref().is_some_and(|e| e.message.starts_with("unauthorized role:"));
        live.wrong_role_run = if wrong_role { live.wrong_role_run + 1 } else { 0 };
        let flooded = live.wrong_role_run > limits::UNAUTHORIZED_ROLE_RUN;
        self.answer(ticket, outcome);
        if flooded {
            self.close(ticket.conn, CloseCode::Policy, "repeated unauthorized calls");
        } else if outcome
            .error
            .as_ref()
            .is_some_and(|error| matches!(error.code, ErrorCode::InvalidRequest | ErrorCode::Forbidden))
        {
            self.denied(now, ticket.conn);
        }
    }

    fn answer(&mut self, ticket: &Ticket, outcome: &Outcome) {
        let Some(conn) = self.conns.get(&ticket.conn) else { return };
        let frame =
            dialect::response(conn.dialect(), &ticket.id, outcome.payload.as_ref(), outcome.error.as_ref());
        self.send(ticket.conn, frame, Kind::Answer);
    }

    /// Sends an event to everyone who may hear it. The payload was serialised once; the head of the frame is
    /// written once for each dialect and protocol; each connection adds its number.
    fn publish(&mut self, publish: &Arc<Publish>) {
        let mut heads = Heads::new(publish);
        self.copy_to_nodes(publish, &mut heads);
        let hearers: Vec<ConnId> = self
            .conns
            .iter()
            .filter(|(_, conn)| matches!(&conn.stage, Stage::Live(live) if live.hears(publish)))
            .map(|(id, _)| *id)
            .collect();
        for id in hearers {
            self.deliver(id, publish, &mut heads);
        }
    }

    /// Nodes hear of the sessions that they subscribed to, and of no others. Their copies carry no number: it is
    /// that of broadcasts, in which clients look for gaps (spec 03 §2.8).
    fn copy_to_nodes(&mut self, publish: &Publish, heads: &mut Heads<'_>) {
        let nodes = self
            .conns
            .iter()
            .filter(|(_, conn)| matches!(&conn.stage, Stage::Live(live) if live.subscribes_to(publish)));
        for id in nodes.map(|(id, _)| *id).collect::<Vec<_>>() {
            let Some(conn) = self.conns.get(&id) else { continue };
            let Stage::Live(live) = &conn.stage else { continue };
            let Some(head) = heads.of(live.protocol(), live.dialect) else { continue };
            let respelled = live.respell(head, publish);
            let frame = dialect::event_frame(respelled.as_deref().unwrap_or(head), None, None);
            if conn.outbox.fits(frame.len(), live.limits.max_buffered) {
                self.send(id, frame, Kind::Event);
            } else if !publish.droppable {
                self.close(id, CloseCode::Policy, "slow consumer");
            }
        }
    }

    /// Sends an event to one connection, without a number: clients look for gaps in those of broadcasts.
    fn address(&mut self, id: ConnId, event: EventName, payload: &Json) {
        let Some(conn) = self.conns.get(&id) else { return };
        let Stage::Live(live) = &conn.stage else { return };
        let head = dialect::event_head(event, Some(payload), live.dialect);
        let frame = dialect::event_frame(&head, None, None);
        if conn.outbox.fits(frame.len(), live.limits.max_buffered) {
            self.send(id, frame, Kind::Event);
        } else {
            self.close(id, CloseCode::Policy, "slow consumer");
        }
    }

    fn deliver(&mut self, id: ConnId, publish: &Publish, heads: &mut Heads<'_>) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let Stage::Live(live) = &mut conn.stage else { return };
        let Some(head) = heads.of(live.protocol(), live.dialect) else { return };
        let seq = live.seq + 1;
        let respelled = live.respell(head, publish);
        let frame = dialect::event_frame(respelled.as_deref().unwrap_or(head), Some(seq), publish.state);
        let fits = conn.outbox.fits(frame.len(), live.limits.max_buffered);
        if fits {
            live.seq = seq;
            self.send(id, frame, Kind::Event);
        } else if publish.droppable {
            live.seq = seq;
            tracing::trace!(target: "gateway.ws", conn = %id, event = publish.event.as_str(), "event dropped for a slow reader");
        } else {
            self.close(id, CloseCode::Policy, "slow consumer");
        }
    }

    pub(super) fn send(&mut self, id: ConnId, text: String, kind: Kind) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        if matches!(conn.stage, Stage::Closing { .. }) {
            return;
        }
        conn.outbox.push(text.len(), kind);
        self.emit(Output::Send { conn: id, text });
    }

    /// Starts a close. Frames queued so far still go out before the close frame.
    pub(super) fn close(&mut self, id: ConnId, code: CloseCode, reason: &str) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        if matches!(conn.stage, Stage::Closing { .. }) {
            return;
        }
        let reason = close_reason(reason).to_owned();
        let quiet = matches!(code, CloseCode::Restart);
        if !quiet {
            tracing::info!(target: "gateway.ws", conn = %id, code = code.number(), %reason, peer = %conn.peer.addr, "closing");
        }
        conn.stage = Stage::Closing { known: conn.known_to_gateway(), preauth: conn.holds_preauth_slot() };
        self.set_deadline(id, None);
        self.emit(Output::Close { conn: id, code, reason });
    }
}

impl Live {
    /// The audience check, the last step before the outbox.
    fn hears(&self, publish: &Publish) -> bool {
        if publish.payload(self.protocol()).is_none() {
            return false;
        }
        let allowed = match publish.event.spec().guard {
            Guard::Everyone => true,
            Guard::Addressed => false,
            Guard::Scope(_) if self.is_node() => false,
            // v3 knows no talk scope: whoever may read hears of it.
            Guard::Scope(Scope::Talk) if self.protocol() == Protocol::V3 => self.principal.holds(Scope::Read),
            Guard::Scope(scope) => self.principal.holds(scope),
        };
        allowed && self.is_among(&publish.to)
    }

    /// Whether this is a node that has subscribed to the session of the event.
    fn subscribes_to(&self, publish: &Publish) -> bool {
        let of_session = matches!(publish.event, EventName::Chat | EventName::Agent);
        let (Audience::Session(key) | Audience::RunTools(key)) = &publish.to else { return false };
        self.is_node()
            && of_session
            && self.watched.contains(key)
            && publish.payload(self.protocol()).is_some()
    }

    /// Whether a narrowed event is for this connection.
    fn is_among(&self, audience: &Audience) -> bool {
        match audience {
            Audience::All => true,
            Audience::Readers(reads) => self.principal.holds(Scope::Read) == *reads,
            Audience::Session(key) => self.is_in_scope(key),
            Audience::SessionList => self.session_list,
            Audience::SessionMessages(key) => self.watched.contains(key),
            Audience::RunTools(key) => self.protocol() == Protocol::V3 || self.sees_tools_of(key),
            Audience::SessionTools(key) => {
                self.shows_tools && self.watched.contains(key) && !self.sees_tools_of(key)
            }
        }
    }

    /// Whether it gets the tools of a session's runs as a part of those runs.
    fn sees_tools_of(&self, key: &SessionKey) -> bool {
        self.shows_tools && self.is_in_scope(key) && self.takes_part.contains(key)
    }

    fn is_in_scope(&self, key: &SessionKey) -> bool {
        !self.scoped || self.watched.contains(key)
    }

    /// Remembers the name by which a v3 client calls a session; the last one counts [C-06].
    fn learn_alias(&mut self, key: SessionKey, spelling: String) {
        const MOST: usize = 64;
        if key.as_str() == spelling {
            self.aliases.remove(&key);
        } else if self.aliases.len() < MOST || self.aliases.contains_key(&key) {
            self.aliases.insert(key, spelling);
        }
    }

    /// The head with the session's key as this v3 client spells it, if it does.
    fn respell(&self, head: &str, publish: &Publish) -> Option<String> {
        if self.protocol() != Protocol::V3 {
            return None;
        }
        let (Audience::Session(key) | Audience::RunTools(key)) = &publish.to else { return None };
        let spelling = self.aliases.get(key)?;
        let canonical = format!("{{\"sessionKey\":{}", telson_proto::Json::of(key).as_str());
        let own = format!("{{\"sessionKey\":{}", telson_proto::Json::of(spelling).as_str());
        Some(head.replacen(&canonical, &own, 1))
    }
}

/// The heads of one event's frames, written when first needed.
struct Heads<'a> {
    publish: &'a Publish,
    written: [Option<String>; 4],
}

impl<'a> Heads<'a> {
    fn new(publish: &'a Publish) -> Self {
        Self { publish, written: [const { None }; 4] }
    }

    fn of(&mut self, protocol: Protocol, dialect: Dialect) -> Option<&str> {
        let payload = self.publish.payload(protocol)?;
        let slot = usize::from(protocol == Protocol::V4) * 2 + usize::from(dialect == Dialect::Plain);
        let event = self.publish.event;
        let head =
            self.written[slot].get_or_insert_with(|| dialect::event_head(event, Some(payload), dialect));
        Some(head)
    }
}
