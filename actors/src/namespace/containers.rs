//! The containers that processes are in, their engines and what they are grouped by, with the keys of lxkns. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Map, Process};
use crate::runtime::table::Details;

/// How compose names its project.
const COMPOSE: &str = "com.docker.compose.project";
/// How lxkns calls the groups of containers that are in a pod.
const POD: &str = "io.kubernetes.pod";

/// What an engine says of a container that runs.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// Of the container.
    pub details: Details,
    /// What the sensor calls the engine; empty where none told.
    pub engine: String,
    /// Where that serves its API.
    pub api: Option<String>,
}

/// A container with a process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// As its runtime names it.
    pub id: String,
    /// As its engine calls it; its id, where none told.
    pub name: String,
    /// Of engines, as `docker.com`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The same.
    pub flavor: String,
    /// Its first process.
    pub pid: u32,
    /// That is frozen.
    pub paused: bool,
    /// What whoever made it says of it.
    pub labels: BTreeMap<String, String>,
    /// Number of its engine.
    pub engine: usize,
    /// Numbers of its groups.
    pub groups: Vec<usize>,
}

/// An engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Engine {
    /// What the sensor calls it; empty: by cgroups alone.
    pub id: String,
    /// As [`Container::kind`].
    #[serde(rename = "type")]
    pub kind: String,
    /// The path of its API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api: Option<String>,
    /// First processes of its containers.
    pub containers: Vec<u32>,
}

/// What containers have in common.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Of a compose project, or `namespace/name` of a pod; the uid of one that no engine told of.
    pub name: String,
    /// `com.docker.compose.project` or `io.kubernetes.pod`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The same.
    pub flavor: String,
    /// None.
    pub labels: BTreeMap<String, String>,
    /// First processes of its containers.
    pub containers: Vec<u32>,
}

/// Adds those that processes are in, with what engines `told` of them, by id.
pub fn add(map: &mut Map, told: &BTreeMap<String, Told>) {
    let mut oldest: BTreeMap<&str, &Process> = BTreeMap::new();
    for process in map.processes.values() {
        if let Some(id) = process.container.as_deref() {
            let first = oldest.entry(id).or_insert(process);
            if process.starttime < first.starttime {
                *first = process;
            }
        }
    }
    // By what tells them apart; numbers are in the order in which they are met.
    let mut engines: Vec<Engine> = Vec::new();
    let mut groups: Vec<Group> = Vec::new();
    let mut containers = BTreeMap::new();
    for (id, oldest) in oldest {
        let unknown = Told::default();
        let told = told.get(id).unwrap_or(&unknown);
        let own = &told.details.container;
        let first = told.details.pid.and_then(|pid| map.processes.get(&pid));
        let first = first.unwrap_or(oldest);
        let kind = kind(own.runtime);
        let engine = place(
            &mut engines,
            |it| it.id == told.engine && it.kind == kind,
            || Engine {
                id: told.engine.clone(),
                kind: kind.to_owned(),
                api: told.api.clone(),
                containers: Vec::new(),
            },
        );
        engines[engine].containers.push(first.pid);
        let mut its = Vec::new();
        for (name, kind) in common(&told.details) {
            let group = place(
                &mut groups,
                |it| it.name == name && it.kind == kind,
                || Group {
                    name: name.clone(),
                    kind: kind.to_owned(),
                    flavor: kind.to_owned(),
                    labels: BTreeMap::new(),
                    containers: Vec::new(),
                },
            );
            groups[group].containers.push(first.pid);
            its.push(group + 1);
        }
        let container = Container {
            id: id.to_owned(),
            name: own.name.clone().unwrap_or_else(|| id.to_owned()),
            kind: kind.to_owned(),
            flavor: kind.to_owned(),
            pid: first.pid,
            paused: first.places.is_frozen,
            labels: own.labels.clone(),
            engine: engine + 1,
            groups: its,
        };
        containers.insert(first.pid, container);
    }
    map.containers = containers;
    map.engines = (1..).zip(engines).collect();
    map.groups = (1..).zip(groups).collect();
}

/// Where one is, which is added if it is not there yet.
fn place<T>(all: &mut Vec<T>, is_it: impl Fn(&T) -> bool, new: impl FnOnce() -> T) -> usize {
    all.iter().position(is_it).unwrap_or_else(|| {
        all.push(new());
        all.len() - 1
    })
}

/// What a container is grouped by, and how lxkns calls such groups.
fn common(details: &Details) -> impl Iterator<Item = (String, &'static str)> {
    let project = details.container.labels.get(COMPOSE);
    let project = project.map(|project| (project.clone(), COMPOSE));
    let pod = details.pod.as_ref().map(|pod| match &*pod.name {
        "" => (pod.uid.clone(), POD),
        name => (format!("{}/{name}", pod.namespace), POD),
    });
    project.into_iter().chain(pod)
}

/// How lxkns calls the engines of a runtime; of those that it does not know, the runtime.
fn kind(runtime: Option<&'static str>) -> &'static str {
    match runtime {
        Some("docker") => "docker.com",
        Some("containerd") => "containerd.io",
        Some("podman") => "podman.io",
        Some("cri-o") => "k8s.io/cri-api",
        other => other.unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::table::Pod;
    use holdfast_wire::event;

    #[test]
    fn keys_and_numbers_are_those_of_lxkns() {
        let mut map = Map::default();
        for (pid, starttime, id) in [(9, 5, "a"), (7, 6, "a"), (8, 6, "b"), (4, 1, "c")] {
            let process = Process {
                pid,
                starttime,
                container: Some(id.to_owned()),
                ..Process::default()
            };
            map.processes.insert(pid, process);
        }
        let details = |id: &str, name: &str| Details {
            container: event::Container {
                id: id.to_owned(),
                name: Some(name.to_owned()),
                runtime: Some("docker"),
                labels: [(COMPOSE.to_owned(), "shop".to_owned())].into(),
                ..event::Container::default()
            },
            ..Details::default()
        };
        let told = |details| Told {
            details,
            engine: "engine.0.docker".to_owned(),
            api: Some("/var/run/docker.sock".to_owned()),
        };
        let pod = Pod {
            name: "db-0".to_owned(),
            namespace: "shop".to_owned(),
            ..Pod::default()
        };
        let all = [
            ("a", told(details("a", "web"))),
            (
                "b",
                told(Details {
                    pod: Some(pod),
                    pid: Some(8),
                    ..details("b", "db")
                }),
            ),
        ];
        let all = all.map(|(id, told)| (id.to_owned(), told)).into();
        add(&mut map, &all);
        let json = serde_json::to_value(&map).unwrap();
        // The oldest process, where no engine says which is the first.
        let web = &json["containers"]["9"];
        assert_eq!(
            *web,
            serde_json::json!({"id": "a", "name": "web", "type": "docker.com", "flavor": "docker.com", "pid": 9,
                "paused": false, "labels": {COMPOSE: "shop"}, "engine": 1, "groups": [1]})
        );
        let db = &json["containers"]["8"];
        assert_eq!(
            (&db["engine"], &db["groups"]),
            (&1.into(), &[1, 2][..].into())
        );
        assert_eq!(json["containers"]["4"]["name"], "c");
        let engine = &json["container-engines"]["1"];
        assert_eq!(engine["containers"], serde_json::json!([9, 8]));
        assert_eq!(engine["api"], "/var/run/docker.sock");
        let groups = &json["container-groups"];
        assert_eq!(groups["1"]["name"], "shop");
        assert_eq!(groups["2"]["name"], "shop/db-0");
        assert_eq!(groups["2"]["type"], POD);
        // What the commands read.
        let read: Map = serde_json::from_value(json).unwrap();
        assert_eq!(read.containers, map.containers);
        assert_eq!(read.groups, map.groups);
    }
}
