//! A filter of system calls (seccomp(2)) that refuses what a sensor never does. It names what is refused, not what is
//! allowed: what the C library or tokio call with the next version must not end the sensor. All calls of another ABI
//! of the machine are refused as a whole, since their numbers mean something else: those of x32 like the rest, while
//! one of i386 or 32-bit ARM ends the process.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, apply_filter_all_threads,
};

/// System calls, by name and number.
type Calls = &'static [(&'static str, libc::c_long)];

/// Calls that are never made for the same reason.
struct Refused {
    /// What they do.
    deed: &'static str,
    calls: Calls,
}

/// `SYS_…` of the libc crate, with its name.
macro_rules! calls {
    ($($name:ident)*) => { &[$((stringify!($name), libc::$name)),*] };
}

/// What is refused whatever the arguments. The kernel side is there when this comes into force, so that nothing
/// is mounted any more.
const REFUSED: [Refused; 6] = [
    Refused {
        deed: "run programs",
        calls: calls!(SYS_execve SYS_execveat),
    },
    Refused {
        deed: "trace processes, or reach into their memory",
        calls: calls!(SYS_ptrace SYS_process_vm_readv SYS_process_vm_writev SYS_process_madvise SYS_kcmp),
    },
    Refused {
        deed: "load code into the kernel, or another kernel",
        calls: calls!(SYS_init_module SYS_finit_module SYS_delete_module SYS_kexec_load SYS_kexec_file_load),
    },
    Refused {
        deed: "mount, unmount, or change the root",
        calls: calls!(
            SYS_mount SYS_umount2 SYS_pivot_root SYS_chroot SYS_move_mount SYS_open_tree SYS_mount_setattr SYS_fsopen
            SYS_fsconfig SYS_fsmount SYS_fspick
        ),
    },
    Refused {
        deed: "change the clock, the name, swap, quotas or accounting of the machine, or end it",
        calls: calls!(
            SYS_reboot SYS_swapon SYS_swapoff SYS_sethostname SYS_setdomainname SYS_settimeofday SYS_clock_settime
            SYS_clock_adjtime SYS_adjtimex SYS_acct SYS_quotactl SYS_quotactl_fd SYS_vhangup
        ),
    },
    Refused {
        deed: "use parts of the kernel that are of no use to it: io_uring, userfaultfd, keyrings, personalities",
        calls: calls!(
            SYS_io_uring_setup SYS_io_uring_enter SYS_io_uring_register SYS_userfaultfd SYS_add_key SYS_request_key
            SYS_keyctl SYS_personality
        ),
    },
];

/// Likewise, on this machine alone.
#[cfg(target_arch = "x86_64")]
const OF_MACHINE: [Refused; 1] = [Refused {
    deed: "use I/O ports and segments",
    calls: calls!(SYS_iopl SYS_ioperm SYS_modify_ldt),
}];
#[cfg(not(target_arch = "x86_64"))]
const OF_MACHINE: [Refused; 0] = [];

/// A call that is made in one way only, and refused in all others.
struct Narrowed {
    deed: &'static str,
    call: (&'static str, libc::c_long),
    /// Which argument tells, of 32 bits, and what it has to be.
    argument: u8,
    allowed: libc::c_int,
}

/// `FD_NSFS_ROOT` of `include/uapi/linux/fcntl.h`
const FD_NSFS_ROOT: libc::c_int = -10003;

/// All of them are of `holdfast_actors::namespace`.
const NARROWED: [Narrowed; 3] = [
    Narrowed {
        deed: "make namespaces",
        call: ("SYS_unshare", libc::SYS_unshare),
        argument: 0,
        allowed: libc::CLONE_FS,
    },
    Narrowed {
        deed: "enter namespaces other than of mounts",
        call: ("SYS_setns", libc::SYS_setns),
        argument: 1,
        allowed: libc::CLONE_NEWNS,
    },
    Narrowed {
        deed: "open files by handles, other than namespaces",
        call: ("SYS_open_by_handle_at", libc::SYS_open_by_handle_at),
        argument: 0,
        allowed: FD_NSFS_ROOT,
    },
];

/// Flags of clone(2) that make namespaces. `CLONE_NEWTIME` is none of its: the bit is part of the signal there.
const NEW_NAMESPACES: [libc::c_int; 7] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];

/// What is refused by what it does, with the names of the calls.
pub(super) fn refused() -> BTreeMap<&'static str, Vec<&'static str>> {
    let name = |name: &'static str| name.trim_start_matches("SYS_");
    let whole = REFUSED.iter().chain(&OF_MACHINE).map(|refused| {
        let names = refused.calls.iter().map(|call| name(call.0)).collect();
        (refused.deed, names)
    });
    let narrowed = NARROWED
        .iter()
        .map(|narrowed| (narrowed.deed, vec![name(narrowed.call.0)]));
    let clones = (
        "make namespaces for a new process or thread",
        vec!["clone", "clone3"],
    );
    whole.chain(narrowed).chain([clones]).collect()
}

/// Puts it into force in all threads, those to come included.
///
/// # Errors
/// When the kernel takes none.
pub(super) fn put_in_force() -> Result<(), seccompiler::Error> {
    apply_filter_all_threads(&program()?)
}

fn program() -> Result<BpfProgram, seccompiler::BackendError> {
    let whole = REFUSED
        .iter()
        .chain(&OF_MACHINE)
        .flat_map(|refused| refused.calls)
        // No rule: whatever the arguments.
        .map(|(_, number)| Ok((*number, Vec::new())));
    let narrowed = NARROWED.iter().map(|narrowed| {
        let other = SeccompCondition::new(
            narrowed.argument,
            SeccompCmpArgLen::Dword,
            SeccompCmpOp::Ne,
            u64::from(narrowed.allowed.cast_unsigned()),
        )?;
        Ok((narrowed.call.1, vec![SeccompRule::new(vec![other])?]))
    });
    let made = NEW_NAMESPACES.map(|flag| {
        let flag = u64::from(flag.cast_unsigned());
        let has = SeccompCmpOp::MaskedEq(flag);
        SeccompRule::new(vec![SeccompCondition::new(
            0,
            SeccompCmpArgLen::Dword,
            has,
            flag,
        )?])
    });
    let clone = made
        .into_iter()
        .collect::<Result<_, _>>()
        .map(|rules| (libc::SYS_clone, rules));
    let filter = SeccompFilter::new(
        whole
            .chain(narrowed)
            .chain([clone])
            .collect::<Result<_, seccompiler::BackendError>>()?,
        SeccompAction::Allow,
        SeccompAction::Errno(libc::EPERM.cast_unsigned()),
        TargetArch::try_from(std::env::consts::ARCH)?,
    )?;
    let mut program = by_number();
    program.extend(BpfProgram::try_from(filter)?);
    Ok(program)
}

/// What a filter cannot say of a call, and comes in front of it.
fn by_number() -> BpfProgram {
    use seccompiler::sock_filter;
    /// `__X32_SYSCALL_BIT` of `arch/x86/include/uapi/asm/unistd.h`
    const X32: u32 = 1 << 30;
    let instruction = |code: u32, jf: u8, k: u32| sock_filter {
        // The codes of `include/uapi/linux/bpf_common.h` have a byte.
        code: code as u16,
        jt: 0,
        jf,
        k,
    };
    let refuse = |error: libc::c_int| libc::SECCOMP_RET_ERRNO | error.cast_unsigned();
    let mut program = vec![
        // The number is the first field of `struct seccomp_data`.
        instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0),
        // Its flags are in memory, where no filter sees them; the C library then makes its threads by clone.
        instruction(
            libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
            1,
            libc::SYS_clone3 as u32,
        ),
        instruction(libc::BPF_RET | libc::BPF_K, 0, refuse(libc::ENOSYS)),
    ];
    if cfg!(target_arch = "x86_64") {
        // x32 has the same architecture and a bit in its numbers, so that no rule would be met by them.
        program.extend([
            instruction(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K, 1, X32),
            instruction(libc::BPF_RET | libc::BPF_K, 0, refuse(libc::EPERM)),
        ]);
    }
    program
}

#[cfg(test)]
mod tests;
