//! Model servers and what is known of their models.

use std::time::Duration;

use crate::auth::Secret;

/// A model of a provider: `provider/model`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ModelRef {
    /// The provider's id, lower case.
    pub provider: String,
    /// The model's id at that provider; may contain slashes.
    pub model: String,
}

impl ModelRef {
    /// The built-in model that repeats the user's words.
    pub fn echo() -> Self {
        Self { provider: "echo".to_owned(), model: "echo".to_owned() }
    }

    /// Reads `provider/model`.
    pub fn parse(text: &str) -> Option<Self> {
        let (provider, model) = text.trim().split_once('/')?;
        let usable = !provider.is_empty() && !model.is_empty();
        usable.then(|| Self { provider: provider.to_ascii_lowercase(), model: model.to_owned() })
    }
}

impl std::fmt::Display for ModelRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.provider, self.model)
    }
}

/// What a model server speaks (`models.providers.<id>.api`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    /// OpenAI's chat completions, which most servers speak.
    OpenAiChat,
    /// OpenAI's responses.
    OpenAiResponses,
    /// Anthropic's messages.
    Anthropic,
    /// Ollama's own chat.
    Ollama,
}

impl Api {
    /// Every API that the gateway speaks.
    pub const ALL: [Self; 4] = [Self::OpenAiChat, Self::OpenAiResponses, Self::Anthropic, Self::Ollama];

    /// The configured word, which transcripts repeat.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OpenAiChat => "openai-completions",
            Self::OpenAiResponses => "openai-responses",
            Self::Anthropic => "anthropic-messages",
            Self::Ollama => "ollama",
        }
    }

    /// Reads the configured word; `openai` is an old name of the chat completions.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "openai" => Some(Self::OpenAiChat),
            other => Self::ALL.into_iter().find(|api| api.as_str() == other),
        }
    }
}

/// A model provider (`models.providers.<id>`).
#[derive(Clone, Debug)]
pub struct ProviderSettings {
    /// Its id, lower case.
    pub id: String,
    /// What it speaks.
    pub api: Api,
    /// Where it is, such as `https://host/v1`, without a trailing slash.
    pub base_url: String,
    /// Its only key; what `profiles` holds goes before it.
    pub api_key: Option<Secret>,
    /// Whether the key goes into an `Authorization: Bearer` header. Otherwise Anthropic's API gets it as
    /// `x-api-key`; the others find theirs in `headers`.
    pub auth_header: bool,
    /// Further headers.
    pub headers: Vec<(String, String)>,
    /// Its models.
    pub models: Vec<ModelSettings>,
    /// Whether it takes models that are not listed.
    pub open: bool,
    /// Keys in the order in which they are tried.
    pub profiles: Vec<AuthProfile>,
    /// Where its key is looked for, when it needs one: variables of the environment.
    pub key_variables: &'static [&'static str],
}

impl ProviderSettings {
    /// A server of chat completions without key and models; it takes any model.
    pub fn new(id: impl Into<String>, base_url: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            api: Api::OpenAiChat,
            base_url: base_url.into(),
            api_key: None,
            auth_header: true,
            headers: Vec::new(),
            models: Vec::new(),
            open: false,
            profiles: Vec::new(),
            key_variables: &[],
        }
    }

    /// What is known of a model.
    pub fn model(&self, id: &str) -> Option<&ModelSettings> {
        self.models.iter().find(|model| model.id == id)
    }

    /// The key that is tried first, if there is one.
    pub fn first_key(&self) -> Option<&Secret> {
        self.profiles.first().map(|profile| &profile.secret).or(self.api_key.as_ref())
    }

    /// Whether models may be asked for that are not listed.
    pub fn takes_any(&self) -> bool {
        self.open || self.models.is_empty()
    }

    /// Whether it cannot be asked for want of a key.
    pub fn lacks_key(&self) -> bool {
        let found = self.first_key().is_some() || !self.headers.is_empty();
        !found && !self.key_variables.is_empty()
    }
}

/// A key of a provider (`auth.profiles.<id>`).
#[derive(Clone, Debug)]
pub struct AuthProfile {
    /// Its id, such as `anthropic:work`.
    pub id: String,
    /// How the key is presented.
    pub mode: KeyMode,
    /// The key.
    pub secret: Secret,
}

/// How a key is presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyMode {
    /// As the API presents keys.
    ApiKey,
    /// As a bearer token.
    Token,
}

/// A model (`models.providers.<id>.models[]`).
#[derive(Clone, Debug)]
pub struct ModelSettings {
    /// Its id at the provider.
    pub id: String,
    /// The name to show.
    pub name: String,
    /// What it is spoken to with, when that is not the provider's API.
    pub api: Option<Api>,
    /// Whether it thinks before it answers.
    pub reasoning: bool,
    /// Whether it knows the thinking level `xhigh` [C-34].
    pub xhigh: bool,
    /// Whether it sees images.
    pub images: bool,
    /// Whether it calls tools.
    pub tools: bool,
    /// Its context window in tokens.
    pub context_window: u64,
    /// The most tokens of an answer; 0 leaves it to the server.
    pub max_tokens: u64,
    /// Spell the token limit `max_completion_tokens` instead of `max_tokens`.
    pub max_completion_tokens: bool,
    /// What it costs, if that is known.
    pub prices: Option<Prices>,
}

impl ModelSettings {
    /// A model of which only the id is known.
    pub fn new(id: impl Into<String>) -> Self {
        let id = id.into();
        Self {
            name: id.clone(),
            id,
            api: None,
            reasoning: false,
            xhigh: false,
            images: false,
            tools: true,
            context_window: 200_000,
            max_tokens: 8_192,
            max_completion_tokens: false,
            prices: None,
        }
    }
}

/// What a million tokens cost, in US dollars.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Prices {
    /// Of the prompt.
    pub input: f64,
    /// Of the answer.
    pub output: f64,
    /// Of what the prompt takes from the provider's cache.
    pub cache_read: f64,
    /// Of what the prompt puts there.
    pub cache_write: f64,
}

/// How long a key rests after a bill that is not paid (`auth.cooldowns`).
#[derive(Clone, Debug)]
pub struct CooldownSettings {
    /// The first rest; each further one is twice as long.
    pub billing: Duration,
    /// The same for some providers.
    pub billing_by_provider: Vec<(String, Duration)>,
    /// The longest rest.
    pub billing_max: Duration,
    /// Failures that are older do not count any more.
    pub window: Duration,
}

impl Default for CooldownSettings {
    fn default() -> Self {
        const HOUR: u64 = 3_600;
        Self {
            billing: Duration::from_secs(5 * HOUR),
            billing_by_provider: Vec::new(),
            billing_max: Duration::from_secs(24 * HOUR),
            window: Duration::from_secs(24 * HOUR),
        }
    }
}
