//! A gateway in this process, on any runtime.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use async_channel::Sender;
use telson_core::auth::Secret;
use telson_core::settings::{AuthMode, Settings};
use telson_host::driver::{Exit, ServeError, ServeOptions, Signals, serve};
use telson_host::runtime::{Runtime, Signal};
use telson_host::store;
use telson_host::tls::Live;

pub const TOKEN: &str = "a token of the operator";

const PATIENCE: Duration = Duration::from_secs(20);

fn settings() -> Settings {
    Settings::plain(AuthMode::Token(Secret::new(TOKEN)))
}

pub struct Gateway {
    pub addr: SocketAddr,
    signals: Sender<Signal>,
    ended: mpsc::Receiver<Result<Exit, ServeError>>,
    /// Removed with the gateway.
    _state: tempfile::TempDir,
}

impl Gateway {
    /// Starts a gateway on a free port.
    pub fn start<R: Runtime>(runtime: &R) -> Self {
        Self::start_at(runtime, SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap()
    }

    /// The same with other settings.
    pub fn start_with<R: Runtime>(runtime: &R, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = settings();
        change(&mut settings);
        Self::launch(runtime, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), settings, None).unwrap()
    }

    /// The same with TLS on its port.
    pub fn start_secure<R: Runtime>(runtime: &R, live: Arc<Live>) -> Self {
        Self::launch(runtime, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), settings(), Some(live)).unwrap()
    }

    /// Starts a gateway on an address, if it can.
    pub fn start_at<R: Runtime>(runtime: &R, addr: SocketAddr) -> Result<Self, ServeError> {
        Self::launch(runtime, addr, settings(), None)
    }

    fn launch<R: Runtime>(
        runtime: &R,
        addr: SocketAddr,
        settings: Settings,
        tls: Option<Arc<Live>>,
    ) -> Result<Self, ServeError> {
        let state = tempfile::tempdir().unwrap();
        let (signals, channel) = async_channel::unbounded();
        let (ready, bound) = mpsc::channel();
        let (end, ended) = mpsc::channel();
        let options = ServeOptions {
            settings,
            listeners: vec![addr],
            tls,
            store: store::open(&state.path().join("telson.db")).unwrap(),
            seed: [7; 32].into(),
            signals: Signals::Channel(channel),
            changes: None,
            tailnet: false,
            on_ready: Some(Box::new(move |addrs| ready.send(addrs[0]).unwrap())),
            on_hangup: None,
        };
        let serving = serve(runtime.clone(), options);
        runtime.spawn(async move {
            let _ = end.send(serving.await);
        });
        match bound.recv_timeout(PATIENCE) {
            Ok(addr) => Ok(Self { addr, signals, ended, _state: state }),
            Err(_) => Err(ended.recv_timeout(PATIENCE).unwrap().unwrap_err()),
        }
    }

    pub fn signal(&self, signal: Signal) {
        self.signals.try_send(signal).unwrap();
    }

    /// Waits for its end.
    pub fn ended(&self) -> Result<Exit, ServeError> {
        self.ended.recv_timeout(PATIENCE).unwrap()
    }
}
