//! The binary in a terminal, as a person sees it.

use rexpect::error::Error;
use rexpect::process::WaitStatus;
use rexpect::session::{PtySession, spawn_command};

use super::PATIENCE;
use super::gateway::Home;

/// A command that runs in a terminal with colours.
pub struct Terminal(PtySession);

impl Terminal {
    /// Starts the binary.
    pub fn start(home: &Home, arguments: &[&str]) -> Self {
        let mut command = home.command(arguments);
        command.env("TERM", "xterm-256color");
        let patience = u64::try_from(PATIENCE.as_millis()).expect("it is short");
        Self(spawn_command(command, Some(patience)).expect("the binary starts in a terminal"))
    }

    /// Waits until this is written; what was written before it.
    #[track_caller]
    pub fn until(&mut self, text: &str) -> String {
        self.0.exp_string(text).unwrap_or_else(|error| panic!("no {text:?} on the terminal: {error}"))
    }

    /// Waits for the prompt.
    #[track_caller]
    pub fn prompt(&mut self) {
        self.until("> ");
    }

    /// Types a line.
    pub fn line(&mut self, words: &str) {
        self.keys(&format!("{words}\r"));
    }

    /// Presses keys.
    pub fn keys(&mut self, keys: &str) {
        self.0.send(keys).and_then(|_| self.0.flush()).expect("the terminal takes keys");
    }

    /// Holds the control key and presses another one.
    pub fn control(&mut self, key: char) {
        self.0.send_control(key).expect("the terminal takes keys");
    }

    /// Waits for the end of the command: its exit code.
    pub fn end(mut self) -> i32 {
        match self.0.exp_eof() {
            Ok(_) | Err(Error::EOF { .. }) => {}
            Err(error) => panic!("the command goes on: {error}"),
        }
        match self.0.process().wait().expect("the command has an end") {
            WaitStatus::Exited(_, code) => code,
            other => panic!("the command ended by {other:?}"),
        }
    }
}
