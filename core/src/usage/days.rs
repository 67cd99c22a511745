//! Calendar days as numbers: days since 1970-01-01.

/// The day of a moment in epoch milliseconds, in a zone this many minutes east of Greenwich.
pub(super) fn day_at(ms: u64, offset_minutes: i64) -> i64 {
    const MS_PER_DAY: i64 = 86_400_000;
    (i64::try_from(ms).unwrap_or(i64::MAX / 2) + offset_minutes * 60_000).div_euclid(MS_PER_DAY)
}

/// Reads `YYYY-MM-DD`; `None` for anything else and for days that no calendar has.
pub(super) fn parse(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let shape = bytes.len() == 10
        && bytes.iter().enumerate().all(|(at, byte)| match at {
            4 | 7 => *byte == b'-',
            _ => byte.is_ascii_digit(),
        });
    let mut parts = shape.then(|| text.split('-').map(|part| part.parse::<i64>()))?;
    let (year, month, day) = (parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let number = number(year, month, day);
    (civil(number) == (year, month, day)).then_some(number)
}

/// Writes `YYYY-MM-DD`.
pub(super) fn write(day: i64) -> String {
    let (year, month, day) = civil(day);
    format!("{year:04}-{month:02}-{day:02}")
}

/// The number of a Gregorian date, in eras of 400 years that begin on a 1st of March.
fn number(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// The date of a number.
fn civil(day: i64) -> (i64, i64, i64) {
    let day = day + 719_468;
    let (era, day_of_era) = (day.div_euclid(146_097), day.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let date = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, date)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_numbers_agree() {
        for (text, day) in [("1970-01-01", 0), ("2000-02-29", 11_016), ("2026-01-30", 20_483)] {
            assert_eq!(parse(text), Some(day));
            assert_eq!(write(day), text);
        }
        for day in (-800_000..800_000).step_by(37) {
            let (year, month, date) = civil(day);
            assert_eq!(number(year, month, date), day);
        }
    }

    #[test]
    fn what_is_no_date_is_not_read() {
        for text in ["", "2026-1-30", "2026-02-30", "2026-13-01", "2026-00-10", "30-01-2026", "2026-01-3x"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_moment_has_its_day_in_its_zone() {
        let just_before_midnight = 86_400_000 - 1;
        assert_eq!(day_at(just_before_midnight, 0), 0);
        assert_eq!(day_at(just_before_midnight, 60), 1);
        assert_eq!(day_at(0, -60), -1);
    }
}
