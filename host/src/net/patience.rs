//! A stream whose other end must not leave what it is sent unread for ever.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::io::{AsyncRead, AsyncWrite};

use crate::runtime::Runtime;

/// Fails a write that makes no progress for some time.
pub(crate) struct Patient<R: Runtime, S> {
    runtime: R,
    stream: S,
    patience: Duration,
    /// Runs while a write waits.
    timer: Option<Pin<Box<R::Sleep>>>,
}

impl<R: Runtime, S> Patient<R, S> {
    pub(crate) fn new(runtime: R, stream: S, patience: Duration) -> Self {
        Self { runtime, stream, patience, timer: None }
    }

    pub(crate) fn into_inner(self) -> S {
        self.stream
    }

    fn watch<T>(&mut self, cx: &mut Context<'_>, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.timer = None;
            return outcome;
        }
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(self.runtime.sleep_until(Instant::now() + self.patience)));
        match timer.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<R: Runtime, S: Unpin> Unpin for Patient<R, S> {}

impl<R: Runtime, S: AsyncRead + Unpin> AsyncRead for Patient<R, S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, buf)
    }
}

impl<R: Runtime, S: AsyncWrite + Unpin> AsyncWrite for Patient<R, S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.stream).poll_write(cx, buf);
        this.watch(cx, outcome)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.stream).poll_flush(cx);
        this.watch(cx, outcome)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.stream).poll_close(cx);
        this.watch(cx, outcome)
    }
}
