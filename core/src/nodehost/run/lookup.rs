//! What a judgement has to know of this machine, collected question by question.
//!
//! The judgement is pure and is made again with every answer: what it asks and nobody has looked up yet is noted,
//! looked up together, and then it is made anew. Nothing runs before a judgement had every answer.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use crate::approvals::evaluate::Surroundings;

/// At most so many questions of one command.
const MOST: usize = 4_096;

/// What is known of this machine.
#[derive(Debug, Default)]
pub(super) struct Lookup {
    home: Option<String>,
    programs: BTreeMap<String, Option<String>>,
    files: BTreeMap<String, bool>,
    asked: RefCell<Questions>,
}

/// What was asked and is not known.
#[derive(Debug, Default)]
pub(super) struct Questions {
    pub(super) programs: BTreeSet<String>,
    pub(super) files: BTreeSet<String>,
}

impl Lookup {
    pub(super) fn new(home: Option<String>) -> Self {
        Self { home, ..Self::default() }
    }

    /// The questions that the last judgement left open; none when it had every answer.
    pub(super) fn open(&mut self) -> Option<Questions> {
        let open = std::mem::take(self.asked.get_mut());
        (!open.programs.is_empty() || !open.files.is_empty()).then_some(open)
    }

    /// Whether a command asks more than a judgement may cost.
    pub(super) fn is_excessive(&self) -> bool {
        self.programs.len() + self.files.len() > MOST
    }

    /// The answers to questions; what is not among them is not there.
    pub(super) fn learn(&mut self, asked: &Questions, programs: &BTreeMap<String, String>, files: &[String]) {
        for name in &asked.programs {
            self.programs.insert(name.clone(), programs.get(name).cloned());
        }
        for name in &asked.files {
            self.files.insert(name.clone(), files.contains(name));
        }
    }

    /// Where a program is, if it was looked up and found.
    pub(super) fn program(&self, name: &str) -> Option<&str> {
        self.programs.get(name)?.as_deref()
    }
}

impl Surroundings for Lookup {
    fn resolve(&self, program: &str) -> Option<String> {
        match self.programs.get(program) {
            Some(found) => found.clone(),
            None => {
                self.asked.borrow_mut().programs.insert(program.to_owned());
                None
            }
        }
    }

    fn exists(&self, name: &str) -> bool {
        match self.files.get(name) {
            Some(exists) => *exists,
            None => {
                self.asked.borrow_mut().files.insert(name.to_owned());
                // The stricter answer until it is known: a safe program must not name a file.
                false
            }
        }
    }

    fn home(&self) -> Option<String> {
        self.home.clone()
    }
}
