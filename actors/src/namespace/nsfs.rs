//! What the kernel says of a namespace by its file (ioctl_nsfs(2)).
#![allow(unsafe_code)] // Two requests for which there is no safe wrapper.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

/// `include/uapi/linux/nsfs.h`: `_IO(0xb7, …)`.
const NS_GET_USERNS: libc::Ioctl = 0xb701;
const NS_GET_PARENT: libc::Ioctl = 0xb702;
const NS_GET_OWNER_UID: libc::Ioctl = 0xb704;

/// The user namespace that it belongs to; `None` where that is not below the reader's own.
pub(super) fn owner(namespace: impl AsFd) -> Option<File> {
    related(namespace, NS_GET_USERNS)
}

/// The one that it is in, likewise. Of a pid or user namespace.
pub(super) fn parent(namespace: impl AsFd) -> Option<File> {
    related(namespace, NS_GET_PARENT)
}

fn related(namespace: impl AsFd, request: libc::Ioctl) -> Option<File> {
    // SAFETY: the descriptor is open, and these requests take no argument.
    let descriptor = unsafe { libc::ioctl(namespace.as_fd().as_raw_fd(), request) };
    // SAFETY: what the kernel has just opened for this call belongs to nobody else.
    (descriptor >= 0).then(|| File::from(unsafe { OwnedFd::from_raw_fd(descriptor) }))
}

/// Who made it, as the reader's user namespace has it. Of a user namespace.
pub(super) fn owner_uid(namespace: impl AsFd) -> Option<u32> {
    let mut uid: libc::uid_t = 0;
    // SAFETY: the descriptor is open, and the kernel writes a uid_t, which `uid` is.
    let result = unsafe {
        libc::ioctl(
            namespace.as_fd().as_raw_fd(),
            NS_GET_OWNER_UID,
            &raw mut uid,
        )
    };
    (result == 0).then_some(uid)
}
