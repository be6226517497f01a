//! When a simulated sensor has events, and when it sends them, as pure arithmetic.

use std::time::Duration;

use holdfast_wire::frame::Priority;
use tokio::time::Instant;

use super::event::ALERT_EVERY;

/// How long an idle sensor sleeps at most: so late it notices that the rate is another.
pub(super) const IDLE: Duration = Duration::from_millis(200);

/// What of a phase's events is to be sent.
pub(super) struct Load {
    /// Events a second.
    rate: f64,
    from: Instant,
    to: Instant,
    /// The part of an event that is there at the start.
    spread: f64,
    /// Events that have come into being.
    come: u64,
    pub(super) alerts: u64,
    pub(super) events: u64,
    /// When what waits is sent though it is no full batch.
    pub(super) flush_at: Instant,
}

impl Load {
    pub(super) fn new(
        rate: f64,
        from: Instant,
        to: Instant,
        spread: f64,
        interval: Duration,
    ) -> Self {
        Self {
            rate,
            from,
            to,
            spread,
            come: 0,
            alerts: 0,
            events: 0,
            flush_at: from + interval.mul_f64(spread),
        }
    }

    /// How many events came since it was last asked.
    pub(super) fn come(&mut self, now: Instant) -> u64 {
        let time = now.min(self.to).saturating_duration_since(self.from);
        let all = (self.rate * time.as_secs_f64() + self.spread) as u64;
        let new = all.saturating_sub(self.come);
        let alerts = all / ALERT_EVERY - self.come / ALERT_EVERY;
        self.come += new;
        self.alerts += alerts;
        self.events += new - alerts;
        new
    }

    pub(super) fn take(
        &mut self,
        priority: Priority,
        events: u64,
        now: Instant,
        interval: Duration,
    ) {
        match priority {
            Priority::Alert => self.alerts -= events,
            Priority::Event => {
                self.events -= events;
                if self.events == 0 {
                    self.flush_at = now + interval;
                }
            }
        }
    }

    pub(super) fn wait(&self, now: Instant) -> Duration {
        if self.events > 0 {
            self.flush_at
                .saturating_duration_since(now)
                .max(Duration::from_millis(1))
        } else {
            IDLE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_at_their_rate_until_the_end_and_one_of_a_hundred_is_an_alert() {
        let from = Instant::now();
        let second = Duration::from_secs(1);
        let mut load = Load::new(150.0, from, from + 2 * second, 0.5, second);
        assert_eq!(load.come(from), 0);
        assert_eq!(load.come(from + second), 150);
        assert_eq!((load.alerts, load.events), (1, 149));
        load.take(Priority::Event, 149, from + second, second);
        assert_eq!(load.flush_at, from + 2 * second);
        assert_eq!(load.come(from + 5 * second), 150);
        assert_eq!(load.come(from + 9 * second), 0);
        assert_eq!((load.alerts, load.events), (3, 148));
    }
}
