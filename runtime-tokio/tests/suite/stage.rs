//! The driver with machines that do what a test says and repeat what they are told.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use async_channel::Sender;
use bytes::Bytes;
use telson_core::auth::Secret;
use telson_core::gateway::{Input, Output, Phase};
use telson_core::http::{HttpRequest, HttpResponse};
use telson_core::settings::{AuthMode, Settings};
use telson_core::store::Transaction;
use telson_core::{HttpId, Now, TxId};
use telson_host::driver::{Machines, ServeOptions, Signals, serve_with};
use telson_host::runtime::{Process, Program, Runtime, Signal};
use telson_host::store;
use telson_host::tls::Live;

const PATIENCE: Duration = Duration::from_secs(20);

/// How often the puppet looks for new orders.
const LOOK: Duration = Duration::from_millis(2);

/// Machines without behaviour.
struct Puppet {
    told: mpsc::Sender<Input>,
    orders: mpsc::Receiver<Output>,
    outputs: VecDeque<Output>,
    now: Duration,
}

impl Machines for Puppet {
    fn handle(&mut self, now: Now, input: telson_core::Input) {
        self.now = now.mono;
        let telson_core::Input::Gateway(input) = input else { return };
        match input {
            // The driver is ready when its store has answered.
            Input::Started => {
                self.outputs.push_back(Output::Store(Transaction { id: TxId(1), ops: Vec::new() }));
            }
            Input::Stored { .. } | Input::Listening(_) => {}
            Input::Stop { .. } => {
                self.outputs.extend(self.orders.try_iter());
                self.outputs.push_back(Output::Stopped);
            }
            input => drop(self.told.send(input)),
        }
    }

    fn handle_timeout(&mut self, now: Now) {
        self.now = now.mono;
        self.outputs.extend(self.orders.try_iter());
    }

    fn poll_output(&mut self) -> Option<telson_core::Output> {
        self.outputs.pop_front().map(telson_core::Output::Gateway)
    }

    fn poll_timeout(&self) -> Option<Duration> {
        Some(self.now + LOOK)
    }

    fn phase(&self) -> Phase {
        Phase::Serving
    }
}

/// A driver, and the hand in its puppet.
pub struct Stage {
    pub addr: SocketAddr,
    told: mpsc::Receiver<Input>,
    orders: mpsc::Sender<Output>,
    signals: Sender<Signal>,
    ended: mpsc::Receiver<()>,
    /// Removed with the stage.
    _state: tempfile::TempDir,
}

impl Stage {
    pub fn start<R: Runtime>(runtime: &R) -> Self {
        Self::start_with(runtime, None)
    }

    /// The same with TLS on its port.
    pub fn start_with<R: Runtime>(runtime: &R, tls: Option<Arc<Live>>) -> Self {
        let state = tempfile::tempdir().unwrap();
        let (signals, channel) = async_channel::unbounded();
        let (ready, bound) = mpsc::channel();
        let (tell, told) = mpsc::channel();
        let (orders, ordered) = mpsc::channel();
        let options = ServeOptions {
            settings: Settings::plain(AuthMode::Token(Secret::new("a token"))),
            listeners: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))],
            tls,
            store: store::open(&state.path().join("telson.db")).unwrap(),
            seed: [7; 32].into(),
            signals: Signals::Channel(channel),
            changes: None,
            tailnet: false,
            on_ready: Some(Box::new(move |addrs| ready.send(addrs[0]).unwrap())),
            on_hangup: None,
        };
        let puppet = move |_, _, now: Now| Puppet {
            told: tell,
            orders: ordered,
            outputs: VecDeque::new(),
            now: now.mono,
        };
        let serving = serve_with(runtime.clone(), options, puppet);
        let (end, ended) = mpsc::channel();
        runtime.spawn(async move {
            drop(serving.await);
            drop(end);
        });
        let addr = bound.recv_timeout(PATIENCE).unwrap();
        Self { addr, told, orders, signals, ended, _state: state }
    }

    /// Has something done.
    pub fn order(&self, output: Output) {
        self.orders.send(output).unwrap();
    }

    /// The next thing that happens.
    pub fn hears(&self) -> Input {
        self.told.recv_timeout(PATIENCE).unwrap()
    }

    /// What has happened already, if anything.
    pub fn has_heard(&self) -> Option<Input> {
        self.told.try_recv().ok()
    }

    /// The next request.
    pub fn request(&self) -> (HttpId, HttpRequest) {
        match self.hears() {
            Input::Http { id, request } => (id, *request),
            other => panic!("{other:?} instead of a request"),
        }
    }

    pub fn read_body(&self, id: HttpId, limit: usize) {
        self.order(Output::ReadBody { id, limit });
    }

    pub fn respond(&self, id: HttpId, status: u16, body: &str) {
        self.order(Output::Respond { id, response: HttpResponse::text(status, body) });
    }

    pub fn begin(&self, id: HttpId) {
        self.order(Output::RespondHead { id, head: HttpResponse::events() });
    }

    pub fn chunk(&self, id: HttpId, chunk: impl Into<Bytes>) {
        self.order(Output::RespondChunk { id, chunk: chunk.into() });
    }

    pub fn end(&self, id: HttpId) {
        self.order(Output::RespondEnd { id });
    }

    /// Hears that the client of a request is gone.
    pub fn hears_gone(&self, id: HttpId) {
        let heard = self.hears();
        assert!(matches!(heard, Input::HttpGone { id: gone } if gone == id), "{heard:?}");
    }

    /// Waits until nothing of the driver is left.
    pub fn ended(&self) {
        let ended = self.ended.recv_timeout(PATIENCE);
        assert_eq!(ended, Err(mpsc::RecvTimeoutError::Disconnected));
    }

    /// Has the driver end.
    pub fn stop(&self) {
        self.signals.try_send(Signal::Terminate).unwrap();
    }

    /// Ends the driver; nothing that was not expected may have happened.
    pub fn finish(self) {
        self.stop();
        match self.told.recv_timeout(PATIENCE) {
            Ok(more) => panic!("{more:?} is one too many"),
            Err(mpsc::RecvTimeoutError::Disconnected) => {}
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("the driver does not end"),
        }
    }
}

/// A runtime on which timers are over after a part of their time, so that nobody waits for half a minute.
#[derive(Clone)]
pub struct Hasty<R>(pub R, pub u32);

impl<R: Runtime> Runtime for Hasty<R> {
    type Stream = R::Stream;
    type Listener = R::Listener;
    type Sleep = R::Sleep;
    type Signals = R::Signals;

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.0.spawn(task);
    }

    fn sleep_until(&self, at: Instant) -> Self::Sleep {
        let now = Instant::now();
        self.0.sleep_until(now + at.saturating_duration_since(now) / self.1)
    }

    fn listener(&self, socket: std::net::TcpListener) -> std::io::Result<Self::Listener> {
        self.0.listener(socket)
    }

    async fn accept(&self, listener: &Self::Listener) -> std::io::Result<(Self::Stream, SocketAddr)> {
        self.0.accept(listener).await
    }

    async fn connect(&self, addr: SocketAddr) -> std::io::Result<Self::Stream> {
        self.0.connect(addr).await
    }

    async fn unblock<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> std::io::Result<T> {
        self.0.unblock(work).await
    }

    fn signals(&self) -> std::io::Result<Self::Signals> {
        self.0.signals()
    }

    fn launch(&self, program: Program) -> std::io::Result<Process> {
        self.0.launch(program)
    }
}
