//! The path of a cgroup whose id the kernel gave: a directory's id is its inode number.

use std::collections::VecDeque;
use std::fs;
use std::os::unix::fs::{DirEntryExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

/// Directories that are looked through for one cgroup: some tens of milliseconds at most, and more
/// than a crowded node has.
const MAX_DIRECTORIES: usize = 16_384;

/// `CGROUP2_SUPER_MAGIC` of `include/uapi/linux/magic.h`.
const CGROUP2: i64 = 0x6367_7270;

/// The hierarchy whose cgroups have ids.
#[derive(Debug)]
pub(crate) struct Cgroups(Option<PathBuf>);

impl Cgroups {
    /// Finds it below the host's root: alone, or beside those of cgroup v1.
    pub(crate) fn find(root: &Path) -> Self {
        let places = ["sys/fs/cgroup", "sys/fs/cgroup/unified"];
        let is_there =
            |path: &PathBuf| rustix::fs::statfs(path).is_ok_and(|statfs| statfs.f_type == CGROUP2);
        Self(
            places
                .map(|place| root.join(place))
                .into_iter()
                .find(is_there),
        )
    }

    /// None at all.
    #[cfg(test)]
    pub(crate) const fn none() -> Self {
        Self(None)
    }

    /// The path of the cgroup with this id, from the root of the hierarchy; `None` when there is none,
    /// or no longer.
    pub(crate) fn path(&self, id: u64) -> Option<String> {
        let root = self.0.as_ref()?;
        let mut waiting = VecDeque::from([root.clone()]);
        for _ in 0..MAX_DIRECTORIES {
            let directory = waiting.pop_front()?;
            if fs::metadata(&directory).is_ok_and(|found| found.ino() == id) {
                let path = directory.strip_prefix(root).ok()?;
                return Some(format!("/{}", path.display()));
            }
            let entries = fs::read_dir(&directory).into_iter().flatten().flatten();
            let directories = entries.filter(|entry| entry.file_type().is_ok_and(|it| it.is_dir()));
            for entry in directories {
                // The nearest first, and the one that is looked for before all others.
                if entry.ino() == id {
                    waiting.push_front(entry.path());
                } else {
                    waiting.push_back(entry.path());
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_found_by_its_number_as_deep_as_it_is() {
        let root = tempfile::tempdir().unwrap();
        let deep = root.path().join("a/b/c");
        fs::create_dir_all(&deep).unwrap();
        fs::create_dir_all(root.path().join("d/e")).unwrap();
        let cgroups = Cgroups(Some(root.path().to_owned()));
        let id = fs::metadata(&deep).unwrap().ino();
        assert_eq!(cgroups.path(id).as_deref(), Some("/a/b/c"));
        assert_eq!(cgroups.path(u64::MAX), None);
        assert_eq!(Cgroups::find(root.path()).path(id), None);
    }
}
