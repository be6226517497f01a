//! The namespaces of the host: which there are, who is in them, and what keeps those that nobody is in.
//!
//! Found by the processes and threads that are in them, by open files and sockets, by mounts, in every mount namespace, those
//! without processes among them, and by the kernel's list where it has one (listns(2)); whose they are and what they are
//! below is asked of the kernel (ioctl_nsfs(2)). The names in JSON are those of lxkns, so that its users' scripts go on
//! working.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

pub mod containers;
mod freezer;
mod held;
mod kept;
mod kind;
mod look;
pub mod mounts;
mod nsfs;
pub mod pids;
mod relations;
mod scan;
mod sockets;
mod told;
mod traveller;
mod tree;

use containers::{Container, Engine, Group};
pub use freezer::Places;
use held::Held;
pub(crate) use kept::Namespaces;
pub use kind::Kind;
pub(crate) use look::of_process;
use mounts::Paths;
pub(crate) use nsfs::owner_uid;

/// A namespace.
#[derive(Clone, Debug, Serialize, Deserialize)]
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
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reference: Vec<String>,
    /// Processes in it whose parents are not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub leaders: Vec<u32>,
    /// Threads in it whose processes are not.
    #[serde(
        rename = "loose-threads",
        default,
        skip_serializing_if = "Vec::is_empty"
    )]
    pub loose_threads: Vec<u32>,
    /// The oldest of the leaders.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ealdorman: Option<u32>,
    /// Of a pid or user namespace: the one that it is in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<u64>,
    /// Likewise: those that are in it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<u64>,
    /// Of a user namespace: those that belong to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub possessions: Vec<u64>,
    /// Of a user namespace: who made it, as the reader's user namespace has it.
    #[serde(rename = "user-id", skip_serializing_if = "Option::is_none")]
    pub user_id: Option<u32>,
    /// Their name on the host.
    #[serde(rename = "user-name", skip_serializing_if = "Option::is_none")]
    pub user_name: Option<String>,
    /// How many processes are in it.
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
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
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
    /// Its cgroups.
    #[serde(flatten)]
    pub places: Places,
    /// By type, as far as they may be read.
    pub namespaces: BTreeMap<Kind, u64>,
    /// Its threads, the first among them.
    pub tasks: Vec<Task>,
    /// The container that it is in, by its cgroup.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// Its ids in pid namespaces, from the reader's down to its own.
    #[serde(skip)]
    pub nspids: Vec<u32>,
}

/// A thread, and which namespaces it is in.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Task {
    /// Its id, as the reader's `/proc` has it.
    pub tid: u32,
    /// `comm`
    pub name: String,
    /// As [`Process::starttime`].
    pub starttime: u64,
    /// Its cgroups.
    #[serde(flatten)]
    pub places: Places,
    /// By type, as far as they may be read.
    pub namespaces: BTreeMap<Kind, u64>,
}

/// How an answer came about, and of when it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Currency {
    /// Events told in which namespaces processes are since the look before this one, so that who was not told of was not
    /// looked at again.
    pub events: bool,
    /// Why they did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Processes that were looked at, with threads and open files.
    pub looked: usize,
    /// Others, of which the namespaces alone were read again.
    pub checked: usize,
    /// How long ago the oldest look was, milliseconds: of then may be what no event tells, which is open files, sockets,
    /// threads, cgroups and mounts.
    pub oldest: u64,
    /// Processes whose namespaces may not be read.
    pub hidden: usize,
    /// Mount namespaces that could not be looked into.
    pub closed: usize,
}

/// What there is at a moment.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Map {
    /// By inode number.
    pub namespaces: BTreeMap<u64, Namespace>,
    /// By id.
    pub processes: BTreeMap<u32, Process>,
    /// What is mounted in each mount namespace, where that was asked for.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub mounts: BTreeMap<u64, Paths>,
    /// The containers that processes are in, by their first processes.
    pub containers: BTreeMap<u32, Container>,
    /// Their engines, by number.
    #[serde(rename = "container-engines")]
    pub engines: BTreeMap<usize, Engine>,
    /// What they are grouped by, by number.
    #[serde(rename = "container-groups")]
    pub groups: BTreeMap<usize, Group>,
    /// Of when it is.
    pub currency: Currency,
}

/// Looks at everything, on the host whose root directory this is; `mounts`: also at what is mounted where. Of containers
/// nothing is known: see [`containers::add`].
///
/// # Errors
/// When there is no `/proc` below it.
pub fn map(root: &Path, mounts: bool) -> std::io::Result<Map> {
    Held::default().look(root, mounts, Err("no sensor holds it".to_owned()))
}
