//! What the kernel says of a namespace by its file (ioctl_nsfs(2)), and which there are (listns(2)).
#![allow(unsafe_code)] // Requests and system calls for which there is no safe wrapper.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use super::Kind;

/// `include/uapi/linux/nsfs.h`: `_IO(0xb7, …)`.
const NS_GET_USERNS: libc::Ioctl = 0xb701;
const NS_GET_PARENT: libc::Ioctl = 0xb702;
const NS_GET_NSTYPE: libc::Ioctl = 0xb703;
const NS_GET_OWNER_UID: libc::Ioctl = 0xb704;
/// `include/uapi/linux/sockios.h`
const SIOCGSKNS: libc::Ioctl = 0x894c;

/// The same on all architectures that are served.
const SYS_LISTNS: libc::c_long = 470;
/// Numbers that are asked for at a time.
const LISTED_AT_ONCE: usize = 512;
/// `include/uapi/linux/fcntl.h`
const FD_NSFS_ROOT: RawFd = -10003;
/// `enum fid_type` of `include/linux/exportfs.h`
const FILEID_NSFS: libc::c_int = 0xf1;

/// The user namespace that it belongs to; `None` where that is not below the reader's own.
pub(super) fn owner(namespace: impl AsFd) -> Option<File> {
    related(namespace, NS_GET_USERNS)
}

/// The one that it is in, likewise. Of a pid or user namespace.
pub(super) fn parent(namespace: impl AsFd) -> Option<File> {
    related(namespace, NS_GET_PARENT)
}

/// The network namespace of a socket; takes CAP_NET_ADMIN in it.
pub(super) fn of_socket(socket: impl AsFd) -> Option<File> {
    related(socket, SIOCGSKNS)
}

fn related(file: impl AsFd, request: libc::Ioctl) -> Option<File> {
    // SAFETY: the descriptor is open, and these requests take no argument.
    let descriptor = unsafe { libc::ioctl(file.as_fd().as_raw_fd(), request) };
    // SAFETY: what the kernel has just opened for this call belongs to nobody else.
    (descriptor >= 0).then(|| File::from(unsafe { OwnedFd::from_raw_fd(descriptor) }))
}

/// Its type.
pub(super) fn kind(namespace: impl AsFd) -> Option<Kind> {
    // SAFETY: the descriptor is open, and the request takes no argument.
    let flag = unsafe { libc::ioctl(namespace.as_fd().as_raw_fd(), NS_GET_NSTYPE) };
    Kind::ALL.into_iter().find(|kind| kind.flag() == flag)
}

/// Who made it, as the reader's user namespace has it. Of a user namespace.
pub(crate) fn owner_uid(namespace: impl AsFd) -> Option<u32> {
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

/// `struct ns_id_req` of `include/uapi/linux/nsfs.h`
#[repr(C)]
struct Request {
    size: u32,
    spare: u32,
    last: u64,
    kinds: u32,
    spare2: u32,
    owner: u64,
}

/// `struct file_handle` with a `struct nsfs_file_handle` in it.
#[repr(C)]
struct Handle {
    bytes: libc::c_uint,
    kind: libc::c_int,
    id: u64,
    namespace_type: u32,
    inode: u32,
}

/// Gives `found` each namespace that is in use as far as it may be seen, at most so many. Linux 6.19.
///
/// # Errors
/// ENOSYS where the kernel does not tell.
pub(super) fn each(most: usize, mut found: impl FnMut(File)) -> io::Result<()> {
    let mut last = 0;
    for _ in 0..most.div_ceil(LISTED_AT_ONCE) {
        let ids = list(last)?;
        let Some(newest) = ids.last() else {
            break;
        };
        last = *newest;
        // Those that are gone by now, and those that may not be opened, are left out.
        ids.into_iter()
            .filter_map(|id| by_id(id).ok())
            .for_each(&mut found);
    }
    Ok(())
}

/// Their numbers that come after `last`.
fn list(last: u64) -> io::Result<Vec<u64>> {
    let request = Request {
        size: size_of::<Request>() as u32,
        spare: 0,
        last,
        kinds: 0,
        spare2: 0,
        owner: 0,
    };
    let mut ids = [0_u64; LISTED_AT_ONCE];
    // SAFETY: the kernel reads the one and writes at most so many numbers to the other.
    let count = unsafe {
        libc::syscall(
            SYS_LISTNS,
            &raw const request,
            ids.as_mut_ptr(),
            ids.len(),
            0,
        )
    };
    match usize::try_from(count) {
        Ok(count) => Ok(ids[..count.min(ids.len())].to_vec()),
        Err(_) => Err(io::Error::last_os_error()),
    }
}

/// The namespace with this number (name_to_handle_at(2)).
fn by_id(id: u64) -> io::Result<File> {
    let mut handle = Handle {
        bytes: 16,
        kind: FILEID_NSFS,
        id,
        // Both left out: any.
        namespace_type: 0,
        inode: 0,
    };
    // SAFETY: the kernel reads a handle of the length that it says.
    let descriptor = unsafe {
        libc::syscall(
            libc::SYS_open_by_handle_at,
            FD_NSFS_ROOT,
            &raw mut handle,
            libc::O_RDONLY | libc::O_CLOEXEC,
        )
    };
    let descriptor = RawFd::try_from(descriptor).map_err(io::Error::other)?;
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: what the kernel has just opened for this call belongs to nobody else.
    Ok(File::from(unsafe { OwnedFd::from_raw_fd(descriptor) }))
}

/// The calling thread leaves its root and working directory to the others, and gets those of a mount namespace.
///
/// # Errors
/// setns(2): takes CAP_SYS_ADMIN, also over the namespace, and CAP_SYS_CHROOT.
pub(super) fn enter(namespace: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the thread's descriptors stay those of the process.
    unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::FS) }?;
    rustix::thread::move_into_link_name_space(
        namespace,
        Some(rustix::thread::LinkNameSpaceType::Mount),
    )?;
    Ok(())
}
