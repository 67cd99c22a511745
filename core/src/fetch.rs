//! Outbound HTTP, as the machines ask for it.

use std::time::Duration;

use bytes::Bytes;

/// A request that the adapter is to send.
#[derive(Clone, PartialEq, Eq)]
pub struct FetchRequest {
    /// The method, upper case.
    pub method: &'static str,
    /// The whole URL, `http` or `https`.
    pub url: String,
    /// Header names in lower case with their values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
    /// How long connecting and the response head may take together.
    pub head_timeout: Duration,
    /// How long the response may stay silent between two chunks.
    pub idle_timeout: Duration,
    /// Which addresses it may reach.
    pub reach: Reach,
}

/// Which addresses a request may reach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// Any: the operator has configured the URL.
    #[default]
    Anywhere,
    /// Public ones only: the URL came from a model, a message or a client (spec 04 §9). Every resolved address is
    /// judged, and the connection goes to one that was.
    Public,
}

impl std::fmt::Debug for FetchRequest {
    /// Header values and the body stay out of logs: they carry keys and people's words.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} ({} bytes)", self.method, self.url, self.body.len())
    }
}

/// What becomes of a request. After `End` or `Failed` nothing more comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchEvent {
    /// The response's head.
    Head {
        /// The status code.
        status: u16,
        /// Header names in lower case with their values.
        headers: Vec<(String, String)>,
    },
    /// A piece of the response's body.
    Chunk(Bytes),
    /// The body is complete.
    End,
    /// No response, or a response that broke off.
    Failed(FetchError),
}

/// Why a request failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// The URL is unusable.
    #[error("{0}")]
    Url(String),
    /// The URL leads where requests of its kind may not go.
    #[error("{0}")]
    Forbidden(String),
    /// No connection: name resolution, refusal, TLS.
    #[error("cannot connect to {host}: {reason}")]
    Connect {
        /// The host that was asked.
        host: String,
        /// The operating system's or the TLS library's words.
        reason: String,
    },
    /// A deadline of the request passed.
    #[error("no answer within {} s", .0.as_secs())]
    Timeout(Duration),
    /// The connection broke in the middle.
    #[error("the connection broke off: {0}")]
    Broken(String),
}
