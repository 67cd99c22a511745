//! The methods of the gateway about itself.

#![expect(clippy::needless_pass_by_value, reason = "the table of methods fixes the signatures")]

use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize};
use telson_proto::params::NoParams;
use telson_proto::system::PresenceEntry;
use telson_proto::{ErrorShape, EventName, Json, Role, Scope};

use crate::auth::{Effect, Principal, authorize};
use crate::gateway::{Answer, Call, Gateway, Reply, read_params};
use crate::limits;
use crate::messages::Publish;

use super::beacon;

/// Parameters of a method that looks at none of them.
#[derive(Debug, Default)]
pub(crate) struct Anything;

impl<'de> Deserialize<'de> for Anything {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde_json::Value::deserialize(deserializer).map(|_| Self)
    }
}

#[derive(Debug, Serialize)]
pub(crate) struct Done {
    ok: bool,
}

/// `health`: the last summary, refreshed when it is older than the refresh interval or a probe is asked for.
pub(crate) fn health(gateway: &mut Gateway, call: Call<Open<HealthParams>>) -> Answer<Json> {
    let fresh = gateway.system.fresh_health(gateway.now);
    let summary = match fresh.filter(|_| !call.params.0.probe.unwrap_or(false)) {
        Some(summary) => summary,
        None => {
            gateway.refresh_health();
            gateway.system.health()
        }
    };
    Ok(Reply::Ready(gateway.health_for(&call.principal, summary)))
}

/// `status`: sessions, waiting system events and defaults.
pub(crate) fn status(gateway: &mut Gateway, call: Call<Anything>) -> Answer<Json> {
    authorize(&call.principal, &Effect::ReadSessions)?;
    Ok(Reply::Ready(gateway.status_summary()))
}

/// `system-presence`: every entry, newest first.
pub(crate) fn presence(gateway: &mut Gateway, call: Call<Anything>) -> Answer<Vec<PresenceEntry>> {
    authorize(&call.principal, &Effect::ReadSessions)?;
    Ok(Reply::Ready(gateway.presence.list(gateway.now)))
}

/// `system-event`: a beacon, or a text for the main session's next prompt.
pub(crate) fn event(gateway: &mut Gateway, call: Call<Open<EventParams>>) -> Answer<Done> {
    authorize(&call.principal, &Effect::PostSystemEvent)?;
    let params = call.params.0;
    let text = params.text.as_deref().map(str::trim).unwrap_or_default();
    if text.is_empty() {
        return Err(ErrorShape::invalid("text required"));
    }
    let (key, entry) = beacon::entry(&params, text, gateway.now.wall);
    let (size, most) = (Json::of(&entry).as_str().len(), limits::SYSTEM_EVENT_BYTES);
    if size as u64 > most {
        return Err(ErrorShape::invalid(format!("system event of {size} bytes; send at most {most}")));
    }
    let after = entry.clone();
    let before = gateway.presence.beacon(&key, entry);
    let news = match text.starts_with("Node:") {
        true => beacon::news(before.as_ref(), &after),
        false => Some(text.to_owned()),
    };
    if let Some(news) = news {
        let main = gateway.sessions.main_key();
        gateway.system.enqueue(main, &news);
    }
    Ok(Reply::Ready(Done { ok: true }))
}

/// `last-heartbeat`: `null`, until a heartbeat has run.
pub(crate) fn last_heartbeat(_: &mut Gateway, _: Call<Anything>) -> Answer<Json> {
    Ok(Reply::Ready(Json::null()))
}

/// `talk.mode`: switches talk mode and tells everyone. A browser needs a phone to talk through.
pub(crate) fn talk_mode(gateway: &mut Gateway, call: Call<Json>) -> Answer<TalkMode> {
    authorize(&call.principal, &Effect::SwitchTalkMode)?;
    if is_webchat(&call.principal) && !gateway.has_mobile_node() {
        return Err(ErrorShape::unavailable("talk disabled: no connected iOS/Android nodes"));
    }
    let params: TalkModeParams = read_params("talk.mode", call.params.as_str(), call.protocol())?;
    let mode = TalkMode { enabled: params.enabled, phase: params.phase, ts: gateway.now.wall };
    gateway.publish(Publish::droppable(EventName::TalkMode, Json::of(&mode)));
    Ok(Reply::Ready(mode))
}

/// `config.get`: the configuration as it was read at start, secrets redacted (spec 03 §6.1).
pub(crate) fn config_get(gateway: &mut Gateway, call: Call<NoParams>) -> Answer<ConfigSnapshot> {
    authorize(&call.principal, &Effect::SeeConfig)?;
    let view = gateway.settings.config.clone();
    let issues = Json::of(&[(); 0]);
    Ok(Reply::Ready(ConfigSnapshot {
        path: gateway.settings.facts.config_path.clone(),
        exists: view.exists,
        raw: view.raw,
        parsed: view.parsed,
        valid: true,
        config: view.config,
        hash: view.hash,
        legacy_issues: issues.clone(),
        issues,
        warnings: view.warnings,
    }))
}

fn is_webchat(principal: &Principal) -> bool {
    let client = principal.declared.shown();
    client.mode == "webchat" || client.id == "webchat-ui"
}

impl Gateway {
    /// Whether a phone or tablet is connected as a node.
    fn has_mobile_node(&self) -> bool {
        let mobile = |principal: &Principal| {
            let platform = principal.declared.shown().platform.as_deref().unwrap_or_default().to_lowercase();
            ["ios", "ipados", "android"].iter().any(|name| platform.starts_with(name))
        };
        self.conns.values().any(|principal| principal.role == Role::Node && mobile(principal))
    }

    /// The summary as this caller may see it: session keys are for those who may read.
    fn health_for(&self, principal: &Principal, summary: Json) -> Json {
        if principal.holds(Scope::Read) { summary } else { self.health_in_brief() }
    }

    /// Health for those who may not read.
    pub(crate) fn health_in_brief(&self) -> Json {
        Json::of(&serde_json::json!({"ok": true, "ts": self.now.wall}))
    }
}

/// Parameters that stay open: unknown members are ignored in both protocols.
#[derive(Debug, Default)]
pub(crate) struct Open<P>(pub(crate) P);

impl<'de, P: de::DeserializeOwned> Deserialize<'de> for Open<P> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        serde_json::from_value(value).map(Self).map_err(de::Error::custom)
    }
}

/// Parameters of `health`.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct HealthParams {
    #[serde(default)]
    probe: Option<bool>,
}

/// Parameters of `system-event`. Members of the wrong type are ignored.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct EventParams {
    #[serde(deserialize_with = "lenient")]
    pub(super) text: Option<String>,
    #[serde(deserialize_with = "lenient")]
    pub(super) device_id: Option<String>,
    #[serde(deserialize_with = "lenient")]
    pub(super) instance_id: Option<String>,
    #[serde(deserialize_with = "lenient")]
    pub(super) host: Option<String>,
    #[serde(deserialize_with = "lenient")]
    pub(super) ip: Option<String>,
    #[serde(deserialize_with = "lenient")]
    pub(super) mode: Option<String>,
    #[serde(deserialize_with = "lenient")]
    pub(super) version: Option<String>,
    #[serde(deserialize_with = "lenient")]
    pub(super) platform: Option<String>,
    #[serde(deserialize_with = "lenient")]
    pub(super) device_family: Option<String>,
    #[serde(deserialize_with = "lenient")]
    pub(super) model_identifier: Option<String>,
    #[serde(deserialize_with = "lenient")]
    pub(super) reason: Option<String>,
    #[serde(deserialize_with = "lenient")]
    pub(super) last_input_seconds: Option<u64>,
    #[serde(deserialize_with = "lenient")]
    pub(super) roles: Option<Vec<String>>,
    #[serde(deserialize_with = "lenient")]
    pub(super) scopes: Option<Vec<String>>,
}

fn lenient<'de, D: Deserializer<'de>, T: de::DeserializeOwned>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    Ok(serde_json::from_value(value).ok())
}

/// Parameters of `talk.mode`.
#[derive(Debug, Deserialize)]
pub(crate) struct TalkModeParams {
    enabled: bool,
    #[serde(default)]
    phase: Option<String>,
}

/// The result of `talk.mode` and the payload of its event; an absent phase is `null`.
#[derive(Debug, Serialize)]
pub(crate) struct TalkMode {
    enabled: bool,
    phase: Option<String>,
    ts: u64,
}

/// The result of `config.get`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ConfigSnapshot {
    path: String,
    exists: bool,
    raw: Option<String>,
    parsed: Json,
    valid: bool,
    config: Json,
    hash: String,
    issues: Json,
    warnings: Json,
    legacy_issues: Json,
}
