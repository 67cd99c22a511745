//! Errors as clients see them: error codes, the error shape and close codes (spec 01 §1.6, §1.7).

use serde::{Deserialize, Serialize};

use crate::Json;

/// The longest close reason in bytes of UTF-8 (spec 01 §1.7).
pub const MAX_CLOSE_REASON_BYTES: usize = 120;

/// The `code` of an error answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ErrorCode {
    /// Validation, most authentication failures, unknown method, role errors; in v3 also a missing scope.
    InvalidRequest,
    /// Internal failure, not ready, rate limit, draining.
    Unavailable,
    /// Device identity or pairing required.
    NotPaired,
    /// v4: missing scope or access policy.
    Forbidden,
}

impl ErrorCode {
    /// Every code with its meaning, for the generated reference.
    pub const ALL: [(Self, &'static str); 4] = [
        (
            Self::InvalidRequest,
            "The request is wrong as it stands: the message names the field and the remedy.",
        ),
        (
            Self::Unavailable,
            "The gateway cannot do it now; `retryable` and `retryAfterMs` say when to try again.",
        ),
        (Self::NotPaired, "The connection needs a device identity, or its device needs an approval."),
        (Self::Forbidden, "Protocol 4: the caller lacks a scope; `details` names it."),
    ];

    /// The spelling on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "INVALID_REQUEST",
            Self::Unavailable => "UNAVAILABLE",
            Self::NotPaired => "NOT_PAIRED",
            Self::Forbidden => "FORBIDDEN",
        }
    }
}

/// The `error` member of a failed response. Closed: v3 clients drop frames with further members.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ErrorShape {
    /// The machine-readable class.
    pub code: ErrorCode,
    /// The sentence for people; never empty.
    pub message: String,
    /// Structured data, such as `{code: "MISSING_SCOPE", …}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Json>,
    /// Whether the same request may succeed later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retryable: Option<bool>,
    /// When to try again, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

impl ErrorShape {
    /// An error with code and message only.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), details: None, retryable: None, retry_after_ms: None }
    }

    /// `INVALID_REQUEST` with this message.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::InvalidRequest, message)
    }

    /// `UNAVAILABLE` with this message.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Unavailable, message)
    }

    /// The same error with structured details.
    #[must_use]
    pub fn with_details(mut self, details: &impl Serialize) -> Self {
        self.details = Some(Json::of(details));
        self
    }

    /// The same error, worth trying again after `millis`.
    #[must_use]
    pub fn retry_after(mut self, millis: u64) -> Self {
        self.retryable = Some(true);
        self.retry_after_ms = Some(millis);
        self
    }
}

/// The WebSocket close codes that the gateway sends (spec 01 §1.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum CloseCode {
    /// 1000: the handshake took too long, or its first frame was not JSON.
    Normal,
    /// 1002: no common protocol version.
    Protocol,
    /// 1008: refused by policy; the reason names it.
    Policy,
    /// 1009: the message is too large.
    TooLarge,
    /// 1012: the gateway stops or restarts.
    Restart,
    /// 1013: not ready yet, try again.
    TryAgain,
    /// 4001: the authority of a live connection was revoked.
    Revoked,
}

impl CloseCode {
    /// Every code with its meaning, for the generated reference.
    pub const ALL: [(Self, &'static str); 7] = [
        (Self::Normal, "Handshake timeout, or a first frame that is not JSON."),
        (Self::Protocol, "No protocol version in common."),
        (Self::Policy, "Refused by policy: authentication, pairing, invalid handshake, slow consumer."),
        (Self::TooLarge, "A message above the advertised limit."),
        (Self::Restart, "The gateway stops or restarts."),
        (Self::TryAgain, "The gateway is starting; connect again shortly."),
        (Self::Revoked, "The connection's credential or policy changed."),
    ];

    /// The number on the wire.
    pub const fn number(self) -> u16 {
        match self {
            Self::Normal => 1000,
            Self::Protocol => 1002,
            Self::Policy => 1008,
            Self::TooLarge => 1009,
            Self::Restart => 1012,
            Self::TryAgain => 1013,
            Self::Revoked => 4001,
        }
    }
}

/// Cuts a close reason to [`MAX_CLOSE_REASON_BYTES`] at a character boundary.
pub fn close_reason(text: &str) -> &str {
    let mut end = text.len().min(MAX_CLOSE_REASON_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    if end == 0 { "invalid handshake" } else { &text[..end] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_reasons_fit_and_end_at_a_character() {
        assert_eq!(close_reason("slow consumer"), "slow consumer");
        assert_eq!(close_reason(""), "invalid handshake");
        let long = "ä".repeat(100);
        assert_eq!(close_reason(&long).len(), 120);
        let odd = format!("x{}", "ä".repeat(100));
        assert_eq!(close_reason(&odd).len(), 119);
    }

    #[test]
    fn absent_members_are_left_out() {
        assert_eq!(
            Json::of(&ErrorShape::invalid("no")).as_str(),
            r#"{"code":"INVALID_REQUEST","message":"no"}"#
        );
    }
}
