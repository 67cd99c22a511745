//! Reading the body of a request: whole, bounded, and not for ever (spec 04 §1.5).

use std::error::Error as _;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use futures_util::future::{Either, select};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use telson_core::http::BodyError;
use telson_core::limits;

use crate::runtime::Runtime;

/// How much of a body that nobody wants is read before the answer, and for how long.
const DRAIN_BYTES: u64 = 1024 * 1024;
const DRAIN_TIME: Duration = Duration::from_secs(1);

/// The memory that all bodies that are being read may take together.
#[derive(Clone, Debug, Default)]
pub(super) struct Budget(Arc<AtomicUsize>);

/// A share of the budget, given back when dropped.
#[derive(Debug)]
pub(super) struct Share {
    budget: Budget,
    bytes: usize,
}

impl Budget {
    pub(super) fn share(&self) -> Share {
        Share { budget: self.clone(), bytes: 0 }
    }
}

impl Share {
    /// Makes the share as large as `bytes`; false when there is not so much left.
    fn grow_to(&mut self, bytes: usize) -> bool {
        let more = bytes.saturating_sub(self.bytes);
        let most = usize::try_from(limits::HTTP_BODIES_BYTES).unwrap_or(usize::MAX);
        let taken = self.budget.0.fetch_add(more, Ordering::Relaxed).saturating_add(more);
        if taken > most {
            self.budget.0.fetch_sub(more, Ordering::Relaxed);
            return false;
        }
        self.bytes += more;
        true
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// How reading a body has ended.
#[derive(Debug)]
pub(super) enum Read {
    /// All of it is here, or it will never be.
    Done(Result<Bytes, BodyError>),
    /// The client went away in the middle of it.
    Gone,
    /// Too many bodies are being read.
    Busy,
}

/// Reads a body of up to `limit` bytes.
pub(super) async fn read<R: Runtime>(
    runtime: &R,
    body: &mut Incoming,
    declared: Option<u64>,
    limit: usize,
    share: &mut Share,
) -> Read {
    let declared = declared.map_or(0, |size| usize::try_from(size).unwrap_or(usize::MAX));
    if declared > limit {
        return Read::Done(Err(BodyError::TooLarge));
    }
    if !share.grow_to(declared) {
        return Read::Busy;
    }
    let mut all = BytesMut::with_capacity(declared);
    loop {
        let late = runtime.sleep_until(Instant::now() + Duration::from_millis(limits::HTTP_BODY_MS));
        let frame = match select(std::pin::pin!(body.frame()), std::pin::pin!(late)).await {
            Either::Left((frame, _)) => frame,
            Either::Right(_) => return Read::Done(Err(BodyError::Timeout)),
        };
        let bytes = match frame {
            None => return Read::Done(Ok(all.freeze())),
            Some(Err(error)) if is_malformed(&error) => return Read::Done(Err(BodyError::Broken)),
            Some(Err(_)) => return Read::Gone,
            Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
        };
        if bytes.len() > limit.saturating_sub(all.len()) {
            return Read::Done(Err(BodyError::TooLarge));
        }
        if !share.grow_to(all.len() + bytes.len()) {
            return Read::Busy;
        }
        all.extend_from_slice(&bytes);
    }
}

/// Whether what came is no body, so that the client can still be told.
fn is_malformed(error: &hyper::Error) -> bool {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
    cause
        .is_some_and(|cause| matches!(cause.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData))
}

/// Reads a body that nobody wants, so that the connection can go on. False when that is not worth the time.
pub(super) async fn drain<R: Runtime>(runtime: &R, mut body: Incoming) -> bool {
    use hyper::body::Body as _;
    if body.is_end_stream() {
        return true;
    }
    if body.size_hint().upper().is_none_or(|left| left > DRAIN_BYTES) {
        return false;
    }
    let read = async {
        while let Some(frame) = body.frame().await {
            if frame.is_err() {
                return false;
            }
        }
        true
    };
    let late = runtime.sleep_until(Instant::now() + DRAIN_TIME);
    match select(std::pin::pin!(read), std::pin::pin!(late)).await {
        Either::Left((all, _)) => all,
        Either::Right(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_take_no_more_memory_than_all_may_together() {
        let budget = Budget::default();
        let most = usize::try_from(limits::HTTP_BODIES_BYTES).unwrap_or(usize::MAX);
        let (mut one, mut other) = (budget.share(), budget.share());
        assert!(one.grow_to(most - 10) && one.grow_to(5), "a share does not shrink");
        assert!(!other.grow_to(11) && other.grow_to(10));
        drop(one);
        assert!(other.grow_to(most));
        drop(other);
        assert_eq!(budget.0.load(Ordering::Relaxed), 0);
    }
}
