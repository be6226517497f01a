//! When to try again, and how fast to send, as pure arithmetic: no clock and no randomness of its own.

use std::time::Duration;

/// Before the second attempt, at most: a server that restarts is back in seconds.
const FIRST: Duration = Duration::from_secs(1);
/// Between two attempts, at most: how late a sensor notices that its server is back.
const MOST: Duration = Duration::from_secs(60);
/// The longest that a server can have a sensor wait: more is a mistake.
const MOST_ASKED: Duration = Duration::from_secs(3600);

/// Attempts that failed, one after the other.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// It worked.
    pub(crate) fn worked(&mut self) {
        self.failures = 0;
    }

    /// It failed; after how long to try again. `random`, in `0.0..1.0`, spreads over half of the time sensors that lost
    /// their server together. `asked`: what the server asked for by `Retry-After`.
    pub(crate) fn failed(&mut self, random: f64, asked: Option<Duration>) -> Duration {
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

/// A cap on bytes a second.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// 0: none.
    rate: u64,
    /// When the next may be sent, since any fixed instant.
    free: Duration,
}

impl Pace {
    /// `rate`: bytes a second; 0: any number.
    pub(crate) const fn new(rate: u64) -> Self {
        Self {
            rate,
            free: Duration::ZERO,
        }
    }

    /// How long to wait before something is sent at `now`.
    pub(crate) const fn wait(&self, now: Duration) -> Duration {
        self.free.saturating_sub(now)
    }

    /// `bytes` are sent at `now`.
    pub(crate) fn sent(&mut self, bytes: u64, now: Duration) {
        if let Some(nanoseconds) = bytes.saturating_mul(1_000_000_000).checked_div(self.rate) {
            self.free = self.free.max(now) + Duration::from_nanos(nanoseconds);
        }
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
        assert_eq!(backoff.failed(0.0, None), FIRST / 2);
    }

    #[test]
    fn what_the_server_asks_for_is_honoured_within_bounds() {
        let mut backoff = Backoff::default();
        let asked = Duration::from_secs(90);
        assert_eq!(backoff.failed(0.0, Some(asked)), asked);
        let year = Duration::from_secs(365 * 24 * 3600);
        assert_eq!(backoff.failed(0.0, Some(year)), MOST_ASKED);
    }

    #[test]
    fn no_rate_is_no_cap() {
        let mut pace = Pace::new(0);
        pace.sent(u64::MAX, Duration::ZERO);
        assert_eq!(pace.wait(Duration::ZERO), Duration::ZERO);
    }

    proptest! {
        #[test]
        fn delays_are_bounded(failures in 0u32..200, random in 0.0f64..1.0) {
            let mut backoff = Backoff { failures };
            let delay = backoff.failed(random, None);
            prop_assert!(delay >= FIRST / 2 && delay <= MOST);
        }

        #[test]
        fn in_the_long_run_the_rate_holds(
            rate in 1_000u64..1_000_000,
            frames in prop::collection::vec(1u64..100_000, 2..50),
        ) {
            let (mut pace, mut now) = (Pace::new(rate), Duration::ZERO);
            let before_last: u64 = frames[..frames.len() - 1].iter().sum();
            for bytes in frames {
                now += pace.wait(now);
                pace.sent(bytes, now);
            }
            let least = Duration::from_secs_f64(before_last as f64 / rate as f64);
            prop_assert!(now + Duration::from_micros(1) >= least, "{now:?} {least:?}");
        }
    }
}
