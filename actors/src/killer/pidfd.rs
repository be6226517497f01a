//! A signal to the process that was meant, or to none: by pidfd, after its identity was checked.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal};

use super::guard::Guard;
use crate::evaluator::processes::{Key, scan};

/// Whom to signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// Pid and start. A start of 0 is not known.
    pub(crate) key: Key,
    /// When it was seen (`CLOCK_BOOTTIME`): one that started later is another.
    pub(crate) seen: u64,
}

/// Why a process was not signalled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// It exited.
    #[error("it has exited already")]
    Gone,
    /// Its pid is another's now.
    #[error("its pid belongs to another process now")]
    Another,
    /// The guard.
    #[error("{0}")]
    Spared(&'static str),
    /// The kernel.
    #[error("the kernel refused: {0}")]
    Kernel(Errno),
    /// The sensor has no descriptor or no memory for it, which may be had later.
    #[error("the sensor lacks what it takes: {0}")]
    Short(Errno),
}

impl Refusal {
    fn of(error: Errno) -> Self {
        match error {
            Errno::SRCH | Errno::NOENT => Self::Gone,
            error if is_lack(error) => Self::Short(error),
            error => Self::Kernel(error),
        }
    }
}

/// Whether the error says that the sensor, or the kernel, has used up what it may have of something.
const fn is_lack(error: Errno) -> bool {
    matches!(error, Errno::MFILE | Errno::NFILE | Errno::NOMEM)
}

/// What is lacking, where that is why it could not be read.
pub(super) fn lack(error: &io::Error) -> Option<Errno> {
    Errno::from_io_error(error).filter(|error| is_lack(*error))
}

/// A process whose identity was checked.
#[derive(Debug)]
pub(super) struct Verified {
    pid: Pid,
    /// Absent before Linux 5.3, which has no pidfd_open(2): then the pid could be reused between the
    /// check and the signal, for some microseconds.
    fd: Option<OwnedFd>,
    /// Its pid and start.
    pub(super) key: Key,
}

/// Finds the process, and makes sure that it is the one meant and may be killed.
pub(super) fn verify(proc: &Path, guard: &Guard, target: &Target) -> Result<Verified, Refusal> {
    let tgid = target.key.tgid;
    let pid = i32::try_from(tgid)
        .ok()
        .and_then(Pid::from_raw)
        .ok_or(Refusal::Gone)?;
    let fd = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(fd) => Some(fd),
        Err(Errno::NOSYS) => None,
        Err(error) => return Err(Refusal::of(error)),
    };
    // From here on the descriptor stands for one process: what /proc says now is said of it, or of
    // a later one, which the start time tells apart.
    let stat = match scan::try_stat(proc, tgid) {
        Ok(stat) => stat.filter(|stat| !stat.exited).ok_or(Refusal::Gone)?,
        Err(error) => return Err(lack(&error).map_or(Refusal::Gone, Refusal::Short)),
    };
    let same = match target.key.start {
        0 => stat.start <= target.seen,
        start => stat.start.abs_diff(start) <= scan::TICK,
    };
    if !same {
        return Err(Refusal::Another);
    }
    if let Some(reason) = guard.spares(proc, tgid) {
        return Err(Refusal::Spared(reason));
    }
    Ok(Verified {
        pid,
        fd,
        key: Key {
            tgid,
            start: stat.start,
        },
    })
}

impl Verified {
    /// Sends a signal.
    pub(super) fn signal(&self, signal: Signal) -> Result<(), Refusal> {
        let sent = match &self.fd {
            Some(fd) => pidfd_send_signal(fd, signal),
            None => kill_process(self.pid, signal),
        };
        sent.map_err(Refusal::of)
    }
}

/// Signals one process.
///
/// # Errors
/// Why it was not signalled.
pub(crate) fn signal(
    proc: &Path,
    guard: &Guard,
    target: &Target,
    signal: Signal,
) -> Result<(), Refusal> {
    verify(proc, guard, target)?.signal(signal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Child, Command};

    const PROC: &str = "/proc";

    fn sleeper() -> (Child, Target) {
        let child = Command::new("sleep").arg("60").spawn().unwrap();
        let start = scan::stat(Path::new(PROC), child.id()).unwrap().start;
        let key = Key {
            tgid: child.id(),
            start,
        };
        (
            child,
            Target {
                key,
                seen: crate::clock::boottime(),
            },
        )
    }

    fn try_kill(target: Target) -> Result<(), Refusal> {
        signal(
            Path::new(PROC),
            &Guard::new("/".into(), &[]),
            &target,
            Signal::KILL,
        )
    }

    #[test]
    fn the_process_meant_is_killed_and_only_that() {
        let (mut child, target) = sleeper();
        let another = Key {
            start: target.key.start + 2 * scan::TICK + 1,
            ..target.key
        };
        assert_eq!(
            try_kill(Target {
                key: another,
                ..target
            }),
            Err(Refusal::Another)
        );
        let unknown = Key {
            start: 0,
            ..target.key
        };
        assert_eq!(
            try_kill(Target {
                key: unknown,
                seen: 1
            }),
            Err(Refusal::Another)
        );
        assert!(child.try_wait().unwrap().is_none());
        assert_eq!(try_kill(target), Ok(()));
        // A zombie, and then nobody.
        while scan::stat(Path::new(PROC), child.id()).is_some_and(|stat| !stat.exited) {
            std::thread::yield_now();
        }
        assert_eq!(try_kill(target), Err(Refusal::Gone));
        assert_eq!(child.wait().unwrap().signal(), Some(9));
        assert_eq!(try_kill(target), Err(Refusal::Gone));
    }

    #[test]
    fn a_process_of_unknown_start_is_killed_if_it_was_there_when_seen() {
        let (mut child, target) = sleeper();
        let key = Key {
            start: 0,
            ..target.key
        };
        assert_eq!(try_kill(Target { key, ..target }), Ok(()));
        assert_eq!(child.wait().unwrap().signal(), Some(9));
    }

    #[test]
    fn the_guard_is_asked() {
        let key = Key {
            tgid: std::process::id(),
            start: 0,
        };
        let refused = try_kill(Target {
            key,
            seen: u64::MAX,
        })
        .unwrap_err();
        assert_eq!(refused, Refusal::Spared("it is the sensor"));
    }
}
