//! Numbers of the kernel → the names people know them by.

mod bpf;
mod memory;
mod process;

pub use bpf::{bpf_attach_type_name, bpf_command_name, bpf_program_type_name};
pub use memory::{
    map_flag_names, memfd_flag_names, protection_names, region_name, write_method_name,
};
pub use process::{resource_name, scheduling_call_name, scheduling_policy_name};

/// Names of capabilities by bit (`include/uapi/linux/capability.h`).
const CAPABILITIES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// The names of the capabilities in a set, in the order of their numbers. Bits without a name are
/// left out.
#[must_use]
pub fn capability_names(set: u64) -> Vec<&'static str> {
    CAPABILITIES
        .iter()
        .enumerate()
        .filter(|(bit, _)| set >> bit & 1 == 1)
        .map(|(_, n)| *n)
        .collect()
}

/// `CAP_SYS_MODULE` for 16; those without a name as their number.
#[must_use]
pub fn capability_name(number: u32) -> std::borrow::Cow<'static, str> {
    let name = CAPABILITIES.get(number as usize);
    name.map_or_else(|| number.to_string().into(), |name| (*name).into())
}

/// The number of the capability with this name, if there is one.
#[must_use]
pub fn capability_number(name: &str) -> Option<u16> {
    let position = CAPABILITIES.iter().position(|known| *known == name);
    position.and_then(|number| u16::try_from(number).ok())
}

/// Open flags by bit, as on x86-64 and arm64 (`include/uapi/asm-generic/fcntl.h`; those that arm64
/// numbers otherwise are not listed).
const OPEN_FLAGS: [(u32, &str); 11] = [
    (0o100, "O_CREAT"),
    (0o200, "O_EXCL"),
    (0o400, "O_NOCTTY"),
    (0o1000, "O_TRUNC"),
    (0o2000, "O_APPEND"),
    (0o4000, "O_NONBLOCK"),
    (0o10000, "O_DSYNC"),
    (0o1_000_000, "O_NOATIME"),
    (0o2_000_000, "O_CLOEXEC"),
    (0o10_000_000, "O_PATH"),
    (0o20_000_000, "__O_TMPFILE"),
];

/// The names of open flags: the access mode first, then the others that are set.
#[must_use]
pub fn open_flag_names(flags: u32) -> Vec<&'static str> {
    let access = ["O_RDONLY", "O_WRONLY", "O_RDWR", "O_ACCMODE"][(flags & 3) as usize];
    std::iter::once(access)
        .chain(
            OPEN_FLAGS
                .iter()
                .filter(|(bit, _)| flags & bit != 0)
                .map(|(_, name)| *name),
        )
        .collect()
}

/// Flags of `mount(2)` by bit (`include/uapi/linux/mount.h`), without those of the kernel's own.
const MOUNT_FLAGS: [(u64, &str); 22] = [
    (1, "MS_RDONLY"),
    (1 << 1, "MS_NOSUID"),
    (1 << 2, "MS_NODEV"),
    (1 << 3, "MS_NOEXEC"),
    (1 << 4, "MS_SYNCHRONOUS"),
    (1 << 5, "MS_REMOUNT"),
    (1 << 6, "MS_MANDLOCK"),
    (1 << 7, "MS_DIRSYNC"),
    (1 << 8, "MS_NOSYMFOLLOW"),
    (1 << 10, "MS_NOATIME"),
    (1 << 11, "MS_NODIRATIME"),
    (1 << 12, "MS_BIND"),
    (1 << 13, "MS_MOVE"),
    (1 << 14, "MS_REC"),
    (1 << 15, "MS_SILENT"),
    (1 << 17, "MS_UNBINDABLE"),
    (1 << 18, "MS_PRIVATE"),
    (1 << 19, "MS_SLAVE"),
    (1 << 20, "MS_SHARED"),
    (1 << 21, "MS_RELATIME"),
    (1 << 24, "MS_STRICTATIME"),
    (1 << 25, "MS_LAZYTIME"),
];

/// Flags of `shmget(2)` (`include/uapi/linux/ipc.h`, `include/uapi/linux/shm.h`).
const SHMGET_FLAGS: [(u64, &str); 4] = [
    (0o1000, "IPC_CREAT"),
    (0o2000, "IPC_EXCL"),
    (0o4000, "SHM_HUGETLB"),
    (0o1_0000, "SHM_NORESERVE"),
];

/// Flags of `shmat(2)` (`include/uapi/linux/shm.h`).
const SHMAT_FLAGS: [(u64, &str); 4] = [
    (0o1_0000, "SHM_RDONLY"),
    (0o2_0000, "SHM_RND"),
    (0o4_0000, "SHM_REMAP"),
    (0o10_0000, "SHM_EXEC"),
];

/// The names of flags of `shmget(2)`.
#[must_use]
pub fn shmget_flag_names(flags: u32) -> Vec<&'static str> {
    set_names(&SHMGET_FLAGS, flags.into())
}

/// The names of flags of `shmat(2)`.
#[must_use]
pub fn shmat_flag_names(flags: u32) -> Vec<&'static str> {
    set_names(&SHMAT_FLAGS, flags.into())
}

/// Flags of `umount2(2)` by bit (`include/linux/fs.h`).
const UMOUNT_FLAGS: [(u64, &str); 4] = [
    (1, "MNT_FORCE"),
    (1 << 1, "MNT_DETACH"),
    (1 << 2, "MNT_EXPIRE"),
    (1 << 3, "UMOUNT_NOFOLLOW"),
];

/// Flags of `clone(2)`, `unshare(2)` and `setns(2)` (`include/uapi/linux/sched.h`) that a process can
/// ask for about itself.
const CLONE_FLAGS: [(u64, &str); 14] = [
    (0x80, "CLONE_NEWTIME"),
    (0x100, "CLONE_VM"),
    (0x200, "CLONE_FS"),
    (0x400, "CLONE_FILES"),
    (0x800, "CLONE_SIGHAND"),
    (0x1_0000, "CLONE_THREAD"),
    (0x2_0000, "CLONE_NEWNS"),
    (0x4_0000, "CLONE_SYSVSEM"),
    (0x200_0000, "CLONE_NEWCGROUP"),
    (0x400_0000, "CLONE_NEWUTS"),
    (0x800_0000, "CLONE_NEWIPC"),
    (0x1000_0000, "CLONE_NEWUSER"),
    (0x2000_0000, "CLONE_NEWPID"),
    (0x4000_0000, "CLONE_NEWNET"),
];

/// The names of clone flags.
#[must_use]
pub fn clone_flag_names(flags: u32) -> Vec<&'static str> {
    set_names(&CLONE_FLAGS, flags.into())
}

/// The names of flags of `mount(2)`.
#[must_use]
pub fn mount_flag_names(flags: u64) -> Vec<&'static str> {
    set_names(&MOUNT_FLAGS, flags)
}

/// The names of flags of `umount2(2)`.
#[must_use]
pub fn umount_flag_names(flags: u64) -> Vec<&'static str> {
    set_names(&UMOUNT_FLAGS, flags)
}

/// The names of flags of `setxattr(2)` (`include/uapi/linux/xattr.h`).
#[must_use]
pub fn xattr_flag_names(flags: u32) -> Vec<&'static str> {
    set_names(&[(1, "XATTR_CREATE"), (2, "XATTR_REPLACE")], flags.into())
}

fn set_names(names: &[(u64, &'static str)], flags: u64) -> Vec<&'static str> {
    let set = names.iter().filter(|(bit, _)| flags & bit != 0);
    set.map(|(_, name)| *name).collect()
}

/// Signals by number, as on x86-64 and arm64 (`include/uapi/asm-generic/signal.h`).
const SIGNALS: [&str; 32] = [
    "0",
    "SIGHUP",
    "SIGINT",
    "SIGQUIT",
    "SIGILL",
    "SIGTRAP",
    "SIGABRT",
    "SIGBUS",
    "SIGFPE",
    "SIGKILL",
    "SIGUSR1",
    "SIGSEGV",
    "SIGUSR2",
    "SIGPIPE",
    "SIGALRM",
    "SIGTERM",
    "SIGSTKFLT",
    "SIGCHLD",
    "SIGCONT",
    "SIGSTOP",
    "SIGTSTP",
    "SIGTTIN",
    "SIGTTOU",
    "SIGURG",
    "SIGXCPU",
    "SIGXFSZ",
    "SIGVTALRM",
    "SIGPROF",
    "SIGWINCH",
    "SIGIO",
    "SIGPWR",
    "SIGSYS",
];

/// `SIGTERM` for 15; real-time signals as their number.
#[must_use]
pub fn signal_name(number: u32) -> std::borrow::Cow<'static, str> {
    SIGNALS
        .get(number as usize)
        .map_or_else(|| number.to_string().into(), |name| (*name).into())
}

/// Address families by number (`include/linux/socket.h`).
const FAMILIES: [&str; 46] = [
    "AF_UNSPEC",
    "AF_UNIX",
    "AF_INET",
    "AF_AX25",
    "AF_IPX",
    "AF_APPLETALK",
    "AF_NETROM",
    "AF_BRIDGE",
    "AF_ATMPVC",
    "AF_X25",
    "AF_INET6",
    "AF_ROSE",
    "AF_DECnet",
    "AF_NETBEUI",
    "AF_SECURITY",
    "AF_KEY",
    "AF_NETLINK",
    "AF_PACKET",
    "AF_ASH",
    "AF_ECONET",
    "AF_ATMSVC",
    "AF_RDS",
    "AF_SNA",
    "AF_IRDA",
    "AF_PPPOX",
    "AF_WANPIPE",
    "AF_LLC",
    "AF_IB",
    "AF_MPLS",
    "AF_CAN",
    "AF_TIPC",
    "AF_BLUETOOTH",
    "AF_IUCV",
    "AF_RXRPC",
    "AF_ISDN",
    "AF_PHONET",
    "AF_IEEE802154",
    "AF_CAIF",
    "AF_ALG",
    "AF_NFC",
    "AF_VSOCK",
    "AF_KCM",
    "AF_QIPCRTR",
    "AF_SMC",
    "AF_XDP",
    "AF_MCTP",
];

/// `AF_INET` for 2; those without a name as their number.
#[must_use]
pub fn socket_family_name(number: u16) -> std::borrow::Cow<'static, str> {
    numbered(&FAMILIES, number)
}

/// Types of sockets by number (`include/linux/net.h`).
const SOCKET_TYPES: [&str; 11] = [
    "0",
    "SOCK_STREAM",
    "SOCK_DGRAM",
    "SOCK_RAW",
    "SOCK_RDM",
    "SOCK_SEQPACKET",
    "SOCK_DCCP",
    "7",
    "8",
    "9",
    "SOCK_PACKET",
];

/// `SOCK_STREAM` for 1; those without a name as their number.
#[must_use]
pub fn socket_type_name(number: u16) -> std::borrow::Cow<'static, str> {
    numbered(&SOCKET_TYPES, number)
}

fn numbered(names: &[&'static str], number: u16) -> std::borrow::Cow<'static, str> {
    names
        .get(usize::from(number))
        .map_or_else(|| number.to_string().into(), |name| (*name).into())
}

/// What the kernel calls a [`Load::source`](crate::record::capability::Load::source)
/// (`include/linux/kernel_read_file.h`); `None` for what is none.
#[must_use]
pub const fn load_source_name(source: u32) -> Option<&'static str> {
    use crate::record::capability::source;
    Some(match source {
        source::READING_MODULE => "READING_MODULE",
        source::LOADING_MODULE => "LOADING_MODULE",
        source::READING_KEXEC_IMAGE => "READING_KEXEC_IMAGE",
        source::LOADING_KEXEC_IMAGE => "LOADING_KEXEC_IMAGE",
        _ => return None,
    })
}

/// `network.transport` for an `IPPROTO_*` number; `None` for `u16::MAX`, which is "unknown".
#[must_use]
pub fn protocol_name(number: u16) -> Option<std::borrow::Cow<'static, str>> {
    Some(match number {
        u16::MAX => return None,
        1 => "icmp".into(),
        6 => "tcp".into(),
        17 => "udp".into(),
        58 => "ipv6-icmp".into(),
        132 => "sctp".into(),
        262 => "mptcp".into(),
        other => other.to_string().into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_kernels() {
        assert_eq!(
            capability_names(1 << 21 | 1 << 40),
            ["CAP_SYS_ADMIN", "CAP_CHECKPOINT_RESTORE"]
        );
        assert_eq!(capability_name(16), "CAP_SYS_MODULE");
        assert_eq!(capability_name(63), "63");
        assert_eq!(capability_number("CAP_SYS_MODULE"), Some(16));
        assert_eq!(open_flag_names(0o1101), ["O_WRONLY", "O_CREAT", "O_TRUNC"]);
        assert_eq!(
            mount_flag_names(0x1021),
            ["MS_RDONLY", "MS_REMOUNT", "MS_BIND"]
        );
        assert_eq!(xattr_flag_names(1 << 31 | 2), ["XATTR_REPLACE"]);
        assert_eq!(
            clone_flag_names(0x1002_0200),
            ["CLONE_FS", "CLONE_NEWNS", "CLONE_NEWUSER"]
        );
        assert_eq!(
            clone_flag_names(crate::record::process::NAMESPACES).len(),
            8
        );
        assert_eq!(shmget_flag_names(0o3600), ["IPC_CREAT", "IPC_EXCL"]);
        assert_eq!(shmat_flag_names(0o11_0000), ["SHM_RDONLY", "SHM_EXEC"]);
        assert_eq!(umount_flag_names(2), ["MNT_DETACH"]);
        assert_eq!(signal_name(9), "SIGKILL");
        assert_eq!(signal_name(34), "34");
        assert_eq!(socket_family_name(40), "AF_VSOCK");
        assert_eq!(socket_family_name(99), "99");
        assert_eq!(socket_type_name(3), "SOCK_RAW");
        assert_eq!(protocol_name(6).unwrap(), "tcp");
        assert_eq!(protocol_name(u16::MAX), None);
    }
}
