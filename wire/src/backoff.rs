//! When to try again what another machine did not answer, as pure arithmetic: no clock and no randomness of its own.

use std::time::Duration;

/// Before the second attempt, at most: a server that restarts is back in seconds.
const FIRST: Duration = Duration::from_secs(1);
/// Between two attempts, at most: how late it is noticed that the other end is back.
const MOST: Duration = Duration::from_secs(60);
/// The longest that the other end can ask for: more is a mistake.
const MOST_ASKED: Duration = Duration::from_secs(3600);

/// Attempts that failed, one after the other.
#[derive(Clone, Copy, Debug, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// It worked.
    pub fn worked(&mut self) {
        self.failures = 0;
    }

    /// It failed; after how long to try again: a time that doubles, up to a minute. `random`, in `0.0..1.0`, spreads over
    /// half of it those that lost the other end together. `asked`: what that asked for by `Retry-After` (RFC 9110,
    /// 10.2.3), an hour at most, where it is longer.
    pub fn failed(&mut self, random: f64, asked: Option<Duration>) -> Duration {
        let factor = 1u32.checked_shl(self.failures.min(16)).unwrap_or(u32::MAX);
        self.failures = self.failures.saturating_add(1);
        let most = FIRST.saturating_mul(factor).min(MOST);
        let asked = asked.unwrap_or_default().min(MOST_ASKED);
        let spread = random.clamp(0.0, 1.0);
        // Those who were asked to wait for equally long do not come back together either.
        most.mul_f64(0.5 + 0.5 * spread)
            .max(asked + asked.mul_f64(0.1 * spread))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn delays_double_up_to_the_bound_and_begin_anew() {
        let mut backoff = Backoff::default();
        let delays: Vec<_> = (0..8)
            .map(|_| backoff.failed(1.0, None).as_secs())
            .collect();
        assert_eq!(delays, [1, 2, 4, 8, 16, 32, 60, 60]);
        backoff.worked();
        assert_eq!(backoff.failed(0.0, None), Duration::from_millis(500));
    }

    #[test]
    fn what_is_asked_for_is_waited_for_within_a_bound() {
        let mut backoff = Backoff::default();
        let seconds = |number| Some(Duration::from_secs(number));
        assert_eq!(backoff.failed(0.0, seconds(20)), Duration::from_secs(20));
        assert_eq!(backoff.failed(1.0, seconds(20)), Duration::from_secs(22));
        assert_eq!(backoff.failed(0.0, seconds(90)), Duration::from_secs(90));
        let year = seconds(365 * 24 * 3600);
        assert_eq!(backoff.failed(0.0, year), MOST_ASKED);
        assert_eq!(backoff.failed(0.0, seconds(u64::MAX)), MOST_ASKED);
    }

    proptest! {
        #[test]
        fn delays_are_bounded(failures in 0u32..200, random in 0.0f64..1.0) {
            let mut backoff = Backoff { failures };
            let delay = backoff.failed(random, None);
            prop_assert!(delay >= FIRST / 2 && delay <= MOST);
        }
    }
}
