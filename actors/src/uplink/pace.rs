//! How fast to send, as pure arithmetic: no clock of its own.

use std::time::Duration;

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
    fn no_rate_is_no_cap() {
        let mut pace = Pace::new(0);
        pace.sent(u64::MAX, Duration::ZERO);
        assert_eq!(pace.wait(Duration::ZERO), Duration::ZERO);
    }

    proptest! {
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
