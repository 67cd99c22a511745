//! What a failed model call says to people.

use serde_json::Value;

use super::{ErrorKind, ModelError};
use crate::fetch::FetchError;

/// The longest sentence that is taken over from a provider, in characters.
const MAX_CHARS: usize = 600;

/// The answer was an HTTP error: its status, the wish for a later try, and as much of its body as was kept.
pub(super) fn from_status(
    provider: &str,
    status: u16,
    retry_after_ms: Option<u64>,
    body: &[u8],
) -> ModelError {
    let json: Option<Value> = serde_json::from_slice(body).ok();
    let said = json.as_ref().and_then(said).unwrap_or_else(|| plain(body));
    let kind = kind_of(status, json.as_ref(), &said);
    let mut message = match said.is_empty() {
        true => format!("{status} from {provider}"),
        false => format!("{status} {said}"),
    };
    if let Some(wait) = retry_after_ms {
        message.push_str(&format!(" (try again in {} s)", wait.div_ceil(1_000)));
    }
    ModelError { kind, message, status: Some(status), retry_after_ms }
}

/// An error object in the middle of a stream.
pub(super) fn from_event(error: &Value) -> ModelError {
    let wrapped = serde_json::json!({ "error": error });
    let said = said(&wrapped).unwrap_or_else(|| error.to_string());
    let number = error.get("code").and_then(Value::as_u64).and_then(|code| u16::try_from(code).ok());
    let word = |name: &str| error.get(name).and_then(Value::as_str).and_then(status_of);
    let status = number.filter(|code| (400..600).contains(code));
    let status = status.or_else(|| word("type")).or_else(|| word("code"));
    let kind = kind_of(status.unwrap_or(0), Some(&wrapped), &said);
    ModelError { kind, message: shorten(&said), status, retry_after_ms: None }
}

/// The status that the type of an error in a stream stands for.
fn status_of(word: &str) -> Option<u16> {
    Some(match word {
        "invalid_request_error" => 400,
        "authentication_error" | "invalid_api_key" => 401,
        "billing_error" | "insufficient_quota" => 402,
        "permission_error" => 403,
        "not_found_error" | "model_not_found" => 404,
        "request_too_large" => 413,
        "rate_limit_error" | "rate_limit_exceeded" => 429,
        "api_error" | "server_error" => 500,
        "timeout_error" => 504,
        "overloaded_error" => 529,
        _ => return None,
    })
}

/// There was no answer, or it broke off.
pub(super) fn from_fetch(provider: &str, error: &FetchError) -> ModelError {
    let kind = match error {
        FetchError::Timeout(_) => ErrorKind::Timeout,
        _ => ErrorKind::Unknown,
    };
    ModelError::new(kind, format!("{provider}: {error}"))
}

/// Takes a key out of a sentence: some servers repeat the key that they refuse.
pub(super) fn without_secret(mut error: ModelError, secret: Option<&str>) -> ModelError {
    if let Some(secret) = secret.filter(|secret| secret.len() >= 4) {
        error.message = error.message.replace(secret, "***");
    }
    error
}

/// The seconds of a `Retry-After` header; its date form is not used by model servers.
pub(super) fn retry_after(headers: &[(String, String)]) -> Option<u64> {
    let value = |name: &str| headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.trim());
    let millis = value("retry-after-ms").and_then(|text| text.parse::<u64>().ok());
    let seconds = || value("retry-after").and_then(|text| text.parse::<f64>().ok());
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded before")]
    millis.or_else(|| seconds().filter(|s| (0.0..1e7).contains(s)).map(|s| (s * 1_000.0).ceil() as u64))
}

/// The sentence in an error body, wherever the server puts it.
fn said(body: &Value) -> Option<String> {
    let error = body.get("error").unwrap_or(body);
    let text = match error {
        Value::String(text) => Some(text.as_str()),
        other => ["message", "detail", "msg"].iter().find_map(|name| other.get(*name)?.as_str()),
    };
    text.map(str::trim).filter(|text| !text.is_empty()).map(shorten)
}

/// A body that is no JSON: its first line, unless it is a page for browsers.
fn plain(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let line = text.trim().lines().next().unwrap_or_default().trim();
    if line.starts_with('<') { String::new() } else { shorten(line) }
}

fn kind_of(status: u16, body: Option<&Value>, said: &str) -> ErrorKind {
    let error = body.and_then(|body| body.get("error"));
    let word = |name: &str| error.and_then(|error| error.get(name)?.as_str()).unwrap_or_default();
    let (code, said) = (word("code"), said.to_lowercase());
    let too_long =
        ["context length", "context window", "context size", "maximum context", "prompt is too long"];
    match status {
        429 => ErrorKind::RateLimit,
        408 | 504 => ErrorKind::Timeout,
        _ if code == "rate_limit_exceeded" || word("type") == "rate_limit_error" => ErrorKind::RateLimit,
        _ if code == "context_length_exceeded" || too_long.iter().any(|words| said.contains(words)) => {
            ErrorKind::ContextLength
        }
        _ if matches!(code, "content_filter" | "content_policy_violation") => ErrorKind::Refusal,
        _ => ErrorKind::Unknown,
    }
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(MAX_CHARS) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_providers_own_sentence_is_found() {
        for body in [
            r#"{"error":{"message":"no such model"}}"#,
            r#"{"error":"no such model"}"#,
            r#"{"message":"no such model"}"#,
            r#"{"detail":"no such model"}"#,
            "no such model\nstack trace",
        ] {
            assert_eq!(from_status("p", 404, None, body.as_bytes()).message, "404 no such model", "{body}");
        }
        assert_eq!(from_status("p", 502, None, b"<html>bad gateway</html>").message, "502 from p");
        assert_eq!(from_status("p", 500, None, b"").message, "500 from p");
    }

    #[test]
    fn a_rate_limit_says_when_to_come_back() {
        let headers = [("retry-after".to_owned(), "1.5".to_owned())];
        assert_eq!(retry_after(&headers), Some(1_500));
        let error = from_status("p", 429, Some(1_500), br#"{"error":{"message":"slow down"}}"#);
        assert_eq!(
            (error.kind, error.message.as_str()),
            (ErrorKind::RateLimit, "429 slow down (try again in 2 s)")
        );
        assert_eq!(
            retry_after(&[("retry-after".to_owned(), "Wed, 21 Oct 2026 07:28:00 GMT".to_owned())]),
            None
        );
    }

    #[test]
    fn kinds_follow_status_code_and_words() {
        let kind = |status, body: &str| from_status("p", status, None, body.as_bytes()).kind;
        assert_eq!(
            kind(400, r#"{"error":{"message":"x","code":"context_length_exceeded"}}"#),
            ErrorKind::ContextLength
        );
        assert_eq!(
            kind(400, r#"{"error":{"message":"exceeds the context window of 8"}}"#),
            ErrorKind::ContextLength
        );
        assert_eq!(kind(400, r#"{"error":{"message":"x","code":"content_filter"}}"#), ErrorKind::Refusal);
        assert_eq!(kind(504, ""), ErrorKind::Timeout);
        assert_eq!(kind(400, r#"{"error":{"message":"bad"}}"#), ErrorKind::Unknown);
    }

    #[test]
    fn an_error_in_a_stream_has_the_status_of_its_type() {
        let error = |text: &str| from_event(&serde_json::from_str(text).unwrap_or_default());
        let overloaded = error(r#"{"type":"overloaded_error","message":"Overloaded"}"#);
        assert_eq!((overloaded.status, overloaded.message.as_str()), (Some(529), "Overloaded"));
        assert_eq!(error(r#"{"type":"rate_limit_error","message":"x"}"#).kind, ErrorKind::RateLimit);
        assert_eq!(error(r#"{"type":"timeout_error","message":"x"}"#).kind, ErrorKind::Timeout);
        assert_eq!(error(r#"{"code":"server_error","message":"x"}"#).status, Some(500));
        assert_eq!(error(r#""model runner has stopped""#).message, "model runner has stopped");
    }

    #[test]
    fn a_refused_key_is_not_repeated() {
        let error = from_status("p", 401, None, br#"{"error":{"message":"Incorrect key sk-secret1"}}"#);
        assert_eq!(without_secret(error, Some("sk-secret1")).message, "401 Incorrect key ***");
    }
}
