//! The connections of one I/O thread.
//!
//! The switchboard does what must be fast and per connection: it decodes the envelope, enforces the limits
//! before and after hello, fixes the dialect, numbers the events, checks the audience as the last step before
//! the outbox, keeps the outbox's byte account and closes slow consumers. What a request means is the
//! gateway's business.

mod conn;
mod fanout;
mod inbound;
mod keepalive;
mod outbox;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use telson_proto::CloseCode;

use crate::entropy::{Entropy, Seed};
use crate::http::HttpResponse;
use crate::ids::ConnId;
use crate::ingress::{Rules, Walls, answer};
use crate::limits;
use crate::messages::{Down, Up};
use crate::peer::Peer;
use crate::settings::Settings;
use crate::time::Now;

use conn::Conn;

/// What happened to a connection.
#[derive(Debug)]
pub enum Input {
    /// A client asks for an upgrade; answered by [`Output::Admit`] or [`Output::Reject`].
    Upgrade {
        /// A name for the connection, never used before.
        conn: ConnId,
        /// What was seen of the client.
        peer: Peer,
    },
    /// The admitted socket is open.
    Opened {
        /// The connection.
        conn: ConnId,
    },
    /// A text or binary message; binary is read as UTF-8.
    Message {
        /// The connection.
        conn: ConnId,
        /// The message.
        text: String,
    },
    /// A message larger than the socket was told to accept, or one that is no WebSocket message at all.
    Unreadable {
        /// The connection.
        conn: ConnId,
        /// Whether its size is the reason.
        too_large: bool,
    },
    /// A pong arrived.
    Pong {
        /// The connection.
        conn: ConnId,
    },
    /// So many bytes of frames handed over by [`Output::Send`] have left for the socket.
    Flushed {
        /// The connection.
        conn: ConnId,
        /// Bytes of frame text.
        bytes: usize,
    },
    /// The socket is gone, whoever closed it; also after [`Output::Close`].
    Closed {
        /// The connection.
        conn: ConnId,
    },
    /// The gateway says.
    Down(Down),
    /// A deadline of [`Switchboard::poll_timeout`] has passed.
    Timeout,
}

/// What is to be done with a connection.
#[derive(Debug)]
pub enum Output {
    /// Upgrade it.
    Admit {
        /// The connection.
        conn: ConnId,
    },
    /// Answer its upgrade request with this response.
    Reject {
        /// The connection, which does not come to be.
        conn: ConnId,
        /// The response.
        response: HttpResponse,
    },
    /// Send a text message.
    Send {
        /// The connection.
        conn: ConnId,
        /// The message.
        text: String,
    },
    /// Send a WebSocket ping.
    Ping {
        /// The connection.
        conn: ConnId,
    },
    /// The connection has proved who it is: it may now send more than [`limits::PREAUTH_PAYLOAD`].
    Authenticated {
        /// The connection.
        conn: ConnId,
    },
    /// Send what is queued, then a close frame; wait for the client's half [`crate::messages::CLOSE_GRACE`]
    /// at most.
    Close {
        /// The connection.
        conn: ConnId,
        /// The close code.
        code: CloseCode,
        /// The reason; never empty.
        reason: String,
    },
    /// Tell the gateway.
    Up(Up),
}

/// The machine. See the [module documentation](self).
pub struct Switchboard {
    conns: BTreeMap<ConnId, Conn>,
    /// Unauthenticated connections by address.
    preauth: BTreeMap<IpAddr, usize>,
    preauth_total: usize,
    walls: Walls,
    preauth_per_ip: usize,
    handshake: Duration,
    simple_dialect: bool,
    /// Set while the gateway goes down: no more upgrades.
    closing: bool,
    entropy: Entropy,
    outputs: VecDeque<Output>,
    /// When something is due, for each connection at most one deadline.
    deadlines: BTreeSet<(Duration, ConnId)>,
    serial: u64,
}

impl Switchboard {
    /// A switchboard without connections.
    pub fn new(settings: &Settings, seed: Seed) -> Self {
        Self {
            conns: BTreeMap::new(),
            preauth: BTreeMap::new(),
            preauth_total: 0,
            walls: Walls::new(Arc::new(Rules::of(settings))),
            preauth_per_ip: settings.limits.preauth_per_ip,
            handshake: settings.limits.handshake,
            simple_dialect: settings.simple_dialect,
            closing: false,
            entropy: Entropy::new(seed, 1),
            outputs: VecDeque::new(),
            deadlines: BTreeSet::new(),
            serial: 0,
        }
    }

    /// Tells the machine what happened. Afterwards, drain [`Self::poll_output`].
    pub fn handle(&mut self, now: Now, input: Input) {
        match input {
            Input::Upgrade { conn, peer } => self.upgrade(conn, peer),
            Input::Opened { conn } => self.opened(now, conn),
            Input::Message { conn, text } => self.message(now, conn, text),
            Input::Unreadable { conn, too_large } => self.unreadable(conn, too_large),
            Input::Pong { conn } => self.pong(conn),
            Input::Flushed { conn, bytes } => self.flushed(now, conn, bytes),
            Input::Closed { conn } => self.closed(conn),
            Input::Down(down) => self.down(now, down),
            Input::Timeout => self.timeout(now),
        }
    }

    /// The next thing to be done, if any.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to send [`Input::Timeout`] at the latest, on the monotonic clock.
    pub fn poll_timeout(&self) -> Option<Duration> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// How many connections there are, unauthenticated ones included.
    pub fn connections(&self) -> usize {
        self.conns.len()
    }

    /// Bytes of frames that wait to leave, over all connections.
    pub fn buffered(&self) -> usize {
        self.conns.values().map(Conn::buffered).sum()
    }

    fn emit(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    /// Decides on an upgrade before anything is allocated for it (spec 04 §1.3).
    fn upgrade(&mut self, conn: ConnId, mut peer: Peer) {
        let stop = self.walls.admit_upgrade(&mut peer).err();
        let waiting = self.preauth.get(&peer.addr).copied().unwrap_or(0);
        let refusal = if self.closing {
            Some(HttpResponse::text(503, "The gateway is shutting down").header("retry-after", "1"))
        } else if let Some(stop) = stop {
            if let Some(hint) = stop.hint(&peer) {
                self.emit(Output::Up(Up::Hint(hint)));
            }
            Some(stop.response())
        } else if waiting >= self.preauth_per_ip
            || self.preauth_total >= limits::length(limits::PREAUTH_TOTAL)
        {
            Some(HttpResponse::text(503, "Too many unauthenticated sockets"))
        } else {
            None
        };
        if let Some(response) = refusal {
            tracing::debug!(target: "gateway.ws", %conn, peer = %peer.addr, status = response.status, "upgrade refused");
            let response = answer::dress(self.walls.rules(), response, peer.secure);
            let response = response.header("connection", "close");
            self.emit(Output::Reject { conn, response });
            return;
        }
        *self.preauth.entry(peer.addr).or_default() += 1;
        self.preauth_total += 1;
        let nonce = self.entropy.uuid();
        self.conns.insert(conn, Conn::new(peer, nonce));
        self.emit(Output::Admit { conn });
    }

    /// Gives back the slot of an unauthenticated connection.
    fn release_preauth(&mut self, addr: IpAddr) {
        self.preauth_total = self.preauth_total.saturating_sub(1);
        if let Some(count) = self.preauth.get_mut(&addr) {
            *count -= 1;
            if *count == 0 {
                self.preauth.remove(&addr);
            }
        }
    }

    fn closed(&mut self, id: ConnId) {
        self.set_deadline(id, None);
        let Some(conn) = self.conns.remove(&id) else { return };
        if conn.holds_preauth_slot() {
            self.release_preauth(conn.peer.addr);
        }
        if conn.known_to_gateway() {
            self.emit(Output::Up(Up::Gone { conn: id }));
        }
    }
}
