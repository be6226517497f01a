//! The hierarchy of cgroup v2: the one whose cgroups have ids.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirEntryExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use holdfast_wire::text;

/// Directories looked at for one cgroup: more than a crowded node has.
const MAX_SEARCHED: usize = 16_384;

/// Where it is mounted.
#[derive(Clone, Debug)]
pub(crate) struct Hierarchy(PathBuf);

impl Hierarchy {
    /// Where all controllers are in it; `root` is the host's root directory.
    pub(crate) fn alone(root: &Path) -> Option<Self> {
        Self::at(root.join("sys/fs/cgroup"))
    }

    /// Also where it stands beside those of version 1.
    pub(crate) fn anywhere(root: &Path) -> Option<Self> {
        Self::alone(root).or_else(|| Self::at(root.join("sys/fs/cgroup/unified")))
    }

    /// cgroups(7): the file is in every cgroup of version 2, and in the root of no other.
    fn at(path: PathBuf) -> Option<Self> {
        path.join("cgroup.controllers")
            .exists()
            .then_some(Self(path))
    }

    /// The directory of the cgroup at `path`, from its root: the text of a path.
    pub(crate) fn directory(&self, path: &str) -> PathBuf {
        let below = path.trim_start_matches('/');
        let bytes = text::path_bytes(below).unwrap_or(Cow::Borrowed(below.as_bytes()));
        self.0.join(OsStr::from_bytes(&bytes))
    }

    /// Whether the cgroup at `path`, from its root, has this id.
    pub(crate) fn is_at(&self, path: &str, id: u64) -> bool {
        fs::metadata(self.directory(path)).is_ok_and(|directory| directory.ino() == id)
    }

    /// The path, from its root, of the cgroup with this id, which is its directory's inode number
    /// (`kernfs_ino`, `include/linux/kernfs.h`); `None` when there is none, or no longer.
    pub(crate) fn path_of(&self, id: u64) -> Option<String> {
        let Self(root) = self;
        if self.is_at("", id) {
            return Some("/".to_owned());
        }
        let mut pending = vec![root.clone()];
        let mut searched = 0;
        while let Some(directory) = pending.pop() {
            for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
                if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    continue;
                }
                let path = entry.path();
                if entry.ino() == id {
                    let below = path.strip_prefix(root).unwrap_or(&path);
                    return Some(format!("/{}", text::path(below.as_os_str().as_bytes())));
                }
                searched += 1;
                if searched >= MAX_SEARCHED {
                    return None;
                }
                pending.push(path);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cgroup_is_found_by_its_number_as_deep_as_it_is() {
        let root = tempfile::tempdir().unwrap();
        assert!(Hierarchy::anywhere(root.path()).is_none());
        let unified = root.path().join("sys/fs/cgroup/unified");
        let deep = unified.join("a/b/c");
        fs::create_dir_all(&deep).unwrap();
        fs::write(unified.join("cgroup.controllers"), "").unwrap();
        assert!(Hierarchy::alone(root.path()).is_none());
        let hierarchy = Hierarchy::anywhere(root.path()).unwrap();
        let id = fs::metadata(&deep).unwrap().ino();
        assert_eq!(hierarchy.path_of(id).as_deref(), Some("/a/b/c"));
        assert_eq!(hierarchy.path_of(u64::MAX), None);
        assert!(hierarchy.is_at("/a/b/c", id) && !hierarchy.is_at("/a/b", id));
        let id = fs::metadata(&unified).unwrap().ino();
        assert_eq!(hierarchy.path_of(id).as_deref(), Some("/"));
        // A name that is no text.
        let odd = deep.join(OsStr::from_bytes(b"\xff"));
        fs::create_dir(&odd).unwrap();
        let id = fs::metadata(&odd).unwrap().ino();
        let path = hierarchy.path_of(id).unwrap();
        assert_eq!(path, r"/a/b/c/\xff");
        assert!(hierarchy.is_at(&path, id));
    }
}
