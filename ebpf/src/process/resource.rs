//! What a process may have: limits, and its share of the CPUs.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::helpers::generated::bpf_probe_read_user;
use aya_ebpf::macros::tracepoint;
use aya_ebpf::programs::TracePointContext;
use holdfast_wire::Kind;
use holdfast_wire::record::flags;
use holdfast_wire::record::process::{Rlimit, Setscheduler, scheduling};

use crate::attach::{Arguments, Via};
use crate::maps::{SCHEDULINGS, Scheduling};
use crate::run::Run;
use crate::syscall::field;
use crate::task::{current, current_tgid, embedded, pointer, process_start, read};
use crate::{hook, offset};

// int security_task_setrlimit(struct task_struct *p, unsigned int resource, struct rlimit *new_rlim)
hook!(process_rlimit_lsm process_rlimit_fmod process_rlimit_fentry process_rlimit_kprobe, "task_setrlimit", "security_task_setrlimit", set_limit);
// int security_task_setscheduler(struct task_struct *p)
hook!(process_schedule_lsm process_schedule_fmod process_schedule_fentry process_schedule_kprobe, "task_setscheduler", "security_task_setscheduler", schedule);

/// `struct rlimit`: the limit, and what it may be raised to.
type Limit = [u64; 2];

#[inline(always)]
fn set_limit(arguments: &impl Arguments, via: Via) -> i32 {
    let target = arguments.argument(0);
    let resource = arguments.argument(1) as u32;
    let limit: Limit = read(arguments.argument(2), 0);
    // Services are started with limits that most of them have already.
    let limits = embedded(
        pointer(target, offset!(task_signal)),
        offset!(signal_limits),
    );
    let now: Limit = read(limits, resource * size_of::<Limit>() as u32);
    if limit[0] ^ now[0] | limit[1] ^ now[1] == 0 {
        return 0;
    }
    Run::tell_of_target(
        Kind::ProcessRlimit,
        via,
        0,
        Some(target),
        Rlimit {
            target_start_boottime: process_start(target),
            soft: limit[0],
            hard: limit[1],
            target_tgid: read(target, offset!(task_tgid)),
            resource,
        },
    )
}

/// `sys_enter_prlimit64(pid, resource, new_rlim, old_rlim)`
#[tracepoint]
pub fn process_prlimit_enter(context: TracePointContext) -> u32 {
    let new = field(&context, 2);
    // Else it is only asked for.
    if new != 0 {
        asked_limit(&context, field(&context, 0) as i32, field(&context, 1), new);
    }
    0
}

/// `sys_enter_setrlimit(resource, rlim)`
#[tracepoint]
pub fn process_setrlimit_enter(context: TracePointContext) -> u32 {
    asked_limit(&context, 0, field(&context, 0), field(&context, 1));
    0
}

/// `target`: in the caller's pid namespace; 0 is the caller.
#[inline(always)]
fn asked_limit(context: &TracePointContext, target: i32, resource: u64, user: u64) {
    let mut limit: Limit = [0; 2];
    // SAFETY: the helper writes at most the array; where it fails, so does the call.
    let failed = unsafe {
        bpf_probe_read_user(
            limit.as_mut_ptr().cast(),
            size_of::<Limit>() as u32,
            user as *const _,
        )
    };
    if failed != 0 {
        return;
    }
    let (task, target_tgid, record_flags) = argument(target);
    let rlimit = Rlimit {
        target_start_boottime: task.map_or(0, process_start),
        soft: limit[0],
        hard: limit[1],
        target_tgid,
        resource: resource as u32,
    };
    let via = Via::tracepoint(context);
    Run::tell_of_target(Kind::ProcessRlimit, via, record_flags, task, rlimit);
}

/// A target that is an argument: its task where it is the caller, its number, and what the record says of it.
#[inline(always)]
fn argument(target: i32) -> (Option<u64>, i32, u32) {
    if target == 0 {
        (Some(current()), current_tgid() as i32, 0)
    } else {
        (None, target, flags::PATH_IS_ARGUMENT)
    }
}

/// What is not said.
const NOT_GIVEN: Scheduling = Scheduling {
    call: scheduling::NONE,
    policy: u32::MAX,
    priority: -1,
    reserved: 0,
};

#[inline(always)]
fn schedule(arguments: &impl Arguments, via: Via) -> i32 {
    let target = arguments.argument(0);
    // SAFETY: a value of this map is its thread's own.
    let asked = match unsafe { SCHEDULINGS.get(bpf_get_current_pid_tgid()) } {
        Some(asked) => *asked,
        None => NOT_GIVEN,
    };
    judge_schedule(
        via,
        asked,
        Some(target),
        read(target, offset!(task_tgid)),
        0,
    )
}

#[inline(always)]
fn judge_schedule(
    via: Via,
    asked: Scheduling,
    target: Option<u64>,
    target_tgid: i32,
    record_flags: u32,
) -> i32 {
    let told = Setscheduler {
        target_start_boottime: target.map_or(0, process_start),
        target_tgid,
        call: asked.call,
        policy: asked.policy,
        priority: asked.priority,
    };
    Run::tell_of_target(Kind::ProcessSetscheduler, via, record_flags, target, told)
}

/// `SCHED_RESET_ON_FORK` of `include/uapi/linux/sched.h`, which stands beside the policy.
const SCHED_RESET_ON_FORK: u32 = 0x4000_0000;

/// `sched_setscheduler(pid, policy, param)`
#[inline(always)]
fn by_setscheduler(context: &TracePointContext) -> Scheduling {
    Scheduling {
        call: scheduling::SETSCHEDULER,
        policy: field(context, 1) as u32 & !SCHED_RESET_ON_FORK,
        priority: priority(field(context, 2)),
        reserved: 0,
    }
}

/// `sched_setparam(pid, param)`
#[inline(always)]
fn by_setparam(context: &TracePointContext) -> Scheduling {
    Scheduling {
        call: scheduling::SETPARAM,
        priority: priority(field(context, 1)),
        ..NOT_GIVEN
    }
}

/// `sched_setattr(pid, uattr, flags)`
#[inline(always)]
fn by_setattr(context: &TracePointContext) -> Scheduling {
    // The head of `struct sched_attr`: size, policy, flags, nice value and priority.
    let mut head = [0u32; 6];
    // SAFETY: the helper writes at most the array.
    let failed = unsafe {
        bpf_probe_read_user(
            head.as_mut_ptr().cast(),
            size_of::<[u32; 6]>() as u32,
            field(context, 1) as *const _,
        )
    };
    let call = scheduling::SETATTR;
    if failed == 0 {
        Scheduling {
            call,
            policy: head[1],
            priority: head[5] as i32,
            reserved: 0,
        }
    } else {
        Scheduling { call, ..NOT_GIVEN }
    }
}

/// `sched_setaffinity(pid, len, user_mask_ptr)`
#[inline(always)]
fn by_setaffinity(_: &TracePointContext) -> Scheduling {
    Scheduling {
        call: scheduling::SETAFFINITY,
        ..NOT_GIVEN
    }
}

/// `struct sched_param`, which has nothing but the priority.
#[inline(always)]
fn priority(user: u64) -> i32 {
    let mut priority = -1i32;
    // SAFETY: the helper writes at most the number.
    let failed = unsafe {
        bpf_probe_read_user(
            (&raw mut priority).cast(),
            size_of::<i32>() as u32,
            user as *const _,
        )
    };
    if failed == 0 { priority } else { -1 }
}

/// Two programs at the entry of a call that changes how a thread is scheduled: one that notes it for the
/// security function, and one where there is nothing else. The target is the first argument.
macro_rules! scheduling_call {
    ($begin:ident $enter:ident, $of:ident) => {
        #[doc = concat!("Notes what is asked for: see `", stringify!($of), "`.")]
        #[tracepoint]
        pub fn $begin(context: TracePointContext) -> u32 {
            // Where there is no room, the event lacks what is asked for.
            let _ = SCHEDULINGS.insert(bpf_get_current_pid_tgid(), $of(&context), 0);
            0
        }

        #[doc = concat!("Tells of what is asked for: see `", stringify!($of), "`.")]
        #[tracepoint]
        pub fn $enter(context: TracePointContext) -> u32 {
            let (target, tgid, record_flags) = argument(field(&context, 0) as i32);
            let via = Via::tracepoint(&context);
            judge_schedule(via, $of(&context), target, tgid, record_flags);
            0
        }
    };
}

scheduling_call!(process_setscheduler_begin process_setscheduler_enter, by_setscheduler);
scheduling_call!(process_setparam_begin process_setparam_enter, by_setparam);
scheduling_call!(process_setattr_begin process_setattr_enter, by_setattr);
scheduling_call!(process_setaffinity_begin process_setaffinity_enter, by_setaffinity);

/// The end of these calls.
#[tracepoint]
pub fn process_schedule_end(_context: TracePointContext) -> u32 {
    let _ = SCHEDULINGS.remove(bpf_get_current_pid_tgid());
    0
}
