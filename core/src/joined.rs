//! Both machines on one thread: what an adapter of a small machine drives, and what the simulator drives.
//!
//! On a machine with several I/O threads each runs a [`Switchboard`] and the [`Gateway`] has a thread of its
//! own; the messages of [`crate::messages`] then travel over channels instead of through [`Joined::handle`].

use std::collections::VecDeque;
use std::time::Duration;

use crate::entropy::Seed;
use crate::gateway::{self, Gateway};
use crate::settings::Settings;
use crate::switchboard::{self, Switchboard};
use crate::time::{Now, earliest};

/// Something that happened.
#[derive(Debug)]
pub enum Input {
    /// To a WebSocket connection.
    Switchboard(switchboard::Input),
    /// To anything else.
    Gateway(gateway::Input),
}

/// Something to be done.
#[derive(Debug)]
pub enum Output {
    /// To a WebSocket connection.
    Switchboard(switchboard::Output),
    /// To anything else.
    Gateway(gateway::Output),
}

/// A switchboard and a gateway that pass their messages to each other at once.
pub struct Joined {
    switchboard: Switchboard,
    gateway: Gateway,
    outputs: VecDeque<Output>,
}

impl Joined {
    /// Both machines, before [`gateway::Input::Started`].
    pub fn new(settings: Settings, seed: Seed, now: Now) -> Self {
        let switchboard = Switchboard::new(&settings, seed);
        Self { switchboard, gateway: Gateway::new(settings, seed, now), outputs: VecDeque::new() }
    }

    /// Tells the machines what happened. Afterwards, drain [`Self::poll_output`].
    pub fn handle(&mut self, now: Now, input: Input) {
        match input {
            Input::Switchboard(input) => self.switchboard.handle(now, input),
            Input::Gateway(input) => self.gateway.handle(now, input),
        }
        self.settle(now);
    }

    /// Lets the machines do what is due by now. Afterwards, drain [`Self::poll_output`].
    pub fn handle_timeout(&mut self, now: Now) {
        self.switchboard.handle(now, switchboard::Input::Timeout);
        self.gateway.handle(now, gateway::Input::Timeout);
        self.settle(now);
    }

    /// The next thing to be done, if any.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call [`Self::handle_timeout`] at the latest, on the monotonic clock.
    pub fn poll_timeout(&self) -> Option<Duration> {
        earliest(self.switchboard.poll_timeout(), self.gateway.poll_timeout())
    }

    /// The gateway, for inspection.
    pub fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    /// The switchboard, for inspection.
    pub fn switchboard(&self) -> &Switchboard {
        &self.switchboard
    }

    /// Passes messages between the machines until both are quiet.
    fn settle(&mut self, now: Now) {
        loop {
            let mut quiet = true;
            while let Some(output) = self.switchboard.poll_output() {
                match output {
                    switchboard::Output::Up(up) => {
                        quiet = false;
                        self.gateway.handle(now, gateway::Input::Up(up));
                    }
                    other => self.outputs.push_back(Output::Switchboard(other)),
                }
            }
            while let Some(output) = self.gateway.poll_output() {
                match output {
                    gateway::Output::Down(down) => {
                        quiet = false;
                        self.switchboard.handle(now, switchboard::Input::Down(down));
                    }
                    other => self.outputs.push_back(Output::Gateway(other)),
                }
            }
            if quiet {
                return;
            }
        }
    }
}
