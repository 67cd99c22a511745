//! What is kept of a session beside its transcript (spec 02 §4.2).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use telson_proto::Json;

use super::title;

/// A session's entry. Fields that the gateway works with are typed; all others, also those that only other
/// programs know, stay in [`Self::extra`] and survive every rewrite [C-09].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs, reason = "the names are the specification's")]
pub struct SessionEntry {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spawned_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system_sent: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aborted_last_run: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thinking_level: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verbose_level: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning_level: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub elevated_level: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_usage: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub send_policy: Option<String>,
    /// What messages do while the session is busy (spec 02 §10.2); so are the three that follow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_mode: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_debounce_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_cap: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_drop: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider_override: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_override: Option<String>,
    /// What the last run used; so are `model` and `contextTokens`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_provider: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chat_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_channel: Option<String>,
    /// The first user text, cut to a title.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_message: Option<String>,
    /// The last text of user or assistant, cut to a preview.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<u64>,
    /// The last message of anyone, in epoch milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_activity_at: Option<u64>,
    /// The last message of the user, in epoch milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_interaction_at: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_run_id: Option<String>,
    /// How the last run ended: `done`, `failed`, `killed` or `timeout`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archived: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pinned: Option<bool>,
    /// Everything else, by its name on the wire.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// Fields too bulky for the wire [C-35], or of no session in particular.
const BULKY: [&str; 3] = ["skillsSnapshot", "systemPromptReport", super::groups::GROUPS];

impl SessionEntry {
    /// Reads a stored entry. A field that does not hold what it must is given up, and the log names it; the
    /// others are kept.
    pub(crate) fn read(key: &str, json: &Json) -> Self {
        let mut fields = match json.to_value() {
            Value::Object(fields) => fields,
            _ => Map::new(),
        };
        // These two are columns of the row.
        fields.remove("sessionId");
        fields.remove("updatedAt");
        loop {
            let value = Value::Object(fields.clone());
            let error = match serde_path_to_error::deserialize::<_, Self>(&value) {
                Ok(entry) => return entry,
                Err(error) => error,
            };
            let field = error.path().to_string();
            tracing::warn!(target: "gateway", key, field, error = %error.inner(), "a session's field is unreadable");
            if fields.remove(&field).is_none() {
                return Self { extra: fields, ..Self::default() };
            }
        }
    }

    /// A text field of [`Self::extra`].
    pub fn text(&self, name: &str) -> Option<&str> {
        self.extra.get(name).and_then(Value::as_str)
    }

    /// Sets or, with `None`, removes a field of [`Self::extra`].
    pub fn set(&mut self, name: &str, value: Option<Value>) {
        match value {
            Some(value) => {
                self.extra.insert(name.to_owned(), value);
            }
            None => {
                self.extra.remove(name);
            }
        }
    }

    /// The stored total, else input and output together; 0 when nothing is known.
    pub fn total(&self) -> u64 {
        let sum = self.input_tokens.unwrap_or(0).saturating_add(self.output_tokens.unwrap_or(0));
        self.total_tokens.unwrap_or(sum)
    }

    /// Takes the tokens of one run: the counters show the last run's, as clients expect them.
    pub fn add_usage(&mut self, input: u64, output: u64, total: Option<u64>) {
        self.input_tokens = Some(input);
        self.output_tokens = Some(output);
        self.total_tokens = Some(total.unwrap_or_else(|| input.saturating_add(output)));
    }

    /// Keeps what lists show of a message, so that they never read transcripts. `text` is the message's plain
    /// text; roles other than `user` and `assistant` leave the texts alone.
    pub fn note_message(&mut self, at: u64, role: &str, text: &str) {
        self.last_activity_at = Some(at);
        if role == "user" {
            self.last_interaction_at = Some(at);
        }
        if !matches!(role, "user" | "assistant") {
            return;
        }
        let clean = if role == "user" { super::sanitise::user_text(text) } else { text.into() };
        if role == "user" && self.first_message.is_none() {
            self.first_message = title::from_text(&clean);
        }
        if let Some(preview) = title::preview(&clean) {
            self.last_message = Some(preview);
        }
    }

    /// The entry as it is stored.
    pub(crate) fn to_json(&self) -> Json {
        Json::of(self)
    }

    /// The entry as clients see it: with the row's columns and without bulky caches [C-35].
    pub(crate) fn on_the_wire(&self, session: &str, updated_at: u64) -> Value {
        let mut value = serde_json::to_value(self).unwrap_or_default();
        if let Value::Object(fields) = &mut value {
            for bulky in BULKY {
                fields.remove(bulky);
            }
            fields.insert("sessionId".to_owned(), session.into());
            fields.insert("updatedAt".to_owned(), updated_at.into());
        }
        value
    }
}
