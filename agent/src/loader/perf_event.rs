//! Events of perf_event_open(2): what carries records where there are no rings, and what kprobes and the tracepoints
//! of system calls are attached to.
#![allow(unsafe_code)] // a system call on a struct from the kernel's headers

use std::ffi::CString;
use std::fs;
use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::Path;

use aya_obj::generated::perf_type_id::PERF_TYPE_TRACEPOINT;
use aya_obj::generated::{
    PERF_EVENT_IOC_ENABLE, PERF_EVENT_IOC_SET_BPF, PERF_FLAG_FD_CLOEXEC, perf_event_attr,
};

use super::attach::Attached;
use super::sys;

/// The number of the type of kprobes (Documentation/ABI/testing/sysfs-bus-event_source-devices, from 4.17).
const KPROBE_TYPE: &str = "/sys/bus/event_source/devices/kprobe/type";

/// Opens an event of all processes that are on this CPU.
///
/// # Errors
/// What the kernel says.
pub(super) fn open(mut attributes: perf_event_attr, cpu: u32) -> io::Result<OwnedFd> {
    const ALL_PROCESSES: libc::pid_t = -1;
    const NO_GROUP: libc::c_int = -1;
    attributes.size = size_of::<perf_event_attr>() as u32;
    // SAFETY: the attributes are whole and outlive the call; what they point to, see the callers.
    let event = unsafe {
        libc::syscall(
            libc::SYS_perf_event_open,
            &raw const attributes,
            ALL_PROCESSES,
            cpu as libc::c_int,
            NO_GROUP,
            libc::c_ulong::from(PERF_FLAG_FD_CLOEXEC),
        )
    };
    if event < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a non-negative result is a new descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(event as i32) })
}

/// Attaches a program to the entry of a kernel function, by a breakpoint.
///
/// # Errors
/// In one line.
pub(super) fn attach_kprobe(program: BorrowedFd<'_>, function: &str) -> Result<Attached, String> {
    let said = |error: io::Error| format!("no kprobe at {function}: {error}");
    let name = CString::new(function).map_err(|error| said(error.into()))?;
    let mut attributes = none();
    attributes.type_ = number(Path::new(KPROBE_TYPE)).map_err(said)?;
    attributes.__bindgen_anon_3.kprobe_func = name.as_ptr() as u64;
    attach(program, attributes).map_err(said)
}

/// Attaches a program to a tracepoint of the category `syscalls`.
///
/// # Errors
/// In one line.
pub(super) fn attach_syscall(program: BorrowedFd<'_>, name: &str) -> Result<Attached, String> {
    let said = |error: io::Error| format!("no tracepoint syscalls/{name}: {error}");
    let events = sys::syscall_events().ok_or("tracefs shows no system calls")?;
    let id = number(&events.join(name).join("id")).map_err(said)?;
    let mut attributes = none();
    attributes.type_ = PERF_TYPE_TRACEPOINT as u32;
    attributes.config = u64::from(id);
    attach(program, attributes).map_err(said)
}

fn attach(program: BorrowedFd<'_>, attributes: perf_event_attr) -> io::Result<Attached> {
    // What is attached to is not of a CPU: the program runs on all of them.
    let event = open(attributes, 0)?;
    if aya::features().bpf_perf_link() {
        return sys::attach_to_event(program, event.as_fd()).map(Attached::Link);
    }
    control(event.as_fd(), PERF_EVENT_IOC_SET_BPF, program.as_raw_fd())?;
    control(event.as_fd(), PERF_EVENT_IOC_ENABLE, 0)?;
    Ok(Attached::Event(event))
}

fn control(event: BorrowedFd<'_>, request: u32, argument: i32) -> io::Result<()> {
    // SAFETY: these requests take a number.
    let result = unsafe { libc::ioctl(event.as_raw_fd(), request as libc::Ioctl, argument) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// The attributes of no event.
pub(super) fn none() -> perf_event_attr {
    // SAFETY: all zeros is a valid `perf_event_attr`.
    unsafe { zeroed() }
}

fn number(path: &Path) -> io::Result<u32> {
    let text = fs::read_to_string(path)?;
    let number = text.trim().parse();
    number.map_err(|_| io::Error::other(format!("{} has no number", path.display())))
}
