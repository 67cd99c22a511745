//! Tasks of connections on a runtime that is none: nothing here listens or waits.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::VecDeque;
use std::future::{Ready, pending, ready};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context as Poller, Poll, Waker};
use std::time::{Duration, Instant};

use async_channel::Receiver;
use futures_util::FutureExt as _;
use futures_util::io::{AsyncRead, AsyncWrite, Cursor};
use telson_core::ConnId;
use telson_core::switchboard::Input;

use super::frames::{Frames, Received};
use super::link::{Admitted, Context, Event};
use crate::net::patience::Patient;
use crate::runtime::{BoxFuture, Process, Program, Runtime, Signal};

/// Runs each task at once, as far as it goes, and keeps the rest; its timers are always over.
#[derive(Clone, Default)]
pub(super) struct Nowhere(Arc<Mutex<Vec<BoxFuture<'static, ()>>>>);

impl Nowhere {
    /// Goes on with the tasks that were kept.
    fn resume(&self) {
        let kept = std::mem::take(&mut *self.0.lock().unwrap());
        for task in kept {
            self.spawn(task);
        }
    }
}

impl Runtime for Nowhere {
    type Stream = Cursor<Vec<u8>>;
    type Listener = ();
    type Sleep = Ready<()>;
    type Signals = futures_util::stream::Pending<Signal>;

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut task: BoxFuture<'static, ()> = Box::pin(task);
        if task.as_mut().poll(&mut Poller::from_waker(Waker::noop())).is_pending() {
            self.0.lock().unwrap().push(task);
        }
    }

    fn sleep_until(&self, _: Instant) -> Self::Sleep {
        ready(())
    }

    fn listener(&self, _: std::net::TcpListener) -> io::Result<()> {
        Ok(())
    }

    async fn accept(&self, (): &()) -> io::Result<(Self::Stream, SocketAddr)> {
        pending().await
    }

    async fn connect(&self, _: SocketAddr) -> io::Result<Self::Stream> {
        pending().await
    }

    async fn unblock<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
        Ok(work())
    }

    fn signals(&self) -> io::Result<Self::Signals> {
        Ok(futures_util::stream::pending())
    }

    fn launch(&self, _: Program) -> io::Result<Process> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

fn closed(events: &Receiver<Event>) -> Vec<ConnId> {
    let mut conns = Vec::new();
    while let Ok(event) = events.try_recv() {
        if let Event::Socket(Input::Closed { conn }) = event {
            conns.push(conn);
        }
    }
    conns
}

#[test]
fn a_task_that_panics_takes_only_its_connection_with_it() {
    let (context, events, _guard) = Context::new(Nowhere::default(), 1_000);
    let admitted = Admitted::new(ConnId(7), context.clone());
    context.spawn(async move {
        let _held = admitted;
        panic!("a test's panic");
    });
    assert_eq!(closed(&events), [ConnId(7)]);
}

#[test]
fn a_connection_is_gone_once_whichever_way_it_went() {
    let (context, events, _guard) = Context::new(Nowhere::default(), 1_000);
    drop(Admitted::new(ConnId(1), context.clone()));
    Admitted::new(ConnId(2), context.clone()).closed().now_or_never().unwrap();
    Admitted::new(ConnId(3), context.clone()).forget();
    assert_eq!(closed(&events), [ConnId(1), ConnId(2)]);
    // Given up while the engine had no room.
    while context.events.try_send(Event::Socket(Input::Pong { conn: ConnId(9) })).is_ok() {}
    assert!(Admitted::new(ConnId(4), context.clone()).closed().now_or_never().is_none());
    assert_eq!(closed(&events), []);
    context.runtime.resume();
    assert_eq!(closed(&events), [ConnId(4)]);
}

/// A stream that takes nothing.
struct Stuck;

impl AsyncRead for Stuck {
    fn poll_read(self: Pin<&mut Self>, _: &mut Poller<'_>, _: &mut [u8]) -> Poll<io::Result<usize>> {
        Poll::Pending
    }
}

impl AsyncWrite for Stuck {
    fn poll_write(self: Pin<&mut Self>, _: &mut Poller<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Pending
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Poller<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Poller<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

#[test]
fn an_answer_that_is_never_read_ends_the_connection() {
    let mut stream = Patient::new(Nowhere::default(), Stuck, Duration::from_secs(60));
    let mut cx = Poller::from_waker(Waker::noop());
    let Poll::Ready(Err(error)) = Pin::new(&mut stream).poll_write(&mut cx, b"tide") else {
        panic!("still waiting")
    };
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
}

/// Feeds bytes in small pieces and answers nothing.
struct Feed(VecDeque<u8>);

impl AsyncRead for Feed {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Poller<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let count = self.0.len().min(buf.len()).min(3);
        for (byte, next) in buf.iter_mut().zip(self.0.drain(..count)) {
            *byte = next;
        }
        Poll::Ready(Ok(count))
    }
}

impl AsyncWrite for Feed {
    fn poll_write(self: Pin<&mut Self>, _: &mut Poller<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Poller<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Poller<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A xorshift generator: the same bytes in each run.
fn noise(state: &mut u64) -> u8 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    (*state >> 32).to_le_bytes()[0]
}

#[test]
fn whatever_comes_in_reading_ends() {
    let mut state = 41;
    for round in 0..20_000 {
        let mut bytes: VecDeque<u8> = (0..round % 64).map(|_| noise(&mut state)).collect();
        // Mostly heads that look right at first sight.
        if let [first, second, ..] = bytes.make_contiguous() {
            *first = [0x81, 0x82, 0x88, 0x89, 0x8a, 0x01, 0x80, *first][usize::from(*first) % 8];
            *second |= 0x80;
        }
        let mut frames = Frames::new(Feed(bytes), &[]);
        let mut cx = Poller::from_waker(Waker::noop());
        let mut read = 0;
        loop {
            match frames.poll_receive(&mut cx) {
                Poll::Ready(Received::End | Received::Close | Received::Unreadable { .. }) => break,
                Poll::Ready(_) => read += 1,
                Poll::Pending => panic!("nothing can be pending"),
            }
            assert!(read <= 64, "more messages than bytes");
        }
    }
}
