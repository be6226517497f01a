//! Reading kernel objects through the layout, and the fields of a task that a record's header has.

use core::mem::MaybeUninit;

use aya_ebpf::helpers::generated::{bpf_get_current_comm, bpf_probe_read_kernel};
use aya_ebpf::helpers::{
    bpf_get_current_cgroup_id, bpf_get_current_pid_tgid, bpf_get_current_task,
    bpf_get_current_uid_gid,
};
use holdfast_wire::layout::ABSENT;
use holdfast_wire::record::{COMM_BYTES, Header, flags};

use crate::maps::SCRATCH;

/// The offset of a field of the running kernel: `offset!(task_mm)`.
#[macro_export]
macro_rules! offset {
    ($field:ident) => {
        $crate::maps::constant(&raw const $crate::maps::LAYOUT.$field)
    };
}

/// Reads a field; zero where the kernel does not have it or it cannot be read.
///
/// Straight on, without looking whether it failed (the helper then fills with zeros): every branch
/// here would be one more path through the rest of the program for the verifier.
#[inline(always)]
pub fn read<T: Copy>(base: u64, offset: u32) -> T {
    let mut value = MaybeUninit::<T>::uninit();
    if offset == ABSENT {
        // SAFETY: T is an integer or an array of integers at every call, for which zeros are a value.
        return unsafe { MaybeUninit::zeroed().assume_init() };
    }
    // SAFETY: the helper checks the address, and writes `size_of::<T>()` bytes in any case.
    unsafe {
        let from = base.wrapping_add(u64::from(offset)) as *const _;
        bpf_probe_read_kernel(value.as_mut_ptr().cast(), size_of::<T>() as u32, from);
        value.assume_init()
    }
}

/// A field that is a pointer.
#[inline(always)]
pub fn pointer(base: u64, offset: u32) -> u64 {
    read(base, offset)
}

/// The address of an embedded field; 0 where the kernel does not have it.
#[inline(always)]
pub fn embedded(base: u64, offset: u32) -> u64 {
    if offset == ABSENT {
        0
    } else {
        base.wrapping_add(u64::from(offset))
    }
}

/// The offset of a field of a struct that is in another; absent where either is.
#[inline(always)]
pub fn nested(outer: u32, inner: u32) -> u32 {
    if outer == ABSENT || inner == ABSENT {
        ABSENT
    } else {
        outer + inner
    }
}

/// The current task.
#[inline(always)]
pub fn current() -> u64 {
    // SAFETY: no preconditions.
    unsafe { bpf_get_current_task() }
}

/// A field of the current task.
#[inline(always)]
pub fn own<T: Copy>(offset: u32) -> T {
    read(current(), offset)
}

/// A field of the struct that a field of the current task points to.
#[inline(always)]
pub fn own_behind<T: Copy>(pointer: u32, offset: u32) -> T {
    read(own(pointer), offset)
}

/// Process id of the current task in the initial pid namespace.
#[inline(always)]
pub fn current_tgid() -> u32 {
    (bpf_get_current_pid_tgid() >> 32) as u32
}

/// `start_boottime` of the process of a task.
#[inline(always)]
pub fn process_start(task: u64) -> u64 {
    let leader = pointer(task, offset!(task_group_leader));
    read(leader, offset!(task_start_boottime))
}

/// `start_boottime` of the current process.
#[inline(always)]
pub fn own_start() -> u64 {
    process_start(current())
}

/// Fills what the header of the record in a slot says of the current task. The other fields are the caller's.
///
/// A global function, which the verifier walks once for a program, and not again for every way to it.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn fill_header(index: u32) -> u64 {
    let Some(slot) = SCRATCH.get_ptr_mut(index) else {
        return 0;
    };
    // SAFETY: a field of a map value, which is aligned to 8.
    let header = unsafe { (&raw mut (*slot).record).cast::<Header>() };
    let task = current();
    let pid_tgid = bpf_get_current_pid_tgid();
    let uid_gid = bpf_get_current_uid_gid();
    let cred = pointer(task, offset!(task_cred));
    let nsproxy = pointer(task, offset!(task_nsproxy));
    let mount_namespace = pointer(nsproxy, offset!(nsproxy_mnt_ns));
    let network_namespace = pointer(nsproxy, offset!(nsproxy_net_ns));
    let parent = pointer(task, offset!(task_real_parent));
    // SAFETY: it is large enough, and the run's alone; each field is written once.
    unsafe {
        (*header).boottime = crate::transport::boottime();
        (*header).start_boottime = process_start(task);
        (*header).cgroup_id = bpf_get_current_cgroup_id();
        (*header).effective_capabilities = read(cred, offset!(cred_cap_effective));
        (*header).exec_id = read(task, offset!(task_self_exec_id));
        (*header).tgid = (pid_tgid >> 32) as u32;
        (*header).tid = pid_tgid as u32;
        (*header).ppid = read(parent, offset!(task_tgid));
        (*header).uid = uid_gid as u32;
        (*header).gid = (uid_gid >> 32) as u32;
        (*header).euid = if offset!(cred_euid) == ABSENT {
            uid_gid as u32
        } else {
            read(cred, offset!(cred_euid))
        };
        (*header).loginuid = if offset!(task_loginuid) == ABSENT {
            u32::MAX
        } else {
            read(task, offset!(task_loginuid))
        };
        (*header).mount_namespace = read(mount_namespace, offset!(mnt_namespace_inum));
        (*header).pid_namespace = active_pid_namespace(task);
        (*header).network_namespace = read(network_namespace, offset!(net_inum));
        bpf_get_current_comm((&raw mut (*header).comm).cast(), COMM_BYTES as u32);
        if offset!(task_group_leader) == ABSENT {
            (*header).flags |= flags::NO_TASK_FIELDS;
        }
    }
    0
}

/// Inode of the pid namespace that the task lives in (`task_active_pid_ns`), not the one its
/// children will (`nsproxy->pid_ns_for_children`).
#[inline(always)]
fn active_pid_namespace(task: u64) -> u32 {
    /// `sizeof(struct upid)`: an int and a pointer.
    const UPID_BYTES: u64 = 16;
    let pid = pointer(task, offset!(task_thread_pid));
    let level: u32 = read(pid, offset!(pid_level));
    let numbers = embedded(pid, offset!(pid_numbers));
    let last = numbers.wrapping_add(u64::from(level) * UPID_BYTES);
    read(pointer(last, offset!(upid_ns)), offset!(pid_namespace_inum))
}
