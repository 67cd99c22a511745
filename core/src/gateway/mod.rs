//! The control plane: one per process.
//!
//! The gateway owns the domains and passes to each what concerns it. Its own rooms are the dispatch of
//! requests through the table of methods, the answers recorded for idempotency keys, and the account of
//! effects that are under way.

pub mod answers;
mod deadlines;
mod dispatch;
mod effects;
mod http;
mod lifecycle;
mod methods;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::agents::Agents;
use crate::api::Api;
use crate::approvals::Approvals;
use crate::audit::Audit;
use crate::auth::Principal;
use crate::auth::epochs::Epochs;
use crate::auth::handshake::Handshake;
use crate::devices::Devices;
use crate::entropy::{Entropy, Seed};
use crate::fetch::{FetchEvent, FetchRequest};
use crate::http::{BodyError, HttpRequest, HttpResponse};
use crate::ids::{ConnId, FetchId, HttpId, ProcessId, QueryId, TxId};
use crate::ingress::{Hints, Rules, Walls};
use crate::messages::{Down, Up};
use crate::nodes::Nodes;
use crate::peer::Listening;
use crate::presence::Presence;
use crate::process::{ProcessEvent, ProcessSpec};
use crate::providers::Providers;
use crate::runs::Runs;
use crate::sessions::Sessions;
use crate::settings::{AuthSettings, Settings};
use crate::store::{Loaded, Query, StoreError, Transaction};
use crate::system::System;
use crate::tailscale::Tailscale;
use crate::time::{Now, earliest};
use crate::tokens::Tokens;
use crate::tools::Tools;
use crate::usage::Usage;

pub use answers::Answers;
pub(crate) use dispatch::read_params;
pub use dispatch::{Answer, Call, Reply};
pub(crate) use effects::{Fetcher, Runner};
pub use methods::{METHODS, Method, Need};

/// What happened.
#[derive(Debug)]
pub enum Input {
    /// The process is up; asked once, first.
    Started,
    /// A switchboard says.
    Up(Up),
    /// The head of a plain HTTP request arrived; answered by [`Output::Respond`], [`Output::RespondHead`] or
    /// [`Output::ReadBody`].
    Http {
        /// A name for the request, never used before.
        id: HttpId,
        /// The request.
        request: Box<HttpRequest>,
    },
    /// The body that [`Output::ReadBody`] asked for.
    HttpBody {
        /// The request.
        id: HttpId,
        /// All of it.
        body: Result<Bytes, BodyError>,
    },
    /// The client of a request that is not fully answered went away. Nothing more is heard of the request.
    HttpGone {
        /// The request.
        id: HttpId,
    },
    /// A process has moved.
    Process {
        /// The process.
        id: ProcessId,
        /// What became of it.
        event: ProcessEvent,
    },
    /// An outbound request has moved.
    Fetch {
        /// The request.
        id: FetchId,
        /// What became of it.
        event: FetchEvent,
    },
    /// A transaction is on disk, or will never be.
    Stored {
        /// The transaction.
        id: TxId,
        /// Why it failed.
        result: Result<(), StoreError>,
    },
    /// The store's answer.
    Loaded {
        /// The question.
        id: QueryId,
        /// The answer.
        result: Result<Loaded, StoreError>,
    },
    /// The operator has changed what the gateway asks for, or whom it trusts.
    Access(Box<AuthSettings>),
    /// The adapter listens: asked once, after [`Self::Started`].
    Listening(Listening),
    /// The process is to stop.
    Stop {
        /// Why, for the `shutdown` event.
        reason: String,
        /// When clients may expect it back, if they may.
        restart_expected: Option<Duration>,
    },
    /// A deadline of [`Gateway::poll_timeout`] has passed.
    Timeout,
}

/// What is to be done.
#[derive(Debug)]
pub enum Output {
    /// Tell the switchboards.
    Down(Down),
    /// Answer an HTTP request whole.
    Respond {
        /// The request.
        id: HttpId,
        /// The answer.
        response: HttpResponse,
    },
    /// Read the body of a request; answered by [`Input::HttpBody`] or [`Input::HttpGone`].
    ReadBody {
        /// The request.
        id: HttpId,
        /// At most so many bytes.
        limit: usize,
    },
    /// Begin to answer a request; pieces and an end follow.
    RespondHead {
        /// The request.
        id: HttpId,
        /// The head; its body is empty.
        head: HttpResponse,
    },
    /// A piece of an answer that has begun. The adapter gives up a client that does not read.
    RespondChunk {
        /// The request.
        id: HttpId,
        /// The piece.
        chunk: Bytes,
    },
    /// The answer is complete.
    RespondEnd {
        /// The request.
        id: HttpId,
    },
    /// Start a process.
    Spawn {
        /// A name for it.
        id: ProcessId,
        /// The program.
        spec: ProcessSpec,
    },
    /// Write a line to a process's standard input; a process that has ended is passed over.
    WriteLine {
        /// The process.
        id: ProcessId,
        /// The line, without its end.
        line: String,
    },
    /// End a process: its standard input is closed, and two seconds later it is killed. Nothing more is heard of it.
    Kill {
        /// The process.
        id: ProcessId,
    },
    /// Start an outbound request.
    Fetch {
        /// A name for it.
        id: FetchId,
        /// The request.
        request: FetchRequest,
    },
    /// Give an outbound request up; nothing more is heard of it.
    AbortFetch {
        /// The request.
        id: FetchId,
    },
    /// Write a transaction; answered by [`Input::Stored`].
    Store(Transaction),
    /// Ask the store; answered by [`Input::Loaded`].
    Load {
        /// A name for the question.
        id: QueryId,
        /// The question.
        query: Query,
    },
    /// Everything that was acknowledged is stored and told: the process may end once the sockets are closed.
    Stopped,
}

/// What is done when a transaction has been written or has failed.
type AfterStore = Box<dyn FnOnce(&mut Gateway, Result<(), StoreError>) + Send>;
/// What is done with the store's answer.
type AfterLoad = Box<dyn FnOnce(&mut Gateway, Result<Loaded, StoreError>) + Send>;

/// The machine. See the [module documentation](self).
pub struct Gateway {
    pub(crate) settings: Settings,
    /// The moment of the input that is being handled.
    pub(crate) now: Now,
    pub(crate) entropy: Entropy,
    pub(crate) started: Now,
    pub(crate) boot_id: String,
    pub(crate) phase: Phase,
    /// Where the adapter listens.
    pub(crate) addresses: Vec<SocketAddr>,
    /// Until when runs may go on while the gateway stops.
    drain_until: Option<Duration>,
    pub(crate) conns: BTreeMap<ConnId, Arc<Principal>>,
    pub(crate) answers: Answers,
    pub(crate) agents: Agents,
    pub(crate) approvals: Approvals,
    pub(crate) audit: Audit,
    pub(crate) devices: Devices,
    /// What admits, and how often it has changed.
    pub(crate) epochs: Epochs,
    pub(crate) handshake: Handshake,
    pub(crate) walls: Walls,
    /// The lines about wrong settings that were written.
    pub(crate) hints: Hints,
    /// Addresses of this host on which the adapter listens.
    pub(crate) own_addrs: BTreeSet<IpAddr>,
    /// HTTP requests that came by TLS and are not fully answered.
    secure: BTreeSet<HttpId>,
    pub(crate) nodes: Nodes,
    pub(crate) presence: Presence,
    pub(crate) providers: Providers,
    pub(crate) runs: Runs,
    pub(crate) sessions: Sessions,
    pub(crate) system: System,
    pub(crate) tailscale: Tailscale,
    pub(crate) tokens: Tokens,
    pub(crate) tools: Tools,
    pub(crate) api: Api,
    pub(crate) usage: Usage,
    outputs: VecDeque<Output>,
    stores: BTreeMap<TxId, AfterStore>,
    loads: BTreeMap<QueryId, AfterLoad>,
    fetches: BTreeMap<FetchId, Fetcher>,
    processes: BTreeMap<ProcessId, Runner>,
    deadlines: deadlines::Deadlines,
    /// The last number given to an effect.
    serial: u64,
}

/// Where the gateway is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// What was kept is being loaded; connects are asked to come back.
    Starting,
    /// In service.
    Serving,
    /// Open runs are being ended and stored.
    Stopping,
    /// Nothing more is done.
    Stopped,
    /// What was kept could not be loaded; nothing is served.
    Broken,
}

impl Gateway {
    /// A gateway before [`Input::Started`].
    pub fn new(settings: Settings, seed: Seed, now: Now) -> Self {
        let mut entropy = Entropy::new(seed, 0);
        let boot_id = entropy.uuid();
        Self {
            answers: Answers::default(),
            agents: Agents::new(&settings),
            approvals: Approvals::default(),
            audit: Audit::default(),
            devices: Devices::default(),
            epochs: Epochs::default(),
            handshake: Handshake::new(&settings.auth),
            walls: Walls::new(Arc::new(Rules::of(&settings))),
            hints: Hints::default(),
            own_addrs: BTreeSet::new(),
            secure: BTreeSet::new(),
            nodes: Nodes::default(),
            presence: Presence::new(&settings.facts, now),
            providers: Providers::new(&settings),
            runs: Runs::new(&settings.agents),
            sessions: Sessions::new(&settings.agents),
            system: System::new(now),
            tailscale: Tailscale::default(),
            tokens: Tokens::default(),
            tools: Tools::new(&settings),
            api: Api::new(),
            usage: Usage::new(&settings),
            settings,
            now,
            entropy,
            started: now,
            boot_id,
            phase: Phase::Starting,
            addresses: Vec::new(),
            drain_until: None,
            conns: BTreeMap::new(),
            outputs: VecDeque::new(),
            stores: BTreeMap::new(),
            loads: BTreeMap::new(),
            fetches: BTreeMap::new(),
            processes: BTreeMap::new(),
            deadlines: deadlines::Deadlines::default(),
            serial: 0,
        }
    }

    /// Tells the machine what happened. Afterwards, drain [`Self::poll_output`].
    pub fn handle(&mut self, now: Now, input: Input) {
        self.now = now;
        match input {
            Input::Started => self.start(),
            Input::Up(Up::Connect(connect)) => self.connect(*connect),
            Input::Up(Up::Request(request)) => self.dispatch(request),
            Input::Up(Up::Gone { conn }) => self.gone(conn),
            Input::Up(Up::Hint(hint)) => self.hints.say(now.mono, hint),
            Input::Up(Up::Alive { conn }) => self.presence.alive(now, conn),
            Input::Http { id, request } => self.route(id, *request),
            Input::HttpBody { id, body } => self.http_body(id, body),
            Input::HttpGone { id } => {
                self.secure.remove(&id);
                self.http_gone(id);
            }
            Input::Process { id, event } => self.process_moved(id, event),
            Input::Fetch { id, event } => self.fetched(id, event),
            Input::Stored { id, result } => self.stored(id, result),
            Input::Loaded { id, result } => self.loaded(id, result),
            Input::Access(auth) => self.access_changed(*auth),
            Input::Listening(listening) => {
                self.own_addrs = listening.addrs.iter().map(|addr| addr.ip().to_canonical()).collect();
                self.own_addrs.retain(|addr| !addr.is_loopback() && !addr.is_unspecified());
                self.addresses.clone_from(&listening.addrs);
                self.listening(&listening);
            }
            Input::Stop { reason, restart_expected } => self.stop(&reason, restart_expected),
            Input::Timeout => self.timeout(),
        }
        self.settle_tools();
        self.announce();
        self.finish_stopping();
    }

    /// The next thing to be done, if any.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to send [`Input::Timeout`] at the latest, on the monotonic clock.
    pub fn poll_timeout(&self) -> Option<Duration> {
        match self.phase {
            Phase::Serving => {}
            Phase::Stopping => {
                let runs = earliest(self.runs.next_deadline(), self.tools.next_deadline());
                return earliest(self.drain_until, runs);
            }
            Phase::Starting | Phase::Stopped | Phase::Broken => return None,
        }
        let domains = earliest(self.runs.next_deadline(), self.handshake.next_deadline());
        let domains = earliest(earliest(domains, self.tools.next_deadline()), self.api.next_deadline());
        let domains = earliest(domains, self.sessions.changes.next_deadline());
        let domains = [
            domains,
            self.approvals.next_deadline(),
            self.audit.next_deadline(),
            self.devices.next_deadline(),
            self.nodes.next_deadline(),
            self.tailscale.next_deadline(),
            self.tokens.next_deadline(),
            self.system.next_deadline(),
            self.deadlines.next(),
        ];
        domains.into_iter().flatten().min()
    }

    /// Where the gateway is in its life.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// How many connections are in.
    pub fn connections(&self) -> usize {
        self.conns.len()
    }

    /// How many runs are admitted and have not ended.
    pub fn open_runs(&self) -> usize {
        self.runs.open()
    }

    /// How many effects are under way: transactions, questions and outbound requests.
    pub fn effects_under_way(&self) -> usize {
        self.stores.len() + self.loads.len() + self.fetches.len()
    }
}
