//! `/model` and `/models`.

use std::fmt::Write as _;

use serde_json::{Value, json};
use telson_proto::ErrorShape;
use telson_proto::session::ModelChoice;

use crate::agents::Agents;
use crate::gateway::Gateway;
use crate::settings::ModelRef;

use super::{Caller, Done};

/// At most so many models are shown.
const MOST_SHOWN: usize = 50;

/// `/model`: shows the model and the choices, or chooses one through `sessions.patch`.
pub(super) fn model(gateway: &Gateway, caller: &Caller<'_>, word: &str) -> Result<Done, ErrorShape> {
    if matches!(word, "" | "list" | "status") {
        let current = gateway.model_of(caller.key);
        let choices = listed(&gateway.agents.allowed_choices(), None);
        return Ok(Done::says(format!(
            "Model: {current}\n{choices}\nChoose with /model and a number, an alias, provider/model or a part of \
             a name; /model default leaves the choice to the agent."
        )));
    }
    let value = match word {
        "default" => Value::Null,
        _ => gateway.agents.meant(word)?.to_string().into(),
    };
    let entry = gateway.patched_for(caller.principal, caller.key, json!({"model": value}))?;
    let agent = gateway.sessions.rules().agent_of(caller.key);
    let model = gateway.agents.model_of(&agent, Some(&entry));
    let default = if entry.model_override.is_none() { ", the default" } else { "" };
    Ok(Done::leaves(entry, format!("Model set to {model}{default}.")))
}

/// `/models`: the models, of one provider or of all.
pub(super) fn models(gateway: &Gateway, _: &Caller<'_>, provider: &str) -> Result<Done, ErrorShape> {
    let provider = (!provider.is_empty()).then(|| provider.to_lowercase());
    Ok(Done::says(listed(&gateway.agents.allowed_choices(), provider.as_deref())))
}

/// The choices with the numbers by which `/model` knows them.
fn listed(choices: &[ModelChoice], provider: Option<&str>) -> String {
    let mut text = "Models:".to_owned();
    let of = |choice: &ModelChoice| provider.is_none_or(|provider| choice.provider == provider);
    let shown: Vec<(usize, &ModelChoice)> =
        choices.iter().enumerate().filter(|(_, choice)| of(choice)).collect();
    for (place, choice) in shown.iter().take(MOST_SHOWN) {
        let alias = choice.alias.as_ref().map(|alias| format!(" ({alias})")).unwrap_or_default();
        let _ = write!(text, "\n{}. {}/{}{alias}", place + 1, choice.provider, choice.id);
    }
    match shown.len() {
        0 => text.push_str(" none"),
        count if count > MOST_SHOWN => _ = write!(text, "\nand {} more", count - MOST_SHOWN),
        _ => {}
    }
    text
}

impl Agents {
    /// The model that a person means by a word after `/model`: a number of the list, what `sessions.patch`
    /// takes, or a part of one model's name.
    ///
    /// # Errors
    ///
    /// The word fits none, or several.
    fn meant(&self, word: &str) -> Result<ModelRef, ErrorShape> {
        let choices = self.allowed_choices();
        let place = word.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
        if let Some(choice) = place.and_then(|place| choices.get(place)) {
            return Ok(reference(choice));
        }
        if let Some(model) = self.named(word) {
            return Ok(model);
        }
        let wanted = folded(word);
        let fits = |choice: &&ModelChoice| {
            let alias = choice.alias.as_deref().unwrap_or_default();
            let full = format!("{}/{}", choice.provider, choice.id);
            [full.as_str(), &choice.name, alias].iter().any(|name| folded(name).contains(&wanted))
        };
        let fitting: Vec<&ModelChoice> = choices.iter().filter(fits).collect();
        match fitting.as_slice() {
            _ if wanted.is_empty() => self.choose(word),
            [one] => Ok(reference(one)),
            [] => self
                .choose(word)
                .map_err(|error| ErrorShape::invalid(format!("{}; /models lists the models", error.message))),
            many => {
                let names: Vec<String> =
                    many.iter().take(10).map(|choice| reference(choice).to_string()).collect();
                Err(ErrorShape::invalid(format!("{word} fits several models: {}", names.join(", "))))
            }
        }
    }

    /// The model that a word names without doubt: an alias, `provider/model`, or the id of a listed model. A
    /// word that could be any model of a provider without a list names none.
    pub(crate) fn named(&self, word: &str) -> Option<ModelRef> {
        if word.contains('/') {
            return self.choose(word).ok();
        }
        let choices = self.allowed_choices();
        let is = |name: &str| name.eq_ignore_ascii_case(word);
        let named = choices.iter().any(|choice| is(&choice.id) || choice.alias.as_deref().is_some_and(is));
        if named { self.choose(word).ok() } else { None }
    }
}

fn reference(choice: &ModelChoice) -> ModelRef {
    ModelRef { provider: choice.provider.clone(), model: choice.id.clone() }
}

/// A name without what people leave out when they type it.
fn folded(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric() || *c == '/').flat_map(char::to_lowercase).collect()
}
