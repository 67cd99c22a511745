//! The model servers: from the checked file, what is known without it, and the environment, to settings.

#[cfg(test)]
mod tests;

use std::time::Duration;

use super::build::{count, flag, missing, text, texts};
use super::check::Check;
use super::env::Environment;
use super::failure::Failure;
use super::issue::{Issue, Warning};
use super::secrets::REDACTED;
use super::tree::{Member, Node};
use crate::auth::Secret;
use crate::providers::known::{self, KnownProvider};
use crate::settings::{
    AgentSettings, Api, AuthProfile, CooldownSettings, KeyMode, ModelSettings, Prices, ProviderSettings,
};

/// The context window of a model on Ollama of which nothing is known: it is memory that is really used.
const OLLAMA_CONTEXT: u64 = 32_768;

/// How long keys rest.
pub(super) fn cooldowns(root: &Node) -> CooldownSettings {
    let plain = CooldownSettings::default();
    let hours = |count: u64| Duration::from_secs(count * 3_600);
    let of = |name: &str| count(root, &format!("auth.cooldowns.{name}")).map(hours);
    let own = root.at("auth.cooldowns.billingBackoffHoursByProvider").map(Node::members).unwrap_or_default();
    CooldownSettings {
        billing: of("billingBackoffHours").unwrap_or(plain.billing),
        billing_by_provider: own
            .iter()
            .filter_map(|member| Some((known::provider_id(&member.name), hours(member.node.count()?))))
            .collect(),
        billing_max: of("billingMaxHours").unwrap_or(plain.billing_max),
        window: of("failureWindowHours").unwrap_or(plain.window),
    }
}

/// The model providers that this gateway can speak to: those of the file, and the known ones that have a key or
/// that an agent names.
pub(super) fn providers(
    root: &Node,
    env: &Environment,
    agents: &AgentSettings,
    check: &mut Check<'_>,
) -> Vec<ProviderSettings> {
    let merge = text(root, "models.mode").as_deref() != Some("replace");
    let mut reader = Reader { root, env, merge, providers: Vec::new(), check };
    for member in root.at("models.providers").map(Node::members).unwrap_or_default() {
        reader.configured(member);
    }
    let left_out: Vec<String> = root
        .at("models.providers")
        .map(Node::members)
        .unwrap_or_default()
        .iter()
        .map(|member| known::provider_id(member.name.trim()))
        .collect();
    for provider in known::PROVIDERS.iter().filter(|_| merge) {
        if !left_out.iter().any(|id| id == provider.id) {
            reader.known(provider, agents);
        }
    }
    reader.strangers();
    reader.providers
}

struct Reader<'r, 'c, 't> {
    root: &'r Node,
    env: &'r Environment,
    /// Whether what is known goes beside what is configured.
    merge: bool,
    providers: Vec<ProviderSettings>,
    check: &'c mut Check<'t>,
}

impl Reader<'_, '_, '_> {
    fn configured(&mut self, member: &Member) {
        let path = format!("models.providers.{}", member.name.escape_debug());
        let id = known::provider_id(&member.name.trim().to_lowercase());
        let refusal = if id.is_empty() || id.contains(['/', ' ']) {
            Some("cannot be the name of a provider: it is blank, or contains a slash or a space")
        } else if id == "echo" {
            Some("is built in and cannot be configured; choose another name")
        } else if self.providers.iter().any(|known| known.id == id) {
            Some("differs from another provider only in upper and lower case")
        } else {
            None
        };
        if let Some(problem) = refusal {
            self.check.refuse(member.at, Issue::new(Failure::ConfigInvalid, path, problem));
            return;
        }
        let known = known::find(&id);
        let written = text(&member.node, "api");
        let api = match &written {
            Some(word) => Api::parse(word),
            None => Some(known.map_or(Api::OpenAiChat, |known| known.api)),
        };
        let auth = text(&member.node, "auth").filter(|auth| auth == "oauth" || auth == "aws-sdk");
        match (api, auth) {
            (Some(api), None) => {
                let provider = self.provider(id, api, &path, member);
                self.providers.extend(provider);
            }
            (None, _) => {
                let message =
                    format!("left out: {} is not spoken by this gateway", written.unwrap_or_default());
                self.check.warnings.push(Warning::new(path, message));
            }
            (_, Some(auth)) => {
                let message = format!("left out: the auth {auth} is not supported by this gateway");
                self.check.warnings.push(Warning::new(path, message));
            }
        }
    }

    fn provider(&mut self, id: String, api: Api, path: &str, member: &Member) -> Option<ProviderSettings> {
        let node = &member.node;
        self.redacted(node.get("apiKey"), format!("{path}.apiKey"));
        let headers = node.get("headers").map(Node::members).unwrap_or_default();
        for header in headers.iter().filter(|header| !is_header_name(&header.name)) {
            let path = format!("{path}.headers.{}", header.name.escape_debug());
            self.check.refuse(header.at, Issue::new(Failure::ConfigInvalid, path, "is not a header name"));
        }
        let known = known::find(&id);
        let own = text(node, "baseUrl").map(|url| url.trim_end_matches('/').to_owned());
        let Some(base_url) = own.or_else(|| known.map(|known| known.base_url.to_owned())) else {
            let issue = missing(format!("{path}.baseUrl"));
            self.check.refuse(member.at, issue.expecting("an http:// or https:// URL"));
            return None;
        };
        // A key of the environment goes only where it belongs.
        let known = known.filter(|known| known.base_url == base_url);
        let mut models = self.models(node, &id, path, api);
        let listed = !models.is_empty();
        if known.is_some() && self.merge {
            let more = known::models(&id).into_iter();
            let more =
                more.filter(|model| models.iter().all(|listed| listed.id != model.id)).collect::<Vec<_>>();
            models.extend(more);
        }
        let key = node.get("apiKey").and_then(Node::text).map(Secret::new);
        let mode =
            if text(node, "auth").as_deref() == Some("token") { KeyMode::Token } else { KeyMode::ApiKey };
        let (api_key, profiles) = self.keys(&id, key.map(|key| (mode, key)), known);
        Some(ProviderSettings {
            api,
            api_key,
            auth_header: flag(node, "authHeader").unwrap_or(api != Api::Anthropic),
            headers: headers
                .iter()
                .filter_map(|header| Some((header.name.clone(), header.node.text()?.to_owned())))
                .collect(),
            models,
            open: !listed || (known.is_some() && self.merge),
            profiles,
            key_variables: known.map_or(&[], |known| known.variables),
            ..ProviderSettings::new(id, base_url)
        })
    }

    /// A provider that the file does not name.
    fn known(&mut self, known: &'static KnownProvider, agents: &AgentSettings) {
        let id = known.id.to_owned();
        let (api_key, profiles) = self.keys(&id, None, Some(known));
        let has_key = api_key.is_some() || !profiles.is_empty();
        if !has_key && !names(agents, known.id) {
            return;
        }
        self.providers.push(ProviderSettings {
            api: known.api,
            api_key,
            auth_header: known.api != Api::Anthropic,
            models: known::models(known.id),
            open: true,
            profiles,
            key_variables: known.variables,
            ..ProviderSettings::new(id, known.base_url)
        });
    }

    /// The keys of a provider: the only one, or all of them in the order in which they are tried.
    fn keys(
        &mut self,
        id: &str,
        own: Option<(KeyMode, Secret)>,
        known: Option<&'static KnownProvider>,
    ) -> (Option<Secret>, Vec<AuthProfile>) {
        let from_env = self.keys_of_environment(id, known);
        let mut all = self.profiles(id, from_env.first());
        let plain = all.is_empty() && from_env.is_empty();
        if let Some((KeyMode::ApiKey, secret)) = own.as_ref().filter(|_| plain) {
            return (Some(secret.clone()), Vec::new());
        }
        let own = own.map(|(mode, secret)| AuthProfile { id: format!("{id}:config"), mode, secret });
        all.extend(own);
        all.extend(from_env);
        let mut kept: Vec<AuthProfile> = Vec::new();
        for profile in all {
            if kept.iter().all(|other| !other.secret.matches(profile.secret.expose())) {
                kept.push(profile);
            }
        }
        (None, self.ordered(id, kept))
    }

    fn keys_of_environment(&self, id: &str, known: Option<&'static KnownProvider>) -> Vec<AuthProfile> {
        let variables = known.map_or(&[][..], |known| known.variables).iter();
        let found = variables.filter_map(|name| Some((*name, self.env.get(name)?)));
        found
            .enumerate()
            .map(|(index, (name, key))| AuthProfile {
                id: if index == 0 { format!("{id}:env") } else { format!("{id}:env{}", index + 1) },
                mode: if name == known::TOKEN_VARIABLE { KeyMode::Token } else { KeyMode::ApiKey },
                secret: Secret::new(key),
            })
            .collect()
    }

    /// The profiles of a provider; one without a key takes that of the environment.
    fn profiles(&mut self, provider: &str, from_env: Option<&AuthProfile>) -> Vec<AuthProfile> {
        let mut profiles = Vec::new();
        for member in self.root.at("auth.profiles").map(Node::members).unwrap_or_default() {
            if provider_of(member) != provider {
                continue;
            }
            let path = format!("auth.profiles.{}", member.name.escape_debug());
            self.redacted(member.node.get("key"), format!("{path}.key"));
            let mode = text(&member.node, "mode");
            if mode.as_deref() == Some("oauth") {
                let message = "left out: the mode oauth is not supported by this gateway";
                self.check.warnings.push(Warning::new(path, message));
                continue;
            }
            let mode = if mode.as_deref() == Some("token") { KeyMode::Token } else { KeyMode::ApiKey };
            let own = text(&member.node, "key").map(Secret::new);
            match (own, from_env) {
                (Some(secret), _) => profiles.push(AuthProfile { id: member.name.clone(), mode, secret }),
                (None, Some(found)) => {
                    profiles.push(AuthProfile { id: member.name.clone(), ..found.clone() });
                }
                (None, None) => {
                    let message = "left out: it has no key, and the environment has none for its provider";
                    self.check.warnings.push(Warning::new(path, message));
                }
            }
        }
        profiles
    }

    /// With `auth.order` only those that it names.
    fn ordered(&mut self, provider: &str, profiles: Vec<AuthProfile>) -> Vec<AuthProfile> {
        let orders = self.root.at("auth.order").map(Node::members).unwrap_or_default();
        let Some(order) = orders.iter().find(|member| known::provider_id(&member.name) == provider) else {
            return profiles;
        };
        let mut ordered = Vec::new();
        for id in order.node.items().iter().filter_map(Node::text) {
            match profiles.iter().find(|profile| profile.id == id) {
                Some(profile) => ordered.push(profile.clone()),
                None => {
                    let path = format!("auth.order.{}", order.name.escape_debug());
                    let message =
                        format!("{id:?} is no profile of this provider that has a key; it is passed over");
                    self.check.warnings.push(Warning::new(path, message));
                }
            }
        }
        ordered
    }

    /// Profiles and orders of providers that are not there do nothing, which the operator should know.
    fn strangers(&mut self) {
        let sections = [("auth.profiles", false), ("auth.order", true)];
        for (section, plain) in sections {
            for member in self.root.at(section).map(Node::members).unwrap_or_default() {
                let provider = if plain { known::provider_id(&member.name) } else { provider_of(member) };
                if self.providers.iter().all(|known| known.id != provider) {
                    let path = format!("{section}.{}", member.name.escape_debug());
                    let message = format!("does nothing: there is no model provider {provider:?}");
                    self.check.warnings.push(Warning::new(path, message));
                }
            }
        }
    }

    fn redacted(&mut self, key: Option<&Node>, path: String) {
        if let Some(key) = key.filter(|key| key.text() == Some(REDACTED)) {
            let problem = "is the mark that stands in place of a redacted secret";
            let issue = Issue::new(Failure::ConfigInvalid, path, problem);
            self.check.refuse(key.range.start, issue.expecting("the provider's key"));
        }
    }

    fn models(&mut self, provider: &Node, id: &str, path: &str, api: Api) -> Vec<ModelSettings> {
        let mut models: Vec<ModelSettings> = Vec::new();
        for (index, node) in provider.get("models").map(Node::items).unwrap_or_default().iter().enumerate() {
            let path = format!("{path}.models.{index}");
            let Some(written) = text(node, "id") else {
                let issue = missing(format!("{path}.id"));
                self.check.refuse(node.range.start, issue.expecting("the model's id at the provider"));
                continue;
            };
            // The reference lists some models under their full name.
            let short = written.strip_prefix(id).and_then(|rest| rest.strip_prefix('/'));
            let model = short.unwrap_or(&written).to_owned();
            if models.iter().any(|known| known.id == model) {
                let issue =
                    Issue::new(Failure::ConfigInvalid, format!("{path}.id"), "names a model a second time");
                self.check.refuse(node.range.start, issue);
                continue;
            }
            let word = text(node, "api");
            let own = word.as_deref().map(Api::parse);
            if own == Some(None) {
                let message = format!("left out: {} is not spoken by this gateway", word.unwrap_or_default());
                self.check.warnings.push(Warning::new(path, message));
                continue;
            }
            models.push(self::model(node, id, model, own.flatten(), api));
        }
        models
    }
}

/// A model: what is written, else what is known of it.
fn model(node: &Node, provider: &str, id: String, own: Option<Api>, api: Api) -> ModelSettings {
    let plain = known::model(provider, &id).unwrap_or_else(|| {
        let plain = ModelSettings::new(&id);
        match own.unwrap_or(api) {
            Api::Ollama => ModelSettings { context_window: OLLAMA_CONTEXT, ..plain },
            _ => plain,
        }
    });
    let context_window = count(node, "contextWindow").unwrap_or(plain.context_window);
    let input = node.get("input").map(|_| texts(node, "input").any(|input| input == "image"));
    ModelSettings {
        name: text(node, "name").unwrap_or(plain.name),
        id,
        api: own,
        reasoning: flag(node, "reasoning").unwrap_or(plain.reasoning),
        xhigh: flag(node, "xhigh").unwrap_or(plain.xhigh),
        images: input.unwrap_or(plain.images),
        tools: flag(node, "tools").unwrap_or(plain.tools),
        context_window,
        max_tokens: count(node, "maxTokens").unwrap_or(plain.max_tokens).min(context_window),
        max_completion_tokens: text(node, "compat.maxTokensField").as_deref()
            == Some("max_completion_tokens"),
        prices: node.get("cost").map(prices).or(plain.prices),
    }
}

fn prices(node: &Node) -> Prices {
    let of = |name: &str| node.get(name).and_then(Node::number).unwrap_or(0.0);
    Prices {
        input: of("input"),
        output: of("output"),
        cache_read: of("cacheRead"),
        cache_write: of("cacheWrite"),
    }
}

fn provider_of(member: &Member) -> String {
    let written = text(&member.node, "provider");
    let name = written.as_deref().unwrap_or_else(|| member.name.split(':').next().unwrap_or_default());
    known::provider_id(name)
}

/// Whether an agent may ask a model of this provider.
fn names(agents: &AgentSettings, provider: &str) -> bool {
    let own =
        agents.list.iter().flat_map(|profile| profile.model.iter().chain(profile.fallbacks.iter().flatten()));
    let listed = agents.allowed_models.iter().map(|(model, _)| model);
    let mut all = std::iter::once(&agents.model).chain(&agents.fallbacks).chain(own).chain(listed);
    all.any(|model| model.provider == provider)
}

pub(super) fn is_header_name(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}
