//! A policy derived from a workload lets it run on, and nothing else.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::{EVENT, Scenario};
use crate::bench::Bench;
use crate::command::Bounded as _;
use crate::events::text;
use crate::place::Place;

/// The scenarios of this theme.
pub const SCENARIOS: &[Scenario] = &[Scenario {
    name: "derive",
    about: "a policy that is derived from a workload lets it run on when enforced, and denies the rest",
    at: |place| *place == Place::Native || place.is_stock("5.10") || place.is_stock("6.12"),
    seconds: 60,
    run: derive,
}];

fn derive(bench: &Bench) -> Result<()> {
    let worker = bench.program("worker")?;
    let input = bench.file("input", "in")?;
    let other = bench.file("other", "not for it")?;
    let dir = bench.path("output");
    fs::create_dir_all(&dir).context("create a directory")?;
    // What it does: reads one file, and makes one whose name is another each time.
    let work = |number: u32| -> Result<()> {
        let output = dir.join(format!("out-{number}"));
        for (verb, path) in [("cat", input.as_path()), ("touch", output.as_path())] {
            run(&worker, verb, path)?.with_code(0)?;
        }
        Ok(())
    };

    let sensor = bench
        .sensor()
        .option("events", "file.open,file.create")
        .start()?;
    work(1001)?;
    let made = dir.join("out-1001").display().to_string();
    sensor
        .events
        .wait_for("the file that is made", EVENT, |event| {
            text(event, "/file/path") == made && text(event, "/event/action") == "file.create"
        })?;
    let program = worker.display().to_string();
    let of_it = |event: &Value| text(event, "/process/executable") == program;
    let events = sensor.stop()?.matching(of_it);
    let lines: String = events.iter().map(|event| format!("{event}\n")).collect();
    let recorded = bench.file("recorded.json", lines)?.display().to_string();
    let scope = format!("process.executable == '{program}'");
    let words = [
        "policy", "derive", &recorded, "--name", "app", "--scope", &scope,
    ];
    let derived = bench.sensor().command(&words).output_within(EVENT)?;
    let derived = derived.with_code(0)?.stdout;
    let mut policy: Value = serde_json::from_str(&derived).context("parse the policy")?;
    policy["mode"] = json!("enforce");
    let policy = bench.file("app.json", policy.to_string())?;

    let sensor = bench.sensor().policy(&policy).enforce().start()?;
    work(2002)?;
    let denied = run(&worker, "cat", &other)?;
    ensure!(
        denied.code() != Some(0) && denied.stdout.is_empty(),
        "another file was read: {:?}",
        denied.stdout
    );
    sensor.events.wait_for("the denial", EVENT, |event| {
        text(event, "/rule/id") == "default.file.open"
            && text(event, "/file/path") == other.display().to_string()
    })?;
    let events = sensor.stop()?;
    let undisturbed = events.matching(|event| {
        event.get("rule").is_some() && text(event, "/file/path") != other.display().to_string()
    });
    ensure!(
        undisturbed.is_empty(),
        "the workload was disturbed: {undisturbed:?}"
    );
    Ok(())
}

fn run(worker: &Path, verb: &str, path: &Path) -> Result<crate::command::Ended> {
    std::process::Command::new(worker)
        .arg(verb)
        .arg(path)
        .output_within(EVENT)
}
