//! Writing to the memory of another process: by `process_vm_writev(2)`, and by `/proc/PID/mem`.
//!
//! The first asks the security function that every look into another process asks. So its system call
//! is noted when it begins, and forgotten when it ends. The second is told of when the file is opened;
//! what is then written to it asks nobody.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::helpers::generated::bpf_probe_read_user;
use aya_ebpf::macros::tracepoint;
use aya_ebpf::programs::TracePointContext;
use holdfast_wire::Kind;
use holdfast_wire::record::flags;
use holdfast_wire::record::memory::{ProcessWrite, method};

use crate::attach::{Arguments, Via};
use crate::counter::{Count, count};
use crate::maps::{Piece, WRITES};
use crate::process::PTRACE_MODE_ATTACH;
use crate::run::Run;
use crate::syscall::field;
use crate::task::{embedded, pointer, process_start, read};
use crate::{hook, offset};

// int security_ptrace_access_check(struct task_struct *child, unsigned int mode)
hook!(memory_write_lsm memory_write_fmod memory_write_fentry memory_write_kprobe, "ptrace_access_check", "security_ptrace_access_check", access);
// int security_file_open(struct file *file)
hook!(memory_open_lsm memory_open_fmod memory_open_fentry memory_open_kprobe, "file_open", "security_file_open", open);

/// `sys_enter_process_vm_writev(pid, lvec, liovcnt, rvec, riovcnt, flags)`
#[tracepoint]
pub fn memory_write_begin(context: TracePointContext) -> u32 {
    let piece = first_piece(&context);
    if WRITES.insert(bpf_get_current_pid_tgid(), piece, 0).is_err() {
        count(Kind::MemoryProcessWrite, Count::Missed);
    }
    0
}

/// `sys_exit_process_vm_writev`
#[tracepoint]
pub fn memory_write_end(_context: TracePointContext) -> u32 {
    let _ = WRITES.remove(bpf_get_current_pid_tgid());
    0
}

/// The same call, where nothing else is to be had: the target is the caller's argument, in the caller's
/// pid namespace.
#[tracepoint]
pub fn memory_write_enter(context: TracePointContext) -> u32 {
    let piece = first_piece(&context);
    let written = ProcessWrite {
        target_start_boottime: 0,
        address: piece.address,
        size: piece.size,
        target_tgid: field(&context, 0) as i32,
        method: method::PROCESS_VM_WRITEV,
    };
    Run::tell_of_target(
        Kind::MemoryProcessWrite,
        Via::tracepoint(&context),
        flags::PATH_IS_ARGUMENT,
        None,
        written,
    );
    0
}

/// The first `struct iovec` of the other's memory.
#[inline(always)]
fn first_piece(context: &TracePointContext) -> Piece {
    let mut piece = Piece {
        address: 0,
        size: 0,
    };
    // SAFETY: the helper writes at most the struct; where it fails, zeros are what is known.
    unsafe {
        bpf_probe_read_user(
            (&raw mut piece).cast(),
            size_of::<Piece>() as u32,
            field(context, 3) as *const _,
        )
    };
    piece
}

#[inline(always)]
fn access(arguments: &impl Arguments, via: Via) -> i32 {
    if arguments.argument(1) as u32 & PTRACE_MODE_ATTACH == 0 {
        return 0;
    }
    // SAFETY: a value of this map is its thread's own.
    let Some(piece) = (unsafe { WRITES.get(bpf_get_current_pid_tgid()) }) else {
        return 0;
    };
    let target = arguments.argument(0);
    let written = ProcessWrite {
        target_start_boottime: process_start(target),
        address: piece.address,
        size: piece.size,
        target_tgid: read(target, offset!(task_tgid)),
        method: method::PROCESS_VM_WRITEV,
    };
    Run::tell_of_target(Kind::MemoryProcessWrite, via, 0, Some(target), written)
}

#[inline(always)]
fn open(arguments: &impl Arguments, via: Via) -> i32 {
    /// `include/linux/fs.h`
    const FMODE_WRITE: u32 = 2;
    /// `include/uapi/linux/magic.h`
    const PROC_SUPER_MAGIC: u64 = 0x9fa0;
    const NAME: &[u8; 3] = b"mem";
    let file = arguments.argument(0);
    if read::<u32>(file, offset!(file_mode)) & FMODE_WRITE == 0 {
        return 0;
    }
    let inode = pointer(file, offset!(file_inode));
    let superblock = pointer(inode, offset!(inode_super));
    if read::<u64>(superblock, offset!(super_magic)) != PROC_SUPER_MAGIC {
        return 0;
    }
    let path = embedded(file, offset!(file_path));
    let dentry = pointer(path, offset!(path_dentry));
    // `struct qstr`: hash and length, then the pointer to the name.
    let [hash_and_length, name]: [u64; 2] = read(dentry, offset!(dentry_name));
    if hash_and_length >> 32 != NAME.len() as u64 || read::<[u8; 3]>(name, 0) != *NAME {
        return 0;
    }
    // `PROC_I` of fs/proc/internal.h, and the thread whose directory it is (`get_pid_task`).
    let proc_inode = inode.wrapping_sub(u64::from(offset!(proc_inode_inode)));
    let pid = pointer(proc_inode, offset!(proc_inode_pid));
    let links = pointer(embedded(pid, offset!(pid_tasks)), 0);
    if pid == 0 || links == 0 {
        return 0;
    }
    let target = links.wrapping_sub(u64::from(offset!(task_pid_links)));
    let written = ProcessWrite {
        target_start_boottime: process_start(target),
        address: 0,
        size: 0,
        target_tgid: read(target, offset!(task_tgid)),
        method: method::PROC_MEM,
    };
    Run::tell_of_target(Kind::MemoryProcessWrite, via, 0, Some(target), written)
}
