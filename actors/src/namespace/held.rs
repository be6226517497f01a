//! What was seen of processes, and who of them has to be looked at again for an answer.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io;
use std::path::Path;

use super::look::{Looker, Seen};
use super::relations::Relations;
use super::scan::{self, Mounted};
use super::{Currency, Map, tree};
use crate::clock;
use crate::evaluator::processes::MAX_PROCESSES;
use crate::evaluator::processes::scan::pids;
use crate::evaluator::users::Users;

/// How long a look is good for what no event tells, nanoseconds.
pub(super) const GOOD: u64 = 10_000_000_000;
/// Processes that are looked at again for one answer only because it is long ago, at most: the oldest looks come first.
const MAX_OLD: usize = 1000;
/// What is told of as it begins has happened after this, nanoseconds: setns and unshare, which may wait for other
/// namespaces to be taken down.
const SETTLED: u64 = 10_000_000_000;

/// What events told since the last look: see [`super::told::Told::last`]; or why they do not tell.
pub(super) type Events = Result<HashMap<u32, u64>, String>;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Held {
    seen: BTreeMap<u32, Seen>,
    relations: Relations,
    mounted: HashMap<u64, Mounted>,
}

/// Whether a process has to be looked at again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    /// Something happened to it.
    Now,
    /// It was looked at too long ago.
    Old,
    /// It need not be.
    Not,
}

impl Held {
    /// What there is on the host whose root directory this is. `mounts`: also what is mounted where, which is read anew
    /// each time.
    ///
    /// # Errors
    /// When there is no `/proc` below it.
    pub(super) fn look(&mut self, root: &Path, mounts: bool, events: Events) -> io::Result<Map> {
        let proc = root.join("proc");
        let listed = pids(&proc, MAX_PROCESSES)?;
        self.look_at(root, &listed, mounts, events)
    }

    /// The same, where the processes were listed.
    ///
    /// # Errors
    /// As above.
    pub(super) fn look_at(
        &mut self,
        root: &Path,
        listed: &[u32],
        mounts: bool,
        events: Events,
    ) -> io::Result<Map> {
        let now = clock::boottime();
        let mut looker = Looker::new(&root.join("proc"));
        let mut currency = Currency::default();
        let present: HashSet<u32> = listed.iter().copied().collect();
        self.seen.retain(|pid, _| present.contains(pid));
        let due = self.due(listed, now, events.as_ref().ok(), &looker, &mut currency);
        self.forget(&due, now);
        for pid in due {
            currency.looked += 1;
            match looker.process(pid, &mut self.relations) {
                Some(seen) => self.seen.insert(pid, seen),
                None => self.seen.remove(&pid),
            };
        }
        currency.events = events.is_ok();
        currency.reason = events.err();
        let (relations, mounted) = (&mut self.relations, &mut self.mounted);
        let mut map = scan::map(root, &self.seen, relations, mounted, now, mounts);
        let looks = self.seen.values().map(|seen| seen.looked);
        let looks = looks.chain(self.mounted.values().map(|mounted| mounted.looked));
        let oldest = looks.min().map_or(0, |oldest| now.saturating_sub(oldest));
        currency.oldest = oldest / 1_000_000;
        currency.hidden = self.seen.values().filter(|seen| seen.is_hidden).count();
        currency.closed = map.currency.closed;
        map.currency = currency;
        tree::arrange(&mut map);
        let mut users = Users::new(root.join("etc/passwd"));
        users.refresh();
        for namespace in map.namespaces.values_mut() {
            let name = namespace.user_id.and_then(|uid| users.name(uid));
            namespace.user_name = name.map(str::to_owned);
        }
        Ok(map)
    }

    /// Who has to be looked at. Of others the namespaces are read, where nobody tells.
    fn due(
        &mut self,
        listed: &[u32],
        now: u64,
        last: Option<&HashMap<u32, u64>>,
        looker: &Looker,
        currency: &mut Currency,
    ) -> BTreeSet<u32> {
        let why = |pid: &u32| (*pid, self.why(*pid, now, last));
        let all: Vec<(u32, Due)> = listed.iter().map(why).collect();
        // Of the old ones there may be too many for one answer.
        let mut old: Vec<(u64, u32)> = all
            .iter()
            .filter(|(_, due)| *due == Due::Old)
            .filter_map(|(pid, _)| Some((self.seen.get(pid)?.looked, *pid)))
            .collect();
        old.sort_unstable();
        let mut due: BTreeSet<u32> = old.into_iter().take(MAX_OLD).map(|(_, pid)| pid).collect();
        for (pid, why) in all {
            let is_due = match why {
                Due::Now => true,
                Due::Old | Due::Not if last.is_some() || due.contains(&pid) => false,
                Due::Old | Due::Not => {
                    currency.checked += 1;
                    let seen = self.seen.get_mut(&pid);
                    seen.and_then(|seen| looker.is_same(seen)) != Some(true)
                }
            };
            if is_due {
                due.insert(pid);
            }
        }
        due
    }

    fn why(&self, pid: u32, now: u64, last: Option<&HashMap<u32, u64>>) -> Due {
        let Some(seen) = self.seen.get(&pid) else {
            return Due::Now;
        };
        let happened = |pid| {
            let last = last.and_then(|last| last.get(&pid)).copied();
            last.is_some_and(|last| last > 0 && last + SETTLED > seen.looked)
        };
        let parent = seen.process.ppid;
        // Whoever loses its parent gets another one, which no event tells.
        let is_orphan = parent != 0 && (happened(parent) || !self.seen.contains_key(&parent));
        // The sensor does not tell of itself.
        let is_own = pid == std::process::id();
        if happened(pid) || is_orphan || is_own || seen.has_loose_threads() {
            Due::Now
        } else if now.saturating_sub(seen.looked) > GOOD {
            Due::Old
        } else {
            Due::Not
        }
    }

    /// Of a namespace that only those lead to who are looked at again, what was known may be that of another one which
    /// had its number.
    fn forget(&mut self, due: &BTreeSet<u32>, now: u64) {
        let unchanged = self.seen.iter().filter(|(pid, _)| !due.contains(pid));
        let mut kept: HashSet<u64> = unchanged.flat_map(|(_, it)| it.namespaces()).collect();
        let is_good = |mounted: &Mounted| now.saturating_sub(mounted.looked) <= GOOD;
        let mut open: Vec<u64> = kept.iter().copied().collect();
        let mut within = HashSet::new();
        while let Some(nsid) = open.pop() {
            if let Some(mounted) = self.mounted.get(&nsid).filter(|it| is_good(it))
                && within.insert(nsid)
            {
                open.extend(mounted.namespaces());
                kept.extend(mounted.namespaces());
            }
        }
        self.mounted.retain(|nsid, _| within.contains(nsid));
        self.relations.keep(&kept);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::namespace::Kind;

    #[test]
    fn this_process_is_in_some() {
        let map = crate::namespace::map(Path::new("/"), true).unwrap();
        let own = &map.processes[&std::process::id()];
        let user = &map.namespaces[&own.namespaces[&Kind::User]];
        assert_eq!((user.kind, user.reference.len()), (Kind::User, 1));
        let net = &map.namespaces[&own.namespaces[&Kind::Net]];
        assert_eq!(net.owner, Some(user.nsid));
        assert!(own.tasks.iter().any(|task| task.tid == own.pid));
        // Some may have ended since they were listed.
        assert!(map.currency.looked >= map.processes.len());
    }

    /// A `/proc` of two processes, the second a child of the first.
    fn host() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (pid, ppid) in [(1, 0), (7, 1)] {
            let directory = root.path().join(format!("proc/{pid}"));
            std::fs::create_dir_all(directory.join("ns")).unwrap();
            let stat = format!("{pid} (x) S {ppid} {}", "1 ".repeat(50));
            std::fs::write(directory.join("stat"), stat).unwrap();
            enter(root.path(), pid, 4_026_531_840);
        }
        root
    }

    fn enter(root: &Path, pid: u32, net: u64) {
        let link = root.join(format!("proc/{pid}/ns/net"));
        let _ = std::fs::remove_file(&link);
        std::os::unix::fs::symlink(format!("net:[{net}]"), link).unwrap();
    }

    #[test]
    fn who_is_told_of_is_looked_at_again_and_nobody_else() {
        let root = host();
        let mut held = Held::default();
        let mut look = |events| {
            let map = held.look(root.path(), false, events).unwrap();
            let net = map.processes[&7].namespaces[&Kind::Net];
            (net, map.currency.looked, map.currency.checked)
        };
        let told = |pid, time| Ok(HashMap::from([(1, 0), (7, 0), (pid, time)]));
        assert_eq!(look(told(7, 0)), (4_026_531_840, 2, 0));
        assert_eq!(look(told(7, 0)), (4_026_531_840, 0, 0));
        enter(root.path(), 7, 4_026_532_000);
        assert_eq!(look(told(7, 0)), (4_026_531_840, 0, 0));
        let now = clock::boottime();
        assert_eq!(look(told(7, now)), (4_026_532_000, 1, 0));
        // Its child may have another parent by now.
        assert_eq!(look(told(1, now)), (4_026_532_000, 2, 0));
        // What was told long before the look is known by it.
        assert_eq!(look(told(7, now - SETTLED)), (4_026_532_000, 0, 0));
        // Nobody tells: all are checked, and who has gone elsewhere is looked at.
        assert_eq!(look(Err(String::new())), (4_026_532_000, 0, 2));
        enter(root.path(), 7, 4_026_531_840);
        assert_eq!(look(Err(String::new())), (4_026_531_840, 1, 2));
    }
}
