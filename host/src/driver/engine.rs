//! The task that owns the machines.
//!
//! It waits for something to happen, tells the machines, and passes on what they want done. It never waits for
//! anything else: sending to a connection, the store or an outbound request only queues.

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::task::{Context as Poller, Poll};
use std::time::{Duration, Instant};

use async_channel::{Receiver, Sender};
use futures_util::future::{AbortHandle, Either, abortable, select};
use futures_util::stream::Stream;
use telson_core::fetch::{FetchEvent, FetchRequest};
use telson_core::gateway::Phase;
use telson_core::peer::Listening;
use telson_core::{ConnId, FetchId, Input, Now, Output, gateway, switchboard};

use crate::net::fetch::fetch;
use crate::runtime::{Runtime, Signal};
use crate::store::{Report, StoreHandle};

use super::clock::Clock;
use super::ending::{Ending, Told};
use super::exchange::{Order, Requests};
use super::link::{Command, Context, Event, Verdict};
use super::machines::Machines;
use super::processes::Processes;
use super::{Exit, OnHangup, Pinned, ServeError, give_way};

/// Where signals come from, whichever way.
pub(super) type SignalStream = Pin<Box<dyn Stream<Item = Signal> + Send>>;

/// What the surroundings want to hear of.
pub(super) struct Hooks {
    /// Called once, when clients may connect.
    pub(super) ready: Option<Box<dyn FnOnce() + Send>>,
    /// Where the gateway listens, to be told once.
    pub(super) listening: Option<Listening>,
    /// How long runs may go on after a signal that asks for the end.
    pub(super) drain: Duration,
    /// Called at each `SIGHUP`.
    pub(super) on_hangup: Option<OnHangup>,
}

/// After so many inputs without a pause the engine lets other tasks of its thread go first.
const STRETCH: u32 = 64;

/// See the [module documentation](self).
pub(super) struct Engine<R: Runtime, M> {
    context: Context<R>,
    clock: Clock,
    machines: M,
    store: StoreHandle,
    reports: Sender<Report>,
    stored: Option<Receiver<Report>>,
    hooks: Hooks,
    sockets: HashMap<ConnId, Sender<Command>>,
    upgrades: HashMap<ConnId, Sender<Verdict>>,
    requests: Requests,
    fetches: HashMap<FetchId, AbortHandle>,
    processes: Processes,
    /// What has happened while the machines' wishes were carried out.
    late: VecDeque<gateway::Input>,
    ending: Ending,
    /// How long runs may go on after a signal.
    drain: Duration,
    /// The timer that is set, and for when.
    timer: Option<(Duration, Pinned<R::Sleep>)>,
}

/// What ended the engine's wait.
enum Woken {
    Signal(Signal),
    Report(Report),
    Event(Event),
    Timer,
}

impl<R: Runtime, M: Machines> Engine<R, M> {
    pub(super) fn new(
        context: Context<R>,
        make: impl FnOnce(Now) -> M,
        store: StoreHandle,
        hooks: Hooks,
    ) -> Self {
        let clock = Clock::start();
        let (reports, stored) = async_channel::unbounded();
        Self {
            drain: hooks.drain,
            machines: make(clock.now()),
            context,
            clock,
            store,
            reports,
            stored: Some(stored),
            hooks,
            sockets: HashMap::new(),
            upgrades: HashMap::new(),
            requests: Requests::default(),
            fetches: HashMap::new(),
            processes: Processes::default(),
            late: VecDeque::new(),
            ending: Ending::default(),
            timer: None,
        }
    }

    /// Runs until the gateway has stopped and its sockets are closed.
    pub(super) async fn run(
        mut self,
        events: Receiver<Event>,
        mut signals: SignalStream,
    ) -> Result<Exit, ServeError> {
        let mut events = std::pin::pin!(events);
        let (_, none) = async_channel::bounded(1);
        let mut stored = std::pin::pin!(self.stored.take().unwrap_or(none));
        self.tell(Input::Gateway(gateway::Input::Started));
        if let Some(listening) = self.hooks.listening.take() {
            self.tell(Input::Gateway(gateway::Input::Listening(listening)));
        }
        let mut stretch = 0;
        let outcome = loop {
            let now = self.clock.now().mono;
            if let Some(outcome) = self.ending.outcome(now, self.sockets.len()) {
                break outcome;
            }
            if self.machines.poll_timeout().is_some_and(|due| due <= now) {
                self.machines.handle_timeout(self.clock.now());
                self.perform();
            }
            self.set_timer();
            let woken = std::future::poll_fn(|cx| {
                let woken = self.poll_next(cx, &mut signals, stored.as_mut(), events.as_mut());
                stretch = if woken.is_pending() { 0 } else { stretch + 1 };
                woken
            });
            match woken.await {
                Woken::Signal(signal) => self.signal(signal),
                Woken::Report(report) => self.report(report),
                Woken::Event(event) => self.event(event),
                Woken::Timer => self.timer = None,
            }
            if stretch >= STRETCH {
                stretch = 0;
                give_way().await;
            }
        };
        self.processes.end();
        self.close_store(matches!(outcome, Ok(Exit::Forced))).await;
        match self.machines.tailnet_fault() {
            Some(reason) if outcome.is_ok() => Err(ServeError::Tailnet(reason)),
            _ => outcome,
        }
    }

    /// What happens next. The store comes before the clients: its reports free memory.
    fn poll_next(
        &mut self,
        cx: &mut Poller<'_>,
        signals: &mut SignalStream,
        stored: Pin<&mut Receiver<Report>>,
        events: Pin<&mut Receiver<Event>>,
    ) -> Poll<Woken> {
        if let Poll::Ready(Some(signal)) = signals.as_mut().poll_next(cx) {
            return Poll::Ready(Woken::Signal(signal));
        }
        if let Some((_, timer)) = &mut self.timer
            && timer.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Woken::Timer);
        }
        if let Poll::Ready(Some(report)) = stored.poll_next(cx) {
            return Poll::Ready(Woken::Report(report));
        }
        if let Poll::Ready(Some(event)) = events.poll_next(cx) {
            return Poll::Ready(Woken::Event(event));
        }
        Poll::Pending
    }

    /// Sets the timer for the next deadline, unless it is set already.
    fn set_timer(&mut self) {
        let due = match (self.machines.poll_timeout(), self.ending.deadline()) {
            (Some(machines), Some(ending)) => Some(machines.min(ending)),
            (machines, ending) => machines.or(ending),
        };
        if due == self.timer.as_ref().map(|(set, _)| *set) {
            return;
        }
        self.timer = due.map(|due| {
            let timer = self.context.runtime.sleep_until(self.clock.instant(due));
            (due, Box::pin(timer))
        });
    }

    fn tell(&mut self, input: Input) {
        self.machines.handle(self.clock.now(), input);
        self.perform();
    }

    fn signal(&mut self, signal: Signal) {
        tracing::info!(target: "gateway", "signal {} received", signal.name());
        if signal == Signal::Hangup {
            if let Some(reopen) = &mut self.hooks.on_hangup {
                reopen();
            }
            return;
        }
        if let Told::Stop { reason, restart_expected } =
            self.ending.signalled(self.clock.now().mono, signal, self.drain)
        {
            self.tell(Input::Gateway(gateway::Input::Stop { reason, restart_expected }));
        }
    }

    fn report(&mut self, report: Report) {
        self.tell(Input::Gateway(match report {
            Report::Stored { id, result } => gateway::Input::Stored { id, result },
            Report::Loaded { id, result } => gateway::Input::Loaded { id, result },
        }));
        // Clients that come before the state is loaded are asked to come again; nobody is called for that.
        if self.machines.phase() == Phase::Serving
            && let Some(ready) = self.hooks.ready.take()
        {
            ready();
        }
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Http { id, request, desk } => {
                self.requests.begin(id, desk);
                self.tell(Input::Gateway(gateway::Input::Http { id, request }));
            }
            Event::Body { id, body, share } => {
                if self.requests.contains(id) {
                    self.tell(Input::Gateway(gateway::Input::HttpBody { id, body }));
                }
                drop(share);
            }
            Event::Gone { id } => {
                if self.requests.gone(id) {
                    self.tell(Input::Gateway(gateway::Input::HttpGone { id }));
                }
            }
            Event::Process { id, event } => {
                if self.processes.moved(id, &event) {
                    self.tell(Input::Gateway(gateway::Input::Process { id, event }));
                }
            }
            Event::Access(auth) => self.tell(Input::Gateway(gateway::Input::Access(auth))),
            Event::Upgrade { conn, peer, verdict, commands } => {
                self.upgrades.insert(conn, verdict);
                self.sockets.insert(conn, commands);
                self.tell(Input::Switchboard(switchboard::Input::Upgrade { conn, peer }));
            }
            Event::Socket(input) => {
                if let switchboard::Input::Closed { conn } = &input {
                    self.sockets.remove(conn);
                    self.upgrades.remove(conn);
                }
                self.tell(Input::Switchboard(input));
            }
            Event::Fetch { id, event } => {
                if self.fetches.contains_key(&id) {
                    if matches!(event, FetchEvent::End | FetchEvent::Failed(_)) {
                        self.fetches.remove(&id);
                    }
                    self.tell(Input::Gateway(gateway::Input::Fetch { id, event }));
                }
            }
        }
    }

    /// Does what the machines want done.
    fn perform(&mut self) {
        loop {
            while let Some(output) = self.machines.poll_output() {
                match output {
                    Output::Switchboard(output) => self.carry_out(output),
                    Output::Gateway(output) => self.attend_to(output),
                }
            }
            let Some(input) = self.late.pop_front() else { return };
            self.machines.handle(self.clock.now(), Input::Gateway(input));
        }
    }

    fn carry_out(&mut self, output: switchboard::Output) {
        match output {
            switchboard::Output::Admit { conn } => self.decide(conn, Verdict::Admitted),
            switchboard::Output::Reject { conn, response } => {
                self.sockets.remove(&conn);
                self.decide(conn, Verdict::Rejected(response));
            }
            switchboard::Output::Send { conn, text } => self.command(conn, Command::Send(text)),
            switchboard::Output::Ping { conn } => self.command(conn, Command::Ping),
            switchboard::Output::Authenticated { conn } => self.command(conn, Command::Authenticated),
            switchboard::Output::Close { conn, code, reason } => {
                self.command(conn, Command::Close(code, reason));
            }
            // Both machines run here; what they tell each other stays between them.
            switchboard::Output::Up(_) => {}
        }
    }

    /// A client that went away meanwhile needs no verdict; its connection's guard tells of its end.
    fn decide(&mut self, conn: ConnId, verdict: Verdict) {
        if let Some(waiting) = self.upgrades.remove(&conn) {
            let _ = waiting.try_send(verdict);
        }
    }

    fn command(&mut self, conn: ConnId, command: Command) {
        if let Some(socket) = self.sockets.get(&conn) {
            let _ = socket.try_send(command);
        }
    }

    fn attend_to(&mut self, output: gateway::Output) {
        match output {
            gateway::Output::Respond { id, response } => self.requests.finish(id, Order::Respond(response)),
            gateway::Output::ReadBody { id, limit } => self.requests.order(id, Order::ReadBody { limit }),
            gateway::Output::RespondHead { id, head } => self.requests.order(id, Order::Head(head)),
            gateway::Output::RespondChunk { id, chunk } => {
                if !self.requests.chunk(id, chunk) {
                    self.late.push_back(gateway::Input::HttpGone { id });
                }
            }
            gateway::Output::RespondEnd { id } => self.requests.finish(id, Order::End),
            gateway::Output::Spawn { id, spec } => self.processes.spawn(&self.context, id, spec),
            gateway::Output::WriteLine { id, line } => {
                if let Some(event) = self.processes.write(id, line) {
                    self.late.push_back(gateway::Input::Process { id, event });
                }
            }
            gateway::Output::Kill { id } => self.processes.kill(id),
            gateway::Output::Fetch { id, request } => self.fetch(id, request),
            gateway::Output::AbortFetch { id } => {
                if let Some(fetch) = self.fetches.remove(&id) {
                    fetch.abort();
                }
            }
            gateway::Output::Store(transaction) => self.store.write(transaction, &self.reports),
            gateway::Output::Load { id, query } => self.store.load(id, query, &self.reports),
            gateway::Output::Stopped => {
                let broken = self.machines.phase() == Phase::Broken;
                self.ending.stopped(self.clock.now().mono, broken);
            }
            // Both machines run here; what they tell each other stays between them.
            gateway::Output::Down(_) => {}
        }
    }

    fn fetch(&mut self, id: FetchId, request: FetchRequest) {
        tracing::debug!(target: "gateway.fetch", %id, "{request:?}");
        let events = self.context.events.clone();
        let tell = move |event| {
            let events = events.clone();
            async move { events.send(Event::Fetch { id, event }).await.is_ok() }
        };
        let (task, handle) = abortable(fetch(self.context.runtime.clone(), request, tell));
        self.fetches.insert(id, handle);
        self.context.spawn(async move {
            let _ = task.await;
        });
    }

    /// Lets the store finish; when forced, not for long.
    async fn close_store(&mut self, forced: bool) {
        for fetch in self.fetches.values() {
            fetch.abort();
        }
        let patience = if forced { Duration::from_secs(1) } else { Duration::from_secs(10) };
        let late = self.context.runtime.sleep_until(Instant::now() + patience);
        let closed = std::pin::pin!(self.store.close());
        let late = std::pin::pin!(late);
        if let Either::Right(_) = select(closed, late).await {
            tracing::error!(target: "gateway", "the store did not finish in time");
        }
    }
}
