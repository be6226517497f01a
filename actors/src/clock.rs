//! The two clocks: the kernel's, which records carry, and the wall's, which events carry.

// By libc, which finds the vDSO in a static binary, and sees where valgrind has hidden it: rustix does one or the other.
use nix::time::{ClockId, clock_gettime};

/// `CLOCK_BOOTTIME` in nanoseconds: what records carry.
#[must_use]
pub fn boottime() -> u64 {
    nanoseconds(ClockId::CLOCK_BOOTTIME)
}

/// `CLOCK_MONOTONIC` in nanoseconds, which stands still while the machine sleeps: for how long something lasts.
pub(crate) fn monotonic() -> u64 {
    nanoseconds(ClockId::CLOCK_MONOTONIC)
}

/// What to add to a time of `CLOCK_MONOTONIC`, which stands still while the machine sleeps, to get the
/// boot time.
#[must_use]
pub fn boottime_minus_monotonic() -> u64 {
    // Read first, so that the difference is never below what it is.
    let monotonic = monotonic();
    boottime().saturating_sub(monotonic)
}

/// Nanoseconds since 1970.
pub(crate) fn wall() -> u64 {
    nanoseconds(ClockId::CLOCK_REALTIME)
}

/// Wall-clock time, RFC 3339.
pub(crate) fn wall_text() -> String {
    holdfast_wire::event::rfc3339(wall()).to_string()
}

/// What to add to a boot time to get wall-clock time. Taken anew now and then, since the wall clock
/// is set and slewed.
pub(crate) fn wall_minus_boottime() -> u64 {
    // The two readings are some tens of nanoseconds apart, far below what two hosts differ by.
    wall().wrapping_sub(boottime())
}

fn nanoseconds(clock: ClockId) -> u64 {
    // Every kernel has these clocks, and none is ever negative on a host that has booted after 1970.
    clock_gettime(clock).map_or(0, |time| {
        time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64
    })
}
