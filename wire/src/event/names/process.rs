//! Names around what processes may have, by number.

use std::borrow::Cow;

use crate::record::process::scheduling;

/// Resources by number (`include/uapi/asm-generic/resource.h`).
const RESOURCES: [&str; 16] = [
    "RLIMIT_CPU",
    "RLIMIT_FSIZE",
    "RLIMIT_DATA",
    "RLIMIT_STACK",
    "RLIMIT_CORE",
    "RLIMIT_RSS",
    "RLIMIT_NPROC",
    "RLIMIT_NOFILE",
    "RLIMIT_MEMLOCK",
    "RLIMIT_AS",
    "RLIMIT_LOCKS",
    "RLIMIT_SIGPENDING",
    "RLIMIT_MSGQUEUE",
    "RLIMIT_NICE",
    "RLIMIT_RTPRIO",
    "RLIMIT_RTTIME",
];

/// `RLIMIT_NOFILE` for 7; those without a name as their number.
#[must_use]
pub fn resource_name(number: u32) -> Cow<'static, str> {
    named(&RESOURCES, number)
}

/// Scheduling policies by number (`include/uapi/linux/sched.h`).
const POLICIES: [&str; 8] = [
    "SCHED_OTHER",
    "SCHED_FIFO",
    "SCHED_RR",
    "SCHED_BATCH",
    "4",
    "SCHED_IDLE",
    "SCHED_DEADLINE",
    "SCHED_EXT",
];

/// `SCHED_FIFO` for 1; those without a name as their number.
#[must_use]
pub fn scheduling_policy_name(number: u32) -> Cow<'static, str> {
    named(&POLICIES, number)
}

/// The system call behind a [`Setscheduler::call`](crate::record::process::Setscheduler::call); `None`
/// where there is none.
#[must_use]
pub const fn scheduling_call_name(number: u32) -> Option<&'static str> {
    Some(match number {
        scheduling::SETSCHEDULER => "sched_setscheduler",
        scheduling::SETPARAM => "sched_setparam",
        scheduling::SETATTR => "sched_setattr",
        scheduling::SETAFFINITY => "sched_setaffinity",
        _ => return None,
    })
}

fn named(names: &[&'static str], number: u32) -> Cow<'static, str> {
    names
        .get(number as usize)
        .map_or_else(|| number.to_string().into(), |name| (*name).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_kernels() {
        assert_eq!(resource_name(15), "RLIMIT_RTTIME");
        assert_eq!(resource_name(16), "16");
        assert_eq!(scheduling_policy_name(6), "SCHED_DEADLINE");
        assert_eq!(scheduling_call_name(scheduling::NONE), None);
    }
}
