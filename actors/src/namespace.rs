//! The namespaces of the host: which there are, who is in them, and what keeps those that nobody is in.
//!
//! Found by the processes and threads that are in them, by open files and sockets, by mounts, in every mount namespace, those
//! without processes among them, and by the kernel's list where it has one (listns(2)); whose they are and what they are
//! below is asked of the kernel (ioctl_nsfs(2)). The names in JSON are those of lxkns, so that its users' scripts go on
//! working.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Serialize, Serializer};

use crate::evaluator::users::Users;

mod freezer;
pub mod mounts;
mod nsfs;
pub mod pids;
mod scan;
mod sockets;
mod traveller;
mod tree;

use mounts::Paths;
pub(crate) use nsfs::owner_uid;
pub(crate) use scan::of_process;

/// `include/uapi/linux/sched.h`
const CLONE_NEWTIME: libc::c_int = 0x80;

/// A type of namespaces (namespaces(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Control groups.
    Cgroup,
    /// System V IPC and POSIX message queues.
    Ipc,
    /// Mounts.
    Mnt,
    /// Network devices, addresses, ports.
    Net,
    /// Process ids.
    Pid,
    /// Clocks.
    Time,
    /// User and group ids, capabilities.
    User,
    /// Host name.
    Uts,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Cgroup,
        Self::Ipc,
        Self::Mnt,
        Self::Net,
        Self::Pid,
        Self::Time,
        Self::User,
        Self::Uts,
    ];

    /// As the kernel calls it below `/proc/PID/ns`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cgroup => "cgroup",
            Self::Ipc => "ipc",
            Self::Mnt => "mnt",
            Self::Net => "net",
            Self::Pid => "pid",
            Self::Time => "time",
            Self::User => "user",
            Self::Uts => "uts",
        }
    }

    /// As clone(2) has it.
    const fn flag(self) -> libc::c_int {
        match self {
            Self::Cgroup => libc::CLONE_NEWCGROUP,
            Self::Ipc => libc::CLONE_NEWIPC,
            Self::Mnt => libc::CLONE_NEWNS,
            Self::Net => libc::CLONE_NEWNET,
            Self::Pid => libc::CLONE_NEWPID,
            Self::Time => CLONE_NEWTIME,
            Self::User => libc::CLONE_NEWUSER,
            Self::Uts => libc::CLONE_NEWUTS,
        }
    }

    /// The one with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Whether namespaces of this type are one inside the other.
    const fn is_nested(self) -> bool {
        matches!(self, Self::Pid | Self::User)
    }
}

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// A namespace.
#[derive(Clone, Debug, Serialize)]
pub struct Namespace {
    /// Its inode number.
    pub nsid: u64,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// The user namespace that it belongs to; `None` where it is out of sight.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<u64>,
    /// By which path it is reached; where that is in another mount namespace, the path of that comes first. Of a network
    /// namespace that is a socket's, that of the socket. Empty for one that is known only by what is below it, or by the
    /// kernel's list.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reference: Vec<String>,
    /// Processes in it whose parents are not.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub leaders: Vec<u32>,
    /// Threads in it whose processes are not.
    #[serde(rename = "loose-threads", skip_serializing_if = "Vec::is_empty")]
    pub loose_threads: Vec<u32>,
    /// The oldest of the leaders.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ealdorman: Option<u32>,
    /// Of a pid or user namespace: the one that it is in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<u64>,
    /// Likewise: those that are in it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<u64>,
    /// Of a user namespace: those that belong to it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub possessions: Vec<u64>,
    /// Of a user namespace: who made it, as the reader's user namespace has it.
    #[serde(rename = "user-id", skip_serializing_if = "Option::is_none")]
    pub user_id: Option<u32>,
    /// Their name on the host.
    #[serde(rename = "user-name", skip_serializing_if = "Option::is_none")]
    pub user_name: Option<String>,
    /// Processes in it.
    #[serde(skip)]
    pub processes: usize,
}

impl Namespace {
    fn new(nsid: u64, kind: Kind) -> Self {
        Self {
            nsid,
            kind,
            owner: None,
            reference: Vec::new(),
            leaders: Vec::new(),
            loose_threads: Vec::new(),
            ealdorman: None,
            parent: None,
            children: Vec::new(),
            possessions: Vec::new(),
            user_id: None,
            user_name: None,
            processes: 0,
        }
    }
}

/// A process, and which namespaces it is in.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Process {
    /// Its id, as the reader's `/proc` has it.
    pub pid: u32,
    /// That of its parent; 0 for none.
    pub ppid: u32,
    /// `comm`
    pub name: String,
    /// `argv`
    pub cmdline: Vec<String>,
    /// When it began, hundredths of a second since the machine did (`USER_HZ`).
    pub starttime: u64,
    /// Its cgroup where shares of CPUs are controlled; from the root of that hierarchy, as the reader sees it.
    pub cpucgroup: String,
    /// Its cgroup where freezing is controlled, likewise.
    pub fridgecgroup: String,
    /// It is frozen: by its cgroup, or by one that this is in.
    pub fridgefrozen: bool,
    /// By type, as far as they may be read.
    pub namespaces: BTreeMap<Kind, u64>,
    /// The container that it is in, by its cgroup.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// Its ids in pid namespaces, from the reader's down to its own.
    #[serde(skip)]
    pub nspids: Vec<u32>,
}

/// What there is at a moment.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Map {
    /// By inode number.
    pub namespaces: BTreeMap<u64, Namespace>,
    /// By id.
    pub processes: BTreeMap<u32, Process>,
    /// What is mounted in each mount namespace, where that was asked for.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub mounts: BTreeMap<u64, Paths>,
    /// Processes whose namespaces may not be read.
    #[serde(skip)]
    pub hidden: usize,
    /// Mount namespaces that could not be looked into.
    #[serde(skip)]
    pub closed: usize,
}

/// Looks at everything, on the host whose root directory this is; `mounts`: also at what is mounted where.
///
/// # Errors
/// When there is no `/proc` below it.
pub fn map(root: &Path, mounts: bool) -> std::io::Result<Map> {
    let mut map = scan::map(root, mounts)?;
    tree::arrange(&mut map);
    let mut users = Users::new(root.join("etc/passwd"));
    users.refresh();
    for namespace in map.namespaces.values_mut() {
        let name = namespace.user_id.and_then(|uid| users.name(uid));
        namespace.user_name = name.map(str::to_owned);
    }
    Ok(map)
}
