//! Plain HTTP: the probes, what the [`crate::api`] claims, and 404 for the rest (spec 04 §1.2, §3).

use crate::http::{HttpRequest, HttpResponse};
use crate::ids::HttpId;
use crate::ingress::answer;

use bytes::Bytes;

use super::{Gateway, Output, Phase};

const NOT_FOUND: &str = r#"{"error":{"message":"Not Found","type":"not_found"}}"#;

impl Gateway {
    /// A request that is no WebSocket upgrade: the stages in order (spec 04 §1.2).
    pub(super) fn route(&mut self, id: HttpId, mut request: HttpRequest) {
        let admitted = self.walls.admit_request(&mut request);
        if request.peer.secure {
            self.secure.insert(id);
        }
        if let Err(stop) = admitted {
            tracing::info!(target: "gateway.http", peer = %request.peer.addr, reason = stop.word(), "request refused");
            if let Some(hint) = stop.hint(&request.peer) {
                self.hints.say(self.now.mono, hint);
            }
            return self.respond(id, stop.response());
        }
        if self.claims(&request) {
            return self.api_request(id, request);
        }
        let response = self.answer(&request);
        self.respond(id, response);
    }

    /// Answers a request whole.
    pub(crate) fn respond(&mut self, id: HttpId, response: HttpResponse) {
        self.api_answered(id, true);
        let secure = self.secure.remove(&id);
        let response = answer::dress(self.walls.rules(), response, secure);
        self.emit(Output::Respond { id, response });
    }

    /// Begins to answer a request.
    pub(crate) fn respond_head(&mut self, id: HttpId, head: HttpResponse) {
        self.api_answered(id, false);
        let secure = self.secure.remove(&id);
        let head = answer::dress(self.walls.rules(), head, secure);
        self.emit(Output::RespondHead { id, head });
    }

    /// Sends a piece of an answer that has begun.
    pub(crate) fn respond_chunk(&mut self, id: HttpId, chunk: impl Into<Bytes>) {
        self.emit(Output::RespondChunk { id, chunk: chunk.into() });
    }

    /// Ends an answer that has begun.
    pub(crate) fn respond_end(&mut self, id: HttpId) {
        self.api_answered(id, true);
        self.emit(Output::RespondEnd { id });
    }

    /// Asks for the body of a request.
    pub(crate) fn read_body(&mut self, id: HttpId, limit: usize) {
        self.emit(Output::ReadBody { id, limit });
    }

    /// The probes, and 404 for the rest.
    fn answer(&self, request: &HttpRequest) -> HttpResponse {
        if request.wants_websocket {
            return HttpResponse::text(426, "Upgrade Required").header("upgrade", "websocket");
        }
        let probe = match request.path.as_str() {
            "/health" | "/healthz" => Gateway::live,
            "/startup" | "/startupz" => Gateway::started_probe,
            "/ready" | "/readyz" => Gateway::ready_probe,
            _ => return HttpResponse::json(404, NOT_FOUND),
        };
        if !matches!(request.method.as_str(), "GET" | "HEAD") {
            return HttpResponse::text(405, "Method Not Allowed").header("allow", "GET, HEAD");
        }
        probe(self, request)
    }

    fn live(&self, _: &HttpRequest) -> HttpResponse {
        HttpResponse::json(200, r#"{"ok":true,"status":"live"}"#)
    }

    fn started_probe(&self, request: &HttpRequest) -> HttpResponse {
        let (code, status) = match self.phase {
            Phase::Serving => (200, "started"),
            Phase::Starting | Phase::Broken => (503, "starting"),
            Phase::Stopping | Phase::Stopped => (503, "draining"),
        };
        let mut body = serde_json::json!({"ok": code == 200, "status": status});
        if request.peer.is_direct_local() {
            body["version"] = self.settings.facts.version.as_str().into();
            body["uptimeMs"] = self.uptime_ms().into();
            if let Some(pending) = self.failing().first() {
                body["pendingReason"] = (*pending).into();
            }
        }
        HttpResponse::json(code, body.to_string())
    }

    fn ready_probe(&self, request: &HttpRequest) -> HttpResponse {
        let failing = self.failing();
        let mut body = serde_json::json!({"ready": failing.is_empty()});
        if request.peer.is_direct_local() {
            body["failing"] = failing.clone().into();
            body["uptimeMs"] = self.uptime_ms().into();
            if let Some(fault) = self.tailscale.degraded() {
                body["degraded"] = serde_json::json!([{"part": "tailscale", "reason": fault}]);
            }
        }
        HttpResponse::json(if failing.is_empty() { 200 } else { 503 }, body.to_string())
    }

    /// What keeps the gateway from being ready.
    fn failing(&self) -> Vec<&'static str> {
        match self.phase {
            Phase::Serving => Vec::new(),
            Phase::Starting => vec!["startup-sidecars"],
            Phase::Broken => vec!["store"],
            Phase::Stopping | Phase::Stopped => vec!["gateway-draining"],
        }
    }
}
