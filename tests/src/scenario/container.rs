//! Which container an operation came from, by the cgroup alone.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use super::{EVENT, Scenario};
use crate::bench::Bench;
use crate::command::Bounded as _;
use crate::events::{action, text};
use crate::place::{Place, Variant};

/// The scenarios of this theme.
pub const SCENARIOS: &[Scenario] = &[Scenario {
    name: "container-identity",
    about: "the first event of a container names it, by its cgroup alone, in v1, v2 and hybrid layouts",
    at: |place| {
        *place == Place::Native
            || !place.is_variant(Variant::NoBtf) && !place.is_variant(Variant::Preempt)
    },
    seconds: 30,
    run: identity,
}];

/// What engines give their containers as ids.
const ID: &str = "6b1f0c5a9d3e6b1f0c5a9d3e6b1f0c5a9d3e6b1f0c5a9d3e6b1f0c5a9d3e6b1f";
/// A pod's uid, with the dashes as the driver systemd writes them.
const SLICE: &str = "kubepods-pod8f3e1c52_77aa_4d0b_9f0e_0a1b2c3d4e5f.slice";
const UID: &str = "8f3e1c52-77aa-4d0b-9f0e-0a1b2c3d4e5f";

/// A cgroup that is there as long as this is.
struct Cgroup(PathBuf);

impl Cgroup {
    fn make(hierarchy: &Path, path: &str) -> Result<Self> {
        let path = hierarchy.join(path);
        fs::create_dir_all(&path).with_context(|| format!("make {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // The parents that were made with it go as well, as long as they are empty.
        let mut path = self.0.as_path();
        while fs::remove_dir(path).is_ok() {
            let Some(parent) = path.parent() else { break };
            path = parent;
        }
    }
}

/// A hierarchy in which container engines would put their containers here.
fn hierarchy() -> PathBuf {
    let root = Path::new("/sys/fs/cgroup");
    if root.join("cgroup.controllers").exists() {
        root.to_owned()
    } else {
        root.join("pids")
    }
}

fn identity(bench: &Bench) -> Result<()> {
    let policy = bench.policy(
        "inside",
        &json!([{"id": "inside", "on": ["process.exec"], "action": "alert",
                 "when": "container.id != '' && container.runtime == 'docker'"}]),
    )?;
    let sensor = bench.sensor().policy(&policy).start()?;
    let hierarchy = hierarchy();
    let docker = Cgroup::make(&hierarchy, &format!("holdfast-test/docker-{ID}.scope"))?;
    let pod = Cgroup::make(
        &hierarchy,
        &format!("holdfast-test/{SLICE}/cri-containerd-{ID}.scope"),
    )?;

    let program = bench.program("inside")?;
    // As runtimes do it: the process enters the cgroup, then becomes the container's program. It lives
    // long enough to be looked up where a cgroup's id says nothing.
    let inside = |cgroup: &Cgroup, mark: &str| {
        let enter = format!(
            "echo $$ > {}/cgroup.procs && exec {} sh -c 'sleep 1; true' {mark}",
            cgroup.0.display(),
            program.display()
        );
        bench
            .busybox(&["sh", "-c", &enter])
            .output_within(EVENT)?
            .with_code(0)
    };
    for (cgroup, mark, expected) in [
        (Some(&docker), "in-docker", ["docker", "", ""]),
        (Some(&pod), "in-pod", ["containerd", "kubernetes", UID]),
        (None, "on-host", ["", "", ""]),
    ] {
        match cgroup {
            Some(cgroup) => inside(cgroup, mark)?,
            None => bench
                .busybox(&["sh", "-c", "true", mark])
                .output_within(EVENT)?
                .with_code(0)?,
        };
        let event = sensor.events.wait_for(mark, EVENT, |event| {
            action(event) == "process.exec" && text(event, "/process/args/4") == mark
        })?;
        let found = [
            "/container/runtime",
            "/orchestrator/type",
            "/orchestrator/resource/id",
        ]
        .map(|pointer| text(&event, pointer));
        ensure!(found == expected, "{mark}: {found:?} in {event}");
        let id = text(&event, "/container/id");
        ensure!(
            id == if cgroup.is_some() { ID } else { "" },
            "{mark}: container.id is {id:?} in {event}"
        );
        let alerted = text(&event, "/event/kind") == "alert";
        ensure!(
            alerted == (mark == "in-docker"),
            "{mark}: the rule on containers is wrong about {event}"
        );
    }
    sensor.stop().map(drop)
}
