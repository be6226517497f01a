//! Changes of namespaces. No security function is asked about them, so they are refused in the
//! function of the system call itself.

use holdfast_wire::control::Tier;

use super::{Place, Way, call, calls, part, way};

const COMPAT: &str = "calls of 32-bit programs";

pub(super) static SETNS: &[Way] = &[
    call(
        &[part("process_setns_fmod", Place::FmodRetCall("setns"))],
        JOINED,
        COMPAT,
    ),
    calls(
        &[part(
            "process_setns_enter",
            Place::Syscalls(&["sys_enter_setns"]),
        )],
        JOINED,
        COMPAT,
    ),
    calls(
        &[part(
            "process_setns_enter",
            Place::Syscalls(&["sys_enter_setns"]),
        )],
        &[],
        "calls of 32-bit programs, and which namespace is joined where the caller does not say it",
    ),
];

/// What finding the namespace behind a descriptor needs. What tells its type stands in one of two
/// places, of which a kernel has one.
const JOINED: &[&str] = &["task_files", "fdtable_fd", "file_inode", "inode_private"];

pub(super) static UNSHARE: &[Way] = &[
    call(
        &[part("process_unshare_fmod", Place::FmodRetCall("unshare"))],
        &[],
        COMPAT,
    ),
    way(
        Tier::Fentry,
        &[part(
            "process_unshare_fentry",
            Place::Fentry("ksys_unshare"),
        )],
    )
    .needs(&[]),
    way(
        Tier::Kprobe,
        &[part(
            "process_unshare_kprobe",
            Place::Kprobe("ksys_unshare"),
        )],
    )
    .needs(&[]),
    calls(
        &[part(
            "process_unshare_enter",
            Place::Syscalls(&["sys_enter_unshare"]),
        )],
        &[],
        COMPAT,
    ),
];
