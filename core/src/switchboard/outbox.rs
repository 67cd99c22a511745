//! The byte account of one connection's outgoing frames (spec 01 §7.1).

use std::collections::VecDeque;

/// Frames handed to the adapter that have not left for the socket yet.
///
/// Answers to the connection's own requests are counted apart: a large history must not make a client slow.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    frames: VecDeque<(usize, Kind)>,
    /// Bytes of the first frame that have left already.
    part: usize,
    events: usize,
    answers: usize,
}

/// What a frame is, as far as the account cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// An event; counts towards the slow-consumer limit.
    Event,
    /// An answer to a request; does not.
    Answer,
}

impl Outbox {
    /// Notes a frame that was handed over.
    pub(super) fn push(&mut self, bytes: usize, kind: Kind) {
        self.frames.push_back((bytes, kind));
        match kind {
            Kind::Event => self.events += bytes,
            Kind::Answer => self.answers += bytes,
        }
    }

    /// Notes bytes that have left, in order.
    pub(super) fn flushed(&mut self, bytes: usize) {
        self.part += bytes;
        while let Some(&(size, kind)) = self.frames.front() {
            if self.part < size {
                return;
            }
            self.part -= size;
            self.frames.pop_front();
            match kind {
                Kind::Event => self.events -= size,
                Kind::Answer => self.answers -= size,
            }
        }
        self.part = 0;
        if self.frames.capacity() > 64 {
            self.frames.shrink_to(8);
        }
    }

    /// Whether another event of `bytes` fits below `limit`. Into an empty outbox every event fits.
    pub(super) fn fits(&self, bytes: usize, limit: usize) -> bool {
        self.events == 0 || self.events + bytes <= limit
    }

    /// Bytes that wait, of both kinds.
    pub(super) fn waiting(&self) -> usize {
        self.events + self.answers - self.part.min(self.events + self.answers)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn answers_do_not_count_towards_the_limit() {
        let mut outbox = Outbox::default();
        outbox.push(1_000_000, Kind::Answer);
        outbox.push(40, Kind::Event);
        assert!(outbox.fits(60, 100));
        assert!(!outbox.fits(61, 100));
        outbox.flushed(1_000_000);
        assert_eq!(outbox.waiting(), 40);
        outbox.flushed(40);
        assert!(outbox.fits(5_000, 100), "an empty outbox takes any event");
    }

    proptest! {
        #[test]
        fn the_account_is_empty_when_everything_has_left(
            frames in proptest::collection::vec((1_usize..5_000, any::<bool>()), 1..50),
            step in 1_usize..4_000,
        ) {
            let mut outbox = Outbox::default();
            let mut total = 0;
            for (bytes, event) in frames {
                outbox.push(bytes, if event { Kind::Event } else { Kind::Answer });
                total += bytes;
            }
            prop_assert_eq!(outbox.waiting(), total);
            while total > 0 {
                let now = step.min(total);
                outbox.flushed(now);
                total -= now;
                prop_assert_eq!(outbox.waiting(), total);
            }
            prop_assert_eq!((outbox.events, outbox.answers, outbox.frames.len()), (0, 0, 0));
        }
    }
}
