//! The commands at work: each is begun, told what it asked for, ended, and answered once.
//!
//! A command whose gateway is gone cannot be answered; it is ended rather than left to work unseen, for the gateway
//! has told its caller that it failed.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde_json::{Value, json};

use crate::limits::{self, length};

use super::camera::{Cameras, Snap};
use super::desk::{Act, Desk, Fault, Grants, Outcome, Work};
use super::invoke::Invoke;
use super::link::request;
use super::listing::Listing;
use super::news::News;
use super::notify::Notify;
use super::policy::{PolicyGet, PolicySet};
use super::run::Run;
use super::which::Which;
use super::{JobId, NodeHost, Output, ProcessEvent};

/// As many ids of requests are remembered, so that a repeated one is not carried out twice.
const REMEMBERED: usize = 512;

/// The commands at work.
#[derive(Default)]
pub(super) struct Jobs {
    jobs: BTreeMap<JobId, Job>,
    next: u64,
    /// Requests that came, the oldest first.
    seen: VecDeque<String>,
    grants: Grants,
    /// The number of the last request that was sent to the gateway.
    sent: u64,
}

struct Job {
    id: String,
    node_id: String,
    work: Box<dyn Work + Send>,
    /// Whether it has a process.
    process: bool,
    /// The pieces of progress that were sent.
    pieces: u64,
}

impl Jobs {
    /// When something is due.
    pub(super) fn deadline(&self) -> Option<Duration> {
        self.jobs.values().filter_map(|job| job.work.deadline()).min()
    }

    /// Whether a request is new.
    fn is_new(&mut self, id: &str) -> bool {
        if self.seen.iter().any(|seen| seen == id) {
            return false;
        }
        if self.seen.len() >= REMEMBERED {
            self.seen.pop_front();
        }
        self.seen.push_back(id.to_owned());
        true
    }
}

/// What carries out a command.
fn work(invoke: &Invoke, machine: &super::Machine) -> Result<Box<dyn Work + Send>, Fault> {
    if !machine.commands().contains(&invoke.command.as_str()) {
        return Err(Fault::unavailable(format!(
            "command not supported: this node has {}",
            machine.commands().join(", ")
        )));
    }
    let params = invoke.params.as_ref().map_err(Fault::invalid)?;
    Ok(match invoke.command.as_str() {
        "system.run" => Box::new(Run::new(params, machine)?),
        "system.which" => Box::new(Which::new(params)?),
        "system.notify" => Box::new(Notify::new(params, machine)?),
        "system.execApprovals.get" => Box::new(PolicyGet::default()),
        "system.execApprovals.set" => Box::new(PolicySet::new(params)?),
        "fs.listDir" => Box::new(Listing::new(params, machine)?),
        "camera.list" => Box::new(Cameras),
        "camera.snap" => Box::new(Snap::new(params, machine)?),
        _ => return Err(Fault::unavailable("command not supported")),
    })
}

impl NodeHost {
    /// A request came.
    pub(super) fn invoked(&mut self, payload: Value) {
        let Some(invoke) = Invoke::read(payload) else { return };
        if !self.jobs.is_new(&invoke.id) {
            return;
        }
        let busy = self.jobs.jobs.len() >= length(limits::NODE_JOBS);
        let made = if busy {
            Err(Fault::unavailable("this node is busy with other commands; try again later"))
        } else {
            work(&invoke, &self.settings.machine)
        };
        let Invoke { id, node_id, command, .. } = invoke;
        match made {
            Ok(work) => {
                let job = JobId(self.jobs.next);
                self.jobs.next += 1;
                self.jobs.jobs.insert(job, Job { id, node_id, work, process: false, pieces: 0 });
                self.with_job(job, |work, desk| work.begin(desk));
            }
            Err(fault) => {
                self.say(
                    News::new("refused", format!("{command} refused: {}", fault.message))
                        .with("command", command),
                );
                self.result(&id, &node_id, Err(fault));
            }
        }
    }

    /// The gateway does not want it any more.
    pub(super) fn cancelled(&mut self, payload: &Value) {
        let id = ["id", "invokeId"].iter().find_map(|name| payload.get(*name)?.as_str());
        let Some(id) = id.map(str::trim) else { return };
        let job = self.jobs.jobs.iter().find(|(_, job)| job.id == id).map(|(job, _)| *job);
        if let Some(job) = job {
            self.end_job(job, Some(Err(Fault::unavailable("cancelled by the gateway"))));
        }
    }

    /// Its process has moved.
    pub(super) fn job_moved(&mut self, job: JobId, event: ProcessEvent) {
        if let Some(at_work) = self.jobs.jobs.get_mut(&job) {
            at_work.process &= !matches!(event, ProcessEvent::Exited(_) | ProcessEvent::Failed(_));
        }
        self.with_job(job, |work, desk| work.moved(desk, event));
    }

    /// Its errand is done.
    pub(super) fn job_told(&mut self, job: JobId, outcome: Outcome) {
        self.with_job(job, |work, desk| work.told(desk, outcome));
    }

    /// Does what is due.
    pub(super) fn jobs_due(&mut self) {
        let now = self.now.mono;
        let due = |job: &Job| job.work.deadline().is_some_and(|at| at <= now);
        let due: Vec<JobId> = self.jobs.jobs.iter().filter(|(_, job)| due(job)).map(|(id, _)| *id).collect();
        for job in due {
            self.with_job(job, |work, desk| work.due(desk));
        }
    }

    /// Ends every command: nobody can be answered.
    pub(super) fn give_up_jobs(&mut self) {
        let all: Vec<JobId> = self.jobs.jobs.keys().copied().collect();
        for job in all {
            self.end_job(job, None);
        }
    }

    fn end_job(&mut self, job: JobId, answer: Option<Result<Value, Fault>>) {
        let Some(ended) = self.jobs.jobs.remove(&job) else { return };
        if ended.process {
            self.output(Output::Kill(job));
        }
        if let Some(answer) = answer {
            self.result(&ended.id, &ended.node_id, answer);
        }
    }

    /// Lets a command do something, then what it asks for.
    fn with_job(&mut self, job: JobId, step: impl FnOnce(&mut dyn Work, &mut Desk<'_>)) {
        let Some((_, terms)) = self.line() else { return };
        let Jobs { jobs, grants, .. } = &mut self.jobs;
        let Some(at_work) = jobs.get_mut(&job) else { return };
        let understood = (terms.protocol, terms.progress);
        let mut desk = Desk::new(self.now, &self.settings.machine, &mut self.entropy, understood, grants);
        step(at_work.work.as_mut(), &mut desk);
        for act in desk.into_acts() {
            self.perform(job, act);
        }
    }

    fn perform(&mut self, job: JobId, act: Act) {
        match act {
            Act::Ask(errand) => self.output(Output::Do(job, errand)),
            Act::Spawn(program) => {
                if let Some(at_work) = self.jobs.jobs.get_mut(&job) {
                    at_work.process = true;
                }
                self.output(Output::Spawn(job, program));
            }
            Act::Kill => self.output(Output::Kill(job)),
            Act::Event(event, payload) => {
                self.ask("node.event", &json!({"event": event, "payloadJSON": payload.to_string()}));
            }
            Act::Progress(chunk) => {
                let Some(at_work) = self.jobs.jobs.get_mut(&job) else { return };
                let (id, node, seq) = (at_work.id.clone(), at_work.node_id.clone(), at_work.pieces);
                at_work.pieces += 1;
                let params = json!({"invokeId": id, "nodeId": node, "seq": seq, "chunk": chunk});
                self.ask("node.invoke.progress", &params);
            }
            Act::Say(news) => self.say(news),
            Act::Answer(outcome) => self.end_job(job, Some(outcome)),
        }
    }

    /// Answers a request, within what the gateway takes.
    fn result(&mut self, id: &str, node_id: &str, outcome: Result<Value, Fault>) {
        let Some((_, terms)) = self.line() else { return };
        // What stands around the payload, its own quotes escaped once more.
        let room = terms.most_bytes.saturating_sub(2_048 + id.len() + node_id.len());
        let params = match outcome.and_then(|payload| fit(payload, room)) {
            Ok(text) => json!({"id": id, "nodeId": node_id, "ok": true, "payloadJSON": text}),
            Err(Fault { code, message }) => {
                json!({"id": id, "nodeId": node_id, "ok": false, "error": {"code": code, "message": message}})
            }
        };
        self.ask("node.invoke.result", &params);
    }

    /// Sends a request whose answer changes nothing.
    fn ask(&mut self, method: &str, params: &Value) {
        let Some((link, _)) = self.line() else { return };
        self.jobs.sent += 1;
        let id = format!("n{}", self.jobs.sent);
        self.output(request(link, &id, method, params));
    }
}

/// The text of a payload that is not longer than the room for it once it stands inside a frame. Output is cut for it
/// and marked.
fn fit(mut payload: Value, room: usize) -> Result<String, Fault> {
    loop {
        let text = payload.to_string();
        let escaped = text.bytes().filter(|byte| matches!(byte, b'"' | b'\\')).count();
        if text.len() + escaped <= room {
            return Ok(text);
        }
        let mut cut = false;
        for name in ["stdout", "stderr"] {
            if let Some(Value::String(output)) = payload.get_mut(name)
                && output.len() > 64
            {
                let mut half = output.len() / 2;
                while !output.is_char_boundary(half) {
                    half -= 1;
                }
                output.truncate(half);
                output.push_str("\n... (truncated)");
                cut = true;
            }
        }
        if !cut {
            return Err(Fault::unavailable(format!(
                "the answer has {} bytes, more than the gateway takes",
                text.len()
            )));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn an_answer_is_cut_to_what_the_gateway_takes_and_says_so() {
        let payload = json!({"exitCode": 0, "stdout": "\u{1}\"\\".repeat(60_000), "stderr": "e"});
        let text = fit(payload, 100_000).unwrap();
        assert!(json!(text).to_string().len() <= 100_002, "{}", text.len());
        let read: Value = serde_json::from_str(&text).unwrap();
        assert!(read["stdout"].as_str().unwrap().ends_with("... (truncated)"));
        assert_eq!(read["stderr"], "e");
        assert!(fit(json!({"base64": "x".repeat(1_000)}), 500).is_err(), "a picture cannot be cut");
    }
}
