//! The two clocks of a process, read together.

use std::time::{Duration, Instant, SystemTime};

use telson_core::Now;

/// Where the monotonic clock of the machines starts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock that starts now.
    pub(crate) fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// This moment, as the machines are told it.
    pub(crate) fn now(self) -> Now {
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Now { mono: self.start.elapsed(), wall: u64::try_from(wall.as_millis()).unwrap_or(u64::MAX) }
    }

    /// A moment of the machines on the operating system's clock.
    pub(crate) fn instant(self, mono: Duration) -> Instant {
        self.start + mono
    }
}
