//! Plain HTTP requests on the gateway's port, as the machines see them (spec 04 §1).
//!
//! The head comes first. The gateway answers it at once, or asks for the body and answers then; an answer is
//! whole, or a head that pieces follow.

use crate::ingress::answer::SAFE;
use crate::peer::Peer;

/// The head of a request that is not a WebSocket upgrade.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpRequest {
    /// Who asks.
    pub peer: Peer,
    /// The method, as written.
    pub method: String,
    /// The path, before percent-decoding and without the query.
    pub path: String,
    /// What follows the `?`, before percent-decoding.
    pub query: Option<String>,
    /// The `Authorization` header.
    pub authorization: Option<String>,
    /// Further headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The `Content-Length`, if the client states one.
    pub content_length: Option<u64>,
    /// Whether an `Upgrade: websocket` header was present on a request that is no valid upgrade.
    pub wants_websocket: bool,
}

impl HttpRequest {
    /// The first header of this name, which is given in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

impl std::fmt::Debug for HttpRequest {
    /// Headers stay out of logs: they carry secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} from {}", self.method, self.path, self.peer.addr)
    }
}

/// Why a body that was asked for did not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// It is larger than was allowed.
    #[error("Payload too large")]
    TooLarge,
    /// It came too slowly.
    #[error("Request body timeout")]
    Timeout,
    /// The client broke off.
    #[error("the request body broke off")]
    Broken,
}

/// A whole response, or the head of one whose body follows in pieces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpResponse {
    /// The status code.
    pub status: u16,
    /// Header names in lower case with their values.
    pub headers: Vec<(&'static str, String)>,
    /// The body; the adapter leaves it out when answering HEAD. Empty in the head of a stream.
    pub body: String,
}

impl HttpResponse {
    /// A JSON response.
    pub fn json(status: u16, body: impl Into<String>) -> Self {
        Self::of(status, "application/json; charset=utf-8", body)
    }

    /// A plain text response.
    pub fn text(status: u16, body: impl Into<String>) -> Self {
        Self::of(status, "text/plain; charset=utf-8", body)
    }

    /// The head of a stream of server-sent events (spec 04 §5.4).
    pub fn events() -> Self {
        Self::of(200, "text/event-stream; charset=utf-8", String::new())
            .header("cache-control", "no-cache")
            .header("connection", "keep-alive")
            .header("x-accel-buffering", "no")
    }

    /// A response of any type.
    pub fn of(status: u16, content_type: impl Into<String>, body: impl Into<String>) -> Self {
        let safe = SAFE.iter().map(|(name, value)| (*name, (*value).to_owned()));
        let headers = std::iter::once(("content-type", content_type.into())).chain(safe).collect();
        Self { status, headers, body: body.into() }
    }

    /// The same response with this header, in place of another one of its name.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.retain(|(found, _)| *found != name);
        self.headers.push((name, value.into()));
        self
    }
}
