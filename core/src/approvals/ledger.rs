//! From a question to its end (spec 03 §3.1, §3.8).
//!
//! The order is what counts. A question is written, then others hear of it; whoever waits for it is noted before
//! that, so that an answer from inside the event finds it. An answer is written, then it is told: to everyone
//! who may decide, to who gave it, and to who waits. The first one counts, also while it is being written.

use serde_json::json;
use telson_proto::approval::{Accepted, Decision, Resolved};
use telson_proto::{ErrorShape, EventName, Json, Protocol, Role, Scope};

use super::question::Question;
use super::record::{Approval, Ending, Kind, Reason, State};
use super::standing::StandingGrant;
use super::{Answerer, Entry, Settling, Stage, Waiter};
use crate::auth::Principal;
use crate::gateway::Gateway;
use crate::ids::{ConnId, Ticket};
use crate::limits;
use crate::messages::{Outcome, Publish};
use crate::store::StoreError;

/// The most bytes of waiting questions that a new connection is shown.
const SHOWN_BYTES: usize = 262_144;

/// A question on its way into the ledger.
pub(super) struct NewApproval {
    pub(super) record: Approval,
    pub(super) question: Option<Question>,
    pub(super) timeout_ms: u64,
    pub(super) ticket: Ticket,
    pub(super) two_phase: bool,
    pub(super) protocol: Protocol,
}

impl Gateway {
    /// Writes a question; its ticket is answered when it is decided.
    ///
    /// # Errors
    ///
    /// The id is taken, or too many questions wait.
    pub(super) fn ask_approval(&mut self, new: NewApproval) -> Result<(), ErrorShape> {
        let NewApproval { record, question, timeout_ms, ticket, two_phase, protocol } = new;
        let id = record.id.clone();
        match self.approvals.state(&id) {
            Some(State::Pending) => return Err(ErrorShape::invalid("approval id already pending")),
            Some(_) => {
                return Err(ErrorShape::invalid("approval id was used before; choose another one, or none"));
            }
            None => {}
        }
        let open =
            self.approvals.entries.values().filter(|entry| !matches!(entry.stage, Stage::Over)).count();
        if open >= limits::length(limits::APPROVALS_PENDING) {
            let message = format!("{open} approvals wait for an answer; decide on some of them first");
            return Err(ErrorShape::unavailable(message).retry_after(5_000));
        }
        let mut ops = self.approvals.make_room(self.now);
        ops.push(record.put());
        let until = self.now.mono + limits::millis(timeout_ms);
        let asker = ticket.conn;
        let waiters = vec![Waiter { ticket, with_reason: false, two_phase, protocol }];
        let bytes = record.bytes();
        let entry = Entry { record, question, until, stage: Stage::Writing, waiters, bytes };
        self.approvals.entries.insert(id.clone(), entry);
        self.store(ops, move |gateway, result| gateway.asked(&id, asker, protocol, result));
        Ok(())
    }

    /// A question is on disk, or will never be.
    fn asked(&mut self, id: &str, asker: ConnId, protocol: Protocol, result: Result<(), StoreError>) {
        if let Err(error) = result {
            let Some(entry) = self.approvals.entries.remove(id) else { return };
            for waiter in entry.waiters {
                self.reply(waiter.ticket, Outcome::error(error.clone().into()));
            }
            return;
        }
        let Some(entry) = self.approvals.entries.get_mut(id) else { return };
        entry.stage = Stage::Waiting;
        let until = entry.until;
        self.approvals.due.insert((until, id.to_owned()));
        let digest = entry.record.digest.clone();
        if let Some(grant) = self.approvals.standing.use_for(&digest, self.now.wall) {
            let (by, used) = (format!("grant {}", grant.grant_id), grant.put());
            self.store(vec![used], |_, _| {});
            return self.settle(id, Ending::answer(Decision::AllowAlways, Some(by)), None);
        }
        let routed = self.has_route(id, asker);
        self.accept_two_phase(id, routed);
        self.announce_waiting(id);
        // On protocol 3 a question waits for whoever comes; protocol 4 wants to know at once (spec 03 §3.8).
        if !routed && protocol == Protocol::V4 {
            self.settle(id, Ending::unanswered(Reason::NoRoute), None);
        }
    }

    /// Whether anybody but the asker is there who may answer.
    fn has_route(&self, id: &str, asker: ConnId) -> bool {
        let Some(entry) = self.approvals.entries.get(id) else { return false };
        let decides = |principal: &Principal| {
            principal.role == Role::Operator
                && principal.holds(Scope::Approvals)
                && entry.record.may_answer(principal)
        };
        self.conns.iter().any(|(conn, principal)| *conn != asker && decides(principal))
    }

    /// The first of two answers, to those who asked for two.
    fn accept_two_phase(&mut self, id: &str, routed: bool) {
        let Some(entry) = self.approvals.entries.get(id) else { return };
        let accepted = Json::of(&Accepted {
            status: "accepted",
            id: id.to_owned(),
            delivery_route: if routed { "approval-client" } else { "none" },
            created_at_ms: entry.record.created_at_ms,
            expires_at_ms: entry.record.expires_at_ms,
        });
        let tickets: Vec<Ticket> = entry
            .waiters
            .iter()
            .filter(|waiter| waiter.two_phase)
            .map(|waiter| waiter.ticket.clone())
            .collect();
        for ticket in tickets {
            self.reply(ticket, Outcome::ok(accepted.clone()));
        }
    }

    /// Tells everyone who may decide.
    fn announce_waiting(&mut self, id: &str) {
        let Some(entry) = self.approvals.entries.get(id) else { return };
        let (event, _) = events(entry.record.kind);
        let mut publish = Publish::lossless(event, Json::of(&entry.record.waiting(Protocol::V4, false)));
        publish.v3 =
            (entry.record.kind == Kind::Exec).then(|| Json::of(&entry.record.waiting(Protocol::V3, false)));
        self.publish(publish);
    }

    /// Shows a connection that has just come in what waits, so that a page that was away knows it (07 P-15).
    pub(crate) fn show_waiting_approvals(&mut self, conn: ConnId, principal: &Principal) {
        if !principal.holds(Scope::Approvals) {
            return;
        }
        let mut bytes = 0;
        let mut shown = Vec::new();
        for entry in self.approvals.pending() {
            let (event, _) = events(entry.record.kind);
            if entry.record.kind == Kind::Plugin && principal.protocol == Protocol::V3 {
                continue;
            }
            let payload = Json::of(&entry.record.waiting(principal.protocol, false));
            bytes += payload.as_str().len();
            if bytes > SHOWN_BYTES {
                break;
            }
            shown.push((event, payload));
        }
        for (event, payload) in shown {
            self.address(conn, event, payload);
        }
    }

    /// Ends an approval that waits: writes the end, then tells it.
    pub(super) fn settle(&mut self, id: &str, ending: Ending, answerer: Option<Answerer>) {
        let now = self.now.wall;
        let Some(entry) = self.approvals.entries.get_mut(id) else { return };
        let ended = entry.record.ended(&ending, now);
        self.approvals.due.remove(&(entry.until, id.to_owned()));
        let mut ops = vec![ended.put()];
        let grant = ending
            .days
            .map(|days| StandingGrant::of(&entry.record, self.entropy.uuid(), now, days, ending.by.clone()));
        ops.extend(grant.as_ref().map(StandingGrant::put));
        entry.stage =
            Stage::Settling(Box::new(Settling { ending, answerers: answerer.into_iter().collect() }));
        let id = id.to_owned();
        self.store(ops, move |gateway, result| gateway.settled(&id, ended, grant, &result));
    }

    /// The end of an approval is on disk, or will never be.
    fn settled(
        &mut self,
        id: &str,
        ended: Approval,
        grant: Option<StandingGrant>,
        result: &Result<(), StoreError>,
    ) {
        let now = self.now;
        let Some(entry) = self.approvals.entries.get_mut(id) else { return };
        let Stage::Settling(settling) = std::mem::replace(&mut entry.stage, Stage::Over) else { return };
        if let (Err(error), Some(_)) = (result, ended.decision) {
            // Nothing was decided. It waits on, and ends in time if the store stays broken.
            entry.stage = Stage::Waiting;
            let until = entry.until;
            self.approvals.due.insert((until, id.to_owned()));
            for answerer in settling.answerers {
                self.reply(answerer.ticket, Outcome::error(error.clone().into()));
            }
            return;
        }
        entry.record = ended;
        let waiters = std::mem::take(&mut entry.waiters);
        let question = entry.question.take();
        let record = entry.record.clone();
        if let (State::Allowed, Some(decision), Some(question)) = (record.state, record.decision, question) {
            self.approvals.grants.add(now, id, question, decision, &record.asked_by);
        }
        if let Some(grant) = grant {
            self.approvals.standing.add(grant);
        }
        tracing::info!(target: "gateway", id, state = record.state.as_str(), "an approval has ended");
        self.announce_resolved(&record);
        for answerer in settling.answerers {
            self.reply(answerer.ticket, Outcome::ok(answered(&record, answerer.with_approval, true)));
        }
        for waiter in waiters {
            let decided = record.decided(waiter.with_reason && waiter.protocol == Protocol::V4);
            self.reply(waiter.ticket, Outcome::ok(Json::of(&decided)));
        }
    }

    /// Tells everyone who may decide that somebody did. The end of time is no event: clients see it by the clock.
    fn announce_resolved(&mut self, record: &Approval) {
        let Some(decision) = record.decision else { return };
        let (_, event) = events(record.kind);
        let payload = |request| {
            Json::of(&Resolved {
                id: record.id.clone(),
                decision,
                resolved_by: record.resolved_by.clone(),
                ts: record.resolved_at_ms.unwrap_or(self.now.wall),
                request,
            })
        };
        let mut publish = Publish::lossless(event, payload(Some(record.request.clone())));
        publish.v3 = (record.kind == Kind::Exec).then(|| payload(None));
        self.publish(publish);
    }

    /// Waits for the end of an approval, or answers at once.
    pub(super) fn wait_for_approval(
        &mut self,
        id: &str,
        kind: Kind,
        ticket: Ticket,
        protocol: Protocol,
    ) -> Result<(), ErrorShape> {
        let entry = self.approvals.entries.get_mut(id).filter(|entry| entry.record.kind == kind);
        let entry = entry.ok_or_else(|| ErrorShape::invalid("approval expired or not found"))?;
        if matches!(entry.stage, Stage::Over) {
            let decided = Json::of(&entry.record.decided(true));
            self.reply(ticket, Outcome::ok(decided));
        } else {
            entry.waiters.push(Waiter { ticket, with_reason: true, two_phase: false, protocol });
        }
        Ok(())
    }
}

/// The events of a kind: asked, and decided.
fn events(kind: Kind) -> (EventName, EventName) {
    match kind {
        Kind::Exec => (EventName::ExecApprovalRequested, EventName::ExecApprovalResolved),
        Kind::Plugin => (EventName::PluginApprovalRequested, EventName::PluginApprovalResolved),
    }
}

/// What who has answered is told.
pub(super) fn answered(record: &Approval, with_approval: bool, applied: bool) -> Json {
    if with_approval {
        Json::of(&json!({"applied": applied, "approval": record.view()}))
    } else {
        Json::of(&json!({"ok": true}))
    }
}
