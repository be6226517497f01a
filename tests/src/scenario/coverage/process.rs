//! Life and death of processes, and what they do to each other.

use super::{Deed, deed, failing, failing_early, untold};

/// The number of the first UTS namespace (`PROC_UTS_INIT_INO` of `include/linux/proc_ns.h`), which
/// everything here is in.
const UTS_OF_ALL: (&str, &str) = ("/holdfast/joined_namespace", "4026531838");

pub(super) const DEEDS: &[Deed] = &[
    deed(
        "process.exec",
        &["signal-self"],
        &[
            ("/process/args/1", "act"),
            ("/process/parent/pid", "{parent}"),
        ],
    ),
    deed(
        "process.exec",
        &["hold", "127.0.0.3:0"],
        &[
            ("/process/args/1", "act"),
            ("/process/parent/pid", "{parent}"),
        ],
    ),
    // What is no program passes the check, and is given up behind it.
    untold(
        "ENOEXEC",
        deed(
            "process.exec",
            &["execute-garbage", "{dir}/garbage"],
            &[("/process/executable", "{dir}/garbage")],
        ),
    ),
    Deed {
        pid: "/holdfast/target/pid",
        ..deed(
            "process.fork",
            &["signal-self"],
            &[("/process/pid", "{parent}")],
        )
    },
    deed(
        "process.fork",
        &["clone"],
        &[("/holdfast/flags/0", "CLONE_NEWUTS")],
    ),
    untold("EINVAL", deed("process.fork", &["clone-wrong"], &[])),
    deed(
        "process.exit",
        &["signal-self"],
        &[("/process/exit_code", "0")],
    ),
    deed(
        "process.signal",
        &["signal-self"],
        &[("/holdfast/signal", "SIGURG")],
    ),
    failing_early(
        "EPERM",
        deed(
            "process.signal",
            &["as", "65534", "signal-parent"],
            &[("/holdfast/signal", "SIGURG")],
        ),
    ),
    deed(
        "process.ptrace",
        &["traceme"],
        &[
            ("/holdfast/flags/0", "PTRACE_TRACEME"),
            ("/holdfast/target/pid", "{parent}"),
        ],
    ),
    deed(
        "process.ptrace",
        &["trace-child"],
        &[("/holdfast/flags/0", "PTRACE_MODE_ATTACH")],
    ),
    failing_early(
        "EPERM",
        deed(
            "process.ptrace",
            &["trace-self"],
            &[("/holdfast/flags/0", "PTRACE_MODE_ATTACH")],
        ),
    ),
    Deed {
        pid: "/holdfast/target/pid",
        ..deed(
            "process.rlimit",
            &["limit-files", "512"],
            &[
                ("/holdfast/rlimit/resource", "RLIMIT_NOFILE"),
                ("/holdfast/rlimit/soft", "512"),
            ],
        )
    },
    // More than it may be raised to.
    failing_early(
        "EINVAL",
        deed(
            "process.rlimit",
            &["limit-above", "510"],
            &[("/holdfast/rlimit/soft", "510")],
        ),
    ),
    deed(
        "process.rlimit",
        &["limit-child", "511"],
        &[
            ("/holdfast/rlimit/soft", "511"),
            ("/holdfast/target/args/2", "pause"),
        ],
    ),
    Deed {
        pid: "/holdfast/target/pid",
        ..deed(
            "process.setscheduler",
            &["schedule", "1"],
            &[
                ("/holdfast/scheduler/call", "sched_setscheduler"),
                ("/holdfast/scheduler/policy", "SCHED_RR"),
                ("/holdfast/scheduler/priority", "1"),
            ],
        )
    },
    deed(
        "process.setscheduler",
        &["bind-child"],
        &[
            ("/holdfast/scheduler/call", "sched_setaffinity"),
            ("/holdfast/scheduler/policy", ""),
            ("/holdfast/target/args/2", "pause"),
        ],
    ),
    // There is no such CPU.
    failing(
        "EINVAL",
        deed(
            "process.setscheduler",
            &["bind", "1000"],
            &[("/holdfast/scheduler/call", "sched_setaffinity")],
        ),
    ),
    deed(
        "process.setuid",
        &["setuid", "65534"],
        &[
            ("/process/user/id", "0"),
            ("/user/changes/id", "65534"),
            ("/user/changes/name", "nobody"),
            ("/user/effective/id", "65534"),
            ("/holdfast/ids/saved", "65534"),
            ("/holdfast/ids/filesystem", "65534"),
        ],
    ),
    failing_early(
        "EPERM",
        deed(
            "process.setuid",
            &["setuid-back", "65534"],
            &[("/user/effective/id", "0")],
        ),
    ),
    deed(
        "process.setgid",
        &["setgid", "65534"],
        &[
            ("/process/group/id", "0"),
            ("/user/changes/group/id", "65534"),
            ("/user/effective/group/id", "65534"),
            ("/holdfast/ids/saved", "65534"),
        ],
    ),
    deed(
        "process.setgid",
        &["setgroups", "1234"],
        &[
            ("/user/changes/group/id", "0"),
            ("/holdfast/ids/groups/0", "1234"),
        ],
    ),
    failing_early(
        "EPERM",
        deed(
            "process.setgid",
            &["as", "65534", "setgid", "1234"],
            &[("/user/effective/group/id", "1234")],
        ),
    ),
    deed(
        "process.setns",
        &["setns", "/proc/self/ns/uts"],
        &[("/holdfast/flags/0", "CLONE_NEWUTS"), UTS_OF_ALL],
    ),
    failing(
        "EINVAL",
        deed(
            "process.setns",
            &["setns", "/proc/self/exe"],
            &[("/holdfast/joined_namespace", "")],
        ),
    ),
    deed(
        "process.unshare",
        &["unshare"],
        &[
            ("/holdfast/flags/0", "CLONE_FS"),
            ("/holdfast/flags/1", "CLONE_NEWNS"),
        ],
    ),
    failing(
        "EINVAL",
        deed(
            "process.unshare",
            &["unshare-wrong"],
            &[("/holdfast/flags/0", "CLONE_NEWUTS")],
        ),
    ),
    deed(
        "process.setuid",
        &["become-user", "65534"],
        &[
            ("/process/user/id", "0"),
            ("/user/changes/id", "65534"),
            ("/user/effective/id", "65534"),
        ],
    ),
    deed(
        "process.setgid",
        &["become-group", "65534"],
        &[
            ("/process/group/id", "0"),
            ("/user/changes/group/id", "65534"),
            ("/user/effective/group/id", "65534"),
        ],
    ),
];
