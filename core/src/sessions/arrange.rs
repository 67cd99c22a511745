//! How people arrange their sessions, and what they choose for them: the plain data of `sessions.patch` (spec 02
//! §20.4). It is kept as written and shown in the session's row.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use telson_proto::ErrorShape;
use telson_proto::params::{Count, Patch, Text};

use super::patch::{PatchParams, use_one_of};
use super::{SessionEntry, levels};

/// How long a note is in force when nobody says.
const NOTE_MINUTES: u64 = 30;
const MS_PER_MINUTE: u64 = 60_000;
/// At most so many names in one part of the tool overrides.
const MAX_NAMES: usize = 500;

/// What a session looks like on a board.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum BoardFace {
    Chat,
    Dashboard,
}

/// What tools may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum PermissionMode {
    ReadOnly,
    Guarded,
    Workspace,
    Full,
}

/// The sign beside a status note.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Attention {
    Hand,
    Key,
    Alert,
    Flag,
    Lock,
    Hourglass,
}

/// Whether answers are to be quick.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "must be true, false or \"auto\"")]
pub(super) enum FastMode {
    Fixed(bool),
    Word(Auto),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Auto {
    Auto,
}

/// Which tools the session has, where it differs from its agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ToolOverrides {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mcp_servers: Option<BTreeMap<String, bool>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mcp_tools_deny: Option<BTreeMap<String, Vec<Text>>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    skills: Option<BTreeMap<String, bool>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    web_search: Option<bool>,
}

impl ToolOverrides {
    fn is_bounded(&self) -> bool {
        let switches = [&self.mcp_servers, &self.skills];
        let denied = self.mcp_tools_deny.iter().flatten();
        switches.iter().all(|map| map.as_ref().is_none_or(|map| map.len() <= MAX_NAMES))
            && denied.map(|(_, tools)| tools.len() + 1).sum::<usize>() <= MAX_NAMES
    }
}

/// A value as the entry keeps it.
pub(super) fn value<T: Serialize>(of: &T) -> Value {
    serde_json::to_value(of).unwrap_or_default()
}

/// Changes the entry.
pub(super) fn patch(params: &PatchParams, now: u64, entry: &mut SessionEntry) -> Result<(), ErrorShape> {
    const TRACE: &[&str] = &["off", "on", "raw"];
    set_text(entry, "icon", &params.icon);
    set_text(entry, "color", &params.color);
    set_text(entry, "category", &params.category);
    set_text(entry, "contextWindow", &params.context_window);
    set(entry, "boardFace", &params.board_face);
    set(entry, "fastMode", &params.fast_mode);
    set(entry, "permissionMode", &params.permission_mode);
    if let Patch::Set(overrides) = &params.tool_overrides
        && !overrides.is_bounded()
    {
        return Err(ErrorShape::invalid(format!(
            "invalid toolOverrides: too many names; use at most {MAX_NAMES} in each part"
        )));
    }
    set(entry, "toolOverrides", &params.tool_overrides);
    match &params.trace_level {
        Patch::Keep => {}
        Patch::Clear => entry.set("traceLevel", None),
        Patch::Set(text) => match levels::one_of(TRACE, text.as_str()) {
            Some(word) => entry.set("traceLevel", Some(word.into())),
            None => return Err(ErrorShape::invalid(use_one_of("traceLevel", TRACE))),
        },
    }
    patch_note(params, now, entry);
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
    Ok(())
}

/// A note and its sign are in force for a while; without the note there is no sign.
fn patch_note(params: &PatchParams, now: u64, entry: &mut SessionEntry) {
    let cleared = match &params.status_note {
        Patch::Keep => false,
        Patch::Clear => true,
        Patch::Set(note) => note.as_str().trim().is_empty(),
    };
    if cleared {
        for name in ["statusNote", "attention", "statusNoteExpiresAt"] {
            entry.set(name, None);
        }
    } else {
        set_text(entry, "statusNote", &params.status_note);
    }
    set(entry, "attention", &params.attention);
    let noted = matches!((&params.status_note, &params.attention), (Patch::Set(_), _) | (_, Patch::Set(_)));
    if noted && (!cleared || matches!(params.attention, Patch::Set(_))) {
        let minutes = params.ttl_minutes.map_or(NOTE_MINUTES, Count::get);
        entry.set("statusNoteExpiresAt", Some((now + minutes * MS_PER_MINUTE).into()));
    }
}

fn set<T: Serialize>(entry: &mut SessionEntry, name: &str, patch: &Patch<T>) {
    match patch {
        Patch::Keep => {}
        Patch::Clear => entry.set(name, None),
        Patch::Set(chosen) => entry.set(name, Some(value(chosen))),
    }
}

/// An empty text clears.
fn set_text<const MIN: usize, const MAX: usize>(
    entry: &mut SessionEntry,
    name: &str,
    patch: &Patch<Text<MIN, MAX>>,
) {
    match patch {
        Patch::Keep => {}
        Patch::Set(text) if !text.as_str().is_empty() => entry.set(name, Some(text.as_str().into())),
        Patch::Clear | Patch::Set(_) => entry.set(name, None),
    }
}

fn flag(patch: &Patch<bool>) -> Option<bool> {
    match patch {
        Patch::Keep => None,
        Patch::Clear => Some(false),
        Patch::Set(on) => Some(*on),
    }
}
