//! Going back in a conversation (spec 02 §20.7): `sessions.fork` goes on in a new session, `sessions.rewind` and
//! `sessions.branches.switch` in the same one, where the other branches stay; `sessions.branches.list` shows them.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use telson_proto::params::Text;
use telson_proto::{ErrorShape, Json};

use crate::auth::{Effect, Principal, authorize};
use crate::gateway::{Answer, Call, Gateway, Reply};
use crate::ids::{SessionId, SessionKey, Ticket};
use crate::limits;
use crate::messages::Outcome;
use crate::store::{Loaded, Op, Query, TranscriptEntry};

use super::announce::Reason;
use super::{branch, methods, sanitise, title};

/// A conversation with more lines than these is not forked, rewound or switched.
const MAX_LINES: usize = 20_000;
/// So many branches are listed, the newest first.
const MAX_BRANCHES: usize = 100;

/// Where a forked session comes from.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Origin {
    session_key: SessionKey,
    session_id: SessionId,
    #[serde(skip_serializing_if = "Option::is_none")]
    entry_id: Option<String>,
}

/// The parameters of `sessions.fork` and `sessions.rewind`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EntryParams {
    session_key: Text<1, 512>,
    #[serde(default)]
    agent_id: Option<Text>,
    entry_id: Text<1, 128>,
}

/// The parameters of `sessions.branches.list`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BranchesParams {
    session_key: Text<1, 512>,
    #[serde(default)]
    agent_id: Option<Text>,
}

/// The parameters of `sessions.branches.switch`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SwitchParams {
    session_key: Text<1, 512>,
    #[serde(default)]
    agent_id: Option<Text>,
    leaf_entry_id: Text<1, 128>,
}

/// What the user's editor is to hold: the words that are taken back.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Editor {
    #[serde(skip_serializing_if = "Option::is_none")]
    editor_text: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    editor_attachments: Vec<Value>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Forked {
    session_key: SessionKey,
    #[serde(flatten)]
    editor: Editor,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Branch {
    leaf_entry_id: String,
    headline: String,
    message_count: usize,
    updated_at: String,
    active: bool,
}

/// A place in a conversation: the lines up to it, and what is taken back.
struct Place {
    lines: Vec<TranscriptEntry>,
    editor: Editor,
}

impl Place {
    /// The place of an entry. Words of the user are taken back; anything else is the last that stays.
    fn of(lines: &[TranscriptEntry], entry: &str) -> Result<Self, ErrorShape> {
        let mut chain = branch::chain(lines, entry);
        let Some(last) = chain.last() else {
            return Err(ErrorShape::invalid(format!("entryId not found: {entry}; load the history again")));
        };
        let message = last.message.to_value();
        let mut editor = Editor::default();
        if message["role"] == "user" {
            chain.pop();
            editor = Editor::of(&message);
        }
        Ok(Self { lines: chain.into_iter().cloned().collect(), editor })
    }
}

impl Editor {
    fn of(message: &Value) -> Self {
        let text = sanitise::user_text(&sanitise::text_of(message)).into_owned();
        let blocks = message["content"].as_array().into_iter().flatten();
        let images = blocks.filter(|block| block["type"] == "image" && block["data"].is_string());
        let attachment = |block: &Value| json!({"mimeType": block["mimeType"], "data": block["data"]});
        Self { editor_text: Some(text), editor_attachments: images.map(attachment).collect() }
    }
}

/// `sessions.fork`: a new session that begins with what was said up to an entry.
pub(crate) fn fork(gateway: &mut Gateway, call: Call<EntryParams>) -> Answer<()> {
    let Call { principal, ticket, params, .. } = call;
    let key = gateway.sessions.resolve_for(params.session_key.as_str(), params.agent_id.as_ref())?;
    authorize(&principal, &Effect::CreateSession { session: key.clone(), heavy: false })?;
    let entry = params.entry_id.into_string();
    gateway.load_transcript(&key.clone(), move |gateway, lines| {
        let place = lines.and_then(|lines| Place::of(&lines, &entry));
        match place {
            Ok(place) => gateway.fork_at(ticket, &key, place, entry),
            Err(error) => gateway.reply(ticket, Outcome::error(error)),
        }
    });
    Ok(Reply::Later)
}

/// `sessions.rewind`: the conversation goes on from an entry; what followed it becomes another branch.
pub(crate) fn rewind(gateway: &mut Gateway, call: Call<EntryParams>) -> Answer<()> {
    let Call { principal, ticket, params, .. } = call;
    let (session, agent) = (params.session_key.as_str(), params.agent_id.as_ref());
    let entry = params.entry_id.into_string();
    move_leaf(gateway, &principal, ticket, (session, agent), move |lines| {
        let place = Place::of(lines, &entry)?;
        Ok((place.lines, Json::of(&place.editor)))
    })
}

/// `sessions.branches.switch`: another branch is the conversation now.
pub(crate) fn switch(gateway: &mut Gateway, call: Call<SwitchParams>) -> Answer<()> {
    let Call { principal, ticket, params, .. } = call;
    let (session, agent) = (params.session_key.as_str(), params.agent_id.as_ref());
    let leaf = params.leaf_entry_id.into_string();
    move_leaf(gateway, &principal, ticket, (session, agent), move |lines| {
        let chain = branch::chain(lines, &leaf);
        if chain.is_empty() {
            return Err(ErrorShape::invalid(format!(
                "leafEntryId not found: {leaf}; list the branches again"
            )));
        }
        Ok((chain.into_iter().cloned().collect(), Json::empty()))
    })
}

/// Makes the chain that `choose` finds the active branch, when nothing runs in the session any more.
fn move_leaf(
    gateway: &mut Gateway,
    principal: &Principal,
    ticket: Ticket,
    (session, agent): (&str, Option<&Text>),
    choose: impl FnOnce(&[TranscriptEntry]) -> Result<(Vec<TranscriptEntry>, Json), ErrorShape> + Send + 'static,
) -> Answer<()> {
    let key = gateway.sessions.resolve_for(session, agent)?;
    authorize(principal, &Effect::RewindSession { session: key.clone() })?;
    if gateway.sessions.get(&key).is_none() {
        return Err(ErrorShape::invalid(format!("session not found: {session}")));
    }
    gateway.when_idle(ticket, key, "rewind", methods::INTERRUPTIONS, move |gateway, ticket, key| {
        gateway.load_transcript(&key.clone(), move |gateway, lines| {
            let chosen = lines.and_then(|lines| {
                let last = lines.last().map(|line| line.id.clone());
                Ok((last, choose(&lines)?))
            });
            match chosen {
                Ok((last, (chain, answer))) => {
                    gateway.switch_to(ticket, &key, last.as_deref(), &chain, answer)
                }
                Err(error) => gateway.reply(ticket, Outcome::error(error)),
            }
        });
    });
    Ok(Reply::Later)
}

/// `sessions.branches.list`: the branches of a conversation, the newest first.
pub(crate) fn list(gateway: &mut Gateway, call: Call<BranchesParams>) -> Answer<()> {
    let Call { principal, ticket, params, .. } = call;
    authorize(&principal, &Effect::ReadSessions)?;
    let key = gateway.sessions.resolve_for(params.session_key.as_str(), params.agent_id.as_ref())?;
    gateway.load_transcript(&key.clone(), move |gateway, lines| {
        let outcome = match lines {
            Ok(lines) => {
                let leaf = gateway.sessions.get(&key).and_then(|session| session.last_entry.as_deref());
                Outcome::ok(Json::of(&json!({"branches": branches(&lines, leaf)})))
            }
            Err(error) => Outcome::error(error),
        };
        gateway.reply(ticket, outcome);
    });
    Ok(Reply::Later)
}

fn branches(lines: &[TranscriptEntry], leaf: Option<&str>) -> Vec<Branch> {
    let mut ends: Vec<&TranscriptEntry> = branch::tips(lines);
    // The conversation may have gone back to a line that others build on.
    let active = leaf.and_then(|leaf| lines.iter().find(|line| line.id == leaf));
    ends.extend(active.filter(|active| !ends.iter().any(|end| end.id == active.id)));
    ends.sort_by_key(|end| (Some(end.id.as_str()) != leaf, std::cmp::Reverse(end.seq)));
    ends.truncate(MAX_BRANCHES);
    ends.sort_by_key(|end| std::cmp::Reverse(end.seq));
    ends.into_iter()
        .map(|end| {
            let chain = branch::chain(lines, &end.id);
            Branch {
                leaf_entry_id: end.id.clone(),
                headline: last_words(&chain, &["user"]).unwrap_or_default(),
                message_count: chain.len(),
                updated_at: title::iso(end.at),
                active: Some(end.id.as_str()) == leaf,
            }
        })
        .collect()
}

/// The last words of one of these roles, cut to a preview.
fn last_words(chain: &[&TranscriptEntry], roles: &[&str]) -> Option<String> {
    chain.iter().rev().find_map(|line| {
        let message = line.message.to_value();
        let role = message["role"].as_str().filter(|role| roles.contains(role))?;
        let text = sanitise::text_of(&message);
        let clean = if role == "user" { sanitise::user_text(&text) } else { text.as_str().into() };
        title::preview(&clean)
    })
}

impl Gateway {
    /// Every line of a session's transcript, of all branches; none when there is no such session.
    ///
    /// # Errors
    ///
    /// To `then`: the transcript is too long, or cannot be read.
    pub(super) fn load_transcript(
        &mut self,
        key: &SessionKey,
        then: impl FnOnce(&mut Self, Result<Vec<TranscriptEntry>, ErrorShape>) + Send + 'static,
    ) {
        let Some(session) = self.sessions.get(key) else { return then(self, Ok(Vec::new())) };
        let max_bytes = limits::length(limits::FORK_BYTES);
        let query = Query::Tail { session: session.id.clone(), limit: MAX_LINES, max_bytes };
        self.load(query, move |gateway, loaded| {
            let lines = match loaded {
                Ok(Loaded::Entries(lines)) => {
                    let whole = lines.first().is_none_or(|first| first.seq == 1 || first.parent.is_none());
                    if whole { Ok(lines) } else { Err(ErrorShape::invalid(TOO_LONG)) }
                }
                Ok(_) => Err(ErrorShape::unavailable("the store answered another question")),
                Err(error) => Err(error.into()),
            };
            then(gateway, lines);
        });
    }

    /// Where a fork of this session comes from; `None` when there is no such session.
    pub(super) fn origin(&self, key: &SessionKey, entry_id: Option<String>) -> Option<Origin> {
        let session_id = self.sessions.get(key)?.id.clone();
        Some(Origin { session_key: key.clone(), session_id, entry_id })
    }

    /// Writes lines of another transcript into a new session; to be stored with it.
    pub(super) fn begin_with(
        &mut self,
        key: &SessionKey,
        origin: &Origin,
        lines: &[TranscriptEntry],
    ) -> Vec<Op> {
        let now = self.now;
        self.sessions.edit(now, key, |entry| {
            entry.set("forkSource", Some(serde_json::to_value(origin).unwrap_or_default()));
            entry.set("forkedFromParent", Some(true.into()));
            for line in lines {
                let message = line.message.to_value();
                let role = message["role"].as_str().unwrap_or_default();
                entry.note_message(line.at, role, &sanitise::text_of(&message));
            }
        });
        self.sessions.copy_lines(key, lines).into_iter().map(Op::AppendEntry).collect()
    }

    fn fork_at(&mut self, ticket: Ticket, parent: &SessionKey, place: Place, entry: String) {
        let (Some(origin), Some(old)) =
            (self.origin(parent, Some(entry)), self.sessions.entry(parent).cloned())
        else {
            return self.reply(ticket, Outcome::error(methods::session_changed(parent)));
        };
        let agent = self.sessions.rules().agent_of(parent);
        let key = self.new_key(&agent);
        let now = self.now;
        self.sessions.ensure(now, &mut self.entropy, &key);
        self.sessions.edit(now, &key, |entry| {
            entry.thinking_level = old.thinking_level;
            entry.verbose_level = old.verbose_level;
            entry.reasoning_level = old.reasoning_level;
            entry.provider_override = old.provider_override;
            entry.model_override = old.model_override;
            entry.set("parentSessionKey", Some(parent.as_str().into()));
        });
        let ops = self.begin_with(&key, &origin, &place.lines);
        let forked = Forked { session_key: key.clone(), editor: place.editor };
        self.store_session(&key.clone(), ops, move |gateway, stored| {
            let outcome = match stored {
                Ok(()) => {
                    gateway.announce_session(&key, Reason::Create, None);
                    Outcome::ok(Json::of(&forked))
                }
                Err(error) => Outcome::error(error.into()),
            };
            gateway.reply(ticket, outcome);
        });
    }

    fn switch_to(
        &mut self,
        ticket: Ticket,
        key: &SessionKey,
        last_line: Option<&str>,
        chain: &[TranscriptEntry],
        answer: Json,
    ) {
        let lines: Vec<&TranscriptEntry> = chain.iter().collect();
        let preview = last_words(&lines, &["user", "assistant"]);
        let leaf = chain.last().map(|line| line.id.as_str());
        self.sessions.switch(self.now, key, leaf, last_line, preview);
        let key = key.clone();
        self.store_session(&key.clone(), Vec::new(), move |gateway, stored| {
            let outcome = match stored {
                Ok(()) => {
                    gateway.announce_session(&key, Reason::Branch, None);
                    Outcome::ok(answer)
                }
                Err(error) => Outcome::error(error.into()),
            };
            gateway.reply(ticket, outcome);
        });
    }
}

const TOO_LONG: &str = "the conversation is too long for this; compact the session first";
