//! All processes of a container, by what `/proc/PID/cgroup` says: in any version of cgroups. What a listing
//! finds is stopped before any of it is killed, so that little is born behind its back, and the next listing
//! finds what was.

use std::io;
use std::path::Path;

use rustix::io::Errno;
use rustix::process::Signal;

use super::MAX_PROCESSES;
use super::guard::Guard;
use super::pidfd::{Refusal, Target, Verified, lack, verify};
use crate::evaluator::processes::{Key, scan};
use crate::runtime::membership::membership;

/// Listings at most: the second one finds those that were being forked, and nearly always the third nobody.
const ROUNDS: usize = 32;
/// Processes caught in a round: each holds a descriptor until it is killed.
const MAX_CAUGHT: usize = 512;

/// Kills them, but those that the guard spares. Puts whom it killed into `killed`. Returns what was lacking, where that may
/// have saved some.
pub(super) fn kill(proc: &Path, guard: &Guard, id: &str, killed: &mut Vec<Key>) -> Option<Errno> {
    for _ in 0..ROUNDS {
        let mut lacking = None;
        let pids = scan::pids(proc, MAX_PROCESSES);
        let pids = pids.inspect_err(|error| lacking = lack(error));
        let mut caught = Vec::new();
        for tgid in pids.unwrap_or_default() {
            if caught.len() >= MAX_CAUGHT {
                break;
            }
            match is_in(proc, tgid, id) {
                Ok(true) => {}
                Ok(false) => continue,
                Err(error) => {
                    lacking = lacking.or(lack(&error));
                    continue;
                }
            }
            match verify(proc, guard, &target(tgid)) {
                // One that was killed dies when what it does in the kernel lets it.
                Ok(verified) if killed.contains(&verified.key) => {}
                Ok(verified) if verified.signal(Signal::STOP).is_ok() => caught.push(verified),
                Err(Refusal::Short(what)) => lacking = Some(what),
                _ => {}
            }
        }
        if caught.is_empty() {
            return lacking;
        }
        // Another process may have got the pid since the listing; this one is what was verified.
        let is_inside = |it: &Verified| is_in(proc, it.key.tgid, id).unwrap_or(false);
        let inside = caught
            .into_iter()
            .filter(|it| is_inside(it) || it.signal(Signal::CONT).is_err());
        let dead = inside.filter(|it| it.signal(Signal::KILL).is_ok());
        killed.extend(dead.map(|it| it.key));
    }
    None
}

/// Whoever has this pid now.
const fn target(tgid: u32) -> Target {
    Target {
        key: Key { tgid, start: 0 },
        seen: u64::MAX,
    }
}

fn is_in(proc: &Path, tgid: u32, id: &str) -> io::Result<bool> {
    let membership = membership(&scan::cgroups(proc, tgid)?);
    Ok(membership.container().is_some_and(|it| it.id == id))
}
