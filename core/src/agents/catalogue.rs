//! The models: `echo` and those of the configured providers.

use std::time::Duration;

use telson_proto::session::{ModelChoice, ThinkingLevel};

use crate::providers::{Availability, Providers};
use crate::settings::{ModelRef, Settings};
use crate::time::Now;

use super::Agents;

/// `echo` forgets nothing that fits into one turn; the number only has to be some plausible size.
const ECHO_CONTEXT: u64 = 200_000;

/// A model.
#[derive(Clone, Debug)]
pub(super) struct Model {
    pub(super) reference: ModelRef,
    pub(super) name: String,
    pub(super) reasoning: bool,
    pub(super) images: bool,
    pub(super) context_window: u64,
    pub(super) xhigh: bool,
    pub(super) tools: bool,
    /// Whether the configuration lists it at its provider.
    pub(super) provided: bool,
}

/// Which models a list shows (spec 02 §20.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum View {
    /// Those that may be chosen.
    #[default]
    Default,
    /// Those that the agents' configuration names.
    Configured,
    /// Those of the configured providers.
    ProviderConfig,
    /// Every one.
    All,
}

/// Every model, by provider and then by name.
pub(super) fn of(settings: &Settings) -> Vec<Model> {
    let echo = Model {
        reference: ModelRef::echo(),
        name: "Echo (repeats your words; no model behind it)".to_owned(),
        reasoning: false,
        images: false,
        context_window: ECHO_CONTEXT,
        xhigh: false,
        tools: false,
        provided: false,
    };
    let configured = settings.providers.iter().flat_map(|provider| {
        provider.models.iter().map(|model| Model {
            reference: ModelRef { provider: provider.id.clone(), model: model.id.clone() },
            name: if model.name.is_empty() { model.id.clone() } else { model.name.clone() },
            reasoning: model.reasoning,
            images: model.images,
            context_window: model.context_window,
            xhigh: model.xhigh,
            tools: model.tools,
            provided: true,
        })
    });
    let mut models: Vec<Model> = std::iter::once(echo).chain(configured).collect();
    models.sort_by(|a, b| (&a.reference.provider, &a.name).cmp(&(&b.reference.provider, &b.name)));
    models
}

impl Agents {
    /// The catalogue as protocol 3 knows it.
    pub(super) fn choices(&self) -> Vec<ModelChoice> {
        self.models.iter().map(Model::choice).collect()
    }

    /// The models that may be chosen, with what protocol 4 adds.
    pub(crate) fn offered_choices(&self, providers: &Providers, now: Now) -> Vec<ModelChoice> {
        self.detailed_choices(View::Default, providers, now)
    }

    /// The models that may be chosen, with their aliases, whether they can be asked just now or not.
    pub(crate) fn allowed_choices(&self) -> Vec<ModelChoice> {
        let allowed = self.models.iter().filter(|model| self.allows(&model.reference));
        allowed.map(|model| ModelChoice { alias: self.alias(&model.reference), ..model.choice() }).collect()
    }

    /// The models of a view, with what protocol 4 adds.
    pub(super) fn detailed_choices(&self, view: View, providers: &Providers, now: Now) -> Vec<ModelChoice> {
        let shown = self.models.iter().filter(|model| match view {
            View::All => true,
            View::Default => self.allows(&model.reference),
            View::ProviderConfig => model.provided,
            View::Configured => self.names(&model.reference),
        });
        shown.map(|model| self.detailed(model, providers, now)).collect()
    }

    fn detailed(&self, model: &Model, providers: &Providers, now: Now) -> ModelChoice {
        let (reason, until) = match providers.availability(now.mono, &model.reference) {
            Availability::Ready => (None, None),
            Availability::MissingKey => (Some("missing-auth"), None),
            Availability::KeysRefused(until) => (Some("auth-failed"), Some(until)),
            Availability::Cooldown(until) => (Some("cooldown"), Some(until)),
        };
        let thinking_levels = self.thinking_levels(&model.reference);
        let wall = |until: Duration| {
            let rest = until.saturating_sub(now.mono).as_millis();
            now.wall.saturating_add(u64::try_from(rest).unwrap_or(u64::MAX))
        };
        ModelChoice {
            alias: self.alias(&model.reference),
            available: Some(self.allows(&model.reference) && reason.is_none()),
            unavailable_reason: reason,
            unavailable_until: until.map(wall),
            thinking_default: thinking_levels.as_ref().map(|_| self.thinking_default(&model.reference)),
            thinking_levels,
            supports_tools: Some(model.tools),
            ..model.choice()
        }
    }

    /// Whether the agents' configuration names the model.
    fn names(&self, model: &ModelRef) -> bool {
        let settings = &self.settings;
        let own = settings
            .list
            .iter()
            .flat_map(|profile| profile.model.iter().chain(profile.fallbacks.iter().flatten()));
        let listed = settings.allowed_models.iter().map(|(listed, _)| listed);
        let mut all = std::iter::once(&settings.model).chain(&settings.fallbacks).chain(own).chain(listed);
        all.any(|named| named == model)
    }

    fn alias(&self, model: &ModelRef) -> Option<String> {
        self.settings
            .allowed_models
            .iter()
            .find(|(other, _)| other == model)
            .and_then(|(_, alias)| alias.clone())
    }

    /// The levels of a model; `None` when it does not think.
    pub(super) fn thinking_levels(&self, model: &ModelRef) -> Option<Vec<ThinkingLevel>> {
        const LEVELS: [&str; 6] = ["off", "minimal", "low", "medium", "high", "xhigh"];
        let known = if self.can_xhigh(model) { LEVELS.len() } else { LEVELS.len() - 1 };
        let levels = LEVELS.into_iter().take(known).map(|id| ThinkingLevel { id, label: id });
        self.reasons(model).then(|| levels.collect())
    }
}

impl Model {
    fn choice(&self) -> ModelChoice {
        ModelChoice {
            id: self.reference.model.clone(),
            name: self.name.clone(),
            provider: self.reference.provider.clone(),
            alias: None,
            available: None,
            context_window: Some(self.context_window).filter(|window| *window > 0),
            reasoning: self.reasoning,
            unavailable_reason: None,
            unavailable_until: None,
            thinking_levels: None,
            thinking_default: None,
            supports_tools: None,
            input: if self.images { vec!["text", "image"] } else { vec!["text"] },
        }
    }
}
