//! Times and durations: what `timestamp()`, `duration()` and their `get…()` methods give.

use std::borrow::Cow;

use jiff::tz::Offset;
use jiff::{SignedDuration, Timestamp};

use crate::field::Value;

/// A method that gives a part of a time, or a whole number of a duration's units; see the CEL specification,
/// "Timestamp and duration functions".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimePart {
    FullYear,
    /// January is 0.
    Month,
    /// The first is 0.
    DayOfMonth,
    /// The first is 1.
    Date,
    /// Sunday is 0.
    DayOfWeek,
    /// The first is 0.
    DayOfYear,
    Hours,
    Minutes,
    Seconds,
    Milliseconds,
}

/// The methods that give them.
const PARTS: [(&str, TimePart); 10] = [
    ("getFullYear", TimePart::FullYear),
    ("getMonth", TimePart::Month),
    ("getDayOfMonth", TimePart::DayOfMonth),
    ("getDate", TimePart::Date),
    ("getDayOfWeek", TimePart::DayOfWeek),
    ("getDayOfYear", TimePart::DayOfYear),
    ("getHours", TimePart::Hours),
    ("getMinutes", TimePart::Minutes),
    ("getSeconds", TimePart::Seconds),
    ("getMilliseconds", TimePart::Milliseconds),
];

impl TimePart {
    /// What the method of this name gives, if it gives one.
    pub(super) fn from_method(name: &str) -> Option<Self> {
        let found = PARTS.iter().find(|(method, _)| *method == name)?;
        Some(found.1)
    }

    /// The method that gives it.
    pub(super) fn method(self) -> &'static str {
        let found = PARTS.iter().find(|(_, part)| *part == self);
        found.map_or("", |(method, _)| method)
    }

    /// Whether durations have it, too.
    pub(super) const fn is_of_durations(self) -> bool {
        matches!(
            self,
            Self::Hours | Self::Minutes | Self::Seconds | Self::Milliseconds
        )
    }

    /// This part of `value`, where it is a time that far from UTC, or a duration.
    pub(super) fn of(self, value: &Value<'_>, offset: Offset) -> Value<'static> {
        match value {
            Value::Timestamp(time) => Value::Int(self.of_time(*time, offset)),
            Value::Duration(duration) => Value::int(self.of_duration(*duration)),
            _ => Value::Absent,
        }
    }

    fn of_time(self, time: Timestamp, offset: Offset) -> i64 {
        let there = offset.to_datetime(time);
        match self {
            Self::FullYear => there.year().into(),
            Self::Month => i64::from(there.month()) - 1,
            Self::DayOfMonth => i64::from(there.day()) - 1,
            Self::Date => there.day().into(),
            Self::DayOfWeek => there.weekday().to_sunday_zero_offset().into(),
            Self::DayOfYear => i64::from(there.day_of_year()) - 1,
            Self::Hours => there.hour().into(),
            Self::Minutes => there.minute().into(),
            Self::Seconds => there.second().into(),
            Self::Milliseconds => there.millisecond().into(),
        }
    }

    fn of_duration(self, duration: SignedDuration) -> Option<i64> {
        match self {
            Self::Hours => Some(duration.as_hours()),
            Self::Minutes => Some(duration.as_mins()),
            Self::Seconds => Some(duration.as_secs()),
            Self::Milliseconds => Some(duration.subsec_millis().into()),
            _ => None,
        }
    }
}

/// The time that an event's text says, as RFC 3339 writes it; absent where it is none.
pub(crate) fn recorded(text: &str) -> Value<'static> {
    instant(text).map_or(Value::Absent, Value::Timestamp)
}

/// The instant that `text` names: RFC 3339, of the years 1 to 9999.
pub(super) fn instant(text: &str) -> Option<Timestamp> {
    // A date and a time without an offset is no instant, and jiff says so.
    text.parse::<Timestamp>()
        .ok()
        .filter(|time| is_known(*time))
}

/// CEL knows the years 1 to 9999; jiff ends where it does.
fn is_known(time: Timestamp) -> bool {
    const FIRST_SECOND: i64 = -62_135_596_800;
    Timestamp::from_second(FIRST_SECOND).is_ok_and(|first| time >= first)
}

/// Reads a sequence of numbers with units: `1h30m`, `-1.5s`, `100ms`, `7us`, `3ns`, or `0`.
pub(super) fn duration(text: &str) -> Option<SignedDuration> {
    const UNITS: [(&str, i128); 7] = [
        ("ns", 1),
        ("us", 1_000),
        ("µs", 1_000),
        ("ms", 1_000_000),
        ("s", 1_000_000_000),
        ("m", 60_000_000_000),
        ("h", 3_600_000_000_000),
    ];
    const LONGEST_FRACTION: usize = 18;
    let (is_negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(SignedDuration::ZERO);
    }
    if rest.is_empty() {
        return None;
    }
    let mut sum = 0i128;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, behind) = rest.split_at(end);
        let unit_end = behind.find(|c: char| c.is_ascii_digit() || c == '.');
        let (unit, next) = behind.split_at(unit_end.unwrap_or(behind.len()));
        let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() || fraction.len() > LONGEST_FRACTION {
            return None;
        }
        let digits = |text: &str| match text {
            "" => Some(0),
            text => text.parse::<i64>().ok().map(i128::from),
        };
        let scale = 10i128.pow(u32::try_from(fraction.len()).ok()?);
        sum += digits(whole)? * factor + digits(fraction)? * factor / scale;
        rest = next;
    }
    of_nanoseconds(if is_negative { -sum } else { sum })
}

/// `None` where 64 bits do not hold it: beyond 292 years.
fn of_nanoseconds(nanoseconds: i128) -> Option<SignedDuration> {
    i64::try_from(nanoseconds)
        .ok()
        .map(SignedDuration::from_nanos)
}

/// `UTC`, `Z`, or `+02:00`. Names of zones are not known on every machine.
pub(super) fn offset(text: &str) -> Option<Offset> {
    if matches!(text, "UTC" | "Z") {
        return Some(Offset::UTC);
    }
    let (sign, text) = match text.split_at_checked(1)? {
        ("-", rest) => (-1, rest),
        ("+", rest) => (1, rest),
        _ => (1, text),
    };
    let (hours, minutes) = text.split_once(':')?;
    let two_digits = |text: &str| {
        let is_number = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<i32>().ok().filter(|_| is_number)
    };
    let minutes = two_digits(minutes).filter(|minutes| *minutes < 60)?;
    Offset::from_seconds(sign * (two_digits(hours)? * 3600 + minutes * 60)).ok()
}

/// `a + b`; absent where CEL has no such time or duration.
pub(super) fn sum<'v>(a: &Value<'_>, b: &Value<'_>) -> Value<'v> {
    match (a, b) {
        (Value::Duration(a), Value::Duration(b)) => checked(a.checked_add(*b)),
        (Value::Timestamp(time), Value::Duration(by))
        | (Value::Duration(by), Value::Timestamp(time)) => {
            let time = time.checked_add(*by).ok().filter(|time| is_known(*time));
            time.map_or(Value::Absent, Value::Timestamp)
        }
        _ => Value::Absent,
    }
}

/// `a - b`; likewise.
pub(super) fn difference<'v>(a: &Value<'_>, b: &Value<'_>) -> Value<'v> {
    match (a, b) {
        (Value::Duration(a), Value::Duration(b)) => checked(a.checked_sub(*b)),
        (Value::Timestamp(a), Value::Timestamp(b)) => checked(Some(a.duration_since(*b))),
        (Value::Timestamp(time), Value::Duration(by)) => {
            let time = time.checked_sub(*by).ok().filter(|time| is_known(*time));
            time.map_or(Value::Absent, Value::Timestamp)
        }
        _ => Value::Absent,
    }
}

fn checked<'v>(duration: Option<SignedDuration>) -> Value<'v> {
    let duration = duration.and_then(|duration| of_nanoseconds(duration.as_nanos()));
    duration.map_or(Value::Absent, Value::Duration)
}

/// An offset as [`offset`] reads it.
pub(super) fn shown_offset(offset: Offset) -> String {
    let seconds = offset.seconds();
    let (hours, minutes) = (seconds.abs() / 3600, seconds.abs() / 60 % 60);
    format!(
        "{}{hours:02}:{minutes:02}",
        if seconds < 0 { '-' } else { '+' }
    )
}

/// A duration as [`duration`] reads it: in seconds, as CEL prints it.
pub(crate) fn shown(duration: SignedDuration) -> Cow<'static, str> {
    let nanoseconds = duration.subsec_nanos().unsigned_abs();
    let sign = if duration.is_negative() { "-" } else { "" };
    let seconds = duration.as_secs().unsigned_abs();
    if nanoseconds == 0 {
        return format!("{sign}{seconds}s").into();
    }
    let fraction = format!("{nanoseconds:09}");
    format!("{sign}{seconds}.{}s", fraction.trim_end_matches('0')).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations() {
        for (text, nanoseconds) in [
            ("0", 0),
            ("1h30m", 5_400_000_000_000),
            ("-1.5s", -1_500_000_000),
            (".5ms", 500_000),
            ("+7us", 7_000),
            ("1m1ns", 60_000_000_001),
        ] {
            let read = duration(text).map(|it| it.as_nanos());
            assert_eq!(read, Some(nanoseconds), "{text}");
        }
        for wrong in [
            "",
            "-",
            "1",
            "s",
            "1d",
            "1 s",
            ".s",
            "1h-3m",
            "320000000000s",
            "99999999999999999999h",
        ] {
            assert_eq!(duration(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn offsets() {
        let seconds = |text| offset(text).map(Offset::seconds);
        assert_eq!(seconds("UTC"), Some(0));
        assert_eq!(seconds("+02:00"), Some(7200));
        assert_eq!(seconds("-09:30"), Some(-34_200));
        assert_eq!(seconds("02:00"), Some(7200));
        for wrong in [
            "",
            "Europe/Berlin",
            "+2:00",
            "+02:60",
            "+99:00",
            "+0200",
            "é",
        ] {
            assert_eq!(seconds(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read(nanoseconds: i64) {
            let it = SignedDuration::from_nanos(nanoseconds);
            prop_assert_eq!(duration(&shown(it)), Some(it));
        }

        #[test]
        fn anything_is_read_or_not(text in "[0-9hmsnuµ.+-]{0,24}") {
            let _ = (duration(&text), offset(&text), instant(&text));
        }
    }
}
