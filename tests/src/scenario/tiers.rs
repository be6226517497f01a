//! The ledger in each tier: exact at rest after load, after overload, and across restarts of readers.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, sleep};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::Signal;

use super::coverage::TIERS;
use super::ledger::{number, settled};
use super::supervision::{find, leaves};
use super::{EVENT, Scenario};
use crate::bench::Bench;
use crate::control;
use crate::load;
use crate::place::Place;

/// The scenarios of this theme.
pub const SCENARIOS: &[Scenario] = &[Scenario {
    name: "ledger-in-each-tier",
    about: "in each tier the ledger's equations hold exactly after load, overload and panics of readers",
    at: |place| *place == Place::Native || place.is_stock("5.10") || place.is_stock("7"),
    seconds: 180,
    run: each_tier,
}];

/// Opens and execs of a load, and of one that does not fit the rings.
const OPENS: u32 = 2_000;
const EXECS: u32 = 200;
const TOO_MANY: u32 = 5_000;
const RINGS: [&str; 5] = ["process", "file", "network", "memory", "capability"];
/// Opens and execs of one round of the work while readers panic.
const ROUND: u32 = 20;
/// Between two panics of readers.
const PACE: Duration = Duration::from_millis(50);

fn each_tier(bench: &Bench) -> Result<()> {
    let best = bench.setting.place.best_tier();
    let tiers = TIERS.iter().map(|(tier, _)| *tier);
    // What this machine can do is for the sensor to find out.
    let tiers: Vec<&str> = match best {
        Some(best) => tiers.skip_while(|tier| *tier != best).collect(),
        None => vec!["auto", "fanotify"],
    };
    for tier in tiers {
        one_tier(bench, tier).with_context(|| format!("--tier {tier}"))?;
    }
    Ok(())
}

fn one_tier(bench: &Bench, tier: &str) -> Result<()> {
    let (program, file) = (bench.path("tiny"), bench.file("opened", "")?);
    load::write_tiny_program(&program)?;
    let sensor = bench
        .sensor()
        .with_faults()
        .silent()
        .tier(tier)
        .option("events", "*");
    let sensor = RINGS.iter().fold(sensor, |sensor, ring| {
        sensor.option("set", format!("kernel.{ring}_ring=64KiB"))
    });
    let sensor = sensor.start()?;
    let before = settled(bench)?;
    load::opens(&file, OPENS)?;
    load::execs(&program, EXECS)?;
    let loaded = settled(bench)?;

    sensor.signal(Signal::STOP)?;
    // Permission events wait for whoever answers them: in that tier nobody gets ahead of the sensor.
    let overload = if tier == "fanotify" { 0 } else { TOO_MANY };
    load::opens(&file, overload)?;
    sensor.signal(Signal::CONT)?;
    let overloaded = settled(bench)?;
    let full =
        number(&overloaded["file.open"], "ring_full") - number(&loaded["file.open"], "ring_full");
    ensure!(
        full > 0 || overload == 0,
        "all of {overload} opens found room in 64 KiB"
    );

    let readers: Vec<String> = leaves(&sensor.status()?)
        .into_iter()
        .filter(|actor| actor.starts_with("reader."))
        .collect();
    ensure!(!readers.is_empty(), "status shows no readers");
    let working = AtomicBool::new(true);
    let rounds = thread::scope(|scope| {
        let work = scope.spawn(|| -> Result<u32> {
            let mut rounds = 0;
            while rounds == 0 || working.load(Ordering::Relaxed) {
                load::opens(&file, ROUND)?;
                load::execs(&program, ROUND)?;
                rounds += 1;
            }
            Ok(rounds)
        });
        let result = readers.iter().try_for_each(|reader| {
            sleep(PACE);
            control::ask(
                bench,
                "POST",
                &format!("/v1/debug/fail?fault=panic&actor={reader}"),
            )
            .map(drop)
        });
        working.store(false, Ordering::Relaxed);
        let rounds = work.join().unwrap_or_else(|_| bail!("the work panicked"));
        result.and(rounds)
    })?;
    let after = settled(bench)?;
    let status = sensor.status_when("each reader is back", EVENT, |status| {
        readers.iter().all(|reader| {
            find(status, reader)
                .is_some_and(|it| it["restarts"].as_u64() > Some(0) && it["state"] == "running")
        })
    })?;
    for (kind, done) in [
        ("file.open", OPENS + overload + rounds * ROUND),
        ("process.exec", EXECS + rounds * ROUND),
        ("process.exit", EXECS + rounds * ROUND),
    ] {
        let counted = |kinds: &serde_json::Value| {
            number(&kinds[kind], "seen") + number(&kinds[kind], "missed")
        };
        let (was, is) = (counted(&before), counted(&after));
        ensure!(
            is >= was + u64::from(done),
            "{kind}: counted {was}, then {is}, after {done} of them: {}",
            status["ledger"]["kinds"][kind]
        );
    }
    sensor.stop().map(drop)
}
