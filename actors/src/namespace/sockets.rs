//! The network namespaces of sockets: one that nobody is in lives on as long as a socket of it.

use std::collections::HashSet;
use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use super::{nsfs, pids};

/// Sockets that are looked at.
const MAX_SOCKETS: usize = 1 << 20;

/// See the module.
#[derive(Debug)]
pub(super) struct Sockets {
    /// Process ids in `/proc` are those of the reader, who could not take a socket from a process by another one.
    is_own: bool,
    seen: HashSet<u64>,
}

impl Sockets {
    pub(super) fn new(proc: &Path) -> Self {
        // Whoever is in the pid namespace of that `/proc` has one id there.
        let status = fs::read_to_string(proc.join("self/status")).unwrap_or_default();
        Self {
            is_own: pids::nspids(&status).len() == 1,
            seen: HashSet::new(),
        }
    }

    /// That of the file `name` among those of the process `pid`, which is open as `owner` once that was needed; `target`:
    /// where its link leads. `None`: it is no socket, was seen before, or may not be asked (CAP_SYS_PTRACE, CAP_NET_ADMIN;
    /// Linux 5.6).
    pub(super) fn namespace(
        &mut self,
        target: &str,
        pid: u32,
        name: &str,
        owner: &mut Option<OwnedFd>,
    ) -> Option<File> {
        let inode = target.strip_prefix("socket:[")?.strip_suffix(']')?;
        let inode = inode.parse().ok()?;
        if !self.is_own || self.seen.len() >= MAX_SOCKETS || !self.seen.insert(inode) {
            return None;
        }
        if owner.is_none() {
            let pid = Pid::from_raw(i32::try_from(pid).ok()?)?;
            *owner = pidfd_open(pid, PidfdFlags::empty()).ok();
        }
        // Open here for a moment only, which keeps a socket that is closed meanwhile.
        let socket = pidfd_getfd(
            owner.as_ref()?,
            name.parse().ok()?,
            PidfdGetfdFlags::empty(),
        );
        nsfs::of_socket(socket.ok()?)
    }
}
