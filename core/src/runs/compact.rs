//! Compaction: the older part of a conversation becomes a summary that the model itself writes (spec 02 §19.4).
//!
//! Nothing is removed from the transcript. A line is added that holds the summary and names the first entry
//! that is kept word for word; prompts are built from there.

use serde_json::json;
use telson_proto::Json;

use crate::gateway::{Fetcher, Gateway};
use crate::ids::{FetchId, RunId, SessionKey};
use crate::providers::request::{Block, Message, ModelRequest, Role};
use crate::providers::{ErrorKind, ModelError, ModelEvent, ModelStream};
use crate::settings::ModelRef;

use super::settle::End;
use super::turn::DEFAULT_CONTEXT;
use super::{Admission, Ask, Asker, Family, Owner, Purpose, Stage};

/// Bytes of text for a token, as a rule of thumb.
const BYTES_PER_TOKEN: usize = 4;
/// What an image costs, in tokens.
const IMAGE_TOKENS: usize = 1_200;
/// Room for the answer and its tools, in tokens; of a small window, a quarter.
const RESERVE: usize = 20_000;
/// What is kept word for word, in tokens; of a small window, a quarter.
const KEEP: usize = 20_000;
/// As much of one tool's result goes into a summary, in bytes.
const MAX_RESULT: usize = 2_000;
/// The role of a transcript's line that holds a summary.
pub(crate) const ROLE: &str = "compaction";

const TASK: &str = "Summarise the conversation below for the assistant that will continue it. Keep what it \
needs: the user's goals and wishes, decisions, names, numbers, paths and open questions, what was done and what \
is still to be done. Write plain notes, no preamble.";

/// A summary that is being written.
#[derive(Debug)]
pub(super) struct Compacting {
    pub(super) stream: ModelStream,
    pub(super) fetch: Option<FetchId>,
    summary: String,
    /// How many messages of the conversation the summary replaces.
    replaced: usize,
    /// The transcript's first entry that is kept.
    first_kept: Option<String>,
    /// The tokens of the conversation before.
    before: usize,
}

/// The conversation's size in tokens, about.
pub(super) fn tokens(messages: &[Message]) -> usize {
    messages.iter().flat_map(|message| &message.blocks).map(tokens_of).sum()
}

fn tokens_of(block: &Block) -> usize {
    match block {
        Block::Text(text) => text.len() / BYTES_PER_TOKEN + 1,
        Block::Image(_) => IMAGE_TOKENS,
        Block::Thinking(thinking) => thinking.text.len() / BYTES_PER_TOKEN,
        Block::ToolCall(call) => (call.name.len() + call.arguments.len()) / BYTES_PER_TOKEN + 1,
        Block::ToolResult(result) => {
            result.text.len() / BYTES_PER_TOKEN + 1 + result.images.len() * IMAGE_TOKENS
        }
    }
}

/// Whether a conversation leaves too little room in a window of so many tokens.
pub(super) fn is_too_large(messages: &[Message], window: usize) -> bool {
    tokens(messages) > window.saturating_sub(RESERVE.min(window / 4))
}

/// Where to cut: the messages from there on are kept. It is the user's words that stand there, never the results
/// of tools. `None` when there is nothing to cut off.
fn cut(messages: &[Message], window: usize) -> Option<usize> {
    let keep = KEEP.min(window / 4);
    let has_words = |message: &Message| {
        message.role == Role::User
            && message.blocks.iter().all(|block| !matches!(block, Block::ToolResult(_)))
    };
    let places = messages.iter().enumerate().skip(1).filter(|(_, message)| has_words(message));
    let places: Vec<usize> = places.map(|(place, _)| place).collect();
    let roomy = places.iter().copied().find(|place| tokens(&messages[*place..]) <= keep);
    roomy.or_else(|| places.last().copied())
}

/// A conversation as notes for the one who sums it up.
fn rendered(messages: &[Message], most: usize) -> String {
    let mut lines = Vec::new();
    for message in messages {
        let who = if message.role == Role::User { "User" } else { "Assistant" };
        for block in &message.blocks {
            lines.push(match block {
                Block::Text(text) => format!("{who}: {text}"),
                Block::Image(_) => format!("{who}: (an image)"),
                Block::Thinking(_) => continue,
                Block::ToolCall(call) => format!("{who} calls {}: {}", call.name, clip(&call.arguments)),
                Block::ToolResult(result) => format!("Result of {}: {}", result.name, clip(&result.text)),
            });
        }
    }
    // The newest matters most.
    let mut size = 0;
    let fits = lines.iter().rev().take_while(|line| {
        size += line.len() + 2;
        size <= most
    });
    let kept = fits.count();
    lines[lines.len() - kept..].join("\n\n")
}

fn clip(text: &str) -> &str {
    let end = (0..=MAX_RESULT.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    &text[..end]
}

/// The summary as the model gets it.
pub(super) fn summary_message(summary: &str) -> Message {
    Message::user(format!("[Summary of the conversation so far]\n{summary}"))
}

impl Gateway {
    /// Sums up a session's conversation in a run of its own; `asker` hears the end.
    ///
    /// # Errors
    ///
    /// Too many runs wait.
    pub(crate) fn compact_session(
        &mut self,
        key: &SessionKey,
        instructions: Option<String>,
        owner: Owner,
        asker: Asker,
    ) -> Result<RunId, telson_proto::ErrorShape> {
        let run = RunId::new(format!("compact-{}", self.entropy.uuid()));
        let ask = Ask {
            purpose: Purpose::Compact,
            system: instructions,
            ..Ask::words("", self.settings.agents.timeout)
        };
        self.admit_run(Admission {
            run: run.clone(),
            key: key.clone(),
            agent: self.sessions.rules().agent_of(key),
            family: Family::Inner,
            owner,
            asker,
            digest: String::new(),
            ask,
            edit: Box::new(|_| {}),
        })?;
        Ok(run)
    }

    /// Asks the model for a summary. False when there is nothing to sum up.
    pub(super) fn compact_talk(&mut self, id: &RunId) -> bool {
        let Some(run) = self.runs.open.get(id) else { return false };
        let window = self.window_of(&run.model);
        let Some(place) = cut(&run.talk.messages, window) else { return false };
        let most = window.saturating_sub(RESERVE.min(window / 4)) * BYTES_PER_TOKEN;
        let mut task = TASK.to_owned();
        let wishes = run.ask.system.as_deref().filter(|_| run.ask.purpose == Purpose::Compact);
        if let Some(wishes) = wishes.filter(|wishes| !wishes.is_empty()) {
            task.push_str("\n\nThe user asks in particular: ");
            task.push_str(wishes);
        }
        let request = ModelRequest {
            system: Some(task),
            messages: vec![Message::user(rendered(&run.talk.messages[..place], most))],
            ..ModelRequest::default()
        };
        let (replaced, before) = (place, tokens(&run.talk.messages));
        let first_kept = run.talk.origins.get(place).cloned().flatten();
        let (stream, fetch) = match self.providers.start(self.now.mono, &run.model, &request) {
            Ok(started) => started,
            Err(error) => {
                self.end_run(id, End::Failed(error));
                return true;
            }
        };
        let before_this =
            self.runs.open.get_mut(id).map(|run| std::mem::replace(&mut run.stage, Stage::Loading));
        if let Some(Stage::Streaming { fetch: Some(fetch), .. }) = before_this {
            self.abort_fetch(fetch);
        }
        let fetch = fetch.map(|request| self.fetch(Fetcher::Run(id.clone()), request));
        let Some(run) = self.runs.open.get_mut(id) else { return true };
        run.talk.compacted = true;
        let summary = String::new();
        let compacting = Compacting { stream, fetch, summary, replaced, first_kept, before };
        run.stage = Stage::Compacting(Box::new(compacting));
        let event = run.voice.compaction(self.now, "start", None);
        let key = run.key.clone();
        self.publish(event);
        self.announce_compaction(&key, id.as_str(), None, None);
        true
    }

    /// The end of a run that was to sum up. Who asked for it in the chat is told there what has come of it.
    pub(super) fn end_compaction(&mut self, id: &RunId, done: bool) {
        let by_chat = self.runs.open.get(id).is_some_and(|run| run.family == Family::Chat);
        let text =
            if done { "The conversation so far is summed up." } else { "There is nothing to sum up yet." };
        let end = if by_chat { End::Replied { text: text.to_owned() } } else { End::Compacted };
        self.end_run(id, end);
    }

    /// The context window of a model in tokens.
    pub(super) fn window_of(&self, model: &ModelRef) -> usize {
        let window = self.agents.context_tokens(model).unwrap_or(DEFAULT_CONTEXT);
        usize::try_from(window).unwrap_or(usize::MAX)
    }

    /// The model has said something of the summary.
    pub(super) fn summary_said(&mut self, id: &RunId, said: Vec<ModelEvent>) {
        for event in said {
            let Some(run) = self.runs.open.get_mut(id) else { return };
            let Stage::Compacting(compacting) = &mut run.stage else { return };
            match event {
                ModelEvent::Text(text) => compacting.summary.push_str(&text),
                ModelEvent::Done { usage, .. } => {
                    run.talk.spend(usage);
                    self.summary_is_here(id);
                }
                ModelEvent::Failed(error) => self.end_run(id, End::Failed(error)),
                ModelEvent::Thinking(_) | ModelEvent::Signature(_) | ModelEvent::ToolCall(_) => {}
            }
        }
    }

    /// The summary takes the place of what it sums up.
    fn summary_is_here(&mut self, id: &RunId) {
        let now = self.now;
        let Some(run) = self.runs.open.get_mut(id) else { return };
        let Stage::Compacting(mut done) = std::mem::replace(&mut run.stage, Stage::Loading) else { return };
        if let Some(fetch) = done.fetch.take() {
            self.abort_fetch(fetch);
        }
        let Some(run) = self.runs.open.get_mut(id) else { return };
        if done.summary.trim().is_empty() {
            let error = ModelError::new(ErrorKind::Unknown, "the model wrote no summary");
            return self.end_run(id, End::Failed(error));
        }
        run.talk.messages.splice(..done.replaced, [summary_message(&done.summary)]);
        let origins = done.replaced.min(run.talk.origins.len());
        run.talk.origins.splice(..origins, [None]);
        let goes_on = run.ask.purpose == Purpose::Answer;
        let event = run.voice.compaction(now, "end", Some(goes_on));
        let key = run.key.clone();
        let line = json!({
            "role": ROLE,
            "summary": done.summary,
            "firstKeptEntryId": done.first_kept,
            "tokensBefore": done.before,
            "timestamp": now.wall,
        });
        self.sessions.edit(now, &key, |entry| {
            let count = entry.extra.get("compactionCount").and_then(serde_json::Value::as_u64).unwrap_or(0);
            entry.extra.insert("compactionCount".to_owned(), (count + 1).into());
        });
        self.append_for(id, vec![Json::of(&line)]);
        self.publish(event);
        self.announce_compaction(&key, id.as_str(), Some(true), None);
        if goes_on {
            self.call_model(id);
        } else {
            self.end_compaction(id, true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(size: usize) -> Message {
        Message::user("x".repeat(size * BYTES_PER_TOKEN))
    }

    #[test]
    fn a_conversation_is_cut_before_words_of_the_user() {
        let talk = [words(5_000), Message::assistant("ok"), words(900), Message::assistant("ok"), words(10)];
        assert_eq!(cut(&talk, 8_000), Some(2));
        assert_eq!(cut(&talk[..1], 8_000), None);
        assert!(is_too_large(&talk, 7_000));
        assert!(!is_too_large(&talk, 8_000));
    }

    #[test]
    fn the_last_words_stay_even_when_they_are_long() {
        let talk = [words(10), Message::assistant("ok"), words(9_000)];
        assert_eq!(cut(&talk, 8_000), Some(2));
    }

    #[test]
    fn notes_keep_the_newest() {
        let talk = [Message::user("first"), Message::assistant("second")];
        assert_eq!(rendered(&talk, 1_000), "User: first\n\nAssistant: second");
        assert_eq!(rendered(&talk, 25), "Assistant: second");
    }
}
