//! Changes of user and group.

use aya_ebpf::helpers::generated::{bpf_probe_read_kernel, bpf_probe_read_user};
use aya_ebpf::macros::tracepoint;
use aya_ebpf::programs::TracePointContext;
use holdfast_wire::Kind;
use holdfast_wire::layout::ABSENT;
use holdfast_wire::record::flags;
use holdfast_wire::record::process::{GROUPS, Setid};

use crate::attach::{Arguments, Via};
use crate::bound::mask;
use crate::run::Run;
use crate::syscall::field;
use crate::task::{embedded, own, pointer, read};
use crate::{hook, offset};

// int security_task_fix_setuid(struct cred *new, const struct cred *old, int flags)
hook!(process_setuid_lsm process_setuid_fmod process_setuid_fentry process_setuid_kprobe, "task_fix_setuid", "security_task_fix_setuid", setuid);
// int security_task_fix_setgid(struct cred *new, const struct cred *old, int flags)
hook!(process_setgid_lsm process_setgid_fmod process_setgid_fentry process_setgid_kprobe, "task_fix_setgid", "security_task_fix_setgid", setgid);
// int security_task_fix_setgroups(struct cred *new, const struct cred *old), since 5.19
hook!(process_setgroups_lsm process_setgroups_fmod process_setgroups_fentry process_setgroups_kprobe, "task_fix_setgroups", "security_task_fix_setgroups", setgroups);

/// An id that is not known; as an argument of a call, one that stays.
const NONE: u32 = u32::MAX;

/// The four ids that a process has of each sort.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Ids {
    real: u32,
    effective: u32,
    saved: u32,
    filesystem: u32,
}

impl Ids {
    /// Those of the sort that `kind` changes.
    #[inline(always)]
    fn of(kind: Kind, cred: u64) -> Self {
        if kind as u16 == Kind::ProcessSetuid as u16 {
            Self {
                real: id(cred, offset!(cred_uid)),
                effective: id(cred, offset!(cred_euid)),
                saved: id(cred, offset!(cred_suid)),
                filesystem: id(cred, offset!(cred_fsuid)),
            }
        } else {
            Self {
                real: id(cred, offset!(cred_gid)),
                effective: id(cred, offset!(cred_egid)),
                saved: id(cred, offset!(cred_sgid)),
                filesystem: id(cred, offset!(cred_fsgid)),
            }
        }
    }
}

#[inline(always)]
fn id(cred: u64, offset: u32) -> u32 {
    if offset == ABSENT {
        NONE
    } else {
        read(cred, offset)
    }
}

#[inline(always)]
fn setuid(arguments: &impl Arguments, via: Via) -> i32 {
    fixed(Kind::ProcessSetuid, arguments, via)
}

#[inline(always)]
fn setgid(arguments: &impl Arguments, via: Via) -> i32 {
    fixed(Kind::ProcessSetgid, arguments, via)
}

/// New credentials and old ones. Programs that give up privileges which they do not have set the ids
/// that they have: nothing changes then, and nothing is told.
#[inline(always)]
fn fixed(kind: Kind, arguments: &impl Arguments, via: Via) -> i32 {
    let new = Ids::of(kind, arguments.argument(0));
    if new == Ids::of(kind, arguments.argument(1)) {
        return 0;
    }
    match Run::begin(kind, via) {
        Some(run) => judge(run, new, &Groups::Same, 0),
        None => 0,
    }
}

#[inline(always)]
fn setgroups(arguments: &impl Arguments, via: Via) -> i32 {
    let Some(run) = Run::begin(Kind::ProcessSetgid, via) else {
        return 0;
    };
    let new = arguments.argument(0);
    let info = pointer(new, offset!(cred_groups));
    let groups = Groups::Kernel {
        count: read(info, offset!(groups_count)),
        ids: embedded(info, offset!(groups_ids)),
    };
    judge(run, Ids::of(Kind::ProcessSetgid, new), &groups, 0)
}

/// Supplementary groups, and where they stand.
enum Groups {
    Same,
    Kernel { count: u32, ids: u64 },
    User { count: u32, ids: u64 },
}

/// [`GROUPS`] ids have this many bytes or fewer.
const GROUPS_MASK: i32 = 2 * (size_of::<u32>() * GROUPS) as i32 - 1;

#[inline(always)]
fn judge(mut run: Run, ids: Ids, groups: &Groups, record_flags: u32) -> i32 {
    let decided = run.decide();
    run.settle(
        decided,
        #[inline(always)]
        |record, _| {
            record.set_flags(record_flags);
            let fixed = record.fixed::<Setid>();
            let (count, mut groups_length) = match *groups {
                Groups::Same => (NONE, 0),
                Groups::Kernel { count, .. } | Groups::User { count, .. } => {
                    let carried = u64::from(count).min(GROUPS as u64);
                    (count, mask::<GROUPS_MASK>(4 * carried))
                }
            };
            if groups_length != 0 {
                let (to, bytes) = (record.tail().cast(), groups_length as u32);
                // SAFETY: the record has room for far more than `GROUPS_MASK` behind any offset.
                let failed = unsafe {
                    match *groups {
                        Groups::Kernel { ids, .. } => {
                            bpf_probe_read_kernel(to, bytes, ids as *const _)
                        }
                        Groups::User { ids, .. } => bpf_probe_read_user(to, bytes, ids as *const _),
                        Groups::Same => 0,
                    }
                };
                if failed == 0 {
                    record.advance(groups_length);
                } else {
                    groups_length = 0;
                    record.set_flags(flags::PART_UNREADABLE);
                }
            }
            // SAFETY: the fixed part of this record's buffer.
            unsafe {
                fixed.write(Setid {
                    real: ids.real,
                    effective: ids.effective,
                    saved: ids.saved,
                    filesystem: ids.filesystem,
                    groups: count,
                    groups_length: groups_length as u16,
                    reserved: 0,
                });
            }
        },
    )
}

/// The tracepoint tier: ids are what is asked for, in the caller's user namespace, and what the call
/// would make of them.
#[inline(always)]
fn asked(kind: Kind, context: &TracePointContext, change: impl FnOnce(Ids, u64) -> Ids) -> u32 {
    let cred = own(offset!(task_cred));
    let old = Ids::of(kind, cred);
    let new = change(old, cred);
    if new == old {
        return 0;
    }
    if let Some(run) = Run::begin(kind, Via::tracepoint(context)) {
        judge(run, new, &Groups::Same, flags::PATH_IS_ARGUMENT);
    }
    0
}

/// The id asked for, or the one that stays.
#[inline(always)]
fn or(asked: u64, stays: u32) -> u32 {
    match asked as u32 {
        NONE => stays,
        asked => asked,
    }
}

/// `setuid` and `setgid`: all ids with the capability, else only those in force.
#[inline(always)]
fn set(kind: Kind, context: &TracePointContext) -> u32 {
    // `include/uapi/linux/capability.h`
    const CAP_SETGID: u32 = 6;
    const CAP_SETUID: u32 = 7;
    let needed = if kind as u16 == Kind::ProcessSetuid as u16 {
        CAP_SETUID
    } else {
        CAP_SETGID
    };
    let asked_for = field(context, 0) as u32;
    asked(
        kind,
        context,
        #[inline(always)]
        |old, cred| {
            let effective: u64 = read(cred, offset!(cred_cap_effective));
            let all = effective >> needed & 1 == 1;
            Ids {
                real: if all { asked_for } else { old.real },
                effective: asked_for,
                saved: if all { asked_for } else { old.saved },
                filesystem: asked_for,
            }
        },
    )
}

/// `setreuid` and `setregid`
#[inline(always)]
fn set_two(kind: Kind, context: &TracePointContext) -> u32 {
    let (real, effective) = (field(context, 0), field(context, 1));
    asked(
        kind,
        context,
        #[inline(always)]
        |old, _| {
            let new = or(effective, old.effective);
            // `__sys_setreuid` of kernel/sys.c.
            let saves = real as u32 != NONE || effective as u32 != NONE && new != old.real;
            Ids {
                real: or(real, old.real),
                effective: new,
                saved: if saves { new } else { old.saved },
                filesystem: new,
            }
        },
    )
}

/// `setresuid` and `setresgid`
#[inline(always)]
fn set_three(kind: Kind, context: &TracePointContext) -> u32 {
    let (real, effective) = (field(context, 0), field(context, 1));
    let saved = field(context, 2);
    asked(
        kind,
        context,
        #[inline(always)]
        |old, _| {
            let effective = or(effective, old.effective);
            Ids {
                real: or(real, old.real),
                effective,
                saved: or(saved, old.saved),
                filesystem: effective,
            }
        },
    )
}

/// `setfsuid` and `setfsgid`
#[inline(always)]
fn set_filesystem(kind: Kind, context: &TracePointContext) -> u32 {
    let filesystem = field(context, 0);
    asked(
        kind,
        context,
        #[inline(always)]
        |old, _| Ids {
            filesystem: or(filesystem, old.filesystem),
            ..old
        },
    )
}

/// `sys_enter_setuid(uid)`
#[tracepoint]
pub fn process_setuid_enter(context: TracePointContext) -> u32 {
    set(Kind::ProcessSetuid, &context)
}

/// `sys_enter_setreuid(ruid, euid)`
#[tracepoint]
pub fn process_setreuid_enter(context: TracePointContext) -> u32 {
    set_two(Kind::ProcessSetuid, &context)
}

/// `sys_enter_setresuid(ruid, euid, suid)`
#[tracepoint]
pub fn process_setresuid_enter(context: TracePointContext) -> u32 {
    set_three(Kind::ProcessSetuid, &context)
}

/// `sys_enter_setfsuid(uid)`
#[tracepoint]
pub fn process_setfsuid_enter(context: TracePointContext) -> u32 {
    set_filesystem(Kind::ProcessSetuid, &context)
}

/// `sys_enter_setgid(gid)`
#[tracepoint]
pub fn process_setgid_enter(context: TracePointContext) -> u32 {
    set(Kind::ProcessSetgid, &context)
}

/// `sys_enter_setregid(rgid, egid)`
#[tracepoint]
pub fn process_setregid_enter(context: TracePointContext) -> u32 {
    set_two(Kind::ProcessSetgid, &context)
}

/// `sys_enter_setresgid(rgid, egid, sgid)`
#[tracepoint]
pub fn process_setresgid_enter(context: TracePointContext) -> u32 {
    set_three(Kind::ProcessSetgid, &context)
}

/// `sys_enter_setfsgid(gid)`
#[tracepoint]
pub fn process_setfsgid_enter(context: TracePointContext) -> u32 {
    set_filesystem(Kind::ProcessSetgid, &context)
}

/// `sys_enter_setgroups(gidsetsize, grouplist)`
#[tracepoint]
pub fn process_setgroups_enter(context: TracePointContext) -> u32 {
    if let Some(run) = Run::begin(Kind::ProcessSetgid, Via::tracepoint(&context)) {
        let ids = Ids::of(Kind::ProcessSetgid, own(offset!(task_cred)));
        let groups = Groups::User {
            count: field(&context, 0) as u32,
            ids: field(&context, 1),
        };
        judge(run, ids, &groups, flags::PATH_IS_ARGUMENT);
    }
    0
}
