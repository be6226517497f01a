//! Which processes are frozen, by their cgroups (cgroups(7), `Documentation/admin-guide/cgroup-v2.rst`).

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::runtime::hierarchy::Hierarchy;

/// Where a process or thread is, and whether that is frozen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Places {
    /// Its cgroup where shares of CPUs are controlled; from the root of that hierarchy, as the reader sees it.
    #[serde(rename = "cpucgroup")]
    pub cpu: String,
    /// Its cgroup where freezing is controlled, likewise.
    #[serde(rename = "fridgecgroup")]
    pub freezer: String,
    /// It is frozen: by its cgroup, or by one that this is in.
    #[serde(rename = "fridgefrozen")]
    pub is_frozen: bool,
    #[serde(skip)]
    unified: Option<String>,
    #[serde(skip)]
    is_first_version: bool,
}

/// Reads `/proc/PID/cgroup`: `NUMBER:CONTROLLERS:PATH`, of version 2 `0::PATH`. Nothing is frozen yet.
pub(super) fn places(text: &str) -> Places {
    let lines = text.lines().filter_map(|line| {
        let (_, rest) = line.split_once(':')?;
        rest.split_once(':')
    });
    let (mut cpu, mut freezer, mut unified) = (None, None, None);
    for (controllers, path) in lines {
        if controllers.is_empty() {
            unified = Some(path);
        }
        for controller in controllers.split(',') {
            match controller {
                "cpu" => cpu = Some(path),
                "freezer" => freezer = Some(path),
                _ => {}
            }
        }
    }
    let or_unified = |path: Option<&str>| path.or(unified).unwrap_or_default().to_owned();
    Places {
        cpu: or_unified(cpu),
        freezer: or_unified(freezer),
        is_frozen: false,
        unified: unified.map(str::to_owned),
        is_first_version: freezer.is_some(),
    }
}

/// What the hierarchies of both versions say; each cgroup is asked once.
#[derive(Debug)]
pub(super) struct Freezer {
    first: PathBuf,
    unified: Option<Hierarchy>,
    known: HashMap<(bool, String), bool>,
}

impl Freezer {
    /// `root` is the host's root directory.
    pub(super) fn new(root: &Path) -> Self {
        Self {
            first: root.join("sys/fs/cgroup/freezer"),
            unified: Hierarchy::anywhere(root),
            known: HashMap::new(),
        }
    }

    /// Whether what is there is frozen, also because of a cgroup above.
    pub(super) fn is_frozen(&mut self, places: &Places) -> bool {
        let Self {
            first,
            unified,
            known,
        } = self;
        let mut once = |path: &str, is_first: bool, look: &dyn Fn() -> bool| {
            *known
                .entry((is_first, path.to_owned()))
                .or_insert_with(look)
        };
        let by_first = places.is_first_version
            && once(&places.freezer, true, &|| {
                let below = places.freezer.trim_start_matches('/');
                let state = fs::read_to_string(first.join(below).join("freezer.state"));
                state.is_ok_and(|state| state.trim() == "FROZEN")
            });
        let by_unified = |path: &str, hierarchy: &Hierarchy| {
            let events = fs::read_to_string(hierarchy.directory(path).join("cgroup.events"));
            events.is_ok_and(|events| events.lines().any(|line| line == "frozen 1"))
        };
        let unified = unified.as_ref();
        by_first
            || places.unified.as_deref().is_some_and(|path| {
                once(path, false, &|| {
                    unified.is_some_and(|hierarchy| by_unified(path, hierarchy))
                })
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_are_read() {
        let hybrid = places("4:freezer:/f\n3:cpu,cpuacct:/c\n1:name=systemd:/s\n0::/u\n");
        assert_eq!((&*hybrid.cpu, &*hybrid.freezer), ("/c", "/f"));
        let unified = places("0::/u\n");
        assert_eq!((&*unified.cpu, &*unified.freezer), ("/u", "/u"));
        assert_eq!(places("").freezer, "");
    }

    #[test]
    fn what_is_frozen_is_said_to_be() {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str, text: &str| {
            let path = root.path().join("sys/fs/cgroup").join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        at("freezer/a/freezer.state", "FROZEN\n");
        at("freezer/b/freezer.state", "THAWED\n");
        at("unified/cgroup.controllers", "");
        at("unified/b/cgroup.events", "populated 1\nfrozen 1\n");
        at("unified/a/cgroup.events", "populated 1\nfrozen 0\n");
        let mut freezer = Freezer::new(root.path());
        let mut of = |text| freezer.is_frozen(&places(text));
        assert!(of("4:freezer:/a\n0::/a\n"));
        assert!(of("4:freezer:/b\n0::/b\n"));
        assert!(!of("4:freezer:/b\n0::/a\n"));
        assert!(!of("0::/gone\n"));
    }
}
