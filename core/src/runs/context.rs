//! What was said before, as the model gets it.

use serde_json::Value;

use crate::ids::RunId;
use crate::providers::request::{Block, Image, Message, Role};
use crate::sessions::sanitise;
use crate::store::TranscriptEntry;

/// The conversation in the entries of a transcript, without those of runs that are `later`.
///
/// Words that were sent while an answer was under way stand before that answer in the transcript; here each
/// answer follows the words that it answers.
pub(super) fn history(entries: &[TranscriptEntry], later: impl Fn(&RunId) -> bool) -> Vec<Message> {
    let mut messages = Vec::new();
    let mut unanswered: Vec<(Option<&RunId>, Message)> = Vec::new();
    for entry in entries.iter().filter(|entry| !entry.run.as_ref().is_some_and(&later)) {
        let Some(message) = read(&entry.message.to_value()) else { continue };
        if message.role == Role::User {
            unanswered.push((entry.run.as_ref(), message));
            continue;
        }
        let answers =
            |run: &Option<&RunId>| entry.run.is_none() || run.is_none() || *run == entry.run.as_ref();
        let last = unanswered.iter().rposition(|(run, _)| answers(run));
        messages.extend(unanswered.drain(..last.map_or(0, |last| last + 1)).map(|(_, message)| message));
        messages.push(message);
    }
    messages.extend(unanswered.into_iter().map(|(_, message)| message));
    let begins_in_the_middle = entries.first().is_some_and(|entry| entry.seq > 1);
    if begins_in_the_middle {
        let first = messages.iter().position(|message| message.role == Role::User).unwrap_or(messages.len());
        messages.drain(..first);
    }
    messages
}

/// A message of user or assistant that says anything.
fn read(message: &Value) -> Option<Message> {
    let role = match message.get("role")?.as_str()? {
        "user" => Role::User,
        "assistant" => Role::Assistant,
        _ => return None,
    };
    let text = sanitise::text_of(message);
    let blocks = message.get("content").and_then(Value::as_array);
    let images = blocks.into_iter().flatten().filter_map(image).collect::<Vec<_>>();
    let words = (!text.trim().is_empty()).then_some(Block::Text(text));
    let blocks: Vec<Block> = words.into_iter().chain(images.into_iter().map(Block::Image)).collect();
    (!blocks.is_empty()).then_some(Message { role, blocks })
}

fn image(block: &Value) -> Option<Image> {
    let text = |name: &str| block.get(name)?.as_str();
    (text("type")? == "image").then_some(())?;
    Some(Image { mime: text("mimeType")?.to_owned(), base64: text("data")?.into() })
}

/// A moment in UTC, as it stands before system events in a prompt.
pub(super) fn stamp(wall: u64) -> String {
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
            message: Json::of(&json!({"role": role, "content": [{"type": "text", "text": text}]})),
        }
    }

    fn texts(entries: &[TranscriptEntry], later: &[&str]) -> Vec<String> {
        history(entries, |run| later.contains(&run.as_str()))
            .into_iter()
            .map(|message| message.text())
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

    #[test]
    fn moments_are_written_in_utc() {
        assert_eq!(stamp(1_769_767_261_999), "2026-01-30 10:01:01 UTC");
        assert_eq!(stamp(951_782_400_000), "2000-02-29 00:00:00 UTC");
    }
}
