//! How messages travel: the requests of streamable HTTP and what comes back of each.

use bytes::Bytes;

use crate::fetch::{FetchRequest, Reach};
use crate::limits;
use crate::providers::sse::SseParser;

use super::settings::{McpServerSettings, McpTransport};

/// The most bytes that are kept of a refusal.
const MAX_REFUSAL: usize = 4_096;

/// A message on its way to an HTTP server, and the answer on its way back.
pub(super) struct Exchange {
    pub(super) server: usize,
    /// The number of the request that it carries.
    pub(super) request: Option<u64>,
    pub(super) status: u16,
    events: Option<SseParser>,
    body: Vec<u8>,
}

impl Exchange {
    pub(super) fn new(server: usize, request: Option<u64>) -> Self {
        Self { server, request, status: 0, events: None, body: Vec::new() }
    }

    /// The head has come. Says the name of our session, if it gives one.
    pub(super) fn head(&mut self, status: u16, headers: &[(String, String)]) -> Option<String> {
        let header = |name: &str| headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.trim());
        self.status = status;
        let kind = header("content-type").unwrap_or_default().to_ascii_lowercase();
        if self.is_good() && kind.starts_with("text/event-stream") {
            self.events = Some(SseParser::default());
        }
        // Only visible ASCII goes back into a header (transport, *Session Management*).
        let id = header("mcp-session-id").filter(|id| {
            !id.is_empty() && id.len() <= 1_024 && id.bytes().all(|byte| byte.is_ascii_graphic())
        });
        id.map(str::to_owned)
    }

    pub(super) fn is_good(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Reads a piece; the messages that it completes.
    ///
    /// # Errors
    ///
    /// It is more than any message may be.
    pub(super) fn chunk(&mut self, bytes: &Bytes) -> Result<Vec<String>, &'static str> {
        let most = if self.is_good() { limits::length(limits::MCP_MESSAGE_BYTES) } else { MAX_REFUSAL };
        if let Some(parser) = &mut self.events {
            let mut events = Vec::new();
            parser.push(bytes, &mut events).map_err(|_| "it sent an event that is too large")?;
            return Ok(events.into_iter().map(|event| event.data).filter(|data| !data.is_empty()).collect());
        }
        let room = most.saturating_sub(self.body.len());
        if self.is_good() && bytes.len() > room {
            return Err("it sent a message that is too large");
        }
        self.body.extend_from_slice(bytes.get(..room.min(bytes.len())).unwrap_or_default());
        Ok(Vec::new())
    }

    /// The body of an answer that was no stream.
    pub(super) fn body(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// The request that carries a message, or ends the session when there is none.
pub(super) fn http_request(
    settings: &McpServerSettings,
    session: Option<&str>,
    version: Option<&str>,
    message: Option<String>,
) -> Option<FetchRequest> {
    let McpTransport::Http { url, headers } = &settings.transport else { return None };
    let mut all: Vec<(String, String)> =
        headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone())).collect();
    let mut set = |name: &str, value: &str| {
        all.retain(|(other, _)| other != name);
        all.push((name.to_owned(), value.to_owned()));
    };
    set("accept", "application/json, text/event-stream");
    if message.is_some() {
        set("content-type", "application/json");
    }
    if let Some(session) = session {
        set("mcp-session-id", session);
    }
    if let Some(version) = version {
        set("mcp-protocol-version", version);
    }
    let patience = settings.timeout.max(limits::millis(limits::MCP_START_MS));
    Some(FetchRequest {
        method: if message.is_some() { "POST" } else { "DELETE" },
        url: url.clone(),
        headers: all,
        body: message.map(Bytes::from).unwrap_or_default(),
        head_timeout: patience,
        idle_timeout: patience,
        reach: Reach::Anywhere,
    })
}
