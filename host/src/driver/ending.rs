//! How a gateway ends: what each signal asks for, and when waiting is over (spec 05 §10.2, §10.3).

use std::time::Duration;

use telson_core::messages::CLOSE_GRACE;

use crate::runtime::Signal;

use super::{Exit, ServeError};

/// How long clients may expect to wait for a gateway that restarts.
const RESTART_EXPECTED: Duration = Duration::from_millis(1_500);

/// How long runs may take to be ended and stored, after the time for which they may go on.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long the sockets may take to be closed, after their own grace.
const SOCKETS: Duration = CLOSE_GRACE.saturating_add(Duration::from_millis(250));

/// What a signal means to the machines.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// They are to stop.
    Stop {
        /// What clients are told.
        reason: String,
        /// When clients may expect the gateway back.
        restart_expected: Option<Duration>,
    },
    /// Nothing.
    Nothing,
}

/// Where the end stands. Times are the machines' monotonic clock.
#[derive(Debug, Default)]
pub(super) enum Ending {
    /// Nobody has asked for it.
    #[default]
    Far,
    /// The machines were asked to stop.
    Asked { exit: Exit, until: Duration },
    /// The machines have stopped; sockets are being closed.
    Closing { exit: Exit, until: Duration },
    /// The state could not be loaded.
    Broken,
    /// Nobody waits any longer.
    Forced,
}

impl Ending {
    /// Notes a signal.
    pub(super) fn signalled(&mut self, now: Duration, signal: Signal, drain: Duration) -> Told {
        let (exit, reason, restart_expected) = match signal {
            Signal::Terminate | Signal::Interrupt => (Exit::Stopped, "gateway stopping", None),
            Signal::User1 | Signal::User2 => (Exit::Restarting, "gateway restarting", Some(RESTART_EXPECTED)),
            Signal::Hangup => return Told::Nothing,
        };
        if !matches!(self, Self::Far) {
            if exit == Exit::Stopped {
                tracing::error!(target: "gateway", "received {} during shutdown; not waiting any longer", signal.name());
                *self = Self::Forced;
            }
            return Told::Nothing;
        }
        let verb = if exit == Exit::Stopped { "shutting down" } else { "restarting" };
        tracing::info!(target: "gateway", "received {}; {verb}", signal.name());
        *self = Self::Asked { exit, until: now + drain + PATIENCE };
        Told::Stop { reason: reason.to_owned(), restart_expected }
    }

    /// Notes that the machines have stopped.
    pub(super) fn stopped(&mut self, now: Duration, broken: bool) {
        *self = match self {
            Self::Asked { exit, .. } => Self::Closing { exit: *exit, until: now + SOCKETS },
            Self::Far if broken => Self::Broken,
            Self::Far => Self::Closing { exit: Exit::Stopped, until: now + SOCKETS },
            Self::Closing { .. } | Self::Broken | Self::Forced => return,
        };
    }

    /// When to look again, if nothing else happens.
    pub(super) fn deadline(&self) -> Option<Duration> {
        match self {
            Self::Asked { until, .. } | Self::Closing { until, .. } => Some(*until),
            Self::Far | Self::Broken | Self::Forced => None,
        }
    }

    /// How it ended, once it has.
    pub(super) fn outcome(&self, now: Duration, sockets: usize) -> Option<Result<Exit, ServeError>> {
        match self {
            Self::Far => None,
            Self::Asked { until, .. } if now >= *until => {
                tracing::error!(target: "gateway", "shutdown timed out");
                Some(Ok(Exit::Forced))
            }
            Self::Closing { exit, until } if sockets == 0 || now >= *until => Some(Ok(*exit)),
            Self::Asked { .. } | Self::Closing { .. } => None,
            Self::Broken => Some(Err(ServeError::State)),
            Self::Forced => Some(Ok(Exit::Forced)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(5);

    #[test]
    fn a_stop_waits_for_the_machines_and_then_for_the_sockets() {
        let mut ending = Ending::default();
        let told = ending.signalled(NOW, Signal::Terminate, Duration::ZERO);
        assert_eq!(told, Told::Stop { reason: "gateway stopping".to_owned(), restart_expected: None });
        assert!(ending.outcome(NOW, 0).is_none());
        ending.stopped(NOW, false);
        assert!(ending.outcome(NOW, 1).is_none());
        assert!(matches!(ending.outcome(NOW, 0), Some(Ok(Exit::Stopped))));
        assert!(matches!(ending.outcome(NOW + SOCKETS, 1), Some(Ok(Exit::Stopped))));
    }

    #[test]
    fn a_restart_tells_when_the_gateway_is_back() {
        for signal in [Signal::User1, Signal::User2] {
            let mut ending = Ending::default();
            let Told::Stop { reason, restart_expected } = ending.signalled(NOW, signal, Duration::ZERO)
            else {
                panic!("not told to stop");
            };
            assert_eq!((reason.as_str(), restart_expected), ("gateway restarting", Some(RESTART_EXPECTED)));
            ending.stopped(NOW, false);
            assert!(matches!(ending.outcome(NOW, 0), Some(Ok(Exit::Restarting))));
        }
    }

    #[test]
    fn a_second_stop_signal_waits_for_nothing_and_a_second_restart_changes_nothing() {
        let mut ending = Ending::default();
        ending.signalled(NOW, Signal::Terminate, Duration::ZERO);
        assert_eq!(ending.signalled(NOW, Signal::User1, Duration::ZERO), Told::Nothing);
        assert!(ending.outcome(NOW, 3).is_none());
        assert_eq!(ending.signalled(NOW, Signal::Interrupt, Duration::ZERO), Told::Nothing);
        assert!(matches!(ending.outcome(NOW, 3), Some(Ok(Exit::Forced))));
    }

    #[test]
    fn machines_that_do_not_stop_are_left() {
        let mut ending = Ending::default();
        ending.signalled(NOW, Signal::Terminate, Duration::ZERO);
        assert_eq!(ending.deadline(), Some(NOW + PATIENCE));
        assert!(matches!(ending.outcome(NOW + PATIENCE, 0), Some(Ok(Exit::Forced))));
    }

    #[test]
    fn state_that_cannot_be_loaded_is_an_error() {
        let mut ending = Ending::default();
        ending.stopped(NOW, true);
        assert!(matches!(ending.outcome(NOW, 0), Some(Err(ServeError::State))));
    }
}
