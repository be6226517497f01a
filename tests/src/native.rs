//! What a sensor takes on this machine itself, whatever its kernel allows: time to start, memory, a look at many
//! namespaces, and the rates at which it loses nothing.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::bench::Bench;
use crate::scenario::cost::memory;
use crate::scenario::ledger::{number, settled};
use crate::scenario::rate;
use crate::{crowd, load};

/// Starts, of which the one in the middle counts.
const STARTS: usize = 5;
/// Until a sensor that has started has given back what only its start took.
const REST: Duration = Duration::from_secs(5);
/// Opens a second of the load before memory is looked at: no machine loses any of these.
const RATE: u32 = 50_000;
const EVENTS: u64 = 1_000_000;

/// All of it; the rates as [`rate::steps`] has them.
pub fn figures(bench: &Bench, rates: &[u32], time: Duration) -> Result<Value> {
    let start = start(bench)?;
    println!("start to ready, shipped policies: {} ms", start.as_millis());
    let shipped = || bench.sensor().silent().policy(&bench.setting.policies);
    let sensor = shipped().option("events", "file.open").start()?;
    sleep(REST);
    let at_rest = memory(&sensor)?;
    println!("memory at rest, KiB: {at_rest}");
    let file = bench.file("opened", "")?;
    let before = settled(bench)?;
    load::opens_at(&file, RATE, EVENTS)?;
    let after = settled(bench)?;
    let emitted = |kinds: &Value| number(&kinds["file.open"], "emitted");
    ensure!(
        emitted(&after) >= emitted(&before) + EVENTS,
        "not each of {EVENTS} opens was an event: {after}"
    );
    sleep(REST);
    let loaded = memory(&sensor)?;
    println!("memory after {EVENTS} events, KiB: {loaded}");
    sensor.stop()?;
    let crowd = crowd::figures(bench)?;
    println!("namespaces of a crowd: {crowd}");
    let rate = rate::steps(bench, rates, time)?;
    Ok(
        json!({"start_milliseconds": start.as_millis() as u64, "memory": at_rest,
        "memory_after_a_million": loaded, "crowd": crowd, "rate": rate}),
    )
}

fn start(bench: &Bench) -> Result<Duration> {
    let mut times = Vec::new();
    for _ in 0..STARTS {
        let begun = Instant::now();
        let sensor = bench.sensor().silent().policy(&bench.setting.policies);
        let sensor = sensor.start()?;
        times.push(begun.elapsed());
        sensor.stop()?;
    }
    times.sort();
    Ok(times[STARTS / 2])
}
