//! The deadlines of requests whose answers wait for an effect (07 P-05).
//!
//! A store or a disk that hangs must not leave a client without an answer. A request that has waited too long
//! is refused as retryable; its effect goes on, and whoever repeats the idempotency key joins it. The late
//! answer is not sent: a request is answered once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use telson_proto::ErrorShape;

use crate::ids::{ConnId, Ticket};
use crate::limits;
use crate::messages::{Down, Outcome};
use crate::time::Now;

use super::{Gateway, Output};

/// The requests that wait.
#[derive(Default)]
pub(super) struct Deadlines {
    due: BTreeMap<(Duration, u64), (Ticket, &'static str)>,
    /// When each waiting request is due.
    waiting: BTreeMap<u64, Duration>,
    /// Requests that were refused and whose late answer is still to come, with their connection.
    refused: BTreeSet<(ConnId, u64)>,
}

impl Deadlines {
    /// A request waits from now on.
    pub(super) fn wait(&mut self, now: Now, ticket: Ticket, method: &'static str) {
        let at = now.mono + limits::millis(limits::REQUEST_MS);
        self.waiting.insert(ticket.serial, at);
        self.due.insert((at, ticket.serial), (ticket, method));
    }

    /// A request is answered. False when that is too late.
    pub(super) fn answered(&mut self, ticket: &Ticket) -> bool {
        if let Some(at) = self.waiting.remove(&ticket.serial) {
            self.due.remove(&(at, ticket.serial));
        }
        !self.refused.remove(&(ticket.conn, ticket.serial))
    }

    /// A connection is gone, and with it its requests.
    pub(super) fn gone(&mut self, conn: ConnId) {
        self.due.retain(|_, (ticket, _)| ticket.conn != conn);
        let due = &self.due;
        self.waiting.retain(|serial, at| due.contains_key(&(*at, *serial)));
        self.refused.retain(|(of, _)| *of != conn);
    }

    /// When the first of them is due.
    pub(super) fn next(&self) -> Option<Duration> {
        self.due.keys().next().map(|(at, _)| *at)
    }

    /// The next request whose time is over.
    fn expired(&mut self, now: Now) -> Option<(Ticket, &'static str)> {
        let entry = self.due.first_entry().filter(|entry| entry.key().0 <= now.mono)?;
        let (ticket, method) = entry.remove();
        self.waiting.remove(&ticket.serial);
        self.refused.insert((ticket.conn, ticket.serial));
        Some((ticket, method))
    }

    /// How many requests wait.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.due.len()
    }
}

impl Gateway {
    /// Refuses the requests that have waited too long.
    pub(super) fn refuse_overdue(&mut self) {
        while let Some((ticket, method)) = self.deadlines.expired(self.now) {
            let seconds = limits::REQUEST_MS / 1_000;
            tracing::warn!(target: "gateway", conn = %ticket.conn, method, seconds, "a request was not answered in time");
            let error = ErrorShape::unavailable(format!(
                "{method} was not done within {seconds} s; repeat it, with the same idempotencyKey if it has one"
            ))
            .with_details(&serde_json::json!({"limit": "request", "method": method}))
            .retry_after(1_000);
            self.emit(Output::Down(Down::Reply { ticket, outcome: Outcome::error(error) }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Now {
        Now { mono: Duration::from_secs(seconds), wall: 0 }
    }

    fn ticket(conn: u64, serial: u64) -> Ticket {
        Ticket { conn: ConnId(conn), id: "x".to_owned(), serial }
    }

    #[test]
    fn a_request_in_time_is_answered_and_a_late_answer_is_not_sent() {
        let mut deadlines = Deadlines::default();
        deadlines.wait(at(0), ticket(1, 1), "chat.history");
        deadlines.wait(at(1), ticket(1, 2), "chat.history");
        assert!(deadlines.answered(&ticket(1, 1)));
        assert_eq!(deadlines.expired(at(30)), None);
        assert_eq!(deadlines.expired(at(31)), Some((ticket(1, 2), "chat.history")));
        assert!(!deadlines.answered(&ticket(1, 2)), "it was refused");
        assert!(deadlines.answered(&ticket(1, 2)), "and that is remembered once");
        assert_eq!((deadlines.len(), deadlines.waiting.len(), deadlines.refused.len()), (0, 0, 0));
    }

    #[test]
    fn nothing_is_kept_of_a_connection_that_is_gone() {
        let mut deadlines = Deadlines::default();
        deadlines.wait(at(0), ticket(1, 1), "chat.send");
        deadlines.wait(at(0), ticket(1, 2), "chat.send");
        deadlines.wait(at(5), ticket(2, 3), "chat.send");
        assert!(deadlines.expired(at(30)).is_some());
        deadlines.gone(ConnId(1));
        assert_eq!((deadlines.len(), deadlines.waiting.len(), deadlines.refused.len()), (1, 1, 0));
        assert_eq!(deadlines.next(), Some(Duration::from_secs(35)));
    }
}
