//! What a script does is counted as often as it does it: by the kernel programs, by the reader, and in
//! the output.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;

use super::Scenario;
use super::ledger::{arrived, number, settled};
use crate::bench::Bench;
use crate::command::Bounded as _;
use crate::events::{action, text};
use crate::load;
use crate::place::{Place, Variant};

/// The scenarios of this theme.
pub const SCENARIOS: &[Scenario] = &[Scenario {
    name: "counts",
    about: "6,000 execs and 40,000 opens of a script are exactly as many for kernel, reader and output",
    at: |place| *place == Place::Native || place.is_variant(Variant::Stock),
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
    let (ours, opened) = (program.clone(), file.clone());
    let sensor = bench
        .sensor()
        .policy(&policy)
        .option("set", "kernel.file_ring=16MiB")
        .tally(move |event| match action(event) {
            "process.exec" => text(event, "/process/executable") == ours,
            "file.open" => text(event, "/file/path") == opened,
            _ => false,
        })
        .start()?;
    let before = settled(bench)?;
    bench
        .busybox(&["sh", "-c", TEXT, "sh", &program, &file])
        .output_within(SCRIPT)?
        .with_code(0)?;
    let after = settled(bench)?;
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
    let execs =
        ["seen", "submitted", "received", "evaluated"].map(|term| more("process.exec", term));
    let shell = 1;
    let others = execs[0] - EXECS.min(execs[0]);
    ensure!(
        execs == [execs[0]; 4] && execs[0] >= EXECS + shell,
        "{EXECS} execs are {execs:?} to the kernel, the ring, the reader and the evaluator"
    );
    ensure!(
        !bench.setting.place.is_guest() || others == shell,
        "{EXECS} execs of a script, where nothing else runs, are {}",
        execs[0]
    );
    let emitted = more("process.exec", "emitted");
    ensure!(emitted == EXECS, "{EXECS} execs are {emitted} to the sinks");
    let came = arrived(&sensor, EXECS + OPENS);
    let events = sensor.stop()?;
    let lines = [events.count("process.exec"), events.count("file.open")];
    ensure!(
        came == EXECS + OPENS && lines == [EXECS, OPENS],
        "in the output there are {lines:?}, {came} of the script"
    );
    Ok(())
}
