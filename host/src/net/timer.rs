//! hyper's timers on a runtime's.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};

use crate::runtime::Runtime;

/// Gives hyper the timers of a runtime.
pub(crate) struct HyperTimer<R>(R);

impl<R: Runtime> HyperTimer<R> {
    pub(crate) fn new(runtime: R) -> Self {
        Self(runtime)
    }
}

impl<R: Runtime> Timer for HyperTimer<R> {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(Instant::now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(HyperSleep(Box::pin(self.0.sleep_until(deadline))))
    }
}

struct HyperSleep<S>(Pin<Box<S>>);

impl<S: Future<Output = ()> + Send + Sync + 'static> Future for HyperSleep<S> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.get_mut().0.as_mut().poll(cx)
    }
}

impl<S: Future<Output = ()> + Send + Sync + 'static> Sleep for HyperSleep<S> {}
