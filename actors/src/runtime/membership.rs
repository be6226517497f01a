//! Process → container, by `/proc/PID/cgroup`.
//!
//! Where all controllers are in the one hierarchy of cgroup v2, the cgroup's id (which every record
//! has) stands for its container, and each cgroup is looked up once. In v1 and hybrid layouts the id
//! says nothing, and each program that a process runs is looked up.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use foldhash::HashMap;
use holdfast_wire::record::Header;

use super::cgroup::{self, Container};
use super::hierarchy::Hierarchy;
use crate::evaluator::processes::{Process, scan};

/// Cgroups or programs whose containers are remembered. A node has some hundreds of the one and some
/// thousands of the other; what is forgotten is looked up again.
const MAX_KNOWN: usize = 16_384;
/// How long after a search the next one may be, nanoseconds: a storm of short processes in cgroups
/// that are gone as well must not become a storm of searches.
const SEARCH_INTERVAL: u64 = 100_000_000;

/// What is known of a process's container.
#[derive(Clone, Debug, Default)]
pub(crate) enum Membership {
    /// It is gone, and so is its cgroup.
    #[default]
    Unknown,
    /// It is in none.
    Host,
    /// It is in this one.
    Container(Arc<Container>),
}

impl Membership {
    /// The container, if it is in one.
    pub(crate) fn container(&self) -> Option<&Container> {
        match self {
            Self::Container(container) => Some(container),
            Self::Unknown | Self::Host => None,
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Memberships {
    proc: PathBuf,
    /// The unified hierarchy, where it is the only one.
    unified: Option<Hierarchy>,
    known: HashMap<Place, Membership>,
    searched: u64,
}

/// What containers are remembered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Place {
    Cgroup(u64),
    Program { tgid: u32, start: u64, exec_id: u32 },
}

impl Memberships {
    /// For the processes of the host whose root directory this is.
    pub(crate) fn new(root: &Path) -> Self {
        Self {
            proc: root.join("proc"),
            unified: Hierarchy::alone(root),
            known: HashMap::default(),
            searched: 0,
        }
    }

    /// Where the process of a record is; `parent` is who created it.
    pub(crate) fn of(&mut self, header: &Header, parent: Option<&Process>) -> Membership {
        let place = if self.are_by_cgroup(header) {
            Place::Cgroup(header.cgroup_id)
        } else {
            Place::program(header)
        };
        if let Some(known) = self.known.get(&place) {
            return known.clone();
        }
        let found = self.look_up(header, parent);
        if self.known.len() >= MAX_KNOWN {
            self.known.clear();
        }
        // A parent's is its child's until the child is moved, which is before it runs a program.
        if !matches!(found, Membership::Unknown) {
            self.known.insert(place, found.clone());
        }
        found
    }

    /// Whether the cgroup of a record stands for its container.
    pub(crate) fn are_by_cgroup(&self, header: &Header) -> bool {
        self.unified.is_some() && header.cgroup_id != 0
    }

    fn look_up(&mut self, header: &Header, parent: Option<&Process>) -> Membership {
        // Read before the start time: a file that is there after it is of the same process.
        let cgroups = scan::cgroups(&self.proc, header.tgid);
        let same =
            scan::stat(&self.proc, header.tgid).is_some_and(|it| it.start <= header.boottime);
        let unified = self.unified.as_ref().filter(|_| header.cgroup_id != 0);
        match (cgroups, unified) {
            (Ok(text), None) if same => membership(&text),
            // It may have been moved since.
            (Ok(text), Some(unified)) if same && is_in(unified, &text, header.cgroup_id) => {
                membership(&text)
            }
            (_, Some(unified))
                if header.boottime.saturating_sub(self.searched) > SEARCH_INTERVAL =>
            {
                self.searched = header.boottime;
                match unified.path_of(header.cgroup_id) {
                    Some(path) => membership(&format!("0::{path}")),
                    None => Membership::Unknown,
                }
            }
            _ => self.inherited(parent),
        }
    }

    /// Who is created in a container stays in it, as a rule; who is created on the host may have
    /// been moved since.
    fn inherited(&self, parent: Option<&Process>) -> Membership {
        let place = parent.and_then(|parent| {
            Some(Place::Program {
                tgid: parent.key.tgid,
                start: parent.key.start,
                exec_id: parent.program.exec_id?,
            })
        });
        match place.and_then(|place| self.known.get(&place)) {
            Some(Membership::Container(container)) => Membership::Container(container.clone()),
            _ => Membership::Unknown,
        }
    }
}

impl Place {
    const fn program(header: &Header) -> Self {
        Self::Program {
            tgid: header.tgid,
            start: header.start_boottime,
            exec_id: header.exec_id,
        }
    }
}

/// Whether `/proc/PID/cgroup` names the cgroup with this id.
fn is_in(unified: &Hierarchy, text: &str, id: u64) -> bool {
    let path = text.lines().find_map(|line| line.strip_prefix("0::"));
    path.is_some_and(|path| unified.is_at(path, id))
}

/// What `/proc/PID/cgroup` says (cgroups(7)): lines of `hierarchy:controllers:path`. A container may
/// be in some hierarchies only.
pub(crate) fn membership(text: &str) -> Membership {
    let mut paths = text.lines().filter_map(|line| line.splitn(3, ':').nth(2));
    match paths.find_map(cgroup::container) {
        Some(container) => Membership::Container(Arc::new(container)),
        None => Membership::Host,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::evaluator::testing;
    use holdfast_wire::Kind;

    const ID: &str = "4d9c2f0e5b1a4d9c2f0e5b1a4d9c2f0e5b1a4d9c2f0e5b1a4d9c2f0e5b1a4d9c";

    fn id(membership: &Membership) -> &str {
        match membership {
            Membership::Unknown => "unknown",
            Membership::Host => "host",
            Membership::Container(container) => &container.id,
        }
    }

    #[test]
    fn any_hierarchy_may_name_the_container() {
        let hybrid = format!("9:name=systemd:/docker/{ID}\n8:pids:/docker/{ID}\n0::/\n");
        assert_eq!(id(&membership(&hybrid)), ID);
        assert_eq!(
            id(&membership("1:name=systemd:/init.scope\n0::/\n")),
            "host"
        );
        assert_eq!(id(&membership("")), "host");
    }

    #[test]
    fn a_cgroup_outlives_its_processes() {
        let root = tempfile::tempdir().unwrap();
        let cgroups = root.path().join("sys/fs/cgroup");
        let directory = cgroups.join(format!("system.slice/docker-{ID}.scope"));
        fs::create_dir_all(&directory).unwrap();
        fs::write(cgroups.join("cgroup.controllers"), "").unwrap();
        let mut memberships = Memberships::new(root.path());
        let mut header = testing::header(Kind::ProcessExec, 4242);
        header.boottime = SEARCH_INTERVAL + 1;
        header.cgroup_id = std::os::unix::fs::MetadataExt::ino(&fs::metadata(&directory).unwrap());
        assert_eq!(id(&memberships.of(&header, None)), ID);
        fs::remove_dir_all(&cgroups).unwrap();
        // Remembered, though nothing is there any more.
        assert_eq!(id(&memberships.of(&header, None)), ID);
        header.cgroup_id += 1;
        header.boottime += SEARCH_INTERVAL + 1;
        assert_eq!(id(&memberships.of(&header, None)), "unknown");
    }

    #[test]
    fn this_process_is_where_proc_says() {
        let mut memberships = Memberships::new(Path::new("/"));
        let header = testing::header(Kind::FileOpen, std::process::id());
        let text = fs::read_to_string("/proc/self/cgroup").unwrap();
        assert_eq!(id(&memberships.of(&header, None)), id(&membership(&text)));
    }
}
