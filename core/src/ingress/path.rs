//! What may stand in the target of a request (spec 08 S-23, S-76).
//!
//! A path is compared as it is written, and a name in it is decoded once. So a path that could mean something else to
//! whoever decodes it again, joins it, or folds its dots is refused before anything looks at it.

use super::stop::Stop;
use crate::api::percent_decoded;

/// Whether a path means what it says: it begins with one slash, its escapes are whole and decode to text, and no
/// part of it is a dot segment, an empty one, or holds what separates segments elsewhere.
pub(crate) fn is_plain(path: &str) -> bool {
    let Some(rest) = path.strip_prefix('/') else { return false };
    let mut segments = rest.split('/').enumerate().peekable();
    let named = named_from(path);
    while let Some((position, segment)) = segments.next() {
        let last = segments.peek().is_none();
        if segment.is_empty() && !last {
            return false;
        }
        if !is_plain_segment(segment, position >= named) {
            return false;
        }
    }
    true
}

/// From which segment on a path holds a name that somebody chose, which may have slashes of its own.
fn named_from(path: &str) -> usize {
    match path {
        path if path.starts_with("/v1/models/") => 2,
        path if path.starts_with("/sessions/") => 1,
        _ => usize::MAX,
    }
}

fn is_plain_segment(segment: &str, is_name: bool) -> bool {
    if !segment.bytes().all(|b| b.is_ascii_graphic() && b != b'\\') {
        return false;
    }
    let Some(decoded) = percent_decoded(segment) else { return false };
    let apart = decoded.contains(['\\', '\u{fffd}']) || (!is_name && decoded.contains('/'));
    let again = decoded.contains('%') && percent_decoded(&decoded).is_none_or(|twice| twice != decoded);
    let dots = |part: &str| matches!(part.split(';').next().unwrap_or(part).trim(), "." | "..");
    !apart && !again && !decoded.split('/').any(dots)
}

/// Refuses secrets in a query: URLs end up in histories, logs and `Referer` headers.
pub(super) fn check_query(query: &str) -> Result<(), Stop> {
    let names = query.split('&').filter_map(|pair| pair.split('=').next());
    let secret = names.filter_map(percent_decoded).find(|name| is_secret(name));
    if secret.is_some() { Err(Stop::SecretInUrl) } else { Ok(()) }
}

fn is_secret(name: &str) -> bool {
    let bare: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    matches!(
        bare.to_ascii_lowercase().as_str(),
        "token"
            | "password"
            | "accesstoken"
            | "authtoken"
            | "gatewaytoken"
            | "devicetoken"
            | "bootstraptoken"
            | "apikey"
            | "secret"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_endpoints_are_plain() {
        for path in [
            "/",
            "/healthz",
            "/v1/models",
            "/v1/models/",
            "/v1/models/openclaw%2Fdefault",
            "/v1/models/openclaw/main",
            "/sessions/agent%3Amain%3Amain/history",
            "/sessions/agent:main:main/kill",
            "/sessions/caf%C3%A9/history",
            "/sessions/a.b..c/history",
        ] {
            assert!(is_plain(path), "{path}");
        }
    }

    #[test]
    fn five_hundred_ways_to_write_a_path_otherwise_are_refused() {
        let parts = [
            "%2e",
            "%2e%2e",
            ".",
            "..",
            ".%2e",
            "%2E.",
            "..;",
            "..;x=1",
            ".;a",
            "%2e%2e;",
            "",
            "%2f",
            "%2F",
            "%5c",
            "%5C",
            "\\",
            "..\\",
            "%00",
            "a%00b",
            "%0a",
            "%0d%0a",
            "%7f",
            "%c0%ae",
            "%c0%af",
            "%ff",
            "%fe%ff",
            "%",
            "%2",
            "%zz",
            "%u002e",
            "%252e",
            "%252f",
            "%25%32%66",
            "%255c",
            "%2500",
            "a%2fb",
            "..%2f",
            "%2e%2f",
            "a b",
            "\u{e9}",
            "\u{202e}",
            "\t",
            "%c0%2e",
            "%e0%80%ae",
        ];
        let around = [
            ("/", "/v1/models"),
            ("/v1/", "/models"),
            ("/v1/models/../", "/x"),
            ("/tools/", "/invoke"),
            ("/healthz/", "/x"),
            ("/v1/chat/", "/completions"),
            ("/__openclaw__/", "/canvas"),
            ("/api/", "/channels"),
            ("/a/b/c/", "/d"),
            ("/hooks/", "/wake"),
            ("/static/", "/app.js"),
            ("/avatar/", "/main"),
        ];
        let mut variants = 0;
        for (before, after) in around {
            for part in parts {
                variants += 1;
                let path = format!("{before}{part}{after}");
                assert!(!is_plain(&path), "{path:?}");
            }
        }
        for path in [
            "",
            "*",
            "v1/models",
            "//v1/models",
            "/v1//models",
            "http://x/",
            "/sessions/%252e/history",
            "/sessions/..%2fx/history",
            "/v1/models/%5cx",
            "/v1/models/a%2f..%2fb",
        ] {
            variants += 1;
            assert!(!is_plain(path), "{path:?}");
        }
        assert!(variants >= 500, "{variants}");
    }

    #[test]
    fn secrets_in_a_query_are_refused_however_they_are_spelled() {
        for query in
            ["token=x", "a=1&token=", "TOKEN=x", "%74oken=x", "access_token=x", "password=x", "api-key=x"]
        {
            assert_eq!(check_query(query), Err(Stop::SecretInUrl), "{query}");
        }
        for query in ["", "limit=5", "follow=true&cursor=tokens", "tokens=5", "%zz=1"] {
            assert_eq!(check_query(query), Ok(()), "{query}");
        }
    }
}
