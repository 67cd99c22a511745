//! What was answered to each idempotency key (spec 02 §2.3).
//!
//! A key is admitted once. While its work is under way a repeat joins it; afterwards a repeat gets the recorded
//! answer, also from a later process; the same key with other parameters is refused [C-02]. A record is
//! written in the transaction that it belongs to, so that nothing is acknowledged without it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use telson_proto::{ErrorShape, Json};

use crate::ids::Ticket;
use crate::limits;
use crate::messages::Outcome;
use crate::store::{AnswerRecord, Op};
use crate::time::Now;

/// The families of keys that name runs.
const FAMILIES: [&str; 2] = ["chat", "agent"];

/// The recorded answers and the keys whose work is under way.
#[derive(Default)]
pub struct Answers {
    entries: BTreeMap<String, Entry>,
    /// Finished keys by when they are forgotten. Ages are kept on the monotonic clock, so that a wall clock that
    /// is set forward does not make a repeat start the work anew.
    finished: BTreeMap<(Duration, u64), String>,
    serial: u64,
}

struct Entry {
    digest: String,
    state: State,
}

enum State {
    /// Admitted; the first answer has not been given. These wait for it.
    Admitted { waiting: Vec<Ticket> },
    /// The first answer has been given. A repeat gets `repeat` and, where the method answers twice, joins.
    UnderWay { repeat: Outcome, joined: Vec<Ticket> },
    /// The outcome.
    Finished { outcome: Outcome, order: (Duration, u64) },
}

/// What becomes of a key that is presented.
#[derive(Debug, PartialEq, Eq)]
pub enum Admission {
    /// It is new: do the work.
    New,
    /// Its work is under way: the ticket will be answered, or gets this answer now.
    Joined(Option<Outcome>),
    /// Its work is done: this is the answer.
    Finished(Outcome),
}

/// An outcome as a row of the store holds it.
#[derive(Serialize, Deserialize)]
struct Recorded {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    payload: Option<Json>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<ErrorShape>,
}

impl Answers {
    /// Takes over what was kept. How old a record is only the wall clock can tell.
    pub(crate) fn restore(&mut self, records: Vec<AnswerRecord>, now: Now) {
        for record in records {
            let Ok(Recorded { payload, error }) = serde_json::from_str(record.answer.as_str()) else {
                continue;
            };
            let age = now.wall.saturating_sub(record.at).min(limits::ANSWER_TTL_MS);
            let forget_at = now.mono + limits::millis(limits::ANSWER_TTL_MS - age);
            self.finish_entry(record.key, record.digest, forget_at, Outcome { payload, error });
        }
    }

    /// Presents a key with the digest of its parameters. `joins` says that the method answers twice and the
    /// caller wants the second answer too.
    ///
    /// # Errors
    ///
    /// `INVALID_REQUEST` with reason `chat-request-conflict` when the key was used with other parameters.
    pub(crate) fn admit(
        &mut self,
        key: &str,
        digest: &str,
        ticket: &Ticket,
        joins: bool,
    ) -> Result<Admission, ErrorShape> {
        if FAMILIES.iter().any(|family| self.is_taken_by(family, key)) {
            return Err(ErrorShape::invalid(
                "idempotencyKey was already used with another method; use a new key for a new request",
            )
            .with_details(&serde_json::json!({"reason": "chat-request-conflict"})));
        }
        let Some(entry) = self.entries.get_mut(key) else {
            let state = State::Admitted { waiting: Vec::new() };
            self.entries.insert(key.to_owned(), Entry { digest: digest.to_owned(), state });
            return Ok(Admission::New);
        };
        if entry.digest != digest {
            return Err(ErrorShape::invalid(
                "idempotencyKey was already used with other parameters; use a new key for a new request",
            )
            .with_details(&serde_json::json!({"reason": "chat-request-conflict"})));
        }
        Ok(match &mut entry.state {
            State::Admitted { waiting } => {
                waiting.push(ticket.clone());
                Admission::Joined(None)
            }
            State::UnderWay { repeat, joined } => {
                if joins {
                    joined.push(ticket.clone());
                }
                Admission::Joined(Some(repeat.clone()))
            }
            State::Finished { outcome, .. } => Admission::Finished(outcome.clone()),
        })
    }

    /// Whether something was asked with this key, and is under way or remembered.
    pub(crate) fn knows(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// Whether another family than the key's own knows the same id: a run's id names one run.
    fn is_taken_by(&self, family: &str, key: &str) -> bool {
        key.split_once(':')
            .is_some_and(|(own, id)| own != family && self.entries.contains_key(&format!("{family}:{id}")))
    }

    /// The work of `key` could not begin: the key is free again. Whoever waited for it is to be answered alike.
    pub(crate) fn release(&mut self, key: &str) -> Vec<Ticket> {
        match self.entries.get(key) {
            Some(Entry { state: State::Finished { .. }, .. }) | None => Vec::new(),
            Some(_) => match self.entries.remove(key).map(|entry| entry.state) {
                Some(State::Admitted { waiting }) => waiting,
                Some(State::UnderWay { joined, .. }) => joined,
                Some(State::Finished { .. }) | None => Vec::new(),
            },
        }
    }

    /// The first answer to `key` is given; from now on a repeat gets `repeat`. Returns who waited for it.
    /// With `joins` they also get the second answer.
    pub(crate) fn acknowledge(&mut self, key: &str, repeat: Outcome, joins: bool) -> Vec<Ticket> {
        let Some(entry) = self.entries.get_mut(key) else { return Vec::new() };
        let State::Admitted { waiting } = &mut entry.state else { return Vec::new() };
        let waiting = std::mem::take(waiting);
        let joined = if joins { waiting.clone() } else { Vec::new() };
        entry.state = State::UnderWay { repeat, joined };
        waiting
    }

    /// The row that records `outcome` for `key`; to be stored with what the outcome reports.
    pub(crate) fn record(&self, key: &str, outcome: &Outcome, now: Now) -> Option<Op> {
        let entry = self.entries.get(key)?;
        let recorded = Recorded { payload: outcome.payload.clone(), error: outcome.error.clone() };
        Some(Op::PutAnswer(AnswerRecord {
            key: key.to_owned(),
            digest: entry.digest.clone(),
            at: now.wall,
            answer: Json::of(&recorded),
        }))
    }

    /// The work of `key` has ended. Returns who joined and is to get the second answer.
    pub(crate) fn finish(&mut self, key: &str, outcome: Outcome, now: Now) -> Vec<Ticket> {
        let Some(entry) = self.entries.remove(key) else { return Vec::new() };
        let tickets = match entry.state {
            State::Admitted { waiting } => waiting,
            State::UnderWay { joined, .. } => joined,
            State::Finished { order, .. } => {
                self.finished.remove(&order);
                Vec::new()
            }
        };
        let forget_at = now.mono + limits::millis(limits::ANSWER_TTL_MS);
        self.finish_entry(key.to_owned(), entry.digest, forget_at, outcome);
        tickets
    }

    /// Forgets what is too old or too much; returns the keys, to be removed from the store too.
    pub(crate) fn sweep(&mut self, now: Now) -> Vec<String> {
        let most = limits::length(limits::ANSWERS);
        let mut forgotten = Vec::new();
        while let Some((&order, _)) = self.finished.first_key_value() {
            if order.0 > now.mono && self.finished.len() <= most {
                break;
            }
            if let Some(key) = self.finished.remove(&order) {
                self.entries.remove(&key);
                forgotten.push(key);
            }
        }
        forgotten
    }

    /// How many keys are known.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no key is known.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn finish_entry(&mut self, key: String, digest: String, forget_at: Duration, outcome: Outcome) {
        self.serial += 1;
        let order = (forget_at, self.serial);
        self.finished.insert(order, key.clone());
        self.entries.insert(key, Entry { digest, state: State::Finished { outcome, order } });
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::ids::ConnId;

    fn at(wall: u64) -> Now {
        Now { mono: Duration::from_millis(wall), wall }
    }

    fn ticket(serial: u64) -> Ticket {
        Ticket { conn: ConnId(1), id: serial.to_string(), serial }
    }

    fn outcome(text: &str) -> Outcome {
        Outcome::ok(Json::of(text))
    }

    #[test]
    fn a_repeat_joins_then_gets_the_recorded_answer() {
        let mut answers = Answers::default();
        assert_eq!(answers.admit("agent:k", "d", &ticket(1), true).unwrap(), Admission::New);
        assert_eq!(answers.admit("agent:k", "d", &ticket(2), true).unwrap(), Admission::Joined(None));
        assert_eq!(answers.acknowledge("agent:k", outcome("accepted"), true), [ticket(2)]);
        let joined = answers.admit("agent:k", "d", &ticket(3), true).unwrap();
        assert_eq!(joined, Admission::Joined(Some(outcome("accepted"))));
        assert_eq!(answers.finish("agent:k", outcome("done"), at(5)), [ticket(2), ticket(3)]);
        let repeat = answers.admit("agent:k", "d", &ticket(4), true).unwrap();
        assert_eq!(repeat, Admission::Finished(outcome("done")));
    }

    #[test]
    fn the_same_key_with_other_parameters_is_refused() {
        let mut answers = Answers::default();
        answers.admit("chat:k", "one", &ticket(1), false).unwrap();
        let error = answers.admit("chat:k", "other", &ticket(2), false).unwrap_err();
        assert!(error.details.unwrap().as_str().contains("chat-request-conflict"));
    }

    #[test]
    fn a_key_of_one_method_is_no_key_of_another() {
        let mut answers = Answers::default();
        answers.admit("chat:k", "d", &ticket(1), false).unwrap();
        answers.finish("chat:k", outcome("ok"), at(1));
        let error = answers.admit("agent:k", "d", &ticket(2), true).unwrap_err();
        assert!(error.message.contains("another method"), "{}", error.message);
        assert_eq!(answers.admit("agent:other", "d", &ticket(3), true).unwrap(), Admission::New);
    }

    #[test]
    fn a_wall_clock_that_jumps_forgets_nothing() {
        let mut answers = Answers::default();
        answers.admit("chat:k", "d", &ticket(1), false).unwrap();
        answers.finish("chat:k", outcome("ok"), at(1_000));
        let jumped = Now { mono: Duration::from_millis(2_000), wall: 9_000_000_000 };
        assert!(answers.sweep(jumped).is_empty());
    }

    #[test]
    fn a_key_whose_work_never_began_is_free_again() {
        let mut answers = Answers::default();
        answers.admit("chat:k", "d", &ticket(1), false).unwrap();
        answers.admit("chat:k", "d", &ticket(2), false).unwrap();
        assert_eq!(answers.release("chat:k"), [ticket(2)]);
        assert_eq!(answers.admit("chat:k", "d", &ticket(3), false).unwrap(), Admission::New);
    }

    #[test]
    fn records_outlive_the_process_and_age() {
        let mut first = Answers::default();
        first.admit("chat:k", "d", &ticket(1), false).unwrap();
        let Some(Op::PutAnswer(record)) = first.record("chat:k", &outcome("ok"), at(1_000)) else {
            unreachable!()
        };
        let mut second = Answers::default();
        second.restore(vec![record], at(2_000));
        let repeat = second.admit("chat:k", "d", &ticket(1), false).unwrap();
        assert_eq!(repeat, Admission::Finished(outcome("ok")));
        assert!(second.sweep(at(300_999)).is_empty());
        assert_eq!(second.sweep(at(301_000)), ["chat:k"]);
        assert!(second.is_empty());
    }

    #[test]
    fn only_so_many_are_kept_and_none_that_is_under_way_is_lost() {
        let mut answers = Answers::default();
        answers.admit("live", "d", &ticket(1), false).unwrap();
        for n in 0..limits::ANSWERS + 5 {
            let key = format!("k{n}");
            answers.admit(&key, "d", &ticket(n), false).unwrap();
            answers.finish(&key, outcome("x"), at(n));
        }
        assert_eq!(answers.sweep(at(10)), ["k0", "k1", "k2", "k3", "k4"]);
        assert_eq!(answers.admit("live", "d", &ticket(2), false).unwrap(), Admission::Joined(None));
    }
}
