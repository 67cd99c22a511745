//! Everything that went into the machines and came out of them, as one digest and as its last lines.

use std::collections::VecDeque;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

/// How many lines a failure shows.
const TAIL: usize = 60;
/// How much of a line is shown.
const WIDTH: usize = 400;

/// The record of one world.
pub(crate) struct Trace {
    digest: Sha256,
    tail: VecDeque<(Duration, String)>,
    lines: u64,
    /// Print each line as it happens.
    pub(crate) print: bool,
}

impl Trace {
    pub(crate) fn new() -> Self {
        Self { digest: Sha256::new(), tail: VecDeque::new(), lines: 0, print: false }
    }

    /// Records one line.
    pub(crate) fn note(&mut self, at: Duration, line: String) {
        self.lines += 1;
        self.digest.update(at.as_nanos().to_le_bytes());
        self.digest.update(line.as_bytes());
        self.digest.update(b"\n");
        if self.print {
            eprintln!("{}", shown(at, &line));
        }
        if self.tail.len() == TAIL {
            self.tail.pop_front();
        }
        self.tail.push_back((at, line));
    }

    /// The digest of everything so far.
    pub(crate) fn digest(&self) -> String {
        telson_core::hex(self.digest.clone().finalize().as_slice())
    }

    pub(crate) fn lines(&self) -> u64 {
        self.lines
    }

    /// The last lines.
    pub(crate) fn tail(&self) -> String {
        self.tail.iter().map(|(at, line)| shown(*at, line)).collect::<Vec<_>>().join("\n")
    }
}

fn shown(at: Duration, line: &str) -> String {
    match line.char_indices().nth(WIDTH) {
        Some((end, _)) => format!("{:>12.6} {}…", at.as_secs_f64(), &line[..end]),
        None => format!("{:>12.6} {line}", at.as_secs_f64()),
    }
}
