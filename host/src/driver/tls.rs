//! TLS on the gateway's port: the whole port speaks it, or none of it (spec 05 §7).
//!
//! A client that has not finished its handshake is a stranger: it has little time, and one address can hold only
//! some of the places. What is no TLS is closed without an answer in the clear.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_rustls::TlsAcceptor;
use futures_util::future::{Either, select};
use telson_core::limits;
use telson_core::peer::Listener;

use crate::net::tls::Stream;
use crate::runtime::Runtime;
use crate::tls::Live;

use super::http;
use super::link::Context;
use super::seats::Place;

/// How often the files of the certificate are looked at.
const LOOK: Duration = Duration::from_secs(5);

/// What a listener does with the connections that it has accepted.
#[derive(Clone, Debug)]
pub(super) enum Door {
    /// They speak HTTP at once.
    Open,
    /// They speak TLS first.
    Tls(Guarded),
    /// They come from the tailnet's proxy, which has spoken TLS.
    Tailnet,
}

impl Door {
    pub(super) fn new(live: Option<Arc<Live>>) -> Self {
        live.map_or(Self::Open, |live| Self::Tls(Guarded { live, knocking: Knocking::default() }))
    }

    /// The scheme of the port's WebSocket URLs.
    pub(super) const fn scheme(&self) -> &'static str {
        match self {
            Self::Open | Self::Tailnet => "ws",
            Self::Tls(_) => "wss",
        }
    }

    /// Serves one connection until its end.
    pub(super) async fn serve<R: Runtime>(
        self,
        context: Context<R>,
        place: Place,
        stream: R::Stream,
        addr: IpAddr,
    ) {
        match self {
            Self::Open => http::serve(context, place, Stream::Plain(stream), (addr, Listener::Main)).await,
            Self::Tailnet => {
                http::serve(context, place, Stream::Plain(stream), (addr, Listener::Tailnet)).await;
            }
            Self::Tls(guarded) => guarded.serve(context, place, stream, addr).await,
        }
    }
}

/// The certificate, and who is in a handshake.
#[derive(Clone, Debug)]
pub(super) struct Guarded {
    live: Arc<Live>,
    knocking: Knocking,
}

impl Guarded {
    async fn serve<R: Runtime>(self, context: Context<R>, place: Place, stream: R::Stream, addr: IpAddr) {
        let Some(knock) = self.knocking.enter(addr) else {
            tracing::debug!(target: "gateway.tls", peer = %addr, "too many open handshakes of this address; one is dropped");
            return;
        };
        let closing = context.closing.clone();
        let until = Instant::now() + Duration::from_millis(limits::TLS_HANDSHAKE_MS);
        let (closed, late) =
            (std::pin::pin!(closing.recv()), std::pin::pin!(context.runtime.sleep_until(until)));
        // Another client may need the seat.
        let cuts = place.1.clone();
        let cut = std::pin::pin!(cuts.recv());
        let ended = select(select(closed, late), cut);
        let accepting = TlsAcceptor::from(self.live.config()).accept(stream);
        let accepted = match select(std::pin::pin!(accepting), ended).await {
            Either::Left((accepted, _)) => accepted,
            Either::Right(_) => Err(io::ErrorKind::TimedOut.into()),
        };
        drop(knock);
        match accepted {
            Ok(stream) => {
                http::serve(context, place, Stream::Tls(Box::new(stream.into())), (addr, Listener::Main))
                    .await;
            }
            Err(error) => tracing::debug!(target: "gateway.tls", peer = %addr, %error, "no TLS came about"),
        }
    }
}

/// The handshakes of each address.
#[derive(Clone, Debug, Default)]
struct Knocking(Arc<Mutex<BTreeMap<IpAddr, u64>>>);

impl Knocking {
    /// One more; none when the address has too many already.
    fn enter(&self, addr: IpAddr) -> Option<Knock> {
        let mut open = self.lock();
        let count = open.entry(addr).or_default();
        if *count >= limits::TLS_HANDSHAKES_PER_IP {
            return None;
        }
        *count += 1;
        Some(Knock { all: self.clone(), addr })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<IpAddr, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A handshake under way; over when dropped.
struct Knock {
    all: Knocking,
    addr: IpAddr,
}

impl Drop for Knock {
    fn drop(&mut self) {
        let mut open = self.all.lock();
        if let Some(count) = open.get_mut(&self.addr) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.addr);
            }
        }
    }
}

/// Exchanges the certificate when its files change, until the gateway goes down.
pub(super) async fn watch<R: Runtime>(context: Context<R>, live: Arc<Live>) {
    loop {
        let closing = context.closing.clone();
        let pause = context.runtime.sleep_until(Instant::now() + LOOK);
        if let Either::Left(_) = select(std::pin::pin!(closing.recv()), std::pin::pin!(pause)).await {
            return;
        }
        let looked = Arc::clone(&live);
        match context.runtime.unblock(move || looked.look()).await {
            Ok(None) => {}
            Ok(Some(Ok(leaf))) => {
                tracing::info!(target: "gateway.tls", "new connections get the certificate {}", leaf.certificate);
            }
            Ok(Some(Err(error))) => {
                tracing::warn!(target: "gateway.tls", "the certificate in use stays: {error}");
            }
            Err(error) => {
                tracing::warn!(target: "gateway.tls", "the files of the certificate cannot be looked at: {error}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn one_address_does_not_take_every_place() {
        let (knocking, addr) = (Knocking::default(), IpAddr::from([192, 0, 2, 1]));
        let mut open: Vec<Knock> =
            (0..limits::TLS_HANDSHAKES_PER_IP).map(|_| knocking.enter(addr).unwrap()).collect();
        assert!(knocking.enter(addr).is_none());
        assert!(knocking.enter(IpAddr::from([192, 0, 2, 2])).is_some(), "others still come in");
        open.pop();
        assert!(knocking.enter(addr).is_some(), "a place is free again");
        drop(open);
        assert!(knocking.lock().is_empty(), "nothing is kept of who has left");
    }
}
