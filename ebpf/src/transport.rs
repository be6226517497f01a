//! The way of a record to its reader: the ring of its domain or, where the kernel has no ring buffers
//! (before 5.8), the perf buffers of its CPU. Which of the two is a constant to the verifier.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::{
    bpf_ktime_get_boot_ns, bpf_ktime_get_ns, bpf_perf_event_output, bpf_ringbuf_output,
    bpf_ringbuf_query,
};
use holdfast_policy::table::hook_flags;
use holdfast_wire::Domain;
use holdfast_wire::control::Verdict;
use holdfast_wire::record::{Header, flags};

use crate::bound::mask;
use crate::emit::LENGTH_MASK;
use crate::maps::{
    CAPABILITY_RING, CAPABILITY_URGENT, CONTROL, FILE_RING, FILE_URGENT, MEMORY_RING,
    MEMORY_URGENT, NETWORK_RING, NETWORK_URGENT, PERF_BUFFERS, PROCESS_RING, PROCESS_URGENT,
    RING_BYTES, constant,
};
use crate::run::Run;
use crate::scratch::Decided;

const BPF_RB_NO_WAKEUP: u64 = 1;
const BPF_RB_FORCE_WAKEUP: u64 = 2;
const BPF_RB_AVAIL_DATA: u64 = 0;
/// `BPF_RINGBUF_HDR_SZ`: stands before each record, which is then rounded up to eight bytes.
const RING_HEADER: u64 = 8;
const BPF_F_CURRENT_CPU: u64 = 0xffff_ffff;

/// A map as helpers take it.
type Map = *mut c_void;

/// How much depends on a record.
#[derive(Clone, Copy)]
struct Weight {
    /// A verdict hangs on it: there is room for it when there is none for others.
    matters: bool,
    /// A kill may: the reader is woken at once.
    urgent: bool,
}

/// Hands a record over; whether there was room.
#[inline(always)]
pub fn hand_over(run: &Run, decided: Decided, record: *mut u8, length: u64) -> bool {
    let matters = decided.undecided != 0 || decided.verdict > Verdict::Audit as u32;
    let may_prevent = run.hook.flags & hook_flags::USER_MAY_PREVENT != 0;
    // What was refused, and whose process is left alone, is over: it can be told of when the reader comes. By way of
    // memory: what is known of the flags in registers would be a path of its own for each to the verifier.
    // SAFETY: the header is in place.
    let written = unsafe { (&raw const (*record.cast::<Header>()).flags).read_volatile() };
    let refused = written & (flags::REFUSED | flags::SIGNALLED) == flags::REFUSED;
    let is_over = refused && decided.undecided == 0;
    let urgent = !is_over && (matters && may_prevent || decided.acts());
    let weight = Weight { matters, urgent };
    if constant(&raw const PERF_BUFFERS) == 0 {
        to_ring(run, weight, record, length)
    } else {
        to_perf_buffer(run, weight, record, length)
    }
}

/// Now, on the clock of records: `CLOCK_BOOTTIME` in nanoseconds.
#[inline(always)]
pub fn boottime() -> u64 {
    // SAFETY: no preconditions.
    unsafe {
        if constant(&raw const PERF_BUFFERS) == 0 {
            return bpf_ktime_get_boot_ns();
        }
        let ahead = match CONTROL.get(0) {
            Some(control) => control.boottime_ahead,
            None => 0,
        };
        bpf_ktime_get_ns().wrapping_add(ahead)
    }
}

#[inline(always)]
fn to_ring(run: &Run, weight: Weight, record: *mut u8, length: u64) -> bool {
    let ring = ring(run.kind.domain());
    let size = u64::from(constant(&raw const RING_BYTES[run.kind.domain() as usize]));
    let headroom = size / 8;
    // SAFETY: a map.
    let waiting = unsafe { bpf_ringbuf_query(ring, BPF_RB_AVAIL_DATA) };
    // The last eighth is kept for records on which a verdict depends.
    if !weight.matters && waiting + headroom > size {
        return false;
    }
    // Waking costs more than the record, an interrupt to begin with: only when something depends on
    // it, or when this record fills another eighth; else the reader comes by itself (its timer is
    // 100 ms). Two CPUs that fill an eighth together may each leave it to the other: the next eighth
    // makes that good.
    let filled = waiting + ((length + RING_HEADER + 7) & !7);
    let wake = if weight.urgent || (waiting ^ filled) & !(headroom - 1) != 0 {
        BPF_RB_FORCE_WAKEUP
    } else {
        BPF_RB_NO_WAKEUP
    };
    let length = mask::<LENGTH_MASK>(length);
    // SAFETY: the record buffer holds LENGTH_MASK bytes and one more.
    unsafe { bpf_ringbuf_output(ring, record.cast(), length, wake) == 0 }
}

/// The buffers wake their reader by themselves, as they were opened to: one by how much is in it, the
/// other for each record. Each takes what finds the other full, as far as a verdict hangs on it.
#[inline(always)]
fn to_perf_buffer(run: &Run, weight: Weight, record: *mut u8, length: u64) -> bool {
    let (bulk, urgent) = (ring(run.kind.domain()), urgent(run.kind.domain()));
    let (first, second) = if weight.urgent {
        (urgent, bulk)
    } else {
        (bulk, urgent)
    };
    // SAFETY: as in `to_ring`; the context is this program's.
    let output = |map| unsafe {
        bpf_perf_event_output(
            run.via.context,
            map,
            BPF_F_CURRENT_CPU,
            record.cast(),
            mask::<LENGTH_MASK>(length),
        ) == 0
    };
    output(first) || weight.matters && output(second)
}

#[inline(always)]
fn ring(domain: Domain) -> Map {
    address(match domain {
        Domain::Process => &PROCESS_RING,
        Domain::File => &FILE_RING,
        Domain::Network => &NETWORK_RING,
        Domain::Memory => &MEMORY_RING,
        Domain::Capability => &CAPABILITY_RING,
    })
}

#[inline(always)]
fn urgent(domain: Domain) -> Map {
    address(match domain {
        Domain::Process => &PROCESS_URGENT,
        Domain::File => &FILE_URGENT,
        Domain::Network => &NETWORK_URGENT,
        Domain::Memory => &MEMORY_URGENT,
        Domain::Capability => &CAPABILITY_URGENT,
    })
}

#[inline(always)]
fn address<T>(map: &'static T) -> Map {
    core::ptr::from_ref(map).cast_mut().cast()
}
