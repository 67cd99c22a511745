//! What is wrong with a configuration, and how the operator is told.

use std::fmt;

use super::failure::Failure;

/// A place in the configuration file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
}

impl Place {
    /// The place of a byte offset in a text.
    pub(super) fn of(text: &str, offset: usize) -> Self {
        let before = text.get(..offset.min(text.len())).unwrap_or(text);
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        let line = before.matches('\n').count() + 1;
        Self { line, column: before.get(start..).map_or(1, |rest| rest.chars().count() + 1) }
    }
}

/// One thing that must be changed before the gateway starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issue {
    /// What kind of failure it is.
    pub code: Failure,
    /// The key, such as `gateway.port` or `agents.list.0.id`; a flag or an environment variable when the value
    /// came from there; empty for the file as a whole.
    pub path: String,
    /// Where it stands in the file, when it stands there.
    pub place: Option<Place>,
    /// The problem.
    pub message: String,
    /// What would be right.
    pub expected: Option<String>,
    /// The valid key that looks most like the one given.
    pub nearest: Option<String>,
}

impl Issue {
    /// An issue with a key and a problem.
    pub(super) fn new(code: Failure, path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code, path: path.into(), place: None, message: message.into(), expected: None, nearest: None }
    }

    /// The same issue, with what would be right.
    #[must_use]
    pub(super) fn expecting(mut self, expected: impl Into<String>) -> Self {
        self.expected = Some(expected.into());
        self
    }

    /// The same issue, located.
    #[must_use]
    pub(super) fn at(mut self, place: Option<Place>) -> Self {
        self.place = place;
        self
    }

    /// The issue as one line, beginning with the file and the place in it when it stands there.
    pub fn line(&self, file: &str) -> String {
        match self.place {
            Some(Place { line, column }) => format!("{file}:{line}:{column}: {self}"),
            None if self.path.is_empty() => format!("{file}: {self}"),
            None => self.to_string(),
        }
    }
}

impl fmt::Display for Issue {
    /// `path: message (expected …; did you mean "…"?)`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = if self.path.is_empty() { "<root>" } else { &self.path };
        write!(f, "{path}: {}", self.message)?;
        match (&self.expected, &self.nearest) {
            (Some(expected), Some(nearest)) => {
                write!(f, " (expected {expected}; did you mean \"{nearest}\"?)")
            }
            (Some(expected), None) => write!(f, " (expected {expected})"),
            (None, Some(nearest)) => write!(f, " (did you mean \"{nearest}\"?)"),
            (None, None) => Ok(()),
        }
    }
}

/// Something that the operator should know but that stops nothing.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Warning {
    /// The key, flag or environment variable.
    pub path: String,
    /// What to know about it.
    pub message: String,
}

impl Warning {
    /// A warning about a key.
    pub(super) fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into() }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.message.ends_with(&self.path) {
            return f.write_str(&self.message);
        }
        write!(f, "{}: {}", self.path, self.message)
    }
}
