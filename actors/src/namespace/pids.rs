//! The ids of processes in the pid namespaces that see them (pid_namespaces(7)). Pure.

use serde::Serialize;

use super::{Kind, Map, Process};

/// A process's id in a pid namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct NamespacedPid {
    /// The id.
    pub pid: u32,
    /// The namespace's inode number.
    pub nsid: u64,
}

/// Of each process its ids, from its own pid namespace up to the reader's.
#[must_use]
pub fn table(map: &Map) -> Vec<Vec<NamespacedPid>> {
    let processes = map.processes.values();
    let ids = processes.map(|process| ids(map, process));
    ids.filter(|ids| !ids.is_empty()).collect()
}

/// `NSpid` of `status` goes down, the namespaces are known upwards.
fn ids(map: &Map, process: &Process) -> Vec<NamespacedPid> {
    let mut namespace = process.namespaces.get(&Kind::Pid).copied();
    let mut ids = Vec::with_capacity(process.nspids.len());
    for pid in process.nspids.iter().rev().copied() {
        let Some(nsid) = namespace else { break };
        ids.push(NamespacedPid { pid, nsid });
        namespace = map.namespaces.get(&nsid).and_then(|it| it.parent);
    }
    ids
}

/// `NSpid:` of `/proc/PID/status`: none where the kernel does not tell.
pub(super) fn nspids(status: &str) -> Vec<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    let numbers = line.unwrap_or_default().split_ascii_whitespace();
    numbers.map_while(|number| number.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::namespace::Namespace;

    #[test]
    fn ids_go_with_their_namespaces() {
        let mut map = Map::default();
        for (nsid, parent) in [(1, None), (2, Some(1)), (3, Some(2))] {
            let namespace = Namespace {
                parent,
                ..Namespace::new(nsid, Kind::Pid)
            };
            map.namespaces.insert(nsid, namespace);
        }
        for (pid, own, status) in [
            (1, 1, "NSpid:\t1\n"),
            (70, 3, "Name:\tx\nNSpid:\t70\t7\t1\n"),
            (71, 9, ""),
        ] {
            let process = Process {
                namespaces: [(Kind::Pid, own)].into(),
                nspids: nspids(status),
                ..Process::default()
            };
            map.processes.insert(pid, process);
        }
        let id = |pid, nsid| NamespacedPid { pid, nsid };
        assert_eq!(
            table(&map),
            [vec![id(1, 1)], vec![id(1, 3), id(7, 2), id(70, 1)]]
        );
    }
}
