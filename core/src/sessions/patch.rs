//! `sessions.patch` (spec 02 §14.4, §20.4): all fields or none.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use telson_proto::params::{Count, Patch, Text};
use telson_proto::{ErrorShape, Json, Protocol};

use crate::auth::{Effect, Principal, authorize};
use crate::gateway::{Answer, Call, Gateway, Reply, read_params};
use crate::ids::{SessionId, SessionKey, Ticket};
use crate::messages::Outcome;
use crate::settings::ModelRef;

use super::announce::Reason;
use super::{Session, SessionEntry, keys, levels, methods};

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
    icon: Patch<Text<0, 512>>,
    #[serde(default)]
    color: Patch<Text<0, 512>>,
    #[serde(default)]
    category: Patch<Text<1, 512>>,
    #[serde(default)]
    board_face: Patch<BoardFace>,
    #[serde(default)]
    archived: Patch<bool>,
    #[serde(default)]
    pinned: Patch<bool>,
    #[serde(default)]
    unread: Patch<bool>,
    // protocol 4, for what this gateway does not have
    #[serde(default)]
    context_window: Patch<Value>,
    #[serde(default)]
    fast_mode: Patch<Value>,
    #[serde(default)]
    tool_overrides: Patch<Value>,
    #[serde(default)]
    trace_level: Patch<Value>,
    #[serde(default)]
    permission_mode: Patch<Value>,
    #[serde(default)]
    status_note: Patch<Value>,
    #[serde(default)]
    attention: Patch<Value>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum BoardFace {
    Chat,
    Dashboard,
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
    let params = call.params;
    params.check(protocol)?;
    let key = methods::named(
        gateway,
        &call.principal,
        &call.ticket,
        params.key.as_str(),
        params.agent_id.as_ref(),
    )?;
    let light = params.is_light();
    authorize(&call.principal, &Effect::PatchSession { session: key.clone(), light })?;
    // Whatever is wrong is said before any work is interrupted.
    gateway.patched(&key, &params, protocol)?;
    if params.archived == Patch::Set(true) {
        let tries = methods::INTERRUPTIONS;
        gateway.when_idle(call.ticket, key, "archive", tries, move |gateway, ticket, session| {
            gateway.apply_patch(ticket, &session, &params, protocol);
        });
    } else {
        gateway.apply_patch(call.ticket, &key, &params, protocol);
    }
    Ok(Reply::Later)
}

impl PatchParams {
    /// The fields that protocol 4 leaves to `write` (spec 02 §20.3) are the only ones.
    fn is_light(&self) -> bool {
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
    }

    /// Refuses what the protocol or this gateway does not have.
    fn check(&self, protocol: Protocol) -> Result<(), ErrorShape> {
        let foreign = [
            ("attention", !self.attention.is_keep()),
            ("contextWindow", !self.context_window.is_keep()),
            ("fastMode", !self.fast_mode.is_keep()),
            ("permissionMode", !self.permission_mode.is_keep()),
            ("statusNote", !self.status_note.is_keep()),
            ("toolOverrides", !self.tool_overrides.is_keep()),
            ("traceLevel", !self.trace_level.is_keep()),
        ];
        methods::closed("sessions.patch", protocol, &foreign)?;
        methods::closed(
            "sessions.patch",
            protocol,
            &[
                ("agentId", self.agent_id.is_some()),
                ("archived", !self.archived.is_keep()),
                ("boardFace", !self.board_face.is_keep()),
                ("category", !self.category.is_keep()),
                ("color", !self.color.is_keep()),
                ("expectedMarkedUnreadAt", !self.expected_marked_unread_at.is_keep()),
                ("expectedSessionId", self.expected_session_id.is_some()),
                ("icon", !self.icon.is_keep()),
                ("pinned", !self.pinned.is_keep()),
                ("unread", !self.unread.is_keep()),
            ],
        )?;
        if let Some((name, _)) = foreign.iter().find(|(_, present)| *present) {
            return Err(ErrorShape::invalid(format!(
                "{name} is not supported by this gateway; leave it out"
            )));
        }
        if protocol == Protocol::V4 && !self.spawned_by.is_keep() {
            let text = "invalid sessions.patch params: at root: unexpected property 'spawnedBy'";
            return Err(ErrorShape::invalid(text));
        }
        Ok(())
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

    /// The entry as the patch makes it.
    fn patched(
        &self,
        key: &SessionKey,
        params: &PatchParams,
        protocol: Protocol,
    ) -> Result<SessionEntry, ErrorShape> {
        let expected = params.expected_session_id.as_ref().map(|id| SessionId::new(id.as_str()));
        methods::check_incarnation(self, key, expected.as_ref())?;
        let fresh = || SessionEntry { created_at: Some(self.now.wall), ..SessionEntry::default() };
        let mut entry = self.sessions.entry(key).cloned().unwrap_or_else(fresh);
        let marked = entry.extra.get("markedUnreadAt").and_then(Value::as_u64);
        let mark_moved = match params.expected_marked_unread_at {
            Patch::Keep => false,
            Patch::Clear => marked.is_some(),
            Patch::Set(at) => marked != Some(at.get()),
        };
        if mark_moved {
            return Err(methods::session_changed(key));
        }
        self.patch_label(key, params, protocol, &mut entry)?;
        patch_levels(params, &mut entry)?;
        self.patch_thinking_and_model(key, params, &mut entry)?;
        patch_policies(params, &mut entry)?;
        patch_parent(key, params, &mut entry)?;
        patch_arrangement(params, self.now.wall, &mut entry);
        Ok(entry)
    }

    fn apply_patch(&mut self, ticket: Ticket, key: &SessionKey, params: &PatchParams, protocol: Protocol) {
        let entry = match self.patched(key, params, protocol) {
            Ok(entry) => entry,
            Err(error) => return self.reply(ticket, Outcome::error(error)),
        };
        let made = self.sessions.ensure(self.now, &mut self.entropy, key);
        if made || !params.is_read_mark() {
            self.sessions.edit(self.now, key, |old| *old = entry);
        } else {
            // To read a session does not make it recent.
            self.sessions.edit_quietly(key, |old| *old = entry);
        }
        let result = PatchResult {
            ok: true,
            path: self.store_path(),
            key: key.clone(),
            entry: self.sessions.get(key).map(Session::on_the_wire).unwrap_or_default(),
            resolved: (protocol == Protocol::V4).then(|| {
                let ModelRef { provider, model } = self.model_of(key);
                ResolvedModel { model_provider: provider, model }
            }),
        };
        let session = key.clone();
        self.store_session(key, Vec::new(), move |gateway, stored| {
            let outcome = match stored {
                Ok(()) => {
                    gateway.announce_session(&session, Reason::Patch, None);
                    Outcome::ok(Json::of(&result))
                }
                Err(error) => Outcome::error(error.into()),
            };
            gateway.reply(ticket, outcome);
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

fn use_one_of(field: &str, words: &[&str]) -> String {
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

/// How people arrange sessions in their lists.
fn patch_arrangement(params: &PatchParams, now: u64, entry: &mut SessionEntry) {
    let texts = [
        ("icon", params.icon.as_str()),
        ("color", params.color.as_str()),
        ("category", params.category.as_str()),
        (
            "boardFace",
            match &params.board_face {
                Patch::Keep => Patch::Keep,
                Patch::Clear => Patch::Clear,
                Patch::Set(BoardFace::Chat) => Patch::Set("chat"),
                Patch::Set(BoardFace::Dashboard) => Patch::Set("dashboard"),
            },
        ),
    ];
    for (name, patch) in texts {
        match patch {
            Patch::Keep => {}
            Patch::Clear | Patch::Set("") => entry.set(name, None),
            Patch::Set(text) => entry.set(name, Some(text.into())),
        }
    }
    let stamp = |on: bool| on.then(|| Value::from(now));
    if let Some(on) = flag(&params.archived) {
        entry.archived = on.then_some(true);
        entry.set("archivedAt", stamp(on));
    }
    if let Some(on) = flag(&params.pinned) {
        entry.pinned = on.then_some(true);
        entry.set("pinnedAt", stamp(on));
    }
    if let Some(unread) = flag(&params.unread) {
        entry.set("markedUnreadAt", stamp(unread));
        if !unread {
            entry.set("lastReadAt", Some(now.into()));
        }
    }
}

fn flag(patch: &Patch<bool>) -> Option<bool> {
    match patch {
        Patch::Keep => None,
        Patch::Clear => Some(false),
        Patch::Set(on) => Some(*on),
    }
}

/// A patch of a text as one of a string slice.
trait Texts {
    fn as_str(&self) -> Patch<&str>;
}

impl<const MIN: usize, const MAX: usize> Texts for Patch<Text<MIN, MAX>> {
    fn as_str(&self) -> Patch<&str> {
        match self {
            Self::Keep => Patch::Keep,
            Self::Clear => Patch::Clear,
            Self::Set(text) => Patch::Set(text.as_str()),
        }
    }
}
