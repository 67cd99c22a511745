//! What was said before, as the model gets it.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::chat::envelope::decorate;
use crate::ids::RunId;
use crate::providers::request::{Block, Image, Message, Role, Thinking, ToolCall, ToolResult};
use crate::sessions::sanitise;
use crate::sessions::sanitise::INTERNAL;
use crate::store::TranscriptEntry;

use super::COMPACTION;
use super::compact::summary_message;
use super::record::{BARE, STEERED};

/// What a call whose result is not in the transcript is answered with: providers refuse calls without results.
const NO_RESULT: &str = "The result of this call was not kept.";

/// The conversation in the entries of a transcript, without those of runs that are `later`.
///
/// Words that were sent while an answer was under way stand before that answer in the transcript; here each
/// answer follows the words that it answers, and words that came in during an answer follow it. Every call of a
/// tool is followed by its result.
pub(super) fn history(entries: &[TranscriptEntry], offset: i32, later: impl Fn(&RunId) -> bool) -> Vec<Line> {
    let mut messages = Vec::new();
    let mut unanswered: Vec<(Option<&RunId>, Line)> = Vec::new();
    let (summary, entries) = since_summary(entries);
    for entry in entries.iter().filter(|entry| !entry.run.as_ref().is_some_and(&later)) {
        let value = entry.message.to_value();
        let Some(mut message) = read(&value) else { continue };
        if is_users(&value) {
            dress(&mut message, &value, entry, offset);
        }
        let message = Line { message, entry: Some(entry.id.clone()) };
        if is_users(&value) {
            unanswered.push((entry.run.as_ref(), message));
            continue;
        }
        let steered = steered(&value);
        let answers = |run: &Option<&RunId>| {
            entry.run.is_none()
                || run.is_none_or(|run| Some(run) == entry.run.as_ref() || steered.contains(&run.as_str()))
        };
        let last = unanswered.iter().rposition(|(run, _)| answers(run));
        messages.extend(unanswered.drain(..last.map_or(0, |last| last + 1)).map(|(_, message)| message));
        messages.push(message);
    }
    messages.extend(unanswered.into_iter().map(|(_, message)| message));
    let begins_in_the_middle = entries.first().is_some_and(|entry| entry.seq > 1);
    if begins_in_the_middle {
        let has_words = |line: &Line| line.message.role == Role::User && !is_results(&line.message);
        let first = messages.iter().position(has_words).unwrap_or(messages.len());
        messages.drain(..first);
    }
    let summary = summary.map(|text| Line { message: summary_message(&text), entry: None });
    summary.into_iter().chain(paired(messages)).collect()
}

/// A message of the conversation, and the entry that it comes from.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) message: Message,
    pub(super) entry: Option<String>,
}

/// The last summary, and the entries that are not in it.
fn since_summary(entries: &[TranscriptEntry]) -> (Option<String>, &[TranscriptEntry]) {
    let found = entries.iter().enumerate().rev().find_map(|(place, entry)| {
        // Cheaper than reading every message.
        if !entry.message.as_str().contains(COMPACTION) {
            return None;
        }
        let value = entry.message.to_value();
        (value.get("role").and_then(Value::as_str) == Some(COMPACTION)).then_some((place, value))
    });
    let Some((place, value)) = found else { return (None, entries) };
    let kept = value.get("firstKeptEntryId").and_then(Value::as_str);
    let first = kept.and_then(|id| entries.iter().position(|entry| entry.id == id)).unwrap_or(place);
    (value.get("summary").and_then(Value::as_str).map(str::to_owned), &entries[first..])
}

/// Every call is followed by its results at once, and there is no result without a call.
fn paired(messages: Vec<Line>) -> Vec<Line> {
    let mut results = BTreeMap::new();
    for block in messages.iter().flat_map(|line| &line.message.blocks) {
        if let Block::ToolResult(result) = block {
            results.insert(result.id.clone(), result.clone());
        }
    }
    let mut paired = Vec::with_capacity(messages.len());
    for line in messages {
        if is_results(&line.message) {
            continue;
        }
        let answers: Vec<Block> = line
            .message
            .blocks
            .iter()
            .filter_map(|block| match block {
                Block::ToolCall(call) => Some(result_of(call, &mut results)),
                _ => None,
            })
            .collect();
        paired.push(line);
        if !answers.is_empty() {
            paired.push(Line { message: Message { role: Role::User, blocks: answers }, entry: None });
        }
    }
    paired
}

fn result_of(call: &ToolCall, results: &mut BTreeMap<String, ToolResult>) -> Block {
    Block::ToolResult(results.remove(&call.id).unwrap_or_else(|| ToolResult {
        id: call.id.clone(),
        name: call.name.clone(),
        text: NO_RESULT.to_owned(),
        images: Vec::new(),
        is_error: true,
    }))
}

/// Words stand in later prompts as they stood in their own, so that providers find what they have cached.
fn dress(message: &mut Message, value: &Value, entry: &TranscriptEntry, offset: i32) {
    let Some(run) = &entry.run else { return };
    if [BARE, INTERNAL].iter().any(|mark| value.get(mark).is_some()) {
        return;
    }
    let words = decorate(&message.text(), entry.at, offset, run);
    message.blocks.retain(|block| !matches!(block, Block::Text(_)));
    message.blocks.insert(0, Block::Text(words));
}

fn is_results(message: &Message) -> bool {
    message.blocks.iter().any(|block| matches!(block, Block::ToolResult(_)))
}

fn is_users(message: &Value) -> bool {
    message.get("role").and_then(Value::as_str) == Some("user")
}

/// The runs whose words came in while this answer was made.
fn steered(message: &Value) -> Vec<&str> {
    let ids = message.get(STEERED).and_then(Value::as_array);
    ids.into_iter().flatten().filter_map(Value::as_str).collect()
}

/// A message that says anything.
fn read(message: &Value) -> Option<Message> {
    let blocks = match message.get("role")?.as_str()? {
        "user" => spoken(message),
        "assistant" => answered(message),
        "toolResult" | "tool" | "tool_result" => vec![Block::ToolResult(tool_result(message)?)],
        _ => return None,
    };
    let role = if message["role"] == "assistant" { Role::Assistant } else { Role::User };
    (!blocks.is_empty()).then_some(Message { role, blocks })
}

/// The words and pictures of a user.
fn spoken(message: &Value) -> Vec<Block> {
    let text = sanitise::text_of(message);
    let words = (!text.trim().is_empty()).then_some(Block::Text(text));
    words.into_iter().chain(images(message).map(Block::Image)).collect()
}

/// The blocks of an assistant, in order.
fn answered(message: &Value) -> Vec<Block> {
    let Some(blocks) = message.get("content").and_then(Value::as_array) else { return spoken(message) };
    let api = message.get("api").and_then(Value::as_str);
    blocks.iter().filter_map(|block| block_of(block, api)).collect()
}

fn block_of(block: &Value, api: Option<&str>) -> Option<Block> {
    let text = |name: &str| block.get(name).and_then(Value::as_str);
    match text("type")?.to_ascii_lowercase().as_str() {
        "text" => {
            text("text").filter(|text| !text.trim().is_empty()).map(|text| Block::Text(text.to_owned()))
        }
        "thinking" => Some(Block::Thinking(Thinking {
            text: text("thinking").unwrap_or_default().to_owned(),
            signature: text("thinkingSignature").map(str::to_owned),
            api: api.map(str::to_owned),
        })),
        "toolcall" | "tool_use" | "tooluse" => Some(Block::ToolCall(ToolCall {
            id: text("id")?.to_owned(),
            name: text("name")?.to_owned(),
            arguments: arguments(block),
        })),
        "image" => image(block).map(Block::Image),
        _ => None,
    }
}

/// The arguments as the model wrote them.
fn arguments(block: &Value) -> String {
    let arguments = block.get("arguments").or_else(|| block.get("input"));
    match arguments.and_then(|arguments| arguments.get("__unreadable")).and_then(Value::as_str) {
        Some(text) => text.to_owned(),
        None => arguments.map_or_else(|| "{}".to_owned(), Value::to_string),
    }
}

fn tool_result(message: &Value) -> Option<ToolResult> {
    let text = |name: &str| message.get(name).and_then(Value::as_str);
    Some(ToolResult {
        id: text("toolCallId")?.to_owned(),
        name: text("toolName").unwrap_or_default().to_owned(),
        text: sanitise::text_of(message),
        images: images(message).collect(),
        is_error: message.get("isError").and_then(Value::as_bool).unwrap_or(false),
    })
}

fn images(message: &Value) -> impl Iterator<Item = Image> + '_ {
    message.get("content").and_then(Value::as_array).into_iter().flatten().filter_map(image)
}

fn image(block: &Value) -> Option<Image> {
    let text = |name: &str| block.get(name)?.as_str();
    (text("type")? == "image").then_some(())?;
    Some(Image { mime: text("mimeType")?.to_owned(), base64: text("data")?.into() })
}

/// A moment in UTC, as it stands before system events in a prompt.
pub(crate) fn stamp(wall: u64) -> String {
    const DAY: u64 = 86_400;
    let secs = wall / 1_000;
    let (days, rest) = (secs / DAY, secs % DAY);
    // Days since 0000-03-01 in eras of 400 years; months counted from March.
    let z = days + 719_468;
    let (era, day) = (z / 146_097, z % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let date = day - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = year + era * 400 + carry;
    format!("{year:04}-{month:02}-{date:02} {:02}:{:02}:{:02} UTC", rest / 3_600, rest / 60 % 60, rest % 60)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use telson_proto::Json;

    use super::*;
    use crate::ids::SessionId;

    fn entry(seq: u64, run: &str, role: &str, text: &str) -> TranscriptEntry {
        TranscriptEntry {
            session: SessionId::new("s"),
            seq,
            id: format!("{seq:08x}"),
            parent: None,
            at: seq,
            run: (!run.is_empty()).then(|| RunId::new(run)),
            message: Json::of(
                &json!({"role": role, "content": [{"type": "text", "text": text}], "__bare": true}),
            ),
        }
    }

    fn texts(entries: &[TranscriptEntry], later: &[&str]) -> Vec<String> {
        history(entries, 0, |run| later.contains(&run.as_str()))
            .into_iter()
            .map(|line| line.message.text())
            .collect()
    }

    #[test]
    fn each_answer_follows_the_words_that_it_answers() {
        let entries = [
            entry(1, "1", "user", "u1"),
            entry(2, "2", "user", "u2"),
            entry(3, "3", "user", "u3"),
            entry(4, "1", "assistant", "a1"),
            entry(5, "3", "assistant", "a3"),
            entry(6, "4", "user", "u4"),
        ];
        assert_eq!(texts(&entries, &["4"]), ["u1", "a1", "u2", "u3", "a3"]);
        assert_eq!(texts(&entries[..4], &["2", "3"]), ["u1", "a1"]);
    }

    #[test]
    fn a_message_without_a_run_keeps_its_place() {
        let entries = [
            entry(1, "1", "user", "u1"),
            entry(2, "2", "user", "u2"),
            entry(3, "", "assistant", "injected"),
            entry(4, "2", "assistant", "a2"),
            entry(5, "2", "system", "x"),
        ];
        assert_eq!(texts(&entries, &[]), ["u1", "u2", "injected", "a2"]);
    }

    #[test]
    fn a_cut_transcript_begins_with_the_user() {
        let entries = [entry(7, "1", "assistant", "a1"), entry(8, "2", "user", "u2")];
        assert_eq!(texts(&entries, &[]), ["u2"]);
        let entries = [entry(1, "", "assistant", "greeting"), entry(2, "2", "user", "u2")];
        assert_eq!(texts(&entries, &[]), ["greeting", "u2"]);
    }

    fn line(seq: u64, run: &str, message: &Value) -> TranscriptEntry {
        TranscriptEntry { message: Json::of(message), ..entry(seq, run, "user", "") }
    }

    /// In short: who says what, calls as `!id`, results as `=id`.
    fn brief(lines: &[Line]) -> Vec<String> {
        let block = |block: &Block| match block {
            Block::Text(text) => text.clone(),
            Block::ToolCall(call) => format!("!{} {}", call.id, call.arguments),
            Block::ToolResult(result) => format!("={} {}", result.id, result.text),
            Block::Thinking(thinking) => format!("({})", thinking.text),
            Block::Image(_) => "image".to_owned(),
        };
        lines.iter().map(|line| line.message.blocks.iter().map(block).collect::<Vec<_>>().join(" ")).collect()
    }

    fn calling(seq: u64, ids: &[&str]) -> TranscriptEntry {
        let calls = ids.iter().map(|id| json!({"type": "toolCall", "id": id, "name": "t", "arguments": {}}));
        let content: Vec<_> =
            [json!({"type": "thinking", "thinking": "hm"})].into_iter().chain(calls).collect();
        line(seq, "1", &json!({"role": "assistant", "content": content}))
    }

    fn resulting(seq: u64, id: &str) -> TranscriptEntry {
        let content = json!([{"type": "text", "text": "found"}]);
        line(seq, "1", &json!({"role": "toolResult", "toolCallId": id, "toolName": "t", "content": content}))
    }

    #[test]
    fn calls_and_results_stand_together_in_the_order_of_the_calls() {
        let entries = [
            entry(1, "1", "user", "u1"),
            calling(2, &["a", "b"]),
            resulting(3, "b"),
            resulting(4, "a"),
            entry(5, "1", "assistant", "done"),
        ];
        let expected = ["u1", "(hm) !a {} !b {}", "=a found =b found", "done"];
        assert_eq!(brief(&history(&entries, 0, |_| false)), expected);
    }

    #[test]
    fn a_call_without_a_result_gets_one_and_a_result_without_a_call_goes() {
        let entries =
            [entry(1, "1", "user", "u1"), calling(2, &["a"]), resulting(3, "z"), entry(4, "2", "user", "u2")];
        let expected = ["u1", "(hm) !a {}", "=a The result of this call was not kept.", "u2"];
        assert_eq!(brief(&history(&entries, 0, |_| false)), expected);
    }

    #[test]
    fn words_that_came_in_during_an_answer_stand_before_what_was_said_after_them() {
        let answer = json!({"role": "assistant", "content": "after", "__steered": ["2"]});
        let entries = [
            entry(1, "1", "user", "u1"),
            entry(2, "2", "user", "u2"),
            calling(3, &["a"]),
            resulting(4, "a"),
            line(5, "1", &answer),
        ];
        assert_eq!(brief(&history(&entries, 0, |_| false)), ["u1", "(hm) !a {}", "=a found", "u2", "after"]);
    }

    #[test]
    fn a_summary_stands_for_what_it_sums_up() {
        let summary = json!({"role": "compaction", "summary": "sum", "firstKeptEntryId": "00000003"});
        let entries = [
            entry(1, "1", "user", "u1"),
            entry(2, "1", "assistant", "a1"),
            entry(3, "2", "user", "u2"),
            entry(4, "2", "assistant", "a2"),
            line(5, "c", &summary),
            entry(6, "3", "user", "u3"),
        ];
        let lines = history(&entries, 0, |_| false);
        assert_eq!(brief(&lines), ["[Summary of the conversation so far]\nsum", "u2", "a2", "u3"]);
        assert_eq!(lines[1].entry.as_deref(), Some("00000003"));
    }

    #[test]
    fn words_stand_in_later_prompts_as_in_their_own() {
        let said = json!({"role": "user", "content": "tide?"});
        let entries = [TranscriptEntry { at: 1_769_767_261_999, ..line(1, "1", &said) }];
        let lines = history(&entries, 3_600, |_| false);
        assert_eq!(brief(&lines), ["[Fri 2026-01-30 11:01 GMT+1] tide?\n[message_id: 1]"]);
    }

    #[test]
    fn moments_are_written_in_utc() {
        assert_eq!(stamp(1_769_767_261_999), "2026-01-30 10:01:01 UTC");
        assert_eq!(stamp(951_782_400_000), "2000-02-29 00:00:00 UTC");
    }
}
