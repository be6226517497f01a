//! The counters, each incremented where the thing happens.

use core::arch::asm;

use holdfast_wire::Kind;
use holdfast_wire::control::Counters;

use crate::maps::COUNTERS;

/// Which counter.
pub enum Count {
    /// See [`Counters::seen`].
    Seen,
    /// See [`Counters::submitted`].
    Submitted,
    /// See [`Counters::ring_full`].
    RingFull,
    /// See [`Counters::truncated`].
    Truncated,
    /// See [`Counters::missed`].
    Missed,
    /// See [`Counters::capped`].
    Capped,
}

/// Adds one. Atomically: from 5.12 on a program can be preempted by another on the same CPU.
#[inline(always)]
pub fn count(kind: Kind, what: Count) {
    let Some(counters) = COUNTERS.get_ptr_mut(kind as u32) else {
        return;
    };
    // SAFETY: a map value of this type; the fields are aligned u64 that are only ever added to.
    unsafe {
        let Counters {
            seen,
            filtered: _,
            submitted,
            ring_full,
            truncated,
            missed,
            capped,
        } = &mut *counters;
        let counter = match what {
            Count::Seen => seen,
            Count::Submitted => submitted,
            Count::RingFull => ring_full,
            Count::Truncated => truncated,
            Count::Missed => missed,
            Count::Capped => capped,
        };
        add(counter, 1);
    }
}

/// Adds one to what was seen and to what was filtered: what becomes of most operations, with one lookup.
#[inline(always)]
pub fn count_filtered(kind: Kind) {
    if let Some(counters) = COUNTERS.get_ptr_mut(kind as u32) {
        // SAFETY: as in `count`.
        unsafe {
            add(&raw mut (*counters).seen, 1);
            add(&raw mut (*counters).filtered, 1);
        }
    }
}

/// An atomic add whose result is not used, which is the one atomic that 5.10 has (`BPF_XADD`).
///
/// # Safety
/// `target` is an aligned u64 in a map value.
#[inline(always)]
pub unsafe fn add(target: *mut u64, value: u64) {
    // SAFETY: by the caller.
    unsafe {
        asm!("lock *(u64 *)({0} + 0) += {1}", in(reg) target, in(reg) value, options(nostack))
    };
}
