//! Why a model call failed, and what follows from it.

/// Why a model call failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct ModelError {
    pub(crate) kind: ErrorKind,
    /// One sentence for people, with the provider's own words.
    pub(crate) message: String,
    /// The HTTP status, when the provider answered.
    pub(crate) status: Option<u16>,
    /// When the provider wants to be asked again.
    pub(crate) retry_after_ms: Option<u64>,
}

/// The kinds that v4 clients tell apart (spec 02 §20.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ErrorKind {
    Refusal,
    Timeout,
    RateLimit,
    ContextLength,
    Unknown,
}

/// Whose fault a failure is: it decides who is asked next, and for how long who is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The question's: nobody else would answer it.
    Question,
    /// The key is not accepted.
    Key,
    /// The bill is not paid, or the quota is used up.
    Billing,
    /// The key has asked this model too often.
    Rate,
    /// The server is down, silent, or talks nonsense, or does not have the model.
    Server,
}

/// What providers say when money is the problem, whatever status they give it.
const BILLING_WORDS: [&str; 5] =
    ["insufficient_quota", "current quota", "credit balance", "insufficient balance", "billing"];

impl ModelError {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), status: None, retry_after_ms: None }
    }

    /// Whose fault it is.
    pub(crate) fn fault(&self) -> Fault {
        match (self.kind, self.status) {
            (ErrorKind::Refusal | ErrorKind::ContextLength, _) => Fault::Question,
            (ErrorKind::Timeout, _) => Fault::Server,
            (_, Some(402)) => Fault::Billing,
            (_, Some(400 | 403 | 429)) if self.is_about_money() => Fault::Billing,
            (_, Some(401 | 403)) => Fault::Key,
            (ErrorKind::RateLimit, _) => Fault::Rate,
            // The model is not there; another one may be.
            (_, Some(404)) => Fault::Server,
            (_, Some(400..=499)) => Fault::Question,
            _ => Fault::Server,
        }
    }

    fn is_about_money(&self) -> bool {
        let said = self.message.to_lowercase();
        BILLING_WORDS.iter().any(|words| said.contains(words))
    }
}

impl ErrorKind {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Refusal => "refusal",
            Self::Timeout => "timeout",
            Self::RateLimit => "rate_limit",
            Self::ContextLength => "context_length",
            Self::Unknown => "unknown",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fault_follows_kind_status_and_words() {
        let fault = |kind, status: u16, message: &str| {
            ModelError { status: (status > 0).then_some(status), ..ModelError::new(kind, message) }.fault()
        };
        let unknown = ErrorKind::Unknown;
        assert_eq!(fault(unknown, 401, "bad key"), Fault::Key);
        assert_eq!(fault(unknown, 403, "not yours"), Fault::Key);
        assert_eq!(fault(unknown, 402, "pay"), Fault::Billing);
        assert_eq!(fault(unknown, 400, "Your credit balance is too low"), Fault::Billing);
        assert_eq!(fault(ErrorKind::RateLimit, 429, "You exceeded your current quota"), Fault::Billing);
        assert_eq!(fault(ErrorKind::RateLimit, 429, "slow down"), Fault::Rate);
        assert_eq!(fault(unknown, 400, "no such parameter"), Fault::Question);
        assert_eq!(fault(ErrorKind::ContextLength, 400, "too long"), Fault::Question);
        assert_eq!(fault(ErrorKind::Refusal, 0, "no"), Fault::Question);
        assert_eq!(fault(unknown, 404, "no such model"), Fault::Server);
        assert_eq!(fault(unknown, 503, "busy"), Fault::Server);
        assert_eq!(fault(unknown, 0, "connection refused"), Fault::Server);
        assert_eq!(fault(ErrorKind::Timeout, 0, "silence"), Fault::Server);
    }
}
