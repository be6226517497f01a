//! System calls that no library has a function for.
#![allow(unsafe_code)] // raw system calls

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::mem::size_of_val;
use std::os::fd::{AsFd, AsRawFd as _, FromRawFd as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering};

fn done(result: libc::c_long) -> io::Result<()> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// `clone(2)` of a process with these flags beside its signal, which ends at once.
pub(super) fn clone_process(flags: libc::c_int) -> io::Result<()> {
    let flags = flags | libc::SIGCHLD;
    // SAFETY: as fork(2): without memory of its own to run on, the child has a copy of this one's. This
    // program has one thread, and the child does nothing but end.
    let child = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) };
    if child == 0 {
        // SAFETY: ends the process.
        unsafe { libc::_exit(0) };
    }
    done(child)?;
    // SAFETY: a child of this process; its status is not asked for.
    done(unsafe { libc::waitpid(child as libc::pid_t, std::ptr::null_mut(), 0) }.into())
}

/// `kexec_load(2)` of no segments: unloads what is loaded, which is nothing.
pub(super) fn kexec_load_nothing() -> io::Result<()> {
    // SAFETY: no pointer is read, since there are no segments.
    done(unsafe { libc::syscall(libc::SYS_kexec_load, 0, 0, 0, 0) })
}

/// `kexec_file_load(2)` without an initramfs or a command line.
pub(super) fn kexec_file_load(kernel: &File) -> io::Result<()> {
    const KEXEC_FILE_NO_INITRAMFS: libc::c_ulong = 4;
    // SAFETY: the command line is an empty string.
    done(unsafe {
        libc::syscall(
            libc::SYS_kexec_file_load,
            kernel.as_raw_fd(),
            -1,
            1,
            c"".as_ptr(),
            KEXEC_FILE_NO_INITRAMFS,
        )
    })
}

/// The type of socket filters, of `enum bpf_prog_type`.
pub(super) const BPF_PROG_TYPE_SOCKET_FILTER: u32 = 1;

/// `bpf(2)`: loads a program of this type, called `deed`, that returns 0: as a filter it lets nothing
/// through.
pub(super) fn load_program(program_type: u32) -> io::Result<()> {
    const BPF_PROG_LOAD: libc::c_int = 5;
    // r0 = 0; exit
    let instructions: [u64; 2] = [0xb7, 0x95];
    let license = c"GPL";
    // `union bpf_attr`: program type, number of instructions, both pointers, the log (none), the kernel
    // version, flags, the name, an interface and the attach type.
    let mut attributes = [0u64; 9];
    attributes[0] = u64::from(program_type) | 2 << 32;
    attributes[1] = instructions.as_ptr() as u64;
    attributes[2] = license.as_ptr() as u64;
    attributes[6] = u64::from_ne_bytes(*b"deed\0\0\0\0");
    // SAFETY: the attributes are those of the command, and what they point to outlives the call.
    done(unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_PROG_LOAD,
            attributes.as_ptr(),
            size_of_val(&attributes),
        )
    })
}

/// `bpf(2)`: a descriptor of the map of this number, whoever made it.
pub(super) fn map_by_number(number: u32) -> io::Result<()> {
    const BPF_MAP_GET_FD_BY_ID: libc::c_int = 14;
    // `union bpf_attr`: the number, the next one, and flags for the descriptor.
    let attributes = [number, 0, 0];
    // SAFETY: the attributes are those of the command. What is opened lasts as long as this process.
    done(unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_MAP_GET_FD_BY_ID,
            attributes.as_ptr(),
            size_of_val(&attributes),
        )
    })
}

/// `PERF_TYPE_SOFTWARE` of `include/uapi/linux/perf_event.h`.
pub(super) const PERF_TYPE_SOFTWARE: u64 = 1;

/// `perf_event_open(2)`: the first counter of this type, of this process; among software's a clock.
pub(super) fn perf_event_open(counter_type: u64) -> io::Result<()> {
    // `struct perf_event_attr` in its first version: type and size, the counter, and nothing else.
    let mut attributes = [0u64; 8];
    attributes[0] = counter_type | (size_of_val(&attributes) as u64) << 32;
    // SAFETY: the attributes have the size that they say.
    done(unsafe { libc::syscall(libc::SYS_perf_event_open, attributes.as_ptr(), 0, -1, -1, 0) })
}

/// Where a shared memory segment is to be mapped.
pub(super) enum Where {
    /// Where there is room.
    Anywhere,
    /// Where something else is mapped already.
    Occupied,
}

/// `shmget(2)` of a new segment of one page, `shmat(2)` of it, and its removal.
pub(super) fn share_memory(key: i32, place: &Where) -> io::Result<()> {
    // SAFETY: no memory is given.
    let id = unsafe { libc::shmget(key, PAGE, libc::IPC_CREAT | libc::IPC_EXCL | 0o600) };
    done(id.into())?;
    let page = match place {
        Where::Anywhere => std::ptr::null(),
        // This program's own code, which is there and is not replaced without SHM_REMAP.
        Where::Occupied => (share_memory as *const libc::c_void).map_addr(|at| at & !(PAGE - 1)),
    };
    // SAFETY: the segment is mapped where nothing is, or not at all.
    let mapped = unsafe { libc::shmat(id, page, libc::SHM_RDONLY) };
    let result = done(mapped.addr().cast_signed() as libc::c_long);
    // SAFETY: it goes when this process ends.
    done(unsafe { libc::shmctl(id, libc::IPC_RMID, std::ptr::null_mut()) }.into())?;
    result
}

/// `mq_open(2)` of the queue with this name, as the kernel wants it: without a slash.
pub(super) fn open_queue(name: &CStr, flags: libc::c_int) -> io::Result<()> {
    // SAFETY: the name is a string, and no attributes are given.
    done(unsafe { libc::syscall(libc::SYS_mq_open, name.as_ptr(), flags, 0o600, 0) })
}

/// `mq_unlink(2)`
pub(super) fn remove_queue(name: &CStr) -> io::Result<()> {
    // SAFETY: the name is a string.
    done(unsafe { libc::syscall(libc::SYS_mq_unlink, name.as_ptr()) })
}

/// Bytes of a page, as on x86-64; of a larger one this is a part.
pub(super) const PAGE: usize = 4096;

/// `mmap(2)`: two pages that are never unmapped, of a file or of none; where they begin.
pub(super) fn map(file: Option<&File>, protection: libc::c_int) -> io::Result<usize> {
    let (flags, descriptor) = match file {
        Some(file) => (libc::MAP_PRIVATE, file.as_raw_fd()),
        None => (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1),
    };
    // SAFETY: new memory, at a place that the kernel chooses, which nothing else refers to.
    let address = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            2 * PAGE,
            protection,
            flags,
            descriptor,
            0,
        )
    };
    if address == libc::MAP_FAILED {
        Err(io::Error::last_os_error())
    } else {
        Ok(address as usize)
    }
}

/// `munmap(2)` of the second of the pages that [`map`] gave.
pub(super) fn unmap_second(address: usize) -> io::Result<()> {
    // SAFETY: memory that nothing refers to.
    done(unsafe { libc::munmap((address + PAGE) as *mut libc::c_void, PAGE) }.into())
}

/// `mprotect(2)`
pub(super) fn protect(address: usize, bytes: usize, protection: libc::c_int) -> io::Result<()> {
    // SAFETY: memory of this process keeps the right to be read, and where something refers to it that
    // writes, to be written too: see the callers.
    done(unsafe { libc::mprotect(address as *mut libc::c_void, bytes, protection) }.into())
}

/// `sched_setscheduler(2)` of this process.
pub(super) fn sched_setscheduler(policy: libc::c_int, priority: libc::c_int) -> io::Result<()> {
    let parameters = libc::sched_param {
        sched_priority: priority,
    };
    // SAFETY: the parameters are read and not kept.
    done(unsafe { libc::sched_setscheduler(0, policy, &raw const parameters) }.into())
}

/// `open_by_handle_at(2)` of the file with this path, by no path.
pub(super) fn open_by_handle(path: &Path) -> io::Result<File> {
    /// `MAX_HANDLE_SZ` of `include/linux/exportfs.h`.
    const MOST: usize = 128;
    #[repr(C, align(8))]
    struct Handle {
        head: [u32; 2],
        bytes: [u8; MOST],
    }
    let mut handle = Handle {
        head: [MOST as u32, 0],
        bytes: [0; MOST],
    };
    let name = CString::new(path.as_os_str().as_bytes())?;
    let mut mount = 0;
    let at = (&raw mut handle).cast::<libc::file_handle>();
    // SAFETY: a `struct file_handle` with room for as many bytes as it says.
    let named =
        unsafe { libc::name_to_handle_at(libc::AT_FDCWD, name.as_ptr(), at, &raw mut mount, 0) };
    done(named.into())?;
    // Any descriptor of the same file system will do.
    let beside = File::open(path.parent().unwrap_or(path))?;
    // SAFETY: as the kernel has written it.
    let descriptor = unsafe {
        libc::open_by_handle_at(beside.as_raw_fd(), at, libc::O_RDONLY | libc::O_CLOEXEC)
    };
    done(descriptor.into())?;
    // SAFETY: the kernel has just made it for this process.
    Ok(unsafe { File::from_raw_fd(descriptor) })
}

/// What a system call is given, while another thread changes it.
pub(super) struct Changing(Vec<AtomicU8>);

impl Changing {
    /// With these bytes at first.
    pub(super) fn new(bytes: &[u8]) -> Self {
        Self(bytes.iter().copied().map(AtomicU8::new).collect())
    }

    /// Replaces the first of its bytes.
    pub(super) fn write(&self, bytes: &[u8]) {
        for (at, byte) in self.0.iter().zip(bytes) {
            at.store(*byte, Ordering::Relaxed);
        }
    }

    /// `open(2)` of what it says as a path, which ends with a NUL.
    pub(super) fn open(&self) -> io::Result<File> {
        let terminated = self
            .0
            .last()
            .is_some_and(|last| last.load(Ordering::Relaxed) == 0);
        assert!(terminated, "a path ends with a NUL");
        // SAFETY: it ends with a NUL, since nobody writes beyond it.
        let descriptor = unsafe { libc::open(self.0.as_ptr().cast(), libc::O_RDONLY) };
        done(descriptor.into())?;
        // SAFETY: the kernel has just made it for this process.
        Ok(unsafe { File::from_raw_fd(descriptor) })
    }

    /// `connect(2)` to what it says as an address.
    pub(super) fn connect(&self, socket: &impl AsFd) -> io::Result<()> {
        let socket = socket.as_fd().as_raw_fd();
        let length = self.0.len() as libc::socklen_t;
        // SAFETY: the address has this length.
        done(unsafe { libc::connect(socket, self.0.as_ptr().cast(), length) }.into())
    }
}
