//! What is asked for through an io_uring, without a system call of its own.
#![allow(unsafe_code)] // entries of the queue hold pointers, and what comes back is a number

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::net::SocketAddrV4;
use std::os::fd::{AsRawFd as _, FromRawFd as _};

use io_uring::squeue::{Entry, Flags};
use io_uring::{IoUring, opcode, types};
use rustix::net::{AddressFamily, SocketType, socket};

use super::{Done, file, parsed};

/// See [`super::main`]. By whom the kernel has it done: `caller`, `worker` (`IOSQE_ASYNC`), or `poller`
/// (`IORING_SETUP_SQPOLL`).
pub(super) fn act(words: &[&str]) -> Done {
    Some(match words {
        ["read-by-ring", by, path] => read(by, path),
        ["connect-by-ring", by, address] => {
            parsed(address).and_then(|address| connect(by, &address))
        }
        _ => return None,
    })
}

/// Milliseconds after which a polling thread sleeps.
const IDLE: u32 = 100;

/// Has one entry done and returns what came of it.
fn complete(by: &str, entry: Entry) -> io::Result<i32> {
    let mut builder = IoUring::builder();
    let entry = match by {
        "worker" => entry.flags(Flags::ASYNC),
        "poller" => {
            builder.setup_sqpoll(IDLE);
            entry
        }
        _ => entry,
    };
    let mut ring: IoUring = builder.build(1)?;
    // SAFETY: what the entry points to is the caller's, who waits for its end.
    unsafe { ring.submission().push(&entry) }.map_err(io::Error::other)?;
    ring.submit_and_wait(1)?;
    let done = ring.completion().next();
    let result = done.ok_or_else(|| io::Error::other("nothing was completed"))?;
    match result.result() {
        error @ ..0 => Err(io::Error::from_raw_os_error(-error)),
        result => Ok(result),
    }
}

fn read(by: &str, path: &str) -> io::Result<()> {
    let path = CString::new(path)?;
    let entry = opcode::OpenAt::new(types::Fd(libc::AT_FDCWD), path.as_ptr());
    let descriptor = complete(by, entry.flags(libc::O_RDONLY).build())?;
    // SAFETY: the kernel has just made it for this process.
    file::show(unsafe { File::from_raw_fd(descriptor) })
}

fn connect(by: &str, address: &SocketAddrV4) -> io::Result<()> {
    let stream = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    let name = libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: address.port().to_be(),
        sin_addr: libc::in_addr {
            s_addr: u32::from(*address.ip()).to_be(),
        },
        sin_zero: [0; 8],
    };
    let length = size_of_val(&name) as libc::socklen_t;
    let descriptor = types::Fd(stream.as_raw_fd());
    let entry = opcode::Connect::new(descriptor, (&raw const name).cast(), length);
    complete(by, entry.build()).map(drop)
}
