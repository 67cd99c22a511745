//! The connection: made, greeted, watched, and made anew.
//!
//! A refusal that passes is waited out; one that a person has to lift is told with what to do, and looked at again
//! from time to time, so that a service needs no second start. A connection of which nothing is heard for two
//! intervals of the tick is closed with 4000 (spec 01 §1.7).

use std::time::Duration;

use serde_json::{Value, json};

use crate::auth::Secret;
use crate::limits::{self, millis};
use crate::time::Now;

use super::greeting::{self, Challenge, Form, Shown};
use super::news::News;
use super::refusal::{Refusal, Verdict};
use super::settings::{Credential, NodeSettings};
use super::tokens::{self, DeviceToken};
use super::{Barrier, LinkId, NodeHost, Output};

/// The first pause before a new attempt, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// A connection that has lasted so long was a good one: the pauses begin anew.
const SETTLED: Duration = Duration::from_secs(10);

/// The bounds of the interval of the tick that a gateway may announce.
const TICKS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(600));

/// The id of the request that greets.
const GREETING: &str = "hello";

/// How the connection is.
#[derive(Clone, Debug)]
enum State {
    /// There is none. A new attempt comes when it is time; `None` before the start and after the end.
    Resting(Option<Duration>),
    /// It is being opened; given up at the time.
    Opening(Duration),
    /// It is open; the challenge or the answer to the greeting is missing.
    Greeting { until: Duration, greeted: bool },
    /// The gateway has said hello.
    Ready(Ready),
}

/// A connection that is of use.
#[derive(Clone, Debug)]
struct Ready {
    since: Duration,
    heard: Duration,
    /// How long the gateway may be silent.
    patience: Duration,
    terms: Terms,
}

/// What a gateway understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Terms {
    /// The protocol of the connection.
    pub(super) protocol: u64,
    /// The largest message that it takes, in bytes.
    pub(super) most_bytes: usize,
    /// Whether it wants to hear of commands at work.
    pub(super) progress: bool,
}

/// The connection and what is remembered for the next one.
pub(super) struct Link {
    state: State,
    id: LinkId,
    /// Which of the addresses is being tried.
    place: usize,
    form: Form,
    shown: Shown,
    setup: Option<Secret>,
    /// The pause after the next failure.
    pause: Duration,
}

impl Link {
    pub(super) fn new(settings: &NodeSettings) -> Self {
        Self {
            state: State::Resting(None),
            id: LinkId(0),
            place: 0,
            form: Form::V3,
            shown: Shown::Nothing,
            setup: settings.setup.clone(),
            pause: PAUSES.0,
        }
    }

    /// When something is due.
    pub(super) fn deadline(&self) -> Option<Duration> {
        match &self.state {
            State::Resting(at) => *at,
            State::Opening(until) | State::Greeting { until, .. } => Some(*until),
            State::Ready(ready) => Some(ready.heard + ready.patience),
        }
    }

    /// What the gateway at the other end understands, while there is one.
    pub(super) const fn terms(&self) -> Option<Terms> {
        match &self.state {
            State::Ready(ready) => Some(ready.terms),
            _ => None,
        }
    }

    fn is_at_work(&self) -> bool {
        !matches!(self.state, State::Resting(_))
    }
}

impl NodeHost {
    /// Begins an attempt.
    pub(super) fn connect(&mut self) {
        let Some(address) = self.settings.gateways.get(self.link.place) else { return };
        let url = address.url.clone();
        self.link.id = LinkId(self.link.id.0 + 1);
        self.link.state = State::Opening(self.now.mono + millis(limits::NODE_CONNECT_MS));
        self.output(Output::Connect { link: self.link.id, url });
    }

    /// A person wants it tried again now.
    pub(super) fn retry(&mut self) {
        if !self.link.is_at_work() {
            self.link.pause = PAUSES.0;
            self.connect();
        }
    }

    pub(super) fn opened(&mut self, link: LinkId) {
        if link == self.link.id
            && let State::Opening(until) = self.link.state
        {
            self.link.state = State::Greeting { until, greeted: false };
        }
    }

    pub(super) fn message(&mut self, link: LinkId, text: &str) {
        if link != self.link.id || !self.link.is_at_work() {
            return;
        }
        let now = self.now.mono;
        if let State::Ready(ready) = &mut self.link.state {
            ready.heard = now;
        }
        // What is no frame is passed over, as other clients do.
        let Ok(mut frame) = serde_json::from_str::<Value>(text) else { return };
        let mut take = |name: &str| frame.get_mut(name).map(Value::take).unwrap_or_default();
        match take("type").as_str() {
            Some("event") => {
                let (name, payload) = (take("event"), take("payload"));
                self.event(name.as_str().unwrap_or_default(), payload);
            }
            Some("res") if take("id") == GREETING => {
                let State::Greeting { greeted: true, .. } = self.link.state else { return };
                if take("ok") == Value::Bool(true) {
                    self.welcomed(&take("payload"));
                } else {
                    let refusal = Refusal::of_error(&take("error"));
                    self.drop_link(1008, "connect failed");
                    self.refused(&refusal);
                }
            }
            _ => {}
        }
    }

    fn event(&mut self, name: &str, payload: Value) {
        match (&self.link.state, name) {
            (State::Greeting { until, greeted: false }, "connect.challenge") => {
                let until = *until;
                match Challenge::read(&payload, self.now.wall) {
                    Some(challenge) => self.greet(until, &challenge),
                    None => self.fail(
                        1008,
                        "connect challenge missing nonce",
                        "the gateway's challenge has no nonce",
                    ),
                }
            }
            (State::Ready(_), "node.invoke.request") => self.invoked(payload),
            (State::Ready(_), "node.invoke.cancel") => self.cancelled(&payload),
            (State::Ready(_), "node.pair.resolved") => {
                let decision = payload.get("decision").and_then(Value::as_str).unwrap_or("changed");
                let text = format!("the commands of this node were {decision} at the gateway");
                self.say(News::new("commands", text).with("decision", decision));
            }
            (State::Ready(_), "shutdown") => {
                self.say(News::new("gateway-stops", "the gateway stops; waiting for it to come back"));
            }
            _ => {}
        }
    }

    fn greet(&mut self, until: Duration, challenge: &Challenge) {
        self.link.shown = self.choose();
        self.link.state = State::Greeting { until, greeted: true };
        let params = greeting::params(&self.settings, challenge, &self.link.shown, self.link.form);
        self.output(request(self.link.id, GREETING, "connect", &params));
    }

    /// What to show: a setup code first, then what this gateway gave, then its shared secret.
    fn choose(&self) -> Shown {
        if let Some(code) = &self.link.setup {
            return Shown::Setup(code.clone());
        }
        let kept = self.settings.gateways.get(self.link.place).and_then(|address| address.token.as_ref());
        match (kept, &self.settings.credential) {
            (Some(kept), _) => Shown::Device(kept.token.clone()),
            (None, Credential::Token(token)) => Shown::Token(token.clone()),
            (None, Credential::Password(password)) => Shown::Password(password.clone()),
            (None, Credential::Nothing) => Shown::Nothing,
        }
    }

    fn welcomed(&mut self, hello: &Value) {
        let number = |path: &str| hello.pointer(path).and_then(Value::as_u64);
        let protocol = number("/protocol").unwrap_or(3);
        let tick = Duration::from_millis(number("/policy/tickIntervalMs").unwrap_or(limits::TICK_MS));
        let most =
            number("/policy/maxPayload").unwrap_or(limits::V3_MAX_PAYLOAD).max(limits::PREAUTH_PAYLOAD);
        let methods = hello.pointer("/features/methods").and_then(Value::as_array);
        let offers = |name: &str| methods.is_some_and(|methods| methods.iter().any(|method| method == name));
        let terms = Terms {
            protocol,
            most_bytes: limits::length(most),
            progress: protocol >= 4 && offers("node.invoke.progress"),
        };
        let now = self.now.mono;
        let patience = tick.clamp(TICKS.0, TICKS.1) * 2;
        self.link.state = State::Ready(Ready { since: now, heard: now, patience, terms });
        self.link.setup = None;
        self.keep(hello.pointer("/auth/deviceToken").and_then(Value::as_str));
        let version = hello.pointer("/server/version").and_then(Value::as_str).unwrap_or("unknown");
        let url = self.settings.gateways.get(self.link.place).map_or("", |address| address.url.as_str());
        let id = self.settings.identity.id();
        let text = format!("connected to {url} (version {version}, protocol {protocol}) as node {id}");
        let commands = self.settings.machine.commands();
        self.say(
            News::new("connected", text)
                .with("nodeId", id)
                .with("protocol", protocol)
                .with("commands", commands),
        );
    }

    /// Keeps a token that the gateway gave, unless it is the one that is kept.
    fn keep(&mut self, given: Option<&str>) {
        let Some(given) = given.filter(|token| tokens::is_usable(token)) else { return };
        let Some(address) = self.settings.gateways.get_mut(self.link.place) else { return };
        if address.token.as_ref().is_some_and(|kept| kept.token.matches(given)) {
            return;
        }
        let token = Some(DeviceToken { token: Secret::new(given), updated_at_ms: self.now.wall });
        address.token.clone_from(&token);
        let origin = address.origin.clone();
        self.output(Output::Keep { origin, token });
    }

    fn forget(&mut self) {
        let Some(address) = self.settings.gateways.get_mut(self.link.place) else { return };
        address.token = None;
        let origin = address.origin.clone();
        self.output(Output::Keep { origin, token: None });
    }

    pub(super) fn closed(&mut self, link: LinkId, code: u16, reason: &str) {
        if link != self.link.id || !self.link.is_at_work() {
            return;
        }
        let was = std::mem::replace(&mut self.link.state, State::Resting(None));
        self.give_up_jobs();
        let State::Ready(ready) = was else {
            let refusal = Refusal::of_close(reason);
            if reason.trim().is_empty() {
                return self
                    .rest(&format!("the gateway closed the connection before it said hello ({code})"), None);
            }
            return self.refused(&refusal);
        };
        self.settled(&ready);
        if code == 4001 && reason.contains("token") {
            // The next attempt shows whether the token is still worth something.
            self.link.pause = PAUSES.0;
        }
        let said = if reason.is_empty() { String::new() } else { format!(": {reason}") };
        self.rest(&format!("the connection is gone ({code}{said})"), None);
    }

    fn settled(&mut self, ready: &Ready) {
        if self.now.mono.saturating_sub(ready.since) >= SETTLED {
            self.link.pause = PAUSES.0;
        }
    }

    pub(super) fn unreachable(&mut self, link: LinkId, reason: &str, barrier: Barrier) {
        if link != self.link.id || !self.link.is_at_work() {
            return;
        }
        self.link.state = State::Resting(None);
        let advice = match barrier {
            Barrier::Http(401 | 403 | 404) => {
                "the way to the gateway is blocked: check the URL, and gateway.trustedProxies of the gateway when a proxy stands before it"
            }
            Barrier::Certificate => {
                "if the gateway has a new certificate, start again with its --tls-fingerprint; if not, somebody stands between"
            }
            Barrier::Url => "start again with another --url",
            Barrier::Http(_) | Barrier::Network => return self.rest(reason, None),
        };
        self.wait_for_person(reason, advice);
    }

    /// Gives the connection up and tries again.
    fn fail(&mut self, code: u16, close: &'static str, words: &str) {
        self.drop_link(code, close);
        self.rest(words, None);
    }

    /// Lets go of the connection and of what was being done over it.
    fn drop_link(&mut self, code: u16, reason: &'static str) {
        if self.link.is_at_work() {
            self.output(Output::Close { link: self.link.id, code, reason });
        }
        self.link.state = State::Resting(None);
        self.give_up_jobs();
    }

    /// Says goodbye.
    pub(super) fn leave(&mut self) {
        self.drop_link(1000, "node stopped");
    }

    fn refused(&mut self, refusal: &Refusal) {
        match refusal.verdict(&self.link.shown, self.link.form) {
            Verdict::Later(pause) => self.rest(&format!("the gateway refused: {}", refusal.message), pause),
            Verdict::SignOlder => {
                self.link.form = Form::V2;
                self.connect();
            }
            Verdict::ForgetToken => {
                self.forget();
                self.another_credential(
                    &refusal.message,
                    "the token that the gateway had given to this node was refused",
                );
            }
            Verdict::ForgetSetup => {
                self.link.setup = None;
                self.another_credential(&refusal.message, "the setup code was refused");
            }
            Verdict::Approval => self.wait_for_approval(refusal),
            Verdict::Person(advice) => self.wait_for_person(&refusal.message, advice),
        }
    }

    /// Shows what else there is to show, at once.
    fn another_credential(&mut self, message: &str, what: &str) {
        if matches!(self.choose(), Shown::Nothing) {
            let advice =
                "pair this node again: start it with a new --setup-code, or with --token or --password";
            return self.wait_for_person(&format!("{what}: {message}"), advice);
        }
        self.say(News::new("credential", format!("{what}; trying the next credential")));
        self.connect();
    }

    fn wait_for_approval(&mut self, refusal: &Refusal) {
        let pause = millis(limits::NODE_APPROVAL_MS);
        let text = format!(
            "waiting for approval: {}. On the gateway's machine run: {}",
            refusal.message.trim_end_matches('.'),
            refusal.remedy()
        );
        let news = News::urgent("waiting-for-approval", text).with("command", refusal.remedy());
        self.say(news.with("requestId", refusal.request_id()));
        self.link.state = State::Resting(Some(self.now.mono + self.jittered(pause)));
    }

    fn wait_for_person(&mut self, message: &str, advice: &str) {
        let pause = millis(limits::NODE_PAUSE_MS);
        let text = format!(
            "paused: {message}; {advice}. SIGHUP makes this node try again; it does so by itself every {} minutes",
            pause.as_secs() / 60
        );
        self.say(News::urgent("paused", text).with("reason", message).with("advice", advice));
        self.next_address();
        self.link.state = State::Resting(Some(self.now.mono + self.jittered(pause)));
    }

    /// Waits before the next attempt: as long as the gateway said, else longer each time.
    fn rest(&mut self, words: &str, said: Option<Duration>) {
        let pause = said.unwrap_or(self.link.pause);
        self.link.pause = (self.link.pause * 2).min(PAUSES.1);
        let pause = self.jittered(pause);
        let text = format!("{words}; trying again in {:.1} s", pause.as_secs_f64());
        self.say(News::new("retrying", text).with("reason", words).with("retryMs", to_ms(pause)));
        self.next_address();
        self.link.state = State::Resting(Some(self.now.mono + pause));
    }

    fn next_address(&mut self) {
        self.link.place = (self.link.place + 1) % self.settings.gateways.len().max(1);
    }

    /// A pause with up to a quarter more or less, so that many nodes do not come back together.
    fn jittered(&mut self, pause: Duration) -> Duration {
        let share = f64::from(self.entropy.number()) / f64::from(u32::MAX);
        pause.mul_f64(0.75 + share / 2.0)
    }

    /// Does what is due.
    pub(super) fn link_due(&mut self) {
        if self.link.deadline().is_none_or(|at| at > self.now.mono) {
            return;
        }
        match self.link.state.clone() {
            State::Resting(_) => self.connect(),
            State::Opening(_) => self.fail(4000, "connect timeout", "the gateway did not answer in time"),
            State::Greeting { greeted: false, .. } => {
                self.fail(1008, "connect challenge timeout", "the gateway sent no challenge in time");
            }
            State::Greeting { greeted: true, .. } => {
                self.fail(4000, "connect timeout", "the gateway did not say hello in time");
            }
            State::Ready(ready) => {
                self.settled(&ready);
                self.fail(4000, "tick timeout", "the gateway has fallen silent");
            }
        }
    }

    /// The connection over which requests go, and its terms, while there is one.
    pub(super) fn line(&self) -> Option<(LinkId, Terms)> {
        Some((self.link.id, self.link.terms()?))
    }
}

/// A request frame.
pub(super) fn request(link: LinkId, id: &str, method: &str, params: &Value) -> Output {
    Output::Send(link, json!({"type": "req", "id": id, "method": method, "params": params}).to_string())
}

fn to_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The time of a deadline that is so far away.
pub(super) fn later(now: Now, wait: Duration) -> Duration {
    now.mono.saturating_add(wait)
}
