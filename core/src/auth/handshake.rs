//! The handshake: from a connect to a hello or a refusal (spec 01 §2.1).
//!
//! Each step is a room of its own: [`request`](super::request) reads, [`origin`](super::origin) and
//! [`verify`](super::verify) believe, [`enter`](super::enter) pairs and lets in. Here is what outlives one
//! connect: the limiter, the refusals that are held back, the connects that wait for the store.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use telson_proto::Dialect;

use super::enter::Turn;
use super::failure::Refusal;
use super::limiter::Limiter;
use super::origin;
use super::request::ConnectRequest;
use crate::gateway::{Gateway, Phase};
use crate::ids::{ConnId, Ticket};
use crate::messages::{Connect, Down};
use crate::peer::Peer;
use crate::settings::AuthSettings;
use crate::time::Now;

/// What outlives one connect. Everything in it belongs to a connection that is still open, and goes with it;
/// the limiter has a bound of its own.
pub(crate) struct Handshake {
    pub(crate) limiter: Limiter,
    /// Connects that wait for their device's row to be stored.
    pub(super) storing: BTreeSet<ConnId>,
    /// The pages that are in, by their connection: whether they may stay is asked again when the rules change.
    pub(super) pages: BTreeMap<ConnId, Peer>,
    /// Refusals that are held back, by the moment of their release.
    held: BTreeMap<(Duration, ConnId), Down>,
    /// Those whose moment has come.
    due: Vec<Down>,
    /// When a connect last asked for a health refresh.
    refreshed_at: Option<Duration>,
}

/// A connect refreshes the health summary at most this often (spec 03 §9.1).
const REFRESH_EVERY: Duration = Duration::from_secs(5);

impl Handshake {
    pub(crate) fn new(settings: &AuthSettings) -> Self {
        Self {
            limiter: Limiter::new(settings),
            storing: BTreeSet::new(),
            pages: BTreeMap::new(),
            held: BTreeMap::new(),
            due: Vec::new(),
            refreshed_at: None,
        }
    }

    /// A connection is gone: nothing of it is answered any more.
    pub(crate) fn gone(&mut self, conn: ConnId) {
        self.storing.remove(&conn);
        self.pages.remove(&conn);
        self.held.retain(|(_, held), _| *held != conn);
    }

    /// When the next refusal is to be released.
    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        self.held.first_key_value().map(|((at, _), _)| *at)
    }

    /// Takes the refusals whose moment has come; [`Gateway::release_refusals`] sends them.
    pub(crate) fn timeout(&mut self, now: Now) {
        while let Some(entry) = self.held.first_entry().filter(|entry| entry.key().0 <= now.mono) {
            self.due.push(entry.remove());
        }
    }

    /// Whether a connect may refresh the health summary now; if so, the next one waits.
    pub(super) fn may_refresh(&mut self, now: Now) -> bool {
        let due = self.refreshed_at.is_none_or(|at| now.mono.saturating_sub(at) >= REFRESH_EVERY);
        if due {
            self.refreshed_at = Some(now.mono);
        }
        due
    }
}

impl Gateway {
    /// Answers a connection's first request.
    pub(crate) fn connect(&mut self, connect: Connect) {
        if let Err(refusal) = self.admission() {
            return self.refuse(&connect, None, refusal);
        }
        let request = match ConnectRequest::read(&connect) {
            Ok(request) => request,
            Err(refusal) => return self.refuse(&connect, None, refusal),
        };
        if let Err(refusal) = self.check_origin(&connect, &request) {
            return self.refuse(&connect, Some(&request), refusal);
        }
        // A name that the tailnet's proxy gives is checked before anything is believed; the connect begins anew
        // when the answer is there (spec 01 §3.7).
        match self.must_ask_tailnet(&connect, &request) {
            Some(address) => self.wait_for_owner(address, connect),
            None => self.believe(connect, &request),
        }
    }

    /// Lets a connect in whose page belongs here, if it proves itself.
    fn believe(&mut self, connect: Connect, request: &ConnectRequest) {
        let verified = self.verify(&connect, request).map_err(Turn::from);
        let entry = verified.and_then(|verified| self.pair(&connect, request, &verified));
        match entry {
            Ok(entry) => self.enter(connect, entry),
            Err(Turn::Away(refusal)) => self.refuse(&connect, Some(request), *refusal),
            Err(Turn::Wait(asking)) => self.turn_to_wait(connect, *asking),
        }
    }

    /// Whether connects are admitted at all (spec 01 §2.9).
    pub(super) fn admission(&self) -> Result<(), Refusal> {
        match self.phase {
            Phase::Serving => Ok(()),
            Phase::Starting | Phase::Broken => Err(Refusal::starting()),
            Phase::Stopping | Phase::Stopped => Err(Refusal::stopping()),
        }
    }

    fn check_origin(&self, connect: &Connect, request: &ConnectRequest) -> Result<(), Refusal> {
        let required = request.dialect == Dialect::Native && request.kind.is_browser();
        origin::check(&connect.peer, &self.settings.auth.allowed_origins, required)
            .map_err(|fault| Refusal::origin(fault.as_str()))
    }

    /// Refuses a connect: at once, or when its wrong guess has cost enough time.
    pub(super) fn refuse(&mut self, connect: &Connect, request: Option<&ConnectRequest>, refusal: Refusal) {
        let client = request.map(|request| request.client.id.as_str());
        tracing::info!(
            target: "gateway.ws",
            conn = %connect.ticket.conn, peer = %connect.peer.addr, client, reason = refusal.why,
            "connect refused"
        );
        self.audit_stranger(connect.peer.addr, "connect", refusal.why);
        let delay = refusal.delay;
        let down = spoken(connect.ticket.clone(), refusal);
        if delay.is_zero() {
            self.tell(down);
        } else {
            let at = (self.now.mono + delay, connect.ticket.conn);
            self.handshake.held.insert(at, down);
        }
    }

    /// Sends the refusals whose moment has come.
    pub(crate) fn release_refusals(&mut self) {
        for down in std::mem::take(&mut self.handshake.due) {
            self.tell(down);
        }
    }
}

fn spoken(ticket: Ticket, refusal: Refusal) -> Down {
    let Refusal { error, code, reason, .. } = refusal;
    match error {
        Some(error) => Down::Refuse { ticket, error: *error, code, reason },
        None => Down::Close { conn: ticket.conn, code, reason },
    }
}
