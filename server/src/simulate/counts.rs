//! What came of the requests of simulated sensors.

use std::time::Duration;

use serde_json::{Value, json};

/// Parts of a doubling: a value is known within 3 %.
const PARTS: u64 = 32;
/// Of microseconds up to 36 minutes, longer than any request may take.
const BUCKETS: usize = 28 * PARTS as usize;

/// How long requests took, by buckets whose width grows with the time.
#[derive(Clone, Debug)]
pub(crate) struct Latencies {
    buckets: Vec<u64>,
    count: u64,
    longest: Duration,
}

impl Default for Latencies {
    fn default() -> Self {
        Self {
            buckets: vec![0; BUCKETS],
            count: 0,
            longest: Duration::ZERO,
        }
    }
}

impl Latencies {
    pub(super) fn add(&mut self, took: Duration) {
        let microseconds = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.buckets[bucket(microseconds)] += 1;
        self.count += 1;
        self.longest = self.longest.max(took);
    }

    /// The time within which this part of them (0 to 1) was answered; `None` before there are any.
    pub(crate) fn percentile(&self, part: f64) -> Option<Duration> {
        let wanted = ((self.count as f64 * part).ceil() as u64).max(1);
        let mut found = 0;
        for (number, count) in self.buckets.iter().enumerate() {
            found += count;
            if found >= wanted {
                return Some(Duration::from_micros(upper(number)).min(self.longest));
            }
        }
        None
    }

    fn json(&self) -> Value {
        let milliseconds = |took: Duration| took.as_micros() as f64 / 1000.0;
        let at = |part| self.percentile(part).map(milliseconds);
        json!({"count": self.count, "p50": at(0.5), "p90": at(0.9), "p99": at(0.99),
               "max": (self.count > 0).then(|| milliseconds(self.longest))})
    }
}

fn bucket(microseconds: u64) -> usize {
    let number = if microseconds < PARTS {
        microseconds
    } else {
        let doublings = u64::from(microseconds.ilog2() - PARTS.ilog2());
        (doublings + 1) * PARTS + (microseconds >> doublings) - PARTS
    };
    (number as usize).min(BUCKETS - 1)
}

/// The most microseconds that fall into a bucket.
const fn upper(bucket: usize) -> u64 {
    let number = bucket as u64;
    if number < PARTS {
        return number;
    }
    let doublings = number / PARTS - 1;
    ((number % PARTS + PARTS + 1) << doublings) - 1
}

/// What came of them. Events are counted once each, whatever the attempts; all counts are of one attempt at a rate.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    /// Events that came into being.
    pub(crate) offered: u64,
    /// Events that the server acknowledged.
    pub(crate) acknowledged: u64,
    /// Of these, alerts.
    pub(crate) alerts: u64,
    /// Events that were sent although they were acknowledged, or might be.
    pub(crate) duplicates: u64,
    /// Events that the server will never take.
    pub(crate) refused: u64,
    /// Requests with frames that were answered with 200.
    pub(crate) frames_accepted: u64,
    /// Requests that the server asked to be sent later (429, 503).
    pub(crate) held_back: u64,
    /// Requests without an answer.
    pub(crate) unanswered: u64,
    /// Bytes of frames as they were sent.
    pub(crate) bytes: u64,
    /// Bytes of their events.
    pub(crate) event_bytes: u64,
    pub(crate) frames: Latencies,
    pub(crate) heartbeats: Latencies,
}

impl Counts {
    /// Events that were neither acknowledged nor refused.
    pub(crate) const fn waiting(&self) -> u64 {
        self.offered
            .saturating_sub(self.acknowledged)
            .saturating_sub(self.refused)
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "offered": self.offered, "acknowledged": self.acknowledged, "alerts": self.alerts,
            "duplicates": self.duplicates, "refused": self.refused, "waiting": self.waiting(),
            "requests": {"accepted": self.frames_accepted, "held_back": self.held_back,
                         "unanswered": self.unanswered},
            "bytes": {"sent": self.bytes, "events": self.event_bytes},
            "frame_milliseconds": self.frames.json(),
            "heartbeat_milliseconds": self.heartbeats.json(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_known_within_three_percent() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.percentile(0.5), None);
        for milliseconds in 1..=1000 {
            latencies.add(Duration::from_millis(milliseconds));
        }
        for (part, exact) in [(0.5, 500.0), (0.9, 900.0), (0.99, 990.0), (1.0, 1000.0)] {
            let found = latencies.percentile(part).unwrap().as_secs_f64() * 1000.0;
            assert!((found / exact - 1.0).abs() < 0.035, "{part}: {found}");
        }
    }

    #[test]
    fn every_time_has_a_bucket() {
        for microseconds in [0, 1, 31, 32, 33, 1000, 1 << 30, u64::MAX] {
            let bucket = bucket(microseconds);
            assert!(bucket < BUCKETS);
            assert!(upper(bucket) >= microseconds.min(upper(BUCKETS - 1)));
        }
        assert!(
            (1..5000).all(|of| bucket(of) == bucket(of - 1) || bucket(of) == bucket(of - 1) + 1)
        );
    }
}
