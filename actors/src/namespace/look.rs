//! What `/proc` tells of one process: the namespaces that it and its threads are in, and those that its open files and
//! sockets lead to.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use holdfast_wire::uapi::process::{Stat, parse_stat};

use super::relations::Relations;
use super::sockets::Sockets;
use super::{Kind, Process, Task, freezer, pids};
use crate::clock;
use crate::evaluator::processes::{MAX_PROCESSES, scan};
use crate::runtime::membership::membership;

/// Open files of one process that are looked at: as many as a process has by default at most.
const MAX_FILES: usize = 1 << 20;

/// A process as it was when it was looked at.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) process: Process,
    /// Namespaces that its files lead to.
    pub(super) ways: Vec<Way>,
    /// None of its namespaces may be read.
    pub(super) is_hidden: bool,
    /// When the look began, nanoseconds of boot time.
    pub(super) looked: u64,
}

/// A way to a namespace.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) nsid: u64,
    pub(super) kind: Kind,
    /// Below the process's directory in `/proc`.
    pub(super) path: String,
    /// By a socket, of which this is the file: the namespace is not opened by it.
    pub(super) is_socket: bool,
}

impl Seen {
    /// Every namespace that it leads to.
    pub(super) fn namespaces(&self) -> impl Iterator<Item = u64> {
        let tasks = self.process.tasks.iter();
        let tasks = tasks.flat_map(|task| task.namespaces.values().copied());
        let own = self.process.namespaces.values().copied();
        own.chain(tasks).chain(self.ways.iter().map(|way| way.nsid))
    }

    /// Threads that have gone to namespaces of their own, which they may leave by ending, and of that no event tells.
    pub(super) fn has_loose_threads(&self) -> bool {
        let process = &self.process;
        let mut tasks = process.tasks.iter();
        tasks.any(|task| task.namespaces != process.namespaces)
    }
}

/// Looks at processes.
#[derive(Debug)]
pub(super) struct Looker {
    proc: PathBuf,
    sockets: Sockets,
}

impl Looker {
    pub(super) fn new(proc: &Path) -> Self {
        Self {
            proc: proc.to_owned(),
            sockets: Sockets::new(proc),
        }
    }

    /// Looks at all of a process; `None`: it is gone. The namespaces of its sockets are asked about at once: they are
    /// open for this moment only.
    pub(super) fn process(&mut self, pid: u32, relations: &mut Relations) -> Option<Seen> {
        let looked = clock::boottime();
        let directory = self.proc.join(pid.to_string());
        let stat = scan::stat(&self.proc, pid)?;
        let namespaces = namespaces(&directory);
        let text = |name| fs::read_to_string(directory.join(name)).unwrap_or_default();
        let cgroup = text("cgroup");
        let mut process = Process {
            pid,
            ppid: stat.ppid,
            name: stat.name,
            cmdline: fs::read(directory.join("cmdline"))
                .map(|bytes| scan::split_arguments(&bytes))
                .unwrap_or_default(),
            starttime: stat.start / scan::TICK,
            places: freezer::places(&cgroup),
            namespaces,
            tasks: Vec::new(),
            container: membership(&cgroup).container().map(|it| it.id.clone()),
            nspids: pids::nspids(&text("status")),
        };
        process.tasks = tasks(&directory, &process);
        let ways = self.ways(&directory, pid, relations);
        Some(Seen {
            is_hidden: process.namespaces.is_empty() && !stat.exited,
            process,
            ways,
            looked,
        })
    }

    /// Whether a process is still the one that was seen, in the same namespaces; `None`: it is gone. Takes over who its
    /// parent is by now.
    pub(super) fn is_same(&self, seen: &mut Seen) -> Option<bool> {
        let pid = seen.process.pid;
        let stat = scan::stat(&self.proc, pid)?;
        let process = &mut seen.process;
        process.ppid = stat.ppid;
        let is_same = stat.start / scan::TICK == process.starttime && stat.name == process.name;
        Some(is_same && namespaces(&self.proc.join(pid.to_string())) == process.namespaces)
    }

    /// Open files that are namespaces or sockets, and the namespaces in which a process's children are going to be.
    fn ways(&mut self, directory: &Path, pid: u32, relations: &mut Relations) -> Vec<Way> {
        let mut ways = Vec::new();
        for name in ["pid_for_children", "time_for_children"] {
            let path = format!("ns/{name}");
            if let Some((kind, nsid)) = linked(&directory.join(&path)) {
                ways.push(Way {
                    nsid,
                    kind,
                    path,
                    is_socket: false,
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
            let Ok(target) = fs::read_link(entry.path()) else {
                continue;
            };
            let target = target.to_str().unwrap_or_default();
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = format!("fd/{name}");
            if let Some((kind, nsid)) = named(target) {
                ways.push(Way {
                    nsid,
                    kind,
                    path,
                    is_socket: false,
                });
            } else if let Some(file) = self.sockets.namespace(target, pid, &name, &mut owner)
                && let Ok(metadata) = file.metadata()
            {
                let nsid = metadata.ino();
                ways.push(Way {
                    nsid,
                    kind: Kind::Net,
                    path,
                    is_socket: true,
                });
                relations.ask(nsid, Kind::Net, file);
            }
        }
        ways
    }
}

/// The threads of a process.
fn tasks(directory: &Path, process: &Process) -> Vec<Task> {
    let own = directory.join("task");
    let tids = scan::pids(&own, MAX_PROCESSES).unwrap_or_default();
    let task = |tid: u32| {
        if tid == process.pid {
            return Some(Task {
                tid,
                name: process.name.clone(),
                starttime: process.starttime,
                places: process.places.clone(),
                namespaces: process.namespaces.clone(),
            });
        }
        let directory = own.join(tid.to_string());
        let text = |name| fs::read_to_string(directory.join(name)).ok();
        let stat: Stat = parse_stat(&text("stat")?, rustix::param::clock_ticks_per_second())?;
        Some(Task {
            tid,
            name: stat.name,
            starttime: stat.start / scan::TICK,
            places: freezer::places(&text("cgroup")?),
            namespaces: namespaces(&directory),
        })
    };
    tids.into_iter().filter_map(task).collect()
}

/// Those that a process or thread with this directory is in.
fn namespaces(directory: &Path) -> BTreeMap<Kind, u64> {
    let own = directory.join("ns");
    let all = Kind::ALL.into_iter();
    all.filter_map(|kind| Some((kind, linked(&own.join(kind.name()))?.1)))
        .collect()
}

/// The namespace of a type that a process is in, as far as it may be read.
pub(crate) fn of_process(proc: &Path, pid: u32, kind: Kind) -> Option<u64> {
    let way = proc.join(pid.to_string()).join("ns").join(kind.name());
    linked(&way).map(|(_, nsid)| nsid)
}

/// The namespace that a link in `/proc` leads to.
pub(super) fn linked(way: &Path) -> Option<(Kind, u64)> {
    named(fs::read_link(way).ok()?.to_str()?)
}

/// A namespace by its name in nsfs, as `net:[4026531840]`.
pub(super) fn named(text: &str) -> Option<(Kind, u64)> {
    let (kind, nsid) = text.strip_suffix(']')?.split_once(":[")?;
    Some((Kind::from_name(kind)?, nsid.parse().ok()?))
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
}
