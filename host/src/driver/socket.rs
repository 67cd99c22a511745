//! The task of one WebSocket connection.
//!
//! It moves messages to the engine and commands from it. A client that does not read does not keep the task
//! from reading, and an engine that takes no more events does not keep it from writing.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use async_channel::{Receiver, TrySendError};
use futures_util::StreamExt;
use futures_util::io::{AsyncRead, AsyncWrite};
use telson_core::messages::CLOSE_GRACE;
use telson_core::switchboard::Input;

use crate::runtime::{BoxFuture, Runtime};

use super::Pinned;
use super::frames::{Frames, Received};
use super::link::{Admitted, Command, Event};

/// Runs a socket that has just been upgraded until it is gone.
pub(super) async fn run<R: Runtime, S: AsyncRead + AsyncWrite + Unpin + Send>(
    admitted: Admitted<R>,
    frames: Frames<S>,
    commands: Receiver<Command>,
) {
    let opened = Event::Socket(Input::Opened { conn: admitted.conn() });
    if admitted.context().events.send(opened).await.is_err() {
        return;
    }
    let mut task = Task {
        admitted,
        frames,
        queue: VecDeque::new(),
        telling: None,
        flushed: 0,
        reading: Reading::Messages,
        ending: None,
    };
    let mut commands = std::pin::pin!(commands);
    std::future::poll_fn(|cx| task.poll(cx, commands.as_mut())).await;
    if let Some(telling) = task.telling.take() {
        telling.await;
    }
    task.admitted.closed().await;
}

/// What is done with bytes from the client.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// They are messages.
    Messages,
    /// They cannot be understood: after our close frame they are forgotten, until then not read.
    Forgetting,
    /// The client has said that it ends.
    Over,
}

/// How a step of the task went.
enum Step {
    /// There may be more to do at once.
    Again,
    /// Everything waits for something.
    Wait,
    /// The connection is over.
    End,
}

struct Task<R: Runtime, S> {
    admitted: Admitted<R>,
    frames: Frames<S>,
    /// What the engine wants and has not been written yet; the switchboard's account bounds it.
    queue: VecDeque<Command>,
    /// An event for which the engine has no room yet. While it waits, nothing is read.
    telling: Option<BoxFuture<'static, ()>>,
    /// Bytes that have left and that the engine has not been told of.
    flushed: usize,
    reading: Reading,
    /// Set once the end has begun: until when the client may take its time.
    ending: Option<Pinned<R::Sleep>>,
}

impl<R: Runtime, S: AsyncRead + AsyncWrite + Unpin> Task<R, S> {
    fn poll(&mut self, cx: &mut Context<'_>, mut commands: Pin<&mut Receiver<Command>>) -> Poll<()> {
        loop {
            match self.step(cx, commands.as_mut()) {
                Step::Again => {}
                Step::Wait => return Poll::Pending,
                Step::End => return Poll::Ready(()),
            }
        }
    }

    fn step(&mut self, cx: &mut Context<'_>, commands: Pin<&mut Receiver<Command>>) -> Step {
        if !self.take_commands(cx, commands) || self.grace_is_over(cx) {
            return Step::End;
        }
        match self.frames.poll_send(cx, &mut self.queue, &mut self.flushed) {
            Poll::Ready(Err(_)) => return Step::End,
            Poll::Ready(Ok(())) if self.reading == Reading::Over => return Step::End,
            Poll::Ready(Ok(())) | Poll::Pending => {}
        }
        if let Some(telling) = &mut self.telling {
            if telling.as_mut().poll(cx).is_pending() {
                return Step::Wait;
            }
            self.telling = None;
        }
        if self.flushed > 0 {
            let bytes = std::mem::take(&mut self.flushed);
            self.tell(Input::Flushed { conn: self.admitted.conn(), bytes });
            return Step::Again;
        }
        self.read(cx)
    }

    /// Takes what the engine has sent. False when the engine is gone without a word.
    fn take_commands(&mut self, cx: &mut Context<'_>, mut commands: Pin<&mut Receiver<Command>>) -> bool {
        while let Poll::Ready(command) = commands.poll_next_unpin(cx) {
            match command {
                Some(Command::Authenticated) => self.frames.trust(self.admitted.context().max_message),
                Some(command) => {
                    if matches!(command, Command::Close(..)) {
                        self.begin_to_end();
                    }
                    self.queue.push_back(command);
                }
                None => return self.ending.is_some(),
            }
        }
        true
    }

    fn read(&mut self, cx: &mut Context<'_>) -> Step {
        let conn = self.admitted.conn();
        match self.reading {
            Reading::Over => return Step::Wait,
            Reading::Forgetting if !self.frames.has_closed() => return Step::Wait,
            Reading::Forgetting => {
                return if self.frames.poll_discard(cx).is_ready() { Step::End } else { Step::Wait };
            }
            Reading::Messages => {}
        }
        let Poll::Ready(received) = self.frames.poll_receive(cx) else { return Step::Wait };
        match received {
            Received::Text(text) => self.tell(Input::Message { conn, text }),
            Received::Pong => self.tell(Input::Pong { conn }),
            Received::Nothing => {}
            Received::End => return Step::End,
            Received::Close if self.frames.has_closed() => return Step::End,
            Received::Close => {
                self.queue.clear();
                self.reading = Reading::Over;
                self.begin_to_end();
            }
            Received::Unreadable { too_large } => {
                self.reading = Reading::Forgetting;
                self.tell(Input::Unreadable { conn, too_large });
            }
        }
        Step::Again
    }

    /// Tells the engine, or keeps the event until it has room.
    fn tell(&mut self, input: Input) {
        let events = &self.admitted.context().events;
        if let Err(TrySendError::Full(event)) = events.try_send(Event::Socket(input)) {
            let events = events.clone();
            self.telling = Some(Box::pin(async move {
                let _ = events.send(event).await;
            }));
        }
    }

    fn begin_to_end(&mut self) {
        if self.ending.is_none() {
            let timer = self.admitted.context().runtime.sleep_until(Instant::now() + CLOSE_GRACE);
            self.ending = Some(Box::pin(timer));
        }
    }

    fn grace_is_over(&mut self, cx: &mut Context<'_>) -> bool {
        self.ending.as_mut().is_some_and(|timer| timer.as_mut().poll(cx).is_ready())
    }
}
