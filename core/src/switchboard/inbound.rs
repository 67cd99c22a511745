//! What a client sends: envelopes, order and limits (spec 01 §1.3, §1.4, §9.1).

use telson_proto::connect::Challenge;
use telson_proto::dialect::{self, INVALID_ID, decode};
use telson_proto::{CloseCode, Dialect, ErrorShape, EventName, Inbound, Json};

use crate::ids::{ConnId, Ticket};
use crate::limits;
use crate::messages::{Connect, Request, Up};
use crate::time::Now;

use super::conn::Stage;
use super::outbox::Kind;
use super::{Output, Switchboard};

const FIRST_MUST_BE_CONNECT: &str = "invalid handshake: first request must be connect";
const INVALID_FRAME: &str = "invalid request frame";

impl Switchboard {
    /// The socket is open: the challenge goes out, and the client's time starts when it has left (07 P-08).
    pub(super) fn opened(&mut self, now: Now, id: ConnId) {
        let Some(conn) = self.conns.get(&id) else { return };
        let challenge = Challenge { nonce: conn.nonce.clone(), ts: now.wall };
        let head =
            dialect::event_head(EventName::ConnectChallenge, Some(&Json::of(&challenge)), Dialect::Native);
        self.send(id, dialect::event_frame(&head, None, None), Kind::Event);
        self.set_deadline(id, Some(now.mono + self.handshake));
    }

    pub(super) fn message(&mut self, now: Now, id: ConnId, text: String) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        match &mut conn.stage {
            Stage::Challenged { .. } if too_large(&text, limits::PREAUTH_PAYLOAD) => {
                self.close(id, CloseCode::TooLarge, "preauth payload too large");
            }
            Stage::Challenged { .. } => self.first_frame(now, id, &text),
            Stage::Handshaking { waiting, .. } => {
                if too_large(&text, limits::PREAUTH_PAYLOAD) {
                    self.close(id, CloseCode::TooLarge, "preauth payload too large");
                } else if waiting.len() as u64 >= limits::PREAUTH_FRAMES {
                    self.close(id, CloseCode::Policy, "too many pending handshake frames");
                } else {
                    waiting.push(text);
                }
            }
            Stage::Live(live) => {
                live.awaiting_pong = false;
                let limit = live.limits.max_payload;
                if text.len() > limit {
                    let reason =
                        format!("message of {} bytes exceeds the limit of {limit} bytes", text.len());
                    self.close(id, CloseCode::TooLarge, &reason);
                } else {
                    self.live_frame(now, id, &text);
                }
            }
            Stage::Closing { .. } => {}
        }
    }

    pub(super) fn unreadable(&mut self, id: ConnId, too_large: bool) {
        let Some(conn) = self.conns.get(&id) else { return };
        if !too_large {
            self.close(id, CloseCode::Protocol, "invalid websocket message");
        } else if conn.holds_preauth_slot() {
            self.close(id, CloseCode::TooLarge, "preauth payload too large");
        } else {
            self.close(id, CloseCode::TooLarge, "message exceeds the limit in hello's policy.maxPayload");
        }
    }

    /// The first frame fixes the dialect for the life of the connection.
    fn first_frame(&mut self, now: Now, id: ConnId, text: &str) {
        match decode(text) {
            Inbound::NotJson => {
                self.close(id, CloseCode::Normal, "invalid handshake: first frame is not JSON");
            }
            Inbound::Request { dialect: Dialect::Native, id: frame, method, params }
                if method == "connect" =>
            {
                self.connect(now, id, Dialect::Native, frame, params);
            }
            Inbound::PlainConnect { id: frame, params } if self.simple_dialect => {
                self.connect(now, id, Dialect::Plain, frame, params);
            }
            Inbound::Request { dialect: Dialect::Native, id: frame, .. } => {
                let error = ErrorShape::invalid(FIRST_MUST_BE_CONNECT);
                self.send(id, dialect::response(Dialect::Native, &frame, None, Some(&error)), Kind::Answer);
                self.close(id, CloseCode::Policy, FIRST_MUST_BE_CONNECT);
            }
            Inbound::Request { .. } | Inbound::PlainConnect { .. } | Inbound::Invalid { .. } => {
                self.close(id, CloseCode::Policy, INVALID_FRAME);
            }
        }
    }

    fn connect(
        &mut self,
        now: Now,
        id: ConnId,
        dialect: Dialect,
        frame: String,
        params: Option<Box<serde_json::value::RawValue>>,
    ) {
        let ticket = self.ticket(id, frame);
        let Some(conn) = self.conns.get_mut(&id) else { return };
        conn.stage = Stage::Handshaking { dialect, waiting: Vec::new() };
        let connect = Connect { ticket, dialect, params, peer: conn.peer.clone(), nonce: conn.nonce.clone() };
        self.set_deadline(id, Some(now.mono + self.handshake));
        self.emit(Output::Up(Up::Connect(Box::new(connect))));
    }

    /// A frame of a connection that is in.
    pub(super) fn live_frame(&mut self, now: Now, id: ConnId, text: &str) {
        let Some(conn) = self.conns.get(&id) else { return };
        let own = conn.dialect();
        match decode(text) {
            Inbound::NotJson => {
                tracing::debug!(target: "gateway.ws", conn = %id, "a message that is not JSON was ignored");
                self.denied(now, id);
            }
            Inbound::Request { dialect, id: frame, method, params } if dialect == own => {
                self.request(id, frame, method, params, text.len());
            }
            Inbound::PlainConnect { id: frame, .. } if own == Dialect::Plain => {
                self.refuse_frame(now, id, &frame, "connect is only valid as the first request");
            }
            Inbound::Request { dialect, id: frame, .. } => {
                let word = if dialect == Dialect::Native { "req" } else { "request" };
                self.refuse_frame(now, id, &frame, &other_dialect(word));
            }
            Inbound::PlainConnect { id: frame, .. } => {
                self.refuse_frame(now, id, &frame, &other_dialect("connect"));
            }
            Inbound::Invalid { id: frame, detail } => {
                let frame = frame.unwrap_or_else(|| INVALID_ID.to_owned());
                self.refuse_frame(now, id, &frame, &format!("{INVALID_FRAME}: {detail}"));
            }
        }
    }

    fn refuse_frame(&mut self, now: Now, id: ConnId, frame: &str, message: &str) {
        let dialect = self.conns.get(&id).map_or(Dialect::Native, super::conn::Conn::dialect);
        let error = ErrorShape::invalid(message);
        self.send(id, dialect::response(dialect, frame, None, Some(&error)), Kind::Answer);
        self.denied(now, id);
    }

    /// Closes a connection that sends what it may not, over and over.
    pub(super) fn denied(&mut self, now: Now, id: ConnId) {
        let live = self.conns.get_mut(&id).and_then(super::conn::Conn::live_mut);
        if live.is_some_and(|live| live.deny(now.mono)) {
            self.close(id, CloseCode::Policy, "too many refused requests");
        }
    }

    /// Admits a request, unless the connection has too many unanswered ones (spec 01 §1.3).
    fn request(
        &mut self,
        id: ConnId,
        frame: String,
        method: String,
        params: Option<Box<serde_json::value::RawValue>>,
        bytes: usize,
    ) {
        let ticket = self.ticket(id, frame);
        let Some(live) = self.conns.get_mut(&id).and_then(super::conn::Conn::live_mut) else { return };
        let full = live.in_flight.len() as u64 >= limits::REQUESTS_IN_FLIGHT
            || (live.in_flight_bytes + bytes) as u64 > limits::REQUEST_BYTES_IN_FLIGHT;
        if full {
            let error = ErrorShape::unavailable("The server is busy. Please try again in a moment.")
                .retry_after(1_000);
            let frame = dialect::response(live.dialect, &ticket.id, None, Some(&error));
            self.send(id, frame, Kind::Answer);
            return;
        }
        live.in_flight.insert(ticket.serial, bytes);
        live.in_flight_bytes += bytes;
        self.emit(Output::Up(Up::Request(Request { ticket, method, params })));
    }

    fn ticket(&mut self, conn: ConnId, id: String) -> Ticket {
        self.serial += 1;
        Ticket { conn, id, serial: self.serial }
    }
}

fn too_large(text: &str, limit: u64) -> bool {
    text.len() as u64 > limit
}

fn other_dialect(word: &str) -> String {
    format!("{INVALID_FRAME}: frame type \"{word}\" belongs to the other dialect")
}
