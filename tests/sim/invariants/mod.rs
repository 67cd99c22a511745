//! The promises, watched from outside.
//!
//! Every frame is checked at the moment at which the gateway hands it to the network, against what is durable
//! at that moment, what the connection has asked and who is behind it. The rules here are written anew from
//! the specification; nothing is checked by the gateway's own tables.

mod ledger;
mod promises;
mod tables;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use telson_core::settings::LimitSettings;
use telson_core::{ConnId, HttpId};

use crate::clients::{Frame, Profile, Tongue, Who};
use crate::store::Disk;
use crate::world::link::{Link, Means};

pub(crate) use ledger::{Ledger, canonical};
use wire::{Call, Wire};

/// What a check says: nothing, or which promise is broken.
pub(crate) type Checked = Result<(), String>;

/// Everything that was seen so far.
#[derive(Default)]
pub(crate) struct Watch {
    wires: BTreeMap<ConnId, Wire>,
    runs: BTreeMap<String, Run>,
    /// Runs whose terminal event went out in this turn.
    ended_now: BTreeSet<String>,
    http: BTreeSet<HttpId>,
    life: u64,
    /// How many frames went out.
    frames: u64,
    pub(crate) ledger: Ledger,
    /// Closes that the gateway asked for.
    pub(crate) closes: Vec<(Who, u16, String)>,
    /// What was met how often: a campaign that meets nothing proves nothing.
    pub(crate) met: BTreeMap<String, u64>,
}

/// What was seen of a run.
#[derive(Default)]
struct Run {
    /// When it was acknowledged, by the number of the frame, if that process still lives.
    acknowledged: Option<u64>,
    /// The process in which its terminal event went out, and its state.
    ended: Option<(u64, String)>,
}

impl Watch {
    pub(crate) fn process_began(&mut self, life: u64) {
        self.life = life;
    }

    pub(crate) fn process_ended(&mut self) {
        self.wires.clear();
        self.http.clear();
        self.ended_now.clear();
        for run in self.runs.values_mut() {
            run.acknowledged = None;
        }
    }

    pub(crate) fn opened(&mut self, conn: ConnId, who: Who, profile: &Profile, limits: &LimitSettings) {
        let limit = match profile.tongue {
            Tongue::V4 => limits.v4.max_buffered,
            Tongue::V3 | Tongue::Plain => limits.v3.max_buffered,
        };
        self.wires.insert(conn, Wire::new(who, profile.clone(), limit));
    }

    pub(crate) fn closed(&mut self, conn: ConnId) {
        self.wires.remove(&conn);
    }

    pub(crate) fn closing(&mut self, conn: ConnId, code: u16, reason: &str) {
        if let Some(wire) = self.wires.get_mut(&conn) {
            wire.closing = true;
            self.closes.push((wire.who, code, reason.to_owned()));
            self.meet(format!("close {code} {reason}"));
        }
    }

    /// A message was handed to the gateway.
    pub(crate) fn handed(&mut self, conn: ConnId, means: &Means, bytes: usize) {
        let Some(wire) = self.wires.get_mut(&conn) else { return };
        if wire.live && bytes > wire.max_payload {
            return; // it will be closed for that
        }
        match means {
            Means::Noise => {}
            Means::Connect => wire.expect(wire.profile.connect_id(), Call::connect()),
            Means::Mistake { id } => wire.expect(id, Call::mistake()),
            Means::Request { id, method, params } => {
                if wire.live || wire.is_asking() {
                    self.ledger.asked(method, params);
                }
                wire.expect(id, Call { method: method.clone(), params: Rc::clone(params) });
            }
        }
    }

    /// A frame was handed to the network. `before` is how many bytes of events waited until now.
    ///
    /// # Errors
    ///
    /// The promise that it breaks.
    pub(crate) fn sent(&mut self, conn: ConnId, frame: &Frame, before: usize, disk: &Disk) -> Checked {
        self.frames += 1;
        let Some(wire) = self.wires.get_mut(&conn) else { return Err("a frame for nobody".to_owned()) };
        tables::shape(wire.profile.tongue, wire.greeted, frame)?;
        if frame.is_event() {
            let gap = wire.event(frame, before)?;
            self.meet(format!("event {}{}", frame.event(), if gap { ", after a gap" } else { "" }));
            return match frame.event() {
                "chat" => self.chat(conn, frame, disk),
                "agent" => self.agent(conn, frame),
                _ => Ok(()),
            };
        }
        let call = wire.answer(self.frames, frame)?;
        promises::kept(&call, frame, &wire.profile, disk)?;
        self.same_as_before(frame)?;
        let said = match frame.ok() {
            true => frame.payload["status"].as_str().unwrap_or("ok").to_owned(),
            false => frame.value["error"]["message"].as_str().unwrap_or_default().chars().take(28).collect(),
        };
        self.meet(format!("answer to {}: {said}", call.method));
        if frame.ok() {
            self.acknowledged(&call, frame);
        }
        Ok(())
    }

    /// Whoever asks for a run that has ended hears how it ended, also from a later process.
    fn same_as_before(&self, frame: &Frame) -> Checked {
        let (id, status) = (frame.payload["runId"].as_str(), frame.payload["status"].as_str());
        let ended = id.and_then(|id| self.runs.get(id)).and_then(|run| run.ended.as_ref());
        match (ended.map(|(_, state)| state.as_str()), status) {
            (Some("final"), Some("error")) | (Some("error"), Some("ok")) => {
                Err(format!("an answer says {status:?} of a run that ended as {ended:?}"))
            }
            _ => Ok(()),
        }
    }

    fn meet(&mut self, what: String) {
        *self.met.entry(what).or_default() += 1;
    }

    /// Notes what an answer has promised.
    fn acknowledged(&mut self, call: &Call, frame: &Frame) {
        self.ledger.answered(&call.method, &call.params);
        let Some(run) = frame.payload["runId"].as_str() else { return };
        if !matches!(call.method.as_str(), "chat.send" | "agent") {
            return;
        }
        self.ledger.said(&call.method, &call.params, run);
        if matches!(frame.payload["status"].as_str(), Some("started" | "accepted" | "in_flight")) {
            self.runs.entry(run.to_owned()).or_default().acknowledged.get_or_insert(self.frames);
        }
    }

    fn chat(&mut self, conn: ConnId, frame: &Frame, disk: &Disk) -> Checked {
        let id = frame.payload["runId"].as_str().ok_or("a chat event without runId")?;
        let state = frame.payload["state"].as_str().ok_or("a chat event without state")?;
        let Some(wire) = self.wires.get_mut(&conn) else { return Ok(()) };
        let terminal = matches!(state, "final" | "aborted" | "error");
        wire.chat(id, frame.payload["seq"].as_u64().ok_or("a chat event without seq")?, terminal)?;
        let run = self.runs.entry(id.to_owned()).or_default();
        match &run.ended {
            Some((life, _)) if *life != self.life => {
                return Err(format!("run {id} has ended in process {life}, and is heard of again"));
            }
            Some((_, first)) if terminal && first != state => {
                return Err(format!("run {id} ends as {first} for one and as {state} for another"));
            }
            Some(_) => {}
            None if terminal => {
                promises::ended(id, state, &frame.payload, disk)?;
                run.ended = Some((self.life, state.to_owned()));
                self.ended_now.insert(id.to_owned());
                self.meet(format!("run {state}"));
            }
            None => {}
        }
        Ok(())
    }

    fn agent(&mut self, conn: ConnId, frame: &Frame) -> Checked {
        let id = frame.payload["runId"].as_str().ok_or("an agent event without runId")?;
        let Some(wire) = self.wires.get_mut(&conn) else { return Ok(()) };
        wire.agent(id, &frame.payload)
    }

    /// Checked when the machines are quiet again: whoever may hear of an end has heard of it.
    ///
    /// # Errors
    ///
    /// Who has not.
    pub(crate) fn after_turn(&mut self, links: &BTreeMap<ConnId, Link>) -> Checked {
        for id in std::mem::take(&mut self.ended_now) {
            for (conn, wire) in &self.wires {
                let listens = wire.live && !wire.closing && wire.profile.holds("operator.read");
                if listens && links.contains_key(conn) && !wire.has_ended(&id) {
                    return Err(format!("the end of run {id} did not reach connection {conn}"));
                }
            }
        }
        Ok(())
    }

    pub(crate) fn http_asked(&mut self, id: HttpId) {
        self.http.insert(id);
    }

    /// An HTTP request is answered, or its client is gone: nothing is owed to it.
    pub(crate) fn http_over(&mut self, id: HttpId) {
        self.http.remove(&id);
    }

    /// What is still owed, in words; nothing when the world may end.
    pub(crate) fn owed(&self, disk: &Disk) -> Option<String> {
        if let Some(id) = self.http.first() {
            return Some(format!("HTTP request {id} was never answered"));
        }
        for (conn, wire) in self.wires.iter().filter(|(_, wire)| !wire.closing) {
            if let Some((id, method)) = wire.unanswered() {
                return Some(format!("request {id} ({method}) of connection {conn} was never answered"));
            }
        }
        let open = self.runs.iter().find(|(id, run)| run.ended.is_none() && self.must_end(id, run, disk));
        open.map(|(id, _)| format!("run {id} was acknowledged and never ended"))
    }

    /// Whether somebody who has listened since the acknowledgement must have heard the end; when nobody has,
    /// the end must be on disk.
    fn must_end(&self, id: &str, run: &Run, disk: &Disk) -> bool {
        let Some(since) = run.acknowledged else { return false };
        let listens = |wire: &Wire| !wire.closing && wire.live_since.is_some_and(|live| live < since);
        let heard = self.wires.values().any(|wire| listens(wire) && wire.profile.holds("operator.read"));
        heard || disk.is_open(id)
    }
}
