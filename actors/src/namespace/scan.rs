//! What `/proc` tells of namespaces.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use holdfast_wire::uapi::mounts;
use rustix::fs::{Mode, OFlags, fstat, fstatfs, open};

use super::{Kind, Map, Namespace, Process, nsfs};
use crate::evaluator::processes::{MAX_PROCESSES, scan};
use crate::runtime::membership::membership;

/// Open files of one process that are looked at: as many as a process has by default at most.
const MAX_FILES: usize = 1 << 20;
/// Namespaces that are kept; what is beyond is an attack on whoever looks.
const MAX_NAMESPACES: usize = 1 << 20;

/// `include/uapi/linux/magic.h`
const NSFS_MAGIC: rustix::fs::FsWord = 0x6e73_6673;

/// What is found, and by which path the kernel can be asked about each.
struct Scan<'p> {
    proc: &'p Path,
    map: Map,
    ways: HashMap<u64, PathBuf>,
}

/// Looks at all processes, their threads, open files and mounts.
///
/// # Errors
/// When `proc` cannot be listed.
pub(super) fn map(proc: &Path) -> io::Result<Map> {
    let mut scan = Scan {
        proc,
        map: Map::default(),
        ways: HashMap::new(),
    };
    let pids = scan::pids(proc, MAX_PROCESSES)?;
    for pid in &pids {
        scan.process(*pid);
    }
    for pid in &pids {
        scan.threads(*pid);
        scan.files(*pid);
    }
    scan.mounts();
    scan.relations();
    Ok(scan.map)
}

impl Scan<'_> {
    fn directory(&self, pid: u32) -> PathBuf {
        self.proc.join(pid.to_string())
    }

    /// A namespace was met; what was met first is how it is reached.
    fn met(&mut self, nsid: u64, kind: Kind, way: &Path, reference: impl FnOnce() -> Vec<String>) {
        let namespaces = &mut self.map.namespaces;
        if namespaces.contains_key(&nsid) || namespaces.len() >= MAX_NAMESPACES {
            return;
        }
        let namespace = Namespace {
            reference: reference(),
            ..Namespace::new(nsid, kind)
        };
        namespaces.insert(nsid, namespace);
        self.ways.insert(nsid, way.to_owned());
    }

    fn process(&mut self, pid: u32) {
        let directory = self.directory(pid);
        let Some(stat) = scan::stat(self.proc, pid) else {
            return;
        };
        let mut namespaces = BTreeMap::new();
        for kind in Kind::ALL {
            let way = directory.join("ns").join(kind.name());
            if let Some((_, nsid)) = linked(&way) {
                namespaces.insert(kind, nsid);
                self.met(nsid, kind, &way, || {
                    vec![shown(&["/proc", &pid.to_string(), "ns", kind.name()])]
                });
            }
        }
        if namespaces.is_empty() && !stat.exited {
            self.map.hidden += 1;
        }
        let cgroup = fs::read_to_string(directory.join("cgroup")).unwrap_or_default();
        let process = Process {
            pid,
            ppid: stat.ppid,
            name: stat.name,
            cmdline: fs::read(directory.join("cmdline"))
                .map(|bytes| scan::split_arguments(&bytes))
                .unwrap_or_default(),
            starttime: stat.start,
            namespaces,
            container: membership(&cgroup).container().map(|it| it.id.clone()),
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
                self.met(nsid, kind, &way, || {
                    vec![shown(&["/proc", &pid, "task", &thread, "ns", kind.name()])]
                });
                if let Some(namespace) = self.map.namespaces.get_mut(&nsid) {
                    namespace.loose_threads.push(tid);
                }
            }
        }
    }

    /// Open files that are namespaces, and those in which a process's children are going to be.
    fn files(&mut self, pid: u32) {
        let directory = self.directory(pid);
        for name in ["pid_for_children", "time_for_children"] {
            let way = directory.join("ns").join(name);
            if let Some((kind, nsid)) = linked(&way) {
                self.met(nsid, kind, &way, || {
                    vec![shown(&["/proc", &pid.to_string(), "ns", name])]
                });
            }
        }
        for entry in fs::read_dir(directory.join("fd"))
            .into_iter()
            .flatten()
            .flatten()
            .take(MAX_FILES)
        {
            let way = entry.path();
            if let Some((kind, nsid)) = linked(&way) {
                let name = entry.file_name().to_string_lossy().into_owned();
                self.met(nsid, kind, &way, || {
                    vec![shown(&["/proc", &pid.to_string(), "fd", &name])]
                });
            }
        }
    }

    /// Namespaces that are mounted, in any mount namespace; also in those that are met here.
    fn mounts(&mut self) {
        let mut seen: Vec<(u64, u32)> = Vec::new();
        for process in self.map.processes.values() {
            if let Some(nsid) = process.namespaces.get(&Kind::Mnt)
                && !seen.iter().any(|(known, _)| known == nsid)
            {
                seen.push((*nsid, process.pid));
            }
        }
        for (_, pid) in seen {
            let directory = self.directory(pid);
            let text = fs::read(directory.join("mountinfo")).unwrap_or_default();
            for mounted in mounts::parse(&text).filter(|mount| mount.kind == "nsfs") {
                let Some((kind, nsid)) = mounted.root.to_str().and_then(named) else {
                    continue;
                };
                let below = mounted.point.strip_prefix("/").unwrap_or(&mounted.point);
                let way = directory.join("root").join(below);
                let point = mounted.point.display().to_string();
                self.met(nsid, kind, &way, || {
                    vec![shown(&["/proc", &pid.to_string(), "ns/mnt"]), point]
                });
            }
        }
    }

    /// Asks the kernel whose they are, and what they are below: that may be ones that were not met.
    fn relations(&mut self) {
        let mut open: Vec<(u64, File)> = Vec::new();
        let known: Vec<u64> = self.map.namespaces.keys().copied().collect();
        for nsid in known {
            if let Some(file) = self.ways.get(&nsid).and_then(|way| opened(way, nsid)) {
                open.push((nsid, file));
                while let Some((nsid, file)) = open.pop() {
                    self.ask(nsid, &file, &mut open);
                }
            }
        }
    }

    fn ask(&mut self, nsid: u64, file: &File, open: &mut Vec<(u64, File)>) {
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

/// The file of a namespace. By now something else may be there, put by whom it is about: nothing but a namespace is
/// opened.
fn opened(way: &Path, nsid: u64) -> Option<File> {
    let found = open(way, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let is_it = fstatfs(&found).ok()?.f_type == NSFS_MAGIC && fstat(&found).ok()?.st_ino == nsid;
    let own = format!("/proc/self/fd/{}", found.as_raw_fd());
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
        let map = map(Path::new("/proc")).unwrap();
        let own = &map.processes[&std::process::id()];
        let user = &map.namespaces[&own.namespaces[&Kind::User]];
        assert_eq!((user.kind, user.reference.len()), (Kind::User, 1));
        let net = &map.namespaces[&own.namespaces[&Kind::Net]];
        assert_eq!(net.owner, Some(user.nsid));
    }
}
