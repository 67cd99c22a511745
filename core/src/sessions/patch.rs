//! `sessions.patch` (spec 02 §14.4, §20.4): all fields or none.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use telson_proto::params::{Count, Patch, Text};
use telson_proto::{ErrorShape, Json, Protocol};

use crate::auth::{Effect, Principal, authorize};
use crate::gateway::{Answer, Call, Gateway, Reply, read_params};
use crate::ids::{SessionId, SessionKey};
use crate::messages::Outcome;
use crate::settings::ModelRef;

use super::announce::Reason;
use super::arrange::{Attention, BoardFace, FastMode, PermissionMode, ToolOverrides};
use super::{Session, SessionEntry, arrange, keys, levels, methods};

const MAX_LABEL_V3: usize = 64;
const MAX_LABEL_V4: usize = 512;

/// The parameters. Every member but the key may be absent (no change) or `null` (clear).
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PatchParams {
    key: Text,
    #[serde(default)]
    label: Patch<Text>,
    #[serde(default)]
    thinking_level: Patch<Text>,
    #[serde(default)]
    verbose_level: Patch<Text>,
    #[serde(default)]
    reasoning_level: Patch<Text>,
    #[serde(default)]
    response_usage: Patch<Text>,
    #[serde(default)]
    elevated_level: Patch<Text>,
    #[serde(default)]
    exec_host: Patch<Text>,
    #[serde(default)]
    exec_security: Patch<Text>,
    #[serde(default)]
    exec_ask: Patch<Text>,
    #[serde(default)]
    exec_node: Patch<Text>,
    #[serde(default)]
    model: Patch<Text>,
    #[serde(default)]
    spawned_by: Patch<Text>,
    #[serde(default)]
    send_policy: Patch<Text>,
    #[serde(default)]
    group_activation: Patch<Text>,
    // protocol 4
    #[serde(default)]
    agent_id: Option<Text>,
    #[serde(default)]
    expected_session_id: Option<Text>,
    #[serde(default)]
    expected_marked_unread_at: Patch<Count>,
    #[serde(default)]
    pub(super) icon: Patch<Text<0, 512>>,
    #[serde(default)]
    pub(super) color: Patch<Text<0, 512>>,
    #[serde(default)]
    pub(super) category: Patch<Text<1, 512>>,
    #[serde(default)]
    pub(super) board_face: Patch<BoardFace>,
    #[serde(default)]
    pub(super) archived: Patch<bool>,
    #[serde(default)]
    pub(super) pinned: Patch<bool>,
    #[serde(default)]
    pub(super) unread: Patch<bool>,
    #[serde(default)]
    expected_lifecycle_revision: Option<Text>,
    #[serde(default)]
    expected_permission_mode: Patch<PermissionMode>,
    #[serde(default)]
    expected_tool_overrides: Patch<ToolOverrides>,
    #[serde(default)]
    pub(super) context_window: Patch<Text<1, 64>>,
    #[serde(default)]
    pub(super) fast_mode: Patch<FastMode>,
    #[serde(default)]
    pub(super) tool_overrides: Patch<ToolOverrides>,
    #[serde(default)]
    pub(super) trace_level: Patch<Text>,
    #[serde(default)]
    pub(super) permission_mode: Patch<PermissionMode>,
    #[serde(default)]
    pub(super) status_note: Patch<Text<0, 120>>,
    #[serde(default)]
    pub(super) attention: Patch<Attention>,
    #[serde(default)]
    pub(super) ttl_minutes: Option<Count<1, 120>>,
    // protocol 4, for what this gateway does not have
    #[serde(default)]
    completion_owner_session_key: Patch<Value>,
    #[serde(default)]
    inherited_tool_policy_version: Patch<Value>,
    #[serde(default)]
    inherited_tool_allow: Patch<Value>,
    #[serde(default)]
    inherited_tool_deny: Patch<Value>,
}

#[derive(Serialize)]
struct PatchResult {
    ok: bool,
    path: String,
    key: SessionKey,
    entry: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    resolved: Option<ResolvedModel>,
}

/// The model that the next run will use.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResolvedModel {
    model_provider: String,
    model: String,
}

/// `sessions.patch`: changes a session's settings, and makes the session when there is none.
pub(crate) fn patch(gateway: &mut Gateway, call: Call<PatchParams>) -> Answer<()> {
    let protocol = call.protocol();
    let (ticket, params) = (call.ticket, call.params);
    params.check(protocol)?;
    let key =
        methods::named(gateway, &call.principal, &ticket, params.key.as_str(), params.agent_id.as_ref())?;
    let light = params.is_light();
    authorize(&call.principal, &Effect::PatchSession { session: key.clone(), light })?;
    gateway.patch_session(key, params, protocol, move |gateway, result| {
        let outcome = match result {
            Ok(result) => Outcome::ok(result),
            Err(error) => Outcome::error(error),
        };
        gateway.reply(ticket, outcome);
    });
    Ok(Reply::Later)
}

impl PatchParams {
    /// The fields that protocol 4 leaves to `write` (spec 02 §20.3) are the only ones.
    pub(super) fn is_light(&self) -> bool {
        self.verbose_level.is_keep()
            && self.reasoning_level.is_keep()
            && self.response_usage.is_keep()
            && self.elevated_level.is_keep()
            && self.exec_host.is_keep()
            && self.exec_security.is_keep()
            && self.exec_ask.is_keep()
            && self.exec_node.is_keep()
            && self.spawned_by.is_keep()
            && self.send_policy.is_keep()
            && self.group_activation.is_keep()
            && self.context_window.is_keep()
            && self.tool_overrides.is_keep()
            && self.trace_level.is_keep()
            && self.permission_mode != Patch::Set(PermissionMode::Full)
    }

    /// Whether the patch says no more than that a person has, or has not, read the session.
    fn is_read_mark(&self) -> bool {
        self.is_light()
            && !self.unread.is_keep()
            && self.label.is_keep()
            && self.thinking_level.is_keep()
            && self.model.is_keep()
            && self.icon.is_keep()
            && self.color.is_keep()
            && self.category.is_keep()
            && self.archived.is_keep()
            && self.pinned.is_keep()
            && self.board_face.is_keep()
            && self.status_note.is_keep()
            && self.attention.is_keep()
            && self.fast_mode.is_keep()
            && self.permission_mode.is_keep()
    }

    /// Refuses what the protocol or this gateway does not have.
    pub(super) fn check(&self, protocol: Protocol) -> Result<(), ErrorShape> {
        let foreign = [
            ("completionOwnerSessionKey", !self.completion_owner_session_key.is_keep()),
            ("inheritedToolAllow", !self.inherited_tool_allow.is_keep()),
            ("inheritedToolDeny", !self.inherited_tool_deny.is_keep()),
            ("inheritedToolPolicyVersion", !self.inherited_tool_policy_version.is_keep()),
        ];
        methods::closed("sessions.patch", protocol, &foreign)?;
        methods::closed("sessions.patch", protocol, &self.later())?;
        if let Some((name, _)) = foreign.iter().find(|(_, present)| *present) {
            return Err(ErrorShape::invalid(format!(
                "{name} is not supported by this gateway; leave it out"
            )));
        }
        let noted = !self.status_note.is_keep() || !self.attention.is_keep();
        if self.ttl_minutes.is_some() && !noted {
            return Err(ErrorShape::invalid(
                "ttlMinutes belongs to statusNote or attention; give one of them",
            ));
        }
        if protocol == Protocol::V4 && !self.spawned_by.is_keep() {
            let text = "invalid sessions.patch params: at root: unexpected property 'spawnedBy'";
            return Err(ErrorShape::invalid(text));
        }
        if protocol == Protocol::V4 && self.archived == Patch::Set(true) && self.expected_session_id.is_none()
        {
            return Err(ErrorShape::invalid(
                "archived requires expectedSessionId: the sessionId of the session as you see it",
            ));
        }
        Ok(())
    }

    /// What protocol 4 has added, and whether it is there.
    fn later(&self) -> [(&'static str, bool); 21] {
        [
            ("agentId", self.agent_id.is_some()),
            ("archived", !self.archived.is_keep()),
            ("attention", !self.attention.is_keep()),
            ("boardFace", !self.board_face.is_keep()),
            ("category", !self.category.is_keep()),
            ("color", !self.color.is_keep()),
            ("contextWindow", !self.context_window.is_keep()),
            ("expectedLifecycleRevision", self.expected_lifecycle_revision.is_some()),
            ("expectedMarkedUnreadAt", !self.expected_marked_unread_at.is_keep()),
            ("expectedPermissionMode", !self.expected_permission_mode.is_keep()),
            ("expectedSessionId", self.expected_session_id.is_some()),
            ("expectedToolOverrides", !self.expected_tool_overrides.is_keep()),
            ("fastMode", !self.fast_mode.is_keep()),
            ("icon", !self.icon.is_keep()),
            ("permissionMode", !self.permission_mode.is_keep()),
            ("pinned", !self.pinned.is_keep()),
            ("statusNote", !self.status_note.is_keep()),
            ("toolOverrides", !self.tool_overrides.is_keep()),
            ("traceLevel", !self.trace_level.is_keep()),
            ("ttlMinutes", self.ttl_minutes.is_some()),
            ("unread", !self.unread.is_keep()),
        ]
    }

    /// Whether the session is still as the caller has seen it.
    fn check_expectations(&self, gateway: &Gateway, key: &SessionKey) -> Result<(), ErrorShape> {
        let expected = self.expected_session_id.as_ref().map(|id| SessionId::new(id.as_str()));
        methods::check_incarnation(gateway, key, expected.as_ref())?;
        let session = gateway.sessions.get(key);
        let revision = self.expected_lifecycle_revision.as_ref().map(Text::as_str);
        if revision.is_some() && revision != session.map(Session::lifecycle) {
            return Err(methods::session_changed(key));
        }
        let kept = |name: &str| session.and_then(|session| session.entry.extra.get(name));
        let marked = kept("markedUnreadAt").and_then(Value::as_u64);
        if !self.expected_marked_unread_at.holds(marked.as_ref(), |at| at.get()) {
            return Err(methods::session_changed(key));
        }
        let same = self.expected_permission_mode.holds(kept("permissionMode"), arrange::value)
            && self.expected_tool_overrides.holds(kept("toolOverrides"), arrange::value);
        if same { Ok(()) } else { Err(methods::settings_changed(key)) }
    }
}

/// A precondition of a patch.
trait Expectation<T> {
    /// Whether what is there is what is expected; `null` expects nothing to be there.
    fn holds<V: PartialEq>(&self, there: Option<&V>, value: impl FnOnce(&T) -> V) -> bool;
}

impl<T> Expectation<T> for Patch<T> {
    fn holds<V: PartialEq>(&self, there: Option<&V>, value: impl FnOnce(&T) -> V) -> bool {
        match self {
            Patch::Keep => true,
            Patch::Clear => there.is_none(),
            Patch::Set(expected) => there == Some(&value(expected)),
        }
    }
}

impl Gateway {
    /// The entry as a patch with these members makes it, if the caller may make it: how typed commands change
    /// a session.
    ///
    /// # Errors
    ///
    /// As `sessions.patch`.
    pub(crate) fn patched_for(
        &self,
        principal: &Principal,
        key: &SessionKey,
        mut members: Value,
    ) -> Result<SessionEntry, ErrorShape> {
        members["key"] = key.as_str().into();
        let params: PatchParams = read_params("sessions.patch", &members.to_string(), principal.protocol)?;
        params.check(principal.protocol)?;
        let light = params.is_light();
        authorize(principal, &Effect::PatchSession { session: key.clone(), light })?;
        self.patched(key, &params, principal.protocol)
    }

    /// Changes a session and calls `then` with the answer when that is stored. Work is cancelled before the
    /// session is archived.
    pub(super) fn patch_session(
        &mut self,
        key: SessionKey,
        params: PatchParams,
        protocol: Protocol,
        then: impl FnOnce(&mut Self, Result<Json, ErrorShape>) + Send + 'static,
    ) {
        // Whatever is wrong is said before any work is interrupted.
        if let Err(error) = self.patched(&key, &params, protocol) {
            return then(self, Err(error));
        }
        if params.archived != Patch::Set(true) {
            return self.apply_patch(&key, &params, protocol, then);
        }
        self.once_idle(key, "archive", methods::INTERRUPTIONS, move |gateway, idle| match idle {
            Ok(key) => gateway.apply_patch(&key, &params, protocol, then),
            Err(error) => then(gateway, Err(error)),
        });
    }

    /// The entry as the patch makes it.
    pub(super) fn patched(
        &self,
        key: &SessionKey,
        params: &PatchParams,
        protocol: Protocol,
    ) -> Result<SessionEntry, ErrorShape> {
        params.check_expectations(self, key)?;
        let fresh = || SessionEntry { created_at: Some(self.now.wall), ..SessionEntry::default() };
        let mut entry = self.sessions.entry(key).cloned().unwrap_or_else(fresh);
        self.patch_label(key, params, protocol, &mut entry)?;
        patch_levels(params, &mut entry)?;
        self.patch_thinking_and_model(key, params, &mut entry)?;
        patch_policies(params, &mut entry)?;
        patch_parent(key, params, &mut entry)?;
        arrange::patch(params, self.now.wall, &mut entry)?;
        Ok(entry)
    }

    fn apply_patch(
        &mut self,
        key: &SessionKey,
        params: &PatchParams,
        protocol: Protocol,
        then: impl FnOnce(&mut Self, Result<Json, ErrorShape>) + Send + 'static,
    ) {
        let mut entry = match self.patched(key, params, protocol) {
            Ok(entry) => entry,
            Err(error) => return then(self, Err(error)),
        };
        if self.sessions.entry(key).and_then(|old| old.archived) != entry.archived {
            entry.set("lifecycleRevision", Some(self.entropy.uuid().into()));
        }
        let made = self.sessions.ensure(self.now, &mut self.entropy, key);
        if made || !params.is_read_mark() {
            self.sessions.edit(self.now, key, |old| *old = entry);
        } else {
            // To read a session does not make it recent.
            self.sessions.edit_quietly(key, |old| *old = entry);
        }
        let result = PatchResult {
            ok: true,
            path: Self::store_path(),
            key: key.clone(),
            entry: self.sessions.get(key).map(Session::on_the_wire).unwrap_or_default(),
            resolved: (protocol == Protocol::V4).then(|| {
                let ModelRef { provider, model } = self.model_of(key);
                ResolvedModel { model_provider: provider, model }
            }),
        };
        let session = key.clone();
        self.store_session(key, Vec::new(), move |gateway, stored| {
            let result = stored.map(|()| Json::of(&result)).map_err(ErrorShape::from);
            if result.is_ok() {
                gateway.announce_session(&session, Reason::Patch, None);
            }
            then(gateway, result);
        });
    }

    fn patch_label(
        &self,
        key: &SessionKey,
        params: &PatchParams,
        protocol: Protocol,
        entry: &mut SessionEntry,
    ) -> Result<(), ErrorShape> {
        let most = match protocol {
            Protocol::V3 => MAX_LABEL_V3,
            Protocol::V4 => MAX_LABEL_V4,
        };
        let label = match &params.label {
            Patch::Keep => return Ok(()),
            Patch::Clear => None,
            Patch::Set(label) => Some(label.as_str().trim()),
        };
        if label == Some("") {
            return Err(ErrorShape::invalid("invalid label: empty"));
        }
        if label.is_some_and(|label| label.chars().count() > most) {
            return Err(ErrorShape::invalid(format!("invalid label: too long (max {most})")));
        }
        let rules = self.sessions.rules();
        let agent = rules.agent_of(key);
        let taken = label.filter(|label| {
            let mut others = self.sessions.labelled(*label).filter(|(other, _)| *other != key);
            others.any(|(other, _)| rules.agent_of(other) == agent)
        });
        if let Some(label) = taken {
            return Err(ErrorShape::invalid(format!("label already in use: {label}")));
        }
        entry.label = label.map(str::to_owned);
        Ok(())
    }

    /// Model first: which levels are possible depends on it.
    fn patch_thinking_and_model(
        &self,
        key: &SessionKey,
        params: &PatchParams,
        entry: &mut SessionEntry,
    ) -> Result<(), ErrorShape> {
        let agent = self.sessions.rules().agent_of(key);
        match &params.model {
            Patch::Keep => {}
            Patch::Clear => entry.set_model(None),
            Patch::Set(text) => {
                let model = self.agents.choose(text.as_str())?;
                let default = self.agents.model_of(&agent, None);
                entry.set_model((model != default).then_some(model));
            }
        }
        let model = self.agents.model_of(&agent, Some(&*entry));
        match &params.thinking_level {
            Patch::Keep => {
                if entry.thinking_level.as_deref() == Some("xhigh") && !self.agents.can_xhigh(&model) {
                    entry.thinking_level = Some("high".to_owned());
                }
            }
            Patch::Clear => entry.thinking_level = None,
            Patch::Set(text) => {
                let level = levels::thinking(text.as_str()).ok_or_else(|| {
                    let xhigh = if self.agents.can_xhigh(&model) { "|xhigh" } else { "" };
                    ErrorShape::invalid(format!(
                        "invalid thinkingLevel (use off|minimal|low|medium|high{xhigh})"
                    ))
                })?;
                if level == "xhigh" && !self.agents.can_xhigh(&model) {
                    let models = self.agents.xhigh_models();
                    return Err(ErrorShape::invalid(format!(
                        "thinkingLevel \"xhigh\" is only supported for {models}"
                    )));
                }
                entry.thinking_level = (level != "off").then(|| level.to_owned());
            }
        }
        Ok(())
    }
}

impl SessionEntry {
    /// Chooses a model for the session, or leaves the choice to its agent. An account that was chosen for the
    /// old model does not stay.
    pub(crate) fn set_model(&mut self, model: Option<ModelRef>) {
        self.provider_override = model.as_ref().map(|model| model.provider.clone());
        self.model_override = model.map(|model| model.model);
        for name in ["authProfileOverride", "authProfileOverrideSource", "authProfileOverrideCompactionCount"]
        {
            self.set(name, None);
        }
    }
}

/// Reads a word; `None` when the member is absent, `Some(None)` when the field is to be cleared.
fn read(
    patch: &Patch<Text>,
    words: impl Fn(&str) -> Option<&'static str>,
    error: &str,
) -> Result<Option<Option<String>>, ErrorShape> {
    match patch {
        Patch::Keep => Ok(None),
        Patch::Clear => Ok(Some(None)),
        Patch::Set(text) => match words(text.as_str()) {
            Some(word) => Ok(Some(Some(word.to_owned()))),
            None => Err(ErrorShape::invalid(error)),
        },
    }
}

fn patch_levels(params: &PatchParams, entry: &mut SessionEntry) -> Result<(), ErrorShape> {
    let not_off = |word: Option<String>| word.filter(|word| word != "off");
    let verbose = read(&params.verbose_level, levels::verbose, "invalid verboseLevel (use \"on\"|\"off\")")?;
    if let Some(word) = verbose {
        entry.verbose_level = word;
    }
    let error = "invalid reasoningLevel (use \"on\"|\"off\"|\"stream\")";
    if let Some(word) = read(&params.reasoning_level, levels::reasoning, error)? {
        entry.reasoning_level = not_off(word);
    }
    let error = "invalid responseUsage (use \"off\"|\"tokens\"|\"full\")";
    if let Some(word) = read(&params.response_usage, levels::usage, error)? {
        entry.response_usage = not_off(word);
    }
    let error = "invalid elevatedLevel (use \"on\"|\"off\"|\"ask\"|\"full\")";
    if let Some(word) = read(&params.elevated_level, levels::elevated, error)? {
        entry.elevated_level = word;
    }
    Ok(())
}

fn patch_policies(params: &PatchParams, entry: &mut SessionEntry) -> Result<(), ErrorShape> {
    const HOSTS: &[&str] = &["sandbox", "gateway", "node"];
    const SECURITY: &[&str] = &["deny", "allowlist", "full"];
    const ASK: &[&str] = &["off", "on-miss", "always"];
    const SEND: &[&str] = &["allow", "deny"];
    const ACTIVATION: &[&str] = &["mention", "always"];
    let kept = [
        ("execHost", &params.exec_host, HOSTS),
        ("execSecurity", &params.exec_security, SECURITY),
        ("execAsk", &params.exec_ask, ASK),
        ("groupActivation", &params.group_activation, ACTIVATION),
    ];
    for (name, patch, words) in kept {
        if let Some(word) = read(patch, |text| levels::one_of(words, text), &use_one_of(name, words))? {
            entry.set(name, word.map(Value::from));
        }
    }
    let send = read(&params.send_policy, |text| levels::one_of(SEND, text), &use_one_of("sendPolicy", SEND))?;
    if let Some(word) = send {
        entry.send_policy = word;
    }
    match &params.exec_node {
        Patch::Keep => {}
        Patch::Clear => entry.set("execNode", None),
        Patch::Set(node) if node.as_str().trim().is_empty() => {
            return Err(ErrorShape::invalid("invalid execNode: empty"));
        }
        Patch::Set(node) => entry.set("execNode", Some(node.as_str().trim().into())),
    }
    Ok(())
}

pub(super) fn use_one_of(field: &str, words: &[&str]) -> String {
    let words: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
    format!("invalid {field} (use {})", words.join("|"))
}

fn patch_parent(key: &SessionKey, params: &PatchParams, entry: &mut SessionEntry) -> Result<(), ErrorShape> {
    let error = |text: &str| Err(ErrorShape::invalid(text));
    match (&params.spawned_by, &entry.spawned_by) {
        (Patch::Keep, _) | (Patch::Clear, None) => Ok(()),
        (Patch::Clear, Some(_)) => error("spawnedBy cannot be cleared once set"),
        (Patch::Set(parent), _) if parent.as_str().trim().is_empty() => error("invalid spawnedBy: empty"),
        (Patch::Set(_), _) if !keys::is_subagent(key) => {
            error("spawnedBy is only supported for subagent:* sessions")
        }
        (Patch::Set(parent), Some(old)) if old != parent.as_str().trim() => {
            error("spawnedBy cannot be changed once set")
        }
        (Patch::Set(parent), _) => {
            entry.spawned_by = Some(parent.as_str().trim().to_owned());
            Ok(())
        }
    }
}
