//! A ring of records in memory: what the kernel's ring buffers are to the programs, for who writes records in
//! user space.

use std::collections::VecDeque;
use std::io;
use std::mem::{offset_of, size_of};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use holdfast_wire::record::Header;
use rustix::event::{EventfdFlags, eventfd};

use crate::clock;
use crate::kernel::Ring;

mod joined;

pub use joined::Joined;

/// Bytes that a record takes beside its own: its place in the queue and its allocation.
const OVERHEAD: usize = 32;

/// Where records are put.
#[derive(Debug)]
pub struct Records {
    queue: Mutex<Queue>,
    readable: OwnedFd,
    bytes: usize,
}

#[derive(Debug, Default)]
struct Queue {
    records: VecDeque<Arc<[u8]>>,
    bytes: usize,
}

/// How much a record matters.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weight {
    /// A verdict depends on it: it may use the last eighth of the ring.
    pub matters: bool,
    /// The reader is woken for it; for others it comes by itself (its timer is 100 ms).
    pub urgent: bool,
}

/// When the operation of a record happened.
#[derive(Clone, Copy, Debug)]
pub enum Time {
    /// Now: as long as it is not answered it does not happen.
    Now,
    /// Then, in nanoseconds of `CLOCK_BOOTTIME`.
    At(u64),
}

impl Records {
    /// An empty ring for so many bytes.
    ///
    /// # Errors
    /// When there is no descriptor to be had.
    pub fn new(bytes: u32) -> io::Result<Self> {
        Ok(Self {
            queue: Mutex::default(),
            readable: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            bytes: bytes as usize,
        })
    }

    /// Puts a record in; `false`: there is no room. Its time is written under the ring's lock, so that
    /// a reader that found the ring empty has seen all that happened before.
    pub fn push(&self, mut record: Vec<u8>, time: Time, weight: Weight) -> bool {
        const AT: usize = offset_of!(Header, boottime);
        let mut queue = self.lock();
        let size = record.len() + OVERHEAD;
        let headroom = self.bytes / 8;
        let room = self.bytes - if weight.matters { 0 } else { headroom };
        if queue.bytes + size > room {
            return false;
        }
        let time = match time {
            Time::Now => clock::boottime(),
            Time::At(time) => time,
        };
        if let Some(place) = record.get_mut(AT..AT + size_of::<u64>()) {
            place.copy_from_slice(&time.to_ne_bytes());
        }
        queue.records.push_back(record.into());
        queue.bytes += size;
        let wake = weight.urgent || queue.bytes > headroom;
        drop(queue);
        if wake {
            // A counter that is full is readable already.
            let _ = rustix::io::write(&self.readable, &1u64.to_ne_bytes());
        }
        true
    }

    /// The first record, which stays.
    fn first(&self) -> Option<Arc<[u8]>> {
        let queue = self.lock();
        let first = queue.records.front().cloned();
        if first.is_none() {
            // Under the lock: a record that comes now makes it readable again. Nothing there is fine.
            let _ = rustix::io::read(&self.readable, &mut [0; 8]);
        }
        first
    }

    fn remove_first(&self) {
        let mut queue = self.lock();
        if let Some(record) = queue.records.pop_front() {
            queue.bytes -= record.len() + OVERHEAD;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nothing that can panic is done while it is held, beside an allocation.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What says up to which time all records are there; see [`Ring::complete_until`].
pub trait Completeness: std::fmt::Debug + Send + Sync {
    /// As [`Ring::complete_until`].
    fn complete_until(&self, now: u64) -> u64;
}

/// The reader's end.
#[derive(Debug)]
pub struct MemoryRing {
    /// What is in it.
    pub records: Arc<Records>,
    /// Whoever writes records a while after their time.
    pub completeness: Option<Arc<dyn Completeness>>,
}

impl Ring for MemoryRing {
    fn fd(&self) -> BorrowedFd<'_> {
        self.records.readable.as_fd()
    }

    fn next(&mut self, take: &mut dyn FnMut(&[u8])) -> bool {
        // Not under the lock, which whoever answers a permission event may be waiting for.
        let Some(first) = self.records.first() else {
            return false;
        };
        take(&first);
        self.records.remove_first();
        true
    }

    fn complete_until(&self, now: u64) -> u64 {
        let source = self.completeness.as_ref();
        source.map_or(now, |source| source.complete_until(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, poll};
    use std::panic::{AssertUnwindSafe, catch_unwind};

    fn ring(bytes: u32) -> MemoryRing {
        MemoryRing {
            records: Arc::new(Records::new(bytes).unwrap()),
            completeness: None,
        }
    }

    fn readable(ring: &MemoryRing) -> bool {
        let mut fds = [PollFd::new(&ring.records.readable, PollFlags::IN)];
        poll(&mut fds, Some(&rustix::time::Timespec::default())).unwrap() == 1
    }

    fn push(ring: &MemoryRing, record: &[u8], matters: bool) -> bool {
        let urgent = matters;
        let weight = Weight { matters, urgent };
        ring.records.push(record.to_vec(), Time::Now, weight)
    }

    #[test]
    fn records_come_out_once_and_in_order() {
        let mut ring = ring(4096);
        assert!(push(&ring, b"one", true) && push(&ring, b"two", false));
        assert!(readable(&ring));
        let mut taken = Vec::new();
        while ring.next(&mut |record| taken.push(record.to_vec())) {}
        assert_eq!(taken, [b"one", b"two"]);
        assert!(!readable(&ring));
        assert_eq!(ring.records.lock().bytes, 0);
    }

    #[test]
    fn a_record_is_gone_only_once_it_was_taken() {
        let mut ring = ring(4096);
        push(&ring, b"one", false);
        let failing = catch_unwind(AssertUnwindSafe(|| {
            ring.next(&mut |_| panic!("the reader dies"));
        }));
        assert!(failing.is_err());
        let mut taken = Vec::new();
        assert!(ring.next(&mut |record| taken.extend_from_slice(record)));
        assert_eq!(taken, b"one");
    }

    #[test]
    fn the_last_eighth_is_kept_for_what_matters() {
        let ring = ring(800);
        let record = [0; 100 - OVERHEAD];
        let count =
            |matters| std::iter::from_fn(|| push(&ring, &record, matters).then_some(())).count();
        assert_eq!(count(false), 7);
        assert_eq!(count(true), 1);
        // More than an eighth waits: the reader was woken though nothing was urgent.
        assert!(readable(&ring));
    }

    #[test]
    fn the_time_is_written_into_the_header() {
        let ring = ring(4096);
        let record = vec![0; holdfast_wire::record::HEADER_BYTES];
        ring.records
            .push(record, Time::At(0x0102_0304), Weight::default());
        let first = ring.records.first().unwrap();
        let at = offset_of!(Header, boottime);
        assert_eq!(first[at..at + 8], 0x0102_0304u64.to_ne_bytes());
    }
}
