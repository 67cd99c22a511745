//! The end of a run: the answer is stored, then everyone hears of it, once (spec 02 §9.4, §11) [C-22, C-26].

use telson_proto::chat::{
    AgentDone, AgentMeta, AgentMetaModel, AgentPayload, AgentResult, ChatAck, ChatMessage, RunUsage,
};
use telson_proto::{ErrorShape, Json, Protocol};

use crate::gateway::Gateway;
use crate::ids::RunId;
use crate::messages::Outcome;
use crate::providers::{ErrorKind, ModelError, Providers, StopReason, Usage};
use crate::sessions::{Reason, RunStatus};
use crate::settings::ModelRef;
use crate::store::{Op, StoreError, TranscriptEntry};
use crate::time::Now;

use super::admit::failed;
use super::events::Ending;
use super::memory::{Ended, How};
use super::result::{RunFailure, RunResult};
use super::talk::Round;
use super::turn::store_failed;
use super::{Asker, Family, Purpose, Run, Stage, record};

/// How a run ends.
#[derive(Debug)]
pub(super) enum End {
    Done {
        stop_reason: StopReason,
        usage: Option<Usage>,
    },
    Aborted {
        reason: String,
    },
    Failed(ModelError),
    /// Another run answers its words.
    Collected,
    /// The gateway answers a command itself.
    Replied {
        text: String,
    },
    /// The conversation is summed up, or there was nothing to sum up.
    Compacted,
}

impl Gateway {
    /// Ends a run: from now on nothing more of it is heard but its end, which comes when it is stored.
    pub(super) fn end_run(&mut self, id: &RunId, end: End) {
        let Some(run) = self.runs.open.get_mut(id).filter(|run| !run.is_settling()) else { return };
        let stage = std::mem::replace(&mut run.stage, Stage::Settling);
        let key = run.key.clone();
        let mut unfinished = None;
        match stage {
            Stage::Streaming { fetch: Some(fetch), .. } => self.abort_fetch(fetch),
            Stage::Waiting => {
                self.runs.lanes.withdraw(&key, id);
            }
            Stage::Compacting(compacting) => {
                if let Some(fetch) = compacting.fetch {
                    self.abort_fetch(fetch);
                }
                self.announce_compaction(&key, id.as_str(), Some(false), Some(word(&end)));
            }
            Stage::Calling(round) => {
                for call in round.pending.keys() {
                    self.abort_tool(*call);
                }
                unfinished = Some(round);
            }
            _ => {}
        }
        let (ops, lines) = self.last_ops(id, &end, unfinished);
        let id = id.clone();
        let named = key.clone();
        let then = move |gateway: &mut Self, stored: Result<(), StoreError>| match stored {
            Ok(()) => {
                lines.iter().for_each(|line| gateway.announce_message(&named, line));
                gateway.close_run(&id, &end);
            }
            Err(error) => gateway.close_run(&id, &End::Failed(store_failed(&error))),
        };
        // A session that was removed meanwhile must not come back.
        match self.sessions.get(&key) {
            Some(_) => self.store_session(&key, ops, then),
            None => self.store(ops, then),
        }
    }

    /// What is stored at the end of a run beside the session's row, and the lines of the transcript in it.
    fn last_ops(
        &mut self,
        id: &RunId,
        end: &End,
        unfinished: Option<Round>,
    ) -> (Vec<Op>, Vec<TranscriptEntry>) {
        let now = self.now;
        let (mut ops, mut lines) = (Vec::new(), Vec::new());
        let Some(run) = self.runs.open.get(id) else { return (ops, lines) };
        let current = self.sessions.get(&run.key).is_some_and(|session| session.id == run.session);
        if current {
            let results = unfinished.map(|round| round.results(CUT_SHORT)).unwrap_or_default();
            let results = results.iter().map(|(call, outcome)| record::tool_result(call, outcome, now.wall));
            for message in
                results.chain(assistant_message(run, end, &self.providers, now)).collect::<Vec<_>>()
            {
                let line = self.sessions.append(now, &mut self.entropy, &run.key, message, Some(id.clone()));
                lines.extend(line);
            }
            ops.extend(lines.iter().cloned().map(Op::AppendEntry));
            let context = self.agents.context_tokens(&run.model);
            let begun = run.voice.started_at().is_some();
            let text = match end {
                End::Replied { text } => Some(text.clone()),
                _ => run.voice.visible().map(str::to_owned),
            };
            let (usage, prompt) = (run.talk.usage, run.talk.prompt);
            let (provider, model) = (run.model.provider.clone(), run.model.model.clone());
            self.sessions.edit(now, &run.key, |entry| {
                if let Some(text) = &text {
                    entry.note_message(now.wall, "assistant", text);
                }
                if begun {
                    entry.model_provider = Some(provider);
                    entry.model = Some(model);
                    entry.context_tokens = context;
                    entry.system_sent = Some(true);
                }
                if let Some(usage) = usage {
                    entry.add_usage(usage.input, usage.output, prompt);
                }
            });
            self.sessions.note_run_end(now, &run.key, id, status(end));
        }
        ops.push(Op::CloseRun(id.clone()));
        let outcome = outcome(run, end, now);
        if run.family != Family::Inner {
            ops.extend(self.answers.record(&run.family.answer_key(id), &outcome, now));
        }
        (ops, lines)
    }

    /// The end is stored, or will never be: events, answers, and the next turn.
    pub(super) fn close_run(&mut self, id: &RunId, end: &End) {
        let Some(mut run) = self.runs.open.remove(id) else { return };
        let now = self.now;
        self.sessions.run_closed(&run.key, id);
        tracing::debug!(target: "gateway", run = %id, session = %run.key, end = word(end), "run ended");
        // A compaction is no turn of the conversation: its own events say what it did. One that was typed in the
        // chat has an end there.
        if run.ask.purpose == Purpose::Answer || run.family == Family::Chat {
            for event in run.voice.finish(now, ending(end, &run.model)) {
                self.publish(event);
            }
        }
        let outcome = outcome(&run, end, now);
        let mut tickets = self.answers.finish(&run.family.answer_key(id), outcome.clone(), now);
        match run.asker.clone() {
            Asker::Call(ticket) if run.family == Family::Agent => tickets.insert(0, ticket),
            Asker::Call(_) | Asker::Nobody => {}
            Asker::Http(request) => self.api_run_ended(request, id, result(&run, end)),
            Asker::Tool(call) => self.tool_run_ended(call, id, result(&run, end)),
        }
        for ticket in tickets {
            self.reply(ticket, outcome.clone());
        }
        let ended = Ended { started_at: run.voice.started_at(), ended_at: now.wall, how: how(end) };
        for wait in self.runs.waits.ended(id) {
            self.reply(wait.ticket, Outcome::ok(ended.answer(id, wait.protocol)));
        }
        self.runs.memory.remember(now.mono, id.clone(), ended);
        self.announce_session(&run.key, Reason::RunEnded, Some(id));
        if self.runs.active.remove(id) {
            self.runs.lanes.leave(&run.key);
        }
        self.run_is_gone(id);
        self.start_turns();
    }
}

fn word(end: &End) -> &'static str {
    match end {
        End::Done { .. } => "done",
        End::Aborted { .. } => "aborted",
        End::Failed(_) => "failed",
        End::Collected => "collected",
        End::Replied { .. } => "replied",
        End::Compacted => "compacted",
    }
}

fn status(end: &End) -> RunStatus {
    match end {
        End::Done { .. } | End::Collected | End::Replied { .. } | End::Compacted => RunStatus::Done,
        End::Aborted { reason } if reason == "timeout" => RunStatus::Timeout,
        End::Aborted { .. } => RunStatus::Killed,
        End::Failed(_) => RunStatus::Failed,
    }
}

fn ending<'a>(end: &'a End, model: &'a ModelRef) -> Ending<'a> {
    match end {
        End::Done { stop_reason, .. } => Ending::Done { stop_reason: stop_reason.as_str() },
        End::Aborted { reason } => Ending::Aborted { reason },
        End::Failed(error) => Ending::Failed { error, model },
        End::Collected | End::Compacted => Ending::Collected,
        End::Replied { text } => Ending::Replied { text },
    }
}

fn how(end: &End) -> How {
    match end {
        End::Done { stop_reason, .. } => How::Done { stop_reason: stop_reason.as_str() },
        End::Collected | End::Compacted | End::Replied { .. } => How::Done { stop_reason: "stop" },
        End::Aborted { reason } => How::Aborted { reason: reason.clone() },
        End::Failed(error) => How::Failed { error: error.message.clone() },
    }
}

/// The answer to the run's idempotency key from now on.
fn outcome(run: &Run, end: &End, now: Now) -> Outcome {
    match (run.family, end) {
        (_, End::Failed(error)) => {
            let mut shape = ErrorShape::unavailable(error.message.clone());
            if let Some(wait) = error.retry_after_ms {
                shape = shape.retry_after(wait);
            }
            failed(run.family, &run.id, shape)
        }
        (Family::Chat, End::Aborted { reason }) if run.owner.protocol == Protocol::V4 => {
            Outcome::ok(Json::of(&ChatAck {
                summary: Some("aborted"),
                stop_reason: Some(reason),
                ended_at: Some(now.wall),
                ..ChatAck::new(run.id.as_str(), "timeout")
            }))
        }
        (Family::Chat, End::Aborted { reason }) if reason == "restart" => {
            super::admit::interrupted(run.family, &run.id)
        }
        (Family::Chat, _) => Outcome::ok(Json::of(&ChatAck::new(run.id.as_str(), "ok"))),
        (Family::Agent | Family::Inner, _) => Outcome::ok(agent_result(run, end, now)),
    }
}

/// The end as the asker gets it.
fn result(run: &Run, end: &End) -> RunResult {
    let (stop_reason, failure) = match end {
        End::Done { stop_reason, .. } => (stop_reason.as_str(), None),
        End::Aborted { reason } => {
            let kind = if reason == "timeout" { ErrorKind::Timeout } else { ErrorKind::Unknown };
            let message = format!("the run was aborted ({reason})");
            ("aborted", Some(RunFailure { kind, message }))
        }
        End::Failed(error) => {
            ("error", Some(RunFailure { kind: error.kind, message: error.message.clone() }))
        }
        End::Collected | End::Compacted | End::Replied { .. } => ("stop", None),
    };
    RunResult {
        texts: texts(run, end).map(str::to_owned).collect(),
        client_calls: run.talk.client_calls.clone(),
        usage: run.talk.usage,
        stop_reason,
        failure,
        model: run.model.clone(),
        session: run.session.clone(),
    }
}

/// Everything that people should see of a run, message by message.
fn texts<'a>(run: &'a Run, end: &'a End) -> impl Iterator<Item = &'a str> {
    let last = match end {
        End::Replied { text } => Some(text.as_str()),
        _ => run.voice.visible(),
    };
    run.talk.texts.iter().map(String::as_str).chain(last)
}

fn agent_result(run: &Run, end: &End, now: Now) -> Json {
    let (aborted, stop_reason) = match end {
        End::Aborted { reason } => (true, reason.as_str()),
        End::Done { stop_reason, .. } => (false, stop_reason.as_str()),
        End::Failed(_) | End::Collected | End::Compacted | End::Replied { .. } => (false, "stop"),
    };
    let began = run.voice.started_at().unwrap_or(now.wall);
    Json::of(&AgentDone {
        run_id: run.id.as_str(),
        status: "ok",
        summary: if aborted { "aborted" } else { "completed" },
        result: Some(AgentResult {
            payloads: texts(run, end).map(|text| AgentPayload { text, media_url: None }).collect(),
            meta: AgentMeta {
                duration_ms: now.wall.saturating_sub(began),
                aborted,
                stop_reason,
                agent_meta: AgentMetaModel {
                    session_id: run.session.as_str(),
                    provider: &run.model.provider,
                    model: &run.model.model,
                    usage: run.talk.usage.map(|usage| RunUsage {
                        input: usage.input,
                        output: usage.output,
                        cache_read: usage.cache_read,
                        cache_write: usage.cache_write,
                        total: usage.total,
                    }),
                },
            },
        }),
    })
}

/// What the model is told of a tool whose run was cut short.
const CUT_SHORT: &str = "Given up: the run was cut short.";

/// The last answer as the transcript keeps it; `None` when there is nothing to keep. The partial text of an
/// abort is kept too [C-28], and so is an error without any text.
fn assistant_message(run: &Run, end: &End, providers: &Providers, now: Now) -> Option<Json> {
    let (stop_reason, usage, error) = match end {
        End::Done { stop_reason, usage } => (stop_reason.as_str(), *usage, None),
        End::Aborted { .. } => ("aborted", None, None),
        End::Failed(error) => ("error", None, Some(error.message.as_str())),
        End::Collected | End::Compacted => return None,
        End::Replied { text } => return Some(Json::of(&ChatMessage::injected(text, now.wall))),
    };
    if run.ask.purpose == Purpose::Compact || (run.saying.is_empty() && error.is_none()) {
        return None;
    }
    let cost = usage.and_then(|usage| providers.cost(&run.model, &usage));
    Some(Json::of(&record::assistant(run, &run.saying, stop_reason, (usage, cost), error, now.wall)))
}
