//! The book of deeds, as `audit.list` shows it.

use serde::{Deserialize, Serialize};

use crate::params::{Count, Text};

/// The parameters of `audit.list`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct AuditParams {
    /// At most so many lines; 100 when not asked for a number.
    pub limit: Option<Count<1, 500>>,
    /// Only lines before this one.
    pub before: Option<Count<1>>,
    /// Only deeds of this actor.
    pub actor: Option<Text<1, 256>>,
    /// Only deeds whose name begins so.
    pub action: Option<Text<1, 128>>,
    /// Only deeds that ended so.
    pub outcome: Option<AuditOutcome>,
}

/// How a deed ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuditOutcome {
    /// It was done.
    Ok,
    /// It was refused.
    Denied,
    /// It was tried and did not work.
    Failed,
}

impl AuditOutcome {
    /// The spelling on the wire and in the book.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Denied => "denied",
            Self::Failed => "failed",
        }
    }
}

/// The result of `audit.list`: newest first.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditPage<Line> {
    /// The lines.
    pub entries: Vec<Line>,
    /// What to ask for as `before` to get the next page; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_before: Option<u64>,
}
