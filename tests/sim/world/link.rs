//! One connection through a network that delays, fills up and breaks.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use crate::clients::{Frame, Who};
use serde_json::Value;

/// A connection, from the upgrade request until the gateway has heard that it is gone.
pub(crate) struct Link {
    pub(crate) who: Who,
    /// On its way to the gateway.
    pub(crate) up: VecDeque<Up>,
    /// When the last of it arrives: nothing overtakes.
    up_clock: Duration,
    /// Handed over by the gateway and not yet away.
    out: VecDeque<Down>,
    /// Bytes of the first frame that are away.
    part: usize,
    /// Away, and on its way to the client.
    pub(crate) down: VecDeque<Down>,
    down_clock: Duration,
    /// Whether a moment to write is arranged.
    pub(crate) writing: bool,
    /// The client reads nothing.
    pub(crate) stalled: bool,
    /// Nothing passes any more, and nobody has been told.
    pub(crate) mute: bool,
    /// The socket is open: not before then can the client say anything.
    pub(crate) open: bool,
    /// The adapter admits messages above the limit for strangers.
    pub(crate) authenticated: bool,
    /// The gateway has asked for a close.
    pub(crate) closing: bool,
    /// The gateway has been told, or is about to be.
    pub(crate) broken: bool,
    /// Bytes of events that wait, and of everything.
    pub(crate) events_waiting: usize,
    pub(crate) waiting: usize,
}

/// From a client to the gateway.
#[derive(Debug)]
pub(crate) enum Up {
    Message(Message),
    Pong,
    Close,
}

/// What a client says.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) text: String,
    pub(crate) means: Means,
}

/// What a well-meaning gateway makes of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Means {
    /// The connect request.
    Connect,
    /// A request that gets an answer under this id.
    Request { id: String, method: String, params: Rc<Value> },
    /// Something that gets an error under this id.
    Mistake { id: String },
    /// Something that gets no answer.
    Noise,
}

/// From the gateway to a client.
#[derive(Clone, Debug)]
pub(crate) enum Down {
    Frame(Frame),
    Ping,
    Close { code: u16, reason: String },
}

impl Link {
    pub(crate) fn new(who: Who) -> Self {
        Self {
            who,
            up: VecDeque::new(),
            up_clock: Duration::ZERO,
            out: VecDeque::new(),
            part: 0,
            down: VecDeque::new(),
            down_clock: Duration::ZERO,
            writing: false,
            stalled: false,
            mute: false,
            open: false,
            authenticated: false,
            closing: false,
            broken: false,
            events_waiting: 0,
            waiting: 0,
        }
    }

    /// Sends something up. Says when it arrives.
    pub(crate) fn send_up(&mut self, now: Duration, delay: Duration, up: Up) -> Duration {
        self.up.push_back(up);
        self.up_clock = self.up_clock.max(now + delay);
        self.up_clock
    }

    /// Takes over what the gateway hands over.
    pub(crate) fn hand_over(&mut self, down: Down) {
        if let Down::Frame(frame) = &down {
            self.waiting += frame.text.len();
            if frame.is_event() {
                self.events_waiting += frame.text.len();
            }
        }
        self.out.push_back(down);
    }

    pub(crate) fn has_output(&self) -> bool {
        !self.out.is_empty()
    }

    /// How many bytes the first frame still has.
    pub(crate) fn first_size(&self) -> usize {
        match self.out.front() {
            Some(Down::Frame(frame)) => frame.text.len() - self.part,
            _ => 0,
        }
    }

    /// Writes up to `most` bytes; returns how many bytes of frames are away and what is complete.
    pub(crate) fn write(&mut self, most: usize) -> (usize, Vec<Down>) {
        let (mut room, mut complete) = (most, Vec::new());
        while let Some(first) = self.out.front() {
            if let Down::Frame(frame) = first {
                let rest = frame.text.len() - self.part;
                if rest > room {
                    self.part += room;
                    return (most, complete);
                }
                room -= rest;
                self.part = 0;
                self.waiting -= frame.text.len();
                if frame.is_event() {
                    self.events_waiting -= frame.text.len();
                }
            }
            complete.extend(self.out.pop_front());
        }
        (most - room, complete)
    }

    /// Bytes that the gateway must still count as waiting.
    pub(crate) fn unflushed(&self) -> usize {
        self.waiting - self.part
    }

    /// Sends something down. Says when it arrives.
    pub(crate) fn send_down(&mut self, now: Duration, delay: Duration, down: Down) -> Duration {
        self.down.push_back(down);
        self.down_clock = self.down_clock.max(now + delay);
        self.down_clock
    }
}
