//! What one connection said and heard, and what it must never hear.

use std::collections::HashMap;

use serde_json::Value;
use telson_core::limits;
use telson_proto::dialect::{INVALID_ID, Inbound, PLAIN_CONNECT_ID, decode};

/// The account of one connection.
#[derive(Default)]
pub(crate) struct Ledger {
    /// The machine said that the connection is authenticated.
    pub(crate) authenticated: bool,
    /// The machine has closed it, or refused the upgrade.
    pub(crate) closed: bool,
    /// The payload of its hello.
    pub(crate) hello: Option<Value>,
    /// The state and the message of each run that has ended.
    pub(crate) ends: Vec<(String, Value)>,
    challenged: bool,
    refused: bool,
    seq: u64,
    /// How often each id was said, and how many answers to it must come.
    said: HashMap<String, Asked>,
    invalid: usize,
}

#[derive(Default)]
struct Asked {
    frames: usize,
    owed: usize,
    answers: usize,
}

impl Ledger {
    /// Notes a message of the client.
    pub(crate) fn say(&mut self, text: &str) {
        let live = self.authenticated && !self.closed;
        let mut note = |id: String, owed: bool| {
            let asked = self.said.entry(id).or_default();
            asked.frames += 1;
            asked.owed += usize::from(owed);
        };
        match decode(text) {
            // A client may wait for a run that does not exist for as long as it likes.
            Inbound::Request { id, method, .. } => note(id, live && method != "agent.wait"),
            Inbound::PlainConnect { id, .. } => note(id, live),
            Inbound::Invalid { id: Some(id), .. } => note(id, live),
            Inbound::Invalid { id: None, .. } => self.invalid += 1,
            Inbound::NotJson => {}
        }
    }

    /// Checks a message to the client.
    pub(crate) fn hear(&mut self, text: &str) {
        assert!(!self.closed, "nothing is sent after a close: {text}");
        let frame: Value = serde_json::from_str(text).expect("every frame is JSON");
        match frame["type"].as_str() {
            Some("event") => self.event(&frame),
            Some("res" | "response") => self.answer(&frame),
            other => panic!("frames of type {other:?} do not exist: {text}"),
        }
    }

    fn event(&mut self, frame: &Value) {
        let name = frame["event"].as_str().expect("an event has a name");
        assert!(!name.is_empty());
        if name == "connect.challenge" {
            assert!(!self.challenged, "there is one challenge");
            assert!(frame.get("seq").is_none(), "the challenge has no number");
            self.challenged = true;
            return;
        }
        assert!(self.hello.is_some(), "nobody hears `{name}` before hello");
        let seq = frame["seq"].as_u64().expect("an event has a number");
        // The outbox is always flushed here, so nothing may be dropped.
        assert_eq!(seq, self.seq + 1, "numbers are contiguous");
        self.seq = seq;
        let payload = &frame["payload"];
        if name == "chat" {
            let state = payload["state"].as_str().expect("a chat event has a state");
            if state != "delta" {
                let said =
                    if state == "error" { &payload["errorMessage"] } else { &payload["message"]["content"] };
                self.ends.push((state.to_owned(), said.clone()));
            }
        }
    }

    fn answer(&mut self, frame: &Value) {
        assert!(self.challenged, "the challenge comes first");
        let id = frame["id"].as_str().expect("an answer has an id");
        let ok = frame["ok"].as_bool().expect("an answer says whether it is one");
        assert_eq!(ok, frame.get("error").is_none(), "an answer is either ok or an error");
        if !ok {
            let message = frame["error"]["message"].as_str().expect("an error has a message");
            assert!(!message.is_empty());
            assert!(message.len() < 4_096, "an error does not repeat what was sent: {} bytes", message.len());
        }
        if self.hello.is_none() {
            assert!(!self.refused, "a refused connection is answered once");
            if ok {
                assert!(self.authenticated, "no hello without authentication");
                assert_eq!(frame["payload"]["type"], "hello-ok", "the first answer is the hello");
                self.hello = Some(frame["payload"].clone());
            } else {
                self.refused = true;
            }
            return;
        }
        match self.said.get_mut(id) {
            Some(asked) => {
                asked.answers += 1;
                assert!(asked.answers <= 2 * asked.frames, "`{id}` was answered too often");
            }
            None if id == INVALID_ID => {
                self.invalid = self.invalid.checked_sub(1).expect("an answer to nothing");
            }
            None => assert_eq!(id, PLAIN_CONNECT_ID, "an id that nobody said"),
        }
    }

    /// Checks a close.
    pub(crate) fn close(&mut self, code: u16, reason: &str) {
        assert!(!self.closed, "there is one close");
        assert!(!reason.is_empty() && reason.len() <= 120, "{reason:?}");
        assert!(matches!(code, 1000 | 1002 | 1008 | 1009 | 1012 | 1013 | 4001), "{code}");
        self.closed = true;
    }

    /// How many requests of a connection that is still open wait for their answer.
    pub(crate) fn owed(&self) -> usize {
        if self.closed {
            return 0;
        }
        self.said.values().map(|asked| asked.owed.saturating_sub(asked.answers)).sum()
    }

    /// The limit on frames that one input may cause, a loose one.
    pub(crate) const MOST_OUTPUTS: usize = 8 * limits::REQUESTS_IN_FLIGHT as usize;
}
