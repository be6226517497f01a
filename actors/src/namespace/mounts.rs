//! What is mounted in a mount namespace, by path, and what of it cannot be reached. Pure.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use holdfast_wire::text;
use holdfast_wire::uapi::mounts;
use serde::{Deserialize, Serialize};

/// Mounts by the path that they are at.
pub type Paths = BTreeMap<String, At>;

/// The mounts at a path: at most one of them can be reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct At {
    /// In the order in which they were made.
    pub mounts: Vec<Mount>,
    /// A number for the path, within its mount namespace.
    pub pathid: usize,
    /// That of the nearest path above at which something is mounted; 0 for none.
    pub parentid: usize,
}

/// A mount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Its number.
    pub mountid: u32,
    /// That of the mount it is on.
    pub parentid: u32,
    /// Of the file system's device.
    pub major: u32,
    /// Likewise.
    pub minor: u32,
    /// What of the file system is mounted.
    pub root: String,
    /// Where it is.
    pub mountpoint: String,
    /// Its own options.
    pub mountoptions: Vec<String>,
    /// How it propagates (mount_namespaces(7)): `shared`, `master`, `propagate_from`, each with the number of a peer
    /// group, and `unbindable`; none: it is private.
    pub tags: BTreeMap<String, String>,
    /// Type of the file system.
    pub fstype: String,
    /// What is mounted, as the file system has it.
    pub source: String,
    /// The file system's options.
    pub superoptions: String,
    /// Something is mounted over it, or over a path above, so that no path leads to it.
    pub hidden: bool,
}

/// From `/proc/PID/mountinfo`.
#[must_use]
pub fn paths(mountinfo: &[u8]) -> Paths {
    let all: Vec<mounts::Mount> = mounts::parse(mountinfo).collect();
    let hidden = hidden(&all);
    let mut by_path: BTreeMap<PathBuf, At> = BTreeMap::new();
    for mount in all {
        let point = mount.point.clone();
        let mount = shown(mount, &hidden);
        by_path.entry(point).or_default().mounts.push(mount);
    }
    let ids: HashMap<PathBuf, usize> = by_path.keys().cloned().zip(1..).collect();
    let placed = by_path.into_iter().map(|(path, mut at)| {
        let id = |path: &Path| ids.get(path).copied();
        at.pathid = id(&path).unwrap_or_default();
        at.parentid = path.ancestors().skip(1).find_map(id).unwrap_or_default();
        (written(&path), at)
    });
    placed.collect()
}

fn written(path: &Path) -> String {
    text::path(path.as_os_str().as_bytes()).into_owned()
}

/// The numbers of those that no path leads to. A path is walked from mount to mount: on one, whatever is mounted at a
/// directory that the walk comes to is entered.
fn hidden(all: &[mounts::Mount]) -> HashSet<u32> {
    let by_id: HashMap<u32, &mounts::Mount> = all.iter().map(|it| (it.id, it)).collect();
    let parent = |mount: &mounts::Mount| {
        let parent = by_id.get(&mount.parent).copied();
        parent.filter(|parent| parent.id != mount.id)
    };
    // What is on which mount, where.
    let taken: HashSet<(u32, &Path)> = all
        .iter()
        .filter_map(|it| Some((parent(it)?.id, &*it.point)))
        .collect();
    // On the way to it from the mount that it is on, another one is entered.
    let is_passed = |mount: &mounts::Mount| {
        let mut above = mount.point.ancestors().skip(1);
        parent(mount).is_some_and(|parent| above.any(|path| taken.contains(&(parent.id, path))))
    };
    let is_out_of_reach = |mount: &mounts::Mount| {
        let up = std::iter::successors(Some(mount), |mount| parent(mount));
        // There are no rings of mounts, but this is text.
        up.take(all.len()).any(is_passed)
    };
    let is_covered = |mount: &mounts::Mount| taken.contains(&(mount.id, &*mount.point));
    let hidden = all
        .iter()
        .filter(|it| is_covered(it) || is_out_of_reach(it));
    hidden.map(|mount| mount.id).collect()
}

fn shown(mount: mounts::Mount, hidden: &HashSet<u32>) -> Mount {
    let tag = |tag: String| match tag.split_once(':') {
        Some((name, value)) => (name.to_owned(), value.to_owned()),
        None => (tag, String::new()),
    };
    Mount {
        mountid: mount.id,
        parentid: mount.parent,
        major: mount.device.0,
        minor: mount.device.1,
        root: written(&mount.root),
        mountpoint: written(&mount.point),
        mountoptions: mount.options.split(',').map(str::to_owned).collect(),
        tags: mount.tags.into_iter().map(tag).collect(),
        fstype: mount.kind,
        source: mount.source,
        superoptions: mount.super_options,
        hidden: hidden.contains(&mount.id),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hidden_of(lines: &[(u32, u32, &str)]) -> Vec<u32> {
        let line = |(id, parent, point): &(u32, u32, &str)| {
            format!("{id} {parent} 0:{id} / {point} rw shared:{id} - tmpfs t rw\n")
        };
        let text: String = lines.iter().map(line).collect();
        let paths = paths(text.as_bytes());
        let all = paths.values().flat_map(|at| &at.mounts);
        let mut hidden: Vec<u32> = all.filter(|it| it.hidden).map(|it| it.mountid).collect();
        hidden.sort_unstable();
        hidden
    }

    #[test]
    fn what_is_mounted_over_is_hidden() {
        let root = (1, 0, "/");
        assert_eq!(hidden_of(&[root, (2, 1, "/a"), (3, 2, "/a/b")]), [0; 0]);
        // The same place again: the earlier one, and what is on it.
        let twice = [
            root,
            (2, 1, "/a"),
            (3, 2, "/a/b"),
            (4, 2, "/a"),
            (5, 4, "/a/b"),
        ];
        assert_eq!(hidden_of(&twice), [2, 3]);
        // A directory above; `/ab` is another one.
        let above = [
            root,
            (2, 1, "/a/b"),
            (3, 2, "/a/b/c"),
            (4, 1, "/ab"),
            (5, 1, "/a"),
        ];
        assert_eq!(hidden_of(&above), [2, 3]);
        // Over the root itself: all that was below.
        assert_eq!(hidden_of(&[root, (2, 1, "/a"), (3, 1, "/")]), [1, 2]);
        // One that is its own parent, as of an initramfs.
        assert_eq!(hidden_of(&[(1, 1, "/"), (2, 1, "/a")]), [0; 0]);
    }

    #[test]
    fn paths_have_their_places() {
        let text = b"1 0 8:1 / / rw,nosuid - ext4 /dev/sda rw\n\
            2 1 0:5 / /a/b rw shared:7 master:1 - tmpfs t rw\n\
            3 1 0:6 / /a/b/c/d rw unbindable - tmpfs t rw\n";
        let paths = paths(text);
        let of = |path: &str| &paths[path];
        assert_eq!(of("/").parentid, 0);
        assert_eq!(of("/a/b").parentid, of("/").pathid);
        assert_eq!(of("/a/b/c/d").parentid, of("/a/b").pathid);
        let mount = &of("/a/b").mounts[0];
        assert_eq!((&*mount.tags["shared"], &*mount.tags["master"]), ("7", "1"));
        assert_eq!(of("/a/b/c/d").mounts[0].tags["unbindable"], "");
        assert_eq!(of("/").mounts[0].mountoptions, ["rw", "nosuid"]);
    }

    proptest! {
        #[test]
        fn any_numbers_will_do(lines in proptest::collection::vec((0_u32..6, 0_u32..6, "(/[ab]){1,3}"), 0..12)) {
            let lines: Vec<_> = lines.iter().map(|(id, parent, point)| (*id, *parent, &**point)).collect();
            prop_assert!(hidden_of(&lines).len() <= lines.len());
        }
    }
}
