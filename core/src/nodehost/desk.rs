//! What a command of this node can ask for while it is carried out.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::entropy::Entropy;
use crate::time::Now;

use super::listing::Entry;
use super::news::News;
use super::settings::Machine;
use super::{ProcessEvent, Program};

/// Something that is done with the files of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Errand {
    /// Read the standing policy.
    ReadPolicy,
    /// Replace the standing policy in one step, if it is still what it was.
    WritePolicy {
        /// The new text.
        text: String,
        /// The old text; `None` when there was no file.
        was: Option<String>,
    },
    /// Look up executables and files.
    Look {
        /// Programs: names for the search path, or paths.
        programs: Vec<String>,
        /// Words that may name files.
        files: Vec<String>,
        /// The directories of the search path.
        path: String,
        /// Where relative names begin.
        cwd: Option<String>,
    },
    /// List a directory below the home directory, without leaving it by a link.
    List {
        /// The directory, relative to the home directory; empty for itself.
        below: String,
    },
}

/// What became of an errand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The policy as it is kept; `None` without a file.
    Policy(Option<String>),
    /// The policy is written.
    Written,
    /// The policy is not what it was; nothing was written.
    Changed,
    /// What was looked up: executables by name, and which of the files exist.
    Found {
        /// The absolute path of each program that was found.
        programs: BTreeMap<String, String>,
        /// The words that name files.
        files: Vec<String>,
    },
    /// What a directory holds, by name.
    Listed {
        /// The path of the directory.
        path: String,
        /// What it holds, at most [`super::MOST_ENTRIES`].
        entries: Vec<Entry>,
        /// Whether there was more.
        truncated: bool,
    },
    /// It did not work, and why.
    Failed(String),
}

/// Why a command is not carried out, as its caller reads it (spec 03 §2.9).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) code: &'static str,
    pub(super) message: String,
}

impl Fault {
    /// The caller made a mistake; the words say which.
    pub(super) fn invalid(words: impl std::fmt::Display) -> Self {
        Self { code: "INVALID_REQUEST", message: format!("INVALID_REQUEST: {words}") }
    }

    /// It cannot be done here; the words begin with a token where clients know one.
    pub(super) fn unavailable(words: impl Into<String>) -> Self {
        Self { code: "UNAVAILABLE", message: words.into() }
    }

    /// It took too long.
    pub(super) fn timeout(words: impl Into<String>) -> Self {
        Self { code: "TIMEOUT", message: words.into() }
    }
}

/// What a command asks for.
#[derive(Debug)]
pub(super) enum Act {
    Ask(Errand),
    Spawn(Program),
    Kill,
    /// A `node.event`.
    Event(&'static str, Value),
    /// Text of `node.invoke.progress`.
    Progress(String),
    Say(News),
    /// The end of the command.
    Answer(Result<Value, Fault>),
}

/// What a command sees of this node, and what it asks for.
pub(super) struct Desk<'a> {
    pub(super) now: Now,
    pub(super) machine: &'a Machine,
    pub(super) entropy: &'a mut Entropy,
    /// The protocol of the connection.
    pub(super) protocol: u64,
    /// Whether the gateway wants to hear of commands at work.
    pub(super) progress: bool,
    /// Approvals that were used up.
    pub(super) grants: &'a mut Grants,
    acts: Vec<Act>,
}

impl<'a> Desk<'a> {
    pub(super) fn new(
        now: Now,
        machine: &'a Machine,
        entropy: &'a mut Entropy,
        (protocol, progress): (u64, bool),
        grants: &'a mut Grants,
    ) -> Self {
        Self { now, machine, entropy, protocol, progress, grants, acts: Vec::new() }
    }

    pub(super) fn act(&mut self, act: Act) {
        self.acts.push(act);
    }

    pub(super) fn answer(&mut self, outcome: Result<Value, Fault>) {
        self.act(Act::Answer(outcome));
    }

    /// What was asked for, in order.
    pub(super) fn into_acts(self) -> Vec<Act> {
        self.acts
    }
}

/// The runs whose approval was used: one approval lets one command run (spec 08 S-55).
#[derive(Debug, Default)]
pub(super) struct Grants(std::collections::VecDeque<String>);

impl Grants {
    /// As many are remembered. A gateway binds an approval to its run as well.
    const MOST: usize = 1_000;

    /// Whether this is the first use.
    pub(super) fn take(&mut self, run_id: &str) -> bool {
        if self.0.iter().any(|used| used == run_id) {
            return false;
        }
        if self.0.len() >= Self::MOST {
            self.0.pop_front();
        }
        self.0.push_back(run_id.to_owned());
        true
    }
}

/// A command at work.
pub(super) trait Work {
    /// Begins.
    fn begin(&mut self, desk: &mut Desk<'_>);

    /// An errand is done.
    fn told(&mut self, desk: &mut Desk<'_>, outcome: Outcome);

    /// Its process has moved.
    fn moved(&mut self, desk: &mut Desk<'_>, event: ProcessEvent) {
        let _ = (desk, event);
    }

    /// When something is due.
    fn deadline(&self) -> Option<Duration> {
        None
    }

    /// It is due.
    fn due(&mut self, desk: &mut Desk<'_>) {
        let _ = desk;
    }
}
