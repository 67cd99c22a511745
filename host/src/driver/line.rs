//! The socket under an HTTP connection, watched for a client that goes away.
//!
//! hyper does not look at the socket while a request waits for its answer. Whoever waits looks instead: what
//! comes in meanwhile is kept for hyper. A client that has closed only its writing side still gets its answer;
//! one that has closed everything looks the same until something is written to it. So it is sent the interim
//! answer 100, which every client of HTTP/1.1 passes over (RFC 9110 §15.2), and a client that is gone refuses it.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use futures_util::future::select;
use futures_util::io::{AsyncRead, AsyncWrite};

use crate::net::patience::Patient;
use crate::net::tls::Stream;
use crate::runtime::Runtime;

use super::Pinned;

/// How much is read ahead of hyper while a request waits. A client that sends more is not watched.
const AHEAD: usize = 16 * 1024;

/// How long a client that sends nothing more may wait before it is asked whether it is there.
const HALF_CLOSED: Duration = Duration::from_millis(500);

/// How often is looked whether it has refused; doubled each time up to the longest.
const FIRST_LOOK: Duration = Duration::from_millis(50);
const LONGEST_LOOK: Duration = Duration::from_secs(1);

/// How much of what a refused client goes on to send is read after the answer, and how long it may read the answer.
const LINGER_BYTES: usize = 1024 * 1024;
const LINGER_TIME: Duration = Duration::from_secs(1);

const STILL_THERE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// A socket that hyper and the request that waits share. Both run in one task: nobody waits for the lock.
pub(super) struct Line<R: Runtime>(Arc<Mutex<Wire<R>>>);

struct Wire<R: Runtime> {
    /// `None` once the socket speaks another protocol.
    stream: Option<Patient<R, Stream<R::Stream>>>,
    /// Read ahead of hyper.
    ahead: BytesMut,
    /// The client sends nothing more.
    ended: bool,
    /// Everything that hyper wanted to write has been handed over.
    clean: bool,
}

impl<R: Runtime> Clone for Line<R> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<R: Runtime> Line<R> {
    pub(super) fn new(stream: Patient<R, Stream<R::Stream>>) -> Self {
        let wire = Wire { stream: Some(stream), ahead: BytesMut::new(), ended: false, clean: true };
        Self(Arc::new(Mutex::new(wire)))
    }

    /// Takes the socket for another protocol, with what was read ahead.
    pub(super) fn take(&self) -> Option<(Stream<R::Stream>, BytesMut)> {
        let mut wire = self.lock();
        let stream = wire.stream.take()?.into_inner();
        Some((stream, std::mem::take(&mut wire.ahead)))
    }

    /// Gives a client that is still sending the time to read its answer.
    pub(super) async fn linger(&self, runtime: &R) {
        let mut left = LINGER_BYTES;
        let mut buf = [0; 4096];
        let read = std::future::poll_fn(|cx| {
            while left > 0 {
                match self.lock().poll_stream(cx, &mut buf) {
                    Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(()),
                    Poll::Ready(Ok(count)) => left = left.saturating_sub(count),
                    Poll::Pending => break,
                }
            }
            Poll::Pending
        });
        let late = runtime.sleep_until(Instant::now() + LINGER_TIME);
        let _ = select(read, std::pin::pin!(late)).await;
    }

    fn lock(&self) -> MutexGuard<'_, Wire<R>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a look at a client shows.
enum Sight {
    There,
    /// It sends nothing more.
    Ended,
    Gone,
}

impl<R: Runtime> Wire<R> {
    fn poll_stream(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let Some(stream) = &mut self.stream else { return Poll::Ready(Ok(0)) };
        if self.ended {
            return Poll::Ready(Ok(0));
        }
        let outcome = Pin::new(stream).poll_read(cx, buf);
        self.ended = matches!(outcome, Poll::Ready(Ok(0))) && !buf.is_empty();
        outcome
    }

    /// Reads ahead, to see whether the client is there.
    fn look(&mut self, cx: &mut Context<'_>) -> Sight {
        let mut buf = [0; 2048];
        while !self.ended && self.ahead.len() < AHEAD {
            match self.poll_stream(cx, &mut buf) {
                Poll::Ready(Ok(count)) => self.ahead.extend_from_slice(buf.get(..count).unwrap_or_default()),
                Poll::Ready(Err(_)) => return Sight::Gone,
                Poll::Pending => return Sight::There,
            }
        }
        if self.ended { Sight::Ended } else { Sight::There }
    }

    /// Whether the client still takes something. Writing nothing shows what the client has answered to what was
    /// written before.
    fn takes(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> bool {
        let Some(stream) = &mut self.stream else { return true };
        match Pin::new(stream).poll_write(cx, bytes) {
            Poll::Ready(Ok(count)) => count == bytes.len(),
            Poll::Ready(Err(_)) => false,
            Poll::Pending => true,
        }
    }
}

impl<R: Runtime> AsyncRead for Line<R> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut wire = self.lock();
        if wire.ahead.is_empty() {
            return wire.poll_stream(cx, buf);
        }
        let count = wire.ahead.len().min(buf.len());
        if let Some(buf) = buf.get_mut(..count) {
            wire.ahead.copy_to_slice(buf);
        }
        if wire.ahead.is_empty() {
            wire.ahead = BytesMut::new();
        }
        Poll::Ready(Ok(count))
    }
}

impl<R: Runtime> AsyncWrite for Line<R> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let mut wire = self.lock();
        wire.clean = false;
        let Some(stream) = &mut wire.stream else {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        };
        Pin::new(stream).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut wire = self.lock();
        let Some(stream) = &mut wire.stream else { return Poll::Ready(Ok(())) };
        let outcome = Pin::new(stream).poll_flush(cx);
        wire.clean |= matches!(outcome, Poll::Ready(Ok(())));
        outcome
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut wire = self.lock();
        let Some(stream) = &mut wire.stream else { return Poll::Ready(Ok(())) };
        Pin::new(stream).poll_close(cx)
    }
}

/// Ends when the client is gone.
pub(super) struct Watch<R: Runtime> {
    line: Line<R>,
    runtime: R,
    /// The client may be asked: it speaks HTTP/1.1, and no answer has begun.
    may_ask: bool,
    /// How long until the next look at a client that sends nothing more.
    pause: Duration,
    timer: Option<Pinned<R::Sleep>>,
}

impl<R: Runtime> Watch<R> {
    pub(super) fn new(line: Line<R>, runtime: R, may_ask: bool) -> Self {
        Self { line, runtime, may_ask, pause: HALF_CLOSED, timer: None }
    }

    /// An answer begins: nothing may come between its pieces.
    pub(super) fn answering(&mut self) {
        self.may_ask = false;
    }

    /// Ready when it is time for the next look.
    fn poll_pause(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let (pause, runtime) = (self.pause, &self.runtime);
        let timer = self.timer.get_or_insert_with(|| Box::pin(runtime.sleep_until(Instant::now() + pause)));
        std::task::ready!(timer.as_mut().poll(cx));
        self.timer = None;
        self.pause = if pause == HALF_CLOSED { FIRST_LOOK } else { (pause * 2).min(LONGEST_LOOK) };
        Poll::Ready(())
    }
}

impl<R: Runtime> Unpin for Watch<R> {}

impl<R: Runtime> Future for Watch<R> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        loop {
            match this.line.lock().look(cx) {
                Sight::There => return Poll::Pending,
                Sight::Ended => {}
                Sight::Gone => return Poll::Ready(()),
            }
            std::task::ready!(this.poll_pause(cx));
            let mut wire = this.line.lock();
            let ask = wire.clean && std::mem::take(&mut this.may_ask);
            if !wire.takes(cx, if ask { STILL_THERE } else { &[] }) {
                return Poll::Ready(());
            }
        }
    }
}
