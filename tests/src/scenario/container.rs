//! Which container an operation came from, by the cgroup alone.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use super::{EVENT, Scenario};
use crate::bench::Bench;
use crate::command::Bounded as _;
use crate::events::{action, text};
use crate::place::{Place, Variant};

/// The scenarios of this theme.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "container-killed",
        about: "kill_container kills all of a container and nobody else; stop stops, and hurts nobody",
        at: |place| *place == Place::Native || place.is_stock("5.10") || place.is_stock("6.12"),
        seconds: 60,
        run: killed,
    },
    Scenario {
        name: "container-identity",
        about: "the first event of a container names it, by its cgroup alone, in v1, v2 and hybrid layouts",
        at: |place| {
            *place == Place::Native
                || !place.is_variant(Variant::NoBtf) && !place.is_variant(Variant::Preempt)
        },
        seconds: 30,
        run: identity,
    },
];

/// What engines give their containers as ids.
const ID: &str = "6b1f0c5a9d3e6b1f0c5a9d3e6b1f0c5a9d3e6b1f0c5a9d3e6b1f0c5a9d3e6b1f";
/// A pod's uid, with the dashes as the driver systemd writes them.
const SLICE: &str = "kubepods-pod8f3e1c52_77aa_4d0b_9f0e_0a1b2c3d4e5f.slice";
const UID: &str = "8f3e1c52-77aa-4d0b-9f0e-0a1b2c3d4e5f";

/// A cgroup that is there as long as this is.
pub(super) struct Cgroup(PathBuf);

impl Cgroup {
    /// A container's, as Docker names it.
    pub(super) fn docker() -> Result<Self> {
        Self::make(&format!("docker-{ID}.scope"))
    }

    /// Makes it in the hierarchy in which container engines would have it.
    fn make(path: &str) -> Result<Self> {
        let path = hierarchy().join("holdfast-test").join(path);
        fs::create_dir_all(&path).with_context(|| format!("make {}", path.display()))?;
        Ok(Self(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
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
    let docker = Cgroup::docker()?;
    let pod = Cgroup::make(&format!("{SLICE}/cri-containerd-{ID}.scope"))?;

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

/// Whether a process is there and not a zombie, and how it is (`R`, `S`, `T`, …).
fn state(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let state = stat.rsplit(')').next()?.trim_start().chars().next()?;
    (state != 'Z').then_some(state)
}

fn wait_for_state(pid: u32, wanted: Option<char>) -> Result<()> {
    let until = Instant::now() + EVENT;
    while state(pid) != wanted {
        ensure!(
            Instant::now() < until,
            "{pid} is {:?} and not {wanted:?}",
            state(pid)
        );
        sleep(Duration::from_millis(10));
    }
    Ok(())
}

fn killed(bench: &Bench) -> Result<()> {
    let (bomb, stopper) = (bench.path("bomb"), bench.path("stopper"));
    for file in [&bomb, &stopper] {
        fs::write(file, "").context("write a file")?;
    }
    let on = |id: &str, file: &Path, action: &str| {
        json!({"id": id, "on": ["file.open"], "action": action,
               "when": format!("file.path == '{}'", file.display())})
    };
    let rules = json!([
        on("bomb", &bomb, "kill_container"),
        on("stopper", &stopper, "stop")
    ]);
    let policy = bench.policy("responses", &rules)?;
    let sensor = bench.sensor().enforce().policy(&policy).start()?;
    let cgroup = Cgroup::docker()?;
    let enter = format!("echo $$ > {}/cgroup.procs && exec ", cgroup.0.display());
    let sleeper = |inside: bool| {
        let enter = if inside { enter.as_str() } else { "exec " };
        let command = format!("{enter}/bin/busybox sleep 600");
        bench
            .busybox(&["sh", "-c", &command])
            .spawn()
            .context("start a sleeper")
    };
    let mut inside = (0..5).map(|_| sleeper(true)).collect::<Result<Vec<_>>>()?;
    let mut outside = sleeper(false)?;
    for child in inside.iter().chain([&outside]) {
        wait_for_state(child.id(), Some('S'))?;
    }
    // Where a cgroup's id says nothing, a program's container is looked up when it begins.
    let offender = format!(
        "{enter}/bin/busybox sh -c 'sleep 1; read x < {}; sleep 600'",
        bomb.display()
    );
    bench
        .busybox(&["sh", "-c", &offender])
        .output_within(EVENT)?;
    let event = sensor.events.wait_for("kill_container", EVENT, |event| {
        text(event, "/rule/id") == "bomb"
    })?;
    ensure!(
        text(&event, "/container/id") == ID,
        "whose container? {event}"
    );
    ensure!(
        text(&event, "/holdfast/action") == "kill_container",
        "{event}"
    );
    for child in &mut inside {
        let status = child.wait().context("wait for a sleeper")?;
        ensure!(status.signal() == Some(9), "a sleeper ended with {status}");
    }
    ensure!(state(outside.id()) == Some('S'), "a bystander was hurt");

    let reader = format!(
        "read x < {}; exec /bin/busybox sleep 600",
        stopper.display()
    );
    let mut stopped = bench
        .busybox(&["sh", "-c", &reader])
        .spawn()
        .context("start a reader")?;
    wait_for_state(stopped.id(), Some('T'))?;
    let event = sensor
        .events
        .wait_for("stop", EVENT, |event| text(event, "/rule/id") == "stopper")?;
    ensure!(text(&event, "/holdfast/outcome") == "stopped", "{event}");
    for child in [&mut stopped, &mut outside] {
        child.kill().context("end what is left")?;
        child.wait().context("wait for what is left")?;
    }
    sensor.stop().map(drop)
}
