//! Providers and models that need no more than a key: where they are, what they speak, what is known of them.
//!
//! The numbers are those that the providers publish. Prices change; the configuration beats what stands here.

use crate::settings::{Api, ModelSettings, Prices};

/// A provider that needs no address in the configuration.
#[derive(Clone, Copy, Debug)]
pub struct KnownProvider {
    /// Its id.
    pub id: &'static str,
    /// What it speaks.
    pub api: Api,
    /// Where it is.
    pub base_url: &'static str,
    /// The variables of the environment that may hold its key, the first goes first; none when it needs no key.
    pub variables: &'static [&'static str],
}

const fn provider(
    id: &'static str,
    api: Api,
    base_url: &'static str,
    variables: &'static [&'static str],
) -> KnownProvider {
    KnownProvider { id, api, base_url, variables }
}

/// The variable whose value is not a key but a token of a subscription.
pub(crate) const TOKEN_VARIABLE: &str = "ANTHROPIC_OAUTH_TOKEN";

/// Every known provider, by id.
pub const PROVIDERS: &[KnownProvider] = &[
    provider(
        "anthropic",
        Api::Anthropic,
        "https://api.anthropic.com",
        &[TOKEN_VARIABLE, "ANTHROPIC_API_KEY"],
    ),
    provider("cerebras", Api::OpenAiChat, "https://api.cerebras.ai/v1", &["CEREBRAS_API_KEY"]),
    provider("deepseek", Api::OpenAiChat, "https://api.deepseek.com/v1", &["DEEPSEEK_API_KEY"]),
    provider(
        "google",
        Api::OpenAiChat,
        "https://generativelanguage.googleapis.com/v1beta/openai",
        &["GEMINI_API_KEY", "GOOGLE_API_KEY"],
    ),
    provider("groq", Api::OpenAiChat, "https://api.groq.com/openai/v1", &["GROQ_API_KEY"]),
    provider("mistral", Api::OpenAiChat, "https://api.mistral.ai/v1", &["MISTRAL_API_KEY"]),
    provider("moonshot", Api::OpenAiChat, "https://api.moonshot.ai/v1", &["MOONSHOT_API_KEY"]),
    provider("ollama", Api::Ollama, "http://127.0.0.1:11434", &[]),
    provider("openai", Api::OpenAiResponses, "https://api.openai.com/v1", &["OPENAI_API_KEY"]),
    provider("openrouter", Api::OpenAiChat, "https://openrouter.ai/api/v1", &["OPENROUTER_API_KEY"]),
    provider("together", Api::OpenAiChat, "https://api.together.xyz/v1", &["TOGETHER_API_KEY"]),
    provider(
        "vercel-ai-gateway",
        Api::OpenAiChat,
        "https://ai-gateway.vercel.sh/v1",
        &["AI_GATEWAY_API_KEY"],
    ),
    provider("xai", Api::OpenAiChat, "https://api.x.ai/v1", &["XAI_API_KEY"]),
    provider("zai", Api::OpenAiChat, "https://api.z.ai/api/paas/v4", &["ZAI_API_KEY", "Z_AI_API_KEY"]),
];

/// The known provider of this id.
pub(crate) fn find(id: &str) -> Option<&'static KnownProvider> {
    PROVIDERS.iter().find(|provider| provider.id == id)
}

/// A provider's id as the configuration spells it (spec 02 §15).
pub(crate) fn provider_id(text: &str) -> String {
    match text.to_ascii_lowercase().as_str() {
        "z.ai" | "z-ai" => "zai".to_owned(),
        other => other.to_owned(),
    }
}

/// A model: provider, id, name, context window and longest answer in thousands of tokens, what it
/// can, and what a million tokens cost: input, output, read from the cache, written to it.
struct KnownModel(&'static str, &'static str, &'static str, u64, u64, Can, Option<[f64; 4]>);

/// What a model can beside reading text and calling tools.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Can {
    Nothing,
    See,
    Think,
    SeeAndThink,
    /// The same, and longer still.
    SeeAndThinkHard,
}

use Can::{Nothing, See, SeeAndThink, SeeAndThinkHard, Think};

macro_rules! models {
    ($( $provider:literal $id:literal $name:literal, $window:literal, $answer:literal, $can:ident, $prices:expr; )*) => {
        /// Every known model, by provider.
        const MODELS: &[KnownModel] =
            &[ $( KnownModel($provider, $id, $name, $window, $answer, $can, $prices), )* ];
    };
}

models! {
    "anthropic" "claude-opus-4-5" "Claude Opus 4.5", 200, 64, SeeAndThink, Some([5.0, 25.0, 0.5, 6.25]);
    "anthropic" "claude-sonnet-4-5" "Claude Sonnet 4.5", 200, 64, SeeAndThink, Some([3.0, 15.0, 0.3, 3.75]);
    "anthropic" "claude-haiku-4-5" "Claude Haiku 4.5", 200, 64, SeeAndThink, Some([1.0, 5.0, 0.1, 1.25]);
    "deepseek" "deepseek-chat" "DeepSeek Chat", 128, 8, Nothing, None;
    "deepseek" "deepseek-reasoner" "DeepSeek Reasoner", 128, 64, Think, None;
    "google" "gemini-3-pro-preview" "Gemini 3 Pro", 1_000, 64, SeeAndThink, Some([2.0, 12.0, 0.2, 0.0]);
    "google" "gemini-3-flash-preview" "Gemini 3 Flash", 1_000, 64, SeeAndThink, Some([0.5, 3.0, 0.05, 0.0]);
    "google" "gemini-2.5-pro" "Gemini 2.5 Pro", 1_000, 64, SeeAndThink, Some([1.25, 10.0, 0.125, 0.0]);
    "google" "gemini-2.5-flash" "Gemini 2.5 Flash", 1_000, 64, SeeAndThink, Some([0.3, 2.5, 0.03, 0.0]);
    "mistral" "mistral-large-latest" "Mistral Large", 128, 16, See, None;
    "openai" "gpt-5.2" "GPT-5.2", 400, 128, SeeAndThinkHard, Some([1.75, 14.0, 0.175, 0.0]);
    "openai" "gpt-5.1" "GPT-5.1", 400, 128, SeeAndThink, Some([1.25, 10.0, 0.125, 0.0]);
    "openai" "gpt-5-mini" "GPT-5 mini", 400, 128, SeeAndThink, Some([0.25, 2.0, 0.025, 0.0]);
    "openai" "gpt-4.1" "GPT-4.1", 1_000, 32, See, Some([2.0, 8.0, 0.5, 0.0]);
    "openai" "gpt-4o" "GPT-4o", 128, 16, See, Some([2.5, 10.0, 1.25, 0.0]);
    "openai" "gpt-4o-mini" "GPT-4o mini", 128, 16, See, Some([0.15, 0.6, 0.075, 0.0]);
    "openai-codex" "gpt-5.2-codex" "GPT-5.2 Codex", 400, 128, SeeAndThinkHard, None;
    "openai-codex" "gpt-5.1-codex" "GPT-5.1 Codex", 400, 128, SeeAndThinkHard, None;
    "xai" "grok-4" "Grok 4", 256, 64, SeeAndThink, None;
    "zai" "glm-4.7" "GLM-4.7", 200, 128, Think, None;
}

/// The short names that listed models have unless the configuration gives others (spec 05 §3.3).
pub(crate) const ALIASES: [(&str, &str); 6] = [
    ("opus", "anthropic/claude-opus-4-5"),
    ("sonnet", "anthropic/claude-sonnet-4-5"),
    ("gpt", "openai/gpt-5.2"),
    ("gpt-mini", "openai/gpt-5-mini"),
    ("gemini", "google/gemini-3-pro-preview"),
    ("gemini-flash", "google/gemini-3-flash-preview"),
];

impl KnownModel {
    fn settings(&self) -> ModelSettings {
        let Self(_, id, name, window, answer, can, prices) = *self;
        ModelSettings {
            name: name.to_owned(),
            reasoning: matches!(can, Think | SeeAndThink | SeeAndThinkHard),
            xhigh: can == SeeAndThinkHard,
            images: matches!(can, See | SeeAndThink | SeeAndThinkHard),
            context_window: window * 1_000,
            max_tokens: answer * 1_000,
            prices: prices.map(|[input, output, cache_read, cache_write]| Prices {
                input,
                output,
                cache_read,
                cache_write,
            }),
            ..ModelSettings::new(id)
        }
    }
}

/// The known models of a provider.
pub(crate) fn models(provider: &str) -> Vec<ModelSettings> {
    MODELS.iter().filter(|model| model.0 == provider).map(KnownModel::settings).collect()
}

/// What is known of a model.
pub(crate) fn model(provider: &str, id: &str) -> Option<ModelSettings> {
    MODELS.iter().find(|model| model.0 == provider && model.1 == id).map(KnownModel::settings)
}

/// The known models that know the thinking level `xhigh`, as `provider/model` [C-34].
pub(crate) fn xhigh() -> impl Iterator<Item = String> {
    MODELS.iter().filter(|model| model.5 == SeeAndThinkHard).map(|model| format!("{}/{}", model.0, model.1))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::settings::ModelRef;

    #[test]
    fn the_tables_are_sorted_and_agree_with_each_other() {
        assert!(PROVIDERS.windows(2).all(|pair| pair[0].id < pair[1].id));
        assert!(MODELS.windows(2).all(|pair| pair[0].0 <= pair[1].0));
        for (_, model) in ALIASES {
            let model_ref = ModelRef::parse(model).unwrap();
            assert!(find(&model_ref.provider).is_some(), "{model}");
            assert!(super::model(&model_ref.provider, &model_ref.model).is_some(), "{model}");
        }
    }

    #[test]
    fn the_default_of_the_reference_is_known_with_its_size_and_price() {
        let opus = model("anthropic", "claude-opus-4-5").unwrap();
        assert_eq!(
            (opus.context_window, opus.images, opus.reasoning, opus.xhigh),
            (200_000, true, true, false)
        );
        assert_eq!(opus.prices.unwrap().output.to_string(), "25");
    }
}
