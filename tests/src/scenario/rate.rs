//! How many events a second the sensor takes without losing one.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::Scenario;
use super::ledger::{number, settled};
use crate::bench::Bench;
use crate::load;
use crate::place::Place;
use crate::usage::{cpu_time, peak_memory};

/// The scenarios of this theme.
pub const SCENARIOS: &[Scenario] = &[Scenario {
    name: RATE,
    about: "100,000 opens a second for a minute: each is an event in the event log",
    at: |place| *place == Place::Native,
    seconds: 150,
    run: |bench| sustained(bench, 100_000, Duration::from_secs(60)),
}];

const RATE: &str = "rate";

/// Whether this scenario asks much of the machine, so that it is run only when named.
pub fn takes_long(scenario: &Scenario) -> bool {
    scenario.name == RATE
}

/// What came of a load at a steady rate.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// Opens a second that were asked for.
    asked: u32,
    /// Opens a second that were done.
    reached: f64,
    /// Opens that were missed, refused by a full ring, or dropped by a sink.
    missed: u64,
    ring_full: u64,
    dropped: u64,
    /// CPUs that the sensor used in the mean.
    cpus: f64,
    /// The most memory that it had, KiB.
    memory: u64,
}

impl Measured {
    fn lost(&self) -> u64 {
        self.missed + self.ring_full + self.dropped
    }

    /// Whether the load was what it was to be: the machine may not do as much.
    fn is_reached(&self) -> bool {
        self.reached >= f64::from(self.asked) * 0.99
    }

    fn json(&self) -> Value {
        json!({"asked": self.asked, "reached": self.reached.round(), "missed": self.missed,
            "ring_full": self.ring_full, "dropped": self.dropped,
            "cpus": (self.cpus * 100.0).round() / 100.0, "memory_kib": self.memory})
    }
}

/// Rates that are tried, a second, in this order until one loses events.
const STEPS: [u32; 10] = [
    50_000, 100_000, 150_000, 200_000, 250_000, 300_000, 350_000, 400_000, 450_000, 500_000,
];

/// Measures each of these rates for `time`, or those of [`STEPS`] up to where loss begins, and prints
/// what comes of it.
pub fn steps(bench: &Bench, rates: &[u32], time: Duration) -> Result<Value> {
    println!(
        "{:>10} {:>10} {:>10} {:>6} {:>9}",
        "asked/s", "opens/s", "lost", "CPUs", "peak MiB"
    );
    let mut steps = Vec::new();
    for rate in if rates.is_empty() { &STEPS } else { rates } {
        let step = measure(bench, *rate, time)?;
        println!(
            "{:>10} {:>10.0} {:>10} {:>6.2} {:>9}",
            step.asked,
            step.reached,
            step.lost(),
            step.cpus,
            step.memory >> 10
        );
        steps.push(step.json());
        if rates.is_empty() && (step.lost() > 0 || !step.is_reached()) {
            break;
        }
    }
    Ok(Value::Array(steps))
}

fn sustained(bench: &Bench, rate: u32, time: Duration) -> Result<()> {
    let measured = measure(bench, rate, time)?;
    bench.note(measured.json().to_string());
    let found = measured.json();
    ensure!(measured.is_reached(), "the load was not reached: {found}");
    ensure!(measured.lost() == 0, "events were lost: {found}");
    Ok(())
}

/// Opens a file at a steady rate, while every open is reported to the event log.
fn measure(bench: &Bench, rate: u32, time: Duration) -> Result<Measured> {
    let file = bench.file("opened", "")?;
    let sensor = bench
        .sensor()
        .silent()
        .option("events", "file.open")
        .start()?;
    let before = settled(bench)?;
    let busy = cpu_time(sensor.pid())?;
    let count = u64::from(rate) * time.as_secs();
    let took = load::opens_at(&file, rate, count)?;
    let after = settled(bench)?;
    let busy = cpu_time(sensor.pid())?.saturating_sub(busy);
    let grown = |term: &str| {
        let (was, is) = (&before["file.open"], &after["file.open"]);
        number(is, term).saturating_sub(number(was, term))
    };
    ensure!(
        grown("seen") + grown("missed") >= count,
        "{} counted of {count} opens",
        grown("seen") + grown("missed")
    );
    let memory = peak_memory(sensor.pid())?;
    sensor.stop()?;
    Ok(Measured {
        asked: rate,
        reached: count as f64 / took.as_secs_f64(),
        missed: grown("missed"),
        ring_full: grown("ring_full"),
        dropped: grown("dropped"),
        cpus: busy.as_secs_f64() / took.as_secs_f64(),
        memory,
    })
}
