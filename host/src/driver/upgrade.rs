//! Whether a request asks for a WebSocket, and whether it asks rightly (RFC 6455 §4.2.1, spec 04 §1.3).

use async_tungstenite::tungstenite::handshake::derive_accept_key;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{CONNECTION, HeaderMap, HeaderName, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use http::{Method, Version};

/// What a request asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// No WebSocket.
    Plain,
    /// A WebSocket, but without `Connection: Upgrade`.
    Unconnected,
    /// A WebSocket, wrongly; the text says why.
    Wrong(&'static str),
    /// A WebSocket; to be answered with this `Sec-WebSocket-Accept`.
    Socket {
        /// The value of the answer's header.
        accept: String,
    },
}

/// Reads a request's head.
pub(super) fn wish<B>(request: &http::Request<B>, has_body: bool) -> Wish {
    let headers = request.headers();
    if !has_token(headers, &UPGRADE, "websocket") {
        return Wish::Plain;
    }
    if !has_token(headers, &CONNECTION, "upgrade") {
        return Wish::Unconnected;
    }
    if request.method() != Method::GET {
        return Wish::Wrong("a WebSocket upgrade is a GET request");
    }
    if request.version() != Version::HTTP_11 {
        return Wish::Wrong("a WebSocket upgrade is an HTTP/1.1 request");
    }
    if has_body {
        return Wish::Wrong("a WebSocket upgrade has no body");
    }
    if single(headers, &SEC_WEBSOCKET_VERSION) != Some("13") {
        return Wish::Wrong("Sec-WebSocket-Version must be 13");
    }
    match single(headers, &SEC_WEBSOCKET_KEY) {
        Some(key) if is_nonce(key) => Wish::Socket { accept: derive_accept_key(key.as_bytes()) },
        _ => Wish::Wrong("Sec-WebSocket-Key must be 16 bytes in base64"),
    }
}

fn is_nonce(key: &str) -> bool {
    STANDARD.decode(key).is_ok_and(|nonce| nonce.len() == 16)
}

/// A header that must stand once.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?.trim();
    values.next().is_none().then_some(value)
}

/// Whether a comma-separated header has a word.
fn has_token(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|token| token.trim().eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const GOOD: &[(&str, &str)] = &[
        ("upgrade", "WebSocket"),
        ("connection", "keep-alive, Upgrade"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];

    fn asked(changes: &[(&str, Option<&str>)]) -> Wish {
        let mut request = http::Request::get("/any/path");
        for (name, value) in GOOD {
            if !changes.iter().any(|(changed, _)| changed == name) {
                request = request.header(*name, *value);
            }
        }
        for (name, value) in changes {
            if let Some(value) = value {
                request = request.header(*name, *value);
            }
        }
        wish(&request.body(()).unwrap(), false)
    }

    #[test]
    fn a_good_upgrade_gets_the_key_of_the_rfc() {
        assert_eq!(asked(&[]), Wish::Socket { accept: "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".to_owned() });
    }

    #[test]
    fn a_bad_upgrade_is_told_what_is_wrong() {
        for (changes, word) in [
            (vec![("sec-websocket-version", Some("8"))], "Version"),
            (vec![("sec-websocket-version", None)], "Version"),
            (vec![("sec-websocket-key", None)], "Key"),
            (vec![("sec-websocket-key", Some("c2hvcnQ="))], "Key"),
            (vec![("sec-websocket-key", Some("dGhlIHNhbXBsZSBub25jZQ"))], "Key"),
            (vec![("sec-websocket-key", Some("not base64 at all, no"))], "Key"),
        ] {
            let answer = asked(&changes);
            assert!(matches!(answer, Wish::Wrong(text) if text.contains(word)), "{changes:?}: {answer:?}");
        }
    }

    #[test]
    fn an_upgrade_that_proxies_have_cut_is_recognised() {
        assert_eq!(asked(&[("connection", None)]), Wish::Unconnected);
        assert_eq!(asked(&[("connection", Some("keep-alive"))]), Wish::Unconnected);
        assert_eq!(asked(&[("upgrade", Some("h2c"))]), Wish::Plain);
    }

    #[test]
    fn a_body_or_another_method_is_refused() {
        let request = |method: &str| {
            let mut request = http::Request::builder().method(method).uri("/");
            for (name, value) in GOOD {
                request = request.header(*name, *value);
            }
            request.body(()).unwrap()
        };
        assert!(matches!(wish(&request("POST"), false), Wish::Wrong(text) if text.contains("GET")));
        assert!(matches!(wish(&request("GET"), true), Wish::Wrong(text) if text.contains("body")));
    }
}
