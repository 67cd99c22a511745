//! Who is asked: providers, their keys and their models.

use super::*;
use crate::providers::{Availability, Cost};
use crate::settings::{AuthProfile, KeyMode, Prices};

fn profile(id: &str, secret: &str) -> AuthProfile {
    AuthProfile { id: id.to_owned(), mode: KeyMode::ApiKey, secret: Secret::new(secret) }
}

fn with_keys(api: Api, keys: &[&str]) -> ProviderSettings {
    let profiles = keys.iter().map(|key| profile(key, &format!("sk-{key}-key"))).collect();
    ProviderSettings { api_key: None, profiles, ..provider(api) }
}

fn other() -> ProviderSettings {
    ProviderSettings { id: "q".to_owned(), ..provider(Api::Ollama) }
}

fn at(model: &str) -> ModelRef {
    ModelRef::parse(model).unwrap()
}

fn now() -> Duration {
    Duration::from_secs(1_000)
}

fn error(status: u16, retry_after_ms: Option<u64>) -> ModelError {
    let kind = if status == 429 { ErrorKind::RateLimit } else { ErrorKind::Unknown };
    ModelError { status: Some(status), retry_after_ms, ..ModelError::new(kind, "x") }
}

fn order(providers: &Providers) -> Vec<String> {
    let mut chain = providers.chain(now(), &at("p/m"), &[at("q/m"), at("p/m"), at("echo/echo")]);
    std::iter::from_fn(|| chain.next())
        .map(|one| format!("{} {}", one.model, one.profile.unwrap_or_default()).trim_end().to_owned())
        .collect()
}

#[test]
fn an_unknown_provider_is_named_with_the_known_ones() {
    let error = providers(vec![other()])
        .start(Duration::ZERO, &at("nowhere/m"), &ModelRequest::default())
        .unwrap_err();
    assert!(error.message.contains("\"nowhere\"") && error.message.contains("q, echo"), "{error}");
}

#[test]
fn a_provider_without_its_key_says_which_variable_would_help() {
    let lacking =
        ProviderSettings { api_key: None, key_variables: &["P_API_KEY"], ..provider(Api::OpenAiChat) };
    let providers = providers(vec![lacking]);
    let error = providers.start(Duration::ZERO, &model(), &ModelRequest::default()).unwrap_err();
    assert!(
        error.message.contains("set P_API_KEY") && error.message.contains("models.providers.p.apiKey"),
        "{error}"
    );
    assert_eq!(providers.availability(now(), &model()), Availability::MissingKey);
}

#[test]
fn each_key_is_tried_with_the_primary_model_before_the_fallbacks() {
    let providers = providers(vec![with_keys(Api::OpenAiChat, &["one", "two"]), other()]);
    assert_eq!(order(&providers), ["p/m one", "p/m two", "q/m", "echo/echo"]);
    for key in ["one", "two"] {
        let candidate = Candidate { model: model(), profile: Some(key.to_owned()) };
        let (_, fetch) = providers.start(now(), &candidate, &ModelRequest::default()).unwrap();
        assert_eq!(header(&fetch.unwrap(), "authorization"), Some(format!("Bearer sk-{key}-key").as_str()));
    }
}

#[test]
fn what_rests_is_passed_over_until_it_wakes_or_works() {
    let mut providers = providers(vec![with_keys(Api::OpenAiChat, &["one", "two"]), other()]);
    let one = Candidate { model: model(), profile: Some("one".to_owned()) };
    providers.failed(now(), &one, &error(429, Some(9_000)));
    assert_eq!(order(&providers), ["p/m two", "q/m", "echo/echo"]);
    assert_eq!(providers.availability(now(), &model()), Availability::Ready, "the other key is awake");
    let (_, fetch) = providers.start(now(), &model(), &ModelRequest::default()).unwrap();
    assert_eq!(header(&fetch.unwrap(), "authorization"), Some("Bearer sk-two-key"));
    providers.worked(&one);
    assert_eq!(order(&providers)[0], "p/m one");
}

#[test]
fn when_everything_rests_everything_is_tried() {
    let mut providers = providers(vec![provider(Api::OpenAiChat)]);
    providers.failed(now(), &Candidate::from(&model()), &error(503, None));
    let mut chain = providers.chain(now(), &model(), &[]);
    assert_eq!(chain.next(), Some(Candidate::from(&model())));
    let until = now() + Duration::from_secs(60);
    assert_eq!(providers.availability(now(), &model()), Availability::Cooldown(until));
    assert_eq!(providers.availability(until, &model()), Availability::Ready);
}

#[test]
fn refused_keys_are_told_from_rate_limits() {
    let mut providers = providers(vec![with_keys(Api::OpenAiChat, &["one"])]);
    let one = Candidate { model: model(), profile: Some("one".to_owned()) };
    providers.failed(now(), &one, &error(401, None));
    let until = now() + Duration::from_secs(60);
    assert_eq!(providers.availability(now(), &model()), Availability::KeysRefused(until));
    assert_eq!(providers.availability(now(), &at("p/other")), Availability::KeysRefused(until));
}

#[test]
fn a_cost_needs_prices() {
    let mut priced = provider(Api::OpenAiChat);
    let usage = Usage { input: 1_000_000, output: 0, cache_read: 0, cache_write: 0, total: 1_000_000 };
    assert_eq!(providers(vec![priced.clone()]).cost(&model(), &usage), None);
    priced.models[0].prices = Some(Prices { input: 2.0, ..Prices::default() });
    let cost = providers(vec![priced]).cost(&model(), &usage);
    assert_eq!(cost, Some(Cost { input: 2.0, total: 2.0, ..Cost::default() }));
    assert_eq!(providers(vec![]).cost(&ModelRef::echo(), &usage), Some(Cost::default()));
}
