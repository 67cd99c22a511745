//! What well-meaning clients do: whatever the protocol permits, in any order, and some of it twice.

use std::time::Duration;

use serde_json::{Value, json};

use crate::clients::{State, Tongue, Who};
use crate::world::verbs::send;
use crate::world::{Event, TOKEN};

use super::Campaign;

/// How a client behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Asks for all sorts of things.
    Talker,
    /// Listens.
    Listener,
    /// Breaks the rules.
    Hostile,
}

/// A client's behaviour.
pub(super) struct Pilot {
    pub(super) kind: Kind,
    /// The mean time between two acts, in milliseconds.
    pub(super) pace: u64,
}

/// Something that was sent under an idempotency key.
#[derive(Clone)]
pub(super) struct Sent {
    pub(super) method: &'static str,
    pub(super) params: Value,
    pub(super) at: Duration,
}

/// For how long a repeat must be recognised, with room for the jumps of the wall clock.
const REPEATABLE: Duration = Duration::from_secs(60);

/// Spellings of three sessions.
const SESSIONS: [&str; 5] = ["main", "agent:main:main", "garden", "agent:main:garden", "Log"];

impl Campaign {
    pub(super) fn act(&mut self, who: Who) {
        let (kind, pace) = (self.pilots[who.0].kind, self.pilots[who.0].pace);
        let next = self.world.dice.millis(0, 2 * pace);
        self.world.after(next, Event::Act(who));
        if self.world.client(who).state == State::Away {
            if !self.world.client(who).profile.manners.returns && self.world.dice.chance(30) {
                self.world.open(who);
            }
            return;
        }
        match kind {
            Kind::Hostile => self.misbehave(who),
            Kind::Talker if self.is_live(who) => self.talk(who),
            Kind::Listener if self.is_live(who) && self.world.dice.chance(10) => {
                self.world.ask(who, "chat.history", json!({"sessionKey": "main"}));
            }
            Kind::Talker | Kind::Listener => {}
        }
    }

    fn talk(&mut self, who: Who) {
        match self.world.dice.below(100) {
            0..30 => self.say_something(who),
            30..42 => self.say_again(who),
            42..46 => self.contradict(who),
            46..54 => self.wait_or_abort(who),
            54..66 => self.look(who),
            66..80 => self.change(who),
            80..86 => self.mistake(who),
            86..88 => self.world.hang_up(who),
            88..90 => {
                let silently = self.world.dice.chance(50);
                self.world.cut(who, silently);
            }
            _ => self.look_around(who),
        }
    }

    fn session(&mut self) -> &'static str {
        self.world.dice.pick::<&str>(&SESSIONS)
    }

    fn say_something(&mut self, who: Who) {
        let (session, words, key) = (self.session(), self.new_words(), self.world.new_key());
        let method = if self.world.dice.chance(30) { "agent" } else { "chat.send" };
        let params = send(session, &words, &key);
        self.sent.push(Sent { method, params: params.clone(), at: self.world.time });
        self.world.ask(who, method, params.clone());
        if self.world.dice.chance(10) {
            // An impatient client sends it twice.
            self.world.ask(who, method, params);
        }
    }

    fn earlier(&mut self) -> Option<Sent> {
        let since = self.world.time.saturating_sub(REPEATABLE);
        let first = self.sent.iter().position(|sent| sent.at >= since)?;
        Some(self.world.dice.pick(&self.sent[first..]).clone())
    }

    /// The same again, perhaps from another client, perhaps after a restart.
    fn say_again(&mut self, who: Who) {
        if let Some(sent) = self.earlier() {
            self.world.ask(who, sent.method, sent.params);
        }
    }

    /// Other words under the same key.
    fn contradict(&mut self, who: Who) {
        if let Some(mut sent) = self.earlier() {
            sent.params["message"] = self.new_words().into();
            self.world.ask(who, sent.method, sent.params);
        }
    }

    fn wait_or_abort(&mut self, who: Who) {
        let Some(sent) = self.earlier() else { return };
        let run = &sent.params["idempotencyKey"];
        let session = &sent.params["sessionKey"];
        match self.world.dice.below(6) {
            0..3 => {
                let time = self.world.dice.below(20_000);
                self.world.ask(who, "agent.wait", json!({"runId": run, "timeoutMs": time}));
            }
            3 => {
                self.world.ask(who, "chat.abort", json!({"sessionKey": session, "runId": run}));
            }
            4 => {
                self.world.ask(who, "chat.abort", json!({"sessionKey": session}));
            }
            _ => {
                let key = self.world.new_key();
                self.world.ask(
                    who,
                    "chat.send",
                    json!({
                        "sessionKey": session, "message": "stop", "idempotencyKey": key,
                    }),
                );
            }
        }
    }

    fn look(&mut self, who: Who) {
        let session = self.session();
        let (method, params) = match self.world.dice.below(8) {
            0 | 1 => ("chat.history", json!({"sessionKey": session})),
            2 => ("chat.history", json!({"sessionKey": session, "limit": 1})),
            3 => ("sessions.list", json!({"includeLastMessage": true, "includeDerivedTitles": true})),
            4 => ("sessions.preview", json!({"keys": [session, "nobody"]})),
            5 => ("sessions.resolve", json!({"key": session})),
            6 if self.world.client(who).profile.tongue == Tongue::V4 => ("sessions.subscribe", json!({})),
            _ => ("sessions.list", json!({"limit": 1})),
        };
        self.world.ask(who, method, params);
    }

    fn change(&mut self, who: Who) {
        let session = self.session();
        let number = self.world.dice.below(1_000);
        let (method, params) = match self.world.dice.below(10) {
            0..4 => ("sessions.patch", json!({"key": session, "label": format!("label {number}")})),
            4 => ("sessions.patch", json!({"key": session, "thinkingLevel": "high", "model": "echo/echo"})),
            5 => ("sessions.patch", json!({"key": session, "model": null})),
            6 | 7 => {
                let words = self.new_words();
                ("chat.inject", json!({"sessionKey": session, "message": words, "label": "note"}))
            }
            8 => ("sessions.reset", json!({"key": session})),
            _ => ("sessions.delete", json!({"key": session})),
        };
        self.world.ask(who, method, params);
    }

    fn mistake(&mut self, who: Who) {
        let (method, params) = match self.world.dice.below(7) {
            0 => ("chat.send", json!({"sessionKey": "main"})),
            1 => ("chat.history", json!({"sessionKey": "", "limit": 0})),
            2 => ("chat.history", json!({"sessionKey": "main", "limit": 5_000})),
            3 => ("no.such.method", json!({})),
            4 => ("sessions.patch", json!({"key": "main", "thinkingLevel": "enormous"})),
            5 => ("connect", json!({"token": TOKEN})),
            _ => ("chat.abort", json!({"sessionKey": "main", "runId": "nobody's"})),
        };
        self.world.ask(who, method, params);
    }

    fn look_around(&mut self, who: Who) {
        let (method, params) = match self.world.dice.below(11) {
            0 => ("health", json!({})),
            1 => ("status", json!({})),
            2 => ("system-presence", json!({})),
            3 => ("last-heartbeat", json!({})),
            4 => ("talk.mode", json!({"enabled": true})),
            5 => ("system-event", json!({"text": "the door is open"})),
            6 => ("models.list", json!({})),
            7 => ("agents.list", json!({})),
            8 => ("agent.identity.get", json!({})),
            9 => ("device.pair.list", json!({})),
            _ => ("config.get", json!({})),
        };
        self.world.ask(who, method, params);
    }
}
