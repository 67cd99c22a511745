//! Time, as the adapter tells it.

use std::time::Duration;

/// The moment at which an input happened: both clocks, read together by the adapter.
///
/// Deadlines are kept on the monotonic clock, which a changed wall clock cannot disturb; what people and
/// other machines see is stamped with the wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Time since the process started.
    pub mono: Duration,
    /// Milliseconds since the Unix epoch.
    pub wall: u64,
}

impl Now {
    /// The start of time, for examples and tests.
    pub const fn epoch() -> Self {
        Self { mono: Duration::ZERO, wall: 0 }
    }
}

/// The earlier of two optional deadlines.
pub(crate) fn earliest(a: Option<Duration>, b: Option<Duration>) -> Option<Duration> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
