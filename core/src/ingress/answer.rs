//! What every answer carries, so that no browser makes more of it than it is (spec 04 §1.4, 08 S-80).

use super::rules::Rules;
use crate::http::HttpResponse;

/// Headers of every answer. A document that may run scripts says so itself.
pub(crate) const SAFE: [(&str, &str); 6] = [
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("permissions-policy", "camera=(), geolocation=(), microphone=()"),
    ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
    ("x-frame-options", "DENY"),
    ("cache-control", "no-store"),
];

/// Adds what depends on the way: browsers remember to come by TLS only what they hear by TLS.
pub(crate) fn dress(rules: &Rules, response: HttpResponse, secure: bool) -> HttpResponse {
    match &rules.strict_transport {
        Some(value) if secure => response.header("strict-transport-security", value.clone()),
        _ => response,
    }
}
