//! What is done with memory.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice};

use nix::sys::uio::{RemoteIoVec, process_vm_writev};
use nix::unistd::Pid;
use rustix::fs::{MemfdFlags, memfd_create};

use super::{Done, call, parsed, to_child};

const READ_WRITE: i32 = libc::PROT_READ | libc::PROT_WRITE;
const READ_EXECUTE: i32 = libc::PROT_READ | libc::PROT_EXEC;
const ALL: i32 = READ_WRITE | libc::PROT_EXEC;

/// See [`super::main`].
pub(super) fn act(words: &[&str]) -> Done {
    Some(match words {
        ["map"] => call::map(None, ALL).map(drop),
        ["map-file", path] => {
            File::open(path).and_then(|file| call::map(Some(&file), READ_EXECUTE).map(drop))
        }
        ["map-unreadable", path] => OpenOptions::new()
            .write(true)
            .open(path)
            .and_then(|file| call::map(Some(&file), READ_EXECUTE).map(drop)),
        ["protect"] => call::map(None, READ_WRITE)
            .and_then(|address| call::protect(address, call::PAGE, READ_EXECUTE)),
        ["protect-with-hole"] => call::map(None, READ_WRITE).and_then(|address| {
            call::unmap_second(address)?;
            call::protect(address, 2 * call::PAGE, READ_EXECUTE)
        }),
        ["protect-part", name] => {
            part("self", name).and_then(|address| call::protect(address, call::PAGE, ALL))
        }
        ["memfd", name, flags] => parsed(flags).and_then(|flags| {
            memfd_create(*name, MemfdFlags::from_bits_retain(flags))?;
            Ok(())
        }),
        ["write-to-child"] => to_child(|child| {
            let address = part(&child.id().to_string(), "[stack]")?;
            write_to(child.id(), address)
        }),
        ["write-to-process", pid] => parsed(pid).and_then(|pid| write_to(pid, call::PAGE)),
        ["write-to-nowhere"] => to_child(|child| write_to(child.id(), call::PAGE)),
        ["open-memory"] => to_child(|child| {
            let path = format!("/proc/{}/mem", child.id());
            OpenOptions::new().write(true).open(path).map(drop)
        }),
        _ => return None,
    })
}

/// Where the part of this name begins in a process's address space.
fn part(pid: &str, name: &str) -> io::Result<usize> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
    maps.lines()
        .find(|line| line.ends_with(name))
        .and_then(|line| usize::from_str_radix(line.split('-').next()?, 16).ok())
        .ok_or_else(|| io::Error::other(format!("no {name} in the address space")))
}

/// Writes one byte.
fn write_to(pid: u32, base: usize) -> io::Result<()> {
    let pid = Pid::from_raw(pid.cast_signed());
    process_vm_writev(pid, &[IoSlice::new(b"x")], &[RemoteIoVec { base, len: 1 }])?;
    Ok(())
}
