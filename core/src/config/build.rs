//! From the checked file to the settings of the machines.

use std::time::Duration;

use telson_proto::Scopes;

use super::check::Check;
use super::failure::Failure;
use super::issue::Issue;
use super::policies::queues;
use super::proxies;
use super::tree::Node;
use crate::ids::AgentId;
use crate::ingress::network;
use crate::limits::length;
use crate::nodes::NodeSettings;
use crate::providers::known;
use crate::sessions::keys::normalise_agent;
use crate::settings::{
    AgentProfile, AgentSettings, AuthMode, AuthSettings, Identity, LimitSettings, ModelRef,
};

pub(super) fn text(node: &Node, path: &str) -> Option<String> {
    node.at(path).and_then(Node::text).map(|text| text.trim().to_owned())
}

pub(super) fn flag(node: &Node, path: &str) -> Option<bool> {
    node.at(path).and_then(Node::flag)
}

pub(super) fn count(node: &Node, path: &str) -> Option<u64> {
    node.at(path).and_then(Node::count)
}

pub(super) fn texts<'a>(node: &'a Node, path: &str) -> impl Iterator<Item = &'a str> + use<'a> {
    node.at(path).map(Node::items).unwrap_or_default().iter().filter_map(Node::text)
}

pub(super) fn missing(path: String) -> Issue {
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
        allowed_origins: texts(root, "gateway.controlUi.allowedOrigins").map(proxies::origin).collect(),
        ingress: proxies::ingress(root),
        trusted_proxy: proxies::trusted_proxy(root),
        allow_insecure_auth: ui("allowInsecureAuth").unwrap_or(plain.allow_insecure_auth),
        disable_device_auth: ui("dangerouslyDisableDeviceAuth").unwrap_or(plain.disable_device_auth),
        auto_approve_local: flag(root, "gateway.nodes.pairing.autoApproveLocal")
            .unwrap_or(plain.auto_approve_local),
        auto_approve_networks: texts(root, "gateway.nodes.pairing.autoApproveCidrs")
            .filter_map(network)
            .collect(),
        ..plain
    }
}

/// What nodes may be asked for, under the older names and the newer ones.
pub(super) fn nodes(root: &Node) -> NodeSettings {
    let lists = |old: &str, new: &str| {
        let named = |name: &str| format!("gateway.nodes.{name}");
        let both = texts(root, &named(old)).chain(texts(root, &named(new)));
        both.map(|command| command.trim().to_owned()).filter(|command| !command.is_empty()).collect()
    };
    NodeSettings {
        allow: lists("allowCommands", "commands.allow"),
        deny: lists("denyCommands", "commands.deny"),
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
        fallbacks: fallbacks(defaults).unwrap_or_default(),
        thinking_default: text(defaults, "thinkingDefault"),
        verbose_default: text(defaults, "verboseDefault"),
        timeout: count(defaults, "timeoutSeconds").map_or(plain.timeout, Duration::from_secs),
        max_concurrent: count(defaults, "maxConcurrent").map_or(plain.max_concurrent, length),
        max_subagents: count(defaults, "subagents.maxConcurrent").map_or(plain.max_subagents, length),
        allowed_models: allowed(defaults, check),
        model_thinking: model_thinking(defaults),
        context_tokens: count(defaults, "contextTokens"),
        queue: queues(root),
    }
}

/// `model: "provider/model"` or `model: {primary: "provider/model"}`.
pub(super) fn model(node: &Node) -> Option<ModelRef> {
    let written = text(node, "model").or_else(|| text(node, "model.primary"))?;
    reference(&written)
}

/// A model with its provider's id as the configuration spells it.
fn reference(written: &str) -> Option<ModelRef> {
    let model = ModelRef::parse(written)?;
    Some(ModelRef { provider: known::provider_id(&model.provider), ..model })
}

/// `model: {fallbacks: […]}`; an empty list says that there are none.
fn fallbacks(node: &Node) -> Option<Vec<ModelRef>> {
    node.at("model.fallbacks")?;
    Some(texts(node, "model.fallbacks").filter_map(reference).collect())
}

fn model_thinking(defaults: &Node) -> Vec<(ModelRef, String)> {
    let members = defaults.get("models").map(Node::members).unwrap_or_default().iter();
    members
        .filter_map(|member| Some((reference(&member.name)?, text(&member.node, "thinkingDefault")?)))
        .collect()
}

fn allowed(defaults: &Node, check: &mut Check<'_>) -> Vec<(ModelRef, Option<String>)> {
    let mut models = Vec::new();
    for member in defaults.get("models").map(Node::members).unwrap_or_default() {
        match reference(&member.name) {
            Some(reference) => {
                let name = reference.to_string();
                let usual = known::ALIASES.iter().find(|(_, model)| *model == name);
                let alias = text(&member.node, "alias");
                models.push((reference, alias.or_else(|| usual.map(|(alias, _)| (*alias).to_owned()))));
            }
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
            fallbacks: fallbacks(node),
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
