//! The events of runs (spec 02 §9, §20.6).

use serde::Serialize;

/// The payload of `chat`. The session's key comes first: it is respelled for v3 clients that use another name.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ChatEvent<'a> {
    /// The session's canonical key.
    pub session_key: &'a str,
    /// The run.
    pub run_id: &'a str,
    /// v4: the agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<&'a str>,
    /// The number of the run's last `agent` event.
    pub seq: u64,
    /// `delta`, `final`, `aborted` or `error`.
    pub state: &'static str,
    /// v4 deltas: what to append.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delta_text: Option<&'a str>,
    /// v4 deltas: `deltaText` replaces everything.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub replace: bool,
    /// The text so far, as a message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<ChatMessage<'a>>,
    /// What went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_message: Option<&'a str>,
    /// v4: its kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_kind: Option<&'static str>,
    /// v4: where it happened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_detail: Option<ErrorDetail<'a>>,
    /// Why the run ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_reason: Option<&'a str>,
}

impl<'a> ChatEvent<'a> {
    /// An event with nothing but what every state has.
    pub fn new(session_key: &'a str, run_id: &'a str, seq: u64, state: &'static str) -> Self {
        Self {
            session_key,
            run_id,
            agent_id: None,
            seq,
            state,
            delta_text: None,
            replace: false,
            message: None,
            error_message: None,
            error_kind: None,
            error_detail: None,
            stop_reason: None,
        }
    }
}

/// v4: where an error happened.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ErrorDetail<'a> {
    /// The provider.
    pub provider: &'a str,
    /// The model.
    pub model: &'a str,
    /// The status of its answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_status: Option<u16>,
    /// Its words, at most 300 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider_error_message_preview: Option<&'a str>,
}

/// A message of the assistant as chat events carry it (spec 02 §6.4).
#[derive(Clone, Debug, Serialize)]
pub struct ChatMessage<'a> {
    /// `assistant`.
    pub role: &'static str,
    /// One text.
    pub content: [TextBlock<'a>; 1],
    /// Epoch milliseconds.
    pub timestamp: u64,
    /// `injected` for messages that no model wrote.
    #[serde(rename = "stopReason", skip_serializing_if = "Option::is_none")]
    pub stop_reason: Option<&'static str>,
    /// Zeros, beside `stopReason`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<NoUsage>,
}

impl<'a> ChatMessage<'a> {
    /// A message of a stream.
    pub fn of(text: &'a str, timestamp: u64) -> Self {
        let content = [TextBlock { kind: "text", text }];
        Self { role: "assistant", content, timestamp, stop_reason: None, usage: None }
    }

    /// A message that no model wrote.
    pub fn injected(text: &'a str, timestamp: u64) -> Self {
        let usage = Some(NoUsage::default());
        Self { stop_reason: Some("injected"), usage, ..Self::of(text, timestamp) }
    }
}

/// A text.
#[derive(Clone, Debug, Serialize)]
pub struct TextBlock<'a> {
    /// `text`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The text.
    pub text: &'a str,
}

/// The usage of a message that no model wrote.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NoUsage {
    /// 0.
    pub input: u64,
    /// 0.
    pub output: u64,
    /// 0.
    pub total_tokens: u64,
}

/// The payload of `agent`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentEvent<'a> {
    /// The session's canonical key; first, as in [`ChatEvent`].
    pub session_key: &'a str,
    /// The run.
    pub run_id: &'a str,
    /// v4: the agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<&'a str>,
    /// Counts the run's events from 1.
    pub seq: u64,
    /// `lifecycle`, `assistant`, `tool` or `compaction`.
    pub stream: &'static str,
    /// Epoch milliseconds.
    pub ts: u64,
    /// What happened.
    pub data: AgentData<'a>,
}

/// What happened in a run.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum AgentData<'a> {
    /// A turn in its life.
    Lifecycle(Lifecycle<'a>),
    /// Words of the assistant.
    Assistant {
        /// All so far.
        text: &'a str,
        /// The new ones.
        delta: &'a str,
    },
    /// A tool at work.
    Tool(ToolActivity<'a>),
    /// The context is being made smaller.
    Compaction(CompactionActivity),
}

/// A tool at work (spec 02 §9.1).
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ToolActivity<'a> {
    /// `start`, `update` or `result`.
    pub phase: &'static str,
    /// The tool.
    pub name: &'a str,
    /// The call.
    pub tool_call_id: &'a str,
    /// At the start: what it was called with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub args: Option<&'a serde_json::Value>,
    /// At the result: whether it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_error: Option<bool>,
    /// At the result: what it answered, its texts cut and its images without their data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<&'a serde_json::Value>,
}

/// The context of a session is being made smaller.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CompactionActivity {
    /// `start` or `end`.
    pub phase: &'static str,
    /// At the end: whether the model is asked again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub will_retry: Option<bool>,
}

/// A turn in a run's life.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Lifecycle<'a> {
    /// `start`, `end` or `error`.
    pub phase: &'static str,
    /// When the attempt began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<u64>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<u64>,
    /// Whether it was cut short.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aborted: Option<bool>,
    /// v4: why it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_reason: Option<&'a str>,
    /// What went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<&'a str>,
}
