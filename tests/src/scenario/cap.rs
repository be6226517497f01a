//! The cap on what one cgroup makes: the noisy one is held back, and nothing else.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::{EVENT, Scenario, ledger};
use crate::bench::Bench;
use crate::cgroup::Cgroup;
use crate::command::Bounded as _;
use crate::events::{action, text};
use crate::load;
use crate::place::Place;
use crate::sensor::Sensor;

/// The scenarios of this theme.
pub const SCENARIOS: &[Scenario] = &[Scenario {
    name: "cap-noisy-cgroup",
    about: "a cgroup that floods is capped and named; its alerts, its execs and other cgroups' events all come",
    at: |place| {
        let chosen = ["5.10", "6.1", "7"]
            .iter()
            .any(|kernel| place.is_stock(kernel));
        *place == Place::Native || chosen
    },
    seconds: 120,
    run: noisy_cgroup,
}];

const RATE: u32 = 100;
const BURST: u32 = 200;
/// What the noisy cgroup opens, and how many of it a rule alerts on.
const NOISE: u32 = 20_000;
const ALERT_EACH: usize = 100;
/// What the other cgroup opens: less than the cap lets through at once, with what starting takes.
const QUIET: u32 = 150;
/// What the noisy cgroup executes: more than the cap lets through at once.
const EXECS: u32 = 2 * BURST;

fn noisy_cgroup(bench: &Bench) -> Result<()> {
    let files = ["noise", "wanted", "quiet"].map(|name| bench.file(name, ""));
    let [noise, wanted, quiet] = files.map(|file| file.map(|file| file.display().to_string()));
    let (noise, wanted, quiet) = (noise?, wanted?, quiet?);
    let tiny = bench.path("tiny");
    load::write_tiny_program(&tiny)?;
    let policy = bench.policy(
        "wanted",
        &json!([{"id": "wanted", "on": ["file.open"], "action": "alert",
                 "when": format!("file.path == '{wanted}'")}]),
    )?;
    let sensor = bench
        .sensor()
        .policy(&policy)
        .option("events", "file.open,process.exec,sensor.loss")
        .option("set", format!("limits.cgroup_events_per_second={RATE}"))
        .option("set", format!("limits.cgroup_burst={BURST}"))
        .start()?;
    ledger::settled(bench)?;

    let (loud, still) = (Cgroup::make("loud")?, Cgroup::make("still")?);
    let mut paths = vec![noise.as_str(); ALERT_EACH - 1];
    paths.push(&wanted);
    let (often, few) = (NOISE.to_string(), QUIET.to_string());
    let begun = Instant::now();
    let flood: Vec<&str> = [&["open-often", &often][..], &paths].concat();
    let run = |cgroup: &Cgroup, command: &Command| {
        cgroup
            .run(bench, command)?
            .output_within(EVENT * 3)?
            .with_code(0)
    };
    run(&loud, &bench.act(&flood))?;
    let named = capped(&sensor, &loud)?;
    run(&still, &bench.act(&["open-often", &few, &quiet]))?;
    let script = format!(
        "n=0; while [ $n -lt {EXECS} ]; do {}; n=$((n+1)); done",
        tiny.display()
    );
    run(&loud, &bench.busybox(&["sh", "-c", &script]))?;
    let kinds = ledger::settled(bench)?;
    let took = begun.elapsed();

    let loss = sensor
        .events
        .wait_for("sensor.loss tells of it", EVENT, |event| {
            action(event) == "sensor.loss" && text(event, "/event/reason").contains(&loud.path)
        })?;
    ensure!(
        text(&loss, "/event/reason").contains(" capped"),
        "it is told as {loss}"
    );
    let shown = sensor.command(&["status"])?.with_code(0)?.stdout;
    ensure!(
        shown.contains(&loud.path),
        "status does not name it: {shown}"
    );
    let status = sensor.status()?;
    let others: Vec<&Value> = list(&status)
        .filter(|one| one["path"] != loud.path)
        .collect();
    ensure!(others.is_empty(), "others are capped too: {others:?}");

    let events = sensor.stop()?;
    let of = |path: &str| {
        let is_ours =
            |event: &Value| action(event) == "file.open" && text(event, "/file/path") == path;
        events.matching(is_ours).len() as u64
    };
    let alerts = u64::from(NOISE) / ALERT_EACH as u64;
    ensure!(
        of(&wanted) == alerts,
        "{} alerts of {alerts} came",
        of(&wanted)
    );
    ensure!(
        of(&quiet) == u64::from(QUIET),
        "{} events of {QUIET} of the other cgroup came",
        of(&quiet)
    );
    let tiny = tiny.display().to_string();
    let execs = events.matching(|event| {
        action(event) == "process.exec" && text(event, "/process/executable") == tiny
    });
    ensure!(
        execs.len() == EXECS as usize,
        "{} execs of {EXECS} came",
        execs.len()
    );

    let (noise, withheld) = (
        of(&noise),
        kinds["file.open"]["capped"].as_u64().unwrap_or(0),
    );
    let allowed = u64::from(BURST) + u64::from(RATE) * (took.as_secs() + 1);
    ensure!(noise <= allowed, "{noise} events passed a cap of {allowed}");
    let all = u64::from(NOISE) - alerts;
    // Starting the programs takes some opens of other files, which count as well.
    ensure!(
        noise + withheld >= all && withheld <= all + u64::from(RATE),
        "of {all} opens {noise} came and {withheld} were withheld"
    );
    ensure!(
        named["events"]
            .as_u64()
            .is_some_and(|events| events <= withheld && events + u64::from(RATE) >= all - noise),
        "status counts {named}, the ledger {withheld}"
    );
    for kind in ["process.exec", "process.fork", "process.exit"] {
        ensure!(
            kinds[kind]["capped"] == 0,
            "{kind} was capped: {}",
            kinds[kind]
        );
    }
    bench.note(format!("{noise} came, {withheld} withheld"));
    Ok(())
}

/// What status says of the cgroup, once it says that it is being capped and all is counted.
fn capped(sensor: &Sensor<'_>, cgroup: &Cgroup) -> Result<Value> {
    let find = |status: &Value| list(status).find(|one| one["path"] == cgroup.path).cloned();
    let status = sensor.status_when("it is shown as being capped", EVENT, |status| {
        find(status).is_some_and(|one| one["now"] == true && one["domain"] == "file")
    })?;
    let limits = &status["limits"];
    ensure!(
        limits["cgroup_events_per_second"] == RATE && limits["cgroup_burst"] == BURST,
        "status shows the limits {limits}"
    );
    let status = sensor.status_when("it is no longer shown so", EVENT, |status| {
        find(status).is_some_and(|one| one["now"] == false)
    })?;
    find(&status).context("status no longer shows it at all")
}

fn list(status: &Value) -> impl Iterator<Item = &Value> {
    status["limits"]["capped"].as_array().into_iter().flatten()
}
