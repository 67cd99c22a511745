//! The agents and the models that they may use (spec 02 §15).
//!
//! The catalogue is the built-in `echo` and the models of the configured providers. Which model a run uses is
//! decided here: the session's choice, else the agent's, else the configured default.

mod catalogue;
mod methods;

#[cfg(test)]
mod tests;

use telson_proto::ErrorShape;

use crate::gateway::Gateway;
use crate::ids::{AgentId, SessionKey};
use crate::providers::known;
use crate::sessions::SessionEntry;
use crate::settings::{AgentSettings, ModelRef, Settings};

use catalogue::Model;

pub(crate) use methods::{identity, list, models};

/// The agents and the catalogue. See the [module documentation](self).
pub struct Agents {
    settings: AgentSettings,
    models: Vec<Model>,
    /// Providers whose configuration names no models: they take any.
    open_providers: Vec<String>,
}

impl Agents {
    /// The agents of a configuration.
    pub(crate) fn new(settings: &Settings) -> Self {
        let open = settings.providers.iter().filter(|provider| provider.takes_any());
        Self {
            settings: settings.agents.clone(),
            models: catalogue::of(settings),
            open_providers: open.map(|provider| provider.id.clone()).collect(),
        }
    }

    /// The model of agents and sessions that have chosen none.
    pub(crate) fn default_model(&self) -> &ModelRef {
        &self.settings.model
    }

    /// The model that the next run of an agent uses in a session: the session's choice, else the agent's, else
    /// the default. A choice that the configuration no longer offers is passed over.
    pub(crate) fn model_of(&self, agent: &AgentId, entry: Option<&SessionEntry>) -> ModelRef {
        let chosen = entry.and_then(|entry| {
            let model = entry.model_override.clone()?;
            let provider =
                entry.provider_override.clone().unwrap_or_else(|| self.settings.model.provider.clone());
            Some(ModelRef { provider, model }).filter(|model| self.offers(model))
        });
        let profile = self.settings.list.iter().find(|profile| profile.id == *agent);
        let own = || profile.and_then(|profile| profile.model.clone());
        chosen.or_else(own).unwrap_or_else(|| self.settings.model.clone())
    }

    /// The context of a model in tokens: the configured one, else the catalogue's.
    pub(crate) fn context_tokens(&self, model: &ModelRef) -> Option<u64> {
        self.settings.context_tokens.or_else(|| self.model(model).map(|model| model.context_window))
    }

    /// Whether a model thinks before it answers.
    pub(crate) fn reasons(&self, model: &ModelRef) -> bool {
        self.model(model).is_some_and(|model| model.reasoning)
    }

    /// Whether a model knows the thinking level `xhigh` [C-34].
    pub(crate) fn can_xhigh(&self, model: &ModelRef) -> bool {
        let known = || known::model(&model.provider, &model.model).is_some_and(|model| model.xhigh);
        self.model(model).is_some_and(|model| model.xhigh) || known()
    }

    /// The models that know the thinking level `xhigh`, for the error text.
    pub(crate) fn xhigh_models(&self) -> String {
        let own = self.models.iter().filter(|model| model.xhigh).map(|model| model.reference.to_string());
        let mut names: Vec<String> = known::xhigh().collect();
        names.extend(own.filter(|own| !names.contains(own)).collect::<Vec<_>>());
        match names.split_last() {
            Some((last, first)) if !first.is_empty() => format!("{} or {last}", first.join(", ")),
            _ => names.concat(),
        }
    }

    /// Who is asked when the model of an agent cannot answer.
    pub(crate) fn fallbacks_of(&self, agent: &AgentId) -> &[ModelRef] {
        let profile = self.settings.list.iter().find(|profile| profile.id == *agent);
        let own = profile.and_then(|profile| profile.fallbacks.as_ref());
        own.unwrap_or(&self.settings.fallbacks)
    }

    /// The thinking level of a session that has chosen none (spec 02 §19.3).
    pub(crate) fn thinking_default(&self, model: &ModelRef) -> String {
        let chosen = self.settings.model_thinking.iter().find(|(other, _)| other == model);
        let chosen = chosen.map(|(_, level)| level).or(self.settings.thinking_default.as_ref());
        let own = if self.reasons(model) { "low" } else { "off" };
        match chosen.map(String::as_str) {
            // A level that is meant for other models too.
            Some("xhigh") if !self.can_xhigh(model) => "high".to_owned(),
            Some(level) => level.to_owned(),
            None => own.to_owned(),
        }
    }

    /// The model that a person means: an alias, `model` or `provider/model`.
    ///
    /// # Errors
    ///
    /// `invalid model: …` for what names none, `model not allowed: …` for what the configuration does not
    /// offer (spec 02 §14.4).
    pub(crate) fn choose(&self, text: &str) -> Result<ModelRef, ErrorShape> {
        let text = text.trim();
        if text.is_empty() {
            return Err(ErrorShape::invalid("invalid model: empty"));
        }
        let aliased = self
            .settings
            .allowed_models
            .iter()
            .find(|(_, alias)| alias.as_deref().is_some_and(|alias| alias.eq_ignore_ascii_case(text)));
        if let Some((model, _)) = aliased {
            return Ok(model.clone());
        }
        let model = match text.contains('/') {
            true => ModelRef::parse(text)
                .map(|model| ModelRef { provider: known::provider_id(&model.provider), ..model }),
            false => Some(self.by_bare_name(text)),
        };
        let model = model.ok_or_else(|| ErrorShape::invalid(format!("invalid model: {text}")))?;
        if self.offers(&model) {
            Ok(model)
        } else {
            Err(ErrorShape::invalid(format!("model not allowed: {model}")))
        }
    }

    /// A model without its provider: the default provider's, else the first of that name.
    fn by_bare_name(&self, name: &str) -> ModelRef {
        let own = ModelRef { provider: self.settings.model.provider.clone(), model: name.to_owned() };
        if self.offers(&own) {
            return own;
        }
        let other = self.models.iter().find(|model| model.reference.model == name);
        other.map_or(own, |model| model.reference.clone())
    }

    /// Whether a run can use the model: a provider has it and the list of allowed models does not forbid it.
    pub(crate) fn offers(&self, model: &ModelRef) -> bool {
        let exists = self.model(model).is_some() || self.open_providers.contains(&model.provider);
        exists && self.allows(model)
    }

    fn allows(&self, model: &ModelRef) -> bool {
        let allowed = &self.settings.allowed_models;
        allowed.is_empty() || *model == self.settings.model || allowed.iter().any(|(other, _)| other == model)
    }

    fn model(&self, model: &ModelRef) -> Option<&Model> {
        self.models.iter().find(|other| other.reference == *model)
    }
}

impl Gateway {
    /// The model that the next run of a session uses.
    pub(crate) fn model_of(&self, key: &SessionKey) -> ModelRef {
        let agent = self.sessions.rules().agent_of(key);
        self.agents.model_of(&agent, self.sessions.entry(key))
    }

    /// The model that lists show for a session: the one chosen for it, else the last run's, else the one that
    /// the next run uses.
    pub(crate) fn shown_model(&self, key: &SessionKey, entry: &SessionEntry) -> ModelRef {
        let last = entry.model_provider.clone().zip(entry.model.clone());
        match last.filter(|_| entry.model_override.is_none()) {
            Some((provider, model)) => ModelRef { provider, model },
            None => self.agents.model_of(&self.sessions.rules().agent_of(key), Some(entry)),
        }
    }
}
