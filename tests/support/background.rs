//! A program that runs beside a test.

use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::PATIENCE;
use super::gateway::Log;

/// A running program. It is killed when dropped.
pub struct Background {
    child: Child,
    log: Log,
}

impl Background {
    /// Starts a program.
    pub fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let log = Log::default();
        log.follow(child.stdout.take().expect("a pipe"));
        log.follow(child.stderr.take().expect("a pipe"));
        Self { child, log }
    }

    /// Waits for a line with these words.
    pub fn says(&self, words: &str) -> String {
        self.says_within(PATIENCE, words)
    }

    /// The same for a program that takes its time.
    pub fn says_within(&self, patience: Duration, words: &str) -> String {
        self.log.wait_within(patience, words, |line| line.contains(words))
    }

    /// Everything it has printed so far.
    pub fn text(&self) -> String {
        self.log.text()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("the process is ours");
    }

    /// Asks it to stop and waits for its end: the exit code.
    pub fn stop(mut self) -> Option<i32> {
        self.signal(Signal::TERM);
        self.child.wait().expect("the program ends").code()
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("---- what the program printed\n{}----", self.log.text());
        }
    }
}
