//! A WebSocket on a stream: messages in, commands out.
//!
//! Reading, control frames and the limits on them are tungstenite's; its context is driven directly, since the
//! limits of a connection are raised when its client has proved who it is, and since what is written here must
//! not stay in buffers that never shrink.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use async_tungstenite::tungstenite::error::ProtocolError;
use async_tungstenite::tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};
use async_tungstenite::tungstenite::{Error, Message};
use futures_util::io::{AsyncRead, AsyncWrite};
use telson_core::limits;

use super::link::Command;
use super::outgoing::Outgoing;

/// How much is read at once, and what an idle connection's buffer takes.
const READ: usize = 4 * 1024;

/// How much the answers to pings may take while the client does not read.
const REPLIES: usize = 4 * 1024;

/// What a stranger may send before hello, heads of frames included: each frame the machines would take, and
/// some more.
const STRANGERS_BUDGET: usize = 1_024 * 1_024 + 64 * 1_024;

/// How many pings and pongs a stranger may send before hello. Nobody needs any.
const STRANGERS_PINGS: u8 = 16;

/// By how much a message may exceed what the machines want before it is not even read: they name the limit
/// and the size better.
const SLACK: usize = 64 * 1_024;

/// What came from the client.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Received {
    /// A message.
    Text(String),
    /// A pong.
    Pong,
    /// Something that is answered already.
    Nothing,
    /// The client's close frame.
    Close,
    /// The end of the stream.
    End,
    /// Something that is no message. Nothing that follows can be read.
    Unreadable {
        /// Whether it was too large.
        too_large: bool,
    },
}

/// A WebSocket on a stream.
pub(super) struct Frames<S> {
    io: S,
    context: WebSocketContext,
    /// How much a stranger may still send.
    budget: Option<usize>,
    /// How many pings and pongs a stranger has sent.
    pings: u8,
    outgoing: Outgoing,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Frames<S> {
    /// A socket after its upgrade; `ahead` was read together with the request.
    pub(super) fn new(io: S, ahead: &[u8]) -> Self {
        let most = usize::try_from(limits::PREAUTH_PAYLOAD).unwrap_or(usize::MAX);
        let config = WebSocketConfig::default()
            .read_buffer_size(READ)
            .write_buffer_size(0)
            .max_write_buffer_size(REPLIES)
            .max_message_size(Some(most))
            .max_frame_size(Some(most));
        let context = WebSocketContext::from_partially_read(ahead.to_vec(), Role::Server, Some(config));
        let budget = Some(STRANGERS_BUDGET.saturating_sub(ahead.len()));
        Self { io, context, budget, pings: 0, outgoing: Outgoing::default() }
    }

    /// The client has proved who it is: messages may have this size from now on.
    pub(super) fn trust(&mut self, max_message: usize) {
        self.budget = None;
        let most = Some(max_message.saturating_add(SLACK));
        self.context.set_config(|config| {
            config.max_message_size = most;
            config.max_frame_size = most;
        });
    }

    /// Whether the close frame has left.
    pub(super) fn has_closed(&self) -> bool {
        self.outgoing.is_closed()
    }

    /// The next thing that the client says.
    pub(super) fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Received> {
        let mut wire = Wire {
            io: &mut self.io,
            cx,
            budget: &mut self.budget,
            busy: !self.outgoing.is_empty() || self.outgoing.is_closed(),
        };
        Poll::Ready(match self.context.read(&mut wire) {
            Ok(Message::Text(text)) => Received::Text(text.as_str().to_owned()),
            Ok(Message::Binary(bytes)) => match std::str::from_utf8(&bytes) {
                Ok(text) => Received::Text(text.to_owned()),
                Err(_) => Received::Unreadable { too_large: false },
            },
            Ok(Message::Ping(_) | Message::Pong(_)) if self.is_one_too_many() => {
                Received::Unreadable { too_large: false }
            }
            Ok(Message::Pong(_)) => Received::Pong,
            Ok(Message::Ping(_) | Message::Frame(_)) => Received::Nothing,
            Ok(Message::Close(_)) => Received::Close,
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
            Err(error) => failure(&error),
        })
    }

    /// Counts a ping or a pong. Whether a stranger has sent more than anybody needs.
    fn is_one_too_many(&mut self) -> bool {
        self.pings = self.pings.saturating_add(1);
        self.budget.is_some() && self.pings > STRANGERS_PINGS
    }

    /// Sends what is queued. `flushed` grows by the bytes of messages that have left.
    ///
    /// # Errors
    /// The stream is gone, or both sides have said that it ends.
    pub(super) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        queue: &mut VecDeque<Command>,
        flushed: &mut usize,
    ) -> Poll<io::Result<()>> {
        loop {
            if self.outgoing.is_empty() {
                if !self.outgoing.is_closed() {
                    ready!(self.poll_reply(cx))?;
                }
                self.outgoing.fill(queue);
                if self.outgoing.is_empty() {
                    return Poll::Ready(Ok(()));
                }
            }
            ready!(self.outgoing.poll_write(cx, &mut self.io, flushed))?;
        }
    }

    /// Sends the answers to pings and to the client's close frame; only between two frames of ours.
    fn poll_reply(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut wire = Wire { io: &mut self.io, cx, budget: &mut self.budget, busy: false };
        match self.context.flush(&mut wire) {
            Ok(()) => Poll::Ready(Ok(())),
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
            Err(Error::Io(error)) => Poll::Ready(Err(error)),
            Err(error) => Poll::Ready(Err(io::Error::other(error))),
        }
    }

    /// Reads and forgets what the client still sends: a socket closed over unread bytes is reset, and the close
    /// frame may be lost with it. Ready when the client has closed its side.
    pub(super) fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut buf = [0; READ];
        for _ in 0..16 {
            match ready!(Pin::new(&mut self.io).poll_read(cx, &mut buf)) {
                Ok(0) | Err(_) => return Poll::Ready(()),
                Ok(_) => {}
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

fn failure(error: &Error) -> Received {
    match error {
        Error::Capacity(_) => Received::Unreadable { too_large: true },
        Error::Io(error) if error.kind() == io::ErrorKind::QuotaExceeded => {
            Received::Unreadable { too_large: true }
        }
        Error::Io(_)
        | Error::ConnectionClosed
        | Error::AlreadyClosed
        | Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => Received::End,
        _ => Received::Unreadable { too_large: false },
    }
}

/// A stream as tungstenite wants it: what is pending would block.
struct Wire<'a, 'c, S> {
    io: &'a mut S,
    cx: &'a mut Context<'c>,
    budget: &'a mut Option<usize>,
    /// A frame of ours is half written, or our close frame is: nothing may be written now.
    busy: bool,
}

impl<S: AsyncRead + Unpin> io::Read for Wire<'_, '_, S> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let most = self.budget.unwrap_or(usize::MAX).min(buf.len());
        if most == 0 && !buf.is_empty() {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        let buf = buf.get_mut(..most).unwrap_or_default();
        match Pin::new(&mut *self.io).poll_read(self.cx, buf) {
            Poll::Ready(Ok(count)) => {
                if let Some(budget) = self.budget {
                    *budget = budget.saturating_sub(count);
                }
                Ok(count)
            }
            Poll::Ready(Err(error)) => Err(error),
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

impl<S: AsyncWrite + Unpin> io::Write for Wire<'_, '_, S> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if self.busy {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        match Pin::new(&mut *self.io).poll_write(self.cx, buf) {
            Poll::Ready(result) => result,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match Pin::new(&mut *self.io).poll_flush(self.cx) {
            Poll::Ready(result) => result,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}
