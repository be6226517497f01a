//! The counters of every kind, each incremented where the thing happens.

use std::sync::atomic::{AtomicU64, Ordering};

use holdfast_wire::Kind;
use holdfast_wire::control::Counters;
use holdfast_wire::kind::KINDS;

/// As [`Counters`], for several threads.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) seen: AtomicU64,
    pub(crate) filtered: AtomicU64,
    pub(crate) submitted: AtomicU64,
    pub(crate) ring_full: AtomicU64,
    pub(crate) truncated: AtomicU64,
    pub(crate) missed: AtomicU64,
    pub(crate) capped: AtomicU64,
}

/// The counts of every kind.
#[derive(Debug)]
pub(crate) struct Account([Counts; KINDS]);

impl Default for Account {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Counts::default()))
    }
}

/// Adds to a counter.
pub(crate) fn count(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}

impl Account {
    /// The counts of a kind.
    pub(crate) fn of(&self, kind: Kind) -> &Counts {
        &self.0[kind.index()]
    }

    /// How the counts of a kind stand.
    pub(crate) fn counters(&self, kind: Kind) -> Counters {
        let counts = self.of(kind);
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counters {
            seen: read(&counts.seen),
            filtered: read(&counts.filtered),
            submitted: read(&counts.submitted),
            ring_full: read(&counts.ring_full),
            truncated: read(&counts.truncated),
            missed: read(&counts.missed),
            capped: read(&counts.capped),
        }
    }
}
