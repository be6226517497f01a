//! When to try again what failed.

use std::time::Duration;

use crate::secret;

/// Before the second attempt, at most: whoever restarts is back in seconds.
const FIRST: Duration = Duration::from_secs(1);
/// Between two attempts, at most: how late it is noticed that the other end is back.
const MOST: Duration = Duration::from_secs(60);
/// The longest that the other end can ask for: more is a mistake.
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

    /// It failed; after how long to try again: a time that doubles, of which half is random, or what the other end `asked`
    /// for where that is longer.
    pub(crate) fn failed(&mut self, asked: Option<Duration>) -> Duration {
        self.after(asked, secret::fraction())
    }

    fn after(&mut self, asked: Option<Duration>, random: f64) -> Duration {
        let most = FIRST.saturating_mul(1 << self.failures.min(6)).min(MOST);
        self.failures = self.failures.saturating_add(1);
        let asked = asked.unwrap_or_default().min(MOST_ASKED);
        // Those who were asked to wait for equally long do not come back together either.
        most.mul_f64(0.5 + 0.5 * random)
            .max(asked + asked.mul_f64(0.1 * random))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_bound_and_begin_anew() {
        let mut backoff = Backoff::default();
        let delays: Vec<_> = (0..8).map(|_| backoff.after(None, 1.0).as_secs()).collect();
        assert_eq!(delays, [1, 2, 4, 8, 16, 32, 60, 60]);
        backoff.worked();
        assert_eq!(backoff.after(None, 0.0), Duration::from_millis(500));
    }

    #[test]
    fn what_is_asked_for_is_waited_for_within_a_bound() {
        let mut backoff = Backoff::default();
        let seconds = |number| Some(Duration::from_secs(number));
        assert_eq!(backoff.after(seconds(20), 0.0), Duration::from_secs(20));
        assert_eq!(backoff.after(seconds(20), 1.0), Duration::from_secs(22));
        assert_eq!(backoff.after(seconds(u64::MAX), 0.0), MOST_ASKED);
    }
}
