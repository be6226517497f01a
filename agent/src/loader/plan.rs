//! Which programs serve which hook in which tier, as data. One more way to attach a hook is one line.

use holdfast_wire::Kind;
use holdfast_wire::control::Tier;

/// One program and where it is attached.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    /// Name of the program in the object.
    pub(crate) program: &'static str,
    /// Where.
    pub(crate) place: Place,
}

/// A place in the kernel.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    /// A BPF LSM hook.
    Lsm(&'static str),
    /// Modify-return on a function.
    FmodRet(&'static str),
    /// Entry of a function, by trampoline.
    Fentry(&'static str),
    /// Entry of a function, by breakpoint.
    Kprobe(&'static str),
    /// A raw tracepoint.
    RawTracepoint(&'static str),
    /// Tracepoints in the category `syscalls`; those that an architecture does not have are left out,
    /// as long as the first is there.
    Syscalls(&'static [&'static str]),
}

/// A way to attach a hook.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    /// Its tier.
    pub(crate) tier: Tier,
    /// All of these, or the way is not to be had.
    pub(crate) parts: &'static [Part],
    /// Fields of the layout without which it sees nothing.
    pub(crate) needs: &'static [&'static str],
    /// What it cannot see, for `doctor`; empty when nothing.
    pub(crate) blind_to: &'static str,
}

const fn part(program: &'static str, place: Place) -> Part {
    Part { program, place }
}

const fn way(tier: Tier, parts: &'static [Part]) -> Way {
    Way {
        tier,
        parts,
        needs: &["file_path", "path_dentry", "dentry_parent", "mount_mnt"],
        blind_to: "",
    }
}

/// The ways to attach to a security function, then those by tracepoints.
macro_rules! security {
    ($prefix:literal, $hook:literal, $function:literal, $($tracepoint:expr),+ $(,)?) => {
        &[
            way(
                Tier::Lsm,
                &[part(concat!($prefix, "_lsm"), Place::Lsm($hook))],
            ),
            way(
                Tier::FmodRet,
                &[part(concat!($prefix, "_fmod"), Place::FmodRet($function))],
            ),
            way(
                Tier::Fentry,
                &[part(concat!($prefix, "_fentry"), Place::Fentry($function))],
            ),
            way(
                Tier::Kprobe,
                &[part(concat!($prefix, "_kprobe"), Place::Kprobe($function))],
            ),
            $($tracepoint,)+
        ]
    };
}

/// The same for an operation that passes one of two security functions, each with its programs.
macro_rules! security_two {
    ([$first:literal, $hook1:literal, $function1:literal], [$second:literal, $hook2:literal, $function2:literal], $tier:ident $place:ident $suffix:literal) => {
        way(
            Tier::$tier,
            &[
                part(
                    concat!($first, $suffix),
                    Place::$place(security_two!(@ $place $hook1 $function1)),
                ),
                part(
                    concat!($second, $suffix),
                    Place::$place(security_two!(@ $place $hook2 $function2)),
                ),
            ],
        )
    };
    (@ Lsm $hook:literal $function:literal) => { $hook };
    (@ $other:ident $hook:literal $function:literal) => { $function };
}

/// A way by system call tracepoints, which needs no offsets, or those named.
const fn calls(
    parts: &'static [Part],
    needs: &'static [&'static str],
    blind_to: &'static str,
) -> Way {
    Way {
        tier: Tier::Tracepoint,
        parts,
        needs,
        blind_to,
    }
}

const EXEC: Part = part("process_exec", Place::RawTracepoint("sched_process_exec"));
const OPENS: &[&str] = &[
    "sys_exit_openat",
    "sys_exit_open",
    "sys_exit_openat2",
    "sys_exit_creat",
];
const ARGUMENTS: &str = "io_uring, and paths are the caller's arguments, not resolved";

static PROCESS_EXEC: &[Way] = &[
    way(
        Tier::Lsm,
        &[
            EXEC,
            part("process_exec_lsm", Place::Lsm("bprm_check_security")),
        ],
    ),
    way(
        Tier::FmodRet,
        &[
            EXEC,
            part("process_exec_fmod", Place::FmodRet("security_bprm_check")),
        ],
    ),
    way(Tier::Tracepoint, &[EXEC]),
    // Without offsets the record has no more than helpers give; the agent completes it from /proc.
    Way {
        tier: Tier::Tracepoint,
        parts: &[EXEC],
        needs: &[],
        blind_to: "what /proc no longer shows when the record is read",
    },
];

static PROCESS_FORK: &[Way] = &[Way {
    tier: Tier::Tracepoint,
    parts: &[part(
        "process_fork",
        Place::RawTracepoint("sched_process_fork"),
    )],
    needs: &["task_tgid", "task_pid"],
    blind_to: "",
}];

static PROCESS_EXIT: &[Way] = &[Way {
    tier: Tier::Tracepoint,
    parts: &[part(
        "process_exit",
        Place::RawTracepoint("sched_process_exit"),
    )],
    needs: &[],
    blind_to: "",
}];

static PROCESS_SIGNAL: &[Way] = security!(
    "process_signal",
    "task_kill",
    "security_task_kill",
    calls(
        &[
            part(
                "process_kill_enter",
                Place::Syscalls(&["sys_enter_kill", "sys_enter_tkill"])
            ),
            part(
                "process_tgkill_enter",
                Place::Syscalls(&["sys_enter_tgkill"])
            )
        ],
        &[],
        "signals sent by other calls than kill, tkill and tgkill"
    )
);

static PROCESS_PTRACE: &[Way] = &[
    security_two!(["process_ptrace", "ptrace_access_check", "security_ptrace_access_check"], ["process_traceme", "ptrace_traceme", "security_ptrace_traceme"], Lsm Lsm "_lsm"),
    security_two!(["process_ptrace", "ptrace_access_check", "security_ptrace_access_check"], ["process_traceme", "ptrace_traceme", "security_ptrace_traceme"], FmodRet FmodRet "_fmod"),
    security_two!(["process_ptrace", "ptrace_access_check", "security_ptrace_access_check"], ["process_traceme", "ptrace_traceme", "security_ptrace_traceme"], Fentry Fentry "_fentry"),
    security_two!(["process_ptrace", "ptrace_access_check", "security_ptrace_access_check"], ["process_traceme", "ptrace_traceme", "security_ptrace_traceme"], Kprobe Kprobe "_kprobe"),
    calls(
        &[part(
            "process_ptrace_enter",
            Place::Syscalls(&["sys_enter_ptrace"]),
        )],
        &[],
        "memory read or written without tracing",
    ),
];

static FILE_OPEN: &[Way] = security!(
    "file_open",
    "file_open",
    "security_file_open",
    calls(
        &[part("file_open_exit", Place::Syscalls(OPENS))],
        &["task_files", "fdtable_fd", "file_path", "mount_mnt"],
        "io_uring and handles"
    ),
    calls(
        &[
            part(
                "file_openat_enter",
                Place::Syscalls(&["sys_enter_openat", "sys_enter_openat2"])
            ),
            part(
                "file_open_enter",
                Place::Syscalls(&["sys_enter_open", "sys_enter_creat"])
            )
        ],
        &[],
        ARGUMENTS
    )
);

static FILE_CREATE: &[Way] = security!(
    "file_create",
    "path_mknod",
    "security_path_mknod",
    calls(
        &[part("file_create_exit", Place::Syscalls(OPENS))],
        &[
            "task_files",
            "fdtable_fd",
            "file_path",
            "mount_mnt",
            "file_mode"
        ],
        "io_uring, and files made by mknod"
    )
);

static FILE_DELETE: &[Way] = security!(
    "file_delete",
    "path_unlink",
    "security_path_unlink",
    calls(
        &[
            part(
                "file_unlinkat_enter",
                Place::Syscalls(&["sys_enter_unlinkat"])
            ),
            part("file_unlink_enter", Place::Syscalls(&["sys_enter_unlink"]))
        ],
        &[],
        ARGUMENTS
    )
);

static FILE_RENAME: &[Way] = security!(
    "file_rename",
    "path_rename",
    "security_path_rename",
    calls(
        &[
            part(
                "file_renameat_enter",
                Place::Syscalls(&["sys_enter_renameat2", "sys_enter_renameat"])
            ),
            part("file_rename_enter", Place::Syscalls(&["sys_enter_rename"]))
        ],
        &[],
        ARGUMENTS
    )
);

static FILE_LINK: &[Way] = security!(
    "file_link",
    "path_link",
    "security_path_link",
    calls(
        &[
            part("file_linkat_enter", Place::Syscalls(&["sys_enter_linkat"])),
            part("file_link_enter", Place::Syscalls(&["sys_enter_link"]))
        ],
        &[],
        ARGUMENTS
    )
);

static FILE_SYMLINK: &[Way] = security!(
    "file_symlink",
    "path_symlink",
    "security_path_symlink",
    calls(
        &[
            part(
                "file_symlinkat_enter",
                Place::Syscalls(&["sys_enter_symlinkat"])
            ),
            part(
                "file_symlink_enter",
                Place::Syscalls(&["sys_enter_symlink"])
            )
        ],
        &[],
        ARGUMENTS
    )
);

static FILE_MKDIR: &[Way] = security!(
    "file_mkdir",
    "path_mkdir",
    "security_path_mkdir",
    calls(
        &[
            part(
                "file_mkdirat_enter",
                Place::Syscalls(&["sys_enter_mkdirat"])
            ),
            part("file_mkdir_enter", Place::Syscalls(&["sys_enter_mkdir"]))
        ],
        &[],
        ARGUMENTS
    )
);

static FILE_RMDIR: &[Way] = security!(
    "file_rmdir",
    "path_rmdir",
    "security_path_rmdir",
    calls(
        &[
            part(
                "file_rmdirat_enter",
                Place::Syscalls(&["sys_enter_unlinkat"])
            ),
            part("file_rmdir_enter", Place::Syscalls(&["sys_enter_rmdir"]))
        ],
        &[],
        ARGUMENTS
    )
);

static FILE_CHMOD: &[Way] = security!(
    "file_chmod",
    "path_chmod",
    "security_path_chmod",
    calls(
        &[
            part(
                "file_fchmodat_enter",
                Place::Syscalls(&["sys_enter_fchmodat", "sys_enter_fchmodat2"])
            ),
            part("file_chmod_enter", Place::Syscalls(&["sys_enter_chmod"])),
            part("file_fchmod_enter", Place::Syscalls(&["sys_enter_fchmod"]))
        ],
        &["task_files", "fdtable_fd", "file_path", "mount_mnt"],
        "paths are the caller's arguments, not resolved"
    )
);

static FILE_CHOWN: &[Way] = security!(
    "file_chown",
    "path_chown",
    "security_path_chown",
    calls(
        &[
            part(
                "file_fchownat_enter",
                Place::Syscalls(&["sys_enter_fchownat"])
            ),
            part(
                "file_chown_enter",
                Place::Syscalls(&["sys_enter_chown", "sys_enter_lchown"])
            ),
            part("file_fchown_enter", Place::Syscalls(&["sys_enter_fchown"]))
        ],
        &["task_files", "fdtable_fd", "file_path", "mount_mnt"],
        "paths are the caller's arguments, not resolved"
    )
);

/// Since 6.2 a truncation by descriptor passes a function of its own.
static FILE_TRUNCATE: &[Way] = &[
    security_two!(["file_truncate", "path_truncate", "security_path_truncate"], ["file_ftruncate", "file_truncate", "security_file_truncate"], Lsm Lsm "_lsm"),
    way(
        Tier::Lsm,
        &[part("file_truncate_lsm", Place::Lsm("path_truncate"))],
    ),
    security_two!(["file_truncate", "path_truncate", "security_path_truncate"], ["file_ftruncate", "file_truncate", "security_file_truncate"], FmodRet FmodRet "_fmod"),
    way(
        Tier::FmodRet,
        &[part(
            "file_truncate_fmod",
            Place::FmodRet("security_path_truncate"),
        )],
    ),
    security_two!(["file_truncate", "path_truncate", "security_path_truncate"], ["file_ftruncate", "file_truncate", "security_file_truncate"], Fentry Fentry "_fentry"),
    way(
        Tier::Fentry,
        &[part(
            "file_truncate_fentry",
            Place::Fentry("security_path_truncate"),
        )],
    ),
    security_two!(["file_truncate", "path_truncate", "security_path_truncate"], ["file_ftruncate", "file_truncate", "security_file_truncate"], Kprobe Kprobe "_kprobe"),
    way(
        Tier::Kprobe,
        &[part(
            "file_truncate_kprobe",
            Place::Kprobe("security_path_truncate"),
        )],
    ),
    calls(
        &[
            part(
                "file_truncate_enter",
                Place::Syscalls(&["sys_enter_truncate"]),
            ),
            part(
                "file_ftruncate_enter",
                Place::Syscalls(&["sys_enter_ftruncate"]),
            ),
        ],
        &["task_files", "fdtable_fd", "file_path", "mount_mnt"],
        "files cut by open, and paths are the caller's arguments, not resolved",
    ),
];

static NETWORK_CONNECT: &[Way] = security!(
    "network_connect",
    "socket_connect",
    "security_socket_connect",
    calls(
        &[part(
            "network_connect_enter",
            Place::Syscalls(&["sys_enter_connect"])
        )],
        &[],
        "io_uring, and addresses are the caller's arguments"
    )
);

static NETWORK_BIND: &[Way] = security!(
    "network_bind",
    "socket_bind",
    "security_socket_bind",
    calls(
        &[part(
            "network_bind_enter",
            Place::Syscalls(&["sys_enter_bind"])
        )],
        &[],
        "io_uring, and addresses are the caller's arguments"
    )
);

static NETWORK_LISTEN: &[Way] = security!(
    "network_listen",
    "socket_listen",
    "security_socket_listen",
    calls(
        &[part(
            "network_listen_enter",
            Place::Syscalls(&["sys_enter_listen"])
        )],
        &["task_files", "fdtable_fd", "socket_sk", "sock_port"],
        "io_uring"
    )
);

/// The ways to attach the hook of `kind`, best first.
pub(crate) fn ways(kind: Kind) -> &'static [Way] {
    match kind {
        Kind::ProcessExec => PROCESS_EXEC,
        Kind::ProcessFork => PROCESS_FORK,
        Kind::ProcessExit => PROCESS_EXIT,
        Kind::ProcessSignal => PROCESS_SIGNAL,
        Kind::ProcessPtrace => PROCESS_PTRACE,
        Kind::FileOpen => FILE_OPEN,
        Kind::FileCreate => FILE_CREATE,
        Kind::FileDelete => FILE_DELETE,
        Kind::FileRename => FILE_RENAME,
        Kind::FileLink => FILE_LINK,
        Kind::FileSymlink => FILE_SYMLINK,
        Kind::FileMkdir => FILE_MKDIR,
        Kind::FileRmdir => FILE_RMDIR,
        Kind::FileChmod => FILE_CHMOD,
        Kind::FileChown => FILE_CHOWN,
        Kind::FileTruncate => FILE_TRUNCATE,
        Kind::NetworkConnect => NETWORK_CONNECT,
        Kind::NetworkBind => NETWORK_BIND,
        Kind::NetworkListen => NETWORK_LISTEN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_wire::layout::Layout;

    #[test]
    fn ways_stand_from_the_best_to_the_least_and_need_fields_that_exist() {
        for kind in Kind::ALL {
            let ways = ways(*kind);
            assert!(ways.is_sorted_by_key(|way| way.tier), "{kind:?}");
            for field in ways.iter().flat_map(|way| way.needs) {
                assert!(
                    Layout::FIELDS.iter().any(|(name, ..)| name == field),
                    "{field}"
                );
            }
        }
    }
}
