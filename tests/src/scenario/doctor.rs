//! What `holdfast doctor` says of each tier is what it does when it runs.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::Scenario;
use crate::bench::Bench;
use crate::command::Bounded as _;
use crate::events::number;
use crate::place::Place;

/// The scenarios of this theme.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "doctor-tiers",
        about: "doctor --tiers tries every hook in every tier, and says the same as doctor of those in force",
        at: |place| *place == Place::Native || place.is_stock("7"),
        seconds: 150,
        run: tiers,
    },
    Scenario {
        name: "doctor-bundle",
        about: "doctor --bundle has what doctor and status say, and nothing of what was seen or of what policies say",
        at: |place| *place == Place::Native,
        seconds: 60,
        run: bundle,
    },
];

/// How long trying everything may take; the verifier is slow in an emulated guest.
const LIMIT: Duration = Duration::from_secs(400);

fn tiers(bench: &Bench) -> Result<()> {
    let ask = |args: &[&str]| -> Result<Value> {
        let ended = bench.sensor().command(args).output_within(LIMIT)?;
        let text = ended.with_code(0)?.stdout;
        serde_json::from_str(&text).with_context(|| format!("parse what {args:?} says"))
    };
    let sights = ask(&["doctor", "--tiers", "--json"])?;
    let sights = sights["sights"]
        .as_array()
        .context("doctor tells of no tiers")?;
    let doctor = ask(&["doctor", "--json"])?;
    let hooks = doctor["hooks"]
        .as_array()
        .context("doctor tells of no hooks")?;
    for hook in hooks.iter().filter(|hook| hook["tier"].is_string()) {
        let same = |sight: &&Value| {
            sight["action"] == hook["action"]
                && sight["tier"] == hook["tier"]
                && sight["blind_to"] == hook["blind_to"]
        };
        let sight = sights.iter().find(same);
        let sight = sight.with_context(|| format!("doctor --tiers does not know {hook}"))?;
        ensure!(sight["error"].is_null(), "{hook} is in force, and {sight}");
    }
    let could = sights
        .iter()
        .filter(|sight| sight["error"].is_null())
        .count();
    bench.note(format!("{could} of {} ways", sights.len()));
    Ok(())
}

fn bundle(bench: &Bench) -> Result<()> {
    let rule = json!({"id": "a-rule", "on": ["file.open"], "action": "alert", "message": "a-message",
                      "when": "file.path == '/a-path'"});
    let policy = bench.policy("a-policy", &json!([rule]))?;
    let sensor = bench.sensor().policy(&policy).start()?;
    let marked = bench
        .busybox(&["echo", "an-argument"])
        .output_within(LIMIT)?;
    sensor.events.wait_for("the exec", LIMIT, |event| {
        number(event, "/process/pid") == Some(marked.pid.into())
    })?;
    let ask = |options: &[&str]| -> Result<(Value, String)> {
        let text = sensor.command(options)?.with_code(0)?.stdout;
        let parsed = serde_json::from_str(&text);
        Ok((
            parsed.with_context(|| format!("parse what {options:?} says"))?,
            text,
        ))
    };
    let (bundle, text) = ask(&["doctor", "--bundle"])?;
    let (doctor, _) = ask(&["doctor", "--json"])?;
    ensure!(
        bundle["doctor"]["facts"] == doctor["facts"]
            && bundle["doctor"]["hooks"] == doctor["hooks"],
        "doctor says something else: {text}"
    );
    ensure!(
        bundle["status"]["policy"]["rules"] == 1
            && bundle["settings"]["log.dir"]["value"].is_string()
            && bundle["version"]["abi"].is_u64()
            && text.contains("a-policy"),
        "it is not whole: {text}"
    );
    for private in ["a-path", "a-message", "an-argument"] {
        ensure!(!text.contains(private), "{private} is in the bundle");
    }
    sensor.stop().map(drop)
}
