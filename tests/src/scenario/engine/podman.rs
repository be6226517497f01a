//! Podman: root's, and that of a user who has no other rights.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::{IMAGE, happened, is_marked};
use crate::bench::Bench;
use crate::engine::Engine as _;
use crate::events::text;
use crate::podman::Podman;
use crate::scenario::EVENT;

/// How an image is called that was made here.
const HERE: &str = "localhost/";

/// How long engines may take to answer for the first time.
const SERVED: Duration = Duration::from_secs(120);

pub(super) fn run(bench: &Bench, burst: usize) -> Result<()> {
    let podman = Podman::start(bench)?;
    let engines = [("root", podman), ("user", Podman::of_user(bench)?)];
    let image = format!("{IMAGE}:1.0");
    let rules = json!([{"id": "shop", "on": ["process.exec"], "action": "alert",
        "when": format!("container.image.name == '{HERE}{IMAGE}' && container.labels['app'] == 'shop'")}]);
    let policy = bench.policy("shop", &rules)?;
    let sensor = bench.sensor().policy(&policy).start()?;
    let is_watched = |status: &Value| {
        let degraded = status["degraded"].as_array();
        degraded.is_some_and(|all| {
            all.iter()
                .all(|it| !text(it, "/what").starts_with("engine."))
        })
    };
    for (who, engine) in &engines {
        engine.image(&image)?;
        // Its service, which nobody asked before, takes its time to begin.
        sensor.status_when("engines are watched", SERVED, is_watched)?;
        for number in 0..burst {
            super::run(engine, &format!("{who}-{number}"))?;
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
        let with = [
            "--name",
            &name,
            &image,
            "/bin/sh",
            "-c",
            "sleep 0.3; exit 7",
        ];
        engine.command(&[&ends[..], &with].concat())?.with_code(7)?;
        let exit = happened(&sensor, "container.exit", &name)?;
        ensure!(exit["holdfast"]["container"]["exit_code"] == 7, "{exit}");
    }
    sensor.stop()?;
    Ok(())
}
