//! What has become of the programs' records, in memory that outlives the sensor beside their counters.
//!
//! The programs count without end. A sensor that finds them running counts from where the one before it
//! stopped reading: what was submitted and not read is still in the rings, and is its own to account for.
#![allow(unsafe_code)] // memory that is shared through a map

use std::io;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use aya::maps::MapData;
use holdfast_wire::control::Counters;
use holdfast_wire::kind::KINDS;
use holdfast_wire::{ABI_VERSION, Kind};
use rustix::mm::ProtFlags;

use super::mapping::Mapping;
use super::reason::chain;
use super::sys;

/// Its layout; a change of it is a new number.
const VERSION: u64 = (ABI_VERSION as u64) << 32 | 3;
/// Counts that are kept of each kind beside what was read.
const REPORTED: usize = 6;

/// Words: version, epoch, rules, then of each kind how many records were read, how many of these may be lost without
/// a word, when its hook was first attached, and what was reported.
const EPOCH: usize = 1;
const RULES: usize = 2;
const READ: usize = 3;
const UNFINISHED: usize = READ + KINDS;
const ATTACHED: usize = UNFINISHED + KINDS;
const COUNTS: usize = ATTACHED + KINDS;
const WORDS: usize = COUNTS + KINDS * REPORTED;
const BYTES: usize = WORDS * size_of::<u64>();

/// See the module.
pub(super) struct Account {
    map: MapData,
    memory: Mapping,
    /// This sensor's alone: up to when everything is done with.
    finished_until: AtomicU64,
}

/// What a sensor finds counted already.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Before {
    /// Records that were read.
    read: u64,
    /// What was last reported, without the records that were read or are in the ring.
    reported: [u64; REPORTED],
}

impl Account {
    /// An account without entries.
    ///
    /// # Errors
    /// What the kernel says: none before 5.5 has a map that can be mapped.
    pub(super) fn new() -> Result<Self, String> {
        let fault = |error: io::Error| format!("cannot make a map: {error}");
        let map = sys::shared_array(WORDS).map_err(fault)?;
        let account = Self::map(MapData::from_fd(map).map_err(|error| chain(&error))?)?;
        account.words()[0].store(VERSION, Ordering::Relaxed);
        Ok(account)
    }

    /// The account that is pinned there.
    ///
    /// # Errors
    /// When there is none, or one that another version wrote.
    pub(super) fn pinned(path: &Path) -> Result<Self, String> {
        let other = || "another version's account".to_owned();
        let map = MapData::from_pin(path).map_err(|error| chain(&error))?;
        let info = map.info().map_err(|error| chain(&error))?;
        if info.value_size() as usize != BYTES {
            return Err(other());
        }
        let account = Self::map(map)?;
        let version = account.words()[0].load(Ordering::Relaxed);
        (version == VERSION).then_some(account).ok_or_else(other)
    }

    /// `map` has a value of [`BYTES`].
    fn map(map: MapData) -> Result<Self, String> {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        let memory = Mapping::shared(map.fd().as_fd(), 0, BYTES, access);
        let memory = memory.map_err(|error| format!("cannot map the account: {error}"))?;
        Ok(Self {
            map,
            memory,
            finished_until: AtomicU64::new(0),
        })
    }

    /// Pins it there.
    pub(super) fn pin(&self, path: &Path) -> Result<(), String> {
        self.map.pin(path).map_err(|error| chain(&error))
    }

    fn words(&self) -> &[AtomicU64; WORDS] {
        // SAFETY: mapped for this many words, page-aligned, for as long as `self` is there; all access is
        // by atomics.
        unsafe { self.memory.address().cast().as_ref() }
    }

    /// A record was read and is not in the ring any more.
    pub(super) fn read(&self, kind: Kind) {
        self.words()[READ + kind.index()].fetch_add(1, Ordering::Relaxed);
    }

    /// The same, of a record that is still under way: who comes next will not find it.
    pub(super) fn read_early(&self, kind: Kind) {
        self.words()[UNFINISHED + kind.index()].fetch_add(1, Ordering::Relaxed);
        self.read(kind);
    }

    /// So many that were read are lost, and that is not told of yet.
    pub(super) fn lost(&self, kind: Kind, records: u64) {
        self.words()[UNFINISHED + kind.index()].fetch_add(records, Ordering::Relaxed);
    }

    /// So many that were [read early](Self::read_early) are done with, or of so many that are
    /// [lost](Self::lost) it is told.
    pub(super) fn finished(&self, kind: Kind, records: u64) {
        self.words()[UNFINISHED + kind.index()].fetch_sub(records, Ordering::Relaxed);
    }

    /// Everything that was made before `until` (boot time, nanoseconds) is done with.
    pub(super) fn finish_until(&self, until: u64) {
        self.finished_until.store(until, Ordering::Relaxed);
    }

    /// See [`Self::finish_until`].
    pub(super) fn finished_until(&self) -> u64 {
        self.finished_until.load(Ordering::Relaxed)
    }

    /// How many of each kind were read early and are not done with, or lost and not told of: where the sensor is gone, at
    /// most so many are lost without a word.
    pub(super) fn unfinished(&self) -> [u64; KINDS] {
        std::array::from_fn(|kind| self.words()[UNFINISHED + kind].load(Ordering::Relaxed))
    }

    /// These were told of.
    pub(super) fn forget_unfinished(&self) {
        let words = &self.words()[UNFINISHED..UNFINISHED + KINDS];
        words
            .iter()
            .for_each(|word| word.store(0, Ordering::Relaxed));
    }

    /// The hook of `kind` was attached at `now`, nanoseconds of boot time; only the first time counts.
    pub(super) fn attach(&self, kind: Kind, now: u64) {
        let at = &self.words()[ATTACHED + kind.index()];
        let _ = at.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// When that was; 0: never.
    pub(super) fn attached(&self, kind: Kind) -> u64 {
        self.words()[ATTACHED + kind.index()].load(Ordering::Relaxed)
    }

    /// The tables of `epoch`, made of the rules with this digest, are in force.
    pub(super) fn set_policies(&self, epoch: u32, rules: u64) {
        self.words()[RULES].store(rules, Ordering::Relaxed);
        self.words()[EPOCH].store(epoch.into(), Ordering::Relaxed);
    }

    /// The last of these, 0 for none, and the digest.
    pub(super) fn policies(&self) -> (u32, u64) {
        let [epoch, rules] = [EPOCH, RULES].map(|at| self.words()[at].load(Ordering::Relaxed));
        (u32::try_from(epoch).unwrap_or(u32::MAX), rules)
    }

    /// The sensor has told of these counts: [`Before::and`] what it counted itself.
    pub(super) fn report(&self, kind: Kind, counts: [u64; REPORTED]) {
        for (word, count) in self.of(kind).iter().zip(counts) {
            word.store(count, Ordering::Relaxed);
        }
    }

    /// What there is of `kind`.
    pub(super) fn before(&self, kind: Kind) -> Before {
        let mut before = Before {
            read: self.words()[READ + kind.index()].load(Ordering::Relaxed),
            ..Before::default()
        };
        for (count, word) in before.reported.iter_mut().zip(self.of(kind)) {
            *count = word.load(Ordering::Relaxed);
        }
        before
    }

    fn of(&self, kind: Kind) -> &[AtomicU64] {
        let first = COUNTS + kind.index() * REPORTED;
        &self.words()[first..first + REPORTED]
    }
}

/// What is kept of the counts, in the order of the words.
const fn told(counters: &Counters, skipped: u64) -> [u64; REPORTED] {
    [
        counters.filtered,
        counters.ring_full,
        counters.truncated,
        counters.missed,
        counters.capped,
        skipped,
    ]
}

impl Before {
    /// What the programs and the kernel have counted in all, where they have counted this since.
    pub(super) fn and(&self, counters: &Counters, skipped: u64) -> [u64; REPORTED] {
        let mut all = told(counters, skipped);
        let counts = all.iter_mut().zip(self.reported);
        counts.for_each(|(count, before)| *count += before);
        all
    }

    /// What the programs and the kernel have counted since.
    pub(super) const fn since(&self, counters: &Counters, skipped: u64) -> (Counters, u64) {
        let [
            filtered,
            ring_full,
            truncated,
            missed,
            capped,
            skipped_before,
        ] = self.reported;
        let counters = Counters {
            seen: counters
                .seen
                .saturating_sub(self.read + filtered + ring_full),
            filtered: counters.filtered.saturating_sub(filtered),
            submitted: counters.submitted.saturating_sub(self.read),
            ring_full: counters.ring_full.saturating_sub(ring_full),
            truncated: counters.truncated.saturating_sub(truncated),
            missed: counters.missed.saturating_sub(missed),
            capped: counters.capped.saturating_sub(capped),
        };
        (counters, skipped.saturating_sub(skipped_before))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_wire::ledger::Entry;

    #[test]
    fn what_is_still_in_the_ring_is_the_successors() {
        // Ten were looked at: three filtered, one found no room, six are records, of which four were read.
        let counters = Counters {
            seen: 10,
            filtered: 3,
            submitted: 6,
            ring_full: 1,
            ..Counters::default()
        };
        let before = Before {
            read: 4,
            reported: told(&counters, 2),
        };
        // Meanwhile five more: two filtered, one without room, two records.
        let later = Counters {
            seen: 15,
            filtered: 5,
            submitted: 8,
            ring_full: 2,
            ..counters
        };
        let (since, skipped) = before.since(&later, 2);
        assert_eq!((since.submitted, since.filtered), (4, 2));
        assert_eq!((since.ring_full, skipped), (1, 0));
        let mut entry = Entry::default();
        entry.set_kernel(&since, skipped);
        (entry.received, entry.evaluated, entry.emitted) = (4, 4, 4);
        assert_eq!(entry.imbalance(), None);
    }
}
