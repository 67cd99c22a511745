//! Whom a question goes to: a provider, one of its models, and the key to show.

use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;

use crate::auth::Secret;
use crate::fetch::{FetchRequest, Reach};
use crate::settings::{Api, AuthProfile, KeyMode, ModelSettings, ProviderSettings};

/// How long connecting and the head of the answer may take: a local server reads a long prompt first.
const HEAD_TIMEOUT: Duration = Duration::from_secs(300);
/// How long the answer may pause.
const IDLE_TIMEOUT: Duration = Duration::from_secs(120);

/// Whom a question goes to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target<'a> {
    pub(super) provider: &'a ProviderSettings,
    /// The model's id at the provider.
    pub(super) id: &'a str,
    /// What is known of the model.
    pub(super) model: Option<&'a ModelSettings>,
    pub(super) profile: Option<&'a AuthProfile>,
}

impl Target<'_> {
    /// What the model is spoken to with.
    pub(super) fn api(&self) -> Api {
        self.model.and_then(|model| model.api).unwrap_or(self.provider.api)
    }

    /// The key to show, if any.
    pub(super) fn secret(&self) -> Option<&Secret> {
        self.profile.map(|profile| &profile.secret).or(self.provider.api_key.as_ref())
    }

    /// Whether the model sees images. One that nobody knows is taken to do so.
    pub(super) fn sees_images(&self) -> bool {
        self.model.is_none_or(|model| model.images)
    }

    /// Whether the model calls tools.
    pub(super) fn calls_tools(&self) -> bool {
        self.model.is_none_or(|model| model.tools)
    }

    /// Whether the model thinks before it answers. One that nobody knows does not.
    pub(super) fn reasons(&self) -> bool {
        self.model.is_some_and(|model| model.reasoning)
    }

    /// The most tokens of an answer: what was asked for, within what the model can.
    pub(super) fn max_tokens(&self, asked: Option<u64>) -> Option<u64> {
        let own = self.model.map(|model| model.max_tokens).filter(|tokens| *tokens > 0);
        match (asked.filter(|tokens| *tokens > 0), own) {
            (Some(asked), Some(own)) => Some(asked.min(own)),
            (asked, own) => asked.or(own),
        }
    }

    /// The effort of a model that thinks, in OpenAI's words; `off` leaves the choice to the model.
    pub(super) fn effort(&self, level: Option<&str>) -> Option<&'static str> {
        let model = self.model.filter(|model| model.reasoning)?;
        match level? {
            "minimal" => Some("minimal"),
            "low" => Some("low"),
            "medium" => Some("medium"),
            "xhigh" if model.xhigh => Some("xhigh"),
            "high" | "xhigh" => Some("high"),
            _ => None,
        }
    }

    /// The base URL without one of the endings that people write and the path brings along.
    pub(super) fn base(&self, endings: &[&str]) -> &str {
        let base = self.provider.base_url.trim_end_matches('/');
        endings.iter().find_map(|ending| base.strip_suffix(ending)).unwrap_or(base).trim_end_matches('/')
    }

    /// The request to make.
    pub(super) fn fetch(
        &self,
        url: String,
        accept: &str,
        own: Vec<(String, String)>,
        body: &Value,
    ) -> FetchRequest {
        let mut headers = vec![
            ("content-type".to_owned(), "application/json".to_owned()),
            ("accept".to_owned(), accept.to_owned()),
        ];
        headers.extend(own);
        let further = self.provider.headers.iter();
        headers.extend(further.map(|(name, value)| (name.to_ascii_lowercase(), value.clone())));
        FetchRequest {
            method: "POST",
            url,
            headers,
            body: serde_json::to_vec(body).map(Bytes::from).unwrap_or_default(),
            head_timeout: HEAD_TIMEOUT,
            idle_timeout: IDLE_TIMEOUT,
            reach: Reach::Anywhere,
        }
    }

    /// The key as a bearer token, where the provider takes it so.
    pub(super) fn bearer(&self) -> Vec<(String, String)> {
        let token = self.profile.is_some_and(|profile| profile.mode == KeyMode::Token);
        let key = self.secret().filter(|_| self.provider.auth_header || token);
        key.map(|key| ("authorization".to_owned(), format!("Bearer {}", key.expose()))).into_iter().collect()
    }
}
