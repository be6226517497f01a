//! Memory that is shared with the kernel, by mapping a descriptor.
#![allow(unsafe_code)] // mappings

use std::io;
use std::os::fd::BorrowedFd;
use std::ptr::{NonNull, null_mut};

use rustix::mm::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};

/// Pages that are mapped as long as this is there.
pub(super) struct Mapping {
    address: NonNull<u8>,
    bytes: usize,
}

// SAFETY: what is mapped belongs to the process, whichever thread the value is on; it hands out nothing but the
// address.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps `bytes` of a descriptor from `offset` on, shared.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn shared(
        descriptor: BorrowedFd<'_>,
        offset: usize,
        bytes: usize,
        access: ProtFlags,
    ) -> io::Result<Self> {
        let flags = MapFlags::SHARED;
        // SAFETY: a new mapping at an address of the kernel's choice touches nothing that exists.
        let address = unsafe { mmap(null_mut(), bytes, access, flags, descriptor, offset as u64) }?;
        Self::of(address.cast(), bytes)
    }

    /// Maps `bytes` of new memory.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn anonymous(bytes: usize, access: ProtFlags) -> io::Result<Self> {
        // SAFETY: as above.
        let address = unsafe { mmap_anonymous(null_mut(), bytes, access, MapFlags::PRIVATE) }?;
        Self::of(address.cast(), bytes)
    }

    fn of(address: *mut u8, bytes: usize) -> io::Result<Self> {
        let address = NonNull::new(address).ok_or(io::ErrorKind::AddrNotAvailable)?;
        Ok(Self { address, bytes })
    }

    /// Where it begins, at a page's beginning.
    pub(super) const fn address(&self) -> NonNull<u8> {
        self.address
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: exactly what was mapped; no reference into it outlives `self`. Failing leaves it mapped.
        let _ = unsafe { munmap(self.address.as_ptr().cast(), self.bytes) };
    }
}
