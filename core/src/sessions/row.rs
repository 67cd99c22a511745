//! A session as lists show it (spec 02 §14.1, §20.8) and as `status` shows it (spec 03 §9.3).

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use telson_proto::Protocol;

use crate::gateway::Gateway;
use crate::ids::{AgentId, RunId, SessionId, SessionKey};

use super::keys::{self, Kind};
use super::{Session, SessionEntry, title};

/// A row of `sessions.list`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Row<'a> {
    key: &'a SessionKey,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) display_name: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) derived_title: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) last_message_preview: Option<&'a str>,
    #[serde(flatten)]
    place: Place<'a>,
    updated_at: u64,
    session_id: &'a SessionId,
    #[serde(skip_serializing_if = "Option::is_none")]
    system_sent: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    aborted_last_run: Option<bool>,
    #[serde(flatten)]
    levels: Levels<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    input_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_tokens: Option<u64>,
    total_tokens: u64,
    model_provider: String,
    model: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    context_tokens: Option<u64>,
    #[serde(flatten)]
    later: Option<Later<'a>>,
}

/// Where a conversation happens.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Place<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group_channel: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    space: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    chat_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delivery_context: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_channel: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_to: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_account_id: Option<&'a str>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Levels<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking_level: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verbose_level: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_level: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    elevated_level: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    send_policy: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_usage: Option<&'a str>,
}

/// What protocol 4 adds.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Later<'a> {
    agent_id: AgentId,
    is_main: bool,
    archived: bool,
    pinned: bool,
    unread: bool,
    has_active_run: bool,
    active_run_ids: Vec<&'a RunId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_run_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    spawned_by: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_session_key: Option<SessionKey>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    child_sessions: Vec<&'a SessionKey>,
    lifecycle_revision: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    active_leaf_entry_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model_override_source: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_at: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_activity_at: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_interaction_at: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    icon: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    color: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    category: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    board_face: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    archived_at: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pinned_at: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_read_at: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    marked_unread_at: Option<u64>,
    /// What people have chosen for the session, as they wrote it.
    #[serde(flatten)]
    choices: BTreeMap<&'static str, &'a Value>,
    snapshot_at: u64,
}

/// Members of an entry that the row repeats as they are.
const CHOICES: [&str; 9] = [
    "contextWindow",
    "fastMode",
    "forkSource",
    "forkedFromParent",
    "permissionMode",
    "previousSessionId",
    "spawnDepth",
    "toolOverrides",
    "traceLevel",
];
/// Those of a note that is in force for a while.
const NOTE: [&str; 3] = ["attention", "statusNote", "statusNoteExpiresAt"];
/// So many children are named.
const MAX_CHILDREN: usize = 64;

impl Gateway {
    /// The row of a session with title and preview; `None` when there is no such session.
    pub(crate) fn session_row(&self, key: &SessionKey, protocol: Protocol) -> Option<Row<'_>> {
        let (key, session) = self.sessions.stored(key)?;
        let mut row = self.row(key, session, protocol);
        row.derived_title = Some(derived_title(session));
        row.last_message_preview = session.entry.last_message.as_deref();
        Some(row)
    }

    /// The row of a session without title and preview.
    pub(super) fn row<'a>(
        &'a self,
        key: &'a SessionKey,
        session: &'a Session,
        protocol: Protocol,
    ) -> Row<'a> {
        let entry = &session.entry;
        let model = self.shown_model(key, entry);
        let context_tokens = entry.context_tokens.or_else(|| self.agents.context_tokens(&model));
        Row {
            key,
            kind: keys::kind(key, entry.chat_type.as_deref()).as_str(),
            label: entry.label.as_deref(),
            display_name: display_name(key, entry),
            derived_title: None,
            last_message_preview: None,
            place: Place::of(entry),
            updated_at: session.updated_at,
            session_id: &session.id,
            system_sent: entry.system_sent,
            aborted_last_run: entry.aborted_last_run,
            levels: Levels::of(entry),
            input_tokens: entry.input_tokens,
            output_tokens: entry.output_tokens,
            total_tokens: entry.total(),
            model_provider: model.provider,
            model: model.model,
            context_tokens,
            later: (protocol == Protocol::V4).then(|| self.later(key, session)),
        }
    }

    fn later<'a>(&'a self, key: &'a SessionKey, session: &'a Session) -> Later<'a> {
        let entry = &session.entry;
        let number = |name: &str| entry.extra.get(name).and_then(Value::as_u64);
        let active: Vec<&RunId> = self.sessions.active_runs(key).collect();
        Later {
            agent_id: self.sessions.rules().agent_of(key),
            is_main: self.sessions.rules().is_main(key),
            archived: entry.archived.unwrap_or(false),
            pinned: entry.pinned.unwrap_or(false),
            unread: number("markedUnreadAt").is_some(),
            has_active_run: !active.is_empty(),
            status: if active.is_empty() { entry.status.as_deref() } else { Some("running") },
            active_run_ids: active,
            last_run_id: entry.last_run_id.as_deref(),
            spawned_by: entry.spawned_by.as_deref(),
            parent_session_key: parent(key, entry),
            child_sessions: self
                .sessions
                .children(key.as_str())
                .map(|(child, _)| child)
                .take(MAX_CHILDREN)
                .collect(),
            lifecycle_revision: session.lifecycle(),
            active_leaf_entry_id: session.last_entry.as_deref(),
            model_override_source: entry.model_override.is_some().then_some("user"),
            created_at: entry.created_at,
            last_activity_at: entry.last_activity_at,
            last_interaction_at: entry.last_interaction_at,
            icon: entry.text("icon"),
            color: entry.text("color"),
            category: entry.text("category"),
            board_face: entry.text("boardFace"),
            archived_at: number("archivedAt"),
            pinned_at: number("pinnedAt"),
            last_read_at: number("lastReadAt"),
            marked_unread_at: number("markedUnreadAt"),
            choices: choices(entry, self.now.wall),
            snapshot_at: self.now.wall,
        }
    }

    /// The row of a session in `status`.
    pub(crate) fn status_row(&self, key: &SessionKey) -> Value {
        let Some(session) = self.sessions.get(key) else { return Value::Null };
        let entry = &session.entry;
        let model = self.shown_model(key, entry);
        let context = entry.context_tokens.or_else(|| self.agents.context_tokens(&model));
        let total = entry.total_tokens.or_else(|| entry.input_tokens.map(|_| entry.total()));
        let both = total.zip(context.filter(|context| *context > 0));
        let mut row = serde_json::json!({
            "agentId": self.sessions.rules().agent_of(key),
            "key": key,
            "kind": keys::kind(key, entry.chat_type.as_deref()).as_str(),
            "sessionId": session.id,
            "updatedAt": session.updated_at,
            "age": self.now.wall.saturating_sub(session.updated_at),
            "totalTokens": total,
            "remainingTokens": both.map(|(total, context)| context.saturating_sub(total)),
            "percentUsed": both.map(|(total, context)| percent(total, context)),
            "model": model.model,
            "contextTokens": context,
            "flags": flags(session),
        });
        let optional = [
            ("thinkingLevel", entry.thinking_level.as_deref().map(Value::from)),
            ("verboseLevel", entry.verbose_level.as_deref().map(Value::from)),
            ("reasoningLevel", entry.reasoning_level.as_deref().map(Value::from)),
            ("elevatedLevel", entry.elevated_level.as_deref().map(Value::from)),
            ("systemSent", entry.system_sent.map(Value::from)),
            ("abortedLastRun", entry.aborted_last_run.map(Value::from)),
            ("inputTokens", entry.input_tokens.map(Value::from)),
            ("outputTokens", entry.output_tokens.map(Value::from)),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                row[name] = value;
            }
        }
        row
    }
}

/// What the row repeats of an entry; a note that is no longer in force is left out.
fn choices(entry: &SessionEntry, now: u64) -> BTreeMap<&'static str, &Value> {
    let expires = entry.extra.get("statusNoteExpiresAt").and_then(Value::as_u64);
    let note = NOTE.iter().filter(|_| expires.is_none_or(|at| at > now));
    let names = CHOICES.iter().chain(note);
    names.filter_map(|name| Some((*name, entry.extra.get(*name)?))).collect()
}

/// The session that has started this one, or whose thread it is.
pub(super) fn parent(key: &SessionKey, entry: &SessionEntry) -> Option<SessionKey> {
    let started_by = entry.spawned_by.as_deref().or_else(|| entry.text("parentSessionKey"));
    started_by.map(SessionKey::new).or_else(|| keys::thread_parent(key))
}

impl<'a> Place<'a> {
    fn of(entry: &'a SessionEntry) -> Self {
        Self {
            channel: entry.text("channel"),
            subject: entry.text("subject"),
            group_channel: entry.text("groupChannel"),
            space: entry.text("space"),
            chat_type: entry.chat_type.as_deref(),
            origin: entry.extra.get("origin"),
            delivery_context: entry.extra.get("deliveryContext"),
            last_channel: entry.last_channel.as_deref(),
            last_to: entry.text("lastTo"),
            last_account_id: entry.text("lastAccountId"),
        }
    }
}

impl<'a> Levels<'a> {
    fn of(entry: &'a SessionEntry) -> Self {
        Self {
            thinking_level: entry.thinking_level.as_deref(),
            verbose_level: entry.verbose_level.as_deref(),
            reasoning_level: entry.reasoning_level.as_deref(),
            elevated_level: entry.elevated_level.as_deref(),
            send_policy: entry.send_policy.as_deref(),
            response_usage: entry.response_usage.as_deref(),
        }
    }
}

/// The name of a session: its own, for groups one made of where it is, its label, its origin's label.
pub(super) fn display_name<'a>(key: &SessionKey, entry: &'a SessionEntry) -> Option<Cow<'a, str>> {
    let own = entry.display_name.as_deref().map(Cow::Borrowed);
    own.or_else(|| group_name(key, entry).map(Cow::Owned))
        .or_else(|| entry.label.as_deref().map(Cow::Borrowed))
        .or_else(|| entry.extra.get("origin")?.get("label")?.as_str().map(Cow::Borrowed))
}

/// `<channel>:#<room>` for rooms, `<channel>:g-<slug>` for other groups.
fn group_name(key: &SessionKey, entry: &SessionEntry) -> Option<String> {
    if keys::kind(key, entry.chat_type.as_deref()) != Kind::Group {
        return None;
    }
    let channel =
        entry.text("channel").or(entry.last_channel.as_deref()).or_else(|| key.as_str().split(':').nth(2))?;
    if let Some(room) = entry.text("groupChannel") {
        return Some(format!("{channel}:#{}", room.trim_start_matches('#')));
    }
    let after_marker = || {
        let text = key.as_str();
        [":group:", ":channel:"].iter().find_map(|marker| text.split_once(marker)).map(|(_, id)| id)
    };
    let source = entry.text("subject").or_else(|| entry.text("space")).or_else(|| entry.text("groupId"));
    let slug = slug(source.or_else(after_marker)?);
    (!slug.is_empty()).then(|| format!("{channel}:g-{slug}"))
}

/// Lower case, with one dash for each run of anything but letters, digits and the marks of ids.
fn slug(text: &str) -> String {
    let mut slug = String::with_capacity(text.len());
    for c in text.chars().flat_map(char::to_lowercase) {
        if c.is_alphanumeric() || matches!(c, '.' | '_' | '@' | '+') {
            slug.push(c);
        } else if !slug.ends_with('-') {
            slug.push('-');
        }
    }
    slug.trim_matches('-').to_owned()
}

/// The title of a conversation: its name, its subject, its first words, or its id.
pub(super) fn derived_title(session: &Session) -> Cow<'_, str> {
    let entry = &session.entry;
    let filled = |text: &&str| !text.trim().is_empty();
    let own = entry.display_name.as_deref().filter(filled).or_else(|| entry.text("subject").filter(filled));
    match own.or(entry.first_message.as_deref()) {
        Some(text) => Cow::Borrowed(text),
        None => Cow::Owned(title::from_id(session.id.as_str(), session.updated_at)),
    }
}

/// How much of the context is used, rounded, at most 999.
fn percent(total: u64, context: u64) -> u64 {
    (total.saturating_mul(100).saturating_add(context / 2) / context).min(999)
}

fn flags(session: &Session) -> Vec<String> {
    let entry = &session.entry;
    let levels = [
        ("think", &entry.thinking_level),
        ("verbose", &entry.verbose_level),
        ("reasoning", &entry.reasoning_level),
        ("elevated", &entry.elevated_level),
    ];
    let mut flags: Vec<String> =
        levels.iter().filter_map(|(name, level)| Some(format!("{name}:{}", level.as_deref()?))).collect();
    if entry.system_sent == Some(true) {
        flags.push("system".to_owned());
    }
    if entry.aborted_last_run == Some(true) {
        flags.push("aborted".to_owned());
    }
    flags.push(format!("id:{}", session.id));
    flags
}
