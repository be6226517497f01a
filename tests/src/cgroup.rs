//! A cgroup of a scenario's own, in the hierarchy whose cgroups have ids.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::bench::Bench;

/// Where that hierarchy is: alone, or beside those of cgroup v1.
const PLACES: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];

/// A cgroup, gone when this is dropped.
#[derive(Debug)]
pub struct Cgroup {
    directory: PathBuf,
    /// Its path from the root of the hierarchy.
    pub path: String,
}

impl Cgroup {
    /// Makes one.
    pub fn make(name: &str) -> Result<Self> {
        Self::at(format!("/holdfast-test-{name}-{}", std::process::id()))
    }

    /// Makes one whose processes may have so many bytes of memory together.
    pub fn of_memory(name: &str, bytes: u64) -> Result<Self> {
        let cgroup = Self::make(name)?;
        let root = cgroup.directory.parent().unwrap_or(&cgroup.directory);
        let set = |path: PathBuf, value: &str| {
            fs::write(&path, value).with_context(|| format!("write {}", path.display()))
        };
        set(root.join("cgroup.subtree_control"), "+memory")?;
        set(cgroup.place("memory.max"), &bytes.to_string())?;
        // Where there is swap; what is too much would go there.
        let _ = set(cgroup.place("memory.swap.max"), "0");
        Ok(cgroup)
    }

    /// Makes one that is called as Docker calls that of the container with this id.
    pub fn of_docker(id: &str) -> Result<Self> {
        Self::at(format!("/docker-{id}.scope"))
    }

    fn at(path: String) -> Result<Self> {
        let root = PLACES
            .iter()
            .map(Path::new)
            // Only the root of a v2 hierarchy has this file.
            .find(|root| root.join("cgroup.controllers").exists())
            .context("no cgroup v2 hierarchy is mounted")?;
        let directory = root.join(&path[1..]);
        fs::create_dir(&directory).with_context(|| format!("make {}", directory.display()))?;
        Ok(Self { directory, path })
    }

    /// One of its files.
    pub fn place(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// The command, run by a process that was put into this cgroup before.
    pub fn run(&self, bench: &Bench, command: &Command) -> Result<Command> {
        // By its path, which means the same to another process.
        let program = fs::canonicalize(command.get_program()).context("find the program")?;
        let mut inside = bench.busybox(&["sh", "-c", "echo $$ > \"$0\" && exec \"$@\""]);
        inside
            .arg(self.directory.join("cgroup.procs"))
            .arg(program)
            .args(command.get_args());
        Ok(inside)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // Empty by now, unless the scenario failed; what is left then is an empty name.
        let _ = fs::remove_dir(&self.directory);
    }
}
