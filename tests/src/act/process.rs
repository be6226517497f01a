//! What processes do to themselves and to others.

use std::io;
use std::process::Command;
use std::time::Duration;

use nix::unistd::{Gid, Uid};
use rustix::process::{Signal, getpid, kill_process};

use super::{Done, parsed};

/// See [`super::main`].
pub(super) fn act(words: &[&str]) -> Done {
    Some(match words {
        ["signal-self"] => kill_process(getpid(), Signal::URG).map_err(io::Error::from),
        ["traceme"] => nix::sys::ptrace::traceme().map_err(io::Error::from),
        ["trace-child"] => trace_child(),
        ["setuid", id] => parsed(id).and_then(|id| Ok(nix::unistd::setuid(Uid::from_raw(id))?)),
        ["setgid", id] => parsed(id).and_then(|id| Ok(nix::unistd::setgid(Gid::from_raw(id))?)),
        ["setgroups", id] => {
            parsed(id).and_then(|id| Ok(nix::unistd::setgroups(&[Gid::from_raw(id)])?))
        }
        ["pause"] => {
            std::thread::sleep(Duration::from_secs(60));
            Ok(())
        }
        _ => return None,
    })
}

/// Traces a process of its own.
fn trace_child() -> io::Result<()> {
    let mut child = Command::new(std::env::current_exe()?)
        .args(["act", "pause"])
        .spawn()?;
    let pid = nix::unistd::Pid::from_raw(child.id().cast_signed());
    let traced = nix::sys::ptrace::attach(pid).map_err(io::Error::from);
    child.kill()?;
    child.wait()?;
    traced
}
