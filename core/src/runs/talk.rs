//! The conversation of a run with its model, call by call.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use crate::ids::{CallId, RunId};
use crate::providers::request::{Block, Message, Role, ToolCall, ToolResult};
use crate::providers::{Chain, Usage};
use crate::tools::{ToolOutcome, ToolSpec};

/// The same call with the same arguments is answered this often; then the model is told to stop it.
const MAX_REPEATS: u32 = 5;

/// What a run and its model have said to each other.
#[derive(Debug, Default)]
pub(super) struct Talk {
    pub(super) system: Option<String>,
    /// The conversation as the model gets it, up to the last complete answer.
    pub(super) messages: Vec<Message>,
    /// The transcript's entries that the first messages come from.
    pub(super) origins: Vec<Option<String>>,
    /// Whether the conversation was summed up in this run.
    pub(super) compacted: bool,
    pub(super) tools: Vec<ToolSpec>,
    /// Who is asked, and who else may be.
    pub(super) chain: Chain,
    /// How often the model was called.
    pub(super) calls: u64,
    /// What was visible of each answer before the current one.
    pub(super) texts: Vec<String>,
    /// The tokens of all calls.
    pub(super) usage: Option<Usage>,
    /// The size of the last prompt in tokens.
    pub(super) prompt: Option<u64>,
    /// The asker's tools that the model has called.
    pub(super) client_calls: Vec<ToolCall>,
    /// The runs whose words came in since the last answer.
    pub(super) steered: Vec<RunId>,
    repeats: BTreeMap<[u8; 32], u32>,
}

impl Talk {
    /// Counts the tokens of one call.
    pub(super) fn spend(&mut self, usage: Option<Usage>) {
        let Some(usage) = usage else { return };
        self.prompt = Some(usage.prompt());
        self.usage = Some(self.usage.unwrap_or_default().plus(usage));
    }

    /// Whether the model goes round in circles: the same call with the same arguments once too often.
    pub(super) fn is_circling(&mut self, call: &ToolCall) -> bool {
        let mut hash = Sha256::new();
        hash.update(call.name.as_bytes());
        hash.update([0]);
        hash.update(call.arguments.as_bytes());
        let times = self.repeats.entry(hash.finalize().into()).or_default();
        *times += 1;
        *times > MAX_REPEATS
    }
}

/// Tools at work for one answer of a model.
#[derive(Debug)]
pub(super) struct Round {
    /// What the model asked for, in its order.
    pub(super) calls: Vec<ToolCall>,
    /// What came of each.
    pub(super) outcomes: Vec<Option<ToolOutcome>>,
    /// The calls under way and their places.
    pub(super) pending: BTreeMap<CallId, usize>,
}

impl Round {
    pub(super) fn of(calls: Vec<ToolCall>) -> Self {
        let outcomes = calls.iter().map(|_| None).collect();
        Self { calls, outcomes, pending: BTreeMap::new() }
    }

    /// Whether every call has its outcome.
    pub(super) fn is_over(&self) -> bool {
        self.outcomes.iter().all(Option::is_some)
    }

    /// The calls with their outcomes; those without one get `missing`.
    pub(super) fn results(self, missing: &str) -> Vec<(ToolCall, ToolOutcome)> {
        let outcomes = self.outcomes.into_iter();
        let known = outcomes.map(|outcome| outcome.unwrap_or_else(|| ToolOutcome::error(missing)));
        self.calls.into_iter().zip(known).collect()
    }
}

/// Results as the model gets them.
pub(super) fn answer(results: &[(ToolCall, ToolOutcome)]) -> Message {
    let blocks = results.iter().map(|(call, outcome)| {
        Block::ToolResult(ToolResult {
            id: call.id.clone(),
            name: call.name.clone(),
            text: outcome.text.clone(),
            images: outcome.images.clone(),
            is_error: outcome.is_error,
        })
    });
    Message { role: Role::User, blocks: blocks.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(arguments: &str) -> ToolCall {
        ToolCall { id: "c".to_owned(), name: "look".to_owned(), arguments: arguments.to_owned() }
    }

    #[test]
    fn the_same_call_again_and_again_is_noticed() {
        let mut talk = Talk::default();
        for _ in 0..MAX_REPEATS {
            assert!(!talk.is_circling(&call("{}")));
        }
        assert!(talk.is_circling(&call("{}")));
        assert!(!talk.is_circling(&call(r#"{"at":"sea"}"#)));
    }

    #[test]
    fn calls_without_an_outcome_are_answered_all_the_same() {
        let mut round = Round::of(vec![call("1"), call("2")]);
        round.outcomes[1] = Some(ToolOutcome::text("seen"));
        assert!(!round.is_over());
        let results = round.results("gone");
        assert_eq!(results[0].1, ToolOutcome::error("gone"));
        assert_eq!(results[1].1, ToolOutcome::text("seen"));
    }
}
