//! What `/proc` tells of namespaces.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use holdfast_wire::uapi::mounts as list;
use rustix::fs::{Mode, OFlags, fstat, fstatfs, open};

use super::freezer::{self, Freezer};
use super::sockets::Sockets;
use super::traveller::Traveller;
use super::{Kind, Map, Namespace, Process, mounts, nsfs, pids};
use crate::evaluator::processes::{MAX_PROCESSES, scan};
use crate::runtime::membership::membership;

/// Open files of one process that are looked at: as many as a process has by default at most.
const MAX_FILES: usize = 1 << 20;
/// Namespaces that are kept; what is beyond is an attack on whoever looks.
const MAX_NAMESPACES: usize = 1 << 20;

/// `include/uapi/linux/magic.h`
const NSFS_MAGIC: rustix::fs::FsWord = 0x6e73_6673;

/// What is found, and how the kernel can be asked about each.
struct Scan {
    proc: PathBuf,
    map: Map,
    /// Where it is opened.
    ways: HashMap<u64, PathBuf>,
    /// Mount namespaces that only another one leads to: open, until they were looked into.
    open: HashMap<u64, File>,
    /// Whose owners and parents were asked for.
    asked: HashSet<u64>,
    freezer: Freezer,
    sockets: Sockets,
}

/// Looks at all processes, their threads, open files, sockets and mounts, and the kernel's list. `mounts`: what is mounted
/// where is kept.
///
/// # Errors
/// When there is no `/proc` below `root`.
pub(super) fn map(root: &Path, mounts: bool) -> io::Result<Map> {
    let proc = root.join("proc");
    let mut scan = Scan {
        map: Map::default(),
        ways: HashMap::new(),
        open: HashMap::new(),
        asked: HashSet::new(),
        freezer: Freezer::new(root),
        sockets: Sockets::new(&proc),
        proc,
    };
    let pids = scan::pids(&scan.proc, MAX_PROCESSES)?;
    for pid in &pids {
        scan.process(*pid);
    }
    for pid in &pids {
        scan.threads(*pid);
        scan.files(*pid);
    }
    scan.listed();
    scan.mounts(mounts);
    scan.relations();
    Ok(scan.map)
}

impl Scan {
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

    /// One was met that is opened by a path.
    fn met_at(
        &mut self,
        nsid: u64,
        kind: Kind,
        way: &Path,
        reference: impl FnOnce() -> Vec<String>,
    ) {
        if self.met(nsid, kind, reference) {
            self.ways.insert(nsid, way.to_owned());
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
        self.ask(nsid, file);
    }

    fn process(&mut self, pid: u32) {
        let directory = self.directory(pid);
        let Some(stat) = scan::stat(&self.proc, pid) else {
            return;
        };
        let mut namespaces = BTreeMap::new();
        for kind in Kind::ALL {
            let way = directory.join("ns").join(kind.name());
            if let Some((_, nsid)) = linked(&way) {
                namespaces.insert(kind, nsid);
                self.met_at(nsid, kind, &way, || {
                    vec![shown(&["/proc", &pid.to_string(), "ns", kind.name()])]
                });
            }
        }
        if namespaces.is_empty() && !stat.exited {
            self.map.hidden += 1;
        }
        let text = |name| fs::read_to_string(directory.join(name)).unwrap_or_default();
        let cgroup = text("cgroup");
        let places = freezer::places(&cgroup);
        let process = Process {
            pid,
            ppid: stat.ppid,
            name: stat.name,
            cmdline: fs::read(directory.join("cmdline"))
                .map(|bytes| scan::split_arguments(&bytes))
                .unwrap_or_default(),
            starttime: stat.start / scan::TICK,
            cpucgroup: places.cpu.to_owned(),
            fridgecgroup: places.freezer.to_owned(),
            fridgefrozen: self.freezer.is_frozen(&places),
            namespaces,
            container: membership(&cgroup).container().map(|it| it.id.clone()),
            nspids: pids::nspids(&text("status")),
        };
        self.map.processes.insert(pid, process);
    }

    /// Threads that have gone to namespaces of their own.
    fn threads(&mut self, pid: u32) {
        let Some(process) = self.map.processes.get(&pid) else {
            return;
        };
        let own = process.namespaces.clone();
        let task = self.directory(pid).join("task");
        let tids = scan::pids(&task, MAX_PROCESSES).unwrap_or_default();
        for tid in tids.into_iter().filter(|tid| *tid != pid) {
            for kind in Kind::ALL {
                let way = task.join(tid.to_string()).join("ns").join(kind.name());
                let Some((_, nsid)) = linked(&way) else {
                    continue;
                };
                if own.get(&kind) == Some(&nsid) {
                    continue;
                }
                let (pid, thread) = (pid.to_string(), tid.to_string());
                self.met_at(nsid, kind, &way, || {
                    vec![shown(&["/proc", &pid, "task", &thread, "ns", kind.name()])]
                });
                if let Some(namespace) = self.map.namespaces.get_mut(&nsid) {
                    namespace.loose_threads.push(tid);
                }
            }
        }
    }

    /// Open files that are namespaces or sockets, and those in which a process's children are going to be.
    fn files(&mut self, pid: u32) {
        let directory = self.directory(pid);
        for name in ["pid_for_children", "time_for_children"] {
            let way = directory.join("ns").join(name);
            if let Some((kind, nsid)) = linked(&way) {
                self.met_at(nsid, kind, &way, || {
                    vec![shown(&["/proc", &pid.to_string(), "ns", name])]
                });
            }
        }
        let mut owner = None;
        for entry in fs::read_dir(directory.join("fd"))
            .into_iter()
            .flatten()
            .flatten()
            .take(MAX_FILES)
        {
            let way = entry.path();
            let Ok(target) = fs::read_link(&way) else {
                continue;
            };
            let target = target.to_str().unwrap_or_default();
            let name = entry.file_name().to_string_lossy().into_owned();
            let reference = || vec![shown(&["/proc", &pid.to_string(), "fd", &name])];
            if let Some((kind, nsid)) = named(target) {
                self.met_at(nsid, kind, &way, reference);
            } else if let Some(file) = self.sockets.namespace(target, pid, &name, &mut owner)
                && let Ok(metadata) = file.metadata()
            {
                self.met_open((metadata.ino(), Kind::Net), file, reference);
            }
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
            self.map.closed += 1;
            return;
        };
        let outside = match inside {
            Some(pid) => vec![shown(&["/proc", &pid.to_string(), "ns/mnt"])],
            None => self.map.namespaces[&nsid].reference.clone(),
        };
        for mounted in list::parse(&text).filter(|mount| mount.kind == "nsfs") {
            let Some((kind, met)) = mounted.root.to_str().and_then(named) else {
                continue;
            };
            let is_news = self.map.namespaces.get(&met);
            if is_news.is_some_and(|known| !known.reference.is_empty()) {
                continue;
            }
            let point = mounted.point.display().to_string();
            let reference = || outside.iter().cloned().chain([point]).collect();
            let found = entered
                .as_ref()
                .and_then(|_| traveller.look(mounted.point.clone()).ok());
            let below = mounted.point.strip_prefix("/").unwrap_or(&mounted.point);
            match (found.and_then(|found| reopened(&found, met)), inside) {
                (Some(file), _) => self.met_open((met, kind), file, reference),
                (None, Some(pid)) => {
                    let way = self.directory(pid).join("root").join(below);
                    self.met_at(met, kind, &way, reference);
                }
                // Something is mounted over it.
                (None, None) => {
                    self.met(met, kind, reference);
                }
            }
        }
        if kept {
            self.map.mounts.insert(nsid, mounts::paths(&text));
        }
    }

    /// Asks the kernel whose they are, and what they are below: that may be ones that were not met.
    fn relations(&mut self) {
        let known: Vec<u64> = self.map.namespaces.keys().copied().collect();
        for nsid in known {
            if !self.asked.contains(&nsid)
                && let Some(file) = self.ways.get(&nsid).and_then(|way| opened(way, nsid))
            {
                self.ask(nsid, file);
            }
        }
    }

    fn ask(&mut self, nsid: u64, file: File) {
        let mut open = vec![(nsid, file)];
        while let Some((nsid, file)) = open.pop() {
            self.asked.insert(nsid);
            self.ask_one(nsid, &file, &mut open);
        }
    }

    fn ask_one(&mut self, nsid: u64, file: &File, open: &mut Vec<(u64, File)>) {
        let Some(kind) = self.map.namespaces.get(&nsid).map(|it| it.kind) else {
            return;
        };
        let mut found = |file: Option<File>, kind: Kind| {
            let file = file?;
            let nsid = file.metadata().ok()?.ino();
            let namespaces = &mut self.map.namespaces;
            if !namespaces.contains_key(&nsid) && namespaces.len() < MAX_NAMESPACES {
                namespaces.insert(nsid, Namespace::new(nsid, kind));
                open.push((nsid, file));
            }
            Some(nsid)
        };
        let owner = found(nsfs::owner(file), Kind::User);
        let parent = if kind.is_nested() {
            found(nsfs::parent(file), kind)
        } else {
            None
        };
        let user_id = (kind == Kind::User)
            .then(|| nsfs::owner_uid(file))
            .flatten();
        if let Some(namespace) = self.map.namespaces.get_mut(&nsid) {
            (namespace.owner, namespace.parent, namespace.user_id) = (owner, parent, user_id);
        }
    }
}

/// The namespace of a type that a process is in, as far as it may be read.
pub(crate) fn of_process(proc: &Path, pid: u32, kind: Kind) -> Option<u64> {
    let way = proc.join(pid.to_string()).join("ns").join(kind.name());
    linked(&way).map(|(_, nsid)| nsid)
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

/// The namespace that a link in `/proc` leads to.
fn linked(way: &Path) -> Option<(Kind, u64)> {
    named(fs::read_link(way).ok()?.to_str()?)
}

/// A namespace by its name in nsfs, as `net:[4026531840]`.
fn named(text: &str) -> Option<(Kind, u64)> {
    let (kind, nsid) = text.strip_suffix(']')?.split_once(":[")?;
    Some((Kind::from_name(kind)?, nsid.parse().ok()?))
}

fn shown(parts: &[&str]) -> String {
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_nsfs_are_read() {
        assert_eq!(named("net:[4026531840]"), Some((Kind::Net, 4_026_531_840)));
        for other in ["socket:[7]", "net:[]", "net:[x]", "net", "/bin/sh", ""] {
            assert_eq!(named(other), None, "{other}");
        }
    }

    #[test]
    fn this_process_is_in_some() {
        let map = map(Path::new("/"), true).unwrap();
        let own = &map.processes[&std::process::id()];
        let user = &map.namespaces[&own.namespaces[&Kind::User]];
        assert_eq!((user.kind, user.reference.len()), (Kind::User, 1));
        let net = &map.namespaces[&own.namespaces[&Kind::Net]];
        assert_eq!(net.owner, Some(user.nsid));
    }
}
