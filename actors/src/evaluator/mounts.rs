//! Where the host sees a file of another mount namespace: what `/proc/PID/mountinfo` says of both is
//! joined by the file system and the place in it.
//!
//! What was read of a namespace is read again after [`MAX_AGE`], and at once when it lacks the mount
//! that is asked for. When nobody is left there to read it from, what was read last stands.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use foldhash::HashMap;

mod table;

use table::Table;

/// Namespaces whose mounts are remembered: more containers than run on most nodes. Each has some tens
/// of mounts, of 200 bytes.
const MAX_NAMESPACES: usize = 512;
/// What is taken of one `mountinfo`: 20,000 mounts.
const MAX_BYTES: u64 = 4 << 20;
/// How long what was read is believed, nanoseconds: a container's mounts change when it starts.
const MAX_AGE: u64 = 1_000_000_000;
/// How soon it may be read again for a mount that it lacks, nanoseconds: mounts that only the chroots
/// of others see would be looked for anew with every event.
const MIN_AGE: u64 = 100_000_000;

/// A file in a mount namespace.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spot<'a> {
    /// Inode number of the namespace.
    pub(crate) namespace: u32,
    /// Id of the mount in it.
    pub(crate) mount: u32,
    /// Its file system, as the kernel encodes it.
    pub(crate) device: u32,
    /// The way to the file from the root of the mount; empty for that root.
    pub(crate) below: &'a [u8],
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Mounts {
    proc: PathBuf,
    host: Option<u32>,
    known: HashMap<u32, Known>,
}

#[derive(Debug)]
struct Known {
    table: Table,
    read: u64,
}

impl Mounts {
    /// Those of the host whose `/proc` this is; its first process is in the host's namespace.
    pub(crate) fn new(proc: PathBuf) -> Self {
        Self {
            host: namespace_of(&proc, 1).or_else(|| shared_with_init(&proc)),
            proc,
            known: HashMap::default(),
        }
    }

    /// Whether it is known which namespace is the host's. Where it is not, nothing is said of it.
    pub(crate) fn knows_host(&self) -> bool {
        self.host.is_some()
    }

    /// Whether this is the host's namespace; also when it is not known which that is.
    pub(crate) fn is_host(&self, namespace: u32) -> bool {
        self.host.is_none_or(|host| host == namespace)
    }

    /// Where the host sees `spot`, at `now`. `pids`: processes that may be in its namespace.
    pub(crate) fn host_path(&mut self, spot: &Spot<'_>, pids: &[u32], now: u64) -> Option<Vec<u8>> {
        let host = self.host?;
        self.refresh(spot.namespace, pids, now, Some(spot.mount));
        let mount = self.known.get(&spot.namespace)?.table.get(spot.mount)?;
        // An id may have been given to another mount since.
        if mount.device != spot.device {
            return None;
        }
        let inside = mount.inside(spot.below);
        self.refresh(host, &[1, std::process::id()], now, None);
        self.known.get(&host)?.table.find(spot.device, &inside)
    }

    fn refresh(&mut self, namespace: u32, pids: &[u32], now: u64, wanted: Option<u32>) {
        if let Some(known) = self.known.get(&namespace) {
            let age = now.saturating_sub(known.read);
            let lacks = wanted.is_some_and(|id| known.table.get(id).is_none());
            if age < MIN_AGE || age < MAX_AGE && !lacks {
                return;
            }
        }
        let inside = |pid: &&u32| namespace_of(&self.proc, **pid) == Some(namespace);
        let read = pids.iter().find(inside).and_then(|pid| {
            let path = self.proc.join(pid.to_string()).join("mountinfo");
            read(&path).map(|bytes| Table::parse(&bytes))
        });
        match (read, self.known.get_mut(&namespace)) {
            (Some(table), _) => {
                self.make_room(namespace);
                self.known.insert(namespace, Known { table, read: now });
            }
            // Not tried again before the time is up.
            (None, Some(known)) => known.read = now,
            (None, None) => {}
        }
    }

    fn make_room(&mut self, namespace: u32) {
        if self.known.len() < MAX_NAMESPACES || self.known.contains_key(&namespace) {
            return;
        }
        let oldest = self.known.iter().min_by_key(|(_, known)| known.read);
        if let Some(oldest) = oldest.map(|(namespace, _)| *namespace) {
            self.known.remove(&oldest);
        }
    }
}

/// The sensor's own namespace, if the first process is in it: who may not follow the link of that one
/// may still read its mounts, whose ids are those of one namespace only.
fn shared_with_init(proc: &Path) -> Option<u32> {
    let own = std::process::id();
    let mounts = |pid: u32| read(&proc.join(pid.to_string()).join("mountinfo"));
    let same = mounts(1)? == mounts(own)?;
    same.then(|| namespace_of(proc, own)).flatten()
}

/// The mount namespace of a process: `mnt:[NUMBER]`.
fn namespace_of(proc: &Path, pid: u32) -> Option<u32> {
    let link = fs::read_link(proc.join(pid.to_string()).join("ns/mnt")).ok()?;
    let number = link.to_str()?.strip_prefix("mnt:[")?.strip_suffix(']')?;
    number.parse().ok()
}

fn read(path: &Path) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)
        .ok()?
        .take(MAX_BYTES)
        .read_to_end(&mut bytes)
        .ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn a_namespace_is_found_in_itself_and_remembered() {
        let own = std::process::id();
        let proc = PathBuf::from("/proc");
        let namespace = namespace_of(&proc, own).unwrap();
        // This process's namespace stands for the host's, whichever that is.
        let mut mounts = Mounts::new(proc);
        mounts.host = Some(namespace);
        mounts.refresh(namespace, &[own], MAX_AGE, None);
        let table = &mounts.known[&namespace].table;
        let proc = table.at(b"/proc").unwrap();
        let device = fs::metadata("/proc").unwrap().dev();
        let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
        assert_eq!(proc.device, major << 20 | minor);
        let spot = Spot {
            namespace,
            mount: proc.id,
            device: proc.device,
            below: b"/self/status",
        };
        let found = mounts.host_path(&spot, &[own], MAX_AGE + 1);
        assert_eq!(found.unwrap(), b"/proc/self/status");
        let other = Spot {
            device: proc_device_of_nothing(),
            ..spot
        };
        assert_eq!(mounts.host_path(&other, &[own], MAX_AGE + 2), None);
        // Nobody is left to ask: what was read stands.
        assert!(mounts.host_path(&spot, &[], 9 * MAX_AGE).is_some());
        assert!(mounts.is_host(namespace) && !mounts.is_host(1));
    }

    const fn proc_device_of_nothing() -> u32 {
        0xfff << 20
    }
}
