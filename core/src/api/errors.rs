//! What a request is told that is not served (spec 04 §1.6).

use serde_json::{Value, json};
use telson_proto::{ErrorCode, ErrorShape};

use crate::http::HttpResponse;

/// The wrong thing that a client has sent.
const INVALID: &str = "invalid_request_error";
/// The gateway's own failure.
pub(super) const API_ERROR: &str = "api_error";
/// All that a client learns of a failure inside; the log says more.
pub(super) const INTERNAL: &str = "internal error";

/// How an endpoint spells its errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spelling {
    /// `/v1/*`: `{"error": {message, type, code, param}}`.
    OpenAi,
    /// The others: `{"ok": false, "error": {type, message}}`.
    Ok,
}

/// An answer that is an error.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) kind: &'static str,
    pub(super) message: String,
    code: Option<&'static str>,
    details: Option<Value>,
    headers: Vec<(&'static str, String)>,
    /// Authentication and bodies: the shape is the same for every endpoint.
    common: bool,
}

impl Refusal {
    pub(super) fn new(status: u16, kind: &'static str, message: impl Into<String>) -> Self {
        let (code, details, headers) = (None, None, Vec::new());
        Self { status, kind, message: message.into(), code, details, headers, common: false }
    }

    /// 400: the request is wrong as it stands.
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(400, INVALID, message)
    }

    /// 404: there is no such thing.
    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self::new(404, "not_found", message)
    }

    /// 403: the caller may not.
    pub(super) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(403, "forbidden", message)
    }

    /// 401: no secret, or a wrong one. It does not say which.
    pub(super) fn unauthorized() -> Self {
        Self { common: true, ..Self::new(401, "unauthorized", "Unauthorized") }
    }

    /// 429: the address is locked out for so many seconds.
    pub(super) fn locked(seconds: u64) -> Self {
        let message = "Too many failed authentication attempts. Please try again later.";
        let refusal = Self { common: true, ..Self::new(429, "rate_limited", message) };
        refusal.header("retry-after", seconds.to_string())
    }

    /// 403: a proxy stands between, and nobody vouches for it (spec 04 §2.2).
    pub(super) fn unattributable() -> Self {
        let message = "The request came through a proxy that is not trusted; ask the gateway directly, or list the proxy in gateway.trustedProxies.";
        Self { common: true, ..Self::new(403, "proxy_attribution_required", message) }
    }

    /// 503: not now, but soon. Nothing was begun, so clients may send it again.
    pub(super) fn unavailable(message: impl Into<String>, seconds: u64) -> Self {
        let refusal = Self {
            code: Some("gateway_unavailable"),
            common: true,
            ..Self::new(503, "service_unavailable", message)
        };
        refusal.header("retry-after", seconds.to_string()).header("x-should-retry", "true")
    }

    /// 408 or 413: the body did not come as it must.
    pub(super) fn body(status: u16, message: impl Into<String>) -> Self {
        let refusal = Self { common: true, ..Self::new(status, INVALID, message) };
        refusal.header("connection", "close")
    }

    /// 500: the gateway's own failure.
    pub(super) fn internal() -> Self {
        Self::new(500, API_ERROR, INTERNAL)
    }

    /// An error of the gateway's domains.
    pub(super) fn of(error: &ErrorShape) -> Self {
        match error.code {
            ErrorCode::Forbidden => Self {
                details: error.details.as_ref().map(telson_proto::Json::to_value),
                ..Self::forbidden(error.message.clone())
            },
            ErrorCode::Unavailable => {
                let seconds = error.retry_after_ms.unwrap_or(1_000).div_ceil(1_000);
                Self::unavailable(error.message.clone(), seconds)
            }
            ErrorCode::InvalidRequest | ErrorCode::NotPaired => Self::invalid(error.message.clone()),
        }
    }

    /// The same with one more header.
    pub(super) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The same, and clients are told not to send the request again: work was begun (spec 04 §1.6).
    pub(super) fn begun(self) -> Self {
        self.header("x-should-retry", "false")
    }

    /// The error as `/v1/*` spells it.
    pub(super) fn v1(&self) -> Value {
        json!({"message": self.message, "type": self.kind, "code": self.code, "param": null})
    }

    /// The answer.
    pub(super) fn response(&self, spelling: Spelling) -> HttpResponse {
        let body = match spelling {
            Spelling::OpenAi if self.details.is_none() => json!({"error": self.v1()}),
            Spelling::Ok if self.common => {
                let mut error = json!({"message": self.message, "type": self.kind});
                if let Some(code) = self.code {
                    error["code"] = code.into();
                }
                json!({"error": error})
            }
            _ => {
                let mut error = json!({"type": self.kind, "message": self.message});
                if let Some(details) = &self.details {
                    error["details"] = details.clone();
                }
                json!({"ok": false, "error": error})
            }
        };
        let response = HttpResponse::json(self.status, body.to_string());
        self.headers.iter().fold(response, |response, (name, value)| response.header(name, value.clone()))
    }
}
