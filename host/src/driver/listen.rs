//! Listening: binding, accepting, and staying alive when neither goes well (spec 04 §1.1).

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use async_channel::{Receiver, Sender};
use futures_util::future::{Either, select};
use rustix::net::sockopt::{set_ipv6_v6only, set_socket_reuseaddr};
use rustix::net::{AddressFamily, SocketType};
use rustix::process::{Resource, Rlimit};
use telson_core::settings::AuthSettings;

use crate::runtime::Runtime;

use super::ServeError;
use super::link::{Context, Event};
use super::tls::Door;

/// Connections that may wait to be accepted: a reconnect storm after a restart must not be turned away.
const BACKLOG: i32 = 1_024;

/// How long to wait after an accept that failed for want of something, such as file descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// Binds every address, or none. Where the gateway listens on 127.0.0.1, `::1` comes along when it can
/// [D-29]; a host may have no IPv6 at all.
pub(super) fn bind<R: Runtime>(
    runtime: &R,
    addrs: &[SocketAddr],
    scheme: &'static str,
) -> Result<Vec<(SocketAddr, R::Listener)>, ServeError> {
    let (first, further) = addrs.split_first().ok_or(ServeError::NoListener)?;
    let mut bound = vec![open(runtime, *first).map_err(|cause| refusal(*first, scheme, cause))?];
    let port = bound.first().map_or(first.port(), |(addr, _)| addr.port());
    for addr in further {
        let addr = SocketAddr::new(addr.ip(), if addr.port() == 0 { port } else { addr.port() });
        match open(runtime, addr) {
            Ok(listener) => bound.push(listener),
            Err(cause) if addr.ip() == Ipv6Addr::LOCALHOST => {
                tracing::warn!(target: "gateway", "not listening on {scheme}://{addr} as well: {cause}");
            }
            Err(cause) => return Err(refusal(addr, scheme, cause)),
        }
    }
    Ok(bound)
}

/// Binds the address for the tailnet's proxy: any free port of this machine.
pub(super) fn bind_tailnet<R: Runtime>(runtime: &R) -> Result<(SocketAddr, R::Listener), ServeError> {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    open(runtime, any).map_err(|cause| refusal(any, "http", cause))
}

fn refusal(addr: SocketAddr, scheme: &'static str, cause: io::Error) -> ServeError {
    if cause.kind() == io::ErrorKind::AddrInUse {
        return ServeError::PortInUse { addr, scheme };
    }
    ServeError::Bind { addr, scheme, cause }
}

fn open<R: Runtime>(runtime: &R, addr: SocketAddr) -> io::Result<(SocketAddr, R::Listener)> {
    let family = if addr.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    let socket = rustix::net::socket(family, SocketType::STREAM, None)?;
    rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
    set_socket_reuseaddr(&socket, true)?;
    if addr.is_ipv6() {
        set_ipv6_v6only(&socket, true)?;
    }
    rustix::net::bind(&socket, &addr)?;
    rustix::net::listen(&socket, BACKLOG)?;
    let socket = TcpListener::from(socket);
    socket.set_nonblocking(true)?;
    let addr = socket.local_addr()?;
    Ok((addr, runtime.listener(socket)?))
}

/// Says where the gateway listens, in the form that scripts wait for (spec 05 §5.3).
pub(super) fn announce(bound: &[SocketAddr], scheme: &str) {
    for (index, addr) in bound.iter().enumerate() {
        if index == 0 {
            tracing::info!(target: "gateway", "listening on {scheme}://{addr} (PID {})", std::process::id());
        } else {
            tracing::info!(target: "gateway", "listening on {scheme}://{addr}");
        }
    }
}

/// Accepts until the gateway goes down. No failure of an accept ends it.
pub(super) async fn accept<R: Runtime>(
    context: Context<R>,
    addr: SocketAddr,
    listener: R::Listener,
    door: Door,
) {
    let closing = context.closing.clone();
    let closed = std::pin::pin!(closing.recv());
    let mut closed = closed;
    loop {
        let accepted = match select(closed.as_mut(), std::pin::pin!(context.runtime.accept(&listener))).await
        {
            Either::Left(_) => return,
            Either::Right((accepted, _)) => accepted,
        };
        match accepted {
            Ok((stream, peer)) => match context.enter(peer.ip()) {
                Some(place) => context.spawn(door.clone().serve(context.clone(), place, stream, peer.ip())),
                None => {
                    tracing::debug!(target: "gateway", %peer, "too many open connections; this one is dropped");
                }
            },
            Err(error) if is_the_clients(&error) => {}
            Err(error) => {
                tracing::warn!(target: "gateway", "cannot accept on {}://{addr}: {error}", door.scheme());
                context.runtime.sleep_until(Instant::now() + PAUSE).await;
            }
        }
    }
}

/// Whether an accept failed because the client went away meanwhile.
fn is_the_clients(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}

/// Asks the system for as many file descriptors as it is willing to give: each connection needs one.
pub(super) fn raise_file_limit() {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return;
    }
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = rustix::process::setrlimit(Resource::Nofile, raised) {
        tracing::debug!(target: "gateway", %error, "the limit of open files stays as it is");
    }
}

/// Passes on what the operator changes, until the gateway goes down.
pub(super) async fn pass_on(events: Sender<Event>, changes: Receiver<AuthSettings>) {
    while let Ok(auth) = changes.recv().await {
        if events.send(Event::Access(Box::new(auth))).await.is_err() {
            return;
        }
    }
}
