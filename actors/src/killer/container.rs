//! All processes of a container, by what `/proc/PID/cgroup` says: in any version of cgroups. What a listing
//! finds is stopped before any of it is killed, so that little is born behind its back, and the next listing
//! finds what was.

use std::fs;
use std::path::Path;

use rustix::process::Signal;

use super::MAX_PROCESSES;
use super::guard::Guard;
use super::pidfd::{Target, Verified, verify};
use crate::evaluator::processes::{Key, scan};
use crate::runtime::membership::membership;

/// Listings at most: the second one finds those that were being forked, and nearly always the third nobody.
const ROUNDS: usize = 32;
/// Processes caught in a round: each holds a descriptor until it is killed.
const MAX_CAUGHT: usize = 512;

/// Kills them, but those that the guard spares. Puts whom it killed into `killed`.
pub(super) fn kill(proc: &Path, guard: &Guard, id: &str, killed: &mut Vec<Key>) {
    for _ in 0..ROUNDS {
        let pids = scan::pids(proc, MAX_PROCESSES).unwrap_or_default();
        let inside = pids.into_iter().filter(|tgid| is_in(proc, *tgid, id));
        let caught = inside.filter_map(|tgid| {
            let verified = verify(proc, guard, &target(tgid)).ok()?;
            // One that was killed dies when what it does in the kernel lets it.
            let is_dying = killed.contains(&verified.key);
            (!is_dying && verified.signal(Signal::STOP).is_ok()).then_some(verified)
        });
        let caught: Vec<Verified> = caught.take(MAX_CAUGHT).collect();
        if caught.is_empty() {
            return;
        }
        // Another process may have got the pid since the listing; this one is what was verified.
        let inside = caught
            .into_iter()
            .filter(|it| is_in(proc, it.key.tgid, id) || it.signal(Signal::CONT).is_err());
        let dead = inside.filter(|it| it.signal(Signal::KILL).is_ok());
        killed.extend(dead.map(|it| it.key));
    }
}

/// Whoever has this pid now.
const fn target(tgid: u32) -> Target {
    Target {
        key: Key { tgid, start: 0 },
        seen: u64::MAX,
    }
}

fn is_in(proc: &Path, tgid: u32, id: &str) -> bool {
    let cgroups = fs::read_to_string(proc.join(tgid.to_string()).join("cgroup"));
    cgroups.is_ok_and(|text| {
        membership(&text)
            .container()
            .is_some_and(|container| container.id == id)
    })
}
