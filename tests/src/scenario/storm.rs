//! Storms of stress-ng: the sensor keeps its memory, none of its actors fails, and the ledger is exact.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::Scenario;
use super::ledger::{number, scaled, settled};
use super::supervision::none_failed;
use crate::bench::Bench;
use crate::command::Bounded as _;
use crate::place::Place;
use crate::usage::peak_memory;

/// The scenarios of this theme.
pub const SCENARIOS: &[Scenario] = &[Scenario {
    name: STORMS,
    about: "storms of forks, execs, opens, mappings and sockets: no actor fails, memory is bounded, the ledger exact",
    at: |place| *place == Place::Native || place.is_stock("7"),
    seconds: 180,
    run: storms,
}];

/// The scenario for which a guest needs stress-ng.
pub const STORMS: &str = "storms";

/// What makes the storms.
pub const STRESS: &str = "stress-ng";

/// A storm: the stressor, the kind of event of which it makes most, and how many of them at least (in an emulated guest a tenth).
const KINDS: [(&str, &str, u32); 5] = [
    ("fork", "process.fork", 1_000),
    ("exec", "process.exec", 100),
    ("open", "file.open", 1_000),
    // Of mappings, those that may be executed.
    ("mmap", "memory.map", 10),
    ("sock", "network.connect", 100),
];
/// Who makes them: as root, stress-ng executes nothing.
const NOBODY: u32 = 65534;
/// Processes that make one.
const WORKERS: &str = "2";
const SECONDS: &str = "10";
/// How long one may take to start and to end besides.
const LIMIT: Duration = Duration::from_secs(120);
/// The most memory that storms may take beside what the sensor has at rest: its tables are bounded, and so
/// is what is on its way through it.
const MEMORY_KIB: u64 = 128 << 10;

fn storms(bench: &Bench) -> Result<()> {
    let sensor = bench.sensor().silent().option("events", "*").start()?;
    let mut before = settled(bench)?;
    let at_rest = peak_memory(sensor.pid())?;
    let mut notes = Vec::new();
    let dir = bench.path("storms");
    fs::create_dir_all(&dir).context("create a directory")?;
    std::os::unix::fs::chown(&dir, Some(NOBODY), Some(NOBODY)).context("give it away")?;
    for (stressor, kind, least) in KINDS {
        Command::new(STRESS)
            .args([&format!("--{stressor}"), WORKERS, "--timeout", SECONDS])
            .args(["--temp-path", &dir.display().to_string()])
            .uid(NOBODY)
            .gid(NOBODY)
            .output_within(LIMIT)?
            .with_code(0)
            .with_context(|| format!("stress-ng --{stressor}"))?;
        let after = settled(bench)?;
        let more = |term: &str| number(&after[kind], term) - number(&before[kind], term);
        let (seen, lost) = (more("seen"), more("ring_full") + more("dropped"));
        let least = scaled(bench, least);
        ensure!(
            seen >= u64::from(least),
            "{stressor}: {seen} of {kind} were seen"
        );
        notes.push(format!("{kind} {seen}, {lost} lost"));
        before = after;
    }
    let status = sensor.status()?;
    none_failed(&status)?;
    let memory = peak_memory(sensor.pid())?;
    ensure!(
        memory < at_rest + MEMORY_KIB,
        "the sensor had {at_rest} KiB of memory at rest, and {memory} KiB in storms"
    );
    let (at_rest, memory) = (at_rest >> 10, memory >> 10);
    bench.note(format!(
        "{}; {at_rest} MiB, then {memory}",
        notes.join("; ")
    ));
    sensor.stop().map(drop)
}
