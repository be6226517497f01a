//! Runs that the kernel skips: where a program is preempted, another run of it on that CPU does not
//! begin, and the kernel counts it. Nothing that happened is in no count.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, sleep};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use rustix::fs::{Mode, OFlags, open};
use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_setaffinity};
use serde_json::Value;

use super::Scenario;
use super::ledger::settled;
use crate::bench::Bench;
use crate::place::Variant;

/// The scenarios of this theme.
pub const SCENARIOS: &[Scenario] = &[Scenario {
    name: "missed-runs",
    about: "with full preemption the runs that the kernel skips are counted as missed, in each tier: none is uncounted",
    at: |place| place.is_variant(Variant::Preempt),
    seconds: 240,
    run: missed_runs,
}];

/// The tiers, and whether the kernel skips runs in them: of programs on trampolines, which can be
/// preempted, except for those of LSM hooks, of which it lets several run at a time
/// (`bpf_prog_check_recur`).
const TIERS: [(&str, bool); 5] = [
    ("lsm", false),
    ("fmod_ret", true),
    ("fentry", true),
    ("kprobe", false),
    ("tracepoint", false),
];

/// Opens of the thread that comes in between.
const INTERRUPTIONS: u32 = 2_000;
/// What it sleeps between two: it then has less CPU time than the other, and is given the CPU at once.
const PACE: Duration = Duration::from_micros(200);

fn missed_runs(bench: &Bench) -> Result<()> {
    let path = bench.file("file", "")?;
    for (tier, skips) in TIERS {
        let sensor = bench
            .sensor()
            .tier(tier)
            .option("events", "file.open,sensor.loss")
            .start()?;
        // The kernel counts for whomever it skips a run, and so for the sensor, whose own operations are
        // not seen: on the other CPU nothing is skipped.
        for thread in
            fs::read_dir(format!("/proc/{}/task", sensor.pid())).context("list threads")?
        {
            let thread = thread?.file_name();
            let thread = thread.to_str().and_then(|thread| thread.parse().ok());
            stay_on(1, thread.and_then(Pid::from_raw))?;
        }
        let before = settled(bench)?["file.open"].clone();
        let opens = interrupted_opens(&path)?;
        let after = settled(bench)?["file.open"].clone();
        let more = |name: &str| {
            let number = |kind: &Value| kind[name].as_u64().unwrap_or(0);
            number(&after).saturating_sub(number(&before))
        };
        let (seen, missed) = (more("seen"), more("missed"));
        ensure!(
            seen + missed == opens,
            "{tier}: of {opens} opens {seen} were seen and {missed} known to be missed"
        );
        ensure!(
            missed > 0 || !skips,
            "{tier}: no run of {opens} was skipped, so nothing is shown"
        );
        bench.note(format!("{tier} {missed} of {opens}"));
        sensor.stop()?;
    }
    Ok(())
}

/// Keeps a thread, or this one, on one CPU.
fn stay_on(cpu: usize, thread: Option<Pid>) -> Result<()> {
    let mut cpus = CpuSet::new();
    cpus.set(cpu);
    sched_setaffinity(thread, &cpus).context("stay on one CPU")
}

/// Opens the file in two threads on one CPU, of which one again and again interrupts the other; how often
/// in all.
fn interrupted_opens(path: &std::path::Path) -> Result<u64> {
    let open = || {
        open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .map(drop)
            .with_context(|| format!("open {}", path.display()))
    };
    let goes_on = AtomicBool::new(true);
    thread::scope(|scope| {
        let busy = scope.spawn(|| {
            stay_on(0, None)?;
            let mut count = 0;
            while goes_on.load(Ordering::Relaxed) {
                open()?;
                count += 1;
            }
            Ok::<u64, anyhow::Error>(count)
        });
        let interrupt = || {
            stay_on(0, None)?;
            for _ in 0..INTERRUPTIONS {
                sleep(PACE);
                open()?;
            }
            Ok(())
        };
        let interrupted = scope.spawn(interrupt).join();
        goes_on.store(false, Ordering::Relaxed);
        let busy = busy.join().unwrap_or_else(|_| bail!("a thread panicked"))?;
        interrupted.unwrap_or_else(|_| bail!("a thread panicked"))?;
        Ok(busy + u64::from(INTERRUPTIONS))
    })
}
