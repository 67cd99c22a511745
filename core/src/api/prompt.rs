//! From the messages of a request to the one prompt of a run (spec 04 §5.3).
//!
//! An agent owns its history, so what the client says was said before goes into the prompt as context.

use serde_json::Value;

use crate::sessions::sanitise;

/// What stands before the messages that came earlier.
const CONTEXT: &str = "[Chat messages since your last reply - for context]";
/// What stands before the message that is to be answered.
const CURRENT: &str = "[Current message - respond to this]";
/// The prompt of a message that consists of pictures.
pub(super) const PICTURES: &str = "User sent image(s) with no text.";

/// Who says something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speaker {
    User,
    Assistant,
    Tool,
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) speaker: Speaker,
    /// The id or the name of the tool that speaks.
    pub(super) tool: Option<String>,
    pub(super) text: String,
    /// The ids of the tools that the assistant calls.
    pub(super) calls: Vec<String>,
}

impl Entry {
    pub(super) fn new(speaker: Speaker, text: impl Into<String>) -> Self {
        Self { speaker, tool: None, text: text.into(), calls: Vec::new() }
    }

    /// What a tool has answered.
    pub(super) fn tool(id: Option<&str>, text: impl Into<String>) -> Self {
        Self { tool: id.map(str::to_owned), ..Self::new(Speaker::Tool, text) }
    }

    /// The assistant's call of a tool, in words, so that a client that keeps the conversation itself gives context.
    pub(super) fn call(id: Option<&str>, name: &str, arguments: &str) -> Self {
        let of = id.map(|id| format!(" ({id})")).unwrap_or_default();
        let text = format!("[called {name}{of} with {arguments}]");
        Self { calls: id.map(str::to_owned).into_iter().collect(), ..Self::new(Speaker::Assistant, text) }
    }

    fn line(&self) -> String {
        match (self.speaker, &self.tool) {
            (Speaker::User, _) => format!("User: {}", self.text),
            (Speaker::Assistant, _) => format!("Assistant: {}", self.text),
            (Speaker::Tool, None) => format!("Tool: {}", self.text),
            (Speaker::Tool, Some(tool)) => format!("Tool:{tool}: {}", self.text),
        }
    }
}

/// What is to be answered, and what was said before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Prompt {
    earlier: Vec<Entry>,
    current: Entry,
}

impl Prompt {
    /// The prompt of these messages: the last one of a user or a tool is to be answered, failing that the last one.
    /// `None` when there is nothing to answer.
    pub(super) fn of(mut entries: Vec<Entry>) -> Option<Self> {
        entries.retain(|entry| entry.speaker == Speaker::Tool || !entry.text.trim().is_empty());
        let asks = |entry: &Entry| entry.speaker != Speaker::Assistant;
        let at = entries.iter().rposition(asks).or(entries.len().checked_sub(1))?;
        entries.truncate(at + 1);
        let current = entries.pop()?;
        Some(Self { earlier: entries, current })
    }

    /// Whether it says what was said before.
    pub(super) fn has_context(&self) -> bool {
        !self.earlier.is_empty()
    }

    /// Leaves out what the session itself remembers: everything up to the assistant's message with which the
    /// session ends.
    pub(super) fn forget_known(&mut self, last: &Value) {
        let text = sanitise::text_of(last);
        let blocks = last.get("content").and_then(Value::as_array);
        let ids =
            blocks.into_iter().flatten().filter(|block| block.get("type").is_some_and(|t| t == "toolCall"));
        let ids: Vec<&str> = ids.filter_map(|block| block.get("id")?.as_str()).collect();
        let known = |entry: &Entry| {
            let same = !text.trim().is_empty() && entry.text.trim() == text.trim();
            entry.speaker == Speaker::Assistant
                && (same || entry.calls.iter().any(|call| ids.contains(&call.as_str())))
        };
        if let Some(at) = self.earlier.iter().rposition(known) {
            self.earlier.drain(..=at);
        }
    }

    /// The words of the run. A tool's answer is always named as one, also when it is empty.
    pub(super) fn words(&self) -> String {
        if self.earlier.is_empty() {
            return match self.current.speaker {
                Speaker::Tool => self.current.line(),
                Speaker::User | Speaker::Assistant => self.current.text.clone(),
            };
        }
        let lines = self.earlier.iter().map(Entry::line);
        let current = ["".to_owned(), CURRENT.to_owned(), self.current.line()];
        let all: Vec<String> = std::iter::once(CONTEXT.to_owned()).chain(lines).chain(current).collect();
        all.join("\n")
    }
}
