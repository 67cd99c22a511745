//! A turn begins: waiting messages are collected, what was said before is loaded, and the model is asked.

use telson_proto::{ErrorShape, Json};

use crate::chat::envelope::decorate;
use crate::gateway::{Fetcher, Gateway};
use crate::ids::RunId;
use crate::limits;
use crate::messages::Outcome;
use crate::providers::request::{Block, Message, ModelRequest, Role, ToolChoice};
use crate::providers::{ErrorKind, ModelError};
use crate::store::{Loaded, Op, Query, StoreError};

use super::compact::is_too_large;
use super::context;
use super::lanes::Turn;
use super::settle::End;
use super::{Family, Purpose, Run, Stage};

/// At most this many entries of a transcript go into a prompt.
const MAX_ENTRIES: usize = 1_000;
/// Bytes of transcript for each token of the context. Words take about four: a conversation that is too large is
/// seen to be so, and summed up.
const BYTES_PER_TOKEN: u64 = 5;
/// The context that is assumed of a model of unknown size.
pub(super) const DEFAULT_CONTEXT: u64 = 32_768;
/// Bounds for the bytes of transcript that are loaded. Images count, so the upper one is generous.
const MIN_BYTES: u64 = 16 * 1024;
const MAX_BYTES: u64 = 16 * 1024 * 1024;

impl Gateway {
    /// Starts every turn for which there is a place.
    pub(super) fn start_turns(&mut self) {
        while let Some(turn) = self.runs.lanes.next(self.now.mono) {
            self.start_turn(turn);
        }
    }

    fn start_turn(&mut self, turn: Turn) {
        let Turn { key, mut runs } = turn;
        let Some(id) = runs.pop() else { return };
        let earlier = runs;
        let offset = self.settings.facts.utc_offset_secs;
        let mut texts = Vec::new();
        let mut images = Vec::new();
        for id in &earlier {
            let Some(run) = self.runs.open.get_mut(id) else { continue };
            run.stage = Stage::Settling;
            texts.push(run.take_words(offset));
            images.append(&mut run.ask.images);
        }
        let Some(run) = self.runs.open.get_mut(&id) else {
            self.runs.lanes.leave(&key);
            return;
        };
        run.stage = Stage::Loading;
        texts.push(run.take_words(offset));
        images.append(&mut run.ask.images);
        texts.retain(|text| !text.is_empty());
        run.ask.text = texts.join("\n\n");
        run.ask.images = images;
        run.collected = earlier.iter().cloned().collect();
        self.runs.active.insert(id.clone());
        if earlier.is_empty() {
            self.load_context(&id);
        } else {
            self.close_collected(earlier, id);
        }
    }

    /// The other messages that the turn answers end with an empty final, once that is stored [C-27].
    fn close_collected(&mut self, earlier: Vec<RunId>, newest: RunId) {
        let mut ops = Vec::new();
        for id in &earlier {
            let outcome = collected(id);
            ops.extend(self.answers.record(&Family::Chat.answer_key(id), &outcome, self.now));
            ops.push(Op::CloseRun(id.clone()));
        }
        self.store(ops, move |gateway, stored| {
            let failure = stored.err();
            for id in earlier {
                let end = match &failure {
                    None => End::Collected,
                    Some(error) => End::Failed(store_failed(error)),
                };
                gateway.close_run(&id, &end);
            }
            gateway.load_context(&newest);
        });
    }

    fn load_context(&mut self, id: &RunId) {
        let Some(run) = self.runs.open.get(id).filter(|run| matches!(run.stage, Stage::Loading)) else {
            return;
        };
        let model = run.ask.model.clone().unwrap_or_else(|| self.model_of(&run.key));
        let tokens = self.agents.context_tokens(&model).unwrap_or(DEFAULT_CONTEXT);
        let bytes = tokens.saturating_mul(BYTES_PER_TOKEN).clamp(MIN_BYTES, MAX_BYTES);
        let query = Query::Tail {
            session: run.session.clone(),
            limit: MAX_ENTRIES,
            max_bytes: usize::try_from(bytes).unwrap_or(usize::MAX),
        };
        let id = id.clone();
        self.load(query, move |gateway, loaded| gateway.ask_model(&id, loaded));
    }

    /// What was said before is here: the model is asked.
    fn ask_model(&mut self, id: &RunId, loaded: Result<Loaded, StoreError>) {
        if !self.runs.open.get(id).is_some_and(|run| matches!(run.stage, Stage::Loading)) {
            return;
        }
        let entries = match loaded {
            Ok(Loaded::Entries(entries)) => match self.runs.open.get(id) {
                Some(run) => self.sessions.on_branch(&run.key, entries),
                None => entries,
            },
            Ok(_) => Vec::new(),
            Err(error) => return self.end_run(id, End::Failed(store_failed(&error))),
        };
        // Words of runs that have not had their turn belong to a later prompt.
        let ours = |run: &RunId| run == id || self.runs.open.get(run).is_some_and(|run| !run.has_begun());
        let collected = self.runs.open.get(id).map(|run| run.collected.clone()).unwrap_or_default();
        let offset = self.settings.facts.utc_offset_secs;
        let history = context::history(&entries, offset, |run| ours(run) || collected.contains(run));
        self.prepare(id, history);
        let Some(run) = self.runs.open.get_mut(id) else { return };
        if run.ask.purpose == Purpose::Compact {
            if !self.compact_talk(id) {
                self.end_compaction(id, false);
            }
            return;
        }
        run.deadline = Some(self.now.mono + run.ask.timeout);
        let started = run.voice.start(self.now);
        let (key, model) = (run.key.clone(), run.model.clone());
        self.publish(started);
        self.announce_session(&key, crate::sessions::Reason::RunStarted, Some(id));
        let window = self.window_of(&model);
        let is_large = self.runs.open.get(id).is_some_and(|run| is_too_large(&run.talk.messages, window));
        if !(is_large && self.compact_talk(id)) {
            self.call_model(id);
        }
    }

    /// What holds for the whole run is settled when its turn begins: model, system prompt, tools.
    fn prepare(&mut self, id: &RunId, history: Vec<context::Line>) {
        let Some(run) = self.runs.open.get(id) else { return };
        let model = match &run.ask.model {
            Some(model) => model.clone(),
            None => self.agents.model_of(&run.agent, self.sessions.entry(&run.key)),
        };
        let entry = self.sessions.entry(&run.key);
        let own = entry.and_then(|entry| entry.verbose_level.as_deref());
        let verbose = run.ask.levels.verbose.or(own);
        let verbose = verbose.or(self.settings.agents.verbose_default.as_deref());
        // `full` shows tools too [C-20].
        let loud = matches!(verbose, Some("on" | "full"));
        let mut tools = self.tools_for(&run.tool_context(""));
        tools.extend(run.ask.client_tools.iter().cloned());
        let system = self.system_prompt(run);
        let turn = (run.ask.purpose == Purpose::Answer).then(|| run.id.clone());
        let turn = turn.map(|id| self.turn_message(&id));
        let Some(run) = self.runs.open.get_mut(id) else { return };
        run.model = model;
        run.loud = loud;
        run.talk.tools = tools;
        run.talk.system = system;
        let (messages, origins) = history.into_iter().map(|line| (line.message, line.entry)).unzip();
        (run.talk.messages, run.talk.origins) = (messages, origins);
        run.talk.messages.extend(turn);
    }

    /// Asks the model for its next answer.
    pub(super) fn call_model(&mut self, id: &RunId) {
        let Some(candidate) = self.candidate_of(id) else { return };
        let Some(run) = self.runs.open.get_mut(id).filter(|run| matches!(run.stage, Stage::Loading)) else {
            return;
        };
        run.talk.calls += 1;
        let thinking = run.ask.thinking.clone();
        let entry = self.sessions.entry(&run.key);
        let thinking = thinking.or_else(|| entry.and_then(|entry| entry.thinking_level.clone()));
        let thinking = thinking.or_else(|| Some(self.agents.thinking_default(&run.model)));
        let may_call = run.talk.calls < limits::RUN_ROUNDS;
        let request = ModelRequest {
            system: run.talk.system.clone(),
            messages: run.talk.messages.clone(),
            tools: run.talk.tools.clone(),
            tool_choice: if may_call { run.ask.tool_choice.clone() } else { ToolChoice::None },
            thinking,
            max_tokens: run.ask.max_tokens,
            sampling: run.ask.sampling.clone(),
        };
        let (stream, fetch) = match self.providers.start(self.now.mono, candidate, &request) {
            Ok(started) => started,
            Err(error) => return self.call_failed(id, error),
        };
        run.api = stream.api();
        run.stage = Stage::Streaming { stream, fetch: None };
        if let Some(request) = fetch {
            let fetch_id = self.fetch(Fetcher::Run(id.clone()), request);
            if let Some(Stage::Streaming { fetch, .. }) = self.runs.open.get_mut(id).map(|run| &mut run.stage)
            {
                *fetch = Some(fetch_id);
            }
        }
    }

    /// Lets go of a model that has said everything: what its server still sends is of no interest.
    pub(super) fn hang_up(&mut self, id: &RunId) {
        let Some(run) = self.runs.open.get_mut(id) else { return };
        if let Stage::Streaming { fetch, .. } = &mut run.stage
            && let Some(fetch) = fetch.take()
        {
            self.abort_fetch(fetch);
        }
    }

    /// The model has failed to answer.
    pub(super) fn call_failed(&mut self, id: &RunId, error: ModelError) {
        self.candidate_failed(id, &error);
        let Some(run) = self.runs.open.get(id) else { return };
        let (nothing_said, unheard) = (run.saying.is_empty(), run.saying.is_unheard());
        // A conversation that is larger than it looked is summed up, once.
        if error.kind == ErrorKind::ContextLength
            && nothing_said
            && !run.talk.compacted
            && self.compact_talk(id)
        {
            return;
        }
        if unheard && self.fall_back(id, &error) {
            return;
        }
        self.end_run(id, End::Failed(error));
    }

    /// What the model is told about itself and its task.
    fn system_prompt(&self, run: &Run) -> Option<String> {
        let profile = self.settings.agents.list.iter().find(|profile| profile.id == run.agent);
        let name = profile.and_then(|profile| profile.identity.name.as_deref().or(profile.name.as_deref()));
        let own = name.map(|name| format!("You are {name}, a personal assistant."));
        let parts: Vec<&str> = own.as_deref().into_iter().chain(run.ask.system.as_deref()).collect();
        (!parts.is_empty()).then(|| parts.join("\n\n"))
    }

    /// The user's words as the model gets them, after what the gateway has to say.
    fn turn_message(&mut self, id: &RunId) -> Message {
        let Some(run) = self.runs.open.get(id) else { return Message::user("") };
        let entry = self.sessions.entry(&run.key);
        let mut notes = Vec::new();
        if entry.is_some_and(|entry| entry.aborted_last_run == Some(true)) {
            notes.push("Note: the last answer of this conversation was cut short.".to_owned());
        }
        let stamp = context::stamp(self.now.wall);
        let events = self.system.take_events(&run.key);
        notes.extend(events.iter().map(|text| format!("System: [{stamp}] {text}")));
        let texts = [notes.join("\n"), run.ask.text.clone()];
        let text = texts.into_iter().filter(|text| !text.is_empty()).map(Block::Text);
        let images = run.ask.images.iter().cloned().map(Block::Image);
        Message { role: Role::User, blocks: text.chain(images).collect() }
    }
}

impl Run {
    /// The words of a run that has its turn, as the model gets them (spec 02 §6.5).
    fn take_words(&mut self, offset: i32) -> String {
        let words = std::mem::take(&mut self.ask.text);
        if !self.is_dressed() || (words.is_empty() && self.ask.images.is_empty()) {
            return words;
        }
        decorate(&words, self.admitted.wall, offset, &self.id)
    }

    /// Whether the model is told when the words were said. Programs and tools say what they mean to say.
    pub(super) fn is_dressed(&self) -> bool {
        self.family != Family::Inner && !self.ask.internal
    }
}

/// The answer of a message that another run answers.
pub(super) fn collected(id: &RunId) -> Outcome {
    Outcome::ok(Json::of(&telson_proto::chat::ChatAck::new(id.as_str(), "ok")))
}

/// A store that fails ends the run.
pub(super) fn store_failed(error: &StoreError) -> ModelError {
    ModelError::new(ErrorKind::Unknown, ErrorShape::from(error.clone()).message)
}
