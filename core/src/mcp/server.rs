//! One server: its protocol, how it is reached, and its failures.

use std::time::Duration;

use crate::ids::ProcessId;
use crate::time::earliest;
use crate::tools::wildcard;

use super::ServerStatus;
use super::session::Session;
use super::settings::McpServerSettings;

const FIRST_REST: Duration = Duration::from_secs(1);
const LONGEST_REST: Duration = Duration::from_secs(60);
/// A server that has been ready for so long has earned a fresh start.
const GOOD_WHILE: Duration = Duration::from_secs(60);
/// So many lines in a row that are no messages end a process.
const MAX_NOISE: u32 = 32;

/// A server.
pub(super) struct Server {
    pub(super) settings: McpServerSettings,
    pub(super) session: Session,
    pub(super) state: State,
    /// The process, while there is one.
    pub(super) process: Option<ProcessId>,
    /// What an HTTP server calls our session.
    pub(super) http_session: Option<String>,
    /// Lines in a row that were no messages.
    noise: u32,
    failures: u32,
    problem: Option<String>,
}

/// Where a server is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Not started, or stopped for good.
    Off,
    Starting,
    Ready {
        since: Duration,
    },
    /// Failed; started again then.
    Resting {
        until: Duration,
    },
}

impl Server {
    pub(super) fn new(settings: McpServerSettings) -> Self {
        Self {
            settings,
            session: Session::default(),
            state: State::Off,
            process: None,
            http_session: None,
            noise: 0,
            failures: 0,
            problem: None,
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.settings.name
    }

    /// Whether the operator lets a tool of this name through.
    pub(super) fn offers(&self, tool: &str) -> bool {
        let any = |patterns: &[String]| patterns.iter().any(|pattern| wildcard(pattern.trim(), tool));
        let allowed = self.settings.allow.is_empty() || any(&self.settings.allow);
        allowed && !any(&self.settings.deny)
    }

    pub(super) fn next_deadline(&self) -> Option<Duration> {
        let rest = match self.state {
            State::Resting { until } => Some(until),
            State::Off | State::Starting | State::Ready { .. } => None,
        };
        earliest(rest, self.session.next_deadline())
    }

    pub(super) fn status(&self) -> ServerStatus<'_> {
        let state = match self.state {
            State::Off => "off",
            State::Starting => "starting",
            State::Ready { .. } => "ready",
            State::Resting { .. } => "resting",
        };
        let tools = self.session.tools().iter().filter(|tool| self.offers(&tool.name)).count();
        ServerStatus { name: self.name(), state, tools, problem: self.problem.as_deref() }
    }

    /// A line was no message. Says whether it was one too many.
    pub(super) fn noise(&mut self) -> bool {
        self.noise += 1;
        self.noise > MAX_NOISE
    }

    /// A line was a message.
    pub(super) fn sense(&mut self) {
        self.noise = 0;
    }

    pub(super) fn ready(&mut self, now: Duration) {
        self.state = State::Ready { since: now };
        self.problem = None;
    }

    /// It has failed and rests: longer after each failure.
    pub(super) fn rest(&mut self, now: Duration, problem: String) -> Duration {
        if matches!(self.state, State::Ready { since } if now.saturating_sub(since) >= GOOD_WHILE) {
            self.failures = 0;
        }
        let rest = FIRST_REST.saturating_mul(1 << self.failures.min(6)).min(LONGEST_REST);
        self.failures = self.failures.saturating_add(1);
        self.noise = 0;
        self.problem = Some(problem);
        self.state = State::Resting { until: now.saturating_add(rest) };
        rest
    }
}
