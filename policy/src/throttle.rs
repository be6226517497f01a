//! How often a rule may report: at most so many events in so long, by the value of a field.
//!
//! Pure arithmetic; whoever emits events keeps one [`Windows`] per rule that has a throttle.

use std::time::Duration;

use foldhash::HashMap;

use crate::field::Field;

/// Values of the field that are counted apart, per rule: enough for the processes of a busy host
/// within a minute. What comes beyond is counted together.
pub const MAX_KEYS: usize = 4096;
/// Longest window.
pub const MAX_EVERY: Duration = Duration::from_secs(24 * 60 * 60);

/// What a rule asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Throttle {
    /// Events are counted by the value of this field; without it, all together.
    pub per: Option<Field>,
    /// Events that pass in one window.
    pub max: u32,
    /// Length of a window, at most [`MAX_EVERY`].
    pub every: Duration,
}

/// The counts of one rule.
#[derive(Clone, Debug, Default)]
pub struct Windows {
    by_key: HashMap<String, Window>,
    beyond: Window,
}

#[derive(Clone, Copy, Debug, Default)]
struct Window {
    began: Duration,
    count: u32,
}

impl Windows {
    /// Counts an event with this value of the throttle's field, at `now` since any fixed instant,
    /// and says whether it passes.
    pub fn admit(&mut self, throttle: &Throttle, key: &str, now: Duration) -> bool {
        if !self.by_key.contains_key(key) {
            if self.by_key.len() >= MAX_KEYS {
                self.by_key
                    .retain(|_, window| !window.is_over(throttle, now));
            }
            if self.by_key.len() < MAX_KEYS {
                self.by_key.insert(
                    key.to_owned(),
                    Window {
                        began: now,
                        count: 0,
                    },
                );
            }
        }
        let window = self.by_key.get_mut(key).unwrap_or(&mut self.beyond);
        if window.is_over(throttle, now) {
            *window = Window {
                began: now,
                count: 0,
            };
        }
        window.count = window.count.saturating_add(1);
        window.count <= throttle.max
    }
}

impl Window {
    fn is_over(&self, throttle: &Throttle, now: Duration) -> bool {
        now.saturating_sub(self.began) >= throttle.every
    }
}

/// Reads `500ms`, `30s`, `5m`, `1h`; `None` for anything else, for zero, and beyond [`MAX_EVERY`].
#[must_use]
pub fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let number: u64 = text[..digits].parse().ok()?;
    let milliseconds = match &text[digits..] {
        "ms" => 1,
        "s" => 1000,
        "m" => 60 * 1000,
        "h" => 60 * 60 * 1000,
        _ => return None,
    };
    let duration = Duration::from_millis(number.checked_mul(milliseconds)?);
    (!duration.is_zero() && duration <= MAX_EVERY).then_some(duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO_A_SECOND: Throttle = Throttle {
        per: None,
        max: 2,
        every: Duration::from_secs(1),
    };

    #[test]
    fn a_window_admits_its_number_and_starts_again() {
        let mut windows = Windows::default();
        let mut at = |key, ms| windows.admit(&TWO_A_SECOND, key, Duration::from_millis(ms));
        assert_eq!([at("a", 0), at("a", 1), at("a", 999)], [true, true, false]);
        assert!(at("b", 999));
        assert_eq!(
            [at("a", 1000), at("a", 1001), at("a", 1002)],
            [true, true, false]
        );
    }

    #[test]
    fn the_number_of_keys_is_bounded() {
        let mut windows = Windows::default();
        for key in 0..2 * MAX_KEYS {
            windows.admit(&TWO_A_SECOND, &key.to_string(), Duration::ZERO);
        }
        assert_eq!(windows.by_key.len(), MAX_KEYS);
        assert!(!windows.admit(&TWO_A_SECOND, "one more", Duration::ZERO));
        assert!(windows.admit(&TWO_A_SECOND, "later", Duration::from_secs(1)));
        assert_eq!(windows.by_key.len(), 1);
    }

    #[test]
    fn durations() {
        assert_eq!(parse_duration("1m"), Some(Duration::from_secs(60)));
        assert_eq!(parse_duration("250ms"), Some(Duration::from_millis(250)));
        for wrong in [
            "",
            "5",
            "m",
            "0s",
            "25h",
            "1.5s",
            "99999999999999999999s",
            "1 m",
        ] {
            assert_eq!(parse_duration(wrong), None, "{wrong}");
        }
    }
}
