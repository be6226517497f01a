//! Capabilities: which are used, and which a thread has.

use aya_ebpf::EbpfContext;
use aya_ebpf::bindings::BPF_ANY;
use aya_ebpf::helpers::generated::{bpf_ktime_get_ns, bpf_probe_read_user};
use aya_ebpf::macros::{raw_tracepoint, tracepoint};
use aya_ebpf::programs::{RawTracePointContext, TracePointContext};
use holdfast_wire::Kind;
use holdfast_wire::record::capability::{Set, Use};

use crate::attach::{Arguments, Via};
use crate::counter::add;
use crate::decide;
use crate::maps::{LastUse, USES, UseKey};
use crate::run::Run;
use crate::syscall::field;
use crate::task::{current_tgid, own, own_start, pointer, read};
use crate::{hook, offset};

// int security_capable(const struct cred *cred, struct user_namespace *ns, int cap, unsigned int opts)
hook!(capability_use_lsm capability_use_fmod capability_use_fentry capability_use_kprobe, "capable", "security_capable", used);
// int security_capset(struct cred *new, const struct cred *old, const kernel_cap_t *effective, const kernel_cap_t *inheritable, const kernel_cap_t *permitted)
hook!(capability_set_lsm capability_set_fmod capability_set_fentry capability_set_kprobe, "capset", "security_capset", set);

/// How long one use of a capability stands for those that follow, in nanoseconds: long enough that a
/// program which uses one all the time makes a record now and then, and short enough that somebody who
/// watches sees it.
const INTERVAL: u64 = 10_000_000_000;

#[inline(always)]
fn used(arguments: &impl Arguments, via: Via) -> i32 {
    /// `include/linux/security.h`: the kernel only looks whether it would be allowed.
    const CAP_OPT_NOAUDIT: u32 = 2;
    if arguments.argument(3) as u32 & CAP_OPT_NOAUDIT != 0 {
        return 0;
    }
    let (cred, user_namespace) = (arguments.argument(0), arguments.argument(1));
    let capability = arguments.argument(2) as u32;
    if has(cred, user_namespace, capability) {
        judge_use(via, user_namespace, capability)
    } else {
        0
    }
}

/// Whether credentials have a capability in a user namespace: as `cap_capable` of security/commoncap.c.
#[inline(always)]
fn has(cred: u64, target: u64, capability: u32) -> bool {
    /// User namespaces in each other (`create_user_ns` allows 33 levels).
    const LEVELS: u32 = 33;
    let own = pointer(cred, offset!(cred_user_ns));
    let mut namespace = target;
    if namespace == own {
        let effective: u64 = read(cred, offset!(cred_cap_effective));
        return effective >> (capability & 63) & 1 == 1;
    }
    // One below the own, which the owner of its ancestor may do anything in.
    let own_level: u32 = read(own, offset!(user_namespace_level));
    let owner: u32 = read(cred, offset!(cred_euid));
    for _ in 0..LEVELS {
        let level: u32 = read(namespace, offset!(user_namespace_level));
        if level <= own_level {
            return false;
        }
        let parent = pointer(namespace, offset!(user_namespace_parent));
        if parent == own {
            let effective: u64 = read(cred, offset!(cred_cap_effective));
            let owned = read::<u32>(namespace, offset!(user_namespace_owner)) == owner;
            return owned || effective >> (capability & 63) & 1 == 1;
        }
        namespace = parent;
    }
    false
}

/// `cap_capable(cred, target_ns, capable_ns, cap, ret)`, since 6.14: also where the kernel only looks
/// whether it would be allowed.
// void cap_capable(const struct cred *cred, struct user_namespace *target_ns, const struct user_namespace *capable_ns, int cap, int ret), since 6.14
#[raw_tracepoint(tracepoint = "cap_capable")]
pub fn capability_use_tracepoint(context: RawTracePointContext) -> i32 {
    let argument = |n: usize| {
        // SAFETY: the verifier checks `n` against the most arguments that a raw tracepoint has.
        unsafe { context.as_ptr().cast::<u64>().add(n).read() }
    };
    if argument(4) as u32 == 0 {
        judge_use(Via::tracepoint(&context), argument(1), argument(3) as u32);
    }
    0
}

#[inline(always)]
fn judge_use(via: Via, user_namespace: u64, capability: u32) -> i32 {
    let Some(mut run) = Run::begin(Kind::CapabilityUse, via) else {
        return 0;
    };
    decide::by_port(&mut run, capability as u16);
    let decided = run.decide();
    let mut suppressed = 0;
    if run.is_wanted(decided) {
        let key = UseKey {
            user_namespace,
            tgid: current_tgid(),
            capability,
        };
        let this = LastUse {
            start_boottime: own_start(),
            // SAFETY: no preconditions.
            told_at: unsafe { bpf_ktime_get_ns() },
            suppressed: 0,
            exec_id: own(offset!(task_self_exec_id)),
            epoch: run.hook.epoch,
        };
        match before(&key, &this) {
            Before::Recent => return run.repeat(decided),
            Before::Suppressed(count) => suppressed = count,
        }
    }
    run.settle(
        decided,
        #[inline(always)]
        |record, _| {
            // SAFETY: the fixed part of this record's buffer.
            unsafe {
                record.fixed::<Use>().write(Use {
                    suppressed,
                    capability,
                    user_namespace: read(user_namespace, offset!(user_namespace_inum)),
                });
            }
        },
    )
}

/// What came before a use.
enum Before {
    /// One that was told of, so recently that this one is not.
    Recent,
    /// So many that were not.
    Suppressed(u64),
}

#[inline(always)]
fn before(key: &UseKey, this: &LastUse) -> Before {
    if let Some(last) = USES.get_ptr_mut(key) {
        // SAFETY: a map value; its fields are aligned. Where two CPUs come at once, each may tell of
        // its own; what is taken off the count is what is told, so none is lost.
        unsafe {
            let same = (*last).start_boottime == this.start_boottime
                && (*last).exec_id == this.exec_id
                && (*last).epoch == this.epoch;
            let told_at = (&raw const (*last).told_at).read_volatile();
            let count = &raw mut (*last).suppressed;
            if same && this.told_at.wrapping_sub(told_at) < INTERVAL {
                add(count, 1);
                return Before::Recent;
            }
            if same {
                let suppressed = count.read_volatile();
                add(count, suppressed.wrapping_neg());
                (&raw mut (*last).told_at).write_volatile(this.told_at);
                return Before::Suppressed(suppressed);
            }
        }
    }
    // Where there is no room the next is told of too.
    let _ = USES.insert(key, this, u64::from(BPF_ANY));
    Before::Suppressed(0)
}

#[inline(always)]
fn set(arguments: &impl Arguments, via: Via) -> i32 {
    let old = arguments.argument(1);
    let set = Set {
        effective: read(arguments.argument(2), 0),
        permitted: read(arguments.argument(4), 0),
        inheritable: read(arguments.argument(3), 0),
    };
    judge_set(via, old, set)
}

/// `sys_enter_capset(header, data)`: both are the caller's memory.
#[tracepoint]
pub fn capability_set_enter(context: TracePointContext) -> u32 {
    /// `include/uapi/linux/capability.h`: the version of 32 capabilities.
    const VERSION_1: u32 = 0x1998_0330;
    /// `struct __user_cap_data_struct`: effective, permitted, inheritable; the second of them has those
    /// beyond 31.
    type Data = [u32; 6];
    let mut version = 0u32;
    let mut data: Data = [0; 6];
    // SAFETY: the helper writes at most the arrays; where it fails, zeros are what is known.
    unsafe {
        bpf_probe_read_user(
            (&raw mut version).cast(),
            size_of::<u32>() as u32,
            field(&context, 0) as *const _,
        );
        let bytes = if version == VERSION_1 {
            size_of::<Data>() as u32 / 2
        } else {
            size_of::<Data>() as u32
        };
        bpf_probe_read_user(
            data.as_mut_ptr().cast(),
            bytes,
            field(&context, 1) as *const _,
        );
    }
    let all = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
    let set = Set {
        effective: all(data[0], data[3]),
        permitted: all(data[1], data[4]),
        inheritable: all(data[2], data[5]),
    };
    let cred = own(offset!(task_cred));
    judge_set(Via::tracepoint(&context), cred, set);
    0
}

/// Programs that give up what they do not have set what they have: nothing changes then, and nothing is
/// told.
#[inline(always)]
fn judge_set(via: Via, old: u64, set: Set) -> i32 {
    let changes = read::<u64>(old, offset!(cred_cap_effective)) ^ set.effective
        | read::<u64>(old, offset!(cred_cap_permitted)) ^ set.permitted
        | read::<u64>(old, offset!(cred_cap_inheritable)) ^ set.inheritable;
    if changes == 0 {
        return 0;
    }
    Run::tell(Kind::CapabilitySet, via, 0, set)
}
