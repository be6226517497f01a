//! What processes do to themselves and to others.

use std::ffi::CString;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use holdfast_wire::event::capability_names;
use nix::sched::{CloneFlags, setns, unshare};
use nix::unistd::{Gid, Uid};
use rustix::io::Errno;
use rustix::process::{Pid, Resource, Rlimit, Signal, getpid, getrlimit, kill_process, prlimit};
use rustix::thread::{
    CapabilitySet, CpuSet, remove_capability_from_bounding_set, sched_setaffinity,
};

use super::{Done, call, parsed, to_child};

/// Until who looks at `/proc` has certainly seen what a process was at first.
const SEEN: Duration = Duration::from_millis(500);

/// See [`super::main`].
pub(super) fn act(words: &[&str]) -> Done {
    Some(match words {
        ["signal-self"] => kill_process(getpid(), Signal::URG).map_err(io::Error::from),
        ["within", procs, command @ ..] => within(procs, command),
        ["without-bpf", command @ ..] => without_bpf(command),
        ["without-capabilities", names, command @ ..] => without_capabilities(names, command),
        ["execute-garbage", path] => execute_garbage(path),
        ["signal-parent"] => rustix::process::getppid()
            .map_or(Ok(()), |parent| kill_process(parent, Signal::URG))
            .map_err(io::Error::from),
        ["traceme"] => nix::sys::ptrace::traceme().map_err(io::Error::from),
        ["trace-child"] => trace_child(),
        ["trace-self"] => nix::sys::ptrace::attach(nix::unistd::getpid()).map_err(io::Error::from),
        ["become-user", id] => {
            std::thread::sleep(SEEN);
            return act(&["setuid", id]);
        }
        ["become-group", id] => {
            std::thread::sleep(SEEN);
            return act(&["setgid", id]);
        }
        ["setuid", id] => parsed(id).and_then(|id| Ok(nix::unistd::setuid(Uid::from_raw(id))?)),
        ["setuid-back", id] => parsed(id).and_then(|id| {
            nix::unistd::setuid(Uid::from_raw(id))?;
            Ok(nix::unistd::setuid(Uid::from_raw(0))?)
        }),
        ["setgid", id] => parsed(id).and_then(|id| Ok(nix::unistd::setgid(Gid::from_raw(id))?)),
        ["setgroups", id] => {
            parsed(id).and_then(|id| Ok(nix::unistd::setgroups(&[Gid::from_raw(id)])?))
        }
        ["limit-files", soft] => parsed(soft).and_then(|soft| limit(None, Resource::Nofile, soft)),
        ["limit-above", soft] => parsed(soft)
            .and_then(|soft| {
                let new = Rlimit {
                    current: Some(soft),
                    maximum: Some(soft - 1),
                };
                Ok(prlimit(None, Resource::Nofile, new)?)
            })
            .map(drop),
        ["limit-child", soft] => parsed(soft).and_then(|soft| {
            to_child(|child| limit(Some(Pid::from_child(child)), Resource::Nofile, soft))
        }),
        ["schedule", priority] => {
            parsed(priority).and_then(|priority| call::sched_setscheduler(libc::SCHED_RR, priority))
        }
        ["bind-child"] => to_child(|child| bind_to(Some(Pid::from_child(child)), 0)),
        ["bind-process", pid] => process(pid).and_then(|pid| bind_to(Some(pid), 0)),
        ["limit-process", pid] => {
            process(pid).and_then(|pid| limit(Some(pid), Resource::Nofile, 8))
        }
        ["trace-process", pid] => parsed(pid).map(nix::unistd::Pid::from_raw).and_then(|pid| {
            let none = nix::sys::ptrace::Options::empty();
            nix::sys::ptrace::seize(pid, none).map_err(io::Error::from)
        }),
        ["bind", cpu] => parsed(cpu).and_then(|cpu| bind_to(None, cpu)),
        ["setns", path] => {
            std::fs::File::open(path).and_then(|file| Ok(setns(file, CloneFlags::empty())?))
        }
        ["unshare"] => {
            unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_FS).map_err(io::Error::from)
        }
        // Whether it is traced is nothing to unshare.
        ["unshare-wrong"] => {
            unshare(CloneFlags::CLONE_NEWUTS | CloneFlags::CLONE_PTRACE).map_err(io::Error::from)
        }
        ["clone"] => call::clone_process(libc::CLONE_NEWUTS),
        // A user namespace of its own with a root directory that is others' too.
        ["clone-wrong"] => call::clone_process(libc::CLONE_NEWUSER | libc::CLONE_FS),
        ["exec-chain", prefix, generation, last] => exec_chain(prefix, generation, last),
        ["pause"] => {
            // Its tracer may be killed, which leaves it stopped.
            rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).ok()?;
            println!("paused");
            std::thread::sleep(Duration::from_secs(60));
            Ok(())
        }
        _ => return None,
    })
}

/// Executes what is no program.
fn execute_garbage(path: &str) -> io::Result<()> {
    std::fs::write(path, "garbage")?;
    std::fs::set_permissions(path, Permissions::from_mode(0o755))?;
    let path = CString::new(path).map_err(io::Error::other)?;
    // Not by the libraries' ways, which would give it to a shell.
    match nix::unistd::execv(&path, &[&path]) {
        Ok(never) => match never {},
        Err(error) => Err(error.into()),
    }
}

/// Becomes this command in the cgroup that has this file of processes.
fn within(procs: &str, command: &[&str]) -> io::Result<()> {
    fs::write(procs, std::process::id().to_string())?;
    execute(command)
}

/// Becomes this command, for which bpf(2) fails with EPERM: as container engines have it by default.
fn without_bpf(command: &[&str]) -> io::Result<()> {
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch, apply_filter};
    let forbidden = std::iter::once((nix::libc::SYS_bpf, Vec::new())).collect();
    let refuse = SeccompAction::Errno(nix::libc::EPERM.cast_unsigned());
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(io::Error::other)?;
    let filter = SeccompFilter::new(forbidden, SeccompAction::Allow, refuse, arch);
    let filter = filter.map_err(io::Error::other)?;
    let program: BpfProgram = filter.try_into().map_err(io::Error::other)?;
    apply_filter(&program).map_err(io::Error::other)?;
    execute(command)
}

/// Becomes a command that has none of these capabilities (capabilities(7): root's come from the bounding set).
fn without_capabilities(names: &str, command: &[&str]) -> io::Result<()> {
    for name in names.split(',') {
        let bit = (0..u64::BITS).find(|bit| capability_names(1 << bit) == [name]);
        let bit = bit.ok_or_else(|| io::Error::other(format!("no capability {name}")))?;
        match remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << bit)) {
            // One that this kernel does not know.
            Err(Errno::INVAL) => {}
            removed => removed?,
        }
    }
    execute(command)
}

fn execute(command: &[&str]) -> io::Result<()> {
    let [name, arguments @ ..] = command else {
        return Err(io::Error::other("no command"));
    };
    Err(Command::new(name).args(arguments).exec())
}

/// Sets a limit of a process, or of this one; what it may be raised to stays.
fn limit(of: Option<Pid>, resource: Resource, soft: u64) -> io::Result<()> {
    let now = getrlimit(resource);
    let new = Rlimit {
        current: Some(soft),
        ..now
    };
    prlimit(of, resource, new)?;
    Ok(())
}

/// The process of this number.
fn process(number: &str) -> io::Result<Pid> {
    Pid::from_raw(parsed(number)?).ok_or_else(|| Errno::SRCH.into())
}

/// Lets a process run on this CPU alone.
fn bind_to(of: Option<Pid>, cpu: usize) -> io::Result<()> {
    let mut cpus = CpuSet::new();
    cpus.set(cpu);
    Ok(sched_setaffinity(of, &cpus)?)
}

/// Traces a process of its own.
fn trace_child() -> io::Result<()> {
    to_child(|child| {
        let pid = nix::unistd::Pid::from_raw(child.id().cast_signed());
        Ok(nix::sys::ptrace::attach(pid)?)
    })
}

/// Opens a file that has the generation as its name, and executes itself as the next generation.
fn exec_chain(prefix: &str, generation: &str, generations: &str) -> io::Result<()> {
    let (this, all): (u32, u32) = (parsed(generation)?, parsed(generations)?);
    let file = Path::new(prefix).join(generation);
    std::fs::create_dir_all(prefix)?;
    File::create(file)?;
    if this + 1 == all {
        return Ok(());
    }
    let next = (this + 1).to_string();
    Err(Command::new("/proc/self/exe")
        .args(["act", "exec-chain", prefix, &next, generations])
        .exec())
}
