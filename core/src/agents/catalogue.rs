//! The models: `echo` and those of the configured providers.

use telson_proto::session::{ModelChoice, ThinkingLevel};

use crate::settings::{ModelRef, Settings};

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
}

/// Every model, by provider and then by name.
pub(super) fn of(settings: &Settings) -> Vec<Model> {
    let echo = Model {
        reference: ModelRef::echo(),
        name: "Echo (repeats your words; no model behind it)".to_owned(),
        reasoning: false,
        images: false,
        context_window: ECHO_CONTEXT,
    };
    let configured = settings.providers.iter().flat_map(|provider| {
        provider.models.iter().map(|model| Model {
            reference: ModelRef { provider: provider.id.clone(), model: model.id.clone() },
            name: if model.name.is_empty() { model.id.clone() } else { model.name.clone() },
            reasoning: model.reasoning,
            images: model.images,
            context_window: model.context_window,
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

    /// The same with what protocol 4 adds, without models that are not allowed unless `all`.
    pub(crate) fn detailed_choices(&self, all: bool) -> Vec<ModelChoice> {
        let shown = self.models.iter().filter(|model| all || self.allows(&model.reference));
        let detailed = shown.map(|model| ModelChoice {
            alias: self.alias(&model.reference),
            available: Some(self.allows(&model.reference)),
            thinking_levels: self.thinking_levels(&model.reference),
            ..model.choice()
        });
        detailed.collect()
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
            thinking_levels: None,
            input: if self.images { vec!["text", "image"] } else { vec!["text"] },
        }
    }
}
