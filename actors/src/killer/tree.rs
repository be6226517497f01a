//! A process and all its descendants: each is stopped before its children are listed, so that none
//! is born behind the listing's back; when a listing finds nobody new, all are killed.

use std::collections::HashMap;
use std::path::Path;

use rustix::io::Errno;
use rustix::process::Signal;

use super::MAX_PROCESSES;
use super::guard::Guard;
use super::pidfd::{Refusal, Target, Verified, lack, verify};
use crate::evaluator::processes::{Key, scan};

/// Listings of `/proc` at most: one finds the children of who was stopped before it, and a process
/// that was running while it was listed is found by the next.
const ROUNDS: usize = 32;
/// Processes of one tree at most: each holds a descriptor until it is killed.
pub(crate) const MAX_TREE: usize = 512;

/// Kills `target` and its descendants, `known` among them (which may have lost the parent by which
/// `/proc` would show them). Puts whom it killed into `killed`. Returns what was lacking, where that may have saved some.
pub(super) fn kill(
    proc: &Path,
    guard: &Guard,
    target: &Target,
    known: &[Key],
    killed: &mut Vec<Key>,
) -> Option<Errno> {
    let mut lacking = None;
    let mut caught: HashMap<u32, Verified> = HashMap::new();
    let mut wanted: Vec<Target> = known
        .iter()
        .map(|key| Target {
            key: *key,
            seen: target.seen,
        })
        .collect();
    wanted.push(*target);
    for _ in 0..ROUNDS {
        let before = caught.len();
        for target in wanted.drain(..) {
            if caught.len() >= MAX_TREE || caught.contains_key(&target.key.tgid) {
                continue;
            }
            match verify(proc, guard, &target) {
                Ok(verified) if verified.signal(Signal::STOP).is_ok() => {
                    caught.insert(target.key.tgid, verified);
                }
                Err(Refusal::Short(what)) => lacking = Some(what),
                _ => {}
            }
        }
        if caught.len() == before {
            break;
        }
        let pids = scan::pids(proc, MAX_PROCESSES);
        let pids = pids.inspect_err(|error| lacking = lacking.or(lack(error)));
        for tgid in pids.unwrap_or_default() {
            let stat = scan::try_stat(proc, tgid);
            let stat = stat.inspect_err(|error| lacking = lacking.or(lack(error)));
            if let Ok(Some(stat)) = stat
                && caught.contains_key(&stat.ppid)
            {
                let key = Key {
                    tgid,
                    start: stat.start,
                };
                wanted.push(Target {
                    key,
                    seen: u64::MAX,
                });
            }
        }
    }
    for (tgid, verified) in caught {
        if verified.signal(Signal::KILL).is_ok() {
            let own = tgid == target.key.tgid;
            killed.push(if own { target.key } else { verified.key });
        }
    }
    lacking
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader};
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};

    #[test]
    fn nobody_of_the_tree_survives() {
        let proc = Path::new("/proc");
        let script = "sh -c 'sleep 61 & echo $!; sleep 61' & echo $!; wait";
        let mut child = Command::new("sh")
            .args(["-c", script])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let pids: Vec<u32> = (0..2)
            .map(|_| lines.next().unwrap().unwrap().parse().unwrap())
            .collect();
        let start = scan::stat(proc, child.id()).unwrap().start;
        let target = Target {
            key: Key {
                tgid: child.id(),
                start,
            },
            seen: u64::MAX,
        };
        let mut killed = Vec::new();
        let guard = Guard::new("/".into(), &[]);
        let lacking = kill(proc, &guard, &target, &[], &mut killed);
        assert_eq!(lacking, None);
        assert!(killed.len() >= 3, "{killed:?}");
        assert!(killed.contains(&target.key));
        assert_eq!(child.wait().unwrap().signal(), Some(9));
        let until = Instant::now() + Duration::from_secs(5);
        while pids
            .iter()
            .any(|pid| scan::stat(proc, *pid).is_some_and(|stat| !stat.exited))
        {
            assert!(Instant::now() < until, "some survive");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
