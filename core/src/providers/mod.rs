//! Model providers: from a turn of a conversation to a stream of words.
//!
//! A stream is a small machine of its own. It asks for an outbound request or for time, is told what became
//! of it, and says what the model says. It ends with exactly one `ModelEvent::Done` or
//! `ModelEvent::Failed`; afterwards it says nothing more.

mod answer;
mod anthropic;
mod choice;
mod conversation;
mod cooldown;
mod cost;
mod echo;
mod error;
mod failure;
pub mod known;
mod lines;
mod ollama;
mod openai_chat;
mod openai_responses;
pub(crate) mod request;
pub(crate) mod sse;
mod target;
mod wire;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::fetch::{FetchEvent, FetchRequest};
use crate::settings::{Api, AuthProfile, ModelRef, ProviderSettings, Settings};

pub(crate) use choice::{Candidate, Chain};
pub(crate) use cooldown::Resting;
pub(crate) use cost::Cost;
pub(crate) use error::{ErrorKind, Fault, ModelError};

use answer::Answer;
use cooldown::Cooldowns;
use echo::Echo;
use request::{ModelRequest, ToolCall};
use target::Target;
use wire::{Dialect, HttpStream};

/// The providers that are configured, and who of them rests. The built-in `echo` is always there.
pub struct Providers {
    by_id: BTreeMap<String, Arc<ProviderSettings>>,
    cooldowns: Cooldowns,
}

/// Whether a model can be asked now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Availability {
    Ready,
    /// Its provider has no key.
    MissingKey,
    /// No key is accepted, or none that is paid for; until then on the monotonic clock.
    KeysRefused(Duration),
    /// It has failed; until then on the monotonic clock.
    Cooldown(Duration),
}

impl Providers {
    pub(crate) fn new(settings: &Settings) -> Self {
        let by_id = settings.providers.iter().map(|p| (p.id.clone(), Arc::new(p.clone()))).collect();
        Self { by_id, cooldowns: Cooldowns::new(settings.cooldowns.clone()) }
    }

    /// Who is asked a question that goes to `primary`, or else to one of `fallbacks`, in this order.
    pub(crate) fn chain(&self, now: Duration, primary: &ModelRef, fallbacks: &[ModelRef]) -> Chain {
        let mut all: Vec<Candidate> = Vec::new();
        for model in std::iter::once(primary).chain(fallbacks) {
            let fresh =
                self.candidates(model).into_iter().filter(|one| !all.contains(one)).collect::<Vec<_>>();
            all.extend(fresh);
        }
        let awake = |one: &&Candidate| self.cooldowns.resting(now, one).is_none();
        let ready: Vec<Candidate> = all.iter().filter(awake).cloned().collect();
        Chain::new(if ready.is_empty() { all } else { ready })
    }

    /// A model with each key of its provider.
    fn candidates(&self, model: &ModelRef) -> Vec<Candidate> {
        let profiles = self.by_id.get(&model.provider).map(|provider| provider.profiles.as_slice());
        match profiles.unwrap_or_default() {
            [] => vec![Candidate::from(model)],
            profiles => profiles
                .iter()
                .map(|profile| Candidate { model: model.clone(), profile: Some(profile.id.clone()) })
                .collect(),
        }
    }

    /// A candidate has failed: it, or whoever would fail in the same way, rests.
    pub(crate) fn failed(&mut self, now: Duration, candidate: &Candidate, error: &ModelError) {
        self.cooldowns.failed(now, candidate, error);
    }

    /// A candidate has answered.
    pub(crate) fn worked(&mut self, candidate: &Candidate) {
        self.cooldowns.worked(candidate);
    }

    /// Whether a model can be asked now.
    pub(crate) fn availability(&self, now: Duration, model: &ModelRef) -> Availability {
        if self.by_id.get(&model.provider).is_some_and(|provider| provider.lacks_key()) {
            return Availability::MissingKey;
        }
        let resting = |one: &Candidate| self.cooldowns.resting(now, one);
        let rests: Option<Vec<Resting>> = self.candidates(model).iter().map(resting).collect();
        // The first key that wakes makes it available again.
        match rests.into_iter().flatten().min_by_key(|rest| rest.until) {
            None => Availability::Ready,
            Some(Resting { until, fault: Fault::Key | Fault::Billing }) => Availability::KeysRefused(until),
            Some(Resting { until, .. }) => Availability::Cooldown(until),
        }
    }

    /// What an answer of a model costs; `None` when its prices are not known.
    pub(crate) fn cost(&self, model: &ModelRef, usage: &Usage) -> Option<Cost> {
        if *model == ModelRef::echo() {
            return Some(Cost::default());
        }
        let prices = self.by_id.get(&model.provider)?.model(&model.model)?.prices?;
        Some(Cost::of(&prices, usage))
    }

    /// Begins an answer of a candidate; with it comes the outbound request to make, if one is needed. A model
    /// alone is asked with the first key that does not rest.
    ///
    /// # Errors
    ///
    /// The provider is not configured, or has no key.
    pub(crate) fn start(
        &self,
        now: Duration,
        candidate: impl Into<Candidate>,
        request: &ModelRequest,
    ) -> Result<(ModelStream, Option<FetchRequest>), ModelError> {
        let Candidate { model, profile } = candidate.into();
        let provider = match self.by_id.get(&model.provider) {
            Some(provider) => provider,
            None if model.provider == "echo" => {
                return Ok((ModelStream::Echo(Echo::new(now, request)), None));
            }
            None => return Err(self.unknown(&model)),
        };
        if provider.lacks_key() {
            return Err(missing_key(provider));
        }
        let profile = match profile {
            Some(id) => provider.profiles.iter().find(|profile| profile.id == id),
            None => self.first_awake(now, &model, &provider.profiles),
        };
        let target = Target { provider, id: &model.model, model: provider.model(&model.model), profile };
        let answer = Answer::new(&provider.id, target.secret().cloned());
        let (dialect, fetch): (Box<dyn Dialect>, FetchRequest) = match target.api() {
            Api::OpenAiChat => boxed(openai_chat::start(target, request)),
            Api::OpenAiResponses => boxed(openai_responses::start(target, request)),
            Api::Anthropic => boxed(anthropic::start(target, request)),
            Api::Ollama => boxed(ollama::start(target, request)),
        };
        Ok((ModelStream::Http(Box::new(HttpStream::new(dialect, answer))), Some(fetch)))
    }

    fn first_awake<'a>(
        &self,
        now: Duration,
        model: &ModelRef,
        profiles: &'a [AuthProfile],
    ) -> Option<&'a AuthProfile> {
        let awake = profiles.iter().find(|profile| {
            let candidate = Candidate { model: model.clone(), profile: Some(profile.id.clone()) };
            self.cooldowns.resting(now, &candidate).is_none()
        });
        awake.or_else(|| profiles.first())
    }

    fn unknown(&self, model: &ModelRef) -> ModelError {
        let known: Vec<&str> = self.by_id.keys().map(String::as_str).chain(["echo"]).collect();
        let (provider, known) = (&model.provider, known.join(", "));
        let message = format!(
            "unknown model provider \"{provider}\" of {model}; configure models.providers.{provider} or use one of: {known}"
        );
        ModelError::new(ErrorKind::Unknown, message)
    }
}

fn boxed<D: Dialect + 'static>((dialect, fetch): (D, FetchRequest)) -> (Box<dyn Dialect>, FetchRequest) {
    (Box::new(dialect), fetch)
}

fn missing_key(provider: &ProviderSettings) -> ModelError {
    let (id, variables) = (&provider.id, provider.key_variables.join(" or "));
    let message = format!(
        "no key for the model provider \"{id}\": set {variables} in the gateway's environment, or models.providers.{id}.apiKey"
    );
    ModelError { status: Some(401), ..ModelError::new(ErrorKind::Unknown, message) }
}

/// An answer under way.
#[derive(Debug)]
pub(crate) enum ModelStream {
    Echo(Echo),
    Http(Box<HttpStream>),
}

impl ModelStream {
    /// The wire format that the transcript names as `api`.
    pub(crate) fn api(&self) -> &'static str {
        match self {
            Self::Echo(_) => "echo",
            Self::Http(stream) => stream.api(),
        }
    }

    /// Hears of its outbound request.
    pub(crate) fn fetched(&mut self, event: FetchEvent) -> Vec<ModelEvent> {
        match self {
            Self::Echo(_) => Vec::new(),
            Self::Http(stream) => stream.fetched(event),
        }
    }

    /// Does what is due by now.
    pub(crate) fn timeout(&mut self, now: Duration) -> Vec<ModelEvent> {
        match self {
            Self::Echo(echo) => echo.timeout(now),
            Self::Http(_) => Vec::new(),
        }
    }

    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        match self {
            Self::Echo(echo) => echo.next_deadline(),
            Self::Http(_) => None,
        }
    }
}

/// What a model says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ModelEvent {
    /// Further words of the answer.
    Text(String),
    /// Further words of the thoughts behind it.
    Thinking(String),
    /// The thoughts so far are complete, with the provider's proof of them.
    Signature(String),
    /// A tool is to be called: complete, and after the words that came before it.
    ToolCall(ToolCall),
    /// The answer is complete.
    Done { stop_reason: StopReason, usage: Option<Usage> },
    /// There is no answer, or only a part of one.
    Failed(ModelError),
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StopReason {
    /// The model had said everything.
    Stop,
    /// The limit on tokens was reached.
    Length,
    /// The model asks for a tool.
    ToolUse,
}

impl StopReason {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::ToolUse => "toolUse",
        }
    }
}

/// The tokens of one model call (spec 02 §6.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Tokens of the prompt, without those read from the cache.
    pub(crate) input: u64,
    pub(crate) output: u64,
    pub(crate) cache_read: u64,
    pub(crate) cache_write: u64,
    pub(crate) total: u64,
}

impl Usage {
    /// The tokens of two calls.
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            input: self.input.saturating_add(other.input),
            output: self.output.saturating_add(other.output),
            cache_read: self.cache_read.saturating_add(other.cache_read),
            cache_write: self.cache_write.saturating_add(other.cache_write),
            total: self.total.saturating_add(other.total),
        }
    }

    /// The size of the prompt, which is what fills a context window.
    pub(crate) fn prompt(&self) -> u64 {
        self.input.saturating_add(self.cache_read).saturating_add(self.cache_write)
    }
}
