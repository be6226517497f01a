//! Changes of user and group.

use holdfast_wire::control::Tier;

use super::{Part, Place, Way, calls, part, way};

const ASKED: &str = "calls of 32-bit programs; ids are what is asked for, in the caller's user \
                     namespace, also where it is not granted";

pub(super) static SETUID: &[Way] = security!(
    ["process_setuid", "task_fix_setuid", "security_task_fix_setuid"],
    needs SETS_USER;
    calls(
        &[
            part("process_setuid_enter", Place::Syscalls(&["sys_enter_setuid"])),
            part("process_setreuid_enter", Place::Syscalls(&["sys_enter_setreuid"])),
            part("process_setresuid_enter", Place::Syscalls(&["sys_enter_setresuid"])),
            part("process_setfsuid_enter", Place::Syscalls(&["sys_enter_setfsuid"]))
        ],
        &[],
        ASKED
    )
);

const SETS_USER: &[&str] = &[
    "mount_mnt",
    "cred_uid",
    "cred_euid",
    "cred_suid",
    "cred_fsuid",
];
const SETS_GROUP: &[&str] = &[
    "mount_mnt",
    "cred_gid",
    "cred_egid",
    "cred_sgid",
    "cred_fsgid",
    "cred_groups",
];

const SETGROUPS: Part = part(
    "process_setgroups_enter",
    Place::Syscalls(&["sys_enter_setgroups"]),
);

/// Before 5.19 no security function is asked about supplementary groups.
pub(super) static SETGID: &[Way] = &[
    groups(security!(lsm
        ["process_setgid", "task_fix_setgid", "security_task_fix_setgid"],
        ["process_setgroups", "task_fix_setgroups", "security_task_fix_setgroups"]
    )),
    groups(way(
        Tier::Lsm,
        &[
            part("process_setgid_lsm", Place::Lsm("task_fix_setgid")),
            SETGROUPS,
        ],
    )),
    groups(security!(fmod_ret
        ["process_setgid", "task_fix_setgid", "security_task_fix_setgid"],
        ["process_setgroups", "task_fix_setgroups", "security_task_fix_setgroups"]
    )),
    groups(way(
        Tier::FmodRet,
        &[
            part(
                "process_setgid_fmod",
                Place::FmodRet("security_task_fix_setgid"),
            ),
            SETGROUPS,
        ],
    )),
    groups(security!(fentry
        ["process_setgid", "task_fix_setgid", "security_task_fix_setgid"],
        ["process_setgroups", "task_fix_setgroups", "security_task_fix_setgroups"]
    )),
    groups(way(
        Tier::Fentry,
        &[
            part(
                "process_setgid_fentry",
                Place::Fentry("security_task_fix_setgid"),
            ),
            SETGROUPS,
        ],
    )),
    groups(security!(kprobe
        ["process_setgid", "task_fix_setgid", "security_task_fix_setgid"],
        ["process_setgroups", "task_fix_setgroups", "security_task_fix_setgroups"]
    )),
    groups(way(
        Tier::Kprobe,
        &[
            part(
                "process_setgid_kprobe",
                Place::Kprobe("security_task_fix_setgid"),
            ),
            SETGROUPS,
        ],
    )),
    calls(
        &[
            part(
                "process_setgid_enter",
                Place::Syscalls(&["sys_enter_setgid"]),
            ),
            part(
                "process_setregid_enter",
                Place::Syscalls(&["sys_enter_setregid"]),
            ),
            part(
                "process_setresgid_enter",
                Place::Syscalls(&["sys_enter_setresgid"]),
            ),
            part(
                "process_setfsgid_enter",
                Place::Syscalls(&["sys_enter_setfsgid"]),
            ),
            SETGROUPS,
        ],
        &[],
        ASKED,
    ),
];

const fn groups(way: Way) -> Way {
    Way {
        needs: SETS_GROUP,
        ..way
    }
}
