//! What stands in the cells of tables: the members of an answer as people read them.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::Value;

/// A text member; empty when it is missing.
pub(crate) fn text(value: &Value, name: &str) -> String {
    value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// A whole number; empty when it is missing.
pub(crate) fn number(value: &Value, name: &str) -> String {
    value.get(name).and_then(Value::as_u64).map_or_else(String::new, grouped)
}

/// A list of words, or the one word that stands for it in older shapes.
pub(crate) fn words(value: &Value, one: &str, many: &str) -> String {
    match value.get(many).and_then(Value::as_array) {
        Some(list) => list.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "),
        None => text(value, one),
    }
}

/// The members of a list; none when it is missing.
pub(crate) fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// The text of a message: all its text blocks.
pub(crate) fn message_text(message: &Value) -> Option<String> {
    match message.get("content")? {
        Value::String(text) => Some(text.clone()),
        Value::Array(blocks) => {
            let is_text = |block: &&Value| block.get("type").is_none_or(|kind| kind == "text");
            let texts = blocks.iter().filter(is_text);
            Some(texts.filter_map(|block| block.get("text").and_then(Value::as_str)).collect())
        }
        _ => None,
    }
}

/// The first of several names that a session has, cut to fit a line.
pub(crate) fn title(row: &Value) -> String {
    let names = ["label", "displayName", "derivedTitle", "lastMessagePreview"];
    let name = names.iter().map(|name| text(row, name)).find(|name| !name.is_empty()).unwrap_or_default();
    cut(&name, 40)
}

/// A text on one line, with at most so many characters.
pub(crate) fn cut(text: &str, most: usize) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= most {
        return line;
    }
    line.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

/// A number with its thousands apart.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// How long ago a time in epoch milliseconds was.
pub(crate) fn age(at: Option<&Value>) -> String {
    let now = u64::try_from(Timestamp::now().as_millisecond()).unwrap_or_default();
    at.and_then(Value::as_u64).map_or_else(String::new, |at| format!("{} ago", span(now.saturating_sub(at))))
}

/// A time in epoch milliseconds as the local clock showed it, and how long ago that was.
pub(crate) fn moment(at: Option<&Value>) -> String {
    let time = at.and_then(Value::as_i64).and_then(|at| Timestamp::from_millisecond(at).ok());
    time.map_or_else(String::new, |time| {
        let local = time.to_zoned_datetime(TimeZone::system()).strftime("%Y-%m-%d %H:%M").to_string();
        format!("{local} ({})", age(at))
    })
}

/// A time in epoch milliseconds in the ISO form of transcripts.
pub(crate) fn iso(millis: i64) -> String {
    Timestamp::from_millisecond(millis)
        .map_or_else(|_| String::new(), |time| time.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string())
}

/// A span of time in its largest unit and the next smaller one.
pub(crate) fn span(millis: u64) -> String {
    let seconds = millis / 1_000;
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m {}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h {}m", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{}d {}h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn spans_read_as_people_say_them() {
        assert_eq!(span(999), "0s");
        assert_eq!(span(61_000), "1m 1s");
        assert_eq!(span(7_260_000), "2h 1m");
        assert_eq!(span(90_000_000), "1d 1h");
    }

    #[test]
    fn a_session_is_called_by_the_best_of_its_names() {
        assert_eq!(title(&json!({"label": "", "displayName": "shell"})), "shell");
        assert_eq!(title(&json!({"derivedTitle": "x".repeat(50)})).chars().count(), 40);
    }

    #[test]
    fn large_numbers_are_readable() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_000), "1,000");
        assert_eq!(grouped(1_234_567), "1,234,567");
    }

    #[test]
    fn times_of_a_transcript_are_in_the_iso_form() {
        assert_eq!(iso(1_769_767_200_000), "2026-01-30T10:00:00.000Z");
        assert_eq!(iso(i64::MAX), "", "a time that no calendar has");
    }

    #[test]
    fn only_the_text_of_a_message_is_its_text() {
        let message = json!({"content": [
            {"type": "thinking", "thinking": "hm", "text": "not this"},
            {"type": "text", "text": "tide "}, {"type": "text", "text": "and moon"},
        ]});
        assert_eq!(message_text(&message).as_deref(), Some("tide and moon"));
        assert_eq!(message_text(&json!({"content": "plain"})).as_deref(), Some("plain"));
        assert_eq!(message_text(&json!({})), None);
    }

    #[test]
    fn a_long_text_is_cut_to_one_line() {
        assert_eq!(cut("a\n  b", 9), "a b");
        assert_eq!(cut("abcdef", 4), "abc…");
    }
}
