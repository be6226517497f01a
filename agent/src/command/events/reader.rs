//! Whoever reads what is printed.
#![allow(unsafe_code)] // tokio's `AsyncFd` wants a promise about the descriptor.

use std::future::pending;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Returns when nobody reads stdout any more, so that `events | head` ends when `head` does, and not
/// only at the next event.
pub(super) async fn gone() {
    match registered() {
        // However it ends, nobody reads.
        Ok(out) => drop(out.ready(Interest::ERROR).await),
        // A file: it has no reader to go away.
        Err(_) => pending().await,
    }
}

fn registered() -> io::Result<AsyncFd<OwnedFd>> {
    let out = io::stdout().as_fd().try_clone_to_owned()?;
    // SAFETY: an `OwnedFd` is open, keeps its number, and is closed by nobody else until it is
    // dropped; the `AsyncFd` owns it and hands it out only by shared reference.
    Ok(unsafe { AsyncFd::register_with_interest(out, Interest::ERROR) }?)
}
