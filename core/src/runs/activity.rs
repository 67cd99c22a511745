//! What clients hear of a run beside its words: tools at work and the context being made smaller (spec 02 §9.1).

use serde_json::{Value, json};
use telson_proto::chat::{AgentData, CompactionActivity, ToolActivity};

use crate::messages::Publish;
use crate::providers::request::ToolCall;
use crate::time::Now;
use crate::tools::ToolOutcome;

use super::events::Voice;

/// The longest text of a result that events carry, in characters.
const MAX_RESULT_CHARS: usize = 8_000;

impl Voice {
    /// A tool is called.
    pub(super) fn tool_started(&mut self, now: Now, call: &ToolCall, args: &Value, loud: bool) -> Publish {
        let data = ToolActivity {
            phase: "start",
            name: &call.name,
            tool_call_id: &call.id,
            args: Some(args),
            ..ToolActivity::default()
        };
        self.tool_event(now, data, loud)
    }

    /// A tool has answered.
    pub(super) fn tool_ended(
        &mut self,
        now: Now,
        call: &ToolCall,
        outcome: &ToolOutcome,
        loud: bool,
    ) -> Publish {
        let result = shown(outcome);
        let data = ToolActivity {
            phase: "result",
            name: &call.name,
            tool_call_id: &call.id,
            is_error: Some(outcome.is_error),
            result: Some(&result),
            ..ToolActivity::default()
        };
        self.tool_event(now, data, loud)
    }

    /// On protocol 3 tools are heard only of sessions that are verbose; the event's number is used either way.
    fn tool_event(&mut self, now: Now, data: ToolActivity<'_>, loud: bool) -> Publish {
        let data = AgentData::Tool(data);
        let event = self.agent_event(now, "tool", &data, &data);
        Publish { v3: event.v3.filter(|_| loud), ..event }
    }

    /// The context is being made smaller, or is smaller now.
    pub(super) fn compaction(&mut self, now: Now, phase: &'static str, will_retry: Option<bool>) -> Publish {
        let data = AgentData::Compaction(CompactionActivity { phase, will_retry });
        self.agent_event(now, "compaction", &data, &data)
    }
}

/// A result without what is too big for an event.
fn shown(outcome: &ToolOutcome) -> Value {
    let mut content = vec![json!({"type": "text", "text": cut(&outcome.text)})];
    content.extend(outcome.images.iter().map(|image| {
        let bytes = image.base64.len() / 4 * 3;
        json!({"type": "image", "mimeType": image.mime, "bytes": bytes, "omitted": true})
    }));
    json!({"content": content})
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(MAX_RESULT_CHARS) {
        Some((at, _)) => format!("{}\n…(truncated)…", &text[..at]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::providers::request::Image;

    #[test]
    fn results_are_cut_and_images_lose_their_data() {
        let image = Image { mime: "image/png".to_owned(), base64: "QUJDREVG".into() };
        let outcome = ToolOutcome { images: vec![image], ..ToolOutcome::text("x".repeat(9_000)) };
        let shown = shown(&outcome);
        let text = shown["content"][0]["text"].as_str().unwrap_or_default();
        assert_eq!(text.len(), MAX_RESULT_CHARS + "\n…(truncated)…".len());
        let image = json!({"type": "image", "mimeType": "image/png", "bytes": 6, "omitted": true});
        assert_eq!(shown["content"][1], image);
    }
}
