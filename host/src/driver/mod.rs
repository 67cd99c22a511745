//! Runs the machines of `telson-core` on HTTP and WebSocket connections.
//!
//! One task, the engine, owns both machines and does no I/O. Tasks of connections, the store's thread and
//! outbound requests tell it what happened; it asks the machines what is to be done and passes that on. What a
//! client can fill is bounded: a connection whose events the engine has not taken yet is not read from.

mod answer;
mod body;
pub(crate) mod clock;
mod ending;
mod engine;
mod exchange;
mod frames;
mod http;
mod line;
mod lines;
mod link;
mod listen;
mod machines;
mod outgoing;
mod processes;
mod seats;
mod socket;
#[cfg(test)]
mod tests;
mod tls;
mod upgrade;

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_channel::Receiver;
use telson_core::peer::Listening;
use telson_core::settings::{AuthSettings, Settings};
use telson_core::{Joined, Now, Seed};

use crate::runtime::{Runtime, Signal};
use crate::store::StoreHandle;
use crate::tls::Live;

use engine::Engine;
use link::Context;
pub use machines::Machines;

/// How long answers that are under way may take once everything else has ended.
const LAST_WORDS: Duration = Duration::from_millis(250);

/// What a gateway is started with.
pub struct ServeOptions {
    /// What the machines are told once.
    pub settings: Settings,
    /// Where to listen. Every address must work, but `::1` behind another one.
    pub listeners: Vec<SocketAddr>,
    /// The certificate, when the port speaks TLS.
    pub tls: Option<Arc<Live>>,
    /// Where the gateway's state is kept.
    pub store: StoreHandle,
    /// 32 bytes from the operating system.
    pub seed: Seed,
    /// Where signals come from.
    pub signals: Signals,
    /// What the gateway asks for, each time that the operator has changed it.
    pub changes: Option<Receiver<AuthSettings>>,
    /// Whether to listen for the tailnet's proxy as well, on a loopback address of its own.
    pub tailnet: bool,
    /// Told once when the gateway listens and has loaded its state, with the addresses on which it listens.
    pub on_ready: Option<OnReady>,
    /// Called at each `SIGHUP`: reopens the log file.
    pub on_hangup: Option<OnHangup>,
}

/// Called once, with the addresses on which the gateway listens.
pub type OnReady = Box<dyn FnOnce(&[SocketAddr]) + Send>;

/// Called at each `SIGHUP`.
pub type OnHangup = Box<dyn FnMut() + Send>;

/// Where signals come from.
pub enum Signals {
    /// The process.
    Process,
    /// A channel, for gateways that are one part of a process. A closed channel sends none.
    Channel(Receiver<Signal>),
}

/// How a gateway ended. All are exit status 0: the process did what it was told (spec 05 §10.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It was asked to stop.
    Stopped,
    /// It was asked to restart; its supervisor starts it anew.
    Restarting,
    /// It was asked twice, or did not end in time.
    Forced,
}

/// Why a gateway did not start, or ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Something listens there already.
    #[error("another gateway instance is already listening on {scheme}://{addr}")]
    PortInUse {
        /// The address.
        addr: SocketAddr,
        /// `ws` or `wss`.
        scheme: &'static str,
    },
    /// The address cannot be bound.
    #[error("failed to bind gateway socket on {scheme}://{addr}: {cause}")]
    Bind {
        /// The address.
        addr: SocketAddr,
        /// `ws` or `wss`.
        scheme: &'static str,
        /// The operating system's reason.
        cause: io::Error,
    },
    /// No address was given.
    #[error("no address to listen on was given")]
    NoListener,
    /// The operator wants no gateway that Tailscale does not stand in front of.
    #[error("tailscale: {0}")]
    Tailnet(String),
    /// Signals cannot be caught.
    #[error("signals cannot be caught: {0}")]
    Signals(io::Error),
    /// The state cannot be read; serving without it would pretend that there is none.
    #[error("the kept state cannot be loaded; see the log for the reason")]
    State,
}

/// Runs a gateway until it is told to stop.
///
/// # Errors
/// See [`ServeError`]. Nothing is left running in any case.
pub async fn serve<R: Runtime>(runtime: R, options: ServeOptions) -> Result<Exit, ServeError> {
    serve_with(runtime, options, Joined::new).await
}

/// The same with machines of another make.
///
/// # Errors
/// As [`serve`].
pub async fn serve_with<R: Runtime, M: Machines>(
    runtime: R,
    options: ServeOptions,
    make: impl FnOnce(Settings, Seed, Now) -> M,
) -> Result<Exit, ServeError> {
    let ServeOptions {
        settings,
        listeners,
        tls,
        store,
        seed,
        signals,
        changes,
        tailnet,
        on_ready,
        on_hangup,
    } = options;
    let signals: engine::SignalStream = match signals {
        Signals::Process => Box::pin(runtime.signals().map_err(ServeError::Signals)?),
        Signals::Channel(channel) => Box::pin(channel),
    };
    listen::raise_file_limit();
    let door = tls::Door::new(tls.clone());
    let scheme = door.scheme();
    let sockets = listen::bind(&runtime, &listeners, scheme)?;
    let max_message = settings.limits.v3.max_payload.max(settings.limits.v4.max_payload);
    let (context, events, guard) = Context::new(runtime.clone(), max_message);
    let bound: Vec<SocketAddr> = sockets.iter().map(|(addr, _)| *addr).collect();
    let proxied = if tailnet { Some(listen::bind_tailnet(&runtime)?) } else { None };
    let tailnet = proxied.as_ref().map(|(addr, _)| *addr);
    for (addr, socket) in sockets {
        context.spawn(listen::accept(context.clone(), addr, socket, door.clone()));
    }
    if let Some((addr, socket)) = proxied {
        context.spawn(listen::accept(context.clone(), addr, socket, tls::Door::Tailnet));
    }
    let listening = Some(Listening { addrs: bound.clone(), tailnet });
    let ready = Box::new(move || {
        listen::announce(&bound, scheme);
        if let Some(on_ready) = on_ready {
            on_ready(&bound);
        }
    });
    if let Some(live) = tls {
        context.spawn(tls::watch(context.clone(), live));
    }
    if let Some(changes) = changes {
        context.spawn(listen::pass_on(context.events.clone(), changes));
    }
    let hooks = engine::Hooks { ready: Some(ready), listening, drain: settings.drain, on_hangup };
    let engine = Engine::new(context, |now| make(settings, seed, now), store, hooks);
    let exit = engine.run(events, signals).await;
    if !matches!(exit, Ok(Exit::Forced)) {
        guard.end(&runtime, LAST_WORDS).await;
    }
    exit
}

/// Lets other tasks of the same thread go first, once.
async fn give_way() {
    let mut waited = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut waited, true) {
            return std::task::Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await;
}

/// A boxed, pinned value.
type Pinned<T> = Pin<Box<T>>;
