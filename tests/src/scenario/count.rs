//! What a script does is counted as often as it does it: by the kernel programs, by the reader, and in
//! the output.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::Scenario;
use super::ledger::{number, settled};
use crate::bench::Bench;
use crate::command::Bounded as _;
use crate::events::{action, text};
use crate::load;
use crate::place::Place;

/// The scenarios of this theme.
pub const SCENARIOS: &[Scenario] = &[Scenario {
    name: "counts",
    about: "6,000 execs and 40,000 opens of a script are exactly as many for kernel, reader and output",
    at: |place| *place == Place::Native || place.is_stock("5.10") || place.is_stock("7"),
    seconds: 120,
    run: counts,
}];

const EXECS: u64 = 6_000;
const OPENS: u64 = 40_000;
/// How long the script may take in an emulated guest.
const SCRIPT: Duration = Duration::from_secs(300);

/// The script: `$1` is executed, `$2` is opened by the shell itself.
const TEXT: &str = "\
n=0; while [ $n -lt 6000 ]; do $1; n=$((n+1)); done
n=0; while [ $n -lt 40000 ]; do : <$2; n=$((n+1)); done
";

fn counts(bench: &Bench) -> Result<()> {
    let (program, file) = (bench.path("tiny"), bench.file("opened", "")?);
    load::write_tiny_program(&program)?;
    let (program, file) = (program.display().to_string(), file.display().to_string());
    let policy = bench.policy(
        "counted",
        &json!([
            {"id": "exec", "on": ["process.exec"], "action": "audit",
             "when": format!("process.executable == '{program}'")},
            {"id": "open", "on": ["file.open"], "action": "audit",
             "when": format!("file.path == '{file}'")},
        ]),
    )?;
    // The event log is read when all is done: a reader of stdout may be too slow.
    let sensor = bench
        .sensor()
        .silent()
        .policy(&policy)
        .option("events", "process.exec")
        .option("set", "kernel.file_ring=16MiB")
        .option("set", "log.max_size=1GiB")
        .start()?;
    let before = settled(bench)?;
    bench
        .busybox(&["sh", "-c", TEXT, "sh", &program, &file])
        .output_within(SCRIPT)?
        .with_code(0)?;
    // What the reader took may still wait for the evaluator.
    let deadline = Instant::now() + SCRIPT;
    let after = loop {
        let kinds = settled(bench)?;
        let is_done =
            |kind: &str| number(&kinds[kind], "received") == number(&kinds[kind], "evaluated");
        if is_done("file.open") && is_done("process.exec") {
            break kinds;
        }
        ensure!(
            Instant::now() < deadline,
            "the evaluator does not keep up: {kinds}"
        );
    };
    let more = |kind: &str, term: &str| number(&after[kind], term) - number(&before[kind], term);

    // No rule and no subscription asks for other opens: those are counted and go no further.
    let seen = more("file.open", "seen") - more("file.open", "filtered");
    let opens =
        ["submitted", "received", "evaluated", "emitted"].map(|term| more("file.open", term));
    ensure!(
        seen == OPENS && opens == [OPENS; 4],
        "{OPENS} opens are {seen} and {opens:?} to the kernel, the reader, the evaluator and the sinks"
    );
    // Of processes all records come through, and on a machine in use there are others.
    let terms = ["seen", "submitted", "received", "evaluated", "emitted"];
    let execs = terms.map(|term| more("process.exec", term));
    let shell = 1;
    ensure!(
        execs == [execs[0]; 5] && execs[0] >= EXECS + shell,
        "{EXECS} execs and the shell's are {execs:?} to the kernel, the ring, the reader, the evaluator and the sinks"
    );
    ensure!(
        !bench.setting.place.is_guest() || execs[0] == EXECS + shell,
        "{EXECS} execs and the shell's, where nothing else runs, are {}",
        execs[0]
    );
    sensor.stop()?;
    let log = bench.path("log.d").join("events.jsonl");
    let log = fs::read_to_string(&log).with_context(|| format!("read {}", log.display()))?;
    let (mut execs, mut opens) = (0, 0);
    for line in log.lines() {
        let event: Value = serde_json::from_str(line).context("parse the event log")?;
        match action(&event) {
            "process.exec" if text(&event, "/process/executable") == program => execs += 1,
            "file.open" if text(&event, "/file/path") == file => opens += 1,
            _ => {}
        }
    }
    ensure!(
        execs == EXECS && opens == OPENS,
        "{EXECS} execs and {OPENS} opens are {execs} and {opens} in the event log"
    );
    Ok(())
}
