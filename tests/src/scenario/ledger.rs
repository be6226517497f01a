//! The loss ledger: its equations hold exactly, whatever the load, and its counts are the true ones.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::Scenario;
use crate::bench::Bench;
use crate::control;
use crate::events::{action, text};
use crate::load;
use crate::place::{Place, Variant};
use crate::sensor::Sensor;

/// The scenarios of this theme.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "ledger-execs",
        about: "the ledger's equations hold exactly after 100,000 execs (10,000 in an emulated guest)",
        at: |place| !place.is_variant(Variant::NoBtf),
        seconds: 300,
        run: |bench| execs(bench, scaled(bench, EXECS)),
    },
    Scenario {
        name: "ledger-opens",
        about: "the ledger's equations hold exactly after 1,000,000 opens (100,000 in an emulated guest)",
        at: |place| !place.is_variant(Variant::NoBtf),
        seconds: 300,
        run: |bench| opens(bench, scaled(bench, OPENS)),
    },
    Scenario {
        name: FULL,
        about: "the full load in an emulated guest, which takes half an hour: only when named",
        at: |place| place.is_guest() && !place.is_variant(Variant::NoBtf),
        seconds: 900,
        run: |bench| {
            // The guest's disk is its memory.
            bench.set("log.max_size=8MiB");
            execs(bench, EXECS)?;
            opens(bench, OPENS)
        },
    },
];

const FULL: &str = "ledger-full";

/// Whether this scenario takes too long to be run unless it is named.
pub fn takes_long(scenario: &Scenario) -> bool {
    scenario.name == FULL
}

/// The full load of execs.
pub const EXECS: u32 = 100_000;
/// The full load of opens.
pub const OPENS: u32 = 1_000_000;

/// Of the opens, one in this many is of a file that a rule asks for.
const WANTED: u32 = 10;
/// How long the sensor may take to handle what the load left in the rings.
const SETTLE: Duration = Duration::from_secs(60);
/// How long no event may come while some are still expected.
const ARRIVAL: Duration = Duration::from_secs(20);
/// How often to look.
const POLL: Duration = Duration::from_millis(100);

/// So much of a full load as an emulated guest does in a time that can be waited for.
pub fn scaled(bench: &Bench, full: u32) -> u32 {
    if bench.setting.place == Place::Native {
        full
    } else {
        full / 10
    }
}

/// After so many execs the counts are the true ones.
pub fn execs(bench: &Bench, count: u32) -> Result<()> {
    let program = bench.path("tiny");
    load::write_tiny_program(&program)?;
    let ours = program.display().to_string();
    let sensor = bench
        .sensor()
        .option("events", "process.*,sensor.loss")
        .tally(move |event| {
            action(event) == "process.exec" && text(event, "/process/executable") == ours
        })
        .start()?;
    let before = settled(bench)?;
    load::execs(&program, count)?;
    let after = settled(bench)?;
    for kind in ["process.exec", "process.fork", "process.exit"] {
        ensure_all(&before, &after, kind, count)?;
    }
    // Our own events, each by itself: what came is what was not lost.
    let kind = &after["process.exec"];
    let lost = lost(kind);
    let came = arrived(&sensor, u64::from(count).saturating_sub(lost));
    ensure!(came <= u64::from(count), "{came} events of {count} execs");
    ensure!(
        came + lost >= u64::from(count),
        "{came} events of {count} execs, {lost} known lost"
    );
    if lost > 0 {
        told_of_loss(&sensor)?;
    }
    bench.note(format!("{count} execs, {lost} lost"));
    finish(sensor)
}

/// After so many opens the counts are the true ones.
pub fn opens(bench: &Bench, count: u32) -> Result<()> {
    let (wanted, other) = (bench.file("wanted", "")?, bench.file("other", "")?);
    let path = wanted.display().to_string();
    let policy = bench.policy(
        "wanted",
        &json!([{"id": "wanted", "on": ["file.open"], "action": "audit",
                 "when": format!("file.path == '{path}'")}]),
    )?;
    let sensor = bench
        .sensor()
        .policy(&policy)
        .tally(move |event| action(event) == "file.open" && text(event, "/file/path") == path)
        .start()?;
    let before = settled(bench)?;
    load::opens(&wanted, count / WANTED)?;
    load::opens(&other, count - count / WANTED)?;
    let after = settled(bench)?;
    ensure_all(&before, &after, "file.open", count)?;
    let kind = &after["file.open"];
    let lost = lost(kind);
    let asked = u64::from(count / WANTED);
    let came = arrived(&sensor, asked.saturating_sub(lost));
    ensure!(
        came <= asked && came + lost >= asked,
        "{came} events of {asked} opens, {lost} known lost"
    );
    let filtered = &kind["filtered"];
    bench.note(format!(
        "{count} opens, {filtered} filtered in the kernel, {lost} lost"
    ));
    finish(sensor)
}

/// Our events that came through stdout, once they are `expected` or no more come: behind the sinks
/// stand a pipe and a reader that parses each line, which takes its time in an emulated guest.
fn arrived(sensor: &Sensor<'_>, expected: u64) -> u64 {
    let mut came = sensor.events.tallied();
    let mut quiet = Duration::ZERO;
    while came < expected && quiet < ARRIVAL {
        std::thread::sleep(POLL);
        quiet += POLL;
        let now = sensor.events.tallied();
        if now != came {
            (came, quiet) = (now, Duration::ZERO);
        }
    }
    came
}

/// A loss is told; among so many events its own is counted, not kept.
fn told_of_loss(sensor: &Sensor<'_>) -> Result<()> {
    let deadline = Instant::now() + ARRIVAL;
    while sensor.events.count("sensor.loss") == 0 {
        ensure!(Instant::now() < deadline, "no sensor.loss tells of it");
        std::thread::sleep(POLL);
    }
    Ok(())
}

fn finish(sensor: Sensor<'_>) -> Result<()> {
    let shown = sensor.command(&["status"])?.with_code(0)?.stdout;
    ensure!(
        shown.contains("process.exec"),
        "`holdfast status` prints no ledger: {shown}"
    );
    sensor.stop().map(drop)
}

/// Every operation of the load is in the counts: seen, or known to be missed. On kernels where a
/// program can be preempted, the kernel skips a run of it that would begin meanwhile on that CPU.
pub fn ensure_all(before: &Value, after: &Value, kind: &str, count: u32) -> Result<()> {
    let counted = |kinds: &Value| number(&kinds[kind], "seen") + number(&kinds[kind], "missed");
    let (was, is) = (counted(before), counted(after));
    ensure!(
        is >= was + u64::from(count),
        "{kind}: counted {was}, then {is}, after {count} of them"
    );
    Ok(())
}

/// What of a kind is known not to have come out.
pub fn lost(kind: &Value) -> u64 {
    ["missed", "ring_full", "suppressed", "dropped"]
        .iter()
        .map(|term| number(kind, term))
        .sum()
}

/// The ledger once nothing is on its way, with every equation checked for every kind. Not asked for by
/// `holdfast status`, whose own exec and opens would be in it.
pub fn settled(bench: &Bench) -> Result<Value> {
    // A machine is never quite still: the first moment at which the equations hold will do. That it
    // comes at all shows that no term drifts.
    let deadline = Instant::now() + SETTLE;
    loop {
        let status = control::status_at_rest(bench)?;
        let kinds = &status["ledger"]["kinds"];
        let wrong = unbalanced(kinds).context("status shows no ledger")?;
        if wrong.is_empty() {
            return Ok(kinds.clone());
        }
        ensure!(
            Instant::now() < deadline,
            "not balanced after {SETTLE:?}: {}",
            wrong.join("; ")
        );
        std::thread::sleep(POLL);
    }
}

/// A term of a kind's ledger.
pub fn number(kind: &Value, term: &str) -> u64 {
    kind[term].as_u64().unwrap_or(0)
}

/// The kinds for which an equation does not hold; `None` without a ledger.
pub fn unbalanced(kinds: &Value) -> Option<Vec<String>> {
    let kinds = kinds.as_object().filter(|kinds| !kinds.is_empty())?;
    let wrong = kinds.iter().filter(|(_, kind)| {
        let number = |name: &str| kind[name].as_u64();
        let sum = |names: &[&str]| names.iter().map(|name| number(name)).sum::<Option<u64>>();
        number("seen").is_none()
            || number("seen") != sum(&["filtered", "submitted", "ring_full"])
            || number("submitted").is_none()
            || number("submitted") != number("received")
            || number("received") != number("evaluated")
            || number("evaluated").is_none()
            || number("evaluated") != sum(&["emitted", "suppressed", "dropped"])
    });
    Some(wrong.map(|(name, kind)| format!("{name} {kind}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_equation_that_fails_is_found() {
        let mut kind = json!({"seen": 10, "filtered": 5, "submitted": 4, "ring_full": 1, "received": 4,
            "evaluated": 4, "emitted": 2, "suppressed": 1, "dropped": 1});
        assert_eq!(unbalanced(&json!({"file.open": kind})), Some(Vec::new()));
        kind["received"] = json!(3);
        assert_eq!(
            unbalanced(&json!({"file.open": kind})).map(|wrong| wrong.len()),
            Some(1)
        );
        assert_eq!(
            unbalanced(&json!({"file.open": {}})).map(|wrong| wrong.len()),
            Some(1)
        );
        assert_eq!(unbalanced(&json!({})), None);
    }
}
