//! One domain's ring and what was taken out of it: owned by the root, so that a reader that dies
//! between taking records and sending them loses nothing.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::{io, mem};

use bytes::Bytes;
use holdfast_wire::decode::{claimed_kind, claimed_time};
use tokio::sync::Notify;

use crate::clock;
use crate::kernel::Ring;
use crate::lane::Lane;
use crate::ledger::Ledger;
use crate::root::shared::Shared;

/// Records in a batch: a batch is what the evaluator may have to hold of each domain.
const BATCH_RECORDS: usize = 512;
/// Bytes in a batch, exceeded by less than one record: some hundred typical records.
const BATCH_BYTES: usize = 256 * 1024;
/// Batches in a lane; with [`LANE_BYTES`] what bounds memory when the evaluator is slow. The ring
/// behind it is the larger buffer.
const LANE_BATCHES: usize = 64;
/// Bytes in a lane.
const LANE_BYTES: usize = 4 * 1024 * 1024;
/// Batches taken in one go, before control messages are looked at.
const BATCHES_PER_DRAIN: usize = 8;

/// Records of one domain, in the order of the ring.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    bytes: Bytes,
    /// Where each record ends.
    ends: Vec<u32>,
}

impl Batch {
    /// Number of records.
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The record at `index`; empty beyond the last.
    pub(crate) fn record(&self, index: usize) -> &[u8] {
        let Some(end) = self.ends.get(index) else {
            return &[];
        };
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start as usize..*end as usize]
    }

    /// The same record, for as long as it is kept.
    pub(crate) fn keep(&self, index: usize) -> Bytes {
        self.bytes.slice_ref(self.record(index))
    }

    fn weight(&self) -> usize {
        self.bytes.len()
    }
}

/// How a drain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Drained {
    /// The ring is empty and everything is in the lane.
    Empty,
    /// There may be more.
    More,
    /// The lane is full.
    Blocked,
}

/// One domain's way in.
pub(crate) struct Intake {
    /// To the evaluator.
    pub(crate) lane: Lane<Batch>,
    watermark: AtomicU64,
    sweep: Notify,
    source: Mutex<Source>,
}

struct Source {
    ring: Box<dyn Ring>,
    bytes: Vec<u8>,
    ends: Vec<u32>,
    refused: Option<Batch>,
}

impl std::fmt::Debug for Intake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Intake")
            .field("lane", &self.lane)
            .finish_non_exhaustive()
    }
}

impl Intake {
    /// `arrival` is notified of each batch.
    pub(crate) fn new(ring: Box<dyn Ring>, arrival: Arc<Notify>) -> Self {
        let source = Source {
            ring,
            bytes: Vec::new(),
            ends: Vec::new(),
            refused: None,
        };
        Self {
            lane: Lane::new(LANE_BATCHES, LANE_BYTES, Batch::weight, arrival),
            watermark: AtomicU64::new(0),
            sweep: Notify::new(),
            source: Mutex::new(source),
        }
    }

    /// Every record made before this time is in the lane or was taken from it.
    pub(crate) fn watermark(&self) -> u64 {
        self.watermark.load(Ordering::Acquire)
    }

    /// Asks the reader to look into its ring now, unless it has looked since `time`.
    pub(crate) fn ask_sweep(&self, time: u64) {
        if self.watermark() < time {
            self.sweep.notify_one();
        }
    }

    /// Returns when a sweep was asked for.
    pub(crate) async fn swept(&self) {
        self.sweep.notified().await;
    }

    /// Whether a batch waits for room in the lane.
    pub(crate) fn is_blocked(&self) -> bool {
        self.lock().refused.is_some()
    }

    /// A descriptor of the ring, for waiting.
    pub(crate) fn duplicate_fd(&self) -> io::Result<OwnedFd> {
        // Above the standard descriptors, whatever is open.
        Ok(rustix::io::fcntl_dupfd_cloexec(self.lock().ring.fd(), 3)?)
    }

    /// Everything that was taken is done with.
    pub(crate) fn release(&self) {
        self.lock().ring.release(u64::MAX);
    }

    /// Moves records from the ring to the lane, and counts them as received. Also says when the
    /// newest record was made, if there was one.
    pub(crate) fn drain(&self, shared: &Shared) -> (Drained, Option<u64>) {
        let ledger = &shared.ledger;
        let mut guard = self.lock();
        let source = &mut *guard;
        source.ring.release(shared.finished.load(Ordering::Acquire));
        let mut newest = None;
        for _ in 0..BATCHES_PER_DRAIN {
            if !source.ship(&self.lane) {
                return (source.blocked(), newest);
            }
            let now = source.ring.complete_until(clock::boottime());
            if source.fill(ledger, &mut newest) {
                continue;
            }
            if !source.ship(&self.lane) {
                return (source.blocked(), newest);
            }
            self.watermark.store(now, Ordering::Release);
            return (Drained::Empty, newest);
        }
        (
            if source.ship(&self.lane) {
                Drained::More
            } else {
                source.blocked()
            },
            newest,
        )
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Source> {
        // Every step below leaves the source consistent, so a panic elsewhere does not matter.
        self.source.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Source {
    /// Takes records until the batch is full; `false`: until the ring was empty.
    fn fill(&mut self, ledger: &Ledger, newest: &mut Option<u64>) -> bool {
        let Self {
            ring, bytes, ends, ..
        } = self;
        while ends.len() < BATCH_RECORDS && bytes.len() < BATCH_BYTES {
            let mut take = |record: &[u8]| {
                let kind = claimed_kind(record);
                ledger.received(kind);
                if kind.is_some() {
                    bytes.extend_from_slice(record);
                    // A batch is bounded far below 4 GiB.
                    ends.push(bytes.len() as u32);
                    *newest = (*newest).max(Some(claimed_time(record)));
                }
            };
            if !ring.next(&mut take) {
                return false;
            }
        }
        true
    }

    /// The lane is full: where it gets narrow, the room in the ring is for what comes, rather than for what a process after
    /// this one would read again.
    fn blocked(&mut self) -> Drained {
        self.ring.give_up();
        Drained::Blocked
    }

    /// Sends what was taken; `false`: the lane is full, and it is kept.
    fn ship(&mut self, lane: &Lane<Batch>) -> bool {
        if self.refused.is_none() && !self.ends.is_empty() {
            let bytes = Bytes::from(mem::take(&mut self.bytes));
            self.refused = Some(Batch {
                bytes,
                ends: mem::take(&mut self.ends),
            });
        }
        self.refused = self
            .refused
            .take()
            .and_then(|batch| lane.offer(batch).err());
        self.refused.is_none()
    }
}

/// For tests of what takes batches.
#[cfg(test)]
impl FromIterator<Vec<u8>> for Batch {
    fn from_iter<I: IntoIterator<Item = Vec<u8>>>(records: I) -> Self {
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        for record in records {
            bytes.extend_from_slice(&record);
            ends.push(bytes.len() as u32);
        }
        Self {
            bytes: bytes.into(),
            ends,
        }
    }
}
