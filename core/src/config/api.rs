//! The settings of the HTTP endpoints for programs (spec 04 §5–§9, §12).

use std::time::Duration;

use super::build::{count, flag, text, texts};
use super::tree::Node;
use crate::api::{ApiSettings, EndpointSettings, MediaSettings};
use crate::limits::length;

/// The settings of the HTTP endpoints.
pub(super) fn settings(root: &Node) -> ApiSettings {
    let plain = ApiSettings::default();
    let of = |name: &str, plain| endpoint(root, &format!("gateway.http.endpoints.{name}"), plain);
    let words = |path: &str| texts(root, path).map(|word| word.trim().to_owned()).collect();
    ApiSettings {
        legacy_names: flag(root, "gateway.http.legacyNames").unwrap_or(plain.legacy_names),
        chat: of("chatCompletions", plain.chat),
        responses: of("responses", plain.responses),
        files: media(root, "gateway.http.endpoints.responses.files", plain.files),
        file_chars: count(root, "gateway.http.endpoints.responses.files.maxChars")
            .map_or(plain.file_chars, length),
        tools_allow: words("gateway.tools.allow"),
        tools_deny: words("gateway.tools.deny"),
        embedding_provider: text(root, "agents.defaults.memorySearch.provider")
            .map(|provider| provider.to_lowercase()),
        embedding_model: text(root, "agents.defaults.memorySearch.model"),
    }
}

fn endpoint(root: &Node, path: &str, plain: EndpointSettings) -> EndpointSettings {
    let flag = |name: &str| flag(root, &format!("{path}.{name}"));
    let count = |name: &str| count(root, &format!("{path}.{name}"));
    EndpointSettings {
        enabled: flag("enabled").unwrap_or(plain.enabled),
        accept_any_model: flag("acceptAnyModel").unwrap_or(plain.accept_any_model),
        max_body: count("maxBodyBytes").map_or(plain.max_body, length),
        max_parts: count("maxUrlParts").map_or(plain.max_parts, length),
        images: media(root, &format!("{path}.images"), plain.images),
    }
}

fn media(root: &Node, path: &str, plain: MediaSettings) -> MediaSettings {
    let count = |name: &str| count(root, &format!("{path}.{name}"));
    let lower = |name: &str| -> Vec<String> {
        texts(root, &format!("{path}.{name}")).map(|text| text.trim().to_lowercase()).collect()
    };
    let mimes = lower("allowedMimes");
    MediaSettings {
        allow_url: flag(root, &format!("{path}.allowUrl")).unwrap_or(plain.allow_url),
        url_allowlist: lower("urlAllowlist"),
        mimes: if mimes.is_empty() { plain.mimes } else { mimes },
        max_bytes: count("maxBytes").map_or(plain.max_bytes, length),
        max_redirects: count("maxRedirects").map_or(plain.max_redirects, length),
        timeout: count("timeoutMs").map_or(plain.timeout, Duration::from_millis),
    }
}
