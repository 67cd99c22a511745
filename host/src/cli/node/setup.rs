//! Setup codes, as a gateway gives them to a person who carries them to a new device (spec 01 §5.8).

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;
use telson_core::auth::Secret;

/// The longest code, in characters.
const LONGEST: usize = 16_384;

/// At most so many addresses of the gateway.
const MOST_URLS: usize = 8;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What a setup code says.
#[derive(Debug)]
pub(super) struct SetupCode {
    /// Where the gateway may be found, the best first. Not empty.
    pub(super) urls: Vec<String>,
    /// What is shown there, once.
    pub(super) token: Secret,
    /// The fingerprint of the gateway's certificate.
    pub(super) fingerprint: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Content {
    url: String,
    #[serde(default)]
    urls: Vec<String>,
    bootstrap_token: String,
    #[serde(default)]
    expires_at_ms: Option<u64>,
    #[serde(default)]
    tls_fingerprint: Option<String>,
}

impl SetupCode {
    /// Reads a code.
    ///
    /// # Errors
    ///
    /// What is wrong with it, in words; never what stands in it.
    pub(super) fn read(code: &str, now_ms: u64) -> Result<Self, &'static str> {
        let code = code.trim();
        let code = code.strip_prefix("oc-pair://").unwrap_or(code);
        if code.len() > LONGEST {
            return Err("it is too long");
        }
        let json = BASE64.decode(code).map_err(|_| "it is not base64url; copy the whole code")?;
        let content: Content = serde_json::from_slice(&json)
            .map_err(|_| "it holds no url and bootstrapToken; copy the whole code")?;
        if content.expires_at_ms.is_some_and(|at| at <= now_ms) {
            return Err("it has expired; ask the gateway for a new one");
        }
        if content.bootstrap_token.trim().is_empty() {
            return Err("its bootstrapToken is empty");
        }
        let mut urls = vec![content.url];
        for url in content.urls.into_iter().take(MOST_URLS) {
            if !urls.contains(&url) {
                urls.push(url);
            }
        }
        Ok(Self { urls, token: Secret::new(content.bootstrap_token), fingerprint: content.tls_fingerprint })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::{Value, json};

    use super::*;

    fn code(content: &Value) -> String {
        BASE64.encode(content.to_string())
    }

    #[test]
    fn a_code_names_the_gateway_and_what_to_show_there() {
        let content = json!({"url": "wss://a", "urls": ["wss://a", "ws://b"], "bootstrapToken": "t", "expiresAtMs": 9,
            "tlsFingerprint": "ff", "more": 1});
        for text in [code(&content), format!(" oc-pair://{}\n", code(&content).trim_end_matches('='))] {
            let read = SetupCode::read(&text, 8).unwrap();
            assert_eq!(read.urls, ["wss://a", "ws://b"]);
            assert_eq!((read.token.expose(), read.fingerprint.as_deref()), ("t", Some("ff")));
        }
    }

    #[test]
    fn what_is_no_code_is_refused_without_being_repeated() {
        let good = json!({"url": "wss://a", "bootstrapToken": "canary"});
        for text in [
            String::new(),
            "not base64!".to_owned(),
            BASE64.encode("canary"),
            code(&json!({"url": "wss://a"})),
            code(&json!({"url": "wss://a", "bootstrapToken": " "})),
            code(&json!({"url": "wss://a", "bootstrapToken": "canary", "expiresAtMs": 5})),
            "a".repeat(20_000),
        ] {
            let problem = SetupCode::read(&text, 5).unwrap_err();
            assert!(!problem.contains("canary"), "{problem}");
        }
        assert!(SetupCode::read(&code(&good), 5).is_ok());
    }
}
