//! What is taken out of messages before people see them (spec 02 §13). One sanitiser serves history, titles
//! and previews [C-32].

use std::borrow::Cow;

use serde_json::Value;
use telson_proto::Protocol;

use crate::runs::{BARE, COMPACTION, STEERED};

/// What stands in for a message that is too large for a page of history.
pub const TOO_LARGE: &str = "[chat.history omitted: message too large]";
/// The largest message of a v4 history page in bytes.
pub const MAX_MESSAGE_BYTES: usize = 131_072;
/// An assistant's answer that means: say nothing.
pub const SILENT: &str = "NO_REPLY";

/// The member that marks a message as the gateway's own, which people do not see [C-13].
pub const INTERNAL: &str = "internal";

/// Labels with which the envelope of a channel message begins.
const LABELS: [&str; 13] = [
    "WebChat",
    "WhatsApp",
    "Telegram",
    "Signal",
    "Slack",
    "Discord",
    "Google Chat",
    "iMessage",
    "Teams",
    "Matrix",
    "Zalo",
    "Zalo Personal",
    "BlueBubbles",
];

/// XML elements in which models leak tool calls.
const LEAKED: [&str; 4] = ["tool_call", "tool_calls", "function_call", "function_calls"];

/// The user's own words: without the envelope in front of them and without `[message_id: …]` lines.
pub fn user_text(text: &str) -> Cow<'_, str> {
    let text = strip_envelope(text);
    if !text.contains("[message_id:") {
        return Cow::Borrowed(text);
    }
    let kept: Vec<&str> = text.split('\n').filter(|line| !is_message_id(line)).collect();
    Cow::Owned(kept.join("\n"))
}

/// The assistant's words as v4 clients show them: without directive tags, leaked tool calls and control tokens.
pub fn assistant_text(text: &str) -> Cow<'_, str> {
    if !text.contains("[[") && !text.contains('<') {
        return Cow::Borrowed(text);
    }
    let mut text = without_directives(text);
    for name in LEAKED {
        text = without_element(&text, name);
    }
    Cow::Owned(without_control_tokens(&text).trim().to_owned())
}

/// Prepares a message for showing; `false` when it is to be left out. `max_chars` cuts each text of a v4
/// message.
pub fn message(message: &mut Value, protocol: Protocol, max_chars: Option<usize>) -> bool {
    if message.get(INTERNAL).is_some_and(|internal| *internal == true) {
        return false;
    }
    let role = message.get("role").and_then(Value::as_str).unwrap_or_default().to_owned();
    if let Some(members) = message.as_object_mut() {
        members.remove(STEERED);
        members.remove(BARE);
    }
    match (role.as_str(), protocol) {
        // Protocol 3 ignores compaction; protocol 4 draws a line there.
        (COMPACTION, Protocol::V3) => return false,
        (COMPACTION, Protocol::V4) => *message = divider(message),
        ("user", _) => each_text(message, &|text| user_text(text).into_owned()),
        ("assistant", Protocol::V4) => {
            if text_of(message).trim() == SILENT {
                return false;
            }
            each_text(message, &|text| assistant_text(text).into_owned());
        }
        _ => {}
    }
    if protocol == Protocol::V4 {
        if let Some(most) = max_chars {
            each_text(message, &|text| cut(text, most));
        }
        if message.to_string().len() > MAX_MESSAGE_BYTES {
            message["content"] = serde_json::json!([{"type": "text", "text": TOO_LARGE}]);
        }
    }
    true
}

/// A compaction as protocol 4 clients draw it.
fn divider(message: &Value) -> Value {
    serde_json::json!({
        "role": "system",
        "content": [{"type": "text", "text": "Compaction"}],
        "timestamp": message.get("timestamp"),
        "__openclaw": {"kind": "compaction"},
    })
}

/// The plain text of a message: its string content, or its text blocks, one a line.
pub fn text_of(message: &Value) -> String {
    let text = |value: &Value| value.get("text").and_then(Value::as_str).map(str::to_owned);
    match message.get("content") {
        Some(Value::String(content)) => content.clone(),
        Some(Value::Array(blocks)) => {
            let texts = blocks.iter().filter(|block| block.get("type").is_none_or(|t| t == "text"));
            texts.filter_map(text).collect::<Vec<_>>().join("\n")
        }
        _ => text(message).unwrap_or_default(),
    }
}

/// Applies `change` to string content, to each text block and to a top-level `text`.
fn each_text(message: &mut Value, change: &dyn Fn(&str) -> String) {
    let rewrite = |value: &mut Value| {
        if let Value::String(text) = value {
            *text = change(text);
        }
    };
    if let Some(text) = message.get_mut("text") {
        rewrite(text);
    }
    match message.get_mut("content") {
        Some(Value::Array(blocks)) => {
            let texts = blocks.iter_mut().filter(|block| block.get("type").is_some_and(|t| t == "text"));
            for text in texts.filter_map(|block| block.get_mut("text")) {
                rewrite(text);
            }
        }
        Some(content) => rewrite(content),
        None => {}
    }
}

/// Cuts a text to at most `most` characters.
fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((at, _)) => text[..at].to_owned(),
        None => text.to_owned(),
    }
}

fn strip_envelope(text: &str) -> &str {
    let Some((header, rest)) = text.strip_prefix('[').and_then(|rest| rest.split_once(']')) else {
        return text;
    };
    let labelled =
        LABELS.iter().any(|label| header.strip_prefix(label).is_some_and(|rest| rest.starts_with(' ')));
    if labelled || has_stamp(header) { rest.trim_start() } else { text }
}

/// Whether the text contains `YYYY-MM-DDTHH:MMZ` or `YYYY-MM-DD HH:MM`.
fn has_stamp(text: &str) -> bool {
    let matches = |window: &[u8], pattern: &str| {
        window.iter().zip(pattern.bytes()).all(|(byte, want)| match want {
            b'0' => byte.is_ascii_digit(),
            want => *byte == want,
        })
    };
    let bytes = text.as_bytes();
    bytes.windows(16).any(|window| matches(window, "0000-00-00 00:00"))
        || bytes.windows(17).any(|window| matches(window, "0000-00-00T00:00Z"))
}

fn is_message_id(line: &str) -> bool {
    let inner = line.trim().strip_prefix("[message_id:").and_then(|rest| rest.strip_suffix(']'));
    inner.is_some_and(|id| !id.trim().is_empty() && !id.contains(']'))
}

/// Removes `[[word]]` and `[[word: value]]` tags, the word in lower-case letters and underscores.
fn without_directives(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("[[") {
        let inner = &rest[at + 2..];
        let tag = inner.split_once("]]").filter(|(tag, _)| {
            let word = tag.split(':').next().unwrap_or_default().trim();
            !word.is_empty()
                && !tag.contains('\n')
                && word.chars().all(|c| c.is_ascii_lowercase() || c == '_')
        });
        let (keep, after) = match tag {
            Some((_, after)) => (&rest[..at], after),
            None => rest.split_at(at + 2),
        };
        kept.push_str(keep);
        rest = after;
    }
    kept.push_str(rest);
    kept
}

/// Removes `<name …>…</name>`; an element that is not closed goes up to the end of the text.
fn without_element(text: &str, name: &str) -> String {
    let (open, close) = (format!("<{name}"), format!("</{name}>"));
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(&open) {
        let after = &rest[at + open.len()..];
        if !after.starts_with(|c: char| c == '>' || c.is_whitespace()) {
            kept.push_str(&rest[..at + open.len()]);
            rest = after;
            continue;
        }
        kept.push_str(&rest[..at]);
        rest = after.find(&close).map_or("", |end| &after[end + close.len()..]);
    }
    kept.push_str(rest);
    kept
}

/// Removes tokens such as `<|im_end|>`.
fn without_control_tokens(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("<|") {
        let token = rest[at + 2..].split_once("|>").filter(|(name, _)| {
            !name.is_empty()
                && name.len() <= 64
                && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        });
        let (keep, after) = match token {
            Some((_, after)) => (&rest[..at], after),
            None => rest.split_at(at + 2),
        };
        kept.push_str(keep);
        rest = after;
    }
    kept.push_str(rest);
    kept
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn envelopes_go_and_other_brackets_stay() {
        assert_eq!(user_text("[Fri 2026-01-30 10:00 CET] hi"), "hi");
        assert_eq!(user_text("[x 2026-01-30T10:00Z]\n hi"), "hi");
        assert_eq!(user_text("[WhatsApp +1555 2m] hi"), "hi");
        assert_eq!(user_text("[Zalo Personal bob] hi"), "hi");
        assert_eq!(user_text("[WhatsApp]hi"), "[WhatsApp]hi");
        assert_eq!(user_text("[note] hi"), "[note] hi");
        assert_eq!(user_text("[Slack a] [Slack b] hi"), "[Slack b] hi");
        assert_eq!(user_text("["), "[");
    }

    #[test]
    fn message_id_lines_go_wherever_they_stand() {
        assert_eq!(user_text("hello\n[message_id: run-1]"), "hello");
        assert_eq!(user_text("a\n [message_id: 1] \nb"), "a\nb");
        assert_eq!(user_text("see [message_id: 1] above"), "see [message_id: 1] above");
    }

    #[test]
    fn only_user_messages_lose_envelopes() {
        let mut user =
            json!({"role": "user", "content": [{"type": "text", "text": "[Slack a] x"}, {"type": "image"}]});
        assert!(message(&mut user, Protocol::V3, None));
        assert_eq!(user["content"][0]["text"], "x");
        let mut assistant = json!({"role": "assistant", "content": "[Slack a] x"});
        assert!(message(&mut assistant, Protocol::V3, None));
        assert_eq!(assistant["content"], "[Slack a] x");
    }

    #[test]
    fn the_gateways_own_words_are_shown_to_nobody() {
        let own = json!({"role": "user", "content": "greet", "internal": true});
        for protocol in Protocol::ALL {
            assert!(!message(&mut own.clone(), protocol, None));
        }
    }

    #[test]
    fn v4_hides_machinery() {
        assert_eq!(assistant_text("[[reply_to_current]] yes"), "yes");
        assert_eq!(assistant_text("a [[Wiki Link]] b"), "a [[Wiki Link]] b");
        assert_eq!(assistant_text("a <tool_call>{\"x\":1}</tool_call> b"), "a  b");
        assert_eq!(assistant_text("a <function_calls><x/>"), "a");
        assert_eq!(assistant_text("<tool_caller> 1 < 2"), "<tool_caller> 1 < 2");
        assert_eq!(assistant_text("done<|im_end|>"), "done");
        let mut silent = json!({"role": "assistant", "content": [{"type": "text", "text": "NO_REPLY"}]});
        assert!(!message(&mut silent, Protocol::V4, None));
        assert!(message(&mut silent, Protocol::V3, None));
    }

    #[test]
    fn v4_cuts_texts_and_replaces_huge_messages() {
        let mut long = json!({"role": "assistant", "content": "äöüß"});
        assert!(message(&mut long, Protocol::V4, Some(2)));
        assert_eq!(long["content"], "äö");
        let mut huge = json!({"role": "assistant", "content": "x".repeat(MAX_MESSAGE_BYTES)});
        assert!(message(&mut huge, Protocol::V4, None));
        assert_eq!(text_of(&huge), TOO_LARGE);
    }
}
