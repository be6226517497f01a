//! What the kernel programs write into the rings, and the sensor itself beside them.
//!
//! A record is a [`Header`], then the fixed part of its kind (see [`process`], [`file`], [`network`],
//! [`memory`], [`capability`] and [`container`]), then that part's byte strings, one after the other, as long as their
//! lengths say.
//! All integers are in the byte order of the machine; addresses and ports are in network order where
//! it says so. There is no implicit padding anywhere: every byte that leaves the kernel was written.

pub mod capability;
pub mod container;
pub mod file;
pub mod ipc;
pub mod memory;
pub mod network;
pub mod process;

/// Longest path carried, in bytes: the kernel's `PATH_MAX` (`include/uapi/linux/limits.h`) with its NUL.
pub const PATH_BYTES: usize = 4096;
/// For how much of a path is above the process's root: the way to the root of the path's mount
/// namespace does not lead by it, or is not known.
pub const NOT_MET: u16 = u16::MAX;
/// Most bytes of `argv` carried; the rest is cut and [`flags::ARGUMENTS_TRUNCATED`] set.
pub const ARGUMENT_BYTES: usize = 4096;
/// Most bytes of the environment carried; the rest is cut and [`flags::ENVIRONMENT_TRUNCATED`] set.
pub const ENVIRONMENT_BYTES: usize = 4096;
/// `TASK_COMM_LEN` of `include/linux/sched.h`.
pub const COMM_BYTES: usize = 16;

/// Bits of [`Header::flags`].
pub mod flags {
    /// `path` (or `target`) is cut: the walk to the root did not end within the bound.
    pub const PATH_TRUNCATED: u32 = 1 << 0;
    /// `argv` is cut at [`super::ARGUMENT_BYTES`].
    pub const ARGUMENTS_TRUNCATED: u32 = 1 << 1;
    /// The path is the caller's argument, read at syscall entry: relative to its directory, not
    /// resolved, and the caller can change it after it was read.
    pub const PATH_IS_ARGUMENT: u32 = 1 << 2;
    /// Process fields beyond what BPF helpers give are absent: the kernel's struct offsets are unknown.
    pub const NO_TASK_FIELDS: u32 = 1 << 3;
    /// A rule may match that the kernel programs cannot decide: user space has to, and may kill.
    pub const UNDECIDED: u32 = 1 << 4;
    /// The verdict was acted upon by refusing the operation.
    pub const REFUSED: u32 = 1 << 5;
    /// The verdict was acted upon by SIGKILL from the kernel program.
    pub const SIGNALLED: u32 = 1 << 6;
    /// SIGKILL was due, but the process is on the never-kill list.
    pub const SPARED: u32 = 1 << 7;
    /// A DNS message is cut at [`super::network::MESSAGE_BYTES`].
    pub const MESSAGE_TRUNCATED: u32 = 1 << 13;
    /// The path is one that the file has: joined with a mount of its file system that need not be the one
    /// which the caller used.
    pub const PATH_OF_FILE_SYSTEM: u32 = 1 << 12;
    /// A part could not be read (a page was not present, a pointer was bad); its length is zero.
    pub const PART_UNREADABLE: u32 = 1 << 8;
    /// A subscription asks for this event, whatever the rules say.
    pub const REPORTED: u32 = 1 << 9;
    /// The environment is cut at [`super::ENVIRONMENT_BYTES`].
    pub const ENVIRONMENT_TRUNCATED: u32 = 1 << 10;
}

/// [`Header::rule`] of a record that no rule decided in the kernel.
pub const NO_RULE: u16 = u16::MAX;

/// [`Header::cpu`] of a record that the sensor itself wrote.
pub const NO_CPU: u16 = u16::MAX;

/// What every record begins with.
///
/// The identity of a process is (`tgid`, `start_boottime`); the identity of the program image that
/// it runs is that and `exec_id` (`task_struct.self_exec_id`).
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Header {
    /// [`crate::ABI_VERSION`] of the writer.
    pub version: u16,
    /// Number of a [`crate::Kind`].
    pub kind: u16,
    /// Bytes of the whole record, this header included.
    pub length: u32,
    /// Strictly increasing per CPU and writer slot; unique per CPU within a boot of the programs.
    pub sequence: u64,
    /// `CLOCK_BOOTTIME` in nanoseconds at which the program ran.
    pub boottime: u64,
    /// `task->group_leader->start_boottime`, nanoseconds; 0 with [`flags::NO_TASK_FIELDS`], and where it
    /// is the newest process with this id that is meant, and the program that it runs now.
    pub start_boottime: u64,
    /// `bpf_get_current_cgroup_id()`: the cgroup v2 (unified hierarchy) kernfs id.
    pub cgroup_id: u64,
    /// `cred->cap_effective` as a bit set.
    pub effective_capabilities: u64,
    /// `task->self_exec_id`, low 32 bits. In tier `fanotify` the kernel does not say it: there it is a
    /// number of the sensor's own, greater for a later program and the same for forks of one.
    pub exec_id: u32,
    /// Process id in the initial pid namespace.
    pub tgid: u32,
    /// Thread id in the initial pid namespace.
    pub tid: u32,
    /// `real_parent->tgid`.
    pub ppid: u32,
    /// Real user id, in the initial user namespace; `u32::MAX` when unknown.
    pub uid: u32,
    /// Real group id, in the initial user namespace.
    pub gid: u32,
    /// Effective user id.
    pub euid: u32,
    /// `task->loginuid`; `u32::MAX` when unset or unknown.
    pub loginuid: u32,
    /// Inode number of the mount namespace; 0 when unknown.
    pub mount_namespace: u32,
    /// Inode number of the task's active pid namespace; 0 when unknown.
    pub pid_namespace: u32,
    /// Inode number of the network namespace; 0 when unknown.
    pub network_namespace: u32,
    /// See [`flags`].
    pub flags: u32,
    /// Epoch of the policy tables that judged this record.
    pub epoch: u32,
    /// Index over all policies of the rule that decided in the kernel, or [`NO_RULE`].
    pub rule: u16,
    /// CPU that wrote the record; [`NO_CPU`] for the sensor itself.
    pub cpu: u16,
    /// Name of the thread, NUL-padded.
    pub comm: [u8; COMM_BYTES],
    /// Number of the [`crate::control::Tier`] of the program that wrote the record; of none for what engines
    /// tell of containers.
    pub tier: u8,
    /// Number of the [`crate::control::Verdict`] taken in the kernel.
    pub verdict: u8,
    /// Explicit padding, zero.
    pub reserved: u16,
    /// Explicit padding, zero.
    pub reserved_word: u32,
}

/// Bytes of a [`Header`].
pub const HEADER_BYTES: usize = size_of::<Header>();

const _: () = assert!(HEADER_BYTES == 128 && align_of::<Header>() == 8);
