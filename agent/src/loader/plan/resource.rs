//! What a process may have: limits, and its share of the CPUs.

use holdfast_wire::control::Tier;

use super::{ARGUMENTS_CHANGE, Part, Place, Way, calls, part, way};

const LIMITS: &[&str] = &[
    "task_group_leader",
    "task_tgid",
    "task_signal",
    "signal_limits",
];

pub(super) static RLIMIT: &[Way] = security!(
    ["process_rlimit", "task_setrlimit", "security_task_setrlimit"],
    needs LIMITS;
    calls(
        &[
            part(
                "process_prlimit_enter",
                Place::Syscalls(&["sys_enter_prlimit64"])
            ),
            part(
                "process_setrlimit_enter",
                Place::Syscalls(&["sys_enter_setrlimit"])
            )
        ],
        &[],
        ARGUMENTS_CHANGE
    )
);

const TARGET: &[&str] = &["task_group_leader", "task_tgid", "task_start_boottime"];
/// The security function is told the thread alone; the rest is noted when the call begins.
const NOTED: &str = "policy and priority in calls of 32-bit programs";

pub(super) static SETSCHEDULER: &[Way] = &[
    noted(
        Tier::Lsm,
        &[
            END,
            SETSCHEDULER_BEGIN,
            SETPARAM_BEGIN,
            SETATTR_BEGIN,
            SETAFFINITY_BEGIN,
            part("process_schedule_lsm", Place::Lsm("task_setscheduler")),
        ],
    ),
    noted(
        Tier::FmodRet,
        &[
            END,
            SETSCHEDULER_BEGIN,
            SETPARAM_BEGIN,
            SETATTR_BEGIN,
            SETAFFINITY_BEGIN,
            part(
                "process_schedule_fmod",
                Place::FmodRet("security_task_setscheduler"),
            ),
        ],
    ),
    noted(
        Tier::Fentry,
        &[
            END,
            SETSCHEDULER_BEGIN,
            SETPARAM_BEGIN,
            SETATTR_BEGIN,
            SETAFFINITY_BEGIN,
            part(
                "process_schedule_fentry",
                Place::Fentry("security_task_setscheduler"),
            ),
        ],
    ),
    noted(
        Tier::Kprobe,
        &[
            END,
            SETSCHEDULER_BEGIN,
            SETPARAM_BEGIN,
            SETATTR_BEGIN,
            SETAFFINITY_BEGIN,
            part(
                "process_schedule_kprobe",
                Place::Kprobe("security_task_setscheduler"),
            ),
        ],
    ),
    calls(
        &[
            part(
                "process_setscheduler_enter",
                Place::Syscalls(&["sys_enter_sched_setscheduler"]),
            ),
            part(
                "process_setparam_enter",
                Place::Syscalls(&["sys_enter_sched_setparam"]),
            ),
            part(
                "process_setattr_enter",
                Place::Syscalls(&["sys_enter_sched_setattr"]),
            ),
            part(
                "process_setaffinity_enter",
                Place::Syscalls(&["sys_enter_sched_setaffinity"]),
            ),
        ],
        &[],
        "calls of 32-bit programs, and moves into cgroups that have CPUs of their own",
    ),
];

const fn noted(tier: Tier, parts: &'static [Part]) -> Way {
    way(tier, parts).needs(TARGET).blind_to(NOTED)
}

const END: Part = part(
    "process_schedule_end",
    Place::Syscalls(&[
        "sys_exit_sched_setscheduler",
        "sys_exit_sched_setparam",
        "sys_exit_sched_setattr",
        "sys_exit_sched_setaffinity",
    ]),
);
const SETSCHEDULER_BEGIN: Part = part(
    "process_setscheduler_begin",
    Place::Syscalls(&["sys_enter_sched_setscheduler"]),
);
const SETPARAM_BEGIN: Part = part(
    "process_setparam_begin",
    Place::Syscalls(&["sys_enter_sched_setparam"]),
);
const SETATTR_BEGIN: Part = part(
    "process_setattr_begin",
    Place::Syscalls(&["sys_enter_sched_setattr"]),
);
const SETAFFINITY_BEGIN: Part = part(
    "process_setaffinity_begin",
    Place::Syscalls(&["sys_enter_sched_setaffinity"]),
);
