//! A BPF ring buffer, read without letting go of what was read.
//!
//! What is behind the consumer position is still there when the reading process dies, so that position moves only
//! past records that are done with (`release`): the next process finds the others again. aya's reader moves it as
//! soon as the next record is asked for.
//!
//! The layout is that of `kernel/bpf/ringbuf.c`: a page with the consumer position, which may be written; a page
//! with the producer position; the data, mapped twice in a row, so that no record is torn at the end.
#![allow(unsafe_code)] // memory that is shared with the kernel

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::slice;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use aya::maps::MapData;
use holdfast_actors::kernel::Ring;
use holdfast_wire::decode::{claimed_kind, claimed_time};
use rustix::mm::ProtFlags;
use rustix::param::page_size;

use super::Choice;
use super::early::Early;
use crate::loader::account::Account;
use crate::loader::mapping::Mapping;

/// `BPF_RINGBUF_HDR_SZ`: stands before each record, which is then rounded up to eight bytes.
const HEADER: usize = 8;
/// `BPF_RINGBUF_BUSY_BIT`: the record is being written.
const BUSY: u32 = 1 << 31;
/// `BPF_RINGBUF_DISCARD_BIT`: it was given up.
const DISCARDED: u32 = 1 << 30;

/// A ring is narrow where one in so many of its bytes is taken and nothing more is read from it.
const NARROW: usize = 4;

/// One domain's ring.
pub(in crate::loader) struct KernelRing {
    map: MapData,
    consumer: Mapping,
    producer: Mapping,
    /// Bytes of data, a power of two.
    size: usize,
    /// Up to where records were handed on; positions never wrap but at the end of `usize`.
    read: usize,
    /// The consumer position.
    released: usize,
    /// Who counts what is released; `None`: what was handed on is released at once.
    account: Option<Arc<Account>>,
    early: Early,
}

/// What stands at a position.
struct Item<'r> {
    /// `None`: it was discarded.
    record: Option<&'r [u8]>,
    /// Where the next one stands.
    next: usize,
}

impl KernelRing {
    /// Reads on from the consumer position.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn new(map: MapData, account: Option<Arc<Account>>) -> io::Result<Self> {
        let info = map.info().map_err(io::Error::other)?;
        let (page, size) = (page_size(), info.max_entries() as usize);
        let fd = map.fd().as_fd();
        let writable = ProtFlags::READ | ProtFlags::WRITE;
        let consumer = Mapping::shared(fd, 0, page, writable)?;
        let producer = Mapping::shared(fd, page, page + 2 * size, ProtFlags::READ)?;
        let mut ring = Self {
            map,
            consumer,
            producer,
            size,
            read: 0,
            released: 0,
            account,
            early: Early::new(),
        };
        ring.released = ring.consumed().load(Ordering::Acquire);
        ring.read = ring.released;
        Ok(ring)
    }

    /// When the first record was made that is to be read; `None`: there is none.
    pub(super) fn oldest(&self) -> Option<u64> {
        let mut at = self.read;
        loop {
            let item = self.item(at)?;
            if let Some(record) = item.record {
                return Some(claimed_time(record));
            }
            at = item.next;
        }
    }

    /// How many records are to be read.
    pub(super) fn waiting(&self) -> u64 {
        let items = std::iter::successors(self.item(self.read), |item| self.item(item.next));
        items.filter(|item| item.record.is_some()).count() as u64
    }

    /// Whether nothing is in it that is to be read, or was read and is not done with.
    pub(super) fn is_done(&self) -> bool {
        self.read == self.released && self.read == self.produced() && self.early.is_empty()
    }

    /// Does with the next record what `choose` says; `None`: there is none, or it stays.
    pub(super) fn next_as(
        &mut self,
        choose: impl Fn(&[u8]) -> Choice,
        take: &mut dyn FnMut(&[u8]),
    ) -> Option<Choice> {
        let choice = loop {
            let item = self.item(self.read)?;
            let next = item.next;
            let choice = item.record.map(|record| {
                let choice = choose(record);
                if choice == Choice::Take {
                    take(record);
                }
                choice
            });
            if choice == Some(Choice::Leave) {
                return None;
            }
            self.read = next;
            if let Some(choice) = choice {
                break choice;
            }
        };
        if self.account.is_none() {
            self.release(u64::MAX);
        } else {
            self.make_room();
        }
        Some(choice)
    }

    /// Half of the ring is for what comes: rather than that, what is under way is lost if the process dies, and told of by
    /// the next one. No more of it than the room takes, and the oldest first, which is the likeliest to be written by now.
    fn make_room(&mut self) {
        let bound = self.size / 2;
        if self.produced().wrapping_sub(self.released) > bound {
            let produced = self.produced();
            self.let_go(true, |at, _| produced.wrapping_sub(at) <= bound);
        }
    }

    /// Moves the consumer position past what was read, up to the first record that stays. `early`: it is not done with.
    fn let_go(&mut self, early: bool, stays: impl Fn(usize, &Item<'_>) -> bool) {
        let mut at = self.released;
        while at != self.read {
            let Some(item) = self.item(at) else { break };
            if stays(at, &item) {
                break;
            }
            let next = item.next;
            if let (Some(account), Some(record)) = (&self.account, item.record)
                && let Some(kind) = claimed_kind(record)
            {
                if early {
                    account.read_early(kind);
                    let made = claimed_time(record);
                    self.early.add(kind, made);
                } else {
                    account.read(kind);
                }
            }
            at = next;
        }
        if at != self.released {
            self.released = at;
            // After all reading; the kernel pairs it with an acquire before it writes there.
            self.consumed().store(at, Ordering::Release);
        }
    }

    fn consumed(&self) -> &AtomicUsize {
        // SAFETY: the page begins with the consumer position, an `unsigned long`; pages are aligned. It is mapped
        // as long as `self` is there.
        unsafe { self.consumer.address().cast().as_ref() }
    }

    fn produced(&self) -> usize {
        // SAFETY: as above, of the producer's page.
        let position: &AtomicUsize = unsafe { self.producer.address().cast().as_ref() };
        // `bpf_ringbuf_reserve` of the kernel stores it with release once the header says busy.
        position.load(Ordering::Acquire)
    }

    /// What stands at `position`; `None`: nothing, or it is not complete yet.
    fn item(&self, position: usize) -> Option<Item<'_>> {
        if position == self.produced() {
            return None;
        }
        let at = page_size() + (position & (self.size - 1));
        // SAFETY: the offset is within the first of the two mappings of the data, positions are multiples of 8,
        // and a record begins with its header.
        let header: &AtomicU32 = unsafe { self.producer.address().add(at).cast().as_ref() };
        // The kernel's `xchg` in `bpf_ringbuf_commit` comes after all of the record.
        let word = header.load(Ordering::Acquire);
        let length = (word & !(BUSY | DISCARDED)) as usize;
        if word & BUSY != 0 || length > self.size {
            return None;
        }
        // SAFETY: it lies within the two mappings of the data, and the kernel does not write there before the
        // consumer position has passed it, which takes `&mut self`.
        let record = unsafe {
            let start = self.producer.address().add(at + HEADER);
            slice::from_raw_parts(start.as_ptr(), length)
        };
        Some(Item {
            record: (word & DISCARDED == 0).then_some(record),
            next: position.wrapping_add((HEADER + length).next_multiple_of(8)),
        })
    }
}

impl Ring for KernelRing {
    fn fd(&self) -> BorrowedFd<'_> {
        self.map.fd().as_fd()
    }

    fn next(&mut self, take: &mut dyn FnMut(&[u8])) -> bool {
        self.next_as(|_| Choice::Take, take).is_some()
    }

    fn give_up(&mut self) {
        // Few records fill a lane when each came by itself.
        if self.produced().wrapping_sub(self.released) > self.size / NARROW {
            self.let_go(true, |_, _| false);
        }
    }

    fn release(&mut self, until: u64) {
        if let Some(account) = &self.account {
            account.finish_until(until);
            let finished = |kind, records| account.finished(kind, records);
            self.early.release(until, finished);
        }
        self.let_go(false, |_, item| {
            item.record
                .is_some_and(|record| claimed_time(record) >= until)
        });
    }
}
