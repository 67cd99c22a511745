//! What stands around the user's words in a prompt (spec 02 §6.5). The transcript keeps the words alone.

use crate::ids::RunId;
use crate::sessions::sanitise;

/// The words as the model gets them: after the time at which they were said, and before the id by which tools
/// can speak of them. Words that tell the time themselves get no second stamp; blank ones get none.
///
/// `wall` is in epoch milliseconds, `offset` what local time is ahead of UTC in seconds.
pub(crate) fn decorate(text: &str, wall: u64, offset: i32, run: &RunId) -> String {
    let timeless = text.trim().is_empty() || text.contains("Current time: ") || is_stamped(text);
    let before = if timeless { String::new() } else { format!("[{}] ", stamp(wall, offset)) };
    let gap = if text.is_empty() { "" } else { "\n" };
    format!("{before}{text}{gap}[message_id: {run}]")
}

/// Whether the text begins with a stamp or the envelope of a channel.
fn is_stamped(text: &str) -> bool {
    text.starts_with('[') && text.contains(']') && !sanitise::user_text(text).starts_with('[')
}

/// A moment in local time: `Fri 2026-01-30 10:00 GMT+1`.
fn stamp(wall: u64, offset: i32) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    let secs = i64::try_from(wall / 1_000).unwrap_or(i64::MAX / 2).saturating_add(i64::from(offset));
    let (days, rest) = (secs.div_euclid(86_400), secs.rem_euclid(86_400));
    let (year, month, day) = date(days);
    let weekday = usize::try_from(days.rem_euclid(7)).ok().and_then(|at| DAYS.get(at)).copied();
    format!(
        "{} {year:04}-{month:02}-{day:02} {:02}:{:02} {}",
        weekday.unwrap_or_default(),
        rest / 3_600,
        rest / 60 % 60,
        zone(offset)
    )
}

/// The civil date of a day, counted from 1970-01-01.
fn date(days: i64) -> (i64, i64, i64) {
    // Days since 0000-03-01 in eras of 400 years; months counted from March.
    let z = days + 719_468;
    let (era, day) = (z.div_euclid(146_097), z.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let date = day - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (year + era * 400 + carry, month, date)
}

/// The zone's name where only its offset is known, as browsers write it.
fn zone(offset: i32) -> String {
    let minutes = offset.unsigned_abs() / 60;
    let sign = if offset < 0 { '-' } else { '+' };
    match (minutes / 60, minutes % 60) {
        (0, 0) => "UTC".to_owned(),
        (hours, 0) => format!("GMT{sign}{hours}"),
        (hours, minutes) => format!("GMT{sign}{hours}:{minutes:02}"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// 2026-01-30 10:00:59 UTC.
    const WALL: u64 = 1_769_767_259_000;

    fn said(text: &str, offset: i32) -> String {
        decorate(text, WALL, offset, &RunId::new("r1"))
    }

    #[test]
    fn words_stand_between_the_time_and_their_id() {
        assert_eq!(said("hi", 0), "[Fri 2026-01-30 10:00 UTC] hi\n[message_id: r1]");
        assert_eq!(said("hi", 3_600), "[Fri 2026-01-30 11:00 GMT+1] hi\n[message_id: r1]");
        assert_eq!(said("hi", -12 * 3_600), "[Thu 2026-01-29 22:00 GMT-12] hi\n[message_id: r1]");
        assert_eq!(said("hi", 19_800), "[Fri 2026-01-30 15:30 GMT+5:30] hi\n[message_id: r1]");
    }

    #[test]
    fn a_second_stamp_is_not_added() {
        for text in ["[Fri 2026-01-30 09:00 CET] hi", "[WhatsApp +1555] hi", "Current time: noon"] {
            assert_eq!(said(text, 0), format!("{text}\n[message_id: r1]"));
        }
        assert_eq!(said("[note] hi", 0), "[Fri 2026-01-30 10:00 UTC] [note] hi\n[message_id: r1]");
        assert_eq!(said("", 0), "[message_id: r1]");
    }

    proptest! {
        #[test]
        fn what_is_put_around_the_words_can_be_taken_off_again(
            words in "[a-z][a-z \n]{0,40}", wall in 0..4_000_000_000_000_u64, offset in -86_400..86_400_i32,
        ) {
            let said = decorate(&words, wall, offset, &RunId::new("r1"));
            prop_assert_eq!(sanitise::user_text(&said).into_owned(), words);
        }
    }
}
