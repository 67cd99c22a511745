//! The claim on this machine's name: a foreground command that lives as long as the route [D-35].
//!
//! First the service must be up, then the command is started, then the route must be seen. A claim that fails or
//! is lost is tried again, each time later; the gateway serves without it meanwhile. Nothing is ever reset: routes
//! of others are theirs.

use std::net::SocketAddr;
use std::time::Duration;

use super::ask::About;
use super::report::{Daemon, daemon, shows_route};
use super::settings::Exposure;
use super::shown;
use crate::gateway::{Gateway, Phase};
use crate::ids::ProcessId;
use crate::limits;
use crate::process::ProcessEvent;

/// How long to wait before the service is asked again.
const AGAIN: Duration = Duration::from_secs(2);
/// How long to wait before the route is looked for: first, and then.
const LOOK: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(1)];
/// The longest pause between two claims.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The claim.
#[derive(Default)]
pub(super) struct Claim {
    /// Where the adapter waits for what comes through the tailnet.
    target: Option<SocketAddr>,
    state: State,
    /// Failures since it was last active for a while.
    failures: u32,
    /// It was active once.
    was_active: bool,
    /// Why it is not active.
    pub(super) fault: Option<String>,
    /// The gateway stops for it.
    pub(super) fatal: bool,
}

#[derive(Default)]
enum State {
    /// Nothing was begun, or nothing is to be done any more.
    #[default]
    Idle,
    /// The service is asked how it stands; not after `until`.
    Asking { until: Duration },
    /// It is not up; it is asked again at `at`.
    Waiting { at: Duration, until: Duration },
    /// The command runs and the route is looked for, next at `look`.
    Claiming { holder: Holder, until: Duration, look: Option<Duration> },
    /// The route is there.
    Active { holder: Holder, since: Duration },
    /// A new attempt begins at `at`.
    Resting { at: Duration },
}

/// The command that holds the route.
struct Holder {
    process: ProcessId,
    /// The first of what it wrote, in case that it fails.
    said: String,
}

impl Claim {
    pub(super) fn next_deadline(&self) -> Option<Duration> {
        match &self.state {
            State::Waiting { at, .. } | State::Resting { at } => Some(*at),
            State::Claiming { until, look, .. } => Some(look.map_or(*until, |look| look.min(*until))),
            State::Idle | State::Asking { .. } | State::Active { .. } => None,
        }
    }

    pub(super) fn is_active(&self) -> bool {
        matches!(self.state, State::Active { .. })
    }

    fn holder(&mut self) -> Option<&mut Holder> {
        match &mut self.state {
            State::Claiming { holder, .. } | State::Active { holder, .. } => Some(holder),
            _ => None,
        }
    }

    pub(super) fn is_held_by(&mut self, process: ProcessId) -> bool {
        self.holder().is_some_and(|holder| holder.process == process)
    }
}

/// Twice as long after each failure.
fn pause(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(6);
    Duration::from_secs(1 << doublings).min(LONGEST_PAUSE)
}

impl Gateway {
    /// Notes where the adapter waits for what comes through the tailnet.
    pub(super) fn claim_for(&mut self, target: Option<SocketAddr>) {
        self.tailscale.claim.target = target;
        self.begin_claim();
    }

    /// Begins, once the gateway serves and listens.
    pub(super) fn begin_claim(&mut self) {
        let idle = matches!(self.tailscale.claim.state, State::Idle);
        let wanted = self.settings.tailscale.exposure != Exposure::Off;
        if idle && wanted && self.phase == Phase::Serving && self.tailscale.claim.target.is_some() {
            self.ask_daemon(self.now.mono + limits::millis(limits::TAILSCALE_DAEMON_MS));
        }
    }

    fn ask_daemon(&mut self, until: Duration) {
        self.tailscale.claim.state = State::Asking { until };
        let args = ["status", "--json", "--peers=false"];
        if !self.ask_tailscale(About::Daemon, &args, limits::TAILSCALE_STATUS_MS) {
            self.claim_failed("the program `tailscale` was not found where programs of the system are");
        }
    }

    pub(super) fn daemon_answered(&mut self, answer: Option<&str>) {
        let State::Asking { until } = self.tailscale.claim.state else { return };
        let state = match answer.map(daemon) {
            Some(Some(Daemon::Running(name))) => return self.claim_name(&name),
            Some(Some(Daemon::Not(state))) => format!("it says {state:?}"),
            Some(None) => "its answer cannot be read".to_owned(),
            None => "it does not answer".to_owned(),
        };
        if self.now.mono >= until {
            return self.claim_failed(&format!("the tailnet's service is not up: {state}"));
        }
        tracing::debug!(target: "gateway.tailscale", state, "waiting for the tailnet's service");
        self.tailscale.claim.state = State::Waiting { at: self.now.mono + AGAIN, until };
    }

    fn claim_name(&mut self, name: &str) {
        self.tailscale.name = Some(name.to_owned());
        let Some(target) = self.claim_target() else { return };
        let verb = self.settings.tailscale.exposure.as_str();
        let Some(process) = self.run_tailscale(&[verb, "--yes", &target]) else { return };
        let now = self.now.mono;
        self.tailscale.claim.state = State::Claiming {
            holder: Holder { process, said: String::new() },
            until: now + limits::millis(limits::TAILSCALE_CLAIM_MS),
            look: Some(now + LOOK[0]),
        };
    }

    /// Where the tailnet's proxy is to bring what it gets.
    fn claim_target(&self) -> Option<String> {
        self.tailscale.claim.target.map(|target| format!("http://{target}"))
    }

    pub(super) fn route_answered(&mut self, answer: Option<&str>) {
        let funnel = self.settings.tailscale.exposure == Exposure::Funnel;
        let Some(target) = self.claim_target() else { return };
        let now = self.now.mono;
        let claim = &mut self.tailscale.claim;
        let State::Claiming { holder, look, .. } = &mut claim.state else { return };
        if !answer.is_some_and(|text| shows_route(text, &target, funnel)) {
            *look = Some(now + LOOK[1]);
            return;
        }
        let holder = Holder { process: holder.process, said: std::mem::take(&mut holder.said) };
        claim.state = State::Active { holder, since: now };
        claim.was_active = true;
        claim.fault = None;
        let name = self.tailscale.name.as_deref().unwrap_or_default();
        let verb = self.settings.tailscale.exposure.as_str();
        tracing::info!(target: "gateway.tailscale", "{verb} enabled: https://{name}/ (WS via wss://{name})");
    }

    /// The command that holds the route has moved.
    pub(super) fn holder_moved(&mut self, event: ProcessEvent) {
        const REMEMBERED: usize = 256;
        match event {
            ProcessEvent::Stdout(line) | ProcessEvent::Stderr(line) => {
                let line = shown(&line);
                tracing::debug!(target: "gateway.tailscale", "{line}");
                if let Some(holder) = self.tailscale.claim.holder()
                    && holder.said.len() + line.len() < REMEMBERED
                    && !line.trim().is_empty()
                {
                    holder.said = format!("{} {}", holder.said, line.trim()).trim().to_owned();
                }
            }
            ProcessEvent::Exited(how) | ProcessEvent::Failed(how) => {
                let said = self.tailscale.claim.holder().map(|holder| std::mem::take(&mut holder.said));
                self.claim_failed(&format!("the claim has ended: {how}: {}", said.unwrap_or_default()));
            }
        }
    }

    /// The claim is not active, or no longer. It is tried again later, unless the operator wants no gateway
    /// without it.
    fn claim_failed(&mut self, reason: &str) {
        self.forget_questions(|about| !matches!(about, About::Address(_)));
        if let Some(process) = self.tailscale.claim.holder().map(|holder| holder.process) {
            self.kill(process);
        }
        let (now, verb) = (self.now.mono, self.settings.tailscale.exposure.as_str());
        let required = self.settings.tailscale.required;
        let claim = &mut self.tailscale.claim;
        if let State::Active { since, .. } = claim.state
            && now.saturating_sub(since) >= LONGEST_PAUSE
        {
            claim.failures = 0;
        }
        claim.failures = claim.failures.saturating_add(1);
        let news = claim.fault.as_deref() != Some(reason);
        claim.fault = Some(reason.to_owned());
        claim.fatal = required && !claim.was_active;
        if claim.fatal {
            claim.state = State::Idle;
            tracing::error!(target: "gateway.tailscale", "{verb} failed: {reason}");
            return self.stop("tailscale failed", None);
        }
        let pause = pause(claim.failures);
        claim.state = State::Resting { at: now + pause };
        if news {
            tracing::error!(
                target: "gateway.tailscale",
                "{verb} failed: {reason}; the gateway serves without it and tries again in {} s", pause.as_secs()
            );
        }
    }

    pub(super) fn claim_timeouts(&mut self) {
        let now = self.now.mono;
        match &mut self.tailscale.claim.state {
            State::Resting { at } if *at <= now => {
                self.ask_daemon(now + limits::millis(limits::TAILSCALE_DAEMON_MS));
            }
            State::Waiting { at, until } if *at <= now => {
                let until = *until;
                self.ask_daemon(until);
            }
            State::Claiming { holder, until, .. } if *until <= now => {
                let said = std::mem::take(&mut holder.said);
                self.claim_failed(&format!("the route did not become active: {said}"));
            }
            State::Claiming { look, .. } if look.is_some_and(|look| look <= now) => {
                *look = None;
                self.ask_tailscale(About::Route, &["serve", "status", "--json"], limits::TAILSCALE_STATUS_MS);
            }
            _ => {}
        }
    }

    /// Lets go of the route: the gateway stops.
    pub(super) fn end_claim(&mut self) {
        if let Some(process) = self.tailscale.claim.holder().map(|holder| holder.process) {
            self.kill(process);
        }
        self.tailscale.claim.state = State::Idle;
    }
}
