//! What a model is asked: one turn of a conversation.

use std::sync::Arc;

/// A turn: what was said so far, and what the user says now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TurnRequest {
    /// What the model is told about itself and its task.
    pub(crate) system: Option<String>,
    /// The conversation up to this turn, oldest first.
    pub(crate) history: Vec<Message>,
    /// Lines of the gateway that come before the user's words in the prompt and are not part of them.
    pub(crate) notes: Vec<String>,
    /// The user's words.
    pub(crate) text: String,
    /// The user's images.
    pub(crate) images: Vec<Image>,
    /// How much the model should think: `off`, `minimal`, `low`, `medium`, `high` or `xhigh`.
    pub(crate) thinking: Option<String>,
}

impl TurnRequest {
    /// The whole conversation as the model sees it. Neighbours of the same role become one message: many
    /// servers insist on alternating roles, and a first word of the assistant has no question before it.
    pub(crate) fn messages(&self) -> Vec<Message> {
        let mut prompt = self.notes.join("\n");
        if !prompt.is_empty() && !self.text.is_empty() {
            prompt.push_str("\n\n");
        }
        prompt.push_str(&self.text);
        let turn = Message { role: Role::User, text: prompt, images: self.images.clone() };
        let mut messages: Vec<Message> = Vec::with_capacity(self.history.len() + 1);
        for message in self.history.iter().chain([&turn]) {
            match messages.last_mut() {
                Some(last) if last.role == message.role => last.absorb(message),
                _ => messages.push(message.clone()),
            }
        }
        messages
    }
}

/// Who says something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    User,
    Assistant,
}

/// Something said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) role: Role,
    pub(crate) text: String,
    pub(crate) images: Vec<Image>,
}

impl Message {
    fn absorb(&mut self, other: &Self) {
        if !self.text.is_empty() && !other.text.is_empty() {
            self.text.push_str("\n\n");
        }
        self.text.push_str(&other.text);
        self.images.extend(other.images.iter().cloned());
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

    fn said(role: Role, text: &str) -> Message {
        Message { role, text: text.to_owned(), images: Vec::new() }
    }

    #[test]
    fn neighbours_of_one_role_become_one_message() {
        let request = TurnRequest {
            history: vec![said(Role::User, "a"), said(Role::Assistant, "b"), said(Role::User, "c")],
            notes: vec!["System: x".to_owned()],
            text: "d".to_owned(),
            ..TurnRequest::default()
        };
        let expected =
            [said(Role::User, "a"), said(Role::Assistant, "b"), said(Role::User, "c\n\nSystem: x\n\nd")];
        assert_eq!(request.messages(), expected);
    }
}
