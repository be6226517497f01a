//! Who is in a namespace, who came first, and which are below which. Pure.

use std::collections::BTreeMap;

use super::{Kind, Map, Process};

/// Fills in what follows from the rest.
pub(super) fn arrange(map: &mut Map) {
    let Map {
        namespaces,
        processes,
        ..
    } = map;
    for process in processes.values() {
        for (kind, nsid) in &process.namespaces {
            let Some(namespace) = namespaces.get_mut(nsid) else {
                continue;
            };
            namespace.processes += 1;
            if leads(processes, process, *kind, *nsid) {
                namespace.leaders.push(process.pid);
            }
        }
    }
    for namespace in namespaces.values_mut() {
        let start = |pid: &&u32| processes.get(pid).map(|process| process.starttime);
        namespace.ealdorman = namespace.leaders.iter().min_by_key(start).copied();
    }
    let related: Vec<_> = namespaces
        .values()
        .map(|namespace| (namespace.nsid, namespace.owner, namespace.parent))
        .collect();
    for (nsid, owner, parent) in related {
        if let Some(owner) = owner.and_then(|owner| namespaces.get_mut(&owner)) {
            owner.possessions.push(nsid);
        }
        if let Some(parent) = parent.and_then(|parent| namespaces.get_mut(&parent)) {
            parent.children.push(nsid);
        }
    }
}

/// Whether its parent is in another namespace.
fn leads(processes: &BTreeMap<u32, Process>, process: &Process, kind: Kind, nsid: u64) -> bool {
    let parent = processes.get(&process.ppid);
    parent.and_then(|parent| parent.namespaces.get(&kind)) != Some(&nsid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::namespace::Namespace;

    fn process(pid: u32, ppid: u32, starttime: u64, net: u64) -> (u32, Process) {
        let process = Process {
            pid,
            ppid,
            starttime,
            namespaces: [(Kind::Net, net)].into(),
            ..Process::default()
        };
        (pid, process)
    }

    #[test]
    fn who_came_from_elsewhere_leads_and_the_oldest_first() {
        let namespace = |nsid, kind, owner, parent| {
            (
                nsid,
                Namespace {
                    owner,
                    parent,
                    ..Namespace::new(nsid, kind)
                },
            )
        };
        let mut map = Map {
            namespaces: [
                namespace(10, Kind::Net, Some(1), None),
                namespace(11, Kind::Net, Some(2), None),
                namespace(1, Kind::User, None, None),
                namespace(2, Kind::User, Some(1), Some(1)),
            ]
            .into(),
            // 7 and 8 came into 11 from outside, 9 was made there.
            processes: [
                process(1, 0, 1, 10),
                process(7, 1, 9, 11),
                process(8, 1, 5, 11),
                process(9, 8, 6, 11),
            ]
            .into(),
            ..Map::default()
        };
        arrange(&mut map);
        let of = |nsid: u64| &map.namespaces[&nsid];
        assert_eq!(
            (&of(11).leaders[..], of(11).ealdorman),
            (&[7, 8][..], Some(8))
        );
        assert_eq!((of(11).processes, of(10).processes), (3, 1));
        assert_eq!(of(1).children, [2]);
        assert_eq!(of(1).possessions, [2, 10]);
        assert_eq!(of(2).possessions, [11]);
    }
}
