//! Podman: root's, and that of a user who has no other rights.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::{IMAGE, happened, is_marked, live};
use crate::bench::Bench;
use crate::engine::Engine as _;
use crate::events::{action, text};
use crate::podman::Podman;
use crate::scenario::EVENT;
use crate::sensor::Sensor;

/// How an image is called that was made here.
const HERE: &str = "localhost/";

/// How long an engine may take to answer for the first time: its service begins when it is asked.
const SERVED: Duration = Duration::from_secs(120);

/// How long its word of a container may take, once it does.
const TOLD: Duration = Duration::from_secs(5);

/// Waits until a container of an engine is told of.
fn is_watched(sensor: &Sensor<'_>, engine: &Podman, (who, seconds): (&str, &str)) -> Result<()> {
    let deadline = Instant::now() + SERVED;
    for number in 0.. {
        let name = format!("{who}-early-{number}");
        live(engine, &name, seconds)?;
        let is_start = |event: &Value| {
            action(event) == "container.start" && text(event, "/container/name") == name
        };
        if sensor.events.wait_for(&name, TOLD, is_start).is_ok() {
            break;
        }
        ensure!(Instant::now() < deadline, "{who}'s engine is not watched");
    }
    Ok(())
}

pub(super) fn run(bench: &Bench, burst: usize) -> Result<()> {
    let podman = Podman::start(bench)?;
    // A user's containers are to be there when they are asked about, which in an emulated guest takes seconds.
    let engines = [
        ("root", podman, "0.3"),
        ("user", Podman::of_user(bench)?, "5"),
    ];
    let image = format!("{IMAGE}:1.0");
    let rules = json!([{"id": "shop", "on": ["process.exec"], "action": "alert",
        "when": format!("container.image.name == '{HERE}{IMAGE}' && container.labels['app'] == 'shop'")}]);
    let policy = bench.policy("shop", &rules)?;
    let sensor = bench.sensor().policy(&policy);
    // An emulated guest that starts many has Podman answer in seconds what takes it a tenth of one elsewhere.
    let waits = ["runtime.event_wait=30s", "runtime.alert_wait=30s"];
    let sensor = waits
        .into_iter()
        .fold(sensor, |sensor, wait| sensor.option("set", wait));
    let sensor = sensor.start()?;
    for (who, engine, seconds) in &engines {
        engine.image(&image)?;
        is_watched(&sensor, engine, (who, seconds))?;
        for number in 0..burst {
            live(engine, &format!("{who}-{number}"), seconds)?;
        }
        for number in 0..burst {
            let name = format!("{who}-{number}");
            let is_it = |event: &_| is_marked(event, &name);
            let event = sensor.events.wait_for(&name, EVENT, is_it)?;
            let container = &event["container"];
            let start = happened(&sensor, "container.start", &name)?;
            ensure!(
                container["name"] == *name
                    && container["image"]["name"] == format!("{HERE}{IMAGE}")
                    && container["image"]["tag"] == json!(["1.0"])
                    && container["labels"]["app"] == "shop"
                    && container["privileged"] == false
                    && container["runtime"] == "podman"
                    && container["id"] == start["container"]["id"]
                    && text(&event, "/rule/id") == "shop",
                "{name}: {event}, {start}"
            );
            let exit = happened(&sensor, "container.exit", &name)?;
            ensure!(exit["holdfast"]["container"]["exit_code"] == 0, "{exit}");
        }
        let ends = ["run", "--rm", "--network=none"];
        let name = format!("{who}-ends");
        let script = format!("sleep {seconds}; exit 7");
        let with = ["--name", &name, &image, "/bin/sh", "-c", &script];
        engine.command(&[&ends[..], &with].concat())?.with_code(7)?;
        let exit = happened(&sensor, "container.exit", &name)?;
        ensure!(exit["holdfast"]["container"]["exit_code"] == 7, "{exit}");
    }
    sensor.stop()?;
    Ok(())
}
