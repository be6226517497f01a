//! How memory is allocated.

#![allow(unsafe_code)] // A setting and a request of the C library.

/// Has all threads allocate from one arena. glibc gives each thread its own, up to eight for each CPU; what the readers
/// allocate is freed by others, so that each grows for long and none is ever given back: 2 MB a minute at 28,000
/// events a second. To be called before there are other threads.
pub(crate) fn use_one_arena() {
    // SAFETY: mallopt(3) takes numbers; there is only this thread, which does not allocate meanwhile.
    let taken = unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
    if taken == 0 {
        tracing::warn!(
            "the C library does not take M_ARENA_MAX: memory may grow under a long load"
        );
    }
}

/// Gives memory that is free back to the kernel, wherever in the heap it is; by itself glibc does only at the heap's end. What
/// a start takes beyond what stays is a quarter of what a sensor has then, where it is in the best tiers: type
/// information, programs, expressions that were compiled.
pub(crate) fn give_back() {
    // SAFETY: malloc_trim(3) takes a number and the allocator's own locks.
    unsafe { libc::malloc_trim(0) };
}
