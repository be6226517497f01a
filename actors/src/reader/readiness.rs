//! Waiting for a ring's descriptor.
#![allow(unsafe_code)] // tokio's `AsyncFd` wants a promise about the descriptor.

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Registers the descriptor with the runtime, for reading.
///
/// # Errors
/// When it is of a kind that cannot be polled.
pub(super) fn register(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` is open, keeps its number, and is closed by nobody else until it is
    // dropped; the `AsyncFd` owns it and hands it out only by shared reference.
    Ok(unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }?)
}
