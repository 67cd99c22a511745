//! Short questions to the tailnet's program: one process each, with a deadline and a limit on what it may write.

use std::net::IpAddr;
use std::time::Duration;

use crate::gateway::{Gateway, Runner};
use crate::ids::ProcessId;
use crate::limits;
use crate::process::{ProcessEvent, ProcessSpec};

/// What is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum About {
    /// How the service stands.
    Daemon,
    /// Whether the claim is active.
    Route,
    /// Whose an address is.
    Address(IpAddr),
}

/// A question that is not answered yet.
pub(super) struct Question {
    pub(super) about: About,
    /// When it counts as not answered.
    pub(super) until: Duration,
    said: String,
}

/// How the adapter tells of a program that did what it was asked to do.
const SUCCESS: &str = "exit status: 0";

impl Gateway {
    /// Asks the tailnet's program; the answer comes to [`Self::tailscale_answered`]. False without a program.
    pub(super) fn ask_tailscale(&mut self, about: About, args: &[&str], patience: u64) -> bool {
        let Some(process) = self.run_tailscale(args) else { return false };
        let until = self.now.mono + limits::millis(patience);
        self.tailscale.questions.insert(process, Question { about, until, said: String::new() });
        true
    }

    /// Starts the tailnet's program. Arguments that come from anywhere else than this source are addresses that
    /// were parsed, so none can begin with a dash. It sees nothing of the gateway's own search path.
    pub(super) fn run_tailscale(&mut self, args: &[&str]) -> Option<ProcessId> {
        let program = self.settings.tailscale.program.clone()?;
        let env = [("PATH", "/usr/bin:/bin:/usr/sbin:/sbin"), ("LANG", "C")];
        let spec = ProcessSpec {
            program,
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            env: env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            cwd: Some("/".to_owned()),
        };
        Some(self.spawn(Runner::Tailscale, spec))
    }

    /// A question's process has moved.
    pub(super) fn question_moved(&mut self, id: ProcessId, event: ProcessEvent) {
        let Some(question) = self.tailscale.questions.get_mut(&id) else { return };
        match event {
            ProcessEvent::Stdout(line) => {
                let size = question.said.len() + line.len();
                if size as u64 > limits::TAILSCALE_OUTPUT_BYTES {
                    self.kill(id);
                    return self.question_over(id, false);
                }
                question.said.push_str(&line);
                question.said.push('\n');
            }
            ProcessEvent::Stderr(line) => {
                tracing::debug!(target: "gateway.tailscale", "{}", super::shown(&line));
            }
            ProcessEvent::Exited(how) => self.question_over(id, how == SUCCESS),
            ProcessEvent::Failed(reason) => {
                tracing::warn!(target: "gateway.tailscale", "{}", super::shown(&reason));
                self.question_over(id, false);
            }
        }
    }

    fn question_over(&mut self, id: ProcessId, fine: bool) {
        if let Some(question) = self.tailscale.questions.remove(&id) {
            self.tailscale_answered(question.about, fine.then_some(question.said.as_str()));
        }
    }

    /// Gives up the questions whose time is over.
    pub(super) fn question_timeouts(&mut self) {
        let now = self.now.mono;
        let late = self.tailscale.questions.iter().filter(|(_, question)| question.until <= now);
        let late: Vec<ProcessId> = late.map(|(id, _)| *id).collect();
        for id in late {
            self.kill(id);
            self.question_over(id, false);
        }
    }

    /// Gives up the questions about something, unanswered.
    pub(super) fn forget_questions(&mut self, which: impl Fn(About) -> bool) {
        let these = self.tailscale.questions.iter().filter(|(_, question)| which(question.about));
        let these: Vec<ProcessId> = these.map(|(id, _)| *id).collect();
        for id in these {
            self.tailscale.questions.remove(&id);
            self.kill(id);
        }
    }
}
