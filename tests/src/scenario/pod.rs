//! What CRI tells of pods and their containers.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::{EVENT, Scenario};
use crate::bench::Bench;
use crate::cri::Cri;
use crate::engine::{Docker, Engine as _};
use crate::events::{action, text};
use crate::place::Place;
use crate::sensor::Sensor;

/// The scenarios of this theme.
pub const SCENARIOS: &[Scenario] = &[Scenario {
    name: "engine-cri",
    about: "events and rules know pods, their labels and their containers by CRI, beside containerd's own API and alone",
    at: |place| *place == Place::Native,
    seconds: 180,
    run: pods,
}];

const IMAGE: &str = "shop/web:1.0";
const PAUSE: &str = "shop/pause:1.0";

fn pods(bench: &Bench) -> Result<()> {
    let archive = bench.path("saved.tar");
    {
        let docker = Docker::start(bench)?;
        docker.image(IMAGE)?;
        docker.image_that_sleeps(PAUSE)?;
        let path = archive.display().to_string();
        docker
            .command(&["save", "--output", &path, IMAGE, PAUSE])?
            .with_code(0)?;
    }
    let cri = Cri::start(bench, &archive, &format!("docker.io/{PAUSE}"))?;
    let rules = json!([{"id": "front", "on": ["process.exec"], "action": "alert",
        "when": "'tier:front' in orchestrator.resource.label && container.name == 'web'"}]);
    let policy = bench.policy("front", &rules)?;
    let socket = cri.socket().display().to_string();
    for (name, containerd) in [("beside", &*socket), ("alone", "")] {
        let sensor = bench
            .sensor()
            .policy(&policy)
            .option("set", "runtime.docker=")
            .option("set", "runtime.listening=false")
            .option("set", format!("runtime.containerd={containerd}"))
            .option("set", format!("runtime.cri={socket}"))
            .start()?;
        let seen = lives(&cri, &sensor, name);
        let events = sensor.stop()?;
        let (sandbox, container) = seen?;
        for (id, kind) in [
            (&sandbox, "container.start"),
            (&sandbox, "container.exit"),
            (&container, "container.start"),
            (&container, "container.exit"),
        ] {
            let is_it =
                |event: &Value| action(event) == kind && text(event, "/container/id") == *id;
            let count = events.matching(is_it).len();
            ensure!(count == 1, "{name}: {count} times {kind} of {id}");
        }
    }
    Ok(())
}

/// A pod that lives for a while, with one container; the ids of its sandbox and of that.
fn lives(cri: &Cri, sensor: &Sensor, name: &str) -> Result<(String, String)> {
    let pod = cri.pod(name, ("tier", "front"))?;
    let script = format!("sleep 6; /bin/cat /data/{name}; exit 7");
    let container = cri.container(
        &pod,
        "web",
        &format!("docker.io/{IMAGE}"),
        &["/bin/sh", "-c", &script],
    )?;
    let of = |kind: &str, id: &str| {
        let is_it = |event: &Value| action(event) == kind && text(event, "/container/id") == id;
        sensor
            .events
            .wait_for(&format!("{kind} of {id}"), EVENT, is_it)
    };
    let start = of("container.start", &pod.id)?;
    let grants = &start["holdfast"]["container"];
    ensure!(
        grants["sandbox"] == true && grants["host_namespaces"].to_string().contains("net"),
        "{start}"
    );
    let start = of("container.start", &container)?;
    ensure!(
        start["container"]["name"] == "web" && start["holdfast"]["container"]["sandbox"].is_null(),
        "{start}"
    );
    let marked = |event: &Value| {
        text(event, "/rule/id") == "front"
            && text(event, "/process/args/1") == format!("/data/{name}")
    };
    let event = sensor
        .events
        .wait_for("the container's program", EVENT, marked)?;
    let (shown, orchestrator) = (&event["container"], &event["orchestrator"]);
    let digests = shown["image"]["hash"]["all"]
        .as_array()
        .context("no digest")?;
    ensure!(
        shown["id"] == *container
            && shown["runtime"] == "containerd"
            && shown["privileged"] == false
            && shown["image"]["name"] == "docker.io/shop/web"
            && shown["image"]["tag"] == json!(["1.0"])
            && digests
                .iter()
                .any(|it| it.as_str().is_some_and(|it| it.starts_with("sha256:")))
            && orchestrator["namespace"] == "shop"
            && orchestrator["resource"]["name"] == name
            && orchestrator["resource"]["id"] == format!("{name}-uid"),
        "{event}"
    );
    let exit = of("container.exit", &container)?;
    ensure!(exit["holdfast"]["container"]["exit_code"] == 7, "{exit}");
    let setting = format!("runtime.cri={}", cri.socket().display());
    let listed = sensor.command(&[
        "containers",
        "--json",
        "--set",
        "runtime.docker=",
        "--set",
        "runtime.containerd=",
        "--set",
        &setting,
    ])?;
    let listed = listed.with_code(0)?.stdout;
    ensure!(
        listed.contains(&pod.id) && listed.contains("tier:front"),
        "{listed}"
    );
    cri.end(&pod)?;
    of("container.exit", &pod.id)?;
    Ok((pod.id, container))
}
