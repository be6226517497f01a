//! aya's ring buffers as the readers see them.

use std::os::fd::{AsFd, BorrowedFd};

use aya::maps::{MapData, RingBuf};
use holdfast_actors::kernel::Ring;

/// One domain's ring.
pub(crate) struct KernelRing(pub(crate) RingBuf<MapData>);

impl Ring for KernelRing {
    fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    fn next(&mut self, take: &mut dyn FnMut(&[u8])) -> bool {
        // The consumer position moves when the item is dropped, which is after `take`.
        self.0.next().is_some_and(|item| {
            take(&item);
            true
        })
    }
}
