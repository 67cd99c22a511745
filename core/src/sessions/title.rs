//! Titles and previews of sessions (spec 02 §14.1, §14.2).

/// The longest derived title in characters, the ellipsis included.
pub const MAX_TITLE_CHARS: usize = 60;
/// The longest preview that lists show, in characters.
pub const MAX_PREVIEW_CHARS: usize = 200;

const TITLE_BYTES: usize = 8 * 1024;
const TITLE_LINES: usize = 10;
const MS_PER_DAY: u64 = 86_400_000;

/// A title made of the first words of a conversation; `None` when there are no words. Cut at a blank when one
/// lies beyond six tenths of the room.
pub fn from_text(text: &str) -> Option<String> {
    let mut end = text.len().min(TITLE_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let head: Vec<&str> = text[..end].lines().take(TITLE_LINES).collect();
    let words = collapse(&head.join(" "));
    if words.is_empty() {
        return None;
    }
    let Some((at, _)) = words.char_indices().nth(MAX_TITLE_CHARS) else { return Some(words) };
    let room = words[..at].char_indices().last().map_or(0, |(last, _)| last);
    let cut = &words[..room];
    let blank = cut.rfind(' ').filter(|blank| cut[..*blank].chars().count() * 10 > MAX_TITLE_CHARS * 6);
    Some(format!("{}…", &cut[..blank.unwrap_or(room)]))
}

/// What a list shows of a message; `None` when there are no words.
pub fn preview(text: &str) -> Option<String> {
    // Whitespace can shrink the text, but a look at this many characters is enough for any honest one.
    let head: String = text.chars().take(MAX_PREVIEW_CHARS * 8).collect();
    let words = collapse(&head);
    (!words.is_empty()).then(|| shorten(&words, MAX_PREVIEW_CHARS))
}

/// Cuts to `most` characters, the three dots at the end included.
pub fn shorten(text: &str, most: usize) -> String {
    if text.char_indices().nth(most).is_none() {
        return text.to_owned();
    }
    let cut: String = text.chars().take(most.saturating_sub(3)).collect();
    format!("{}...", cut.trim_end())
}

/// The title of a session without any words: the beginning of its id and the day of its last change.
pub fn from_id(session: &str, updated_at: u64) -> String {
    let id: String = session.chars().take(8).collect();
    let (year, month, day) = civil(updated_at / MS_PER_DAY);
    format!("{id} ({year:04}-{month:02}-{day:02})")
}

/// A moment in UTC as `2026-01-30T10:00:00.000Z`.
pub fn iso(wall: u64) -> String {
    let (year, month, day) = civil(wall / MS_PER_DAY);
    let (secs, ms) = (wall % MS_PER_DAY / 1_000, wall % 1_000);
    let (hour, minute, second) = (secs / 3_600, secs / 60 % 60, secs % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

fn collapse(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The Gregorian date of a day since 1970-01-01, in eras of 400 years that begin on a 1st of March.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_first_message_is_the_title() {
        assert_eq!(from_text("  hello \n  there ").as_deref(), Some("hello there"));
        assert_eq!(from_text(" \n "), None);
    }

    #[test]
    fn a_long_title_ends_at_a_blank_when_that_is_late_enough() {
        let words = "one two three four five six seven eight nine ten eleven twelve thirteen";
        assert_eq!(
            from_text(words).as_deref(),
            Some("one two three four five six seven eight nine ten eleven…")
        );
        let solid = "x".repeat(80);
        assert_eq!(from_text(&solid).map(|title| title.chars().count()), Some(MAX_TITLE_CHARS));
        let early = format!("ab {}", "ü".repeat(80));
        assert_eq!(from_text(&early).map(|title| title.chars().count()), Some(MAX_TITLE_CHARS));
        assert_eq!(from_text(&"ä".repeat(60)).map(|title| title.chars().count()), Some(60));
    }

    #[test]
    fn previews_are_one_line_and_bounded() {
        assert_eq!(preview("a\n\nb").as_deref(), Some("a b"));
        assert_eq!(preview(&"y".repeat(5_000)).map(|text| text.len()), Some(MAX_PREVIEW_CHARS));
        assert_eq!(shorten("abcdefghij", 8), "abcde...");
        assert_eq!(shorten("abcdefgh", 8), "abcdefgh");
    }

    #[test]
    fn a_wordless_session_is_named_by_id_and_day() {
        assert_eq!(from_id("0d0c1122-aa", 1_769_767_200_000), "0d0c1122 (2026-01-30)");
        assert_eq!(from_id("x", 0), "x (1970-01-01)");
        assert_eq!(from_id("x", 951_782_400_000), "x (2000-02-29)");
        assert_eq!(iso(1_769_767_261_999), "2026-01-30T10:01:01.999Z");
    }
}
