//! A policy derived from a workload lets it run on, and nothing else.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::{EVENT, Scenario};
use crate::bench::Bench;
use crate::command::Bounded as _;
use crate::events::text;
use crate::place::Place;
use crate::sensor::Sensor;

/// The scenarios of this theme.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "derive",
        about: "a policy that is derived from a workload lets it run on when enforced, and denies the rest",
        at: |place| *place == Place::Native || place.is_stock("5.10") || place.is_stock("6.12"),
        seconds: 60,
        run: derive,
    },
    Scenario {
        name: "run-mode-derive",
        about: "a sensor in mode derive writes such a policy by itself",
        at: |place| *place == Place::Native || place.is_stock("6.12"),
        seconds: 60,
        run: derive_mode,
    },
];

/// A workload: it reads one file, and makes one whose name is another each time.
struct Work {
    worker: PathBuf,
    input: PathBuf,
    other: PathBuf,
    dir: PathBuf,
}

impl Work {
    fn new(bench: &Bench) -> Result<Self> {
        let dir = bench.path("output");
        fs::create_dir_all(&dir).context("create a directory")?;
        Ok(Self {
            worker: bench.program("worker")?,
            input: bench.file("input", "in")?,
            other: bench.file("other", "not for it")?,
            dir,
        })
    }

    fn made(&self, number: u32) -> PathBuf {
        self.dir.join(format!("out-{number}"))
    }

    fn run(&self, number: u32) -> Result<()> {
        let output = self.made(number);
        for (verb, path) in [("cat", &self.input), ("touch", &output)] {
            run(&self.worker, verb, path)?.with_code(0)?;
        }
        Ok(())
    }

    /// Waits for the last that it does.
    fn seen(&self, sensor: &Sensor<'_>, number: u32) -> Result<()> {
        let made = self.made(number).display().to_string();
        sensor
            .events
            .wait_for("the file that is made", EVENT, |event| {
                text(event, "/file/path") == made && text(event, "/event/action") == "file.create"
            })?;
        Ok(())
    }

    fn scope(&self) -> String {
        format!("process.executable == '{}'", self.worker.display())
    }

    /// Under this policy it goes on undisturbed, and reads no other file.
    fn is_confined_by(&self, bench: &Bench, mut policy: Value) -> Result<()> {
        policy["mode"] = json!("enforce");
        // What the rest of the machine did while it was watched is not the point here.
        policy["scope"] = json!(self.scope());
        let policy = bench.file("app.json", policy.to_string())?;
        let sensor = bench.sensor().policy(&policy).enforce().start()?;
        self.run(2002)?;
        let denied = run(&self.worker, "cat", &self.other)?;
        ensure!(
            denied.code() != Some(0) && denied.stdout.is_empty(),
            "another file was read: {:?}",
            denied.stdout
        );
        let other = self.other.display().to_string();
        sensor.events.wait_for("the denial", EVENT, |event| {
            text(event, "/rule/id") == "default.file.open" && text(event, "/file/path") == other
        })?;
        let events = sensor.stop()?;
        let undisturbed = events
            .matching(|event| event.get("rule").is_some() && text(event, "/file/path") != other);
        ensure!(
            undisturbed.is_empty(),
            "the workload was disturbed: {undisturbed:?}"
        );
        Ok(())
    }
}

fn derive(bench: &Bench) -> Result<()> {
    let work = Work::new(bench)?;
    let sensor = bench
        .sensor()
        .option("events", "file.open,file.create")
        .start()?;
    work.run(1001)?;
    work.seen(&sensor, 1001)?;
    let program = work.worker.display().to_string();
    let of_it = |event: &Value| text(event, "/process/executable") == program;
    let events = sensor.stop()?.matching(of_it);
    let lines: String = events.iter().map(|event| format!("{event}\n")).collect();
    let recorded = bench.file("recorded.json", lines)?.display().to_string();
    let scope = work.scope();
    let words = [
        "policy", "derive", &recorded, "--name", "app", "--scope", &scope,
    ];
    let derived = bench.sensor().command(&words).output_within(EVENT)?;
    let derived = derived.with_code(0)?.stdout;
    work.is_confined_by(
        bench,
        serde_json::from_str(&derived).context("parse the policy")?,
    )
}

fn derive_mode(bench: &Bench) -> Result<()> {
    let work = Work::new(bench)?;
    let sensor = bench.sensor().option("mode", "derive").start()?;
    let mode = sensor.status()?["mode"].clone();
    ensure!(mode == "derive", "its mode is {mode}");
    work.run(1001)?;
    work.seen(&sensor, 1001)?;
    sensor.stop()?;
    let derived = bench.path("state").join("derived");
    let files: Vec<PathBuf> = fs::read_dir(&derived)
        .context("list the policies")?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    let of_it = |path: &PathBuf| {
        let text = fs::read_to_string(path).unwrap_or_default();
        text.contains(&work.worker.display().to_string())
            .then_some(text)
    };
    let policy = files.iter().find_map(of_it);
    let policy = policy.with_context(|| format!("it is in none of {files:?}"))?;
    work.is_confined_by(
        bench,
        serde_json::from_str(&policy).context("parse the policy")?,
    )
}

fn run(worker: &Path, verb: &str, path: &Path) -> Result<crate::command::Ended> {
    std::process::Command::new(worker)
        .arg(verb)
        .arg(path)
        .output_within(EVENT)
}
