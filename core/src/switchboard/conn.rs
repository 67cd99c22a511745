//! One connection, from upgrade to close.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use telson_proto::{Dialect, Protocol, Role};

use crate::auth::Principal;
use crate::ids::SessionKey;
use crate::limits;
use crate::messages::ConnLimits;
use crate::peer::Peer;

use super::outbox::Outbox;

/// A connection's state.
#[derive(Debug)]
pub(super) struct Conn {
    pub(super) peer: Peer,
    pub(super) nonce: String,
    pub(super) stage: Stage,
    pub(super) outbox: Outbox,
    /// The deadline under which the connection stands in the switchboard's list.
    pub(super) deadline: Option<Duration>,
}

/// How far a connection has come.
#[derive(Debug)]
pub(super) enum Stage {
    /// Its challenge is out, its first frame is awaited.
    Challenged {
        /// Whether the challenge has left for the socket: only then the client's time runs.
        flushed: bool,
    },
    /// Its connect is with the gateway; further frames wait.
    Handshaking { dialect: Dialect, waiting: Vec<String> },
    /// It is in.
    Live(Box<Live>),
    /// A close frame is on its way; nothing more is read or sent.
    Closing {
        /// Whether the gateway was told of the connection.
        known: bool,
        /// Whether it still holds a slot for unauthenticated connections.
        preauth: bool,
    },
}

/// A connection that is in.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) dialect: Dialect,
    pub(super) principal: Arc<Principal>,
    pub(super) limits: ConnLimits,
    /// The number of the last event.
    pub(super) seq: u64,
    /// Unanswered requests: their serial and size.
    pub(super) in_flight: BTreeMap<u64, usize>,
    pub(super) in_flight_bytes: usize,
    /// Consecutive answers that said `unauthorized role`.
    pub(super) wrong_role_run: u64,
    /// Refused requests in the window that began then.
    pub(super) denied: (u64, Duration),
    /// A ping is out and nothing has come since.
    pub(super) awaiting_pong: bool,
    pub(super) session_list: bool,
    /// The sessions whose messages it hears.
    pub(super) watched: BTreeSet<SessionKey>,
    /// The sessions into which it has sent, the latest last.
    pub(super) takes_part: VecDeque<SessionKey>,
    /// It can show tools at work.
    pub(super) shows_tools: bool,
    /// It wants events of the sessions that it watches, and of no others.
    pub(super) scoped: bool,
    /// Names that this client used for sessions, by canonical key.
    pub(super) aliases: BTreeMap<SessionKey, String>,
}

/// So many sessions are remembered into which a connection has sent.
const MOST_TAKEN_PART: usize = 64;

impl Live {
    /// A connection that has just come in.
    pub(super) fn new(dialect: Dialect, principal: Arc<Principal>, limits: ConnLimits) -> Self {
        let declares = |capability: &str| {
            let caps = &principal.declared.shown().caps;
            principal.protocol == Protocol::V4 && caps.iter().any(|cap| cap == capability)
        };
        Self {
            dialect,
            shows_tools: declares("tool-events"),
            scoped: declares("session-scoped-events"),
            principal,
            limits,
            seq: 0,
            in_flight: BTreeMap::new(),
            in_flight_bytes: 0,
            wrong_role_run: 0,
            denied: (0, Duration::ZERO),
            awaiting_pong: false,
            session_list: false,
            watched: BTreeSet::new(),
            takes_part: VecDeque::new(),
            aliases: BTreeMap::new(),
        }
    }

    /// It has sent something into a session.
    pub(super) fn take_part(&mut self, key: SessionKey) {
        if self.takes_part.contains(&key) {
            return;
        }
        if self.takes_part.len() == MOST_TAKEN_PART {
            self.takes_part.pop_front();
        }
        self.takes_part.push_back(key);
    }

    /// A request was refused. Returns whether that was once too often (08 S-37).
    pub(super) fn deny(&mut self, now: Duration) -> bool {
        let (count, since) = &mut self.denied;
        if now.saturating_sub(*since) >= limits::millis(limits::DENIED_WINDOW_MS) {
            (*count, *since) = (0, now);
        }
        *count += 1;
        *count > limits::DENIED_REQUESTS
    }

    pub(super) fn protocol(&self) -> Protocol {
        self.principal.protocol
    }

    pub(super) fn is_node(&self) -> bool {
        self.principal.role == Role::Node
    }
}

impl Conn {
    pub(super) fn new(peer: Peer, nonce: String) -> Self {
        let stage = Stage::Challenged { flushed: false };
        Self { peer, nonce, stage, outbox: Outbox::default(), deadline: None }
    }

    /// Whether the gateway has heard of the connection and must hear that it is gone.
    pub(super) fn known_to_gateway(&self) -> bool {
        match &self.stage {
            Stage::Challenged { .. } => false,
            Stage::Handshaking { .. } | Stage::Live(_) => true,
            Stage::Closing { known, .. } => *known,
        }
    }

    /// Whether the connection counts as unauthenticated.
    pub(super) fn holds_preauth_slot(&self) -> bool {
        match &self.stage {
            Stage::Challenged { .. } | Stage::Handshaking { .. } => true,
            Stage::Live(_) => false,
            Stage::Closing { preauth, .. } => *preauth,
        }
    }

    /// The spelling in which to write to the client; before its first frame the native one.
    pub(super) fn dialect(&self) -> Dialect {
        match &self.stage {
            Stage::Handshaking { dialect, .. } => *dialect,
            Stage::Live(live) => live.dialect,
            Stage::Challenged { .. } | Stage::Closing { .. } => Dialect::Native,
        }
    }

    pub(super) fn live_mut(&mut self) -> Option<&mut Live> {
        match &mut self.stage {
            Stage::Live(live) => Some(live),
            _ => None,
        }
    }

    /// Bytes of frames that wait to leave.
    pub(super) fn buffered(&self) -> usize {
        self.outbox.waiting()
    }
}
