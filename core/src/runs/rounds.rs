//! Tools between two answers of a model: called at once, awaited together, and their results given back.

use serde_json::Value;

use crate::gateway::Gateway;
use crate::ids::{CallId, RunId};
use crate::limits;
use crate::providers::request::ToolCall;
use crate::providers::{ErrorKind, ModelError, StopReason, Usage};
use crate::store::Op;
use crate::tools::{Caller, ToolContext, ToolOutcome};

use super::settle::End;
use super::talk::{Round, answer};
use super::turn::store_failed;
use super::{Run, Stage, record};

/// What the model is told of a call that was given up for new words of the user.
const STEERED_AWAY: &str = "Skipped: the user has sent a new message.";

impl Gateway {
    /// The model's answer is complete. When it asks for tools they are called; otherwise the run ends.
    pub(super) fn answer_over(&mut self, id: &RunId, stop_reason: StopReason, usage: Option<Usage>) {
        let Some(run) = self.runs.open.get_mut(id) else { return };
        run.talk.spend(usage);
        if let Some(candidate) = run.talk.chain.present() {
            self.providers.worked(candidate);
        }
        let calls: Vec<ToolCall> = run.saying.calls().cloned().collect();
        if calls.is_empty() {
            return self.end_run(id, End::Done { stop_reason, usage });
        }
        let is_clients = |call: &&ToolCall| run.ask.client_tools.iter().any(|tool| tool.name == call.name);
        let theirs: Vec<ToolCall> = calls.iter().filter(is_clients).cloned().collect();
        if !theirs.is_empty() {
            run.talk.client_calls = theirs;
            return self.end_run(id, End::Done { stop_reason: StopReason::ToolUse, usage });
        }
        if run.talk.calls >= limits::RUN_ROUNDS {
            let message = format!("the model still asked for tools after {} calls", limits::RUN_ROUNDS);
            return self.end_run(id, End::Failed(ModelError::new(ErrorKind::Unknown, message)));
        }
        self.hang_up(id);
        self.keep_answer(id, usage);
        self.call_tools(id, &calls);
    }

    /// Writes an answer that is not the run's last, and begins the next message.
    fn keep_answer(&mut self, id: &RunId, usage: Option<Usage>) {
        let now = self.now;
        let Some(run) = self.runs.open.get_mut(id) else { return };
        let cost = usage.and_then(|usage| self.providers.cost(&run.model, &usage));
        let message = record::assistant(run, &run.saying, "toolUse", (usage, cost), None, now.wall);
        run.talk.texts.extend(run.voice.visible().map(|text| text.trim().to_owned()));
        run.talk.steered.clear();
        run.talk.messages.push(std::mem::take(&mut run.saying).into_message());
        let events = run.voice.begin_message(now);
        self.append_for(id, vec![telson_proto::Json::of(&message)]);
        for event in events {
            self.publish(event);
        }
    }

    /// Adds lines to the transcript in the name of a run. A store that cannot write ends the run.
    pub(super) fn append_for(&mut self, id: &RunId, messages: Vec<telson_proto::Json>) {
        let Some(run) = self.runs.open.get(id) else { return };
        let (key, session) = (run.key.clone(), run.session.clone());
        if self.sessions.get(&key).is_none_or(|current| current.id != session) {
            return;
        }
        let mut lines = Vec::with_capacity(messages.len());
        for message in messages {
            lines.extend(self.sessions.append(self.now, &mut self.entropy, &key, message, Some(id.clone())));
        }
        let id = id.clone();
        let ops = lines.iter().cloned().map(Op::AppendEntry).collect();
        let named = key.clone();
        self.store_session(&key, ops, move |gateway, stored| match stored {
            Ok(()) => lines.iter().for_each(|line| gateway.announce_message(&named, line)),
            Err(error) => gateway.end_run(&id, End::Failed(store_failed(&error))),
        });
    }

    /// Calls the tools. What cannot be called is answered at once, so that the model can do better.
    fn call_tools(&mut self, id: &RunId, calls: &[ToolCall]) {
        let Some(run) = self.runs.open.get_mut(id) else { return };
        run.stage = Stage::Calling(Round::of(calls.to_vec()));
        for (place, call) in calls.iter().enumerate() {
            let arguments = read(&call.arguments);
            let shown = arguments.clone().unwrap_or_default();
            let Some(run) = self.runs.open.get_mut(id) else { return };
            let event = run.voice.tool_started(self.now, call, &shown, run.loud);
            let refusal = run.refusal(call, arguments.is_none());
            let context = run.tool_context(&call.id);
            self.announce_tool(event);
            match refusal {
                Some(outcome) => self.tool_answered(id, place, outcome),
                None => {
                    let started = self.call_tool(context, &call.name, &shown);
                    if let Some(Stage::Calling(round)) = self.runs.open.get_mut(id).map(|run| &mut run.stage)
                    {
                        round.pending.insert(started, place);
                    }
                }
            }
        }
        self.go_on_when_over(id);
    }

    /// A tool that a run has called has ended.
    pub(crate) fn run_tool_finished(&mut self, call: CallId, run: &RunId, outcome: ToolOutcome) {
        let Some(Stage::Calling(round)) = self.runs.open.get_mut(run).map(|run| &mut run.stage) else {
            return;
        };
        let Some(place) = round.pending.remove(&call) else { return };
        self.tool_answered(run, place, outcome);
        self.go_on_when_over(run);
    }

    fn tool_answered(&mut self, id: &RunId, place: usize, outcome: ToolOutcome) {
        let now = self.now;
        let Some(run) = self.runs.open.get_mut(id) else { return };
        let Stage::Calling(round) = &mut run.stage else { return };
        let Some(call) = round.calls.get(place) else { return };
        let event = run.voice.tool_ended(now, call, &outcome, run.loud);
        round.outcomes[place] = Some(outcome);
        self.announce_tool(event);
    }

    /// New words of the user have come for a run that waits for its tools: those are given up.
    pub(super) fn hurry_tools(&mut self, id: &RunId) {
        let Some(Stage::Calling(round)) = self.runs.open.get_mut(id).map(|run| &mut run.stage) else {
            return;
        };
        let pending = std::mem::take(&mut round.pending);
        for (call, place) in pending {
            self.abort_tool(call);
            self.tool_answered(id, place, ToolOutcome::error(STEERED_AWAY));
        }
        self.go_on_when_over(id);
    }

    /// Once every tool has answered, the results go to the transcript and to the model.
    fn go_on_when_over(&mut self, id: &RunId) {
        let now = self.now;
        let Some(run) = self.runs.open.get_mut(id) else { return };
        match &run.stage {
            Stage::Calling(round) if round.is_over() => {}
            _ => return,
        }
        let Stage::Calling(round) = std::mem::replace(&mut run.stage, Stage::Loading) else { return };
        let results = round.results("");
        run.talk.messages.push(answer(&results));
        let lines = results.iter().map(|(call, outcome)| record::tool_result(call, outcome, now.wall));
        let lines: Vec<telson_proto::Json> = lines.collect();
        self.append_for(id, lines);
        self.take_in_steering(id);
        self.call_model(id);
    }
}

impl Run {
    /// Why a call is not even tried.
    fn refusal(&mut self, call: &ToolCall, unreadable: bool) -> Option<ToolOutcome> {
        if !self.talk.tools.iter().any(|tool| tool.name == call.name) {
            let known: Vec<&str> = self.talk.tools.iter().map(|tool| tool.name.as_str()).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            return Some(ToolOutcome::error(format!("No tool named \"{}\". Available: {known}.", call.name)));
        }
        if unreadable {
            let text = "The arguments are no JSON object. Send a JSON object that fits the tool's schema.";
            return Some(ToolOutcome::error(text));
        }
        let circles = self.talk.is_circling(call);
        circles.then(|| {
            ToolOutcome::error(
                "The same call was made several times with the same arguments. Do something else, or answer.",
            )
        })
    }

    pub(super) fn tool_context(&self, call: &str) -> ToolContext {
        ToolContext {
            caller: Caller::Run { run: self.id.clone(), id: call.to_owned() },
            agent: self.agent.clone(),
            session: self.key.clone(),
            owner: self.owner.admin,
            untrusted: self.owner.untrusted,
        }
    }
}

/// The arguments of a call: an object, or nothing at all.
fn read(text: &str) -> Option<Value> {
    if text.trim().is_empty() {
        return Some(Value::Object(serde_json::Map::new()));
    }
    serde_json::from_str::<Value>(text).ok().filter(Value::is_object)
}
