//! What is asked for through an io_uring, without a system call of its own.
#![allow(unsafe_code)] // entries of the queue hold pointers, and what comes back is a number

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io;
use std::net::SocketAddrV4;
use std::os::fd::{AsRawFd as _, FromRawFd as _};

use io_uring::squeue::{Entry, Flags};
use io_uring::{IoUring, Probe, opcode, types};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketType, bind as bind_by_call, socket};

use super::{Done, file, parsed};

/// See [`super::main`]. By whom the kernel has it done: `caller`, `worker` (`IOSQE_ASYNC`), or `poller`
/// (`IORING_SETUP_SQPOLL`).
pub(super) fn act(words: &[&str]) -> Done {
    let ["by-ring", by, deed @ ..] = words else {
        return None;
    };
    Some(match deed {
        ["read", path] => read(by, path),
        ["create", path] => open(by, path, libc::O_CREAT | libc::O_WRONLY).map(drop),
        ["rename", from, to] => with_paths(from, to, |from, to| {
            complete(
                by,
                opcode::RenameAt::CODE,
                opcode::RenameAt::new(HERE, from, HERE, to).build(),
            )
        }),
        ["link", from, to] => with_paths(from, to, |from, to| {
            complete(
                by,
                opcode::LinkAt::CODE,
                opcode::LinkAt::new(HERE, from, HERE, to).build(),
            )
        }),
        ["symlink", to, at] => with_paths(to, at, |to, at| {
            complete(
                by,
                opcode::SymlinkAt::CODE,
                opcode::SymlinkAt::new(HERE, to, at).build(),
            )
        }),
        ["unlink", path] => unlink(by, path, 0),
        ["rmdir", path] => unlink(by, path, libc::AT_REMOVEDIR),
        ["mkdir", path] => with_paths(path, "", |path, _| {
            complete(
                by,
                opcode::MkDirAt::CODE,
                opcode::MkDirAt::new(HERE, path).mode(0o755).build(),
            )
        }),
        ["setxattr", path] => with_paths(path, "trusted.holdfast", |path, name| {
            let value = b"x";
            let entry = opcode::SetXattr::new(name, value.as_ptr().cast(), path, 1);
            complete(by, opcode::SetXattr::CODE, entry.build())
        }),
        ["truncate", path] => truncate(by, path),
        ["socket"] => {
            let entry = opcode::Socket::new(libc::AF_INET, libc::SOCK_STREAM, 0);
            complete(by, opcode::Socket::CODE, entry.build()).map(drop)
        }
        ["bind"] => bind(by),
        ["listen"] => listen(by),
        ["connect", address] => parsed(address).and_then(|address| connect(by, &address)),
        ["send", address] => parsed(address).and_then(|address| send(by, &address)),
        _ => return None,
    })
}

/// What paths begin at.
const HERE: types::Fd = types::Fd(libc::AT_FDCWD);
/// Milliseconds after which a polling thread sleeps.
const IDLE: u32 = 100;

/// Has one entry, of an operation with this number, done and returns what came of it; `ENOSYS` where the kernel knows no
/// such operation.
fn complete(by: &str, operation: u8, entry: Entry) -> io::Result<i32> {
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
    let mut probe = Probe::new();
    ring.submitter().register_probe(&mut probe)?;
    if !probe.is_supported(operation) {
        return Err(Errno::NOSYS.into());
    }
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

/// Does something with two texts as the kernel takes them.
fn with_paths(
    one: &str,
    other: &str,
    act: impl FnOnce(*const libc::c_char, *const libc::c_char) -> io::Result<i32>,
) -> io::Result<()> {
    let (one, other) = (CString::new(one)?, CString::new(other)?);
    act(one.as_ptr(), other.as_ptr()).map(drop)
}

fn open(by: &str, path: &str, flags: i32) -> io::Result<File> {
    let path = CString::new(path)?;
    let entry = opcode::OpenAt::new(HERE, path.as_ptr())
        .flags(flags)
        .mode(0o600);
    let descriptor = complete(by, opcode::OpenAt::CODE, entry.build())?;
    // SAFETY: the kernel has just made it for this process.
    Ok(unsafe { File::from_raw_fd(descriptor) })
}

fn read(by: &str, path: &str) -> io::Result<()> {
    file::show(open(by, path, libc::O_RDONLY)?)
}

fn unlink(by: &str, path: &str, flags: i32) -> io::Result<()> {
    with_paths(path, "", |path, _| {
        let entry = opcode::UnlinkAt::new(HERE, path).flags(flags);
        complete(by, opcode::UnlinkAt::CODE, entry.build())
    })
}

fn truncate(by: &str, path: &str) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(path)?;
    let entry = opcode::Ftruncate::new(types::Fd(file.as_raw_fd()), 0);
    complete(by, opcode::Ftruncate::CODE, entry.build()).map(drop)
}

fn bind(by: &str) -> io::Result<()> {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    let name = name(&SocketAddrV4::new([127, 0, 0, 1].into(), 0));
    let entry = opcode::Bind::new(
        types::Fd(socket.as_raw_fd()),
        (&raw const name).cast(),
        size_of_val(&name) as libc::socklen_t,
    );
    complete(by, opcode::Bind::CODE, entry.build()).map(drop)
}

fn listen(by: &str) -> io::Result<()> {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    bind_by_call(&socket, &SocketAddrV4::new([127, 0, 0, 1].into(), 0))?;
    let entry = opcode::Listen::new(types::Fd(socket.as_raw_fd()), 1);
    complete(by, opcode::Listen::CODE, entry.build()).map(drop)
}

fn connect(by: &str, address: &SocketAddrV4) -> io::Result<()> {
    let stream = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    let name = name(address);
    let length = size_of_val(&name) as libc::socklen_t;
    let descriptor = types::Fd(stream.as_raw_fd());
    let entry = opcode::Connect::new(descriptor, (&raw const name).cast(), length);
    complete(by, opcode::Connect::CODE, entry.build()).map(drop)
}

fn send(by: &str, address: &SocketAddrV4) -> io::Result<()> {
    let socket = socket(AddressFamily::INET, SocketType::DGRAM, None)?;
    let mut name = name(address);
    let mut text = *b"text";
    let mut part = libc::iovec {
        iov_base: text.as_mut_ptr().cast(),
        iov_len: text.len(),
    };
    // SAFETY: all zero is a message with nothing in it.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_name = (&raw mut name).cast();
    message.msg_namelen = size_of_val(&name) as libc::socklen_t;
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    let entry = opcode::SendMsg::new(types::Fd(socket.as_raw_fd()), &raw const message);
    complete(by, opcode::SendMsg::CODE, entry.build()).map(drop)
}

/// An address as the kernel takes it.
fn name(address: &SocketAddrV4) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: address.port().to_be(),
        sin_addr: libc::in_addr {
            s_addr: u32::from(*address.ip()).to_be(),
        },
        sin_zero: [0; 8],
    }
}
