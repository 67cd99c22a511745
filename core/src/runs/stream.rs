//! While a run streams: what the model says becomes events; time and the outbound request move it on.

use crate::fetch::FetchEvent;
use crate::gateway::Gateway;
use crate::ids::{FetchId, RunId};
use crate::messages::Outcome;
use crate::providers::ModelEvent;

use super::memory::timed_out;
use super::settle::End;
use super::{Asker, Run, Stage};

impl Gateway {
    /// A run's outbound request has moved.
    pub(crate) fn run_fetched(&mut self, id: &RunId, fetched: FetchId, event: FetchEvent) {
        let Some(run) = self.runs.open.get_mut(id) else { return };
        let (stream, fetch) = match &mut run.stage {
            Stage::Streaming { stream, fetch } => (stream, fetch),
            Stage::Compacting(compacting) => (&mut compacting.stream, &mut compacting.fetch),
            _ => return,
        };
        if *fetch != Some(fetched) {
            return;
        }
        if matches!(event, FetchEvent::End | FetchEvent::Failed(_)) {
            *fetch = None;
        }
        let said = stream.fetched(event);
        self.model_said(id, said);
    }

    /// Does what is due: words of a stream, held-back events, the ends of runs and of waits.
    pub(crate) fn run_timeouts(&mut self) {
        let now = self.now.mono;
        let due: Vec<RunId> = self
            .runs
            .active
            .iter()
            .filter(|id| self.runs.open.get(*id).and_then(Run::next_deadline).is_some_and(|due| due <= now))
            .cloned()
            .collect();
        for id in due {
            self.run_timeout(&id);
        }
        self.start_turns();
        for (run, wait) in self.runs.waits.expired(now) {
            self.reply(wait.ticket, Outcome::ok(timed_out(&run)));
        }
    }

    fn run_timeout(&mut self, id: &RunId) {
        let now = self.now;
        let Some(run) = self.runs.open.get_mut(id) else { return };
        if run.deadline.is_some_and(|deadline| deadline <= now.mono) {
            return self.end_run(id, End::Aborted { reason: "timeout".to_owned() });
        }
        let said = match &mut run.stage {
            Stage::Streaming { stream, .. } => stream.timeout(now.mono),
            Stage::Compacting(compacting) => compacting.stream.timeout(now.mono),
            _ => Vec::new(),
        };
        let held_back = run.voice.timeout(now);
        for event in held_back {
            self.publish(event);
        }
        self.model_said(id, said);
    }

    /// The model has said something. Words that came together go out together.
    fn model_said(&mut self, id: &RunId, said: Vec<ModelEvent>) {
        if self.runs.open.get(id).is_some_and(|run| matches!(run.stage, Stage::Compacting(_))) {
            return self.summary_said(id, said);
        }
        let mut words = String::new();
        let Some(run) = self.runs.open.get_mut(id) else { return };
        for event in &said {
            run.saying.hear(event, run.api);
            if let ModelEvent::Text(text) = event {
                words.push_str(text);
            }
        }
        if !words.is_empty() {
            let asker = run.asker.clone();
            for event in run.voice.say(self.now, &words) {
                self.publish(event);
            }
            if let Asker::Http(request) = asker {
                self.api_run_said(request, id, &words);
            }
        }
        match said.into_iter().next_back() {
            Some(ModelEvent::Done { stop_reason, usage }) => self.answer_over(id, stop_reason, usage),
            Some(ModelEvent::Failed(error)) => self.call_failed(id, error),
            _ => {}
        }
    }
}
