//! All containers there are at a moment: by the cgroups of processes, and by engines.

use std::collections::BTreeMap;
use std::path::Path;

use holdfast_wire::event::Container;
use serde::Serialize;

use super::engine::{self, Place, Socket};
use super::membership::{Membership, membership};
use super::table::{Details, Pod};
use crate::evaluator::processes::{MAX_PROCESSES, scan};
use crate::namespace::containers::Told;

/// A container, and what runs in it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Listed {
    /// As events show it.
    #[serde(flatten)]
    pub container: Container,
    /// The pod that it is in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<Pod>,
    /// Its first process, where its engine says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// `gvisor`, `kata` or `firecracker`, where a kernel of its own runs it, and nothing of its inside is seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guest_kernel: Option<&'static str>,
    /// Processes that are in its cgroups.
    pub processes: usize,
}

/// See the module.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Listing {
    /// In the order of their ids.
    pub containers: Vec<Listed>,
    /// Engines that are there and did not answer, and why.
    pub errors: Vec<String>,
}

/// Lists the containers of the host whose root directory is `root`.
pub async fn list(root: &Path, places: &[Place]) -> Listing {
    let proc = root.join("proc");
    let mut all = in_cgroups(&proc);
    let (told, errors) = told(&proc, places).await;
    for (_, details) in told {
        let Details {
            container,
            pod,
            pid,
            grants,
            ..
        } = details;
        let listed = all.entry(container.id.clone()).or_default();
        listed.container = container;
        listed.pod = pod.or(listed.pod.take());
        listed.pid = pid;
        listed.guest_kernel = grants.guest_kernel;
    }
    Listing {
        containers: all.into_values().collect(),
        errors,
    }
}

/// What the engines of the host with this root tell of containers that run, by id. Engines that do not answer are left
/// out.
pub async fn running(root: &Path, places: &[Place]) -> BTreeMap<String, Told> {
    let (told, _) = told(&root.join("proc"), places).await;
    let told = told.into_iter().map(|(socket, details)| {
        let id = details.container.id.clone();
        let told = Told {
            details,
            engine: socket.name,
            api: Some(socket.path.display().to_string()),
        };
        (id, told)
    });
    told.collect()
}

/// What the engines that are there tell, and why some do not.
async fn told(proc: &Path, places: &[Place]) -> (Vec<(Socket, Details)>, Vec<String>) {
    let mut all = Vec::new();
    let mut errors = Vec::new();
    for socket in places.iter().flat_map(Place::present) {
        match engine::running(&socket, proc).await {
            Ok(told) => all.extend(told.into_iter().map(|it| (socket.clone(), it))),
            Err(error) => errors.push(format!("{}: {error}", socket.path.display())),
        }
    }
    (all, errors)
}

fn in_cgroups(proc: &Path) -> BTreeMap<String, Listed> {
    let mut found: BTreeMap<String, Listed> = BTreeMap::new();
    for pid in scan::pids(proc, MAX_PROCESSES).unwrap_or_default() {
        // It may be gone by now.
        let Ok(text) = scan::cgroups(proc, pid) else {
            continue;
        };
        if let Membership::Container(named) = membership(&text) {
            let listed = found.entry(named.id.clone()).or_insert_with(|| Listed {
                container: Container {
                    id: named.id.clone(),
                    runtime: named.runtime,
                    ..Default::default()
                },
                pod: named.pod.as_ref().map(|uid| Pod {
                    uid: uid.clone(),
                    ..Default::default()
                }),
                ..Default::default()
            });
            listed.processes += 1;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[tokio::test]
    async fn without_an_engine_cgroups_tell() {
        let root = tempfile::tempdir().unwrap();
        let id = "0123456789abcdef".repeat(4);
        for (pid, cgroup) in [
            ("1", "0::/init.scope\n".to_owned()),
            ("7", format!("0::/system.slice/docker-{id}.scope\n")),
            ("8", format!("0::/system.slice/docker-{id}.scope\n")),
        ] {
            let directory = root.path().join("proc").join(pid);
            fs::create_dir_all(&directory).unwrap();
            fs::write(directory.join("cgroup"), cgroup).unwrap();
        }
        let nobody = root.path().join("nobody.sock");
        fs::write(&nobody, "").unwrap();
        let place = Place::At(engine::Socket::docker(Path::new("/"), &nobody, 0));
        let listing = list(root.path(), &[place]).await;
        let [listed] = &listing.containers[..] else {
            panic!("{listing:?}");
        };
        assert_eq!((&listed.container.id, listed.processes), (&id, 2));
        assert_eq!(listing.errors.len(), 1, "{listing:?}");
    }
}
