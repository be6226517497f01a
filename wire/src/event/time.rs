//! Nanoseconds since 1970 ↔ RFC 3339, without a calendar library: UTC only, proleptic Gregorian.

use super::Time;

/// Formats as `2026-11-22T19:00:00.123456789Z` (RFC 3339, UTC). `unix_nanoseconds` up to year 2554.
#[must_use]
pub fn rfc3339(unix_nanoseconds: u64) -> Time {
    let seconds = unix_nanoseconds / 1_000_000_000;
    let nanoseconds = unix_nanoseconds % 1_000_000_000;
    let (year, month, day) = civil_from_days(seconds / 86_400);
    let second_of_day = seconds % 86_400;
    let parts = [
        (0..4, year),
        (5..7, month),
        (8..10, day),
        (11..13, second_of_day / 3600),
        (14..16, second_of_day / 60 % 60),
        (17..19, second_of_day % 60),
        (20..29, nanoseconds),
    ];
    // Every event has some of these: digit by digit it takes a fraction of what formatting takes.
    let mut text = *b"0000-00-00T00:00:00.000000000Z";
    for (place, mut number) in parts {
        for digit in text[place].iter_mut().rev() {
            *digit = b'0' + (number % 10) as u8;
            number /= 10;
        }
    }
    // It is ASCII.
    Time::from_byte_string(&text).unwrap_or_default()
}

/// The nanoseconds of a time as [`rfc3339`] prints it; fewer digits of a second's fraction will do, or none.
#[must_use]
pub fn unix_nanoseconds(text: &str) -> Option<u64> {
    const FORM: &[u8] = b"0000-00-00T00:00:00";
    const DIGITS: usize = 9;
    let (seconds, fraction) = text.strip_suffix('Z')?.split_at_checked(FORM.len())?;
    let fraction = fraction.strip_prefix('.').unwrap_or(fraction);
    let fits = seconds
        .bytes()
        .zip(FORM)
        .all(|(found, expected)| match expected {
            b'0' => found.is_ascii_digit(),
            mark => found == *mark,
        });
    let all_digits = fraction.bytes().all(|byte| byte.is_ascii_digit());
    if !fits || !all_digits || fraction.len() > DIGITS {
        return None;
    }
    let number = |place: std::ops::Range<usize>| seconds.get(place)?.parse::<u64>().ok();
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    let days = days_from_civil(year, month, day)?;
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let nanoseconds: u64 = format!("{fraction:0<DIGITS$}").parse().ok()?;
    (((days * 24 + hour) * 60 + minute) * 60 + second)
        .checked_mul(1_000_000_000)?
        .checked_add(nanoseconds)
}

/// The inverse of [`civil_from_days`]; `None` before 1970, and for a day that there is not.
fn days_from_civil(year: u64, month: u64, day: u64) -> Option<u64> {
    if year < 1970 || !(1..=12).contains(&month) {
        return None;
    }
    let year_from_march = if month <= 2 { year - 1 } else { year };
    let shifted_month = (month + 9) % 12;
    let day_of_year = (153 * shifted_month + 2) / 5 + day.checked_sub(1)?;
    let leap_days = year_from_march / 4 - year_from_march / 100 + year_from_march / 400;
    let days = (365 * year_from_march + leap_days + day_of_year).checked_sub(719_468)?;
    (civil_from_days(days) == (year, month, day)).then_some(days)
}

/// Days since 1970-01-01 → year, month, day. The year is taken to begin in March, so that the leap
/// day is its last (Richards, "Mapping Time", 1998).
const fn civil_from_days(days: u64) -> (u64, u64, u64) {
    const DAYS_FROM_0000_03_01: u64 = 719_468;
    const DAYS_PER_400_YEARS: u64 = 146_097;
    let days = days + DAYS_FROM_0000_03_01;
    let era = days / DAYS_PER_400_YEARS;
    let day_of_era = days % DAYS_PER_400_YEARS;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::{rfc3339, unix_nanoseconds};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_printed_is_read(nanoseconds in 0..18_000_000_000_000_000_000u64) {
            prop_assert_eq!(unix_nanoseconds(&rfc3339(nanoseconds)), Some(nanoseconds));
        }

        #[test]
        fn anything_is_read_or_not(text in "[0-9T:.Z-]{0,32}") {
            let _ = unix_nanoseconds(&text);
        }
    }

    #[test]
    fn what_is_no_instant_is_not_read() {
        let read = unix_nanoseconds;
        assert_eq!(read("1970-01-01T00:00:01Z"), Some(1_000_000_000));
        assert_eq!(read("1970-01-01T00:00:00.5Z"), Some(500_000_000));
        for wrong in [
            "",
            "Z",
            "2026-11-22T19:00:00",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-01-00T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:00:60Z",
            "1969-12-31T23:59:59Z",
            "2026-01-01T00:00:00.0000000000Z",
            "é026-01-01T00:00:00Z",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn known_instants() {
        assert_eq!(&rfc3339(0), "1970-01-01T00:00:00.000000000Z");
        assert_eq!(
            &rfc3339(951_782_400_000_000_001),
            "2000-02-29T00:00:00.000000001Z"
        );
        assert_eq!(
            &rfc3339(1_795_374_000_123_456_789),
            "2026-11-22T19:00:00.123456789Z"
        );
        assert_eq!(
            &rfc3339(4_107_542_399_999_999_999),
            "2100-02-28T23:59:59.999999999Z"
        );
        assert_eq!(
            &rfc3339(4_107_542_400_000_000_000),
            "2100-03-01T00:00:00.000000000Z"
        );
    }
}
