//! What carries records: perf buffers do what ring buffers do, and both keep room for verdicts.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::deny::{self, Means};
use super::{EVENT, Scenario, ledger, process};
use crate::bench::Bench;
use crate::command::Bounded as _;
use crate::events::{action, text};
use crate::load;
use crate::place::{Place, Variant};

/// The scenarios of this theme.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "perf-is-shown",
        about: "status and doctor say which buffers carry records, and why",
        at: |place| *place == Place::Native || place.is_stock("6.1"),
        seconds: 60,
        run: shown,
    },
    Scenario {
        name: "perf-commands-in-order",
        about: "perf buffers: a script's commands appear completely and in order",
        at: has_it,
        seconds: 60,
        run: |bench| {
            bench.set(PERF);
            process::commands_in_order(bench, tier(bench))?;
            process::commands_in_order(bench, "tracepoint")
        },
    },
    Scenario {
        name: "perf-kill-on-exec",
        about: "perf buffers: a rule `kill` ends a process before its first output",
        at: has_it,
        seconds: 60,
        run: |bench| {
            bench.set(PERF);
            process::kill_on_exec(bench, "auto")
        },
    },
    Scenario {
        name: "perf-deny",
        about: "perf buffers: a deny is EPERM before it happens, or kills",
        at: has_it,
        seconds: 120,
        run: |bench| {
            bench.set(PERF);
            if bench.setting.place.is_guest() {
                deny::offend(bench, "auto", Means::Refuse)?;
                deny::offend(bench, "kprobe", Means::Kill)?;
            }
            deny::offend(bench, "tracepoint", Means::Kill)
        },
    },
    Scenario {
        name: "perf-ledger-execs",
        about: "perf buffers: the ledger's equations hold exactly after as many execs as with rings",
        at: has_it,
        seconds: 300,
        run: |bench| {
            bench.set(PERF);
            ledger::execs(bench, ledger::scaled(bench, ledger::EXECS))
        },
    },
    Scenario {
        name: "perf-ledger-opens",
        about: "perf buffers: the ledger's equations hold exactly after as many opens as with rings",
        at: has_it,
        seconds: 300,
        run: |bench| {
            bench.set(PERF);
            ledger::opens(bench, ledger::scaled(bench, ledger::OPENS))
        },
    },
    Scenario {
        name: "perf-overload",
        about: "perf buffers: when the reader stands still, what does not fit is counted, and alerts fit",
        at: has_it,
        seconds: 60,
        run: |bench| {
            bench.set(PERF);
            overload(bench)
        },
    },
    Scenario {
        name: "ring-overload",
        about: "ring buffers: when the reader stands still, what does not fit is counted, and alerts fit",
        at: has_it,
        seconds: 60,
        run: overload,
    },
];

const PERF: &str = "kernel.buffer=perf";

/// A kernel of each kind: without preemption of programs, with it, and the newest.
fn has_it(place: &Place) -> bool {
    match place {
        Place::Native => true,
        Place::Guest { kernel, variant } => match variant {
            Variant::Stock => ["5.10", "6.1", "7"].contains(&kernel.as_str()),
            Variant::Preempt => kernel == "6.1",
            Variant::BpfLsm
            | Variant::NoBtf
            | Variant::Counted
            | Variant::Peers
            | Variant::System
            | Variant::Podman
            | Variant::Arm64 => false,
        },
    }
}

/// The tier in which a kernel loses no run: where programs are preempted, those that are not.
fn tier(bench: &Bench) -> &'static str {
    if bench.setting.place.is_variant(Variant::Preempt) {
        "tracepoint"
    } else {
        "auto"
    }
}

fn shown(bench: &Bench) -> Result<()> {
    for (setting, kind, reason) in [
        ("auto", "ring", ""),
        ("ring", "ring", ""),
        ("perf", "perf", "kernel.buffer asks for it"),
    ] {
        let setting = format!("kernel.buffer={setting}");
        let sensor = bench.sensor().option("set", setting.as_str()).start()?;
        let status = sensor.status()?;
        ensure!(
            status["buffer"] == json!({"kind": kind, "reason": reason}),
            "{setting}: status shows {}",
            status["buffer"]
        );
        for command in ["status", "doctor"] {
            let shown = sensor.command(&[command])?.with_code(0)?.stdout;
            let line = shown.lines().find(|line| line.starts_with("buffer "));
            let words: Vec<&str> = line.unwrap_or_default().split_whitespace().collect();
            let right = words
                .get(1)
                .is_some_and(|word| word.trim_end_matches(':') == kind);
            ensure!(
                right && shown.contains(reason),
                "{setting}: {command} shows {words:?}"
            );
        }
        sensor.stop()?;
    }
    let refused = bench
        .sensor()
        .option("set", "kernel.buffer=tape")
        .run_command()
        .output_within(EVENT)?
        .with_code(2)?;
    ensure!(
        refused
            .stderr
            .contains("kernel.buffer: expected one of auto, ring, perf"),
        "it said {:?}",
        refused.stderr
    );
    Ok(())
}

/// Opens while the reader stands still: more than the smallest buffers hold.
const OPENS: u32 = 20_000;
/// Opens that a rule alerts on, when the buffers are full: fewer than the room that is kept holds.
const ALERTS: u64 = 12;
/// From the end of the load until the reader goes on: the programs are done by then.
const PAUSE: Duration = Duration::from_millis(100);

fn overload(bench: &Bench) -> Result<()> {
    let (wanted, other) = (bench.file("wanted", "")?, bench.file("other", "")?);
    let (path, other_path) = (wanted.display().to_string(), other.display().to_string());
    let policy = bench.policy(
        "wanted",
        &json!([{"id": "wanted", "on": ["file.open"], "action": "alert",
                 "when": format!("file.path == '{path}'")}]),
    )?;
    let sensor = bench
        .sensor()
        .policy(&policy)
        .option("events", "file.open,sensor.loss")
        .option("set", "kernel.file_ring=64KiB")
        .tally(move |event| action(event) == "file.open" && text(event, "/file/path") == other_path)
        .start()?;
    ledger::settled(bench)?;
    sensor.signal(Signal::STOP)?;
    load::opens(&other, OPENS)?;
    // The alerts come from each CPU that there is: its buffers are full as well.
    for _ in 0..ALERTS {
        bench
            .act(&["read", &path])
            .output_within(EVENT)?
            .with_code(0)?;
    }
    sleep(PAUSE);
    sensor.signal(Signal::CONT)?;
    let after = ledger::settled(bench)?;
    let full = after["file.open"]["ring_full"].as_u64().unwrap_or(0);
    ensure!(full > 0, "nothing was lost of {OPENS} opens: {after}");
    let missed = after["file.open"]["missed"].as_u64().unwrap_or(0);
    let loss = sensor.events.wait_for("the loss is told", EVENT, |event| {
        action(event) == "sensor.loss"
    })?;
    ensure!(
        text(&loss, "/event/reason").contains("ring_full"),
        "the loss is told as {loss}"
    );
    let alerts = || {
        let ours = |event: &Value| text(event, "/rule/id") == "wanted";
        sensor.events.matching(ours).len() as u64
    };
    let deadline = Instant::now() + EVENT;
    while alerts() + missed < ALERTS {
        ensure!(
            Instant::now() < deadline,
            "{} alerts of {ALERTS} came, {missed} runs were missed",
            alerts()
        );
        sleep(PAUSE);
    }
    let came = sensor.events.tallied();
    bench.note(format!(
        "{came} of {OPENS} opens came, {full} found no room"
    ));
    let events = sensor.stop()?;
    ensure!(
        events.tallied() + full + missed >= u64::from(OPENS),
        "{} of {OPENS} opens came, {full} are known lost",
        events.tallied()
    );
    Ok(())
}
