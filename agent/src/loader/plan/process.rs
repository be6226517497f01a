//! Life and death of processes, and what they do to each other.

use holdfast_wire::control::Tier;

use super::{Part, Place, Way, calls, part, way};

const EXECUTED: Part = part("process_exec", Place::RawTracepoint("sched_process_exec"));

/// What the capabilities were before.
const CREDENTIALS: &str = "security_bprm_committing_creds";
const BY_TRAMPOLINE: Part = part("process_creds_fentry", Place::Fentry(CREDENTIALS));
const BY_BREAKPOINT: Part = part("process_creds_kprobe", Place::Kprobe(CREDENTIALS));

pub(super) static EXEC: &[Way] = &[
    way(
        Tier::Lsm,
        &[
            EXECUTED,
            BY_TRAMPOLINE,
            part("process_exec_lsm", Place::Lsm("bprm_check_security")),
        ],
    ),
    way(
        Tier::FmodRet,
        &[
            EXECUTED,
            BY_TRAMPOLINE,
            part("process_exec_fmod", Place::FmodRet("security_bprm_check")),
        ],
    ),
    way(Tier::Fentry, &[EXECUTED, BY_TRAMPOLINE]),
    way(Tier::Kprobe, &[EXECUTED, BY_BREAKPOINT]),
    way(Tier::Tracepoint, &[EXECUTED])
        .blind_to("capabilities that are gained, where others were given up since the last event"),
    // Without offsets the record has no more than helpers give; the agent completes it from /proc.
    Way {
        tier: Tier::Tracepoint,
        parts: &[EXECUTED],
        needs: &[],
        blind_to: "what /proc no longer shows when the record is read",
    },
];

pub(super) static FORK: &[Way] = &[Way {
    tier: Tier::Tracepoint,
    parts: &[part("process_fork", Place::RawTracepoint("task_newtask"))],
    needs: &["task_tgid", "task_pid"],
    blind_to: "",
}];

pub(super) static EXIT: &[Way] = &[Way {
    tier: Tier::Tracepoint,
    parts: &[part(
        "process_exit",
        Place::RawTracepoint("sched_process_exit"),
    )],
    needs: &[],
    blind_to: "",
}];

pub(super) static SIGNAL: &[Way] = security!(
    ["process_signal", "task_kill", "security_task_kill"];
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

pub(super) static PTRACE: &[Way] = security!(
    ["process_ptrace", "ptrace_access_check", "security_ptrace_access_check"],
    ["process_traceme", "ptrace_traceme", "security_ptrace_traceme"];
    calls(
        &[part(
            "process_ptrace_enter",
            Place::Syscalls(&["sys_enter_ptrace"]),
        )],
        &[],
        "memory read or written without tracing",
    )
);
