//! Building a record in the run's slot and handing it over: submit, else count.

use aya_ebpf::helpers::generated::bpf_probe_read_kernel;
use holdfast_wire::ABI_VERSION;
use holdfast_wire::layout::ABSENT;
use holdfast_wire::record::{HEADER_BYTES, Header, flags};

use crate::bound::mask;
use crate::counter::{Count, count};
use crate::path::Path;
use crate::run::Run;
use crate::scratch::{Decided, RECORD_BYTES, SLOTS, Slot};
use crate::task::fill_header;
use crate::transport;

/// Bounds where a string may begin in the record: the last of an exec that has the longest of all
/// strings begins 800 bytes before it.
pub const OFFSET_MASK: i32 = 16_383;
/// Bounds the length of a record.
pub const LENGTH_MASK: i32 = RECORD_BYTES as i32 - 1;

/// A record under construction.
pub struct Emitter {
    record: *mut u8,
    /// Bytes used so far, in memory for the reason given at `Path::set`.
    length: *mut u64,
    /// See [`Self::in_memory`].
    number: *mut u64,
}

impl Emitter {
    /// Writes the header.
    #[inline(always)]
    pub fn begin(run: &Run, decided: Decided) -> Self {
        // SAFETY: fields of this run's slot, which is aligned to 8.
        unsafe {
            let record = (&raw mut (*run.claimed.slot).record).cast::<u8>();
            let header = record.cast::<Header>();
            let number = (*run.claimed.slot).records;
            (*run.claimed.slot).records = number + 1;
            (*header).version = ABI_VERSION;
            (*header).kind = run.kind as u16;
            // Slots of a CPU number their records independently; interleaved they are unique.
            (*header).sequence = number * u64::from(SLOTS) + u64::from(run.claimed.number);
            (*header).flags = run.flags;
            (*header).epoch = run.hook.epoch;
            (*header).rule = decided.rule;
            (*header).cpu = run.claimed.cpu as u16;
            (*header).tier = run.via.tier as u8;
            (*header).verdict = decided.verdict as u8;
            (*header).reserved = 0;
            (*header).reserved_word = 0;
            fill_header(run.claimed.index());
            let emitter = Self::of(run.claimed.slot);
            emitter.length.write_volatile(HEADER_BYTES as u64);
            emitter
        }
    }

    /// The record that was begun in a slot.
    #[inline(always)]
    pub fn of(slot: *mut Slot) -> Self {
        // SAFETY: fields of a map value.
        unsafe {
            Self {
                record: (&raw mut (*slot).record).cast(),
                length: &raw mut (*slot).length,
                number: &raw mut (*slot).number,
            }
        }
    }

    /// The fixed part of the kind, right behind the header; to be written whole, at once.
    #[inline(always)]
    pub fn fixed<T>(&mut self) -> *mut T {
        // SAFETY: a constant offset in the record buffer, a multiple of 8.
        unsafe {
            self.length
                .write_volatile((HEADER_BYTES + size_of::<T>()) as u64);
            self.record.add(HEADER_BYTES).cast()
        }
    }

    /// Sets flags in the header.
    #[inline(always)]
    pub fn set_flags(&mut self, bits: u32) {
        // SAFETY: the header is in place.
        unsafe { (*self.record.cast::<Header>()).flags |= bits };
    }

    #[inline(always)]
    fn length(&self) -> u64 {
        // SAFETY: a field of the run's slot.
        mask::<OFFSET_MASK>(unsafe { self.length.read_volatile() })
    }

    /// A number, by way of memory: one that was read to the stack and is used as a length would be traced back
    /// by the verifier, see `Path::set`.
    #[inline(always)]
    pub fn in_memory(&mut self, number: u64) -> u64 {
        // SAFETY: a field of the run's slot.
        unsafe {
            self.number.write_volatile(number);
            self.number.read_volatile()
        }
    }

    /// As `task::read` of a number, by way of memory, where the stack has no room.
    #[inline(always)]
    pub fn read<T: Copy>(&mut self, base: u64, offset: u32) -> T {
        self.in_memory(0);
        if offset != ABSENT {
            let from = base.wrapping_add(u64::from(offset)) as *const _;
            // SAFETY: a field of the run's slot, of no less.
            unsafe { bpf_probe_read_kernel(self.number.cast(), size_of::<T>() as u32, from) };
        }
        // SAFETY: as above; T is an integer.
        unsafe { self.number.cast::<T>().read_volatile() }
    }

    /// Where the next string begins.
    #[inline(always)]
    pub fn tail(&self) -> *mut u8 {
        // SAFETY: the offset is bounded by the mask.
        unsafe { self.record.add(self.length() as usize) }
    }

    /// The string at [`Self::tail`] has `length` bytes.
    #[inline(always)]
    pub fn advance(&mut self, length: u64) {
        // SAFETY: a field of the run's slot.
        unsafe { self.length.write_volatile(self.length() + length) };
    }

    /// Appends a path; its length.
    #[inline(always)]
    pub fn path(&mut self, path: &Path) -> u16 {
        let length = path.copy_to(self.tail());
        self.advance(length);
        self.set_flags(path.flags());
        length as u16
    }

    /// Hands the record over and counts what became of it.
    #[inline(always)]
    pub fn submit(self, run: &Run, decided: Decided) {
        const CUT: u32 = flags::PATH_TRUNCATED
            | flags::ARGUMENTS_TRUNCATED
            | flags::ENVIRONMENT_TRUNCATED
            | flags::MESSAGE_TRUNCATED;
        // SAFETY: a field of the run's slot.
        let length = mask::<LENGTH_MASK>(unsafe { self.length.read_volatile() });
        // SAFETY: the header is in place.
        let cut = unsafe {
            let header = self.record.cast::<Header>();
            (*header).length = length as u32;
            (*header).flags & CUT != 0
        };
        if !transport::hand_over(run, decided, self.record, length) {
            count(run.kind, Count::RingFull);
            return;
        }
        count(run.kind, Count::Submitted);
        if cut {
            count(run.kind, Count::Truncated);
        }
    }
}
