//! Whose namespaces are, and what they are below, as the kernel says.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::os::unix::fs::MetadataExt;

use super::{Kind, Map, Namespace, nsfs};

/// Namespaces that are kept; what is beyond is an attack on whoever looks.
pub(super) const MAX_NAMESPACES: usize = 1 << 20;

/// Of one namespace.
#[derive(Clone, Copy, Debug)]
struct Relation {
    kind: Kind,
    owner: Option<u64>,
    parent: Option<u64>,
    user_id: Option<u32>,
}

/// Of each that was asked about. They stay the same as long as the namespace is there.
#[derive(Debug, Default)]
pub(super) struct Relations(HashMap<u64, Relation>);

impl Relations {
    /// Whether it was asked about.
    pub(super) fn knows(&self, nsid: u64) -> bool {
        self.0.contains_key(&nsid)
    }

    /// Asks about one by its file, and about those that it leads to, unless that is known.
    pub(super) fn ask(&mut self, nsid: u64, kind: Kind, file: File) {
        let mut open = vec![(nsid, kind, file)];
        while let Some((nsid, kind, file)) = open.pop() {
            if self.knows(nsid) || self.0.len() >= MAX_NAMESPACES {
                continue;
            }
            let mut found = |file: Option<File>, kind| {
                let file = file?;
                let nsid = file.metadata().ok()?.ino();
                open.push((nsid, kind, file));
                Some(nsid)
            };
            let owner = found(nsfs::owner(&file), Kind::User);
            let parent = if kind.is_nested() {
                found(nsfs::parent(&file), kind)
            } else {
                None
            };
            let relation = Relation {
                kind,
                owner,
                parent,
                user_id: (kind == Kind::User)
                    .then(|| nsfs::owner_uid(&file))
                    .flatten(),
            };
            self.0.insert(nsid, relation);
        }
    }

    /// Forgets all but these, and those that they lead to, which are kept by them: the number of a namespace that is gone
    /// is given to another one.
    pub(super) fn keep(&mut self, kept: &HashSet<u64>) {
        let mut all = HashSet::new();
        let mut open: Vec<u64> = kept.iter().copied().collect();
        while let Some(nsid) = open.pop() {
            if let Some(relation) = self.0.get(&nsid)
                && all.insert(nsid)
            {
                open.extend(relation.owner.into_iter().chain(relation.parent));
            }
        }
        self.0.retain(|nsid, _| all.contains(nsid));
    }

    /// Tells it of those that were found, and adds those that they lead to.
    pub(super) fn tell(&self, map: &mut Map) {
        let mut open: Vec<u64> = map.namespaces.keys().copied().collect();
        while let Some(nsid) = open.pop() {
            let Some(relation) = self.0.get(&nsid) else {
                continue;
            };
            if !map.namespaces.contains_key(&nsid) && map.namespaces.len() >= MAX_NAMESPACES {
                continue;
            }
            let new = || Namespace::new(nsid, relation.kind);
            let namespace = map.namespaces.entry(nsid).or_insert_with(new);
            (namespace.owner, namespace.parent) = (relation.owner, relation.parent);
            namespace.user_id = relation.user_id;
            let led_to = relation.owner.into_iter().chain(relation.parent);
            open.extend(led_to.filter(|nsid| !map.namespaces.contains_key(nsid)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_led_to_is_kept_and_told() {
        let relation = |kind, owner, parent| Relation {
            kind,
            owner,
            parent,
            user_id: None,
        };
        let mut relations = Relations(HashMap::from([
            (1, relation(Kind::User, None, None)),
            (2, relation(Kind::User, Some(1), Some(1))),
            (3, relation(Kind::Net, Some(2), None)),
            (4, relation(Kind::Net, Some(2), None)),
        ]));
        relations.keep(&HashSet::from([3, 9]));
        let known = [1, 2, 3, 4].map(|nsid| relations.knows(nsid));
        assert_eq!(known, [true, true, true, false]);
        let mut map = Map::default();
        for nsid in [3, 4] {
            map.namespaces.insert(nsid, Namespace::new(nsid, Kind::Net));
        }
        relations.tell(&mut map);
        let owners: Vec<_> = map.namespaces.values().map(|it| it.owner).collect();
        assert_eq!(owners, [None, Some(1), Some(2), None]);
        assert_eq!(map.namespaces[&2].kind, Kind::User);
    }
}
