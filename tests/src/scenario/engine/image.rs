//! What engines tell of images: how one came, how it is called, that it went.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::NAMESPACE;
use crate::engine::{Docker, Engine as _};
use crate::events::{action, text};
use crate::scenario::EVENT;
use crate::sensor::Sensor;

/// An alert on images that are not of the shop's.
pub(super) fn rule() -> Value {
    json!({"id": "foreign-image", "on": ["container.image"], "action": "alert",
           "when": "!(holdfast.image.operation in ['delete', 'untag']) && !container.image.name.contains('shop/')"})
}

/// What is told of one: operation, name and first tag.
type Told<'t> = (&'t str, &'t str, &'t str);

/// An image is imported, saved, removed, loaded, and called like somebody else's.
pub(super) fn docker(docker: &Docker, sensor: &Sensor) -> Result<()> {
    let did = |words: &[&str]| docker.command(words)?.with_code(0);
    docker.image("shop/more:1.0")?;
    let imported = wait(sensor, ("import", "shop/more", "1.0"))?;
    let id = text(&imported, "/container/image/hash/all/0").to_owned();
    ensure!(
        id.starts_with("sha256:")
            && text(&imported, "/container/runtime") == "docker"
            && imported["container"]["id"].is_null()
            && imported["process"].is_null(),
        "{imported}"
    );
    let archive = docker.path("more.tar");
    did(&["save", "--output", &archive, "shop/more:1.0"])?;
    did(&["rmi", "shop/more:1.0"])?;
    did(&["load", "--input", &archive])?;
    wait(sensor, ("load", "shop/more", "1.0"))?;
    did(&["tag", "shop/more:1.0", "evil/miner:1"])?;
    only(
        sensor,
        &[
            ("tag", "shop/more", "1.0"),
            ("import", "shop/more", "1.0"),
            ("untag", &id, ""),
            ("delete", &id, ""),
            ("load", "shop/more", "1.0"),
            ("tag", "evil/miner", "1"),
        ],
        &id,
    )
}

/// A name is given, gets a label, and goes.
pub(super) fn containerd(docker: &Docker, sensor: &Sensor, image: &str) -> Result<()> {
    let did = |words: &[&str]| -> Result<()> {
        let words = [&["--namespace", NAMESPACE, "images"], words].concat();
        docker.ctr(&words)?.with_code(0).map(drop)
    };
    let name = "registry.example:5000/evil/miner";
    let named = format!("{name}:1");
    did(&["tag", image, &named])?;
    let event = wait(sensor, ("create", name, "1"))?;
    let digest = text(&event, "/container/image/hash/all/0").to_owned();
    ensure!(digest.starts_with("sha256:"), "{event}");
    did(&["label", &named, "app=shop"])?;
    did(&["rm", &named])?;
    only(
        sensor,
        &[("create", name, "1"), ("delete", name, "1")],
        &digest,
    )
}

fn of(event: &Value) -> Told<'_> {
    (
        text(event, "/holdfast/image/operation"),
        text(event, "/container/image/name"),
        text(event, "/container/image/tag/0"),
    )
}

fn is_of_image(event: &Value) -> bool {
    action(event) == "container.image"
}

/// Waits until that is told.
pub(super) fn wait(sensor: &Sensor, told: Told<'_>) -> Result<Value> {
    let is_it = |event: &Value| is_of_image(event) && of(event) == told;
    sensor.events.wait_for(&format!("{told:?}"), EVENT, is_it)
}

/// That this was told of images, in this order and nothing else, each with the digest, and an alert raised for the
/// only one that is not the shop's.
pub(super) fn only(sensor: &Sensor, expected: &[Told<'_>], digest: &str) -> Result<()> {
    let last = expected.last().context("nothing is expected")?;
    wait(sensor, *last)?;
    let events = sensor.events.matching(is_of_image);
    let told: Vec<_> = events.iter().map(of).collect();
    ensure!(told == expected, "{told:?}");
    for event in &events {
        let all = event["container"]["image"]["hash"]["all"].as_array();
        let has = all.is_some_and(|all| all.iter().any(|it| it == digest));
        let is_alert = text(event, "/event/kind") == "alert";
        let (operation, name, _) = of(event);
        let is_foreign = name.contains("evil/") && !matches!(operation, "delete" | "untag");
        ensure!(has && is_alert == is_foreign, "{event}");
    }
    Ok(())
}
