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

/// The four ways to attach to a security function.
macro_rules! security {
    ($prefix:literal, $hook:literal, $function:literal) => {
        [
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
        ]
    };
}

const EXEC: Part = part("process_exec", Place::RawTracepoint("sched_process_exec"));
const OPENS: &[&str] = &[
    "sys_exit_openat",
    "sys_exit_open",
    "sys_exit_openat2",
    "sys_exit_creat",
];
const ARGUMENTS: &str = "io_uring, and paths are the caller's arguments, not resolved";

static PROCESS_EXEC: [Way; 4] = [
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

static PROCESS_FORK: [Way; 1] = [Way {
    tier: Tier::Tracepoint,
    parts: &[part(
        "process_fork",
        Place::RawTracepoint("sched_process_fork"),
    )],
    needs: &["task_tgid", "task_pid"],
    blind_to: "",
}];

static PROCESS_EXIT: [Way; 1] = [Way {
    tier: Tier::Tracepoint,
    parts: &[part(
        "process_exit",
        Place::RawTracepoint("sched_process_exit"),
    )],
    needs: &[],
    blind_to: "",
}];

static PROCESS_SIGNAL: [Way; 5] = {
    let [lsm, fmod_ret, fentry, kprobe] =
        security!("process_signal", "task_kill", "security_task_kill");
    [
        lsm,
        fmod_ret,
        fentry,
        kprobe,
        Way {
            tier: Tier::Tracepoint,
            parts: &[
                part(
                    "process_kill_enter",
                    Place::Syscalls(&["sys_enter_kill", "sys_enter_tkill"]),
                ),
                part(
                    "process_tgkill_enter",
                    Place::Syscalls(&["sys_enter_tgkill"]),
                ),
            ],
            needs: &[],
            blind_to: "signals sent by other calls than kill, tkill and tgkill",
        },
    ]
};

static FILE_OPEN: [Way; 6] = {
    let [lsm, fmod_ret, fentry, kprobe] = security!("file_open", "file_open", "security_file_open");
    [
        lsm,
        fmod_ret,
        fentry,
        kprobe,
        Way {
            tier: Tier::Tracepoint,
            parts: &[part("file_open_exit", Place::Syscalls(OPENS))],
            needs: &["task_files", "fdtable_fd", "file_path", "mount_mnt"],
            blind_to: "io_uring and handles",
        },
        Way {
            tier: Tier::Tracepoint,
            parts: &[
                part(
                    "file_openat_enter",
                    Place::Syscalls(&["sys_enter_openat", "sys_enter_openat2"]),
                ),
                part(
                    "file_open_enter",
                    Place::Syscalls(&["sys_enter_open", "sys_enter_creat"]),
                ),
            ],
            needs: &[],
            blind_to: ARGUMENTS,
        },
    ]
};

static FILE_CREATE: [Way; 5] = {
    let [lsm, fmod_ret, fentry, kprobe] =
        security!("file_create", "path_mknod", "security_path_mknod");
    [
        lsm,
        fmod_ret,
        fentry,
        kprobe,
        Way {
            tier: Tier::Tracepoint,
            parts: &[part("file_create_exit", Place::Syscalls(OPENS))],
            needs: &[
                "task_files",
                "fdtable_fd",
                "file_path",
                "file_mode",
                "mount_mnt",
            ],
            blind_to: "io_uring, and files made by mknod",
        },
    ]
};

static FILE_DELETE: [Way; 5] = {
    let [lsm, fmod_ret, fentry, kprobe] =
        security!("file_delete", "path_unlink", "security_path_unlink");
    [
        lsm,
        fmod_ret,
        fentry,
        kprobe,
        Way {
            tier: Tier::Tracepoint,
            parts: &[
                part(
                    "file_unlinkat_enter",
                    Place::Syscalls(&["sys_enter_unlinkat"]),
                ),
                part("file_unlink_enter", Place::Syscalls(&["sys_enter_unlink"])),
            ],
            needs: &[],
            blind_to: ARGUMENTS,
        },
    ]
};

static FILE_RENAME: [Way; 5] = {
    let [lsm, fmod_ret, fentry, kprobe] =
        security!("file_rename", "path_rename", "security_path_rename");
    [
        lsm,
        fmod_ret,
        fentry,
        kprobe,
        Way {
            tier: Tier::Tracepoint,
            parts: &[
                part(
                    "file_renameat_enter",
                    Place::Syscalls(&["sys_enter_renameat2", "sys_enter_renameat"]),
                ),
                part("file_rename_enter", Place::Syscalls(&["sys_enter_rename"])),
            ],
            needs: &[],
            blind_to: ARGUMENTS,
        },
    ]
};

static NETWORK_CONNECT: [Way; 5] = {
    let [lsm, fmod_ret, fentry, kprobe] = security!(
        "network_connect",
        "socket_connect",
        "security_socket_connect"
    );
    [
        lsm,
        fmod_ret,
        fentry,
        kprobe,
        Way {
            tier: Tier::Tracepoint,
            parts: &[part(
                "network_connect_enter",
                Place::Syscalls(&["sys_enter_connect"]),
            )],
            needs: &[],
            blind_to: "io_uring, and addresses are the caller's arguments",
        },
    ]
};

/// The ways to attach the hook of `kind`, best first.
pub(crate) fn ways(kind: Kind) -> &'static [Way] {
    match kind {
        Kind::ProcessExec => &PROCESS_EXEC,
        Kind::ProcessFork => &PROCESS_FORK,
        Kind::ProcessExit => &PROCESS_EXIT,
        Kind::ProcessSignal => &PROCESS_SIGNAL,
        Kind::FileOpen => &FILE_OPEN,
        Kind::FileCreate => &FILE_CREATE,
        Kind::FileDelete => &FILE_DELETE,
        Kind::FileRename => &FILE_RENAME,
        Kind::NetworkConnect => &NETWORK_CONNECT,
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
