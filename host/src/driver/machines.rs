//! What the engine drives: the machines, or others in their place.

use std::time::Duration;

use telson_core::gateway::Phase;
use telson_core::{Input, Joined, Now, Output};

/// Something that is told what happened and says what is to be done. [`Joined`] is the one that serves people;
/// a test of the driver brings its own.
pub trait Machines: Send + 'static {
    /// Tells what happened.
    fn handle(&mut self, now: Now, input: Input);

    /// Lets be done what is due.
    fn handle_timeout(&mut self, now: Now);

    /// The next thing to be done, if any.
    fn poll_output(&mut self) -> Option<Output>;

    /// When to call [`Self::handle_timeout`] at the latest, on the monotonic clock.
    fn poll_timeout(&self) -> Option<Duration>;

    /// Where the gateway is in its life.
    fn phase(&self) -> Phase;

    /// Why the gateway stops by itself, if it does.
    fn tailnet_fault(&self) -> Option<String> {
        None
    }
}

impl Machines for Joined {
    fn handle(&mut self, now: Now, input: Input) {
        self.handle(now, input);
    }

    fn handle_timeout(&mut self, now: Now) {
        self.handle_timeout(now);
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.poll_output()
    }

    fn poll_timeout(&self) -> Option<Duration> {
        self.poll_timeout()
    }

    fn phase(&self) -> Phase {
        self.gateway().phase()
    }

    fn tailnet_fault(&self) -> Option<String> {
        self.gateway().tailnet_fault().map(str::to_owned)
    }
}
