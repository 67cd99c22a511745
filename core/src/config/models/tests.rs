#![allow(clippy::unwrap_used)]

use super::super::{Environment, Flags, Issue, Loaded, Surroundings, load};
use crate::auth::Secret;
use crate::config::Failure;
use crate::settings::{Api, AuthMode, KeyMode, ModelRef, ModelSettings, ProviderSettings, Settings};

fn read(text: &str, env: &[(&str, &str)]) -> Result<Loaded, Vec<Issue>> {
    let env: Environment =
        env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    load(Some(text), &env, &Flags::default(), &Surroundings::default())
}

fn loaded(text: &str, env: &[(&str, &str)]) -> (Settings, Vec<String>) {
    let loaded = read(text, env).unwrap();
    let warnings = loaded.warnings.iter().map(|warning| format!("{}: {}", warning.path, warning.message));
    let warnings = warnings.collect();
    let facts = Settings::plain(AuthMode::None).facts;
    (loaded.settings(facts, Some(Secret::new("c3VubnkgZGF5IG9uIHRoZSBzZWE"))).unwrap(), warnings)
}

fn settings(text: &str, env: &[(&str, &str)]) -> Settings {
    loaded(text, env).0
}

fn provider<'a>(settings: &'a Settings, id: &str) -> &'a ProviderSettings {
    settings.providers.iter().find(|provider| provider.id == id).unwrap()
}

fn model<'a>(settings: &'a Settings, provider: &str, id: &str) -> &'a ModelSettings {
    self::provider(settings, provider).model(id).unwrap()
}

fn keys(provider: &ProviderSettings) -> Vec<(&str, &str)> {
    let profiles = provider.profiles.iter();
    profiles.map(|profile| (profile.id.as_str(), profile.secret.expose())).collect()
}

#[test]
fn a_key_in_the_environment_is_all_that_a_known_provider_needs() {
    let text = "{agents: {defaults: {model: {primary: 'anthropic/claude-opus-4-5'}}}}";
    let settings = settings(text, &[("ANTHROPIC_API_KEY", "sk-ant-1")]);
    let anthropic = provider(&settings, "anthropic");
    assert_eq!((anthropic.api, anthropic.base_url.as_str()), (Api::Anthropic, "https://api.anthropic.com"));
    assert_eq!(keys(anthropic), [("anthropic:env", "sk-ant-1")]);
    assert!(!anthropic.lacks_key() && anthropic.takes_any() && !anthropic.auth_header);
    assert!(model(&settings, "anthropic", "claude-opus-4-5").reasoning);
    assert_eq!(settings.providers.len(), 1, "nobody else has a key");
}

#[test]
fn a_known_provider_that_an_agent_names_is_there_and_says_that_its_key_is_missing() {
    let text = "{agents: {defaults: {model: {primary: 'ollama/llama3.2', fallbacks: ['Z.AI/glm-4.7']}}}}";
    let settings = settings(text, &[]);
    assert!(provider(&settings, "zai").lacks_key());
    let ollama = provider(&settings, "ollama");
    assert_eq!((ollama.api, ollama.base_url.as_str()), (Api::Ollama, "http://127.0.0.1:11434"));
    assert!(!ollama.lacks_key());
    assert_eq!(settings.agents.fallbacks, [ModelRef::parse("zai/glm-4.7").unwrap()]);
}

#[test]
fn the_known_ones_stay_out_when_the_configuration_replaces_them() {
    let text = "{models: {mode: 'replace', providers: {openai: {models: [{id: 'gpt-5.2'}]}}}}";
    let settings = settings(text, &[("GROQ_API_KEY", "gsk-1"), ("OPENAI_API_KEY", "sk-1")]);
    let ids: Vec<&str> = settings.providers.iter().map(|provider| provider.id.as_str()).collect();
    assert_eq!(ids, ["openai"]);
    let openai = provider(&settings, "openai");
    assert_eq!((openai.models.len(), openai.takes_any(), openai.api), (1, false, Api::OpenAiResponses));
    assert_eq!(keys(openai), [("openai:env", "sk-1")]);
}

#[test]
fn what_is_written_of_a_model_beats_what_is_known_and_what_is_known_fills_the_rest() {
    let text = "{models: {providers: {openai: {models: [{id: 'gpt-5.2', contextWindow: 1000, input: ['text'],
        cost: {input: 0.5, output: 2}}, {id: 'own', xhigh: true, tools: false, api: 'openai-completions'}]}}}}";
    let settings = settings(text, &[]);
    let known = model(&settings, "openai", "gpt-5.2");
    assert_eq!((known.name.as_str(), known.context_window, known.max_tokens), ("GPT-5.2", 1_000, 1_000));
    assert_eq!((known.images, known.reasoning, known.xhigh, known.tools), (false, true, true, true));
    let prices = known.prices.unwrap();
    assert_eq!(format!("{} {} {}", prices.input, prices.output, prices.cache_read), "0.5 2 0");
    let own = model(&settings, "openai", "own");
    assert_eq!((own.xhigh, own.tools, own.api, own.prices), (true, false, Some(Api::OpenAiChat), None));
    assert!(provider(&settings, "openai").model("gpt-5-mini").is_some(), "the known ones stand beside them");
}

#[test]
fn a_key_of_the_environment_goes_to_no_other_address() {
    let text = "{models: {providers: {openai: {baseUrl: 'http://proxy.example/v1'}}}}";
    let settings = settings(text, &[("OPENAI_API_KEY", "sk-1")]);
    let openai = provider(&settings, "openai");
    assert!(openai.profiles.is_empty() && openai.api_key.is_none() && openai.models.is_empty());
}

#[test]
fn the_only_key_needs_no_profile() {
    let text = "{models: {providers: {own: {baseUrl: 'http://h/v1', apiKey: 'k1'}}}}";
    let settings = settings(text, &[]);
    let own = provider(&settings, "own");
    assert!(own.profiles.is_empty() && own.api_key.as_ref().unwrap().matches("k1"));
}

#[test]
fn keys_are_tried_in_the_order_of_the_file_unless_another_is_given() {
    let profiles =
        "profiles: {'openai:work': {provider: 'openai', mode: 'api_key', key: '${WORK}', email: 'a@b'},
        'openai:home': {key: 'k-home'}, 'other:x': {key: 'k'}}";
    let provider_text = "models: {providers: {openai: {apiKey: 'k-config'}, other: {baseUrl: 'http://h'}}}";
    let env = [("WORK", "k-work"), ("OPENAI_API_KEY", "k-env")];
    let found = |order: &str| {
        let text = format!("{{auth: {{{profiles}{order}}}, {provider_text}}}");
        let (settings, warnings) = loaded(&text, &env);
        let keys = keys(provider(&settings, "openai")).into_iter().map(|(id, _)| id.to_owned());
        (keys.collect::<Vec<_>>(), warnings)
    };
    assert_eq!(found("").0, ["openai:work", "openai:home", "openai:config", "openai:env"]);
    let (ordered, warnings) = found(", order: {openai: ['openai:env', 'openai:gone', 'openai:work']}");
    assert_eq!(ordered, ["openai:env", "openai:work"]);
    assert!(warnings[0].starts_with("auth.order.openai: \"openai:gone\" is no profile"), "{warnings:?}");
}

#[test]
fn the_same_key_is_not_tried_twice() {
    let text = "{models: {providers: {groq: {apiKey: '${GROQ_API_KEY}'}}}}";
    let settings = settings(text, &[("GROQ_API_KEY", "gsk-1")]);
    assert_eq!(keys(provider(&settings, "groq")), [("groq:config", "gsk-1")]);
}

#[test]
fn a_profile_without_a_key_takes_that_of_the_environment() {
    let text = "{auth: {profiles: {'anthropic:default': {provider: 'anthropic', mode: 'api_key'}}}}";
    let env = [("ANTHROPIC_OAUTH_TOKEN", "sk-ant-oat"), ("ANTHROPIC_API_KEY", "sk-ant")];
    let settings = settings(text, &env);
    let anthropic = provider(&settings, "anthropic");
    assert_eq!(keys(anthropic), [("anthropic:default", "sk-ant-oat"), ("anthropic:env2", "sk-ant")]);
    assert_eq!(
        anthropic.profiles.iter().map(|p| p.mode).collect::<Vec<_>>(),
        [KeyMode::Token, KeyMode::ApiKey]
    );
}

#[test]
fn what_does_nothing_is_said() {
    let text = "{auth: {profiles: {'openai:a': {mode: 'oauth'}, 'groq:b': {}, 'nobody:c': {key: 'k'}}, order: {nobody: ['x']}},
        models: {providers: {
            a: {baseUrl: 'http://h', auth: 'aws-sdk'}, b: {baseUrl: 'http://h', api: 'google-generative-ai'},
            c: {baseUrl: 'http://h', models: [{id: 'm', api: 'github-copilot'}]}}},
        agents: {defaults: {model: 'openai/gpt-5.2', models: {'groq/x': {}}}}}";
    let (settings, warnings) = loaded(text, &[]);
    for expected in [
        "models.providers.a: left out: the auth aws-sdk is not supported by this gateway",
        "models.providers.b: left out: google-generative-ai is not spoken by this gateway",
        "models.providers.c.models.0: left out: github-copilot is not spoken by this gateway",
        "auth.profiles.openai:a: left out: the mode oauth is not supported by this gateway",
        "auth.profiles.groq:b: left out: it has no key, and the environment has none for its provider",
        "auth.profiles.nobody:c: does nothing: there is no model provider \"nobody\"",
        "auth.order.nobody: does nothing: there is no model provider \"nobody\"",
    ] {
        assert!(warnings.iter().any(|warning| warning == expected), "{expected}: {warnings:?}");
    }
    assert!(provider(&settings, "openai").lacks_key());
}

#[test]
fn every_key_is_known_as_a_secret() {
    let text = "{auth: {profiles: {'openai:a': {key: 'k-profile-1'}}}, models: {providers: {groq: {apiKey: 'k-groq-12'}}}}";
    let loaded = read(text, &[("OPENAI_API_KEY", "k-env-123"), ("MISTRAL_API_KEY", "k-mistral")]).unwrap();
    let secrets: Vec<&str> = loaded.secrets().collect();
    for key in ["k-profile-1", "k-groq-12", "k-env-123", "k-mistral"] {
        assert!(secrets.contains(&key), "{key}");
    }
    let facts = Settings::plain(AuthMode::None).facts;
    let view = loaded.settings(facts, Some(Secret::new("c3VubnkgZGF5IG9uIHRoZSBzZWE"))).unwrap().config;
    for shown in [view.raw.unwrap(), view.config.as_str().to_owned()] {
        assert!(!shown.contains("k-profile-1") && !shown.contains("k-groq-12"), "{shown}");
    }
}

#[test]
fn a_key_is_no_key_of_the_gateway() {
    let strong = "c3VubnkgZGF5IG9uIHRoZSBzZWE";
    let text = format!(
        "{{gateway: {{auth: {{token: '{strong}'}}}}, auth: {{profiles: {{'openai:a': {{key: '{strong}'}}}}}}}}"
    );
    let issues = read(&text, &[]).unwrap_err();
    assert_eq!((issues.len(), issues[0].code), (1, Failure::ConfigConflict));
    assert_eq!(issues[0].path, "auth.profiles.openai:a.key");
}

#[test]
fn rests_are_configured_in_hours() {
    let text = "{auth: {cooldowns: {billingBackoffHours: 1, billingBackoffHoursByProvider: {'Z.AI': 2}, billingMaxHours: 3,
        failureWindowHours: 4}}}";
    let rests = settings(text, &[]).cooldowns;
    let hours = |rest: std::time::Duration| rest.as_secs() / 3_600;
    assert_eq!([hours(rests.billing), hours(rests.billing_max), hours(rests.window)], [1, 3, 4]);
    assert_eq!(rests.billing_by_provider[0].0, "zai");
}

#[test]
fn agents_have_fallbacks_of_their_own_and_listed_models_their_usual_aliases() {
    let text = "{agents: {defaults: {model: {primary: 'a/b', fallbacks: ['c/d']},
            models: {'anthropic/claude-opus-4-5': {}, 'openai/gpt-5.2': {alias: 'big', thinkingDefault: 'high'}}},
        list: [{id: 'x', model: {fallbacks: []}}, {id: 'y', model: {primary: 'e/f', fallbacks: ['g/h']}}, {id: 'z', model: 'e/f'}]}}";
    let agents = settings(text, &[]).agents;
    let reference = |text: &str| ModelRef::parse(text).unwrap();
    let own: Vec<_> =
        agents.list.iter().map(|profile| (profile.model.clone(), profile.fallbacks.clone())).collect();
    assert_eq!(
        own,
        [
            (None, Some(vec![])),
            (Some(reference("e/f")), Some(vec![reference("g/h")])),
            (Some(reference("e/f")), None),
        ]
    );
    let aliases: Vec<_> = agents.allowed_models.iter().map(|(_, alias)| alias.as_deref()).collect();
    assert_eq!(aliases, [Some("opus"), Some("big")]);
    assert_eq!(agents.model_thinking, [(reference("openai/gpt-5.2"), "high".to_owned())]);
}
