//! Building a record in the run's slot and handing it to its ring: submit, else count.

use aya_ebpf::helpers::generated::{bpf_ringbuf_output, bpf_ringbuf_query};
use aya_ebpf::maps::RingBuf;
use holdfast_policy::table::hook_flags;
use holdfast_wire::control::Verdict;
use holdfast_wire::record::{HEADER_BYTES, Header, flags};
use holdfast_wire::{ABI_VERSION, Domain};

use crate::bound::mask;
use crate::counter::{Count, count};
use crate::maps::{
    CAPABILITY_RING, FILE_RING, MEMORY_RING, NETWORK_RING, PROCESS_RING, RING_BYTES, constant,
};
use crate::path::Path;
use crate::run::Run;
use crate::scratch::{Decided, SLOTS};
use crate::task::fill_header;

/// Bounds where a string may begin in the record; `scratch::RECORD_BYTES` leaves 4,096 behind it.
pub const OFFSET_MASK: i32 = 16_383;

const BPF_RB_NO_WAKEUP: u64 = 1;
const BPF_RB_FORCE_WAKEUP: u64 = 2;
const BPF_RB_AVAIL_DATA: u64 = 0;

/// A record under construction.
pub struct Emitter {
    record: *mut u8,
    /// Bytes used so far, in memory for the reason given at `Path::set`.
    length: *mut u64,
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
            (*header).tier = run.tier as u8;
            (*header).verdict = decided.verdict as u8;
            (*header).reserved = 0;
            (*header).reserved_word = 0;
            fill_header(header, run.task);
            let length = &raw mut (*run.claimed.slot).length;
            length.write_volatile(HEADER_BYTES as u64);
            Self { record, length }
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

    /// Hands the record to the ring of its domain and counts what became of it.
    #[inline(always)]
    pub fn submit(self, run: &Run, decided: Decided) {
        const CUT: u32 = flags::PATH_TRUNCATED | flags::ARGUMENTS_TRUNCATED;
        let ring = match run.kind.domain() {
            Domain::Process => &PROCESS_RING,
            Domain::File => &FILE_RING,
            Domain::Network => &NETWORK_RING,
            Domain::Memory => &MEMORY_RING,
            Domain::Capability => &CAPABILITY_RING,
        };
        let size = constant(&raw const RING_BYTES[run.kind.domain() as usize]);
        let waiting = query(ring);
        let matters = decided.undecided != 0 || decided.verdict > Verdict::Audit as u32;
        let headroom = u64::from(size / 8);
        let length = self.length();
        // SAFETY: the header is in place.
        let cut = unsafe {
            let header = self.record.cast::<Header>();
            (*header).length = length as u32;
            (*header).flags & CUT != 0
        };
        // The last eighth is kept for records on which a verdict depends.
        if !matters && waiting + headroom > u64::from(size) {
            count(run.kind, Count::RingFull);
            return;
        }
        let urgent =
            matters && run.hook.flags & hook_flags::USER_MAY_PREVENT != 0 || decided.prevents();
        // Waking costs more than the record: only when something depends on it or an eighth is
        // full; else the reader comes by itself (its timer is 100 ms).
        let wake = if urgent || waiting > headroom {
            BPF_RB_FORCE_WAKEUP
        } else {
            BPF_RB_NO_WAKEUP
        };
        // SAFETY: the record buffer holds at least OFFSET_MASK bytes.
        let failed = unsafe {
            bpf_ringbuf_output(
                core::ptr::from_ref(ring).cast_mut().cast(),
                self.record.cast(),
                length,
                wake,
            )
        };
        if failed != 0 {
            count(run.kind, Count::RingFull);
            return;
        }
        count(run.kind, Count::Submitted);
        if cut {
            count(run.kind, Count::Truncated);
        }
    }
}

/// Bytes in the ring that the reader has not taken.
#[inline(always)]
fn query(ring: &RingBuf) -> u64 {
    // SAFETY: a map.
    unsafe {
        bpf_ringbuf_query(
            core::ptr::from_ref(ring).cast_mut().cast(),
            BPF_RB_AVAIL_DATA,
        )
    }
}
