//! Fixed parts of process records.

/// Bytes of a terminal's name, NUL-padded (`tty_struct.name` is 64; real names are far shorter).
pub const TERMINAL_BYTES: usize = 16;

/// `process.exec`. Strings: executable, filename, interpreter, working directory, arguments,
/// environment.
///
/// Written at `sched_process_exec` for a program that runs (then all strings are there, the environment
/// if it was asked for), or at `security_bprm_check` for one that was refused (then only the first
/// three are).
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Exec {
    /// Inode of the executable; 0 when unknown.
    pub inode: u64,
    /// `cap_effective` of the thread that called execve, before it had the new program's; told when
    /// [`exec_flags::CAPABILITIES_BEFORE`] is set.
    pub capabilities_before: u64,
    /// Device of the executable's file system, kernel encoding (`MKDEV`: major << 20 | minor).
    pub device: u32,
    /// Number of hard links of the executable; 0 for a deleted one or a memfd.
    pub links: u32,
    /// `i_mode` of the executable.
    pub mode: u32,
    /// Bytes of the resolved path of the executable.
    pub executable_length: u16,
    /// Bytes of the path as it was given to execve (`bprm->filename`): a script's own path.
    pub filename_length: u16,
    /// Bytes of the working directory.
    pub working_directory_length: u16,
    /// Bytes of `argv`, NUL-separated.
    pub arguments_length: u16,
    /// Bytes of the path of a script's interpreter, as the script gives it (`bprm->interp`); 0 when
    /// the program is no script.
    pub interpreter_length: u16,
    /// Bytes of the environment, NUL-separated.
    pub environment_length: u16,
    /// As [`super::file::File::mount_namespace`], of the executable.
    pub mount_namespace: u32,
    /// As [`super::file::File::mount_id`].
    pub mount_id: u32,
    /// As [`super::file::File::path_above_root`].
    pub above_root: u16,
    /// As [`super::file::File::path_in_mount`].
    pub in_mount: u16,
    /// See [`exec_flags`].
    pub flags: u32,
    /// Controlling terminal, NUL-padded; empty when there is none.
    pub terminal: [u8; TERMINAL_BYTES],
}

/// Bits of [`Exec::flags`].
pub mod exec_flags {
    /// The path is not a name of the executable any more.
    pub const UNLINKED: u32 = 1 << 0;
    /// The executable is on overlayfs.
    pub const ON_OVERLAY: u32 = 1 << 1;
    /// It is in the upper layer there: it, or a change of it, came after the image.
    pub const IN_UPPER_LAYER: u32 = 1 << 2;
    /// The beginning of the executable's path is cut off.
    pub const EXECUTABLE_CUT: u32 = 1 << 3;
    /// The beginning of the working directory is cut off.
    pub const WORKING_DIRECTORY_CUT: u32 = 1 << 4;
    /// The end of the path given to execve is cut off.
    pub const FILENAME_CUT: u32 = 1 << 5;
    /// The end of the interpreter's path is cut off.
    pub const INTERPRETER_CUT: u32 = 1 << 6;
    /// The capabilities before are known.
    pub const CAPABILITIES_BEFORE: u32 = 1 << 7;
}

/// `process.fork`. Written in the context of the parent; the header describes the parent. No strings.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Fork {
    /// `start_boottime` of the child, nanoseconds.
    pub child_start_boottime: u64,
    /// `self_exec_id` of the child.
    pub child_exec_id: u32,
    /// Process id of the child in the initial pid namespace.
    pub child_tgid: u32,
    /// The namespaces that were made for it: [`NAMESPACES`] bits.
    pub namespaces: u32,
    /// Explicit padding, zero.
    pub reserved: u32,
}

/// The bits of `clone(2)`, `unshare(2)` and `setns(2)` that are about namespaces: `CLONE_NEWTIME`,
/// `CLONE_NEWNS`, `CLONE_NEWCGROUP`, `CLONE_NEWUTS`, `CLONE_NEWIPC`, `CLONE_NEWUSER`, `CLONE_NEWPID`,
/// `CLONE_NEWNET` of `include/uapi/linux/sched.h`.
pub const NAMESPACES: u32 = 0x7e02_0080;

/// `process.setns`, `process.unshare`. No strings.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Namespaces {
    /// [`NAMESPACES`] bits, and of unshare whatever else was asked for.
    pub flags: u32,
    /// Inode number of the namespace that is joined; 0 when unknown, and where those of a process are.
    pub joined: u32,
}

/// `process.exit`. No strings.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Exit {
    /// As `wait(2)` sees it: exit status << 8, or the signal that ended the process. -1: unknown.
    pub status: i32,
    /// Explicit padding, zero.
    pub reserved: u32,
}

/// `process.signal`. The header describes the sender. No strings.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Signal {
    /// `start_boottime` of the target process; 0 when unknown.
    pub target_start_boottime: u64,
    /// Process id of the target in the initial pid namespace; as the caller gave it (and possibly
    /// negative) with [`super::flags::PATH_IS_ARGUMENT`].
    pub target_tgid: i32,
    /// Signal number.
    pub signal: u32,
}

/// `process.ptrace`. The header describes the caller. No strings.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Ptrace {
    /// `start_boottime` of the target process; 0 when unknown.
    pub target_start_boottime: u64,
    /// Process id of the target in the initial pid namespace; as the caller gave it with
    /// [`super::flags::PATH_IS_ARGUMENT`].
    pub target_tgid: i32,
    /// `PTRACE_MODE_*` bits (`include/linux/ptrace.h`) of an access to the target; 0: the caller asks
    /// the target, its parent, to trace it (`PTRACE_TRACEME`).
    pub mode: u32,
}

/// Most supplementary groups carried; a process may have 65,536 (`NGROUPS_MAX` of
/// `include/uapi/linux/limits.h`), and people have a few dozen.
pub const GROUPS: usize = 64;

/// `process.setuid`, `process.setgid`. The header has the ids before. Strings: supplementary groups,
/// a u32 each.
///
/// All ids are those in the initial user namespace; as the caller gave them, in its own, with
/// [`super::flags::PATH_IS_ARGUMENT`]. `u32::MAX` is not known.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Setid {
    /// Real user or group afterwards.
    pub real: u32,
    /// Effective user or group afterwards.
    pub effective: u32,
    /// Saved user or group afterwards.
    pub saved: u32,
    /// User or group that files are accessed as afterwards.
    pub filesystem: u32,
    /// Number of supplementary groups afterwards; `u32::MAX` when they stay as they are. At most
    /// [`GROUPS`] of them are carried.
    pub groups: u32,
    /// Bytes of the supplementary groups.
    pub groups_length: u16,
    /// Explicit padding, zero.
    pub reserved: u16,
}

const _: () = assert!(size_of::<Setid>() == 24);

/// `process.rlimit`. The header describes the caller. No strings.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Rlimit {
    /// `start_boottime` of the process whose limit it is; 0 when unknown.
    pub target_start_boottime: u64,
    /// The limit in force afterwards, in the resource's unit; `u64::MAX` is none
    /// (`RLIM64_INFINITY`).
    pub soft: u64,
    /// What the process may raise it to.
    pub hard: u64,
    /// Process id of that process in the initial pid namespace; as the caller gave it with
    /// [`super::flags::PATH_IS_ARGUMENT`].
    pub target_tgid: i32,
    /// `RLIMIT_*` (`include/uapi/asm-generic/resource.h`).
    pub resource: u32,
}

/// `process.setscheduler`. The header describes the caller. No strings.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Setscheduler {
    /// `start_boottime` of the process whose thread it is; 0 when unknown.
    pub target_start_boottime: u64,
    /// Process id of that process in the initial pid namespace; what the caller gave, which may be a
    /// thread's, with [`super::flags::PATH_IS_ARGUMENT`].
    pub target_tgid: i32,
    /// One of [`scheduling`].
    pub call: u32,
    /// `SCHED_*` (`include/uapi/linux/sched.h`) without flags; `u32::MAX` where it stays.
    pub policy: u32,
    /// Real-time priority; -1 where it is not given.
    pub priority: i32,
}

/// Values of [`Setscheduler::call`].
pub mod scheduling {
    /// No call of these: the thread was moved into a cgroup that has CPUs of its own.
    pub const NONE: u32 = 0;
    /// `sched_setscheduler(2)`
    pub const SETSCHEDULER: u32 = 1;
    /// `sched_setparam(2)`
    pub const SETPARAM: u32 = 2;
    /// `sched_setattr(2)`
    pub const SETATTR: u32 = 3;
    /// `sched_setaffinity(2)`
    pub const SETAFFINITY: u32 = 4;
}

const _: () = {
    assert!(size_of::<Rlimit>() == 32);
    assert!(size_of::<Setscheduler>() == 24);
};

const _: () = {
    assert!(size_of::<Ptrace>() == 16);
    assert!(size_of::<Exec>() == 72);
    assert!(size_of::<Fork>() == 24);
    assert!(size_of::<Namespaces>() == 8);
    assert!(size_of::<Exit>() == 8);
    assert!(size_of::<Signal>() == 16);
};
