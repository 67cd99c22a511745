//! What a node host tells whoever watches it: one line for people, one object for programs.

use serde_json::{Map, Value};

/// Something to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// The kind, such as `connected`; stable.
    pub event: &'static str,
    /// Whether it needs somebody's attention.
    pub urgent: bool,
    /// The words, without a line end. May hold what others wrote: escape it before it is shown.
    pub text: String,
    /// What programs want to know of it beside the words.
    pub more: Map<String, Value>,
}

impl News {
    /// Something that is as it should be.
    pub(super) fn new(event: &'static str, text: impl Into<String>) -> Self {
        Self { event, urgent: false, text: text.into(), more: Map::new() }
    }

    /// Something that needs attention.
    pub(super) fn urgent(event: &'static str, text: impl Into<String>) -> Self {
        Self { urgent: true, ..Self::new(event, text) }
    }

    /// The same with a further member.
    #[must_use]
    pub(super) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.more.insert(name.to_owned(), value.into());
        self
    }
}
