//! From the checked file to the settings of the machines.

use std::time::Duration;

use telson_proto::Scopes;

use super::check::Check;
use super::failure::Failure;
use super::issue::{Issue, Warning};
use super::secrets::REDACTED;
use super::tree::Node;
use crate::auth::Secret;
use crate::ids::AgentId;
use crate::limits::length;
use crate::sessions::keys::normalise_agent;
use crate::settings::{
    AgentProfile, AgentSettings, AuthMode, AuthSettings, Identity, LimitSettings, ModelRef, ModelSettings,
    ProviderSettings, QueueSettings,
};

const SPOKEN_API: &str = "openai-completions";
const CONTEXT_WINDOW: u64 = 200_000;
const ANSWER_TOKENS: u64 = 8_192;

fn text(node: &Node, path: &str) -> Option<String> {
    node.at(path).and_then(Node::text).map(|text| text.trim().to_owned())
}

fn flag(node: &Node, path: &str) -> Option<bool> {
    node.at(path).and_then(Node::flag)
}

fn count(node: &Node, path: &str) -> Option<u64> {
    node.at(path).and_then(Node::count)
}

fn texts<'a>(node: &'a Node, path: &str) -> impl Iterator<Item = &'a str> + use<'a> {
    node.at(path).map(Node::items).unwrap_or_default().iter().filter_map(Node::text)
}

fn missing(path: String) -> Issue {
    Issue::new(Failure::ConfigInvalid, path, "is missing")
}

/// Who may connect, around a mode.
pub(super) fn auth(root: &Node, mode: AuthMode) -> AuthSettings {
    let plain = AuthSettings::new(mode);
    let rate = |name: &str| count(root, &format!("gateway.auth.rateLimit.{name}"));
    let ui = |name: &str| flag(root, &format!("gateway.controlUi.{name}"));
    AuthSettings {
        max_attempts: rate("maxAttempts").and_then(|n| u32::try_from(n).ok()).unwrap_or(plain.max_attempts),
        window: rate("windowMs").map_or(plain.window, Duration::from_millis),
        lockout: rate("lockoutMs").map_or(plain.lockout, Duration::from_millis),
        exempt_loopback: flag(root, "gateway.auth.rateLimit.exemptLoopback").unwrap_or(plain.exempt_loopback),
        allowed_origins: texts(root, "gateway.controlUi.allowedOrigins").map(str::to_lowercase).collect(),
        allow_insecure_auth: ui("allowInsecureAuth").unwrap_or(plain.allow_insecure_auth),
        disable_device_auth: ui("dangerouslyDisableDeviceAuth").unwrap_or(plain.disable_device_auth),
        auto_approve_local: flag(root, "gateway.nodes.pairing.autoApproveLocal")
            .unwrap_or(plain.auto_approve_local),
        ..plain
    }
}

/// The limits that configuration can change.
pub(super) fn limits(root: &Node) -> LimitSettings {
    let plain = LimitSettings::default();
    let of = |name: &str| count(root, &format!("gateway.limits.{name}"));
    let mut limits = plain;
    limits.preauth_per_ip = of("preauthConnectionsPerIp").map_or(plain.preauth_per_ip, length);
    limits.handshake = of("handshakeTimeoutMs").map_or(plain.handshake, Duration::from_millis);
    limits.v3.max_payload = of("maxPayloadBytes").map_or(plain.v3.max_payload, length);
    limits.v3.max_buffered = of("maxBufferedBytes").map_or(plain.v3.max_buffered, length);
    limits.v4.max_payload = of("v4.maxPayloadBytes").map_or(plain.v4.max_payload, length);
    limits.v4.max_buffered = of("v4.maxBufferedBytes").map_or(plain.v4.max_buffered, length);
    limits
}

/// How long runs may go on when the gateway is to stop.
pub(super) fn drain(root: &Node) -> Duration {
    let key = "gateway.shutdown.drainMs";
    count(root, key).map_or(crate::limits::millis(crate::limits::SHUTDOWN_DRAIN_MS), Duration::from_millis)
}

/// Whether the plain dialect is spoken, and the most it may be granted.
pub(super) fn simple_dialect(root: &Node) -> (bool, Scopes) {
    let enabled = flag(root, "gateway.simpleDialect.enabled").unwrap_or(true);
    let most = root
        .at("gateway.simpleDialect.maxScopes")
        .map(|node| Scopes::parse(&node.items().iter().filter_map(Node::text).collect::<Vec<_>>()));
    (enabled, most.unwrap_or_else(Scopes::all))
}

/// The agents.
pub(super) fn agents(root: &Node, check: &mut Check<'_>) -> AgentSettings {
    let plain = AgentSettings::default();
    let nothing = Node::empty();
    let defaults = root.at("agents.defaults").unwrap_or(&nothing);
    let (default, list) = profiles(root, check);
    AgentSettings {
        default,
        list,
        main_key: text(root, "session.mainKey").map_or(plain.main_key, |key| key.to_lowercase()),
        global_scope: text(root, "session.scope").as_deref() == Some("global"),
        model: model(defaults).unwrap_or(plain.model),
        thinking_default: text(defaults, "thinkingDefault"),
        verbose_default: text(defaults, "verboseDefault"),
        timeout: count(defaults, "timeoutSeconds").map_or(plain.timeout, Duration::from_secs),
        max_concurrent: count(defaults, "maxConcurrent").map_or(plain.max_concurrent, length),
        allowed_models: allowed(defaults, check),
        context_tokens: count(defaults, "contextTokens"),
        queue: QueueSettings::default(),
    }
}

/// `model: "provider/model"` or `model: {primary: "provider/model"}`.
fn model(node: &Node) -> Option<ModelRef> {
    let written = text(node, "model").or_else(|| text(node, "model.primary"))?;
    ModelRef::parse(&written)
}

fn allowed(defaults: &Node, check: &mut Check<'_>) -> Vec<(ModelRef, Option<String>)> {
    let mut models = Vec::new();
    for member in defaults.get("models").map(Node::members).unwrap_or_default() {
        match ModelRef::parse(&member.name) {
            Some(reference) => models.push((reference, text(&member.node, "alias"))),
            None => {
                let issue = Issue::new(
                    Failure::ConfigInvalid,
                    format!("agents.defaults.models.{}", member.name.escape_debug()),
                    "has no provider and model with a slash between them",
                );
                check.refuse(member.at, issue.expecting("a model as provider/model"));
            }
        }
    }
    models
}

/// The default agent, and every agent with the default first and the rest by id.
fn profiles(root: &Node, check: &mut Check<'_>) -> (AgentId, Vec<AgentProfile>) {
    let mut default = None;
    let mut list: Vec<AgentProfile> = Vec::new();
    for (index, node) in root.at("agents.list").map(Node::items).unwrap_or_default().iter().enumerate() {
        let path = format!("agents.list.{index}.id");
        let Some(written) = text(node, "id") else {
            check.refuse(node.range.start, missing(path).expecting("a text"));
            continue;
        };
        let id = normalise_agent(&written);
        if list.iter().any(|known| known.id == id) {
            let at = node.get("id").map_or(node.range.start, |id| id.range.start);
            let issue =
                Issue::new(Failure::ConfigInvalid, path, format!("names the agent {id} a second time"));
            check.refuse(at, issue.expecting("an id of its own"));
            continue;
        }
        if default.is_none() && flag(node, "default") == Some(true) {
            default = Some(id.clone());
        }
        list.push(AgentProfile {
            id,
            name: text(node, "name"),
            model: model(node),
            identity: identity(node),
        });
    }
    let Some(default) = default.or_else(|| list.first().map(|first| first.id.clone())) else {
        let plain = AgentSettings::default();
        return (plain.default, plain.list);
    };
    list.sort_by(|a, b| (a.id != default, &a.id).cmp(&(b.id != default, &b.id)));
    (default, list)
}

fn identity(node: &Node) -> Identity {
    let of = |name: &str| text(node, &format!("identity.{name}"));
    Identity { name: of("name"), theme: of("theme"), emoji: of("emoji"), avatar: of("avatar") }
}

/// The model providers that this gateway can speak to.
pub(super) fn providers(root: &Node, check: &mut Check<'_>) -> Vec<ProviderSettings> {
    let mut providers: Vec<ProviderSettings> = Vec::new();
    for member in root.at("models.providers").map(Node::members).unwrap_or_default() {
        let path = format!("models.providers.{}", member.name.escape_debug());
        let id = member.name.trim().to_lowercase();
        let refusal = if id.is_empty() || id.contains(['/', ' ']) {
            Some("cannot be the name of a provider: it is blank, or contains a slash or a space")
        } else if id == "echo" {
            Some("is built in and cannot be configured; choose another name")
        } else if providers.iter().any(|known| known.id == id) {
            Some("differs from another provider only in upper and lower case")
        } else {
            None
        };
        if let Some(problem) = refusal {
            check.refuse(member.at, Issue::new(Failure::ConfigInvalid, path, problem));
            continue;
        }
        let api = text(&member.node, "api").unwrap_or_else(|| SPOKEN_API.to_owned());
        if api == SPOKEN_API {
            providers.extend(provider(id, &path, member.at, &member.node, check));
        } else {
            let message = format!("left out: {api} is not spoken by this gateway");
            check.warnings.push(Warning::new(path, message));
        }
    }
    providers
}

fn provider(
    id: String,
    path: &str,
    at: usize,
    node: &Node,
    check: &mut Check<'_>,
) -> Option<ProviderSettings> {
    let api_key = node.get("apiKey").and_then(|key| Some((key.range.start, key.text()?)));
    if let Some((at, REDACTED)) = api_key {
        let issue = Issue::new(
            Failure::ConfigInvalid,
            format!("{path}.apiKey"),
            "is the mark that stands in place of a redacted secret",
        );
        check.refuse(at, issue.expecting("the provider's key"));
    }
    let headers = node.get("headers").map(Node::members).unwrap_or_default();
    for header in headers.iter().filter(|header| !is_header_name(&header.name)) {
        let path = format!("{path}.headers.{}", header.name.escape_debug());
        check.refuse(header.at, Issue::new(Failure::ConfigInvalid, path, "is not a header name"));
    }
    let Some(base_url) = text(node, "baseUrl") else {
        let issue = missing(format!("{path}.baseUrl"));
        check.refuse(at, issue.expecting("an http:// or https:// URL"));
        return None;
    };
    Some(ProviderSettings {
        models: models(node, &id, path, check),
        id,
        base_url: base_url.trim_end_matches('/').to_owned(),
        api_key: api_key.map(|(_, key)| Secret::new(key)),
        auth_header: flag(node, "authHeader").unwrap_or(true),
        headers: headers
            .iter()
            .filter_map(|header| Some((header.name.clone(), header.node.text()?.to_owned())))
            .collect(),
    })
}

fn is_header_name(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

fn models(provider: &Node, id: &str, path: &str, check: &mut Check<'_>) -> Vec<ModelSettings> {
    let mut models: Vec<ModelSettings> = Vec::new();
    for (index, node) in provider.get("models").map(Node::items).unwrap_or_default().iter().enumerate() {
        let path = format!("{path}.models.{index}.id");
        let Some(written) = text(node, "id") else {
            check.refuse(node.range.start, missing(path).expecting("the model's id at the provider"));
            continue;
        };
        // The reference lists some models under their full name.
        let model =
            written.strip_prefix(id).and_then(|rest| rest.strip_prefix('/')).unwrap_or(&written).to_owned();
        if models.iter().any(|known| known.id == model) {
            let issue = Issue::new(Failure::ConfigInvalid, path, "names a model a second time");
            check.refuse(node.range.start, issue);
            continue;
        }
        let context_window = count(node, "contextWindow").unwrap_or(CONTEXT_WINDOW);
        models.push(ModelSettings {
            name: text(node, "name").unwrap_or_else(|| model.clone()),
            id: model,
            reasoning: flag(node, "reasoning").unwrap_or(false),
            images: texts(node, "input").any(|input| input == "image"),
            context_window,
            max_tokens: count(node, "maxTokens").unwrap_or(ANSWER_TOKENS).min(context_window),
            max_completion_tokens: text(node, "compat.maxTokensField").as_deref()
                == Some("max_completion_tokens"),
        });
    }
    models
}
