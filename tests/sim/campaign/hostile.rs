//! What hostile and broken clients do.

use serde_json::{Value, json};

use crate::clients::{State, Tongue, Who, request};
use crate::world::link::{Means, Message};

use super::Campaign;

impl Campaign {
    pub(super) fn misbehave(&mut self, who: Who) {
        match self.world.client(who).state {
            State::Away => {}
            State::Opening => self.misbehave_at_the_door(who),
            State::Connecting | State::Live => self.misbehave_inside(who),
        }
    }

    fn shout(&mut self, who: Who, text: impl Into<String>, means: Means) {
        self.world.say(who, Message { text: text.into(), means });
    }

    /// What the client thinks of itself from now on.
    fn connecting(&mut self, who: Who) {
        self.world.clients[who.0].state = State::Connecting;
    }

    /// Before its connect request, or instead of it.
    fn misbehave_at_the_door(&mut self, who: Who) {
        let profile = self.world.client(who).profile.clone();
        match self.world.dice.below(8) {
            0 => self.shout(who, "hello there", Means::Noise),
            1 => self.shout(who, "{\"type\":\"hello\"}", Means::Noise),
            2 => self.shout(who, "[1,2,3]", Means::Noise),
            3 => self.shout(who, "x".repeat(70_000), Means::Noise),
            4 => {
                let text = request(profile.tongue, "1", "health", &json!({}));
                let native = profile.tongue != Tongue::Plain;
                let means = if native { self.asks("1", "health") } else { Means::Noise };
                self.shout(who, text, means);
            }
            5 => {
                let text = match profile.tongue {
                    Tongue::Plain => json!({"type": "connect", "params": {"client": 5}}),
                    _ => {
                        json!({"type": "req", "id": profile.connect_id(), "method": "connect", "params": []})
                    }
                };
                self.connecting(who);
                self.shout(who, text.to_string(), Means::Connect);
            }
            6 => {
                self.connecting(who);
                let text = profile.with_token("a wrong token").connect(&Value::Null, None);
                self.shout(who, text, Means::Connect);
            }
            _ => {
                // The right words, and a flood behind them.
                self.connecting(who);
                let text = profile.connect(&Value::Null, None);
                self.shout(who, text, Means::Connect);
                for _ in 0..self.world.dice.between(1, 40) {
                    self.flood(who);
                }
            }
        }
    }

    fn asks(&self, id: &str, method: &str) -> Means {
        Means::Request { id: id.to_owned(), method: method.to_owned(), params: json!({}).into() }
    }

    /// The same id each time: answers are counted, not told apart.
    fn flood(&mut self, who: Who) {
        let tongue = self.world.client(who).profile.tongue;
        let text = request(tongue, "same", "health", &json!({}));
        let means = self.asks("same", "health");
        self.shout(who, text, means);
    }

    fn misbehave_inside(&mut self, who: Who) {
        let tongue = self.world.client(who).profile.tongue;
        let other = if tongue == Tongue::Plain { Tongue::V3 } else { Tongue::Plain };
        match self.world.dice.below(10) {
            0 => self.shout(who, "\u{0}\u{7}garbage", Means::Noise),
            1 => {
                let text = request(other, "other", "health", &json!({}));
                self.shout(who, text, Means::Mistake { id: "other".to_owned() });
            }
            2 => self.shout(who, "{\"id\":\"typeless\"}", Means::Mistake { id: "typeless".to_owned() }),
            3 => self.shout(
                who,
                "{\"type\":\"req\",\"method\":7}",
                Means::Mistake { id: "invalid".to_owned() },
            ),
            4 => self.shout(who, "[\"not\",\"a\",\"frame\"]", Means::Mistake { id: "invalid".to_owned() }),
            5 => {
                for _ in 0..self.world.dice.between(1, 300) {
                    self.flood(who);
                }
            }
            6 => {
                let deep = format!("{}{}", "[".repeat(5_000), "]".repeat(5_000));
                self.shout(who, deep, Means::Noise);
            }
            7 => {
                let text = "y".repeat(600_000);
                self.shout(who, text, Means::Noise);
            }
            8 => self.world.stall(who, true),
            _ => {
                let words = "z".repeat(40_000);
                self.world.ask(who, "system-event", json!({"text": words}));
            }
        }
    }
}
