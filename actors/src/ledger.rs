//! The loss ledger as it is kept: atomics per kind, counted where it happens.
//!
//! With several sinks one record still counts once: it is *emitted* when every configured sink took
//! its event into its lane, and *dropped* when at least one refused it. What each sink wrote or lost
//! is counted at that sink. Followers (`events --follow`) are no sinks: they are told of their own
//! losses.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use holdfast_wire::Kind;
use holdfast_wire::control::Counters;
use holdfast_wire::kind::KINDS;
use holdfast_wire::ledger::Entry;

use crate::root::status;

/// The counts of every kind.
#[derive(Debug)]
pub(crate) struct Ledger {
    kinds: [Counts; KINDS],
    unattributed: AtomicU64,
}

#[derive(Debug, Default)]
struct Counts {
    /// The kernel's part, or that of the engines: seen, filtered, submitted, ring_full, truncated, missed.
    kernel: Mutex<Entry>,
    received: AtomicU64,
    evaluated: AtomicU64,
    emitted: AtomicU64,
    suppressed: AtomicU64,
    dropped: AtomicU64,
}

/// What became of a record in user space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Its event was handed to every sink.
    Emitted,
    /// It became no event.
    Suppressed,
    /// It was lost.
    Dropped,
}

impl Ledger {
    pub(crate) fn new() -> Self {
        Self {
            kinds: std::array::from_fn(|_| Counts::default()),
            unattributed: AtomicU64::new(0),
        }
    }

    /// An engine told of something, and there was room for its record or not. What the programs count of
    /// others is counted here.
    pub(crate) fn told(&self, kind: Kind, fits: bool) {
        let counts = &self.kinds[kind.index()];
        let mut entry = counts.kernel.lock().unwrap_or_else(PoisonError::into_inner);
        entry.seen += 1;
        *(if fits {
            &mut entry.submitted
        } else {
            &mut entry.ring_full
        }) += 1;
    }

    /// A record was taken out of its ring; `None`: one that claims no known kind, and is skipped.
    pub(crate) fn received(&self, kind: Option<Kind>) {
        match kind {
            Some(kind) => self.kinds[kind.index()]
                .received
                .fetch_add(1, Ordering::Relaxed),
            None => self.unattributed.fetch_add(1, Ordering::Relaxed),
        };
    }

    /// The evaluator finished with `count` records, all with the same fate.
    pub(crate) fn evaluated(&self, kind: Kind, fate: Fate, count: u64) {
        let counts = &self.kinds[kind.index()];
        counts.evaluated.fetch_add(count, Ordering::Relaxed);
        let fate = match fate {
            Fate::Emitted => &counts.emitted,
            Fate::Suppressed => &counts.suppressed,
            Fate::Dropped => &counts.dropped,
        };
        fate.fetch_add(count, Ordering::Relaxed);
    }

    /// Takes over the kernel's counters.
    pub(crate) fn set_kernel(&self, kind: Kind, counters: &Counters, skipped: u64) {
        let mut entry = self.kinds[kind.index()]
            .kernel
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        entry.set_kernel(counters, skipped);
    }

    /// The entry of one kind.
    pub(crate) fn entry(&self, kind: Kind) -> Entry {
        let counts = &self.kinds[kind.index()];
        let kernel = *counts.kernel.lock().unwrap_or_else(PoisonError::into_inner);
        Entry {
            received: counts.received.load(Ordering::Relaxed),
            evaluated: counts.evaluated.load(Ordering::Relaxed),
            emitted: counts.emitted.load(Ordering::Relaxed),
            suppressed: counts.suppressed.load(Ordering::Relaxed),
            dropped: counts.dropped.load(Ordering::Relaxed),
            ..kernel
        }
    }

    /// All of it.
    pub(crate) fn status(&self) -> status::Ledger {
        let kinds: BTreeMap<_, _> = Kind::ALL
            .iter()
            .map(|kind| (kind.action(), self.entry(*kind)))
            .collect();
        status::Ledger {
            kinds,
            unattributed: self.unattributed.load(Ordering::Relaxed),
        }
    }

    /// Records evaluated so far, of all kinds: whether the evaluator makes progress.
    pub(crate) fn total(&self, count: impl Fn(&Entry) -> u64) -> u64 {
        Kind::ALL.iter().map(|kind| count(&self.entry(*kind))).sum()
    }
}
