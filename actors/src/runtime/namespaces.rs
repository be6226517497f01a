//! Which namespaces a container has in common with the host.

use std::path::Path;

use crate::namespace::{Kind, of_process};

/// The types that are compared. Those of users and cgroups are the host's unless an engine was told otherwise.
const TYPES: [Kind; 5] = [Kind::Ipc, Kind::Mnt, Kind::Net, Kind::Pid, Kind::Uts];

/// Adds to `shared` those namespaces of the process `pid` in which the host's first process is, too, as far as that can
/// be read: a pod's containers join what its sandbox has of the host.
pub(crate) fn add_shared(proc: &Path, pid: u32, shared: &mut Vec<String>) {
    let is_shared = |kind: &Kind| {
        let namespace = of_process(proc, pid, *kind);
        namespace.is_some() && namespace == of_process(proc, 1, *kind)
    };
    let names = TYPES.into_iter().filter(is_shared).map(Kind::name);
    shared.extend(names.map(str::to_owned));
    shared.sort_unstable();
    shared.dedup();
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::create_dir_all;
    use std::os::unix::fs::symlink;

    #[test]
    fn what_is_the_same_is_shared() {
        let proc = tempfile::tempdir().unwrap();
        for (pid, kind, inode) in [
            (1, "pid", 1),
            (7, "pid", 1),
            (1, "net", 2),
            (7, "net", 3),
            (7, "uts", 4),
        ] {
            let directory = proc.path().join(pid.to_string()).join("ns");
            create_dir_all(&directory).unwrap();
            symlink(format!("{kind}:[{inode}]"), directory.join(kind)).unwrap();
        }
        let mut shared = vec!["pid".to_owned(), "net".to_owned()];
        add_shared(proc.path(), 8, &mut shared);
        assert_eq!(shared, ["net", "pid"]);
        add_shared(proc.path(), 7, &mut shared);
        assert_eq!(shared, ["net", "pid"]);
        shared.clear();
        add_shared(proc.path(), 7, &mut shared);
        assert_eq!(shared, ["pid"]);
    }
}
