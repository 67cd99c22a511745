//! What a command has written: kept up to the limit, and passed on in pieces while it comes.

use std::time::Duration;

use crate::limits::{self, length};

/// The largest piece that is passed on, in bytes (spec 03 §2.10).
const PIECE: usize = 16_384;

/// How long a piece waits for more.
const GATHER: Duration = Duration::from_millis(250);

/// The mark of output that was dropped.
const MARK: &str = "... (truncated)";

/// Which of the two streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
    Out,
    Err,
}

/// What a command has written.
#[derive(Debug, Default)]
pub(super) struct Capture {
    out: Vec<u8>,
    err: Vec<u8>,
    truncated: bool,
    /// What is to be passed on, and when.
    waiting: Vec<u8>,
    due: Option<Duration>,
}

impl Capture {
    /// Something came. Output beyond the limit is dropped.
    pub(super) fn push(&mut self, now: Duration, stream: Stream, bytes: &[u8], pass_on: bool) {
        let left = length(limits::NODE_OUTPUT_BYTES).saturating_sub(self.out.len() + self.err.len());
        let taken = bytes.get(..left).unwrap_or(bytes);
        self.truncated |= taken.len() < bytes.len();
        match stream {
            Stream::Out => self.out.extend_from_slice(taken),
            Stream::Err => self.err.extend_from_slice(taken),
        }
        if pass_on && !taken.is_empty() {
            self.waiting.extend_from_slice(taken);
            self.due.get_or_insert(if self.waiting.len() >= PIECE { now } else { now + GATHER });
        }
    }

    /// When something is to be passed on.
    pub(super) const fn due(&self) -> Option<Duration> {
        self.due
    }

    /// The pieces that are to be passed on. A character that has come in part waits for its rest, unless this is the
    /// end.
    pub(super) fn pieces(&mut self, end: bool) -> Vec<String> {
        self.due = None;
        let whole = if end { self.waiting.len() } else { whole_chars(&self.waiting) };
        let rest = self.waiting.split_off(whole);
        let text = String::from_utf8_lossy(&std::mem::replace(&mut self.waiting, rest)).into_owned();
        let mut pieces = Vec::new();
        let mut text = text.as_str();
        while !text.is_empty() {
            let mut cut = text.len().min(PIECE);
            while !text.is_char_boundary(cut) {
                cut -= 1;
            }
            let (piece, more) = text.split_at(cut);
            pieces.push(piece.to_owned());
            text = more;
        }
        pieces
    }

    /// Both streams as text, marked when something was dropped.
    pub(super) fn texts(&self) -> (String, String) {
        let mut out = String::from_utf8_lossy(&self.out).into_owned();
        let mut err = String::from_utf8_lossy(&self.err).into_owned();
        if self.truncated {
            let marked = if err.trim().is_empty() { &mut out } else { &mut err };
            marked.push('\n');
            marked.push_str(MARK);
        }
        (out, err)
    }
}

/// How many bytes end with a whole character, or with what never becomes one.
fn whole_chars(bytes: &[u8]) -> usize {
    match std::str::from_utf8(bytes) {
        Ok(_) => bytes.len(),
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        // Something wrong stands before the end: only the last few bytes can be the beginning of a character.
        Err(_) => {
            let tail = bytes.len().saturating_sub(3);
            let begins = |at: &usize| bytes.get(*at).is_some_and(|byte| *byte >= 0xc0);
            let begun = (tail..bytes.len()).rev().find(begins);
            let unfinished = begun.filter(|at| {
                let rest = bytes.get(*at..).unwrap_or_default();
                std::str::from_utf8(rest).is_err_and(|error| error.error_len().is_none())
            });
            unfinished.unwrap_or(bytes.len())
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn output_beyond_the_limit_is_dropped_and_marked() {
        let mut capture = Capture::default();
        capture.push(Duration::ZERO, Stream::Out, &vec![b'a'; 150_000], false);
        capture.push(Duration::ZERO, Stream::Err, &vec![b'b'; 150_000], false);
        capture.push(Duration::ZERO, Stream::Out, b"more", false);
        let (out, err) = capture.texts();
        assert_eq!((out.len(), err.len()), (150_000, 50_000 + 1 + MARK.len()));
        assert!(err.ends_with("\n... (truncated)"));
        assert_eq!(capture.due(), None);
    }

    proptest! {
        #[test]
        fn pieces_together_are_the_text_whatever_the_chunks(
            text in "[a-zé€𝄞]{0,200}", at in 0_usize..400, bytes in proptest::collection::vec(any::<u8>(), 0..50),
        ) {
            let whole = [text.as_bytes(), &bytes].concat();
            let (head, tail) = whole.split_at(at.min(whole.len()));
            let mut capture = Capture::default();
            capture.push(Duration::ZERO, Stream::Out, head, true);
            let mut said: String = capture.pieces(false).concat();
            capture.push(Duration::ZERO, Stream::Out, tail, true);
            said.extend(capture.pieces(true));
            if bytes.is_empty() {
                prop_assert_eq!(said, text);
            } else {
                prop_assert!(said.starts_with(&text));
            }
        }
    }
}
