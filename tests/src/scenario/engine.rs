//! What engines know of containers: names, images and labels in events, for rules and on the command line.

use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::{EVENT, Scenario};
use crate::bench::Bench;
use crate::engine::Docker;
use crate::events::{action, text};
use crate::place::Place;

/// The scenarios of this theme.
pub const SCENARIOS: &[Scenario] = &[Scenario {
    name: "engine-docker",
    about: "events and rules know the names, images and labels of Docker's containers, also after it was killed",
    at: |place| *place == Place::Native,
    seconds: 180,
    run: docker,
}];

const IMAGE: &str = "shop/web";
/// Containers that are started at once.
const BURST: usize = 24;
/// At a time.
const AT_ONCE: usize = 4;
/// How long the sensor may take to see that an engine is gone, or there again.
const NOTICED: Duration = Duration::from_secs(30);
const ENGINE: &str = "engine.0.docker";

fn docker(bench: &Bench) -> Result<()> {
    let docker = Docker::start(bench)?;
    docker.image(&format!("{IMAGE}:1.0"))?;
    let rules = json!([{"id": "shop", "on": ["process.exec"], "action": "alert",
        "when": format!("container.image.name == '{IMAGE}' && container.labels['app'] == 'shop' \
                         && !container.privileged")}]);
    let policy = bench.policy("shop", &rules)?;
    let setting = format!("runtime.docker={}", docker.socket().display());
    let sensor = bench
        .sensor()
        .policy(&policy)
        .option("set", &setting)
        .start()?;
    let named = |name: &str| {
        let event = sensor
            .events
            .wait_for(name, EVENT, |event| is_marked(event, name))?;
        is_of(&event, name)
    };
    run(&docker, "first")?;
    named("first")?;

    thread::scope(|scope| {
        let docker = &docker;
        let share = |first: usize| {
            scope.spawn(move || {
                (first..BURST)
                    .step_by(AT_ONCE)
                    .try_for_each(|number| run(docker, &format!("burst-{number}")))
            })
        };
        let shares: Vec<_> = (0..AT_ONCE).map(share).collect();
        shares.into_iter().try_for_each(|share| {
            let share = share.join();
            share.unwrap_or_else(|_| Err(anyhow::anyhow!("the burst panicked")))
        })
    })?;
    for number in 0..BURST {
        named(&format!("burst-{number}"))?;
    }

    docker
        .command(&[
            "run",
            "--detach",
            "--network",
            "none",
            "--name",
            "stays",
            &format!("{IMAGE}:1.0"),
            "/bin/sleep",
            "600",
        ])?
        .with_code(0)?;
    let listed = sensor.command(&["containers", "--set", &setting, "--json"])?;
    let listed: Value = serde_json::from_str(&listed.with_code(0)?.stdout).context("parse it")?;
    let stays = listed["containers"]
        .as_array()
        .and_then(|all| all.iter().find(|it| it["name"] == "stays"));
    ensure!(
        stays.is_some_and(|it| it["image"]["name"] == IMAGE && it["processes"] == 1),
        "it is not listed: {listed}"
    );
    docker.command(&["rm", "--force", "stays"])?.with_code(0)?;

    docker.kill()?;
    let is_degraded = |status: &Value| {
        let degraded = status["degraded"].as_array();
        degraded.is_some_and(|all| all.iter().any(|it| it["what"] == ENGINE))
    };
    sensor.status_when("it says that Docker is gone", NOTICED, is_degraded)?;
    let docker = Docker::start(bench)?;
    sensor.status_when("Docker is there again", NOTICED, |it| !is_degraded(it))?;
    run(&docker, "after")?;
    named("after")?;
    let status = sensor.status()?;
    bench.note(format!("containers: {}", status["containers"]));
    sensor.stop()?;
    Ok(())
}

/// Runs a container that lives for a moment.
fn run(docker: &Docker, name: &str) -> Result<()> {
    let image = format!("{IMAGE}:1.0");
    let words = [
        "run",
        "--rm",
        "--network",
        "none",
        "--name",
        name,
        "--label",
        "app=shop",
        &image,
        "/bin/sh",
        "-c",
        "sleep 0.3; true",
        name,
    ];
    docker.command(&words)?.with_code(0)?;
    Ok(())
}

/// Whether it is the exec of that container's program.
fn is_marked(event: &Value, name: &str) -> bool {
    action(event) == "process.exec"
        && text(event, "/process/executable").ends_with("/busybox")
        && text(event, "/process/args/3") == name
}

fn is_of(event: &Value, name: &str) -> Result<()> {
    let container = &event["container"];
    let is_right = container["name"] == name
        && container["image"]["name"] == IMAGE
        && container["image"]["tag"] == json!(["1.0"])
        && container["labels"]["app"] == "shop"
        && container["privileged"] == false
        && container["runtime"] == "docker"
        && text(event, "/rule/id") == "shop";
    ensure!(is_right, "{name}: {event}");
    Ok(())
}
