//! Admission: a run is acknowledged when the user's words are stored (spec 02 §7.1, §8.1).

use std::collections::BTreeSet;

use serde_json::json;
use telson_proto::chat::{AgentAccepted, AgentDone, ChatAck};
use telson_proto::{ErrorShape, Json, Protocol};

use crate::gateway::Gateway;
use crate::gateway::answers::Admission as Answered;
use crate::ids::{AgentId, RunId, SessionKey};
use crate::messages::Outcome;
use crate::providers::ErrorKind;
use crate::sessions::{Reason, SessionEntry};
use crate::store::{Op, OpenRun, StoreError, TranscriptEntry};

use super::events::Voice;
use super::result::RunResult;
use super::saying::Saying;
use super::settle::End;
use super::talk::Talk;
use super::{Ask, Asker, Family, Owner, Purpose, Run, Stage, record};

/// What an interrupted run's repeat is told, should this process not live to tell more.
const INTERRUPTED: &str =
    "the gateway was restarted before the run had ended; send it again with a new idempotencyKey";

/// A run that a method asks for.
pub(crate) struct Admission {
    pub(crate) run: RunId,
    pub(crate) key: SessionKey,
    pub(crate) agent: AgentId,
    pub(crate) family: Family,
    pub(crate) owner: Owner,
    pub(crate) asker: Asker,
    /// The digest of the parameters.
    pub(crate) digest: String,
    pub(crate) ask: Ask,
    /// What the request changes of the session's entry.
    pub(crate) edit: Box<dyn FnOnce(&mut SessionEntry) + Send>,
}

impl Gateway {
    /// Admits a run, or answers for the one that the idempotency key names already. The asker is answered now or
    /// later in any case but an error.
    ///
    /// # Errors
    ///
    /// The key was used for something else, or too many runs wait.
    pub(crate) fn admit_run(&mut self, admission: Admission) -> Result<(), ErrorShape> {
        let Admission { run, family, asker, digest, .. } = &admission;
        let answer_key = family.answer_key(run);
        if let Asker::Call(ticket) = asker {
            match self.answers.admit(&answer_key, digest, ticket, *family == Family::Agent)? {
                Answered::Joined(None) => return Ok(()),
                Answered::Joined(Some(outcome)) | Answered::Finished(outcome) => {
                    self.reply(ticket.clone(), outcome);
                    return Ok(());
                }
                Answered::New => {}
            }
        }
        let refusal = if self.runs.open.contains_key(run) {
            Some(
                ErrorShape::invalid("idempotencyKey already names a run of another method; use a new key")
                    .with_details(&json!({"reason": "chat-request-conflict"})),
            )
        } else if self.runs.is_full() {
            let most = self.runs.most;
            Some(
                ErrorShape::unavailable(format!("{most} runs are waiting; try again shortly"))
                    .retry_after(5_000),
            )
        } else {
            None
        };
        if let Some(error) = refusal {
            self.answers.release(&answer_key);
            return Err(error);
        }
        self.store_admission(admission, &answer_key);
        Ok(())
    }

    fn store_admission(&mut self, admission: Admission, answer_key: &str) {
        let Admission { run, key, agent, family, owner, asker, ask, edit, .. } = admission;
        let now = self.now;
        let created = self.sessions.ensure(now, &mut self.entropy, &key);
        let line = self.users_line(&run, &key, &ask, family, edit);
        let Some((session, seq)) =
            self.sessions.get(&key).map(|session| (session.id.clone(), session.last_seq))
        else {
            let error = ErrorShape::unavailable(format!("session {key} could not be made"));
            return self.refuse_asker(&run, family, asker, error);
        };
        let open = OpenRun {
            run: run.clone(),
            session_key: key.clone(),
            answer_key: answer_key.to_owned(),
            at: now.wall,
        };
        let mut ops: Vec<Op> = line.iter().cloned().map(Op::AppendEntry).collect();
        ops.push(Op::OpenRun(open));
        if family != Family::Inner {
            ops.extend(self.answers.record(answer_key, &interrupted(family, &run), now));
        }
        let voice = Voice::new(run.clone(), key.clone(), agent.clone());
        let model = self.model_of(&key);
        self.sessions.run_opened(&key, run.clone());
        self.runs.open.insert(
            run.clone(),
            Run {
                id: run.clone(),
                key: key.clone(),
                session,
                agent,
                family,
                owner,
                asker,
                ask,
                admitted: now,
                stage: Stage::Admitting,
                cut: None,
                voice,
                talk: Talk::default(),
                saying: Saying::default(),
                loud: false,
                model,
                api: "",
                collected: BTreeSet::new(),
                deadline: None,
            },
        );
        let reason = if created { Reason::Create } else { Reason::Send };
        let named = key.clone();
        self.store_session(&key, ops, move |gateway, stored| match stored {
            Ok(()) => {
                if let Some(line) = &line {
                    gateway.announce_message(&named, line);
                }
                gateway.admitted(&run, seq, reason);
            }
            Err(error) => gateway.not_admitted(&run, error),
        });
    }

    /// Adds the user's words to the transcript. The instructions for a compaction are no part of it.
    fn users_line(
        &mut self,
        run: &RunId,
        key: &SessionKey,
        ask: &Ask,
        family: Family,
        edit: Box<dyn FnOnce(&mut SessionEntry) + Send>,
    ) -> Option<TranscriptEntry> {
        let now = self.now;
        if ask.purpose == Purpose::Compact && ask.text.is_empty() {
            self.sessions.edit_quietly(key, edit);
            return None;
        }
        let message = record::user(run, ask, now.wall, family == Family::Inner);
        let line = self.sessions.append(now, &mut self.entropy, key, message, Some(run.clone()));
        let words = (!ask.internal).then(|| ask.text.clone());
        self.sessions.edit(now, key, |entry| {
            edit(entry);
            if let Some(words) = words {
                entry.note_message(now.wall, "user", &words);
            }
        });
        line
    }

    /// The user's words are stored: the run is acknowledged and takes its place in the lane.
    fn admitted(&mut self, id: &RunId, seq: u64, reason: Reason) {
        let Some(run) = self.runs.open.get_mut(id) else { return };
        run.stage = Stage::Waiting;
        let (key, family, cut) = (run.key.clone(), run.family, run.cut.take());
        let (first, repeat) = acknowledgements(run, seq);
        if let Asker::Call(ticket) = run.asker.clone() {
            self.reply(ticket, first);
        }
        let joins = family == Family::Agent;
        for waiting in self.answers.acknowledge(&family.answer_key(id), repeat.clone(), joins) {
            self.reply(waiting, repeat.clone());
        }
        tracing::debug!(target: "gateway", run = %id, session = %key, "run admitted");
        self.announce_session(&key, reason, Some(id));
        if let Some(reason) = cut {
            self.abort_run(id, &reason);
            return;
        }
        if let Some(text) = self.runs.open.get_mut(id).and_then(|run| run.ask.reply.take()) {
            // A command is answered at once, also while the session is busy.
            return self.end_run(id, End::Replied { text });
        }
        self.queue_run(id);
    }

    /// The user's words could not be stored: there never was a run.
    fn not_admitted(&mut self, id: &RunId, error: StoreError) {
        let Some(run) = self.runs.open.remove(id) else { return };
        self.sessions.run_closed(&run.key, id);
        self.refuse_asker(id, run.family, run.asker, error.into());
        self.run_is_gone(id);
    }

    /// There will be no run: whoever asked for it is told.
    fn refuse_asker(&mut self, id: &RunId, family: Family, asker: Asker, error: ErrorShape) {
        let mut waiting = self.answers.release(&family.answer_key(id));
        let failure = RunResult::failed(ErrorKind::Unknown, error.message.clone());
        match asker {
            Asker::Call(ticket) => waiting.push(ticket),
            Asker::Http(request) => self.api_run_ended(request, id, failure),
            Asker::Tool(call) => self.tool_run_ended(call, id, failure),
            Asker::Nobody => {}
        }
        let outcome = Outcome::error(error);
        for ticket in waiting {
            self.reply(ticket, outcome.clone());
        }
    }
}

/// The first answer, and what a repeat gets while the run is under way.
fn acknowledgements(run: &Run, seq: u64) -> (Outcome, Outcome) {
    let is_v4 = run.owner.protocol == Protocol::V4;
    match run.family {
        Family::Chat => {
            let started =
                ChatAck { message_seq: is_v4.then_some(seq), ..ChatAck::new(run.id.as_str(), "started") };
            let repeat = ChatAck::new(run.id.as_str(), "in_flight");
            (Outcome::ok(Json::of(&started)), Outcome::ok(Json::of(&repeat)))
        }
        Family::Agent | Family::Inner => {
            let accepted = Outcome::ok(Json::of(&AgentAccepted {
                run_id: run.id.as_str(),
                status: "accepted",
                accepted_at: run.admitted.wall,
                session_key: is_v4.then_some(run.key.as_str()),
                agent_id: is_v4.then_some(run.agent.as_str()),
            }));
            (accepted.clone(), accepted)
        }
    }
}

/// The answer of a run that a restart has ended. It is written with the admission, so that a repeat after a
/// crash learns what happened instead of asking twice.
pub(super) fn interrupted(family: Family, run: &RunId) -> Outcome {
    failed(family, run, ErrorShape::unavailable(INTERRUPTED))
}

/// The answer of a run that has failed (spec 02 §2.3, §8.1).
pub(super) fn failed(family: Family, run: &RunId, error: ErrorShape) -> Outcome {
    let (run_id, status) = (run.as_str(), "error");
    let payload = match family {
        Family::Chat => Json::of(&ChatAck { summary: Some(&error.message), ..ChatAck::new(run_id, status) }),
        Family::Agent | Family::Inner => {
            Json::of(&AgentDone { run_id, status, summary: &error.message, result: None })
        }
    };
    Outcome { payload: Some(payload), error: Some(error) }
}
