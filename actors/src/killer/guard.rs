//! Who is never killed: pid 1, the sensor, the container engines, kubelet, and what the user adds.
//!
//! The names alone would be an invitation: whoever calls a program `dockerd` would be spared. So the
//! executable must be the very file that the host has at that path.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::{fs, process};

use holdfast_wire::text;

use crate::evaluator::processes::scan;

/// Last components of the executables of engines and of what keeps a node in its cluster.
const ENGINES: [&str; 14] = [
    "dockerd",
    "docker-proxy",
    "containerd",
    "containerd-shim",
    "containerd-shim-runc-v1",
    "containerd-shim-runc-v2",
    "runc",
    "crun",
    "crio",
    "conmon",
    "podman",
    "kubelet",
    "k3s",
    "rke2",
];

/// Directories of the host that only root writes, and that engines are installed in.
const DIRECTORIES: [&str; 10] = [
    "/usr/bin/",
    "/usr/sbin/",
    "/usr/local/bin/",
    "/usr/local/sbin/",
    "/usr/lib/",
    "/usr/libexec/",
    "/bin/",
    "/sbin/",
    "/opt/",
    "/var/lib/rancher/",
];

/// The rules; asks nothing of the system but in [`Guard::spares`].
#[derive(Clone, Debug)]
pub(crate) struct Guard {
    own: u32,
    root: PathBuf,
    names: HashSet<String>,
    paths: HashSet<String>,
}

impl Guard {
    /// `added`: what the user adds, a path or the last component of one. `root`: the host's root.
    pub(crate) fn new(root: PathBuf, added: &[String]) -> Self {
        let (paths, names) = added
            .iter()
            .cloned()
            .partition(|it: &String| it.starts_with('/'));
        Self {
            own: process::id(),
            root,
            names,
            paths,
        }
    }

    /// Whether a process with this executable (as the host sees it) is spared. Pure.
    fn lists(&self, executable: &str) -> bool {
        let name = executable.rsplit('/').next().unwrap_or(executable);
        let engine = ENGINES.contains(&name) || self.names.contains(name);
        let installed = DIRECTORIES
            .iter()
            .any(|directory| executable.starts_with(directory));
        self.paths.contains(executable) || engine && installed
    }

    /// Why the process with this pid is never killed; `None`: it may be.
    pub(crate) fn spares(&self, proc: &Path, tgid: u32) -> Option<&'static str> {
        if tgid <= 1 {
            return Some("it is pid 1");
        }
        if tgid == self.own {
            return Some("it is the sensor");
        }
        let process = proc.join(tgid.to_string());
        let executable = scan::link(&process, "exe")?;
        if !self.lists(&executable) {
            return None;
        }
        let runs = fs::metadata(process.join("exe")).ok()?;
        let path = text::path_bytes(executable.trim_start_matches('/'))?;
        let hosts = fs::metadata(self.root.join(OsStr::from_bytes(&path))).ok()?;
        let same = (runs.dev(), runs.ino()) == (hosts.dev(), hosts.ino());
        same.then_some("it is on the never-kill list")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engines_are_spared_where_they_are_installed() {
        let added = ["/srv/db/postgres".to_owned(), "sshd".to_owned()];
        let guard = Guard::new("/".into(), &added);
        for spared in [
            "/usr/bin/dockerd",
            "/usr/local/bin/k3s",
            "/srv/db/postgres",
            "/usr/sbin/sshd",
        ] {
            assert!(guard.lists(spared), "{spared}");
        }
        for not in [
            "/tmp/dockerd",
            "dockerd",
            "/usr/bin/dockerd2",
            "/srv/db/other",
            "/home/x/sshd",
        ] {
            assert!(!guard.lists(not), "{not}");
        }
    }

    #[test]
    fn init_and_the_sensor_are_spared() {
        let guard = Guard::new("/".into(), &[]);
        let proc = Path::new("/proc");
        assert!(guard.spares(proc, 0).is_some());
        assert!(guard.spares(proc, 1).is_some());
        assert!(guard.spares(proc, process::id()).is_some());
        assert!(guard.spares(proc, u32::MAX).is_none());
    }

    #[test]
    fn the_file_itself_counts_not_its_name() {
        let own = std::env::current_exe()
            .unwrap()
            .to_string_lossy()
            .into_owned();
        let mut child = process::Command::new("sleep").arg("60").spawn().unwrap();
        let executable = fs::read_link(format!("/proc/{}/exe", child.id())).unwrap();
        let executable = executable.to_string_lossy().into_owned();
        let spares = |root: &str, path: &str| {
            Guard::new(root.into(), &[path.to_owned()]).spares(Path::new("/proc"), child.id())
        };
        assert!(spares("/", &executable).is_some());
        assert!(spares("/", &own).is_none());
        // On a host whose root is elsewhere, the file at that path is another.
        assert!(spares("/nonexistent", &executable).is_none());
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
