//! The loss ledger: what happened to every operation that a kernel program saw, by kind.
//!
//! At quiescence, exactly:
//!
//! * `seen = filtered + submitted + ring_full` (counted by the kernel programs; what a cap withholds
//!   is among the filtered, and counted as `capped` besides),
//! * `submitted = received` (the second counted by the readers),
//! * `received = evaluated` and `evaluated = emitted + suppressed + dropped` (by the evaluator).

use crate::control::Counters;

/// The counts of one kind. Each is counted where it happens; none is derived from the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "std", derive(serde::Serialize, serde::Deserialize))]
pub struct Entry {
    /// Operations that a kernel program looked at.
    pub seen: u64,
    /// Operations that no rule and no subscription wanted, and those that were capped.
    pub filtered: u64,
    /// Of the filtered: those that a subscription wanted, of a cgroup that made too many.
    pub capped: u64,
    /// Records handed to the ring.
    pub submitted: u64,
    /// Records that found the ring full.
    pub ring_full: u64,
    /// Runs that the kernel skipped, or that were given up before anything was looked at.
    pub missed: u64,
    /// Records with a part cut.
    pub truncated: u64,
    /// Records taken out of the ring.
    pub received: u64,
    /// Records that the evaluator finished with.
    pub evaluated: u64,
    /// Events handed to the sinks.
    pub emitted: u64,
    /// Records that became no event: not asked for, allowed, or throttled.
    pub suppressed: u64,
    /// Records or events lost in user space: undecodable, or refused by the sink.
    pub dropped: u64,
}

impl Entry {
    /// Takes over the kernel's counters (their sum over CPUs), which are absolute.
    pub fn set_kernel(&mut self, counters: &Counters, skipped_by_kernel: u64) {
        self.seen = counters.seen;
        self.filtered = counters.filtered;
        self.submitted = counters.submitted;
        self.ring_full = counters.ring_full;
        self.truncated = counters.truncated;
        self.missed = counters.missed + skipped_by_kernel;
        self.capped = counters.capped;
    }

    /// The first equation that does not hold, in words; `None` when all hold.
    ///
    /// Only meaningful at quiescence: while records are under way the sides differ by those.
    #[must_use]
    pub fn imbalance(&self) -> Option<&'static str> {
        if self.seen != self.filtered + self.submitted + self.ring_full {
            Some("seen != filtered + submitted + ring_full")
        } else if self.capped > self.filtered {
            Some("capped > filtered")
        } else if self.submitted != self.received {
            Some("submitted != received")
        } else if self.received != self.evaluated {
            Some("received != evaluated")
        } else if self.evaluated != self.emitted + self.suppressed + self.dropped {
            Some("evaluated != emitted + suppressed + dropped")
        } else {
            None
        }
    }
}
