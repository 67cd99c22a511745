//! Virtual clients: what they are, what they say and what they have heard.

mod frames;
mod profile;

use std::collections::BTreeMap;
use std::rc::Rc;

use serde_json::Value;
use telson_core::ConnId;

pub(crate) use frames::{Frame, Reader, request};
pub(crate) use profile::{BACK_OFF, Credential, Profile, Tongue, far};

/// The handle by which a story calls a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Who(pub(crate) usize);

/// One virtual client.
pub(crate) struct Client {
    pub(crate) profile: Profile,
    pub(crate) state: State,
    pub(crate) conn: Option<ConnId>,
    /// What the last hello said.
    pub(crate) hello: Option<Rc<Value>>,
    /// The token that a hello brought for this device.
    pub(crate) device_token: Option<String>,
    pub(crate) asked: BTreeMap<String, Asked>,
    pub(crate) heard: Vec<Heard>,
    pub(crate) ends: Vec<End>,
    serial: u64,
}

/// How far a client has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Away,
    Opening,
    Connecting,
    Live,
}

/// A request and what came back.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) conn: ConnId,
    pub(crate) answers: Vec<Answer>,
    /// The connection died before every answer came.
    pub(crate) lost: bool,
}

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) ok: bool,
    pub(crate) payload: Value,
    pub(crate) error: Value,
}

impl Answer {
    /// The error's message, or nothing.
    pub(crate) fn message(&self) -> &str {
        self.error["message"].as_str().unwrap_or_default()
    }

    pub(crate) fn code(&self) -> &str {
        self.error["code"].as_str().unwrap_or_default()
    }
}

/// An event that a client has heard.
#[derive(Clone, Debug)]
pub(crate) struct Heard {
    pub(crate) event: String,
    pub(crate) payload: Rc<Value>,
    pub(crate) seq: Option<u64>,
}

/// How a connection ended, as the client saw it; code 1006 when it just broke.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) code: u16,
    pub(crate) reason: String,
}

impl Client {
    pub(crate) fn new(profile: Profile) -> Self {
        Self {
            profile,
            state: State::Away,
            conn: None,
            hello: None,
            device_token: None,
            asked: BTreeMap::new(),
            heard: Vec::new(),
            ends: Vec::new(),
            serial: 0,
        }
    }

    /// An id never used before by this client.
    pub(crate) fn next_id(&mut self) -> String {
        self.serial += 1;
        format!("{}-{}", self.profile.name, self.serial)
    }

    /// Takes a frame in. Says what to send, if anything.
    pub(crate) fn receive(&mut self, frame: &Frame) -> Option<String> {
        if frame.is_event() {
            if frame.event() == "connect.challenge" {
                return self.greet(&frame.payload);
            }
            if self.profile.manners.listens {
                let (event, payload) = (frame.event().to_owned(), Rc::clone(&frame.payload));
                self.heard.push(Heard { event, payload, seq: frame.seq() });
            }
            return None;
        }
        let answer =
            Answer { ok: frame.ok(), payload: (*frame.payload).clone(), error: frame.value["error"].clone() };
        if self.state == State::Connecting && frame.id() == self.profile.connect_id() {
            if answer.ok {
                self.state = State::Live;
                self.hello = Some(Rc::clone(&frame.payload));
                let token = answer.payload["auth"]["deviceToken"].as_str().map(str::to_owned);
                self.device_token = token.or(self.device_token.take());
            }
            return None;
        }
        if let Some(asked) = self.asked.get_mut(frame.id()) {
            asked.answers.push(answer);
        }
        None
    }

    /// Answers the challenge, unless it is not this client's habit.
    fn greet(&mut self, challenge: &Value) -> Option<String> {
        if self.profile.manners.silent || self.state != State::Opening {
            return None;
        }
        self.state = State::Connecting;
        Some(self.profile.connect(challenge, self.device_token.as_deref()))
    }

    /// The connection is gone.
    pub(crate) fn lost(&mut self, end: End) {
        let Some(conn) = self.conn.take() else { return };
        self.state = State::Away;
        self.ends.push(end);
        for asked in self.asked.values_mut().filter(|asked| asked.conn == conn) {
            asked.lost = true;
        }
    }

    pub(crate) fn is_live(&self) -> bool {
        self.state == State::Live
    }
}
