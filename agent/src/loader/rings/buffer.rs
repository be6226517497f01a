//! One perf buffer (perf_event_open(2)): memory that BPF programs on one CPU write samples to.
#![allow(unsafe_code)] // memory that the kernel writes to

use std::io;
use std::mem::{offset_of, size_of};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use aya_obj::generated::perf_event_sample_format::PERF_SAMPLE_RAW;
use aya_obj::generated::perf_event_type::PERF_RECORD_SAMPLE;
use aya_obj::generated::perf_sw_ids::PERF_COUNT_SW_BPF_OUTPUT;
use aya_obj::generated::perf_type_id::PERF_TYPE_SOFTWARE;
use aya_obj::generated::{perf_event_header, perf_event_mmap_page};
use holdfast_wire::record::Header;
use rustix::mm::ProtFlags;

use crate::loader::mapping::Mapping;
use crate::loader::perf_event;

/// Least bytes of a buffer: more than a sample can have, whose size is 16 bits wide.
pub(super) const MIN_BYTES: u32 = 1 << 16;

/// What stands before a sample's bytes: its header and the number of its bytes.
const SAMPLE_HEAD: u64 = (size_of::<perf_event_header>() + size_of::<u32>()) as u64;

/// When the kernel makes a buffer's descriptor readable.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wake {
    /// After so many bytes.
    Bytes(u32),
    /// After each sample.
    Always,
}

/// One buffer.
pub(super) struct Buffer {
    event: OwnedFd,
    memory: Memory,
    /// Where the kernel was about to write when it was last looked.
    head: u64,
    /// What is not yet taken; the kernel knows it as `data_tail`.
    tail: u64,
    /// When the record at the tail was made, if there is one.
    first: Option<u64>,
    /// A sample that goes over the end of the memory, in one piece.
    piece: Vec<u8>,
}

impl Buffer {
    /// Opens the buffer of a CPU. `bytes` is a power of two, [`MIN_BYTES`] or more.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn open(cpu: u32, bytes: u32, wake: Wake) -> io::Result<Self> {
        let mut attributes = perf_event::none();
        attributes.type_ = PERF_TYPE_SOFTWARE as u32;
        attributes.config = PERF_COUNT_SW_BPF_OUTPUT as u64;
        attributes.__bindgen_anon_1.sample_period = 1;
        attributes.sample_type = PERF_SAMPLE_RAW as u64;
        match wake {
            Wake::Bytes(bytes) => {
                attributes.set_watermark(1);
                attributes.__bindgen_anon_2.wakeup_watermark = bytes;
            }
            Wake::Always => attributes.__bindgen_anon_2.wakeup_events = 1,
        }
        let event = perf_event::open(attributes, cpu)?;
        let memory = Memory::map(Some(event.as_fd()), bytes as usize)?;
        Ok(Self::over(event, memory))
    }

    fn over(event: OwnedFd, memory: Memory) -> Self {
        Self {
            event,
            memory,
            head: 0,
            tail: 0,
            first: None,
            piece: Vec::new(),
        }
    }

    /// The number by which a perf event array knows the buffer.
    pub(super) fn number(&self) -> u32 {
        self.event.as_raw_fd().cast_unsigned()
    }

    /// Looks how far the kernel has written.
    pub(super) fn look(&mut self) {
        self.head = self.memory.head().load(Ordering::Acquire);
        if self.first.is_none() {
            self.find_first();
        }
    }

    /// When the first record was made that the last look found and that was not taken.
    pub(super) const fn first(&self) -> Option<u64> {
        self.first
    }

    /// Hands the first record to `take`, if there is one, then gives its room back.
    pub(super) fn take(&mut self, take: &mut dyn FnMut(&[u8])) {
        if self.first.is_none() {
            return;
        }
        let (_, whole) = self.at_tail();
        let start = self.tail.wrapping_add(SAMPLE_HEAD);
        let room = whole.saturating_sub(SAMPLE_HEAD);
        // The kernel pads samples to eight bytes; how long a record is it says itself.
        let said = start.wrapping_add(offset_of!(Header, length) as u64);
        let length = if room >= size_of::<Header>() as u64 {
            u64::from(self.memory.word(said)).min(room)
        } else {
            room
        };
        match self.memory.in_one_piece(start, length) {
            Some(bytes) => take(bytes),
            None => {
                self.memory.copy(start, length, &mut self.piece);
                take(&self.piece);
            }
        }
        self.pass(whole);
        self.find_first();
    }

    /// Goes on to the next record, past what is none: how many samples the kernel says it dropped, which
    /// the programs have counted.
    fn find_first(&mut self) {
        self.first = None;
        while self.tail != self.head {
            let (kind, bytes) = self.at_tail();
            if kind == PERF_RECORD_SAMPLE as u32 {
                // A record begins with its header, unless it is none.
                let whole = bytes >= SAMPLE_HEAD + size_of::<Header>() as u64;
                let at = SAMPLE_HEAD + offset_of!(Header, boottime) as u64;
                let time = self.memory.long(self.tail.wrapping_add(at));
                self.first = Some(if whole { time } else { 0 });
                return;
            }
            self.pass(bytes);
        }
    }

    /// Type and size of what stands at the tail.
    fn at_tail(&self) -> (u32, u64) {
        const SIZE: usize = offset_of!(perf_event_header, size) % size_of::<u32>();
        let kind = self.memory.word(self.tail);
        let word = offset_of!(perf_event_header, size) - SIZE;
        let word = self.memory.word(self.tail.wrapping_add(word as u64));
        let bytes = word.to_ne_bytes();
        let size = u64::from(u16::from_ne_bytes([bytes[SIZE], bytes[SIZE + 1]]));
        // Nothing is smaller than its header, and nothing goes on behind the head: by any other size
        // there would be no going on.
        let left = self.head.wrapping_sub(self.tail);
        (
            kind,
            size.max(size_of::<perf_event_header>() as u64).min(left),
        )
    }

    fn pass(&mut self, bytes: u64) {
        self.tail = self.tail.wrapping_add(bytes);
        // The kernel writes there from now on: every read of it is done (`ring_buffer.c` of perf).
        self.memory.tail().store(self.tail, Ordering::Release);
    }
}

impl AsFd for Buffer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

/// The mapping: a page of `perf_event_mmap_page`, then the samples, around and around.
struct Memory {
    mapping: Mapping,
    page: usize,
    /// Of the samples; a power of two.
    bytes: usize,
}

impl Memory {
    /// Maps a buffer, or, for tests, memory that is none.
    fn map(event: Option<BorrowedFd<'_>>, bytes: usize) -> io::Result<Self> {
        let page = rustix::param::page_size();
        let (length, access) = (page + bytes, ProtFlags::READ | ProtFlags::WRITE);
        let mapping = match event {
            Some(event) => Mapping::shared(event, 0, length, access),
            None => Mapping::anonymous(length, access),
        }?;
        Ok(Self {
            mapping,
            page,
            bytes,
        })
    }

    fn head(&self) -> &AtomicU64 {
        self.position(offset_of!(perf_event_mmap_page, data_head))
    }

    fn tail(&self) -> &AtomicU64 {
        self.position(offset_of!(perf_event_mmap_page, data_tail))
    }

    fn position(&self, offset: usize) -> &AtomicU64 {
        // SAFETY: an aligned u64 within the first page, accessed by nobody but as an atomic.
        unsafe { AtomicU64::from_ptr(self.mapping.address().as_ptr().add(offset).cast()) }
    }

    fn offset(&self, position: u64) -> usize {
        position as usize & (self.bytes - 1)
    }

    /// Four bytes at a position that is a multiple of four, as everything in samples is.
    fn word(&self, position: u64) -> u32 {
        let offset = self.page + (self.offset(position) & !3);
        // SAFETY: aligned and within the mapping, whose size is a multiple of four.
        unsafe { AtomicU32::from_ptr(self.mapping.address().as_ptr().add(offset).cast()) }
            .load(Ordering::Relaxed)
    }

    /// Eight bytes at a position that is a multiple of four.
    fn long(&self, position: u64) -> u64 {
        let (first, second) = (self.word(position), self.word(position.wrapping_add(4)));
        let [a, b, c, d] = first.to_ne_bytes();
        let [e, f, g, h] = second.to_ne_bytes();
        u64::from_ne_bytes([a, b, c, d, e, f, g, h])
    }

    /// The bytes there, unless they go over the end.
    fn in_one_piece(&self, position: u64, length: u64) -> Option<&[u8]> {
        let (offset, length) = (self.offset(position), length as usize);
        let fits = offset
            .checked_add(length)
            .is_some_and(|end| end <= self.bytes);
        fits.then(|| {
            // SAFETY: within the mapping, which lives as long as `self`; the kernel does not write
            // between tail and head, which this lies between.
            unsafe {
                std::slice::from_raw_parts(
                    self.mapping.address().as_ptr().add(self.page + offset),
                    length,
                )
            }
        })
    }

    /// Puts the bytes there into `to`.
    fn copy(&self, position: u64, length: u64, to: &mut Vec<u8>) {
        to.clear();
        let first = (self.bytes - self.offset(position)) as u64;
        let parts = [
            (position, length.min(first)),
            (position.wrapping_add(first), length.saturating_sub(first)),
        ];
        for (position, length) in parts {
            // Each part ends at the end of the memory at the latest.
            to.extend_from_slice(self.in_one_piece(position, length).unwrap_or_default());
        }
    }
}

#[cfg(test)]
pub(super) mod testing;
#[cfg(test)]
mod tests;
