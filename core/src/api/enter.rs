//! From a head to the endpoint: method, readiness, who asks, scope, body (spec 04 §1.5, §2).
//!
//! The order is the specification's: a wrong method is told before a wrong secret, and both before a body is
//! read. The answer to a wrong secret from this host is held back.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;

use super::errors::{Refusal, Spelling};
use super::route::{Head, Route};
use super::{Admitted, Pending, Stage};
use crate::auth::{BearerFault, Principal, require};
use crate::gateway::{Gateway, Phase};
use crate::http::{BodyError, HttpRequest, HttpResponse};
use crate::ids::HttpId;
use crate::ingress::{Kind, Stop};

/// A request that is turned away, and how long it waits for its answer.
struct Turned {
    refusal: Refusal,
    delay: Duration,
}

impl Gateway {
    /// Whether a request is one of these endpoints, and its feature is on.
    pub(crate) fn claims(&self, request: &HttpRequest) -> bool {
        let route = Route::of(&request.path).filter(|route| route.is_on(&self.settings.api));
        route.is_some() && !request.wants_websocket
    }

    /// The head of a request that [`Self::claims`] has accepted.
    pub(crate) fn api_request(&mut self, id: HttpId, request: HttpRequest) {
        let Some(route) = Route::of(&request.path) else {
            return self.refuse_http(id, Spelling::OpenAi, &Refusal::not_found("Not Found"));
        };
        if request.method != route.method() {
            let response = HttpResponse::text(405, "Method Not Allowed").header("allow", route.method());
            return self.respond(id, response);
        }
        let spelling = route.spelling();
        match self.admit_http(&route, &request) {
            Ok(principal) => {
                let length = request.content_length;
                let head = Head::new(route, request, self.settings.api.legacy_names);
                self.begin_http(id, head, principal, length);
            }
            Err(turned) if turned.delay.is_zero() => self.refuse_http(id, spelling, &turned.refusal),
            Err(turned) => {
                let response = turned.refusal.response(spelling);
                self.api.held.insert((self.now.mono + turned.delay, id), response);
            }
        }
    }

    /// Who asks, if they may.
    fn admit_http(&mut self, route: &Route, request: &HttpRequest) -> Result<Principal, Box<Turned>> {
        let at_once = |refusal| Box::new(Turned { refusal, delay: Duration::ZERO });
        match self.phase {
            Phase::Serving => {}
            Phase::Starting | Phase::Broken => {
                return Err(at_once(Refusal::unavailable("the gateway is starting; try again shortly", 1)));
            }
            Phase::Stopping | Phase::Stopped => {
                return Err(at_once(Refusal::unavailable("the gateway is going down; try again shortly", 1)));
            }
        }
        if self.api.is_full() {
            let message = "too many requests are under way; try again shortly";
            return Err(at_once(Refusal::unavailable(message, 1)));
        }
        if let Kind::Unattributable(fault) = request.peer.kind {
            if let Some(hint) = Stop::Unattributable(fault).hint(&request.peer) {
                self.hints.say(self.now.mono, hint);
            }
            return Err(at_once(Refusal::unattributable()));
        }
        let principal = self.verify_bearer(request).map_err(|fault| {
            tracing::info!(target: "gateway.http", peer = %request.peer.addr, ?fault, "request refused");
            self.audit_stranger(request.peer.addr, "http", fault.why());
            match fault {
                BearerFault::Missing | BearerFault::NotVouched(_) => at_once(Refusal::unauthorized()),
                BearerFault::Wrong(delay) => Box::new(Turned { refusal: Refusal::unauthorized(), delay }),
                BearerFault::Elsewhere(why) => at_once(Refusal::forbidden(why)),
                BearerFault::Locked(after) => {
                    let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
                    at_once(Refusal::locked(seconds.max(1)))
                }
            }
        })?;
        require(&principal, route.scope()).map_err(|error| at_once(Refusal::of(&error)))?;
        Ok(principal)
    }

    /// Serves a request that is let in, or asks for its body first.
    fn begin_http(&mut self, id: HttpId, head: Head, principal: Principal, length: Option<u64>) {
        let principal = Arc::new(principal);
        let admitted = Admitted { principal: Arc::clone(&principal), begun: false };
        self.api.admitted.insert(id, admitted);
        let Some(limit) = head.route.body_limit(&self.settings.api) else {
            return match head.route.clone() {
                Route::Models => self.list_models(id),
                Route::Model(model) => self.show_model(id, &model),
                Route::History(key) => self.session_history(id, &head, &principal, &key),
                Route::Kill(key) => self.kill_session(id, &head, &principal, &key),
                _ => self.refuse_http(id, head.route.spelling(), &Refusal::not_found("Not Found")),
            };
        };
        if length.is_some_and(|length| length > limit as u64) {
            let refusal = Refusal::body(413, BodyError::TooLarge.to_string());
            return self.refuse_http(id, head.route.spelling(), &refusal);
        }
        let spelling = head.route.spelling();
        self.api.pending.insert(id, Pending { spelling, stage: Stage::Body { head, principal } });
        self.read_body(id, limit);
    }

    /// The body that was asked for.
    pub(crate) fn http_body(&mut self, id: HttpId, body: Result<Bytes, BodyError>) {
        let Some(Pending { spelling, stage: Stage::Body { head, principal } }) = self.api.take(id) else {
            return;
        };
        let value = match body {
            Ok(bytes) => read_json(&bytes),
            Err(BodyError::TooLarge) => Err(Refusal::body(413, BodyError::TooLarge.to_string())),
            Err(BodyError::Timeout) => Err(Refusal::body(408, BodyError::Timeout.to_string())),
            Err(BodyError::Broken) => return,
        };
        let begun = value.and_then(|body| match head.route {
            Route::Chat => self.begin_chat(id, &head, &principal, &body),
            Route::Responses => self.begin_response(id, &head, &principal, &body),
            Route::Embeddings => self.begin_embeddings(id, &head, &principal, &body),
            Route::Invoke => self.begin_invoke(id, &head, &principal, &body),
            _ => Err(Refusal::not_found("Not Found")),
        });
        if let Err(refusal) = begun {
            self.refuse_http(id, spelling, &refusal);
        }
    }

    /// Answers with an error; nothing of the request is kept.
    pub(super) fn refuse_http(&mut self, id: HttpId, spelling: Spelling, refusal: &Refusal) {
        self.api.pending.remove(&id);
        self.respond(id, refusal.response(spelling));
    }
}

/// The JSON of a body; an empty one is an empty object. The parser bounds the depth.
fn read_json(bytes: &[u8]) -> Result<Value, Refusal> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(Value::Object(serde_json::Map::new()));
    }
    serde_json::from_slice(bytes).map_err(|error| Refusal::invalid(format!("Invalid JSON: {error}")))
}
