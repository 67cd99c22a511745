//! What can be configured of the HTTP endpoints (`gateway.http`, `gateway.tools`, the embedding provider).

use std::time::Duration;

use crate::limits;

/// The MIME types of images that a request may bring.
pub const IMAGE_MIMES: [&str; 4] = ["image/jpeg", "image/png", "image/gif", "image/webp"];
/// The MIME types of files that a request may bring.
pub const FILE_MIMES: [&str; 5] =
    ["text/plain", "text/markdown", "text/html", "text/csv", "application/json"];

/// The settings of the HTTP endpoints.
#[derive(Clone, Debug)]
pub struct ApiSettings {
    /// `gateway.http.legacyNames`: header and model names of the older systems.
    pub legacy_names: bool,
    /// `gateway.http.endpoints.chatCompletions`.
    pub chat: EndpointSettings,
    /// `gateway.http.endpoints.responses`.
    pub responses: EndpointSettings,
    /// `gateway.http.endpoints.responses.files`.
    pub files: MediaSettings,
    /// `gateway.http.endpoints.responses.files.maxChars`: the longest text of a file in characters.
    pub file_chars: usize,
    /// `gateway.tools.allow`: tools taken off the deny-list of `/tools/invoke`.
    pub tools_allow: Vec<String>,
    /// `gateway.tools.deny`: tools put on it.
    pub tools_deny: Vec<String>,
    /// `agents.defaults.memorySearch.provider`: the model provider that makes embeddings, lower case.
    pub embedding_provider: Option<String>,
    /// `agents.defaults.memorySearch.model`: its embedding model.
    pub embedding_model: Option<String>,
}

/// The settings of one model endpoint.
#[derive(Clone, Debug)]
pub struct EndpointSettings {
    /// Whether it exists.
    pub enabled: bool,
    /// Whether model names that are no agents mean the default agent.
    pub accept_any_model: bool,
    /// The largest request body in bytes.
    pub max_body: usize,
    /// The most images and files of one request.
    pub max_parts: usize,
    /// The rules for images.
    pub images: MediaSettings,
}

/// The rules for what a request brings or names.
#[derive(Clone, Debug)]
pub struct MediaSettings {
    /// Whether it may be named by URL.
    pub allow_url: bool,
    /// The hosts from which it may be fetched, lower case: a name, or `*.suffix`; empty allows all public ones.
    pub url_allowlist: Vec<String>,
    /// Its MIME types, lower case.
    pub mimes: Vec<String>,
    /// The most bytes.
    pub max_bytes: usize,
    /// The most redirects of one fetch.
    pub max_redirects: usize,
    /// How long one fetch may take, all redirects together.
    pub timeout: Duration,
}

impl Default for ApiSettings {
    fn default() -> Self {
        let images = MediaSettings::new(&IMAGE_MIMES, limits::length(limits::API_IMAGE_BYTES));
        let endpoint = EndpointSettings {
            enabled: false,
            accept_any_model: false,
            max_body: limits::length(limits::CHAT_BODY_BYTES),
            max_parts: limits::length(limits::CHAT_IMAGES),
            images: MediaSettings { allow_url: false, ..images.clone() },
        };
        Self {
            legacy_names: true,
            responses: EndpointSettings {
                max_body: limits::length(limits::RESPONSES_BODY_BYTES),
                max_parts: limits::length(limits::RESPONSES_PARTS),
                images,
                ..endpoint.clone()
            },
            chat: endpoint,
            files: MediaSettings::new(&FILE_MIMES, limits::length(limits::API_FILE_BYTES)),
            file_chars: limits::length(limits::API_FILE_CHARS),
            tools_allow: Vec::new(),
            tools_deny: Vec::new(),
            embedding_provider: None,
            embedding_model: None,
        }
    }
}

impl MediaSettings {
    fn new(mimes: &[&str], max_bytes: usize) -> Self {
        Self {
            allow_url: true,
            url_allowlist: Vec::new(),
            mimes: mimes.iter().map(|mime| (*mime).to_owned()).collect(),
            max_bytes,
            max_redirects: 3,
            timeout: Duration::from_secs(10),
        }
    }
}
