//! What flows between the switchboard of an I/O thread and the gateway.

use std::sync::Arc;
use std::time::Duration;

use serde_json::value::RawValue;
use telson_proto::{CloseCode, Dialect, ErrorShape, EventName, Json, Protocol, StateVersion};

use crate::auth::Principal;
use crate::ids::{ConnId, SessionKey, Ticket};
use crate::ingress::{Hint, Rules};
use crate::peer::Peer;

/// From a switchboard to the gateway.
#[derive(Debug)]
pub enum Up {
    /// A connection's first request; answered by [`Down::Accept`] or [`Down::Refuse`].
    Connect(Box<Connect>),
    /// A request of an accepted connection; answered by [`Down::Reply`].
    Request(Request),
    /// A connection that had sent `Connect` is gone.
    Gone {
        /// The connection.
        conn: ConnId,
    },
    /// An upgrade was refused for want of a setting.
    Hint(Hint),
    /// A sign of life from the client itself: a pong.
    Alive {
        /// The connection.
        conn: ConnId,
    },
}

/// A connection's first request.
pub struct Connect {
    /// The request to answer.
    pub ticket: Ticket,
    /// How the connection spells its frames.
    pub dialect: Dialect,
    /// The parameters as written.
    pub params: Option<Box<RawValue>>,
    /// What the adapter saw of the client.
    pub peer: Peer,
    /// The nonce of this connection's challenge.
    pub nonce: String,
}

/// A request of an accepted connection.
pub struct Request {
    /// The request to answer.
    pub ticket: Ticket,
    /// The method's name.
    pub method: String,
    /// The parameters as written.
    pub params: Option<Box<RawValue>>,
}

impl std::fmt::Debug for Connect {
    /// The parameters stay out of logs: they carry secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Connect({:?} from {})", self.ticket, self.peer.addr)
    }
}

impl std::fmt::Debug for Request {
    /// The parameters stay out of logs: they carry people's words.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Request({} as {:?})", self.method, self.ticket)
    }
}

/// From the gateway to a switchboard.
#[derive(Clone, Debug)]
pub enum Down {
    /// The connection is in.
    Accept(Box<Accept>),
    /// The connection is refused: the error is sent, then the socket closes.
    Refuse {
        /// The connect request.
        ticket: Ticket,
        /// The answer.
        error: ErrorShape,
        /// The close that follows.
        code: CloseCode,
        /// Its reason, cut to fit.
        reason: String,
    },
    /// The answer to a request.
    Reply {
        /// The request.
        ticket: Ticket,
        /// The answer; method `agent` gives two (spec 01 §1.2), of which plain connections get the first.
        outcome: Outcome,
    },
    /// An event for everyone in its audience.
    Publish(Arc<Publish>),
    /// An event for one connection, whatever its guard. It carries no `seq`.
    Address {
        /// The connection.
        conn: ConnId,
        /// The event.
        event: EventName,
        /// What it says.
        payload: Json,
    },
    /// From now on the connection hears `sessions.changed`.
    SubscribeSessions {
        /// The connection.
        conn: ConnId,
    },
    /// From now on, or no longer, the connection hears the messages of a session.
    WatchMessages {
        /// The connection.
        conn: ConnId,
        /// The session.
        key: SessionKey,
        /// Whether it hears them.
        on: bool,
    },
    /// The connection has sent something into a session: it sees the tools of that session's runs at work,
    /// when it can show them (spec 02 §20.2).
    TakePart {
        /// The connection.
        conn: ConnId,
        /// The session.
        key: SessionKey,
    },
    /// The connection called a session by a name that is not its canonical key; on v3 connections events
    /// carry that spelling [C-06].
    Alias {
        /// The connection.
        conn: ConnId,
        /// The canonical key.
        key: SessionKey,
        /// The name the client used.
        spelling: String,
    },
    /// From now on upgrades are judged by these rules.
    Rules(Arc<Rules>),
    /// Close one connection.
    Close {
        /// The connection.
        conn: ConnId,
        /// The close code.
        code: CloseCode,
        /// The reason.
        reason: String,
    },
    /// Close every connection and admit no more.
    CloseAll {
        /// The close code.
        code: CloseCode,
        /// The reason.
        reason: String,
    },
}

/// What an accepted connection is.
#[derive(Clone, Debug)]
pub struct Accept {
    /// The connect request.
    pub ticket: Ticket,
    /// The hello.
    pub hello: Json,
    /// Who it is, as verified.
    pub principal: Arc<Principal>,
    /// The limits to enforce, as advertised in the hello.
    pub limits: ConnLimits,
}

/// The limits of one connection, as its hello states them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnLimits {
    /// The largest inbound message in bytes.
    pub max_payload: usize,
    /// The most bytes of events that may wait in the outbox.
    pub max_buffered: usize,
}

/// The answer to a request: a payload, an error, or (failed runs) an error with a payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What the method returned.
    pub payload: Option<Json>,
    /// Why it failed.
    pub error: Option<ErrorShape>,
}

impl Outcome {
    /// A success.
    pub fn ok(payload: Json) -> Self {
        Self { payload: Some(payload), error: None }
    }

    /// A failure.
    pub fn error(error: ErrorShape) -> Self {
        Self { payload: None, error: Some(error) }
    }
}

/// An event with its audience.
#[derive(Clone, Debug)]
pub struct Publish {
    /// The event.
    pub event: EventName,
    /// What v3 connections get; `None` keeps the event from them.
    pub v3: Option<Json>,
    /// What v4 connections get; `None` keeps the event from them.
    pub v4: Option<Json>,
    /// Whether it may be left out for a slow reader.
    pub droppable: bool,
    /// A narrowing beyond the event's own guard.
    pub to: Audience,
    /// The versions that accompany `presence` and `health`.
    pub state: Option<StateVersion>,
}

/// A narrowing beyond an event's own guard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Everyone whom the guard lets hear it.
    All,
    /// The same, and the payload's `sessionKey`, its first member, may be respelled [C-06].
    Session(SessionKey),
    /// Those of them who may read, or only those who may not.
    Readers(bool),
    /// Connections that called `sessions.subscribe`.
    SessionList,
    /// Connections that called `sessions.messages.subscribe` for this session.
    SessionMessages(SessionKey),
    /// The tools of a session's runs at work. As [`Self::Session`], but on protocol 4 only those who take part
    /// in the session and have the capability `tool-events`.
    RunTools(SessionKey),
    /// The same for those of [`Self::SessionMessages`] with that capability whom [`Self::RunTools`] leaves out.
    SessionTools(SessionKey),
}

impl Publish {
    /// An event that must arrive, the same for both protocols.
    pub fn lossless(event: EventName, payload: Json) -> Self {
        let v4 = Some(payload.clone());
        Self { event, v3: Some(payload), v4, droppable: false, to: Audience::All, state: None }
    }

    /// An event that may be left out for a slow reader, the same for both protocols.
    pub fn droppable(event: EventName, payload: Json) -> Self {
        Self { droppable: true, ..Self::lossless(event, payload) }
    }

    /// What a connection of this protocol gets.
    pub fn payload(&self, protocol: Protocol) -> Option<&Json> {
        match protocol {
            Protocol::V3 => self.v3.as_ref(),
            Protocol::V4 => self.v4.as_ref(),
        }
    }
}

/// How long after a close was asked for the adapter may wait for the client's half of it.
pub const CLOSE_GRACE: Duration = Duration::from_secs(1);
