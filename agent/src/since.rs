//! `--since`: a moment, as people write it, in the form in which events carry it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use holdfast_wire::event::rfc3339;

/// The form of an event's time; a shorter text with the same beginning is an earlier moment, or the
/// same, so that moments compare as texts.
const FORM: &str = "0000-00-00T00:00:00.000000000";

/// The moment that `text` means: so long ago (`30s`, `10m`, `2h`, `7d`), or a time in UTC of which
/// the end may be left out (`2026-11-22`, `2026-11-22T19:00`).
///
/// # Errors
/// One line, when it is neither.
pub(crate) fn parse(text: &str) -> Result<String, String> {
    let wrong = || "expected a duration such as 10m, or a time such as 2026-11-22T19:00".to_owned();
    if let Some(duration) = duration(text) {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let then = now.saturating_sub(duration);
        let then = u64::try_from(then.as_nanos()).map_err(|_| wrong())?;
        return Ok(rfc3339(then).to_string());
    }
    let moment = text.strip_suffix('Z').unwrap_or(text);
    // The shortest is a day.
    let fits = (10..=FORM.len()).contains(&moment.len())
        && moment.bytes().zip(FORM.bytes()).all(|(found, expected)| {
            if expected == b'0' {
                found.is_ascii_digit()
            } else {
                found == expected
            }
        });
    if fits {
        Ok(moment.to_owned())
    } else {
        Err(wrong())
    }
}

/// This moment.
pub(crate) fn now() -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    // Nanoseconds fit until 2554.
    rfc3339(now.as_nanos() as u64).to_string()
}

fn duration(text: &str) -> Option<Duration> {
    let number: u64 = text.get(..text.len().checked_sub(1)?)?.parse().ok()?;
    let seconds = match text.as_bytes().last()? {
        b's' => 1,
        b'm' => 60,
        b'h' => 60 * 60,
        b'd' => 24 * 60 * 60,
        _ => return None,
    };
    number.checked_mul(seconds).map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_compare_as_texts() {
        let day = parse("2026-11-22").unwrap();
        let minute = parse("2026-11-22T19:00Z").unwrap();
        let event = "2026-11-22T19:00:00.123456789Z";
        assert!(day.as_str() < event && minute.as_str() < event);
        assert!(parse("2026-11-22T19:01").unwrap().as_str() > event);
        assert!(parse("1h").unwrap() < parse("1s").unwrap());
    }

    #[test]
    fn what_is_neither_is_refused() {
        for wrong in [
            "",
            "10",
            "m",
            "yesterday",
            "2026-11",
            "2026/11/22",
            "9999999999999999999d",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
