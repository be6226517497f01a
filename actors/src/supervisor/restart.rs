//! When to restart an actor that ended, as pure arithmetic: no clock, no runtime, no randomness of
//! its own.

use std::collections::VecDeque;
use std::time::Duration;

/// How an actor is restarted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Policy {
    /// Failures within [`Policy::window`] after which the actor is parked.
    pub(crate) intensity: usize,
    /// How long a failure counts.
    pub(crate) window: Duration,
    /// Delay before the first restart.
    pub(crate) first_delay: Duration,
    /// Delays double with every failure in the window, up to this.
    pub(crate) max_delay: Duration,
    /// A parked actor is tried again after this.
    pub(crate) rest: Duration,
}

impl Policy {
    /// For every actor: back at once after a single failure (well below the second that is
    /// promised), five seconds apart at most, parked at the eleventh failure in a minute, and tried
    /// again every minute: a sensor that has given up for good would be worse than one that retries.
    pub(crate) const DEFAULT: Self = Self {
        intensity: 10,
        window: Duration::from_secs(60),
        first_delay: Duration::from_millis(50),
        max_delay: Duration::from_secs(5),
        rest: Duration::from_secs(60),
    };
}

/// What to do about an actor that ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Start it again after this delay.
    Restart(Duration),
    /// Leave it alone and say so; try again after this delay.
    Park(Duration),
}

/// The failures of one actor that still count: never more than the policy's intensity.
#[derive(Clone, Debug, Default)]
pub(crate) struct History(VecDeque<Duration>);

impl History {
    /// The actor failed at `now` (since any fixed instant). `random` is in `0.0..1.0`; it spreads the
    /// restarts of actors that failed together over a quarter of the delay.
    pub(crate) fn failed(&mut self, policy: &Policy, now: Duration, random: f64) -> Decision {
        while self
            .0
            .front()
            .is_some_and(|then| now.saturating_sub(*then) >= policy.window)
        {
            self.0.pop_front();
        }
        if self.0.len() >= policy.intensity {
            self.0.clear();
            return Decision::Park(policy.rest);
        }
        let doublings = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        self.0.push_back(now);
        let delay = 2u32
            .checked_pow(doublings)
            .and_then(|factor| policy.first_delay.checked_mul(factor))
            .map_or(policy.max_delay, |delay| delay.min(policy.max_delay));
        Decision::Restart(delay.mul_f64(1.0 - 0.25 * random.clamp(0.0, 1.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const POLICY: Policy = Policy::DEFAULT;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn delays_double_up_to_the_bound_and_then_it_is_parked() {
        let mut history = History::default();
        let delays: Vec<_> = (0..11)
            .map(|_| history.failed(&POLICY, seconds(1), 0.0))
            .collect();
        assert_eq!(delays[0], Decision::Restart(Duration::from_millis(50)));
        assert_eq!(delays[1], Decision::Restart(Duration::from_millis(100)));
        assert_eq!(delays[6], Decision::Restart(Duration::from_millis(3200)));
        assert_eq!(delays[7], Decision::Restart(seconds(5)));
        assert_eq!(delays[10], Decision::Park(seconds(60)));
        // After the rest it begins anew.
        assert_eq!(history.failed(&POLICY, seconds(61), 0.0), delays[0]);
    }

    #[test]
    fn old_failures_do_not_count() {
        let mut history = History::default();
        for minute in 0..1000 {
            let decision = history.failed(&POLICY, seconds(60 * minute), 0.0);
            assert_eq!(decision, Decision::Restart(Duration::from_millis(50)));
        }
    }

    proptest! {
        #[test]
        fn bounds_hold_for_any_sequence(
            steps in proptest::collection::vec((0u64..100_000, 0.0f64..1.0), 1..300),
        ) {
            let (mut history, mut now, mut restarts) = (History::default(), Duration::ZERO, vec![]);
            for (step, random) in steps {
                now += Duration::from_millis(step);
                match history.failed(&POLICY, now, random) {
                    Decision::Restart(delay) => {
                        prop_assert!(delay >= POLICY.first_delay.mul_f64(0.75));
                        prop_assert!(delay <= POLICY.max_delay);
                        restarts.push(now);
                    }
                    Decision::Park(rest) => {
                        prop_assert_eq!(rest, POLICY.rest);
                        restarts.clear();
                    }
                }
                let recent = restarts.iter().filter(|then| now - **then < POLICY.window).count();
                prop_assert!(recent <= POLICY.intensity);
                prop_assert!(history.0.len() <= POLICY.intensity);
            }
        }
    }
}
