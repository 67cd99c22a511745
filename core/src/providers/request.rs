//! What a model is asked: a conversation, and the tools it may call.

use std::sync::Arc;

use crate::tools::ToolSpec;

/// One question to a model.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ModelRequest {
    /// What the model is told about itself and its task.
    pub(crate) system: Option<String>,
    /// The conversation, oldest first. It ends with the words or the tool results that are to be answered.
    pub(crate) messages: Vec<Message>,
    /// What the model may call.
    pub(crate) tools: Vec<ToolSpec>,
    /// Whether it must.
    pub(crate) tool_choice: ToolChoice,
    /// How much the model should think: `off`, `minimal`, `low`, `medium`, `high` or `xhigh`.
    pub(crate) thinking: Option<String>,
    /// The most tokens of this answer, when it is not the model's own limit.
    pub(crate) max_tokens: Option<u64>,
    /// How the next word is chosen.
    pub(crate) sampling: Sampling,
}

impl ModelRequest {
    /// The conversation as models want it: neighbours of the same role become one message. Many servers insist on
    /// alternating roles.
    pub(crate) fn merged(&self) -> Vec<Message> {
        let mut messages: Vec<Message> = Vec::with_capacity(self.messages.len());
        for message in &self.messages {
            match messages.last_mut() {
                Some(last) if last.role == message.role => last.absorb(message),
                _ => messages.push(message.clone()),
            }
        }
        messages
    }
}

/// Whether a model must call a tool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum ToolChoice {
    /// As it likes.
    #[default]
    Auto,
    /// It must not.
    None,
    /// It must call some tool.
    Required,
    /// It must call this one.
    Named(String),
}

/// How the next word is chosen; what is `None` is left to the provider (spec 04 §7.1).
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Sampling {
    pub(crate) temperature: Option<f64>,
    pub(crate) top_p: Option<f64>,
    pub(crate) frequency_penalty: Option<f64>,
    pub(crate) presence_penalty: Option<f64>,
    pub(crate) seed: Option<i64>,
    pub(crate) stop: Vec<String>,
}

/// Who says something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// The user, and the tools that answer the model.
    User,
    Assistant,
}

/// Something said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) role: Role,
    /// In order; tool results come before words.
    pub(crate) blocks: Vec<Block>,
}

/// A part of what is said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Block {
    Text(String),
    Image(Image),
    /// The thoughts before an answer, with the provider's proof that they are its own. They go back to the API
    /// that they came from only.
    Thinking(Thinking),
    ToolCall(ToolCall),
    ToolResult(ToolResult),
}

/// Thoughts of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Thinking {
    pub(crate) text: String,
    /// Opaque; must be given back as it came.
    pub(crate) signature: Option<String>,
    /// The API that they came from, such as `anthropic-messages`.
    pub(crate) api: Option<String>,
}

/// A model asks for a tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ToolCall {
    /// Unique within its run.
    pub(crate) id: String,
    pub(crate) name: String,
    /// A JSON object as text. It may be what no parser accepts: the model wrote it.
    pub(crate) arguments: String,
}

/// What a tool has answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ToolResult {
    /// The [`ToolCall::id`] that it answers.
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) text: String,
    pub(crate) images: Vec<Image>,
    pub(crate) is_error: bool,
}

impl Message {
    /// Words of the user.
    pub(crate) fn user(text: impl Into<String>) -> Self {
        Self { role: Role::User, blocks: vec![Block::Text(text.into())] }
    }

    /// Words of the assistant.
    #[cfg(test)]
    pub(crate) fn assistant(text: impl Into<String>) -> Self {
        Self { role: Role::Assistant, blocks: vec![Block::Text(text.into())] }
    }

    /// The words, joined by blank lines.
    pub(crate) fn text(&self) -> String {
        let words = self.blocks.iter().filter_map(|block| match block {
            Block::Text(text) if !text.is_empty() => Some(text.as_str()),
            _ => None,
        });
        words.collect::<Vec<_>>().join("\n\n")
    }

    /// The pictures.
    pub(crate) fn images(&self) -> impl Iterator<Item = &Image> {
        self.blocks.iter().filter_map(|block| match block {
            Block::Image(image) => Some(image),
            _ => None,
        })
    }

    fn absorb(&mut self, other: &Self) {
        for block in &other.blocks {
            match (self.blocks.last_mut(), block) {
                (Some(Block::Text(mine)), Block::Text(more)) => {
                    if !mine.is_empty() && !more.is_empty() {
                        mine.push_str("\n\n");
                    }
                    mine.push_str(more);
                }
                _ => self.blocks.push(block.clone()),
            }
        }
    }
}

/// An image.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Image {
    /// Its MIME type.
    pub(crate) mime: String,
    /// Its bytes in base64.
    pub(crate) base64: Arc<str>,
}

impl std::fmt::Debug for Image {
    /// People's pictures stay out of logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({} characters)", self.mime, self.base64.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_of_one_role_become_one_message() {
        let picture = Image { mime: "image/png".to_owned(), base64: "AA==".into() };
        let mut seen = Message::user("c");
        seen.blocks.push(Block::Image(picture.clone()));
        let request = ModelRequest {
            messages: vec![
                Message::user("a"),
                Message::assistant("b"),
                seen,
                Message::user("System: x"),
                Message::user("d"),
            ],
            ..ModelRequest::default()
        };
        let last = Message {
            role: Role::User,
            blocks: vec![
                Block::Text("c".to_owned()),
                Block::Image(picture),
                Block::Text("System: x\n\nd".to_owned()),
            ],
        };
        assert_eq!(request.merged(), [Message::user("a"), Message::assistant("b"), last]);
    }
}
