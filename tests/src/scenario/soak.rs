//! A long time under load: nothing grows, and the ledger stays exact.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use super::{Scenario, ledger};
use crate::bench::Bench;
use crate::control;
use crate::load;
use crate::place::Place;

/// The scenarios of this theme.
pub const SCENARIOS: &[Scenario] = &[Scenario {
    name: SOAK,
    about: "half an hour of execs and opens without a pause (SOAK seconds): memory and descriptors stay as they are, the ledger is exact; only when named",
    at: |place| *place == Place::Native,
    seconds: 4000,
    run: soak,
}];

const SOAK: &str = "soak";
/// For so long, unless the environment says otherwise.
const SECONDS: u64 = 1800;
/// How often memory is looked at in all; the first third of it is what tables and caches take to fill.
const SAMPLES: u32 = 90;
/// Execs of a round, and opens of which each tenth is told of.
const EXECS: u32 = 500;
const OPENS: u32 = 10_000;
/// What an allocator may keep more at one time than at another.
const FLAT: f64 = 4.0 * 1024.0 * 1024.0;
/// Descriptors that come and go with who asks.
const DESCRIPTORS: u64 = 4;

/// Whether this scenario takes too long to be run unless it is named.
pub fn takes_long(scenario: &Scenario) -> bool {
    scenario.name == SOAK
}

/// What the sensor holds at a time.
#[derive(Clone, Copy, Debug)]
struct Sample {
    minutes: f64,
    bytes: f64,
    descriptors: u64,
}

fn soak(bench: &Bench) -> Result<()> {
    let seconds = match std::env::var("SOAK") {
        Ok(text) => text.parse().context("SOAK is a number of seconds")?,
        Err(_) => SECONDS,
    };
    let length = Duration::from_secs(seconds);
    let program = bench.path("tiny");
    load::write_tiny_program(&program)?;
    let (wanted, other) = (bench.file("wanted", "")?, bench.file("other", "")?);
    let rule = json!({"id": "wanted", "on": ["file.open"], "action": "audit",
                      "when": format!("file.path == '{}'", wanted.display())});
    let policy = bench.policy("wanted", &json!([rule]))?;
    let sensor = bench
        .sensor()
        .policy(&policy)
        .option("events", "process.*")
        .tally(|_| true)
        .start()?;
    let before = ledger::settled(bench)?;
    let started = Instant::now();
    let (mut samples, mut rounds) = (Vec::new(), 0);
    while started.elapsed() < length {
        load::execs(&program, EXECS)?;
        load::opens(&wanted, OPENS / 10)?;
        load::opens(&other, OPENS - OPENS / 10)?;
        rounds += 1;
        if started.elapsed() >= length * samples.len() as u32 / SAMPLES {
            samples.push(sample(bench, started)?);
        }
    }
    let after = ledger::settled(bench)?;
    ledger::ensure_all(&before, &after, "process.exec", rounds * EXECS)?;
    ledger::ensure_all(&before, &after, "file.open", rounds * OPENS)?;
    let full = samples.split_off(samples.len() / 3);
    let (first, last) = full.split_at(full.len() / 2);
    let grown = mean(last) - mean(first);
    let slope = slope(&full) / 1024.0;
    let lost: u64 = after
        .as_object()
        .context("a ledger")?
        .values()
        .map(ledger::lost)
        .sum();
    bench.note(format!(
        "{} execs and {} opens in {seconds} s, {lost} lost; {:.1} MiB, {slope:+.1} KiB a minute, {} descriptors",
        rounds * EXECS,
        rounds * OPENS,
        mean(last) / 1024.0 / 1024.0,
        last.last().map_or(0, |sample| sample.descriptors),
    ));
    ensure!(grown < FLAT, "memory grows: by {grown:.0} bytes, {full:?}");
    let descriptors = full.iter().map(|sample| sample.descriptors);
    let (least, most) = (descriptors.clone().min(), descriptors.max());
    let (least, most) = least.zip(most).context("nothing was looked at")?;
    ensure!(most - least <= DESCRIPTORS, "{least} to {most} descriptors");
    sensor.stop().map(drop)
}

fn sample(bench: &Bench, started: Instant) -> Result<Sample> {
    let status = control::status_at_rest(bench)?;
    let resources = &status["resources"];
    let number = |name: &str| resources[name].as_u64().context("status shows resources");
    Ok(Sample {
        minutes: started.elapsed().as_secs_f64() / 60.0,
        bytes: number("rss_bytes")? as f64,
        descriptors: number("open_files")?,
    })
}

/// Bytes.
fn mean(samples: &[Sample]) -> f64 {
    samples.iter().map(|sample| sample.bytes).sum::<f64>() / samples.len() as f64
}

/// Bytes a minute, by least squares.
fn slope(samples: &[Sample]) -> f64 {
    let middle = samples.iter().map(|sample| sample.minutes).sum::<f64>() / samples.len() as f64;
    let average = mean(samples);
    let (mut both, mut square) = (0.0, 0.0);
    for Sample { minutes, bytes, .. } in samples {
        both += (minutes - middle) * (bytes - average);
        square += (minutes - middle).powi(2);
    }
    both / square
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slope_is_that_of_the_line() {
        let line = |minutes: f64| Sample {
            minutes,
            bytes: 1000.0 + 3.0 * minutes,
            descriptors: 0,
        };
        let samples: Vec<Sample> = (0..10).map(|minute| line(f64::from(minute))).collect();
        assert!((slope(&samples) - 3.0).abs() < 1e-9);
    }
}
