//! The HTTP endpoints for programs: `/v1/*`, `/tools/invoke`, `/sessions/*` (spec 04 §5–§9, §12, §13).
//!
//! A call of a model endpoint is a run like any other; the client hears it as a whole answer or as server-sent
//! events, and a client that goes away aborts it.

use std::time::Duration;

use crate::fetch::FetchEvent;
use crate::gateway::Gateway;
use crate::http::{BodyError, HttpRequest};
use crate::ids::{FetchId, HttpId, RunId};
use crate::runs::RunResult;
use crate::settings::Settings;

/// The requests that are not answered yet.
pub struct Api {}

impl Api {
    pub(crate) fn new(_settings: &Settings) -> Self {
        Self {}
    }

    /// When something is due: the keep-alives of streams.
    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        None
    }
}

impl Gateway {
    /// Whether a request is one of these endpoints, and its feature is on.
    pub(crate) fn claims(&self, _request: &HttpRequest) -> bool {
        false
    }

    /// The head of a request that [`Self::claims`] has accepted.
    pub(crate) fn api_request(&mut self, _id: HttpId, _request: HttpRequest) {}

    /// The body that was asked for.
    pub(crate) fn http_body(&mut self, _id: HttpId, _body: Result<bytes::Bytes, BodyError>) {}

    /// The client is gone.
    pub(crate) fn http_gone(&mut self, _id: HttpId) {}

    /// An outbound request on behalf of `request` has moved.
    pub(crate) fn api_fetched(&mut self, _request: HttpId, _fetch: FetchId, _event: FetchEvent) {}

    /// The tool that a request has called has ended.
    pub(crate) fn api_tool_finished(&mut self, _id: HttpId, _outcome: crate::tools::ToolOutcome) {}

    /// What is due.
    pub(crate) fn api_timeouts(&mut self) {}

    /// The run of a request has said more words.
    pub(crate) fn api_run_said(&mut self, _id: HttpId, _run: &RunId, _words: &str) {}

    /// The run of a request has ended, and its end is stored.
    pub(crate) fn api_run_ended(&mut self, _id: HttpId, _run: &RunId, _result: RunResult) {}
}
