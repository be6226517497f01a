//! Life and death of processes, and signals between them.

use aya_ebpf::EbpfContext;
use aya_ebpf::helpers::generated::{
    bpf_probe_read_kernel, bpf_probe_read_kernel_str, bpf_probe_read_user,
};
use aya_ebpf::macros::{raw_tracepoint, tracepoint};
use aya_ebpf::programs::{RawTracePointContext, TracePointContext};
use holdfast_policy::table::Dimension;
use holdfast_wire::Kind;
use holdfast_wire::layout::ABSENT;
use holdfast_wire::record::process::{
    Exec, Exit, Fork, NAMESPACES, Ptrace, Signal, TERMINAL_BYTES, exec_flags,
};
use holdfast_wire::record::{ARGUMENT_BYTES, ENVIRONMENT_BYTES, flags};

use crate::attach::{Arguments, Via};
use crate::bound::mask;
use crate::emit::Emitter;
use crate::maps::{ENVIRONMENT, EXECS, SCRATCH, constant};
use crate::path::{Path, is_unlinked};
use crate::run::Run;
use crate::scratch::{Place, Use};
use crate::syscall::field;
use crate::task::{current, current_tgid, embedded, own, own_behind, pointer, process_start, read};
use crate::{hook, lineage, offset};

mod credentials;
mod namespace;
mod resource;

// int security_bprm_check(struct linux_binprm *bprm)
hook!(@refuse process_exec_lsm process_exec_fmod, "bprm_check_security", "security_bprm_check", check_exec);
// void security_bprm_committing_creds(struct linux_binprm *bprm), still in 6.1
// void security_bprm_committing_creds(const struct linux_binprm *bprm)
hook!(@watch process_creds_fentry process_creds_kprobe, "security_bprm_committing_creds", note_capabilities);
// int security_task_kill(struct task_struct *p, struct kernel_siginfo *info, int sig, const struct cred *cred)
hook!(process_signal_lsm process_signal_fmod process_signal_fentry process_signal_kprobe, "task_kill", "security_task_kill", signal);
// int security_ptrace_access_check(struct task_struct *child, unsigned int mode)
hook!(process_ptrace_lsm process_ptrace_fmod process_ptrace_fentry process_ptrace_kprobe, "ptrace_access_check", "security_ptrace_access_check", ptrace);
// int security_ptrace_traceme(struct task_struct *parent)
hook!(process_traceme_lsm process_traceme_fmod process_traceme_fentry process_traceme_kprobe, "ptrace_traceme", "security_ptrace_traceme", traceme);

#[inline(always)]
fn raw_argument(context: &RawTracePointContext, n: usize) -> u64 {
    // SAFETY: the verifier checks `n` against the most arguments that a raw tracepoint has.
    unsafe { context.as_ptr().cast::<u64>().add(n).read() }
}

/// Refuses an exec before it happens. What is not refused is recorded, and judged again with all its
/// facts, at `sched_process_exec`. For a script it runs for the script and for its interpreter.
#[inline(always)]
fn check_exec(arguments: &impl Arguments, via: Via) -> i32 {
    let Some(run) = Run::begin(Kind::ProcessExec, via) else {
        return 0;
    };
    if run.candidates().none() {
        run.abandon();
        return 0;
    }
    let bprm = arguments.argument(0);
    exec(run, bprm, true)
}

/// What an exec gains can be told only by what there was before, and at `sched_process_exec` that is gone.
/// Here the other threads are dead and the new credentials are not in force.
#[inline(always)]
fn note_capabilities(_: &impl Arguments, _: Via) {
    let effective: u64 = own_behind(offset!(task_cred), offset!(cred_cap_effective));
    let _ = EXECS.insert(current_tgid(), effective, 0);
}

/// `sched_process_exec(struct task_struct *p, pid_t old_pid, struct linux_binprm *bprm)`: the new
/// program is in place and has not run yet.
// void sched_process_exec(struct task_struct *p, pid_t old_pid, struct linux_binprm *bprm)
#[raw_tracepoint(tracepoint = "sched_process_exec")]
pub fn process_exec(context: RawTracePointContext) -> i32 {
    // Whatever becomes of this run, what was known of the program before is not so any more.
    lineage::forget_class();
    if let Some(run) = Run::begin(Kind::ProcessExec, Via::tracepoint(&context)) {
        exec(run, raw_argument(&context, 2), false);
    }
    0
}

#[inline(always)]
fn exec(mut run: Run, bprm: u64, only_if_refused: bool) -> i32 {
    let file = pointer(bprm, offset!(bprm_file));
    let path = Path::of_file(run.claimed.path(Use::Path), file);
    run.narrow_by_path(Dimension::Path, &path);
    if !only_if_refused {
        lineage::note_class(&run);
    }
    // What rules call `process.executable` is the new program here.
    let decided = run.decide_by_others();
    if only_if_refused && !decided.prevents() {
        run.abandon();
        return 0;
    }
    run.settle(
        decided,
        #[inline(always)]
        |_, run| {
            let refused = u32::from(only_if_refused);
            describe_exec(run.claimed.index(), bprm, refused);
        },
    )
}

/// Adds to the record of a slot what an exec has besides its header. A global function: the verifier goes through
/// it once, and not for each way that leads here.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn describe_exec(index: u32, bprm: u64, only_if_refused: u32) -> u64 {
    let Some(slot) = SCRATCH.get_ptr_mut(index) else {
        return 0;
    };
    let record = &mut Emitter::of(slot);
    let path = Path::walked(Place::of(slot, index, Use::Path));
    let task = current();
    let fixed = record.fixed::<Exec>();
    // Each fact goes straight into the record: the stack has no room to keep it.
    macro_rules! put {
        ($($field:ident: $value:expr;)*) => {$({
            let value = $value;
            // SAFETY: the fixed part of this record's buffer.
            unsafe { (&raw mut (*fixed).$field).write_volatile(value) };
        })*};
    }
    put! {
        capabilities_before: 0;
        flags: path.truncated() as u32 * exec_flags::EXECUTABLE_CUT;
        executable_length: record.path(&path);
    }
    // SAFETY: as above.
    let all_flags = unsafe { &raw mut (*fixed).flags };
    let add_flags = move |flags: u32| {
        // SAFETY: as above.
        unsafe { all_flags.write_volatile(all_flags.read_volatile() | flags) };
    };

    let filename: u64 = record.read(bprm, offset!(bprm_filename));
    let (length, cut) = kernel_string::<FILENAME_BYTES>(record, filename);
    put!(filename_length: length;);
    add_flags(cut * exec_flags::FILENAME_CUT);
    // `bprm_change_interp` gives it a string of its own for a script; else it is the same.
    let interpreter: u64 = record.read(bprm, offset!(bprm_interp));
    put!(interpreter_length: 0;);
    if interpreter != filename {
        let (length, cut) = kernel_string::<INTERPRETER_BYTES>(record, interpreter);
        put!(interpreter_length: length;);
        add_flags(cut * exec_flags::INTERPRETER_CUT);
    }

    put! {
        working_directory_length: 0;
        arguments_length: 0;
        environment_length: 0;
    }
    if only_if_refused == 0 {
        let fs = record.read(task, offset!(task_fs));
        let pwd = embedded(fs, offset!(fs_pwd));
        let directory = Path::of(Place::of(slot, index, Use::WorkingDirectory), pwd);
        put!(working_directory_length: record.path(&directory););
        add_flags(directory.truncated() as u32 * exec_flags::WORKING_DIRECTORY_CUT);

        let mm: u64 = record.read(task, offset!(task_mm));
        let start = record.read(mm, offset!(mm_arg_start));
        let end = record.read(mm, offset!(mm_arg_end));
        put!(arguments_length: user_block(record, start, end, flags::ARGUMENTS_TRUNCATED););
        if constant(&raw const ENVIRONMENT) != 0 {
            let start = record.read(mm, offset!(mm_env_start));
            let end = record.read(mm, offset!(mm_env_end));
            put!(environment_length: user_block(record, start, end, flags::ENVIRONMENT_TRUNCATED););
        }
    }

    let file: u64 = record.read(bprm, offset!(bprm_file));
    let inode: u64 = record.read(file, offset!(file_inode));
    let superblock: u64 = record.read(inode, offset!(inode_super));
    let signal: u64 = record.read(task, offset!(task_signal));
    let tty: u64 = record.read(signal, offset!(signal_tty));
    let dentry: u64 = record.read(embedded(file, offset!(file_path)), offset!(path_dentry));
    let (mount_namespace, mount_id) = path.mount();
    put! {
        inode: record.read(inode, offset!(inode_number));
        device: record.read(superblock, offset!(super_dev));
        links: record.read(inode, offset!(inode_links));
        mode: u32::from(record.read::<u16>(inode, offset!(inode_mode)));
        mount_namespace: mount_namespace;
        mount_id: mount_id;
        above_root: path.above_root();
        in_mount: path.in_mount();
        terminal: [0; TERMINAL_BYTES];
    }
    add_flags(is_unlinked(dentry) as u32 * exec_flags::UNLINKED);
    add_flags(overlay_flags(record, inode, superblock));
    if offset!(tty_name) != ABSENT {
        // SAFETY: as above, of which no more is written.
        unsafe {
            let to = (&raw mut (*fixed).terminal).cast();
            let name = embedded(tty, offset!(tty_name)) as *const _;
            bpf_probe_read_kernel(to, TERMINAL_BYTES as u32, name);
        }
    }
    if only_if_refused == 0 {
        // SAFETY: a lookup by value, which only this process writes.
        if let Some(before) = unsafe { EXECS.get(current_tgid()) } {
            put!(capabilities_before: *before;);
            add_flags(exec_flags::CAPABILITIES_BEFORE);
        }
        let _ = EXECS.remove(current_tgid());
    }
    0
}

/// Bytes of `bprm->filename` carried, NUL included. It is `process.executable` in another spelling,
/// except for scripts; half of `PATH_MAX` lets all strings of an exec fit a record.
const FILENAME_BYTES: u32 = 2048;
/// Bytes of `bprm->interp` carried, NUL included: four times what the first line of a script can
/// name (`BINPRM_BUF_SIZE`). Only binfmt_misc can have longer ones.
const INTERPRETER_BYTES: u32 = 1024;

/// Appends a string of the kernel, of which a power of two of bytes is carried, the NUL included: its
/// length, and 1 when it is cut, else 0. One that fits to the byte counts as cut.
#[inline(always)]
fn kernel_string<const BYTES: u32>(record: &mut Emitter, string: u64) -> (u16, u32) {
    // SAFETY: the record has room for a string of this size behind any offset.
    let read_bytes =
        unsafe { bpf_probe_read_kernel_str(record.tail().cast(), BYTES, string as *const _) };
    // Without its NUL; an error is negative.
    let read_bytes = read_bytes.max(1) as u64;
    let length = mask::<4095>(read_bytes - 1);
    record.advance(length);
    (
        length as u16,
        (read_bytes >> BYTES.trailing_zeros() & 1) as u32,
    )
}

/// Appends what the process has between two of its addresses, as much of it as is carried; sets `cut`
/// when that is not all.
#[inline(always)]
fn user_block(record: &mut Emitter, start: u64, end: u64, cut: u32) -> u16 {
    let between = end.saturating_sub(start);
    if between > BLOCK_MASK as u64 {
        record.set_flags(cut);
    }
    let length = mask::<BLOCK_MASK>(record.in_memory(between.min(BLOCK_MASK as u64)));
    // SAFETY: the record has room for a string of this size behind any offset.
    let failed =
        unsafe { bpf_probe_read_user(record.tail().cast(), length as u32, start as *const _) };
    if failed == 0 {
        record.advance(length);
        length as u16
    } else {
        record.set_flags(flags::PART_UNREADABLE);
        0
    }
}

const BLOCK_MASK: i32 = ARGUMENT_BYTES as i32 - 1;
const _: () = assert!(ARGUMENT_BYTES == ENVIRONMENT_BYTES);

/// `OVERLAYFS_SUPER_MAGIC` of `include/uapi/linux/magic.h`
const OVERLAYFS_SUPER_MAGIC: u64 = 0x794c_7630;

/// Whether a file is on overlayfs, and in its upper layer. `struct ovl_inode` (`fs/overlayfs/ovl_entry.h`)
/// is a module's and not in the kernel's BTF; but since 4.13 its `__upperdentry` stands right behind
/// the `struct inode` that it embeds.
#[inline(always)]
fn overlay_flags(record: &mut Emitter, inode: u64, superblock: u64) -> u32 {
    let magic: u64 = record.read(superblock, offset!(super_magic));
    if magic != OVERLAYFS_SUPER_MAGIC || offset!(inode_end) == ABSENT {
        return 0;
    }
    let upper: u64 = record.read(inode, offset!(inode_end));
    exec_flags::ON_OVERLAY | (u32::from(upper != 0) * exec_flags::IN_UPPER_LAYER)
}

/// The end of `copy_process`, in the parent; for processes only. `sched_process_fork`, right behind it,
/// does not know the flags.
// void task_newtask(struct task_struct *task, unsigned long clone_flags), before 6.17
// void task_newtask(struct task_struct *task, u64 clone_flags)
#[raw_tracepoint(tracepoint = "task_newtask")]
pub fn process_fork(context: RawTracePointContext) -> i32 {
    let (child, clone_flags) = (raw_argument(&context, 0), raw_argument(&context, 1));
    let tgid: u32 = read(child, offset!(task_tgid));
    if tgid != read::<u32>(child, offset!(task_pid)) {
        return 0;
    }
    let run = Run::begin(Kind::ProcessFork, Via::tracepoint(&context));
    if let Some(run) = &run {
        lineage::know_class(run);
    }
    lineage::inherit(tgid, read(child, offset!(task_start_boottime)));
    let Some(mut run) = run else {
        return 0;
    };
    let decided = run.decide();
    run.settle(
        decided,
        #[inline(always)]
        |record, _| {
            let fixed = record.fixed::<Fork>();
            // SAFETY: the fixed part of this record's buffer.
            unsafe {
                fixed.write(Fork {
                    child_start_boottime: read(child, offset!(task_start_boottime)),
                    child_exec_id: read(child, offset!(task_self_exec_id)),
                    child_tgid: tgid,
                    namespaces: clone_flags as u32 & NAMESPACES,
                    reserved: 0,
                });
            }
        },
    );
    0
}

/// `sched_process_exit(struct task_struct *p)`, for the last thread of a process. Without offsets the
/// thread group leader stands for it.
// void sched_process_exit(struct task_struct *p), before 6.16
// void sched_process_exit(struct task_struct *p, bool group_dead), since 6.16
#[raw_tracepoint(tracepoint = "sched_process_exit")]
pub fn process_exit(context: RawTracePointContext) -> i32 {
    let signal = pointer(current(), offset!(task_signal));
    let is_last = if offset!(signal_live) == ABSENT {
        let pid_tgid = aya_ebpf::helpers::bpf_get_current_pid_tgid();
        pid_tgid as u32 == (pid_tgid >> 32) as u32
    } else {
        // `do_exit` has counted this thread off before the tracepoint.
        read::<u32>(signal, offset!(signal_live)) == 0
    };
    if !is_last {
        return 0;
    }
    let Some(mut run) = Run::begin(Kind::ProcessExit, Via::tracepoint(&context)) else {
        return 0;
    };
    let decided = run.decide();
    run.settle(
        decided,
        #[inline(always)]
        |record, _| {
            // What wait(2) reports: the group's code if one was set, else the leader's.
            let group: i32 = read(signal, offset!(signal_group_exit_code));
            let status = if offset!(task_exit_code) == ABSENT {
                -1
            } else if group != 0 {
                group
            } else {
                own_behind(offset!(task_group_leader), offset!(task_exit_code))
            };
            // SAFETY: the fixed part of this record's buffer.
            unsafe {
                record.fixed::<Exit>().write(Exit {
                    status,
                    reserved: 0,
                })
            };
        },
    );
    0
}

#[inline(always)]
fn signal(arguments: &impl Arguments, via: Via) -> i32 {
    let number = arguments.argument(2) as u32;
    // Signal 0 only asks whether the process is there.
    if number == 0 {
        return 0;
    }
    let target = arguments.argument(0);
    let fixed = Signal {
        target_start_boottime: process_start(target),
        target_tgid: read(target, offset!(task_tgid)),
        signal: number,
    };
    Run::tell_of_target(Kind::ProcessSignal, via, 0, Some(target), fixed)
}

/// The tracepoint tier: the target is the caller's argument, in the caller's pid namespace.
#[inline(always)]
fn signal_argument(context: &TracePointContext, target: usize, number: usize) -> u32 {
    let number = field(context, number) as u32;
    if number == 0 {
        return 0;
    }
    let fixed = Signal {
        target_start_boottime: 0,
        target_tgid: field(context, target) as i32,
        signal: number,
    };
    let via = Via::tracepoint(context);
    let record_flags = flags::PATH_IS_ARGUMENT;
    Run::tell_of_target(Kind::ProcessSignal, via, record_flags, None, fixed);
    0
}

/// `sys_enter_kill(pid, sig)` and `sys_enter_tkill(pid, sig)`
#[tracepoint]
pub fn process_kill_enter(context: TracePointContext) -> u32 {
    signal_argument(&context, 0, 1)
}

/// `sys_enter_tgkill(tgid, pid, sig)`
#[tracepoint]
pub fn process_tgkill_enter(context: TracePointContext) -> u32 {
    signal_argument(&context, 0, 2)
}

/// `PTRACE_MODE_ATTACH` of `include/linux/ptrace.h`. The other accesses only read facts, as every
/// look into another's `/proc` directory does.
pub const PTRACE_MODE_ATTACH: u32 = 2;

#[inline(always)]
fn ptrace(arguments: &impl Arguments, via: Via) -> i32 {
    let mode = arguments.argument(1) as u32;
    if mode & PTRACE_MODE_ATTACH == 0 {
        return 0;
    }
    trace(arguments.argument(0), mode, via)
}

#[inline(always)]
fn traceme(arguments: &impl Arguments, via: Via) -> i32 {
    trace(arguments.argument(0), 0, via)
}

#[inline(always)]
fn trace(target: u64, mode: u32, via: Via) -> i32 {
    let fixed = Ptrace {
        target_start_boottime: process_start(target),
        target_tgid: read(target, offset!(task_tgid)),
        mode,
    };
    Run::tell_of_target(Kind::ProcessPtrace, via, 0, Some(target), fixed)
}

/// `sys_enter_ptrace(request, pid, addr, data)`: the target is the caller's argument, in the caller's
/// pid namespace.
// Out of line it would have a name with a digest of where it was built.
#[tracepoint]
#[inline(always)]
pub fn process_ptrace_enter(context: TracePointContext) -> u32 {
    // `include/uapi/linux/ptrace.h`
    const PTRACE_TRACEME: u64 = 0;
    const PTRACE_ATTACH: u64 = 16;
    const PTRACE_SEIZE: u64 = 0x4206;
    let target = match field(&context, 0) {
        PTRACE_TRACEME => {
            let parent = own(offset!(task_real_parent));
            trace(parent, 0, Via::tracepoint(&context));
            return 0;
        }
        PTRACE_ATTACH | PTRACE_SEIZE => field(&context, 1) as i32,
        _ => return 0,
    };
    let fixed = Ptrace {
        target_start_boottime: 0,
        target_tgid: target,
        mode: PTRACE_MODE_ATTACH,
    };
    let via = Via::tracepoint(&context);
    let record_flags = flags::PATH_IS_ARGUMENT;
    Run::tell_of_target(Kind::ProcessPtrace, via, record_flags, None, fixed);
    0
}
