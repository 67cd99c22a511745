//! What flows between the engine and the tasks of connections.

use std::convert::Infallible;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_channel::{Receiver, Sender, TrySendError};
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::select;
use telson_core::fetch::FetchEvent;
use telson_core::http::{BodyError, HttpRequest, HttpResponse};
use telson_core::peer::Peer;
use telson_core::process::ProcessEvent;
use telson_core::settings::AuthSettings;
use telson_core::{ConnId, FetchId, HttpId, ProcessId, switchboard};
use telson_proto::CloseCode;

use crate::runtime::Runtime;

use super::body::{Budget, Share};
use super::exchange::Desk;
use super::seats::{Place, Seats};

/// How many events may wait for the engine; a task with one more waits, and its client with it.
const EVENTS: usize = 256;

/// What happened, as tasks tell the engine.
#[derive(Debug)]
pub(super) enum Event {
    /// A plain HTTP request.
    Http {
        /// Its name.
        id: HttpId,
        /// The request.
        request: Box<HttpRequest>,
        /// Where what is to be done with it goes.
        desk: Desk,
    },
    /// The body of a request.
    Body {
        /// The request.
        id: HttpId,
        /// All of it.
        body: Result<Bytes, BodyError>,
        /// Its memory, counted until the machines have it.
        share: Share,
    },
    /// The client of a request is gone.
    Gone {
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
    /// The operator has changed what the gateway asks for.
    Access(Box<AuthSettings>),
    /// A valid WebSocket upgrade request.
    Upgrade {
        /// Its name.
        conn: ConnId,
        /// What was seen of the client.
        peer: Peer,
        /// Where the verdict goes.
        verdict: Sender<Verdict>,
        /// Where everything else for this connection goes.
        commands: Sender<Command>,
    },
    /// Something about an admitted connection.
    Socket(switchboard::Input),
    /// An outbound request has moved.
    Fetch {
        /// The request.
        id: FetchId,
        /// What became of it.
        event: FetchEvent,
    },
}

/// What the switchboard says to an upgrade.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Go on.
    Admitted,
    /// Answer with this instead.
    Rejected(HttpResponse),
}

/// What a connection's task is to do.
#[derive(Debug)]
pub(super) enum Command {
    /// Send a text message.
    Send(String),
    /// Send a ping.
    Ping,
    /// The client has proved who it is: lift the limits of strangers.
    Authenticated,
    /// Send what is queued and a close frame, then let go.
    Close(CloseCode, String),
}

/// What every task of a connection needs.
pub(super) struct Context<R> {
    pub(super) runtime: R,
    pub(super) events: Sender<Event>,
    /// The largest message that the machines want to see, in bytes.
    pub(super) max_message: usize,
    /// Ends when the gateway goes down: nothing is ever sent.
    pub(super) closing: Receiver<Infallible>,
    /// The memory of bodies that are being read.
    pub(super) bodies: Budget,
    counters: Arc<Counters>,
    /// Gone when the last task is: nothing is ever sent.
    alive: Sender<Infallible>,
}

/// Keeps the tasks of connections going.
pub(super) struct Guard {
    closing: Sender<Infallible>,
    over: Receiver<Infallible>,
}

impl Guard {
    /// Ends the tasks, and gives them a moment to write what they still have.
    pub(super) async fn end<R: Runtime>(self, runtime: &R, patience: Duration) {
        drop(self.closing);
        let late = runtime.sleep_until(Instant::now() + patience);
        let _ = select(std::pin::pin!(self.over.recv()), std::pin::pin!(late)).await;
    }
}

#[derive(Default)]
struct Counters {
    conns: AtomicU64,
    requests: AtomicU64,
    seats: Seats,
}

impl<R: Runtime> Clone for Context<R> {
    fn clone(&self) -> Self {
        Self {
            runtime: self.runtime.clone(),
            events: self.events.clone(),
            max_message: self.max_message,
            closing: self.closing.clone(),
            bodies: self.bodies.clone(),
            counters: Arc::clone(&self.counters),
            alive: self.alive.clone(),
        }
    }
}

impl<R: Runtime> Context<R> {
    /// A context, the engine's end of the events, and the guard whose drop ends the tasks.
    pub(super) fn new(runtime: R, max_message: usize) -> (Self, Receiver<Event>, Guard) {
        let (events, engine) = async_channel::bounded(EVENTS);
        let (guard, closing) = async_channel::bounded(1);
        let (alive, over) = async_channel::bounded(1);
        let guard = Guard { closing: guard, over };
        let (bodies, counters) = (Budget::default(), Arc::default());
        (Self { runtime, events, max_message, closing, bodies, counters, alive }, engine, guard)
    }

    /// A name for a connection, never used before in this process.
    pub(super) fn name(&self) -> ConnId {
        ConnId(self.counters.conns.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// A name for an HTTP request, never used before in this process.
    pub(super) fn name_request(&self) -> HttpId {
        HttpId(self.counters.requests.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// A seat among the HTTP connections for a client of this address, and what ends it when it must make room.
    pub(super) fn enter(&self, addr: IpAddr) -> Option<Place> {
        self.counters.seats.take(addr)
    }

    /// Runs a task; a panic in it ends nothing but the task (07 P-11).
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(async move {
            if AssertUnwindSafe(task).catch_unwind().await.is_err() {
                tracing::error!(target: "gateway", "a connection's task panicked; only that connection is lost");
            }
        });
    }
}

/// An admitted connection. Whatever happens to its task, the engine hears exactly once that it is gone.
pub(super) struct Admitted<R: Runtime> {
    conn: ConnId,
    context: Context<R>,
    open: bool,
}

impl<R: Runtime> Admitted<R> {
    /// A connection for which an upgrade is asked.
    pub(super) fn new(conn: ConnId, context: Context<R>) -> Self {
        Self { conn, context, open: true }
    }

    pub(super) fn conn(&self) -> ConnId {
        self.conn
    }

    pub(super) fn context(&self) -> &Context<R> {
        &self.context
    }

    /// The connection was refused: there is nothing to tell.
    pub(super) fn forget(mut self) {
        self.open = false;
    }

    /// Tells the engine, behind everything that this connection has told before.
    pub(super) async fn closed(mut self) {
        let event = Event::Socket(switchboard::Input::Closed { conn: self.conn });
        let _ = self.context.events.send(event).await;
        self.open = false;
    }
}

impl<R: Runtime> Drop for Admitted<R> {
    fn drop(&mut self) {
        if !self.open {
            return;
        }
        let event = Event::Socket(switchboard::Input::Closed { conn: self.conn });
        if let Err(TrySendError::Full(event)) = self.context.events.try_send(event) {
            let events = self.context.events.clone();
            self.context.runtime.spawn(async move {
                let _ = events.send(event).await;
            });
        }
    }
}
