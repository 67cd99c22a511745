//! `system.run`: a command, judged by this machine's own policy before it runs (spec 03 §3.7, 08 S-53, S-55).
//!
//! Whoever reaches the gateway with the right to write can send what it likes; that an approval was given must come
//! from the gateway itself. A gateway of protocol 4 takes a caller's approval flags away and puts its own in their
//! place when the run's id names an approval that it has checked. One of protocol 3 passes on whatever it was sent,
//! so that there an approval counts for nothing.
//!
//! ```text
//! reading the policy ─→ judging ⇄ looking up ─→ noting the use ─→ running ─→ answered
//!                          └─→ denied
//! ```

mod lookup;
mod request;

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::approvals::evaluate::{Command, Outcome as Ruling, Policy, Surroundings as _, Verdict};
use crate::approvals::policy::{ApprovalsFile, Security};

use super::desk::{Act, Desk, Errand, Fault, Outcome, Work};
use super::link::later;
use super::news::News;
use super::output::{Capture, Stream};
use super::settings::Machine;
use super::{ProcessEvent, Program, policy};

use lookup::{Lookup, Questions};
use request::{Approval, Judged, RunRequest};

/// How often a policy that changes meanwhile is read anew.
const TRIES: u32 = 4;

/// How much of a command and of its output an event carries, in characters.
const EVENT: (usize, usize) = (2_000, 20_000);

/// Programs that run what their arguments say: to list one would be to list everything. An approval lets them run, and
/// teaches nothing.
const CARRIERS: &[&str] = &[
    "ash",
    "awk",
    "bash",
    "busybox",
    "bun",
    "chroot",
    "csh",
    "dash",
    "deno",
    "doas",
    "ed",
    "env",
    "expect",
    "find",
    "fish",
    "flock",
    "gawk",
    "ionice",
    "ksh",
    "lua",
    "make",
    "mawk",
    "nice",
    "node",
    "nohup",
    "npx",
    "nsenter",
    "osascript",
    "parallel",
    "perl",
    "php",
    "pkexec",
    "python",
    "ruby",
    "runuser",
    "script",
    "setsid",
    "sh",
    "ssh",
    "stdbuf",
    "strace",
    "su",
    "sudo",
    "systemd-run",
    "taskset",
    "tclsh",
    "time",
    "timeout",
    "toybox",
    "unshare",
    "vi",
    "vim",
    "watch",
    "xargs",
    "zsh",
];

/// A command that is to run.
pub(super) struct Run {
    request: RunRequest,
    run_id: String,
    phase: Phase,
    tries: u32,
    /// Whether the approval was taken for this command.
    approved: bool,
}

enum Phase {
    Reading,
    Judging(Box<Case>),
    Noting(Box<Case>),
    Running(Box<Running>),
    Over,
}

/// What a judgement is made of.
struct Case {
    raw: Option<String>,
    file: ApprovalsFile,
    policy: Policy,
    lookup: Lookup,
    asked: Questions,
}

struct Running {
    capture: Capture,
    until: Duration,
    timed_out: bool,
    /// Whether it was killed; its end is awaited.
    killed: bool,
}

impl Run {
    pub(super) fn new(params: &Value, machine: &Machine) -> Result<Self, Fault> {
        let request = RunRequest::read(params, machine)?;
        Ok(Self { request, run_id: String::new(), phase: Phase::Reading, tries: 0, approved: false })
    }

    fn judge(&mut self, desk: &mut Desk<'_>, mut case: Box<Case>) {
        let opaque = [String::new()];
        let command = match &self.request.judged {
            Judged::Argv => Command::Argv(&self.request.argv),
            Judged::Script(script) => Command::Shell(script),
            Judged::Opaque => Command::Argv(&opaque),
        };
        let verdict = case.policy.judge(command, &case.lookup);
        if let Some(program) = self.request.argv.first()
            && case.lookup.program(program).is_none()
        {
            // What starts is looked up as well, so that it is the same that was judged.
            let _ = case.lookup.resolve(program);
        }
        if let Some(open) = case.lookup.open() {
            if case.lookup.is_excessive() {
                return self.deny(desk, "analysis-failed", "SYSTEM_RUN_DENIED: approval required");
            }
            case.asked = open;
            let (programs, files) = (case.asked.programs.iter().cloned(), case.asked.files.iter().cloned());
            desk.act(Act::Ask(Errand::Look {
                programs: programs.collect(),
                files: files.collect(),
                path: desk.machine.path().to_owned(),
                cwd: self.request.cwd.clone(),
            }));
            self.phase = Phase::Judging(case);
            return;
        }
        self.rule(desk, case, &verdict);
    }

    /// Every answer is there: the ruling is carried out.
    fn rule(&mut self, desk: &mut Desk<'_>, mut case: Box<Case>, verdict: &Verdict) {
        match verdict.outcome {
            Ruling::Refuse if case.policy.security == Security::Deny => {
                return self.deny(desk, "security=deny", "SYSTEM_RUN_DISABLED: security=deny");
            }
            Ruling::Refuse => return self.deny(desk, "allowlist-miss", "SYSTEM_RUN_DENIED: allowlist miss"),
            Ruling::Ask if !self.is_approved(desk) => {
                return self.deny(desk, "approval-required", "SYSTEM_RUN_DENIED: approval required");
            }
            Ruling::Ask | Ruling::Run => {}
        }
        if self.request.needs_screen {
            return self.deny(desk, "permission:screenRecording", "PERMISSION_MISSING: screenRecording");
        }
        let always = self.approved
            && self.request.approval == Approval::Always
            && case.policy.security == Security::Allowlist
            && verdict.fault.is_none();
        let (agent, text) = (self.request.agent.as_str(), shorten(&self.request.text, EVENT.0));
        let mut changed = false;
        if always {
            let plain: Vec<String> =
                verdict.executables.iter().filter(|path| !carries(path)).cloned().collect();
            changed = case.file.allow_always(agent, &text, &plain, || desk.entropy.uuid());
        }
        for (pattern, resolved) in &verdict.used {
            case.file.note_use(agent, pattern, desk.now.wall, &text, resolved);
            changed = true;
        }
        if changed && policy::is_sound(case.raw.as_deref()) {
            let (text, was) = (case.file.text(), case.raw.clone());
            desk.act(Act::Ask(Errand::WritePolicy { text, was }));
            self.phase = Phase::Noting(case);
        } else {
            self.start(desk, &case);
        }
    }

    /// Whether somebody has allowed this very command (see the module's documentation). An approval is used up by
    /// the first command that it lets run.
    fn is_approved(&mut self, desk: &mut Desk<'_>) -> bool {
        if self.request.approval == Approval::None || self.approved {
            return self.approved;
        }
        let run_id = self.request.run_id.as_deref().filter(|_| desk.protocol >= 4);
        self.approved = run_id.is_some_and(|run_id| desk.grants.take(run_id));
        if !self.approved {
            let text =
                "an approval was passed over: the gateway does not vouch for it, or it was used before";
            desk.act(Act::Say(News::urgent("approval-ignored", text)));
        }
        self.approved
    }

    fn start(&mut self, desk: &mut Desk<'_>, case: &Case) {
        let mut argv = self.request.argv.iter().cloned();
        let named = argv.next().unwrap_or_default();
        let Some(program) = case.lookup.program(&named) else {
            let reason = format!("{} is not found on this node", shorten(&named, 200));
            return self.finish(desk, None, &Capture::default(), Some(reason), false);
        };
        if !self.request.env.left_out.is_empty() {
            let names = self.request.env.left_out.join(", ");
            let text =
                format!("variables that a caller must not set were left out: {}", shorten(&names, 500));
            desk.act(Act::Say(News::new("env-left-out", text)));
        }
        let mut env = desk.machine.environment.clone();
        env.insert("PATH".to_owned(), desk.machine.path().to_owned());
        env.extend(self.request.env.taken.clone());
        let program = program.to_owned();
        desk.act(Act::Spawn(Program { program, args: argv.collect(), env, cwd: self.request.cwd.clone() }));
        if desk.protocol >= 4 {
            // A gateway of protocol 3 would wake its agent for it.
            let started = self.event(Map::new());
            desk.act(Act::Event("exec.started", started));
        }
        let until = later(desk.now, self.request.timeout);
        let capture = Capture::default();
        self.phase = Phase::Running(Box::new(Running { capture, until, timed_out: false, killed: false }));
    }

    fn deny(&mut self, desk: &mut Desk<'_>, reason: &str, message: &str) {
        self.phase = Phase::Over;
        let denied = self.event(Map::from_iter([("reason".to_owned(), reason.into())]));
        desk.act(Act::Event("exec.denied", denied));
        let text = format!("denied ({reason}): {}", shorten(&self.request.text, 200));
        desk.act(Act::Say(News::new("denied", text).with("reason", reason)));
        desk.answer(Err(Fault::unavailable(message)));
    }

    fn finish(
        &mut self,
        desk: &mut Desk<'_>,
        code: Option<i32>,
        capture: &Capture,
        error: Option<String>,
        timed_out: bool,
    ) {
        self.phase = Phase::Over;
        let success = code == Some(0) && !timed_out && error.is_none();
        let (stdout, stderr) = capture.texts();
        let all: Vec<&str> = [stdout.trim(), stderr.trim(), error.as_deref().unwrap_or_default()]
            .into_iter()
            .filter(|text| !text.is_empty())
            .collect();
        let mut end = Map::new();
        end.insert("timedOut".to_owned(), timed_out.into());
        end.insert("success".to_owned(), success.into());
        if let Some(code) = code {
            end.insert("exitCode".to_owned(), code.into());
        }
        let mut finished = end.clone();
        let output = tail(&all.join("\n"), EVENT.1);
        if !output.is_empty() {
            finished.insert("output".to_owned(), output.into());
        }
        let finished = self.event(finished);
        desk.act(Act::Event("exec.finished", finished));
        let how = match (code, timed_out) {
            (_, true) => "time was up".to_owned(),
            (Some(code), _) => format!("exit {code}"),
            (None, _) => "no exit code".to_owned(),
        };
        let program = self.request.argv.first().map_or("", String::as_str);
        let ran = News::new("ran", format!("ran {} ({how})", shorten(program, 200)));
        desk.act(Act::Say(ran.with("exitCode", code).with("timedOut", timed_out)));
        end.insert("stdout".to_owned(), stdout.into());
        end.insert("stderr".to_owned(), stderr.into());
        end.insert("error".to_owned(), error.into());
        desk.answer(Ok(Value::Object(end)));
    }

    /// The payload of an event.
    fn event(&self, more: Map<String, Value>) -> Value {
        let mut event = json!({
            "sessionKey": self.request.session,
            "runId": self.run_id,
            "host": "node",
            "command": shorten(&self.request.text, EVENT.0),
        });
        if let Some(event) = event.as_object_mut() {
            event.extend(more);
        }
        event
    }

    fn pass_on(running: &mut Running, desk: &mut Desk<'_>, end: bool) {
        for piece in running.capture.pieces(end) {
            desk.act(Act::Progress(piece));
        }
    }
}

impl Work for Run {
    fn begin(&mut self, desk: &mut Desk<'_>) {
        self.run_id = self.request.run_id.clone().unwrap_or_else(|| desk.entropy.uuid());
        desk.act(Act::Ask(Errand::ReadPolicy));
    }

    fn told(&mut self, desk: &mut Desk<'_>, outcome: Outcome) {
        match (std::mem::replace(&mut self.phase, Phase::Over), outcome) {
            (Phase::Reading, Outcome::Policy(raw)) => {
                let file = policy::parse(desk, raw.as_deref());
                let policy = Policy::of(&file, &self.request.agent);
                let lookup = Lookup::new(desk.machine.home.clone());
                let asked = Questions::default();
                self.judge(desk, Box::new(Case { raw, file, policy, lookup, asked }));
            }
            (Phase::Judging(mut case), Outcome::Found { programs, files }) => {
                let asked = std::mem::take(&mut case.asked);
                case.lookup.learn(&asked, &programs, &files);
                self.judge(desk, case);
            }
            (Phase::Noting(case), Outcome::Written) => self.start(desk, &case),
            // What has changed may forbid it.
            (Phase::Noting(_), Outcome::Changed) if self.tries < TRIES => {
                self.tries += 1;
                self.phase = Phase::Reading;
                desk.act(Act::Ask(Errand::ReadPolicy));
            }
            (Phase::Noting(_), Outcome::Changed) => {
                desk.answer(Err(Fault::unavailable(
                    "the exec policy of this node keeps changing; try again",
                )));
            }
            // A use that cannot be noted is no reason to forbid what the policy allows.
            (Phase::Noting(case), Outcome::Failed(reason)) => {
                desk.act(Act::Say(News::urgent(
                    "policy",
                    format!("the use of the exec policy cannot be noted: {reason}"),
                )));
                self.start(desk, &case);
            }
            (Phase::Reading | Phase::Judging(_), Outcome::Failed(reason)) => {
                desk.answer(Err(Fault::unavailable(format!("SYSTEM_RUN_DENIED: {reason}"))));
            }
            (phase, _) => self.phase = phase,
        }
    }

    fn moved(&mut self, desk: &mut Desk<'_>, event: ProcessEvent) {
        let Phase::Running(running) = &mut self.phase else { return };
        match event {
            ProcessEvent::Stdout(bytes) => {
                running.capture.push(desk.now.mono, Stream::Out, &bytes, desk.progress);
            }
            ProcessEvent::Stderr(bytes) => {
                running.capture.push(desk.now.mono, Stream::Err, &bytes, desk.progress);
            }
            ProcessEvent::Exited(code) => {
                Self::pass_on(running, desk, true);
                let (capture, timed_out) = (std::mem::take(&mut running.capture), running.timed_out);
                self.finish(desk, code, &capture, None, timed_out);
            }
            ProcessEvent::Failed(reason) => {
                let (capture, timed_out) = (std::mem::take(&mut running.capture), running.timed_out);
                self.finish(desk, None, &capture, Some(reason), timed_out);
            }
        }
    }

    fn deadline(&self) -> Option<Duration> {
        let Phase::Running(running) = &self.phase else { return None };
        let until = (!running.killed).then_some(running.until);
        crate::time::earliest(until, running.capture.due())
    }

    fn due(&mut self, desk: &mut Desk<'_>) {
        let Phase::Running(running) = &mut self.phase else { return };
        if running.capture.due().is_some_and(|at| at <= desk.now.mono) {
            Self::pass_on(running, desk, false);
        }
        if !running.killed && running.until <= desk.now.mono {
            running.timed_out = true;
            running.killed = true;
            desk.act(Act::Kill);
        }
    }
}

/// Whether an executable runs what its arguments say; versions at the end of its name do not matter.
fn carries(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let bare = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.' || c == '-');
    CARRIERS.contains(&name) || CARRIERS.contains(&bare)
}

/// The beginning of a text.
fn shorten(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
    }
}

/// The end of a text.
fn tail(text: &str, most: usize) -> String {
    let count = text.chars().count();
    if count <= most {
        return text.to_owned();
    }
    let end: String = text.chars().skip(count - most).collect();
    format!("... (truncated) {end}")
}
