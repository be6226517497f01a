//! Which programs serve which hook in which tier, as data. One more way to attach a hook is one line.

use std::borrow::Cow;

use holdfast_wire::Kind;
use holdfast_wire::control::Tier;

/// One program and where it is attached.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    /// Name of the program in the object.
    pub(crate) program: &'static str,
    /// Where.
    pub(crate) place: Place,
}

/// A place in the kernel.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    /// A BPF LSM hook.
    Lsm(&'static str),
    /// Modify-return on a function.
    FmodRet(&'static str),
    /// Modify-return on the function of a system call.
    FmodRetCall(&'static str),
    /// Entry of a function, by trampoline.
    Fentry(&'static str),
    /// Return of a function, by trampoline.
    Fexit(&'static str),
    /// Entry of a function, by breakpoint.
    Kprobe(&'static str),
    /// A raw tracepoint.
    RawTracepoint(&'static str),
    /// Tracepoints in the category `syscalls`; those that an architecture does not have are left out,
    /// as long as the first is there.
    Syscalls(&'static [&'static str]),
    /// Nothing to attach: the kernel has none of these, as above, so that it cannot happen.
    Nowhere(&'static [&'static str]),
}

impl Place {
    /// The kernel's function, where a program is loaded for one: it is attached there by a trampoline.
    pub(super) fn function(self) -> Option<Cow<'static, str>> {
        match self {
            // `LSM_HOOK` of kernel/bpf/bpf_lsm.c
            Self::Lsm(hook) => Some(format!("bpf_lsm_{hook}").into()),
            Self::FmodRetCall(call) => Some(function_of(call).into()),
            Self::FmodRet(function) | Self::Fentry(function) | Self::Fexit(function) => {
                Some(function.into())
            }
            Self::Kprobe(_) | Self::RawTracepoint(_) | Self::Syscalls(_) | Self::Nowhere(_) => None,
        }
    }
}

/// The function of a system call (`SYSCALL_DEFINEx` of `arch/*/include/asm/syscall_wrapper.h`).
fn function_of(call: &str) -> String {
    let prefix = if cfg!(target_arch = "aarch64") {
        "arm64"
    } else {
        "x64"
    };
    format!("__{prefix}_sys_{call}")
}

/// A way to attach a hook.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    /// Its tier.
    pub(crate) tier: Tier,
    /// All of these, or the way is not to be had.
    pub(crate) parts: &'static [Part],
    /// Fields of the layout without which it sees nothing.
    pub(crate) needs: &'static [&'static str],
    /// What it cannot see, for `doctor`; empty when nothing.
    pub(crate) blind_to: &'static str,
}

impl Way {
    const fn needs(self, needs: &'static [&'static str]) -> Self {
        Self { needs, ..self }
    }

    const fn blind_to(self, blind_to: &'static str) -> Self {
        Self { blind_to, ..self }
    }
}

const fn part(program: &'static str, place: Place) -> Part {
    Part { program, place }
}

const fn way(tier: Tier, parts: &'static [Part]) -> Way {
    Way {
        tier,
        parts,
        needs: WALK,
        blind_to: "",
    }
}

/// What walking to the root of a path needs.
const WALK: &[&str] = &["file_path", "path_dentry", "dentry_parent", "mount_mnt"];

/// The last way of what some kernels are built without.
const fn nowhere(parts: &'static [Part]) -> Way {
    Way {
        tier: Tier::Tracepoint,
        parts,
        needs: &[],
        blind_to: "anything, for this kernel has no such call",
    }
}

/// The ways to attach to security functions, then those by tracepoints. An operation that passes one
/// of several functions has a program for each: `security!(["prefix", "LSM hook", "function"], …; …)`.
/// What even these do not see stands in front: `security!("what"; […], …; …)`. Behind them may stand
/// what they need, if that is not what a path needs: `needs FIELDS`.
macro_rules! security {
    ($([$prefix:literal, $hook:literal, $function:literal]),+; $($tracepoint:expr),* $(,)?) => {
        security!(""; $([$prefix, $hook, $function]),+, needs $crate::loader::plan::WALK; $($tracepoint),*)
    };
    ($blind_to:literal; $([$prefix:literal, $hook:literal, $function:literal]),+; $($tracepoint:expr),* $(,)?) => {
        security!($blind_to; $([$prefix, $hook, $function]),+, needs $crate::loader::plan::WALK; $($tracepoint),*)
    };
    (
        $([$prefix:literal, $hook:literal, $function:literal]),+, needs $needs:expr;
        $($tracepoint:expr),* $(,)?
    ) => {
        security!(""; $([$prefix, $hook, $function]),+, needs $needs; $($tracepoint),*)
    };
    (
        $blind_to:literal; $([$prefix:literal, $hook:literal, $function:literal]),+, needs $needs:expr;
        $($tracepoint:expr),* $(,)?
    ) => {
        &[
            security!(lsm $([$prefix, $hook, $function]),+).needs($needs).blind_to($blind_to),
            security!(fmod_ret $([$prefix, $hook, $function]),+).needs($needs).blind_to($blind_to),
            security!(fentry $([$prefix, $hook, $function]),+).needs($needs).blind_to($blind_to),
            security!(kprobe $([$prefix, $hook, $function]),+).needs($needs).blind_to($blind_to),
            $($tracepoint,)*
        ]
    };
    (lsm $([$prefix:literal, $hook:literal, $function:literal]),+) => {
        way(Tier::Lsm, &[$(part(concat!($prefix, "_lsm"), Place::Lsm($hook))),+])
    };
    (fmod_ret $([$prefix:literal, $hook:literal, $function:literal]),+) => {
        way(Tier::FmodRet, &[$(part(concat!($prefix, "_fmod"), Place::FmodRet($function))),+])
    };
    (fentry $([$prefix:literal, $hook:literal, $function:literal]),+) => {
        way(Tier::Fentry, &[$(part(concat!($prefix, "_fentry"), Place::Fentry($function))),+])
    };
    (kprobe $([$prefix:literal, $hook:literal, $function:literal]),+) => {
        way(Tier::Kprobe, &[$(part(concat!($prefix, "_kprobe"), Place::Kprobe($function))),+])
    };
}

mod capability;
mod credentials;
mod dns;
mod file;
mod ipc;
mod memory;
mod mount;
mod namespace;
mod network;
mod process;
mod resource;
mod xattr;

/// A way by system call tracepoints, which needs no offsets, or those named.
const fn calls(
    parts: &'static [Part],
    needs: &'static [&'static str],
    blind_to: &'static str,
) -> Way {
    Way {
        tier: Tier::Tracepoint,
        parts,
        needs,
        blind_to,
    }
}

/// A way by modify-return on functions of system calls.
const fn call(
    parts: &'static [Part],
    needs: &'static [&'static str],
    blind_to: &'static str,
) -> Way {
    Way {
        tier: Tier::FmodRet,
        ..calls(parts, needs, blind_to)
    }
}

/// What a program by tracepoint needs to find the file behind a descriptor, and its path.
const OF_DESCRIPTOR: &[&str] = &["task_files", "fdtable_fd", "file_path", "mount_mnt"];
const ARGUMENTS: &str = "io_uring; the path that the kernel resolves, only the caller's argument";

const ARGUMENTS_CHANGE: &str =
    "calls of 32-bit programs, and arguments are memory of the caller, which it can change";

/// The ways to attach the hook of `kind`, best first.
pub(crate) fn ways(kind: Kind) -> &'static [Way] {
    match kind {
        Kind::ProcessExec => process::EXEC,
        Kind::ProcessFork => process::FORK,
        Kind::ProcessExit => process::EXIT,
        Kind::ProcessSignal => process::SIGNAL,
        Kind::ProcessPtrace => process::PTRACE,
        Kind::ProcessSetuid => credentials::SETUID,
        Kind::ProcessSetgid => credentials::SETGID,
        Kind::ProcessSetns => namespace::SETNS,
        Kind::ProcessUnshare => namespace::UNSHARE,
        Kind::ProcessRlimit => resource::RLIMIT,
        Kind::ProcessSetscheduler => resource::SETSCHEDULER,
        Kind::FileOpen => file::OPEN,
        Kind::FileCreate => file::CREATE,
        Kind::FileDelete => file::DELETE,
        Kind::FileRename => file::RENAME,
        Kind::FileLink => file::LINK,
        Kind::FileSymlink => file::SYMLINK,
        Kind::FileMkdir => file::MKDIR,
        Kind::FileRmdir => file::RMDIR,
        Kind::FileChmod => file::CHMOD,
        Kind::FileChown => file::CHOWN,
        Kind::FileTruncate => file::TRUNCATE,
        Kind::FileSetxattr => xattr::SETXATTR,
        Kind::FileMount => mount::MOUNT,
        Kind::FileUmount => mount::UMOUNT,
        Kind::FilePivotRoot => mount::PIVOT_ROOT,
        Kind::NetworkConnect => network::CONNECT,
        Kind::NetworkBind => network::BIND,
        Kind::NetworkListen => network::LISTEN,
        Kind::NetworkSocket => network::SOCKET,
        Kind::NetworkAccept => network::ACCEPT,
        Kind::NetworkSend => network::SEND,
        Kind::NetworkDns => dns::DNS,
        Kind::MemoryMap => memory::MAP,
        Kind::MemoryProtect => memory::PROTECT,
        Kind::MemoryMemfd => memory::MEMFD,
        Kind::MemoryProcessWrite => memory::PROCESS_WRITE,
        Kind::CapabilityUse => capability::USE,
        Kind::CapabilitySet => capability::SET,
        Kind::KernelModule => capability::MODULE,
        Kind::KernelKexec => capability::KEXEC,
        Kind::KernelBpf => capability::BPF,
        Kind::KernelPerf => capability::PERF,
        Kind::IpcShm => ipc::SHM,
        Kind::IpcMq => ipc::MQ,
        Kind::ContainerStart | Kind::ContainerExit | Kind::ContainerImage => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_wire::layout::Layout;

    #[test]
    fn ways_stand_from_the_best_to_the_least_and_need_fields_that_exist() {
        for kind in Kind::hooked() {
            let ways = ways(kind);
            assert!(ways.is_sorted_by_key(|way| way.tier), "{kind:?}");
            for field in ways.iter().flat_map(|way| way.needs) {
                assert!(
                    Layout::ENTRIES.iter().any(|(name, _)| name == field),
                    "{field}"
                );
            }
        }
    }
}
