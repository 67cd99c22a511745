//! Who is asked, and who after that: each model with each of its provider's keys, the primary model first, then
//! the fallbacks.
//!
//! A chain belongs to one question. What rests is left out, unless everything rests: then all of it is tried,
//! rather than nothing. Another candidate may be asked only as long as the user has heard nothing of the answer;
//! the caller sees to that.

use std::collections::VecDeque;

use super::{Fault, ModelError};
use crate::settings::ModelRef;

/// Someone to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) model: ModelRef,
    /// The id of the key; `None` for the provider's only key or none, and for whichever does not rest.
    pub(crate) profile: Option<String>,
}

impl From<&ModelRef> for Candidate {
    /// A model with whichever key does not rest.
    fn from(model: &ModelRef) -> Self {
        Self { model: model.clone(), profile: None }
    }
}

impl From<&Candidate> for Candidate {
    fn from(candidate: &Candidate) -> Self {
        candidate.clone()
    }
}

/// The candidates of one question, in the order in which they are asked.
#[derive(Debug, Default)]
pub(crate) struct Chain {
    left: VecDeque<Candidate>,
    asked: Option<Candidate>,
}

impl Chain {
    pub(super) fn new(candidates: impl IntoIterator<Item = Candidate>) -> Self {
        Self { left: candidates.into_iter().collect(), asked: None }
    }

    /// The next candidate; the first one is the first to ask.
    pub(crate) fn next(&mut self) -> Option<Candidate> {
        self.asked = self.left.pop_front();
        self.asked.clone()
    }

    /// Who is asked at present.
    pub(crate) fn present(&self) -> Option<&Candidate> {
        self.asked.as_ref()
    }

    /// The candidate to ask after the present one has failed; `None` when the failure is the question's own, or
    /// nobody is left. Whoever would fail in the same way is passed over.
    pub(crate) fn after(&mut self, error: &ModelError) -> Option<Candidate> {
        let failed = self.asked.clone()?;
        match error.fault() {
            Fault::Question => return None,
            Fault::Key | Fault::Billing => self.left.retain(|other| !same_key(other, &failed)),
            Fault::Server => self.left.retain(|other| other.model != failed.model),
            Fault::Rate => {}
        }
        self.next()
    }
}

fn same_key(one: &Candidate, other: &Candidate) -> bool {
    one.model.provider == other.model.provider && one.profile == other.profile
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::providers::ErrorKind;

    fn chain() -> Chain {
        let candidate = |(model, profile): (&str, &str)| Candidate {
            model: ModelRef::parse(model).unwrap(),
            profile: Some(profile.to_owned()),
        };
        let mut chain =
            Chain::new([("p/m", "a"), ("p/m", "b"), ("p/n", "a"), ("p/n", "b"), ("q/o", "a")].map(candidate));
        chain.next();
        chain
    }

    fn after(status: u16, kind: ErrorKind) -> Option<String> {
        let error = ModelError { status: Some(status), ..ModelError::new(kind, "x") };
        chain().after(&error).map(|next| format!("{} {}", next.model, next.profile.unwrap_or_default()))
    }

    #[test]
    fn the_next_one_is_who_may_do_better() {
        assert_eq!(after(401, ErrorKind::Unknown).as_deref(), Some("p/m b"));
        assert_eq!(after(429, ErrorKind::RateLimit).as_deref(), Some("p/m b"));
        assert_eq!(after(503, ErrorKind::Unknown).as_deref(), Some("p/n a"));
        assert_eq!(after(504, ErrorKind::Timeout).as_deref(), Some("p/n a"));
    }

    #[test]
    fn nobody_answers_what_is_wrong_with_the_question() {
        assert_eq!(after(400, ErrorKind::ContextLength), None);
        assert_eq!(after(200, ErrorKind::Refusal), None);
        assert_eq!(after(400, ErrorKind::Unknown), None);
    }

    #[test]
    fn a_refused_key_is_not_tried_with_another_model() {
        let mut chain = chain();
        let error = ModelError { status: Some(401), ..ModelError::new(ErrorKind::Unknown, "x") };
        let mut asked = Vec::new();
        while let Some(next) = chain.after(&error) {
            asked.push(next.model.to_string());
        }
        assert_eq!(asked, ["p/m", "q/o"]);
    }
}
