//! Plain HTTP requests on the gateway's port, as the machines see them (spec 04 §1).

use crate::peer::Peer;

/// The head of a request that is not a WebSocket upgrade.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpRequest {
    /// Who asks.
    pub peer: Peer,
    /// The method, as written.
    pub method: String,
    /// The path, before percent-decoding and without the query.
    pub path: String,
    /// The `Authorization` header.
    pub authorization: Option<String>,
    /// Whether an `Upgrade: websocket` header was present on a request that is no valid upgrade.
    pub wants_websocket: bool,
}

/// A whole response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpResponse {
    /// The status code.
    pub status: u16,
    /// Header names in lower case with their values.
    pub headers: Vec<(&'static str, String)>,
    /// The body; the adapter leaves it out when answering HEAD.
    pub body: String,
}

impl HttpResponse {
    /// A JSON response.
    pub fn json(status: u16, body: impl Into<String>) -> Self {
        Self::with_type(status, "application/json; charset=utf-8", body.into())
    }

    /// A plain text response.
    pub fn text(status: u16, body: impl Into<String>) -> Self {
        Self::with_type(status, "text/plain; charset=utf-8", body.into())
    }

    fn with_type(status: u16, content_type: &str, body: String) -> Self {
        let headers = vec![
            ("content-type", content_type.to_owned()),
            ("x-content-type-options", "nosniff".to_owned()),
            ("referrer-policy", "no-referrer".to_owned()),
        ];
        Self { status, headers, body }
    }

    /// The same response with one more header.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}
