//! One connection as the watch sees it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use serde_json::Value;

use crate::clients::{Frame, Profile, Tongue, Who};

use super::{Checked, tables};

/// A connection: who is behind it, what it has asked, what it has heard.
pub(super) struct Wire {
    pub(super) who: Who,
    pub(super) profile: Profile,
    /// The most bytes of events that may wait.
    pub(super) limit: usize,
    /// The largest message that the hello permits.
    pub(super) max_payload: usize,
    /// Its first frame was a connect request: the dialect is fixed.
    pub(super) greeted: bool,
    /// Its hello is out.
    pub(super) live: bool,
    /// The number of that frame.
    pub(super) live_since: Option<u64>,
    pub(super) closing: bool,
    challenged: bool,
    subscribed: bool,
    /// It is a node that has subscribed to sessions.
    follows: bool,
    /// The number of the last event, and how many bytes of events waited behind it.
    seq: u64,
    waited: usize,
    calls: BTreeMap<String, Owed>,
    runs: BTreeMap<String, Heard>,
    ended: BTreeSet<String>,
}

/// What is owed under one id.
#[derive(Default)]
struct Owed {
    open: VecDeque<Call>,
    /// Second answers of `agent` that are still to come.
    second: VecDeque<Call>,
}

/// What stands for the method of the first request.
pub(super) const HELLO: &str = "(hello)";

/// A request as it was handed over.
#[derive(Clone)]
pub(super) struct Call {
    pub(super) method: String,
    pub(super) params: Rc<Value>,
}

impl Call {
    pub(super) fn connect() -> Self {
        Self { method: HELLO.to_owned(), params: Rc::new(Value::Null) }
    }

    pub(super) fn mistake() -> Self {
        Self { method: String::new(), params: Rc::new(Value::Null) }
    }

    fn key(&self) -> Option<&str> {
        matches!(self.method.as_str(), "chat.send" | "agent")
            .then(|| self.params["idempotencyKey"].as_str())
            .flatten()
    }
}

/// The last numbers of a run's events.
#[derive(Default)]
struct Heard {
    chat: u64,
    agent: u64,
}

impl Wire {
    pub(super) fn new(who: Who, profile: Profile, limit: usize) -> Self {
        Self {
            who,
            profile,
            limit,
            max_payload: usize::MAX,
            greeted: false,
            live: false,
            live_since: None,
            closing: false,
            challenged: false,
            subscribed: false,
            follows: false,
            seq: 0,
            waited: 0,
            calls: BTreeMap::new(),
            runs: BTreeMap::new(),
            ended: BTreeSet::new(),
        }
    }

    /// Its connect request is with the gateway, or has been answered.
    pub(super) fn is_asking(&self) -> bool {
        self.greeted
    }

    pub(super) fn expect(&mut self, id: &str, call: Call) {
        self.greeted |= call.method == HELLO;
        self.subscribed |= call.method == "sessions.subscribe";
        self.follows |= call.method == "node.event" && call.params["event"] == "chat.subscribe";
        self.calls.entry(id.to_owned()).or_default().open.push_back(call);
    }

    /// An answer goes out: whose it is.
    pub(super) fn answer(&mut self, number: u64, frame: &Frame) -> Result<Call, String> {
        let id = frame.id();
        let Some(owed) = self.calls.get_mut(id) else {
            return Err(format!("answer {id}, for which nobody asked"));
        };
        let second = frame.payload["status"] != "accepted" && !owed.second.is_empty();
        let call = if second { owed.second.pop_front() } else { owed.open.pop_front() };
        let Some(call) = call else { return Err(format!("request {id} is answered once too often")) };
        let twice = self.profile.tongue != Tongue::Plain;
        if twice && call.method == "agent" && frame.ok() && frame.payload["status"] == "accepted" {
            owed.second.push_back(call.clone());
        }
        if owed.open.is_empty() && owed.second.is_empty() {
            // Kept, so that a further answer is seen as one too many.
            owed.open.shrink_to_fit();
        }
        if call.method == HELLO {
            if self.live {
                return Err("a second hello".to_owned());
            }
            if frame.ok() {
                tables::hello(&self.profile, self.limit, &frame.payload)?;
                self.max_payload = frame.payload["policy"]["maxPayload"]
                    .as_u64()
                    .and_then(|bytes| usize::try_from(bytes).ok())
                    .ok_or("a hello without policy.maxPayload")?;
                self.live = true;
                self.live_since = Some(number);
            }
        } else if !self.live && frame.ok() {
            return Err("an answer before the hello".to_owned());
        }
        Ok(call)
    }

    /// An event goes out: audience, number, and the bound on what waits. Says whether there is a gap before it.
    pub(super) fn event(&mut self, frame: &Frame, before: usize) -> Result<bool, String> {
        let name = frame.event();
        if name == "connect.challenge" {
            if self.live || std::mem::replace(&mut self.challenged, true) || frame.seq().is_some() {
                return Err("a challenge out of place".to_owned());
            }
            return Ok(false);
        }
        if !self.live {
            return Err(format!("event {name} before the hello"));
        }
        if self.profile.role == "node" && frame.seq().is_none() {
            // What is for this node alone carries no number.
            let addressed =
                matches!(name, "node.invoke.request" | "node.invoke.cancel" | "node.pair.resolved");
            let copied = self.follows && matches!(name, "chat" | "agent");
            self.waited = before + frame.text.len();
            return if addressed || copied { Ok(false) } else { Err(format!("event {name} for a node")) };
        }
        if !tables::may_hear(&self.profile, name, self.subscribed) {
            return Err(format!("event {name} for somebody who may not hear it"));
        }
        let seq = frame.seq().ok_or_else(|| format!("event {name} without seq"))?;
        if seq <= self.seq {
            return Err(format!("event number {seq} after {}", self.seq));
        }
        let gap = seq > self.seq + 1;
        if gap && self.waited == 0 {
            return Err(format!("events {} to {} are missing without a reason", self.seq + 1, seq - 1));
        }
        let size = frame.text.len();
        if before > 0 && before + size > self.limit {
            return Err(format!("{} bytes of events wait, {} are allowed", before + size, self.limit));
        }
        self.seq = seq;
        self.waited = before + size;
        Ok(gap)
    }

    /// A chat event goes out: one terminal event at most and nothing after it, numbers that never fall, and
    /// nothing of a run before the answer to the request that asked for it.
    pub(super) fn chat(&mut self, run: &str, seq: u64, terminal: bool) -> Checked {
        if self.ended.contains(run) {
            return Err(format!("a chat event of run {run} after its end"));
        }
        self.not_before_its_answer(run)?;
        let heard = self.runs.entry(run.to_owned()).or_default();
        if seq < heard.chat {
            return Err(format!("chat seq {seq} of run {run} after {}", heard.chat));
        }
        heard.chat = seq;
        if terminal {
            self.ended.insert(run.to_owned());
        }
        Ok(())
    }

    /// An agent event goes out: its numbers rise, and no words come after the end.
    pub(super) fn agent(&mut self, run: &str, payload: &Value) -> Checked {
        if self.ended.contains(run) && payload["stream"] == "assistant" {
            return Err(format!("words of run {run} after its end"));
        }
        self.not_before_its_answer(run)?;
        let Some(seq) = payload["seq"].as_u64() else { return Err("an agent event without seq".to_owned()) };
        let heard = self.runs.entry(run.to_owned()).or_default();
        if seq <= heard.agent {
            return Err(format!("agent seq {seq} of run {run} after {}", heard.agent));
        }
        heard.agent = seq;
        Ok(())
    }

    fn not_before_its_answer(&self, run: &str) -> Checked {
        let early = self.calls.values().flat_map(|owed| &owed.open).any(|call| call.key() == Some(run));
        if early { Err(format!("an event of run {run} before the answer that promises it")) } else { Ok(()) }
    }

    pub(super) fn has_ended(&self, run: &str) -> bool {
        self.ended.contains(run)
    }

    /// A request that is still owed an answer.
    pub(super) fn unanswered(&self) -> Option<(&str, &str)> {
        self.calls.iter().find_map(|(id, owed)| {
            Some((id.as_str(), owed.open.front().or(owed.second.front())?.method.as_str()))
        })
    }
}
