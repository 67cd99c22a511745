//! Which endpoint a request means, and what its head says (spec 04 §1.2, §16).

use telson_proto::Scope;

use super::ApiSettings;
use super::errors::Spelling;
use crate::http::HttpRequest;
use crate::limits;

/// An endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    Chat,
    Responses,
    Embeddings,
    Models,
    /// One model; its id before percent-decoding.
    Model(String),
    Invoke,
    /// The history of a session; its key before percent-decoding.
    History(String),
    /// The end of a session's runs; its key before percent-decoding.
    Kill(String),
}

impl Route {
    /// The endpoint at a path, compared before percent-decoding; `None` when there is none.
    pub(super) fn of(path: &str) -> Option<Self> {
        match path {
            "/v1/chat/completions" => return Some(Self::Chat),
            "/v1/responses" => return Some(Self::Responses),
            "/v1/embeddings" => return Some(Self::Embeddings),
            "/v1/models" => return Some(Self::Models),
            "/tools/invoke" => return Some(Self::Invoke),
            _ => {}
        }
        if let Some(id) = path.strip_prefix("/v1/models/").filter(|id| !id.is_empty()) {
            return Some(Self::Model(id.to_owned()));
        }
        let (key, action) = path.strip_prefix("/sessions/")?.split_once('/')?;
        match action {
            _ if key.is_empty() => None,
            "history" => Some(Self::History(key.to_owned())),
            "kill" => Some(Self::Kill(key.to_owned())),
            _ => None,
        }
    }

    /// Whether the endpoint exists in this configuration.
    pub(super) fn is_on(&self, settings: &ApiSettings) -> bool {
        match self {
            Self::Chat => settings.chat.enabled,
            Self::Responses => settings.responses.enabled,
            Self::Embeddings | Self::Models | Self::Model(_) => {
                settings.chat.enabled || settings.responses.enabled
            }
            Self::Invoke | Self::History(_) | Self::Kill(_) => true,
        }
    }

    /// The one method that it knows.
    pub(super) const fn method(&self) -> &'static str {
        match self {
            Self::Models | Self::Model(_) | Self::History(_) => "GET",
            Self::Chat | Self::Responses | Self::Embeddings | Self::Invoke | Self::Kill(_) => "POST",
        }
    }

    /// The scope that a caller must hold (spec 04 §2.5).
    pub(super) const fn scope(&self) -> Scope {
        match self {
            Self::Models | Self::Model(_) | Self::History(_) => Scope::Read,
            Self::Chat | Self::Responses | Self::Embeddings | Self::Invoke | Self::Kill(_) => Scope::Write,
        }
    }

    /// How it spells its errors.
    pub(super) const fn spelling(&self) -> Spelling {
        match self {
            Self::Invoke | Self::History(_) | Self::Kill(_) => Spelling::Ok,
            _ => Spelling::OpenAi,
        }
    }

    /// The largest body in bytes; `None` for an endpoint that reads none.
    pub(super) fn body_limit(&self, settings: &ApiSettings) -> Option<usize> {
        match self {
            Self::Chat => Some(settings.chat.max_body),
            Self::Responses => Some(settings.responses.max_body),
            Self::Embeddings => Some(limits::length(limits::EMBEDDINGS_BODY_BYTES)),
            Self::Invoke => Some(limits::length(limits::INVOKE_BODY_BYTES)),
            Self::Models | Self::Model(_) | Self::History(_) | Self::Kill(_) => None,
        }
    }
}

/// What is kept of a request's head. The secret is not.
#[derive(Clone, Debug)]
pub(super) struct Head {
    pub(super) route: Route,
    query: Option<String>,
    headers: Vec<(String, String)>,
    /// Whether headers of the older systems count too.
    legacy: bool,
}

impl Head {
    pub(super) fn new(route: Route, request: HttpRequest, legacy: bool) -> Self {
        let ours = |name: &str| PREFIXES.iter().any(|prefix| name.starts_with(prefix)) || name == "accept";
        let headers = request.headers.into_iter().filter(|(name, _)| ours(name)).collect();
        Self { route, query: request.query, headers, legacy }
    }

    /// The header `x-openclaw-<name>`, trimmed; `None` when it is absent or blank.
    pub(super) fn openclaw(&self, name: &str) -> Option<&str> {
        let known = if self.legacy { &PREFIXES[..] } else { &PREFIXES[..1] };
        known.iter().find_map(|prefix| {
            let found = self.headers.iter().find(|(header, _)| header.strip_prefix(prefix) == Some(name));
            found.map(|(_, value)| value.trim()).filter(|value| !value.is_empty())
        })
    }

    /// Whether the client asks for server-sent events.
    pub(super) fn wants_events(&self) -> bool {
        self.headers.iter().any(|(name, value)| name == "accept" && value.contains("text/event-stream"))
    }

    /// A parameter of the query, decoded.
    pub(super) fn query(&self, name: &str) -> Option<String> {
        let pairs = self.query.as_deref()?.split('&').filter_map(|pair| pair.split_once('='));
        pairs.filter(|(found, _)| *found == name).find_map(|(_, value)| percent_decoded(value))
    }
}

/// The prefixes of headers, ours first.
const PREFIXES: [&str; 3] = ["x-openclaw-", "x-clawdbot-", "x-moltbot-"];

/// Percent-decodes once. `None` when an escape is broken, the bytes are no UTF-8, or a control character comes out.
pub(crate) fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            byte => byte,
        });
    }
    let decoded = String::from_utf8(bytes).ok()?;
    (!decoded.chars().any(char::is_control)).then_some(decoded)
}
