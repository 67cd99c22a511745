//! What a message does while its session is busy (spec 02 §10.2, §10.3).

use crate::chat::envelope::decorate;
use crate::gateway::Gateway;
use crate::ids::{RunId, SessionKey};
use crate::providers::request::{Block, Message, Role};
use crate::settings::{QueueDrop, QueueMode, QueueSettings};
use crate::store::Op;

use super::lanes::{Kind, Lane};
use super::settle::End;
use super::turn::{collected, store_failed};
use super::{Family, Run, Stage};

impl Gateway {
    /// A run that is admitted and acknowledged takes its place.
    pub(super) fn queue_run(&mut self, id: &RunId) {
        let Some(run) = self.runs.open.get(id) else { return };
        let (key, family) = (run.key.clone(), run.family);
        let lane = Lane::of(run.ask.lane.as_deref(), &key);
        let rule = self.queue_rule(run);
        let kind = match (family, rule.mode) {
            (Family::Agent | Family::Inner, _) | (Family::Chat, QueueMode::Followup) => Kind::Alone,
            (Family::Chat, QueueMode::Collect | QueueMode::Interrupt) => Kind::Collects,
            (Family::Chat, QueueMode::Steer) => Kind::Steers,
            (Family::Chat, QueueMode::SteerBacklog) => Kind::Backlog,
        };
        if family == Family::Chat {
            if rule.mode == QueueMode::Interrupt {
                self.interrupt_others(&key, id);
            }
            if !self.make_room(&key, id, &rule) {
                return;
            }
        }
        // Nobody waits for more words after those that interrupt.
        let waits = rule.mode != QueueMode::Interrupt;
        let quiet_at = if waits { self.now.mono + rule.debounce } else { self.now.mono };
        self.runs.lanes.enter(&key, id.clone(), kind, lane, quiet_at);
        if matches!(kind, Kind::Steers | Kind::Backlog)
            && let Some(turn) = self.turn_of(&key)
        {
            self.hurry_tools(&turn);
        }
        self.start_turns();
    }

    /// The rule for a message: its own, its session's, or the configured one.
    fn queue_rule(&self, run: &Run) -> QueueSettings {
        let mut rule = self.settings.agents.queue.of(self.sessions.entry(&run.key));
        rule.mode = run.ask.queue.unwrap_or(rule.mode);
        rule
    }

    /// Ends everything of the session but this run.
    fn interrupt_others(&mut self, key: &SessionKey, newest: &RunId) {
        for run in self.runs_of(key) {
            if run != *newest {
                self.abort_run(&run, "interrupt");
            }
        }
    }

    /// Sees to it that not too many messages wait. False when this one has no turn.
    fn make_room(&mut self, key: &SessionKey, newest: &RunId, rule: &QueueSettings) -> bool {
        let waiting: Vec<RunId> = self.runs.lanes.waiting(key).cloned().collect();
        if waiting.len() < rule.cap.max(1) {
            return true;
        }
        let dropped = match rule.drop {
            QueueDrop::New => newest,
            // What goes stays in the transcript, so the next turn knows it.
            QueueDrop::Old | QueueDrop::Summarize => match waiting.first() {
                Some(oldest) => oldest,
                None => return true,
            },
        };
        self.end_run(dropped, End::Collected);
        dropped != newest
    }

    /// The run whose turn it is in a session.
    fn turn_of(&self, key: &SessionKey) -> Option<RunId> {
        self.sessions.active_runs(key).find(|id| self.runs.active.contains(*id)).cloned()
    }

    /// The running turn takes in the words that steer it. Their runs end with an empty final: this turn answers.
    pub(super) fn take_in_steering(&mut self, id: &RunId) {
        let Some(key) = self.runs.open.get(id).map(|run| run.key.clone()) else { return };
        let offset = self.settings.facts.utc_offset_secs;
        let mut closed = Vec::new();
        let mut ops = Vec::new();
        for (steering, kind) in self.runs.lanes.steering(&key) {
            let Some(run) = self.runs.open.get_mut(&steering) else { continue };
            let words = decorate(&run.ask.text, run.admitted.wall, offset, &steering);
            let words = Some(Block::Text(words));
            let images = run.ask.images.iter().cloned().map(Block::Image);
            let message = Message { role: Role::User, blocks: words.into_iter().chain(images).collect() };
            if kind == Kind::Steers {
                run.stage = Stage::Settling;
                let answer_key = run.family.answer_key(&steering);
                ops.extend(self.answers.record(&answer_key, &collected(&steering), self.now));
                ops.push(Op::CloseRun(steering.clone()));
                closed.push(steering.clone());
            }
            let Some(turn) = self.runs.open.get_mut(id) else { continue };
            turn.talk.messages.push(message);
            turn.talk.steered.push(steering);
        }
        if closed.is_empty() {
            return;
        }
        self.store(ops, move |gateway, stored| {
            for id in closed {
                let end = match &stored {
                    Ok(()) => End::Collected,
                    Err(error) => End::Failed(store_failed(error)),
                };
                gateway.close_run(&id, &end);
            }
        });
    }
}
