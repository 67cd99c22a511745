//! Chat and agent runs: parameters, results and events (spec 02 §7–§9, §20.4–§20.6).
//!
//! Members that only protocol 4 knows are marked. Those of protocol 4 that this gateway does not act on are
//! left out: its parameter objects are open.

mod events;

use serde::{Deserialize, Serialize};

use crate::Json;
use crate::params::{Count, Text};

pub use events::{
    AgentData, AgentEvent, ChatEvent, ChatMessage, CompactionActivity, ErrorDetail, Lifecycle, NoUsage,
    TextBlock, ToolActivity,
};

/// The parameters of `chat.send`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChatSendParams {
    /// The session, in any spelling.
    pub session_key: Text<1, 512>,
    /// The user's words; may be blank beside an attachment.
    pub message: String,
    /// The thinking level of this turn.
    #[serde(default)]
    pub thinking: Option<String>,
    /// Accepted without effect.
    #[serde(default)]
    pub deliver: Option<bool>,
    /// Images.
    #[serde(default)]
    pub attachments: Option<Vec<Attachment>>,
    /// How long the run may take, in milliseconds; 0 is the default.
    #[serde(default)]
    pub timeout_ms: Option<Count>,
    /// Becomes the run's id.
    pub idempotency_key: Text,
    /// v4: what the message does while its session is busy: `steer`, `followup`, `collect` or `interrupt`.
    #[serde(default)]
    pub queue_mode: Option<String>,
    /// v4: the agent of a key that names none.
    #[serde(default)]
    pub agent_id: Option<Text>,
    /// v4: the words are words, even if they look like a command.
    #[serde(default)]
    pub suppress_command_interpretation: Option<bool>,
}

/// A file beside a message. Further members are ignored.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", from = "serde_json::Value")]
pub struct Attachment {
    /// The kind, such as `image`.
    pub kind: Option<String>,
    /// The declared MIME type.
    pub mime_type: Option<String>,
    /// The file's name.
    pub file_name: Option<String>,
    /// base64 text or a data URL; anything else is kept as it is, to be refused or dropped.
    pub content: Option<serde_json::Value>,
}

impl From<serde_json::Value> for Attachment {
    fn from(value: serde_json::Value) -> Self {
        let text = |name: &str| value.get(name).and_then(serde_json::Value::as_str).map(str::to_owned);
        Self {
            kind: text("type"),
            mime_type: text("mimeType"),
            file_name: text("fileName"),
            content: value.get("content").filter(|content| !content.is_null()).cloned(),
        }
    }
}

/// The answer to `chat.send`, first and repeated.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ChatAck<'a> {
    /// The run.
    pub run_id: &'a str,
    /// `started`, `in_flight`, `ok`, `error` or, on v4 after an abort, `timeout`.
    pub status: &'static str,
    /// What happened, for outcomes other than `ok`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<&'a str>,
    /// v4: the position of the stored message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_seq: Option<u64>,
    /// v4: why the run was aborted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_reason: Option<&'a str>,
    /// v4: when the run was aborted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<u64>,
}

impl<'a> ChatAck<'a> {
    /// An answer without particulars.
    pub fn new(run_id: &'a str, status: &'static str) -> Self {
        Self { run_id, status, summary: None, message_seq: None, stop_reason: None, ended_at: None }
    }
}

/// The parameters of `chat.abort`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChatAbortParams {
    /// The session.
    pub session_key: Text,
    /// One run; every run of the session when absent.
    #[serde(default)]
    pub run_id: Option<Text>,
    /// v4: the agent of the session.
    #[serde(default)]
    pub agent_id: Option<Text>,
}

/// The answer to `chat.abort` and to a stop text.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ChatAborted {
    /// Always true.
    pub ok: bool,
    /// Whether any run was aborted.
    pub aborted: bool,
    /// Which.
    pub run_ids: Vec<String>,
}

/// The parameters of `chat.inject`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChatInjectParams {
    /// The session.
    pub session_key: Text,
    /// The words.
    pub message: Text,
    /// Where they come from.
    #[serde(default)]
    pub label: Option<Text<0, 100>>,
    /// v4: the agent of a key that names none.
    #[serde(default)]
    pub agent_id: Option<Text>,
}

/// The answer to `chat.inject`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ChatInjected {
    /// Always true.
    pub ok: bool,
    /// The id of the transcript's entry.
    pub message_id: String,
}

/// The parameters of `chat.history` and `chat.startup`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChatHistoryParams {
    /// The session.
    pub session_key: Text,
    /// At most this many messages; 200 when absent.
    #[serde(default)]
    pub limit: Option<Count<1, 1000>>,
    /// v4: the agent of a key that names none.
    #[serde(default)]
    pub agent_id: Option<Text>,
    /// v4: the `deltaCursor` of an earlier answer: only what came since.
    #[serde(default)]
    pub cursor: Option<String>,
    /// v4: have the words of these runs had their turn?
    #[serde(default)]
    pub input_run_ids: Option<Vec<Text<1, 256>>>,
    /// v4: the waiting words before this place in the queue.
    #[serde(default)]
    pub pending_before: Option<Count<1>>,
    /// v4: leave out this many of the newest messages.
    #[serde(default)]
    pub offset: Option<Count>,
    /// v4: the page around this message.
    #[serde(default)]
    pub message_id: Option<Text>,
    /// v4: the incarnation of `messageId`.
    #[serde(default)]
    pub session_id: Option<Text>,
    /// v4: cut each text to this many characters.
    #[serde(default)]
    pub max_chars: Option<Count<1, 500_000>>,
    /// v4, `chat.startup`: at most this many bytes of messages.
    #[serde(default)]
    pub max_bytes: Option<Count<1>>,
}

/// The parameters of `chat.startup`: those of `chat.history`, or a short id in place of the session.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChatStartupParams {
    /// The session.
    #[serde(default)]
    pub session_key: Option<Text>,
    /// The beginning of a session's id.
    #[serde(default)]
    pub short_id: Option<Text>,
    /// At most this many messages; 200 when absent.
    #[serde(default)]
    pub limit: Option<Count<1, 1000>>,
    /// The agent of a key that names none.
    #[serde(default)]
    pub agent_id: Option<Text>,
    /// As in `chat.history`.
    #[serde(default)]
    pub cursor: Option<String>,
    /// As in `chat.history`.
    #[serde(default)]
    pub offset: Option<Count>,
    /// As in `chat.history`.
    #[serde(default)]
    pub message_id: Option<Text>,
    /// As in `chat.history`.
    #[serde(default)]
    pub session_id: Option<Text>,
    /// As in `chat.history`.
    #[serde(default)]
    pub max_chars: Option<Count<1, 500_000>>,
    /// At most this many bytes of messages.
    #[serde(default)]
    pub max_bytes: Option<Count<1>>,
    /// As in `chat.history`.
    #[serde(default)]
    pub input_run_ids: Option<Vec<Text<1, 256>>>,
    /// As in `chat.history`.
    #[serde(default)]
    pub pending_before: Option<Count<1>>,
}

/// The parameters of `chat.message.get`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChatMessageGetParams {
    /// The session.
    pub session_key: Text,
    /// The agent of a key that names none.
    #[serde(default)]
    pub agent_id: Option<Text>,
    /// The id of the transcript's entry.
    pub message_id: Text,
    /// Cut each text to this many characters.
    #[serde(default)]
    pub max_chars: Option<Count<1, 2_000_000>>,
}

/// The answer to `chat.message.get`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ChatMessageFound {
    /// Whether the message is here.
    pub ok: bool,
    /// It.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<serde_json::Value>,
    /// Why not: `not_found`, `oversized` or `not_visible`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unavailable_reason: Option<&'static str>,
}

/// The answer to `chat.history` and `chat.startup`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ChatHistory {
    /// v3: the session as the client spelled it; v4: its canonical key.
    pub session_key: String,
    /// The incarnation; absent when there is no such session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// The messages, oldest first.
    pub messages: Vec<Box<serde_json::value::RawValue>>,
    /// The level in force.
    pub thinking_level: String,
    /// What protocol 4 adds.
    #[serde(flatten)]
    pub later: Option<ChatHistoryLater>,
}

/// What protocol 4 adds to a page of history.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ChatHistoryLater {
    /// The level in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verbose_level: Option<String>,
    /// The model that is used unless the session says otherwise.
    pub defaults: Json,
    /// The session's row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_info: Option<Json>,
    /// How many of the newest messages were left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// The `offset` of the page before this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_offset: Option<u64>,
    /// Whether there is a page before this one.
    pub has_more: bool,
    /// How many messages the transcript has.
    pub total_messages: u64,
    /// This page is the whole transcript.
    pub complete_snapshot: bool,
    /// To be given as `cursor` for what comes after this page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delta_cursor: Option<String>,
    /// Words that wait for their turn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pending_inputs: Option<serde_json::Value>,
    /// What became of the words that were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_receipts: Option<serde_json::Value>,
    /// The run in progress.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_flight_run: Option<InFlightRun>,
    /// `chat.startup`: the answer to `agents.list`,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agents_list: Option<Json>,
    /// that to `chat.metadata`,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Json>,
    /// and, when the session was named by a short id, that to `sessions.resolve`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolution: Option<Json>,
}

/// v4: a run in progress, so that a client that comes back can go on.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InFlightRun {
    /// The run.
    pub run_id: String,
    /// The text so far.
    pub text: String,
}

/// The parameters of `agent`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentParams {
    /// The prompt.
    pub message: Text,
    /// Becomes the run's id.
    pub idempotency_key: Text,
    /// A configured agent.
    #[serde(default)]
    pub agent_id: Option<Text>,
    /// The session by key,
    #[serde(default)]
    pub session_key: Option<String>,
    /// by the id of an incarnation,
    #[serde(default)]
    pub session_id: Option<String>,
    /// or by the peer of a direct message.
    #[serde(default)]
    pub to: Option<String>,
    /// Where the answer is delivered, instead of `to`.
    #[serde(default)]
    pub reply_to: Option<String>,
    /// The channel of the answer, instead of `channel`.
    #[serde(default)]
    pub reply_channel: Option<String>,
    /// The account of the answer.
    #[serde(default)]
    pub reply_account_id: Option<String>,
    /// A channel's id, `last` or `webchat`.
    #[serde(default)]
    pub channel: Option<String>,
    /// The account.
    #[serde(default)]
    pub account_id: Option<String>,
    /// The thread.
    #[serde(default)]
    pub thread_id: Option<String>,
    /// Whether the answer goes out on the channel.
    #[serde(default)]
    pub deliver: Option<bool>,
    /// The thinking level of this turn.
    #[serde(default)]
    pub thinking: Option<String>,
    /// Images.
    #[serde(default)]
    pub attachments: Option<Vec<Attachment>>,
    /// The group.
    #[serde(default)]
    pub group_id: Option<String>,
    /// The group's channel.
    #[serde(default)]
    pub group_channel: Option<String>,
    /// The group's space.
    #[serde(default)]
    pub group_space: Option<String>,
    /// How long the run may take, in seconds; 0 is the default.
    #[serde(default)]
    pub timeout: Option<Count>,
    /// The queue lane.
    #[serde(default)]
    pub lane: Option<String>,
    /// Appended to the system prompt.
    #[serde(default)]
    pub extra_system_prompt: Option<String>,
    /// Stored on the session; v3 allows 64 characters.
    #[serde(default)]
    pub label: Option<Text<1, 512>>,
    /// The key of the session that asks.
    #[serde(default)]
    pub spawned_by: Option<String>,
    /// v4: the provider of `model`.
    #[serde(default)]
    pub provider: Option<String>,
    /// v4: the model of this run.
    #[serde(default)]
    pub model: Option<String>,
    /// v4: a failed delivery is no failure.
    #[serde(default)]
    pub best_effort_deliver: Option<bool>,
    /// v4: the incarnation that must still be there.
    #[serde(default)]
    pub expected_existing_session_id: Option<Text>,
}

/// The first answer to `agent`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentAccepted<'a> {
    /// The run.
    pub run_id: &'a str,
    /// `accepted`.
    pub status: &'static str,
    /// When.
    pub accepted_at: u64,
    /// v4: the session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_key: Option<&'a str>,
    /// v4: the agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<&'a str>,
}

/// The second answer to `agent`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentDone<'a> {
    /// The run.
    pub run_id: &'a str,
    /// `ok` or `error`.
    pub status: &'static str,
    /// What happened.
    pub summary: &'a str,
    /// What came of it; absent after an error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<AgentResult<'a>>,
}

/// What came of a run.
#[derive(Clone, Debug, Serialize)]
pub struct AgentResult<'a> {
    /// The texts.
    pub payloads: Vec<AgentPayload<'a>>,
    /// How it went.
    pub meta: AgentMeta<'a>,
}

/// One text of a run.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentPayload<'a> {
    /// The text.
    pub text: &'a str,
    /// Always null: no media is made.
    pub media_url: Option<&'a str>,
}

/// How a run went.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentMeta<'a> {
    /// From its start to its end.
    pub duration_ms: u64,
    /// Whether it was cut short.
    pub aborted: bool,
    /// Why it ended.
    pub stop_reason: &'a str,
    /// Who answered.
    pub agent_meta: AgentMetaModel<'a>,
}

/// Who answered.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentMetaModel<'a> {
    /// The session's incarnation.
    pub session_id: &'a str,
    /// The provider.
    pub provider: &'a str,
    /// The model.
    pub model: &'a str,
    /// Its tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<RunUsage>,
}

/// The tokens of a run.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RunUsage {
    /// Prompt tokens that were not cached.
    pub input: u64,
    /// Answer tokens.
    pub output: u64,
    /// Prompt tokens read from a cache.
    pub cache_read: u64,
    /// Prompt tokens written to a cache.
    pub cache_write: u64,
    /// All together.
    pub total: u64,
}

/// The parameters of `agent.wait`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentWaitParams {
    /// The run.
    pub run_id: Text,
    /// How long to wait; 30 s when absent, 0 only looks.
    #[serde(default)]
    pub timeout_ms: Option<Count>,
}

/// The answer to `agent.wait`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentWaited<'a> {
    /// The run.
    pub run_id: &'a str,
    /// `ok`, `error` or `timeout`.
    pub status: &'static str,
    /// When the run began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<u64>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<u64>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<&'a str>,
    /// v4: why it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_reason: Option<&'a str>,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_session_comes_first_and_absent_members_are_left_out() {
        let mut event = ChatEvent::new("agent:main:main", "r", 2, "delta");
        event.message = Some(ChatMessage::of("Hi", 5));
        assert_eq!(
            Json::of(&event).as_str(),
            r#"{"sessionKey":"agent:main:main","runId":"r","seq":2,"state":"delta","message":{"role":"assistant","content":[{"type":"text","text":"Hi"}],"timestamp":5}}"#
        );
    }

    #[test]
    fn attachments_are_open_objects() {
        let read: Vec<Attachment> =
            serde_json::from_str(r#"[{"type":"image","x":1,"content":"QQ=="},{"content":7},"odd"]"#).unwrap();
        assert_eq!(read[0].kind.as_deref(), Some("image"));
        assert!(read[1].content.as_ref().unwrap().is_number());
        assert!(read[2].content.is_none());
    }
}
