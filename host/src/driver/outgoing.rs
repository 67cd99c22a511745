//! Frames on their way out: many small ones in one write, large ones without a copy.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use async_tungstenite::tungstenite::protocol::frame::FrameHeader;
use async_tungstenite::tungstenite::protocol::frame::coding::{Control, Data, OpCode};
use futures_util::io::AsyncWrite;
use telson_proto::error::close_reason;

use super::link::Command;

/// A message above this size is written from where it lies.
const SMALL: usize = 16 * 1024;

/// Small messages are gathered until the buffer has this size.
const GATHER: usize = 32 * 1024;

/// What is being written. Between two calls of [`Self::fill`] it holds whole frames.
#[derive(Default)]
pub(super) struct Outgoing {
    /// Frame heads and small messages.
    buffer: Vec<u8>,
    /// Bytes of the buffer that have left.
    sent: usize,
    /// Bytes of messages, heads not counted, in the buffer.
    text: usize,
    /// A large message, whose head ends the buffer.
    large: Option<String>,
    /// Bytes of the large message that have left.
    large_sent: usize,
    /// A close frame was taken: nothing follows it.
    closing: bool,
}

impl Outgoing {
    /// Whether nothing is under way, so that a frame of another origin may be written.
    pub(super) fn is_empty(&self) -> bool {
        self.buffer.is_empty() && self.large.is_none()
    }

    /// Whether a close frame has left.
    pub(super) fn is_closed(&self) -> bool {
        self.closing && self.is_empty()
    }

    /// Takes commands into an empty buffer.
    pub(super) fn fill(&mut self, queue: &mut VecDeque<Command>) {
        while !self.closing && self.large.is_none() && self.buffer.len() < GATHER {
            match queue.pop_front() {
                Some(Command::Send(text)) => self.take(text),
                Some(Command::Ping) => self.head(OpCode::Control(Control::Ping), 0),
                Some(Command::Close(code, reason)) => {
                    let reason = close_reason(&reason);
                    self.head(OpCode::Control(Control::Close), 2 + reason.len());
                    self.buffer.extend_from_slice(&code.number().to_be_bytes());
                    self.buffer.extend_from_slice(reason.as_bytes());
                    self.closing = true;
                }
                Some(Command::Authenticated) => {}
                None => break,
            }
        }
        if queue.is_empty() && queue.capacity() > 16 {
            queue.shrink_to(0);
        }
    }

    fn take(&mut self, text: String) {
        self.head(OpCode::Data(Data::Text), text.len());
        if text.len() > SMALL {
            self.large = Some(text);
        } else {
            self.buffer.extend_from_slice(text.as_bytes());
            self.text += text.len();
        }
    }

    fn head(&mut self, opcode: OpCode, length: usize) {
        let header = FrameHeader { is_final: true, opcode, ..FrameHeader::default() };
        // A header cannot fail to be written into memory.
        let written = header.format(length as u64, &mut self.buffer);
        debug_assert!(written.is_ok());
    }

    /// Writes until everything has left or the socket takes no more. `flushed` grows by the bytes of messages
    /// that have left.
    pub(super) fn poll_write<S: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        io: &mut S,
        flushed: &mut usize,
    ) -> Poll<io::Result<()>> {
        while let Some(rest) = self.buffer.get(self.sent..).filter(|rest| !rest.is_empty()) {
            self.sent += written(ready!(Pin::new(&mut *io).poll_write(cx, rest)))?;
        }
        *flushed += std::mem::take(&mut self.text);
        if let Some(large) = &self.large {
            while let Some(rest) = large.as_bytes().get(self.large_sent..).filter(|rest| !rest.is_empty()) {
                let count = written(ready!(Pin::new(&mut *io).poll_write(cx, rest)))?;
                self.large_sent += count;
                *flushed += count;
            }
        }
        ready!(Pin::new(io).poll_flush(cx))?;
        let closing = self.closing;
        *self = Self { closing, ..Self::default() };
        Poll::Ready(Ok(()))
    }
}

/// A socket that takes nothing is gone.
fn written(result: io::Result<usize>) -> io::Result<usize> {
    match result {
        Ok(0) => Err(io::ErrorKind::WriteZero.into()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::task::Waker;

    use telson_proto::CloseCode;

    use super::*;

    /// A socket that takes `room` bytes, at most `step` at a time.
    struct Narrow {
        taken: Vec<u8>,
        room: usize,
        step: usize,
    }

    impl AsyncWrite for Narrow {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            let count = buf.len().min(self.room).min(self.step);
            if count == 0 {
                return Poll::Pending;
            }
            self.room -= count;
            self.taken.extend_from_slice(&buf[..count]);
            Poll::Ready(Ok(count))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn drain(outgoing: &mut Outgoing, queue: &mut VecDeque<Command>, io: &mut Narrow) -> usize {
        let mut cx = Context::from_waker(Waker::noop());
        let mut flushed = 0;
        for _ in 0..1_000 {
            if outgoing.is_empty() {
                outgoing.fill(queue);
            }
            if outgoing.poll_write(&mut cx, io, &mut flushed).is_pending() {
                io.room = 9;
            } else if queue.is_empty() {
                return flushed;
            }
        }
        flushed
    }

    #[test]
    fn every_byte_leaves_once_however_little_the_socket_takes() {
        let large = "x".repeat(SMALL + 1);
        for step in [1, 7, 100_000] {
            let mut queue = VecDeque::from([Command::Send("tide".to_owned()), Command::Ping]);
            let mut io = Narrow { taken: Vec::new(), room: 100_000, step };
            let mut outgoing = Outgoing::default();
            drain(&mut outgoing, &mut queue, &mut io);
            queue.push_back(Command::Send(large.clone()));
            queue.push_back(Command::Send("moon".to_owned()));
            let flushed = drain(&mut outgoing, &mut queue, &mut io);
            let mut expected = b"\x81\x04tide\x89\x00\x81\x7e\x40\x01".to_vec();
            expected.extend_from_slice(large.as_bytes());
            expected.extend_from_slice(b"\x81\x04moon");
            assert_eq!(io.taken, expected);
            assert_eq!(flushed, large.len() + 4);
        }
    }

    #[test]
    fn small_frames_leave_in_one_write() {
        let mut queue: VecDeque<_> = (0..50).map(|n| Command::Send(n.to_string())).collect();
        let mut outgoing = Outgoing::default();
        outgoing.fill(&mut queue);
        assert!(queue.is_empty());
        let mut io = Narrow { taken: Vec::new(), room: 10_000, step: 10_000 };
        let mut cx = Context::from_waker(Waker::noop());
        let mut flushed = 0;
        assert!(outgoing.poll_write(&mut cx, &mut io, &mut flushed).is_ready());
        assert_eq!((flushed, outgoing.is_empty(), outgoing.buffer.capacity()), (90, true, 0));
    }

    #[test]
    fn nothing_follows_a_close_frame() {
        let mut queue = VecDeque::from([
            Command::Close(CloseCode::Policy, "slow consumer".to_owned()),
            Command::Send("too late".to_owned()),
        ]);
        let mut outgoing = Outgoing::default();
        let mut io = Narrow { taken: Vec::new(), room: 10_000, step: 10_000 };
        let mut cx = Context::from_waker(Waker::noop());
        outgoing.fill(&mut queue);
        assert!(!outgoing.is_closed(), "it has not left yet");
        assert!(outgoing.poll_write(&mut cx, &mut io, &mut 0).is_ready());
        outgoing.fill(&mut queue);
        assert_eq!(io.taken, b"\x88\x0f\x03\xf0slow consumer");
        assert!(outgoing.is_closed());
    }
}
