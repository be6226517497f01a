//! From what was seen of processes to all namespaces: with those that only mounts keep, and those of the kernel's list.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, File};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use holdfast_wire::uapi::mounts as list;
use rustix::fs::{Mode, OFlags, fstat, fstatfs, open};

use super::freezer::Freezer;
use super::look::{Seen, named};
use super::relations::{MAX_NAMESPACES, Relations};
use super::traveller::Traveller;
use super::{Kind, Map, Namespace, mounts, nsfs};

/// `include/uapi/linux/magic.h`
const NSFS_MAGIC: rustix::fs::FsWord = 0x6e73_6673;

/// The namespaces that are mounted in a mount namespace, when that was looked into.
#[derive(Debug)]
pub(super) struct Mounted {
    found: Vec<(Kind, u64, PathBuf)>,
    /// Nanoseconds of boot time.
    pub(super) looked: u64,
}

impl Mounted {
    /// Their numbers.
    pub(super) fn namespaces(&self) -> impl Iterator<Item = u64> {
        self.found.iter().map(|(_, nsid, _)| *nsid)
    }
}

/// What is found, and how the kernel can be asked about each.
struct Scan<'a> {
    proc: PathBuf,
    map: Map,
    /// Where it is opened.
    ways: HashMap<u64, PathBuf>,
    /// Mount namespaces that only another one leads to: open, until they were looked into.
    open: HashMap<u64, File>,
    relations: &'a mut Relations,
    mounted: &'a mut HashMap<u64, Mounted>,
    now: u64,
}

/// What there is, by what was `seen`. Relations and what is mounted are as far as they are known, and kept for the next
/// time. `mounts`: what is mounted where is kept, too, and read anew.
pub(super) fn map(
    root: &Path,
    seen: &BTreeMap<u32, Seen>,
    relations: &mut Relations,
    mounted: &mut HashMap<u64, Mounted>,
    now: u64,
    mounts: bool,
) -> Map {
    let mut scan = Scan {
        proc: root.join("proc"),
        map: Map::default(),
        ways: HashMap::new(),
        open: HashMap::new(),
        relations,
        mounted,
        now,
    };
    // A process says best how a namespace is reached, then a thread, then a file.
    for seen in seen.values() {
        scan.members(seen);
    }
    for seen in seen.values() {
        scan.others(seen);
    }
    scan.processes(seen, Freezer::new(root));
    scan.listed();
    scan.mounts(mounts);
    scan.relations();
    scan.map
}

impl Scan<'_> {
    fn directory(&self, pid: u32) -> PathBuf {
        self.proc.join(pid.to_string())
    }

    /// A namespace was met; what was met first is how it is reached. `false`: it is no news.
    fn met(&mut self, nsid: u64, kind: Kind, reference: impl FnOnce() -> Vec<String>) -> bool {
        let namespaces = &mut self.map.namespaces;
        if let Some(known) = namespaces.get_mut(&nsid) {
            let is_news = known.reference.is_empty();
            if is_news {
                known.reference = reference();
            }
            return is_news;
        }
        if namespaces.len() >= MAX_NAMESPACES {
            return false;
        }
        let namespace = Namespace {
            reference: reference(),
            ..Namespace::new(nsid, kind)
        };
        namespaces.insert(nsid, namespace);
        true
    }

    /// One was met that is opened by a path below a process's directory.
    fn met_below(&mut self, nsid: u64, kind: Kind, pid: u32, path: &str) {
        if self.met(nsid, kind, || vec![format!("/proc/{pid}/{path}")]) {
            self.ways.insert(nsid, self.directory(pid).join(path));
        }
    }

    /// One was met that is open, and that perhaps no path leads to from here.
    fn met_open(
        &mut self,
        (nsid, kind): (u64, Kind),
        file: File,
        reference: impl FnOnce() -> Vec<String>,
    ) {
        if !self.met(nsid, kind, reference) {
            return;
        }
        if let (Kind::Mnt, Ok(file)) = (kind, file.try_clone()) {
            self.open.insert(nsid, file);
        }
        self.relations.ask(nsid, kind, file);
    }

    fn members(&mut self, seen: &Seen) {
        for (kind, nsid) in &seen.process.namespaces {
            let path = format!("ns/{}", kind.name());
            self.met_below(*nsid, *kind, seen.process.pid, &path);
        }
    }

    /// Those that threads have gone to, and those that files lead to.
    fn others(&mut self, seen: &Seen) {
        let process = &seen.process;
        for task in process.tasks.iter().filter(|it| it.tid != process.pid) {
            for (kind, nsid) in &task.namespaces {
                if process.namespaces.get(kind) == Some(nsid) {
                    continue;
                }
                let path = format!("task/{}/ns/{}", task.tid, kind.name());
                self.met_below(*nsid, *kind, process.pid, &path);
                if let Some(namespace) = self.map.namespaces.get_mut(nsid) {
                    namespace.loose_threads.push(task.tid);
                }
            }
        }
        for way in &seen.ways {
            if way.is_socket {
                let reference = || vec![format!("/proc/{}/{}", process.pid, way.path)];
                self.met(way.nsid, way.kind, reference);
            } else {
                self.met_below(way.nsid, way.kind, process.pid, &way.path);
            }
        }
    }

    /// The processes themselves. Whether they are frozen is asked each time, once for each cgroup.
    fn processes(&mut self, seen: &BTreeMap<u32, Seen>, mut freezer: Freezer) {
        for (pid, seen) in seen {
            let mut process = seen.process.clone();
            process.places.is_frozen = freezer.is_frozen(&process.places);
            for task in &mut process.tasks {
                task.places.is_frozen = freezer.is_frozen(&task.places);
            }
            self.map.processes.insert(*pid, process);
        }
    }

    /// What the kernel lists, where it does.
    fn listed(&mut self) {
        let known: HashSet<u64> = self.map.namespaces.keys().copied().collect();
        let listed = nsfs::each(MAX_NAMESPACES, |file| {
            if let (Ok(metadata), Some(kind)) = (file.metadata(), nsfs::kind(&file))
                && !known.contains(&metadata.ino())
            {
                self.met_open((metadata.ino(), kind), file, Vec::new);
            }
        });
        if let Err(error) = listed {
            tracing::debug!("listns: {error}");
        }
    }

    /// Looks into all mount namespaces, also those that are met there: at what is mounted, namespaces among it.
    fn mounts(&mut self, kept: bool) {
        let mut inside: HashMap<u64, u32> = HashMap::new();
        for process in self.map.processes.values() {
            if let Some(nsid) = process.namespaces.get(&Kind::Mnt) {
                inside.entry(*nsid).or_insert(process.pid);
            }
        }
        let mut traveller = Traveller::default();
        let mut seen = HashSet::new();
        loop {
            let all = self.map.namespaces.values();
            let all = all.filter(|it| it.kind == Kind::Mnt && !seen.contains(&it.nsid));
            let new: Vec<u64> = all.map(|namespace| namespace.nsid).collect();
            if new.is_empty() {
                return;
            }
            for nsid in new {
                seen.insert(nsid);
                self.mounted_in(nsid, inside.get(&nsid).copied(), &mut traveller, kept);
            }
        }
    }

    /// `inside`: a process in the mount namespace.
    fn mounted_in(
        &mut self,
        nsid: u64,
        inside: Option<u32>,
        traveller: &mut Traveller,
        kept: bool,
    ) {
        let outside = match inside {
            Some(pid) => vec![format!("/proc/{pid}/ns/mnt")],
            None => self.map.namespaces[&nsid].reference.clone(),
        };
        if !kept && self.is_known(nsid) {
            let found = self.mounted.get(&nsid).map(|it| it.found.clone());
            for (kind, met, point) in found.unwrap_or_default() {
                self.met(met, kind, || reached(&outside, &point));
            }
            return;
        }
        let way = self.ways.get(&nsid);
        let file = self
            .open
            .remove(&nsid)
            .or_else(|| way.and_then(|way| opened(way, nsid)));
        let entered = file.and_then(|file| traveller.enter(file).ok());
        let text = match (&entered, inside) {
            (Some(text), _) => Some(text.clone()),
            // As far as it is below that process's root.
            (None, Some(pid)) => fs::read(self.directory(pid).join("mountinfo")).ok(),
            (None, None) => None,
        };
        let Some(text) = text else {
            self.map.currency.closed += 1;
            return;
        };
        let mut found = Vec::new();
        for mounted in list::parse(&text).filter(|mount| mount.kind == "nsfs") {
            let Some((kind, met)) = mounted.root.to_str().and_then(named) else {
                continue;
            };
            found.push((kind, met, mounted.point.clone()));
            let is_news = self.map.namespaces.get(&met);
            if is_news.is_some_and(|known| !known.reference.is_empty()) {
                continue;
            }
            let reference = || reached(&outside, &mounted.point);
            let file = entered
                .as_ref()
                .and_then(|_| traveller.look(mounted.point.clone()).ok());
            let below = mounted.point.strip_prefix("/").unwrap_or(&mounted.point);
            match (file.and_then(|found| reopened(&found, met)), inside) {
                (Some(file), _) => self.met_open((met, kind), file, reference),
                (None, Some(pid)) => {
                    let way = self.directory(pid).join("root").join(below);
                    if self.met(met, kind, reference) {
                        self.ways.insert(met, way);
                    }
                }
                // Something is mounted over it.
                (None, None) => {
                    self.met(met, kind, reference);
                }
            }
        }
        let looked = self.now;
        self.mounted.insert(nsid, Mounted { found, looked });
        if kept {
            self.map.mounts.insert(nsid, mounts::paths(&text));
        }
    }

    /// Whether it need not be looked into: all that is mounted there was asked about.
    fn is_known(&self, nsid: u64) -> bool {
        let mounted = self.mounted.get(&nsid);
        mounted.is_some_and(|it| {
            it.namespaces()
                .all(|nsid| self.ways.contains_key(&nsid) || self.relations.knows(nsid))
        })
    }

    /// Asks the kernel about those that it was not asked about: they may lead to ones that were not met.
    fn relations(&mut self) {
        let known = self.map.namespaces.values();
        let known: Vec<(u64, Kind)> = known.map(|it| (it.nsid, it.kind)).collect();
        for (nsid, kind) in known {
            if !self.relations.knows(nsid)
                && let Some(file) = self.ways.get(&nsid).and_then(|way| opened(way, nsid))
            {
                self.relations.ask(nsid, kind, file);
            }
        }
        self.relations.tell(&mut self.map);
    }
}

/// How what is mounted at a path is reached, where the mount namespace is reached so.
fn reached(outside: &[String], point: &Path) -> Vec<String> {
    let point = point.display().to_string();
    outside.iter().cloned().chain([point]).collect()
}

/// The file of a namespace. By now something else may be there, put by whom it is about: nothing but a namespace is
/// opened.
fn opened(way: &Path, nsid: u64) -> Option<File> {
    reopened(
        &open(way, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).ok()?,
        nsid,
    )
}

fn reopened(found: &OwnedFd, nsid: u64) -> Option<File> {
    let is_it = fstatfs(found).ok()?.f_type == NSFS_MAGIC && fstat(found).ok()?.st_ino == nsid;
    let own = format!("/proc/self/fd/{}", found.as_fd().as_raw_fd());
    is_it.then(|| File::open(own).ok()).flatten()
}
