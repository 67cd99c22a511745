//! What a story can say.

use std::time::Duration;

use serde_json::{Value, json};
use telson_core::{Input, gateway};

use crate::clients::{Answer, Asked, Client, Heard, Profile, Tongue, Who, request};
use crate::store::text_of;

use super::link::{Means, Message};
use super::web::Visit;
use super::{PATIENCE, TOKEN, World};

/// A run as its asker knows it: by its id.
pub(crate) type Run = String;

impl World {
    /// Somebody exists.
    pub(crate) fn join(&mut self, profile: Profile) -> Who {
        self.clients.push(Client::new(profile));
        Who(self.clients.len() - 1)
    }

    /// Somebody comes in.
    pub(crate) fn enter(&mut self, profile: Profile) -> Who {
        let who = self.join(profile);
        self.reconnect(who);
        who
    }

    /// An operator of protocol 4 with every right.
    pub(crate) fn operator(&mut self, name: &str) -> Who {
        self.enter(Profile::operator(name, Tongue::V4, TOKEN))
    }

    pub(crate) fn v3(&mut self, name: &str) -> Who {
        self.enter(Profile::operator(name, Tongue::V3, TOKEN))
    }

    pub(crate) fn plain(&mut self, name: &str) -> Who {
        self.enter(Profile::operator(name, Tongue::Plain, TOKEN))
    }

    pub(crate) fn client(&self, who: Who) -> &Client {
        &self.clients[who.0]
    }

    /// Comes (back) in.
    pub(crate) fn reconnect(&mut self, who: Who) {
        self.run_until("the process serves", Self::is_serving);
        self.open(who);
        self.run_until("the client is in", |world| world.client(who).is_live());
    }

    pub(crate) fn is_serving(&self) -> bool {
        self.machines().is_some_and(|machines| machines.gateway().phase() == gateway::Phase::Serving)
    }

    /// Asks, and does not wait. The request's id.
    pub(crate) fn ask(&mut self, who: Who, method: &str, params: Value) -> String {
        let id = self.clients[who.0].next_id();
        self.ask_as(who, &id, method, params);
        id
    }

    /// Asks under a chosen id.
    pub(crate) fn ask_as(&mut self, who: Who, id: &str, method: &str, params: Value) {
        let client = &mut self.clients[who.0];
        let Some(conn) = client.conn else { return };
        let text = request(client.profile.tongue, id, method, &params);
        let means = Means::Request { id: id.to_owned(), method: method.to_owned(), params: params.into() };
        let asked = Asked { conn, answers: Vec::new(), lost: false };
        client.asked.insert(id.to_owned(), asked);
        self.say(who, Message { text, means });
    }

    /// Asks and waits for the first answer.
    pub(crate) fn call(&mut self, who: Who, method: &str, params: Value) -> Answer {
        let id = self.ask(who, method, params);
        self.answer(who, &id)
    }

    /// Waits for the first answer.
    pub(crate) fn answer(&mut self, who: Who, id: &str) -> Answer {
        self.answer_number(who, id, 0)
    }

    /// Waits for an answer; number 1 is the second one of `agent`.
    pub(crate) fn answer_number(&mut self, who: Who, id: &str, number: usize) -> Answer {
        self.run_until(&format!("request {id} is answered"), |world| {
            world.client(who).asked.get(id).is_some_and(|asked| asked.answers.len() > number)
        });
        self.client(who).asked[id].answers[number].clone()
    }

    /// Says something in the main session and waits until it is acknowledged.
    pub(crate) fn chat(&mut self, who: Who, words: &str) -> Run {
        let run = self.new_key();
        let answer = self.call(who, "chat.send", send("main", words, &run));
        if answer.payload["status"] != "started" {
            self.violated(&format!("chat.send was answered with {answer:?}"));
        }
        run
    }

    /// A new idempotency key.
    pub(crate) fn new_key(&mut self) -> String {
        format!("key-{:016x}", self.dice.number())
    }

    /// The transcript of a session as a client sees it: role and text, oldest first.
    pub(crate) fn history(&mut self, who: Who, key: &str) -> Vec<(String, String)> {
        let answer = self.call(who, "chat.history", json!({"sessionKey": key, "limit": 1000}));
        if !answer.ok {
            self.violated(&format!("chat.history was answered with {answer:?}"));
        }
        let messages = answer.payload["messages"].as_array().cloned().unwrap_or_default();
        messages.iter().map(|m| (m["role"].as_str().unwrap_or_default().to_owned(), text_of(m))).collect()
    }

    /// Lets a time pass.
    pub(crate) fn run_for(&mut self, time: Duration) {
        let end = self.time + time;
        self.at(end, super::Event::Fate(u32::MAX));
        while self.turn() != super::Turn::Fate(u32::MAX) {}
    }

    /// Lets things happen until something is so.
    pub(crate) fn run_until(&mut self, what: &str, is: impl Fn(&Self) -> bool) {
        let end = self.time + PATIENCE;
        while !is(self) {
            if self.time > end {
                self.violated(&format!("it never came to pass that {what}"));
            }
            self.turn();
        }
    }

    /// Waits until a client has heard the end of a run.
    pub(crate) fn run_until_ended(&mut self, who: Who, run: &Run) {
        self.run_until(&format!("run {run} ends"), |world| world.ends_of(who, run).len() == 1);
    }

    /// The chat events that a client has heard of a run.
    pub(crate) fn chat_events<'a>(&'a self, who: Who, run: &'a str) -> impl Iterator<Item = &'a Heard> {
        let heard = self.clients[who.0].heard.iter();
        heard.filter(move |heard| heard.event == "chat" && heard.payload["runId"] == run)
    }

    /// The terminal states of a run that a client has heard, with their text.
    pub(crate) fn ends_of(&self, who: Who, run: &str) -> Vec<(String, String)> {
        self.chat_events(who, run)
            .filter(|heard| heard.payload["state"] != "delta")
            .map(|heard| {
                let state = heard.payload["state"].as_str().unwrap_or_default().to_owned();
                (state, text_of(&heard.payload["message"]))
            })
            .collect()
    }

    /// The texts of the `final` events of a run that a client has heard.
    pub(crate) fn finals_of(&self, who: Who, run: &str) -> Vec<String> {
        self.ends_of(who, run)
            .into_iter()
            .filter(|(state, _)| state == "final")
            .map(|(_, text)| text)
            .collect()
    }

    /// The operator stops the gateway.
    pub(crate) fn stop(&mut self, reason: &str) {
        let expected = Some(Duration::from_millis(1_500));
        self.tell(Input::Gateway(gateway::Input::Stop {
            reason: reason.to_owned(),
            restart_expected: expected,
        }));
    }

    /// Somebody on this host asks for a page.
    pub(crate) fn http(&mut self, path: &str) {
        self.visit(Visit::get(path));
    }

    /// Waits until nothing is owed to anybody any more.
    pub(crate) fn settle(&mut self) {
        let end = self.time + PATIENCE;
        while let Some(owed) = self.owed() {
            if self.time > end {
                self.violated(&owed);
            }
            self.turn();
        }
    }

    /// What somebody still waits for.
    fn owed(&self) -> Option<String> {
        let machines = self.machines()?;
        if machines.gateway().phase() != gateway::Phase::Serving {
            return Some(format!("the gateway stays {:?}", machines.gateway().phase()));
        }
        if machines.gateway().open_runs() > 0 {
            return Some(format!("{} runs never end", machines.gateway().open_runs()));
        }
        if machines.gateway().effects_under_way() > 0 {
            return Some(format!("{} effects never come back", machines.gateway().effects_under_way()));
        }
        if !self.disk.is_idle() || !self.provider.is_idle() {
            return Some("the gateway has forgotten what it asked for".to_owned());
        }
        // What is on its way to the gateway will be owed.
        let coming = |link: &super::Link| !link.up.is_empty() && !link.mute && !link.broken;
        if self.links.values().any(coming) {
            return Some("messages never arrive".to_owned());
        }
        self.watch.owed(&self.disk)
    }

    /// Ends the world: everything owed is given, everybody leaves, and nothing remains.
    pub(crate) fn finish(&mut self) {
        self.over = true;
        self.settle();
        let waiting: usize = self.links.values().map(super::Link::unflushed).sum();
        let Some(machines) = self.machines() else { return };
        if machines.switchboard().buffered() != waiting {
            let counted = machines.switchboard().buffered();
            self.violated(&format!("the switchboard counts {counted} waiting bytes, there are {waiting}"));
        }
        if let Some(run) = self.disk.forgotten_run() {
            self.violated(&format!("run {run} is noted as under way, and none is"));
        }
        for who in 0..self.clients.len() {
            self.hang_up(Who(who));
        }
        self.run_until("everybody has left", |world| world.links.is_empty());
        let Some(machines) = self.machines() else { return };
        let (switchboard, gateway) = (machines.switchboard(), machines.gateway());
        let left = (switchboard.connections(), switchboard.buffered(), gateway.connections());
        if left != (0, 0, 0) {
            self.violated(&format!(
                "everybody has left, and there are (connections, bytes, clients) {left:?}"
            ));
        }
        // A node's going is written down.
        self.settle();
    }
}

/// The parameters of `chat.send`.
pub(crate) fn send(session: &str, words: &str, key: &str) -> Value {
    json!({"sessionKey": session, "message": words, "idempotencyKey": key})
}
