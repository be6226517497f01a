//! The sensor's own end: killed without warning, it leaves nothing that stops the next start.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;

use super::{EVENT, Scenario};
use crate::bench::Bench;
use crate::command::Bounded as _;
use crate::events::{action, text};
use crate::place::Variant;

/// The scenarios of this theme.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "restart-after-kill",
        about: "SIGKILL to the sensor leaves nothing behind that stops the next start",
        at: |place| !place.is_variant(Variant::NoBtf),
        seconds: 90,
        run: restart_after_kill,
    },
    Scenario {
        name: "interrupt-is-a-clean-stop",
        about: "SIGINT stops it with exit code 0, as SIGTERM does",
        at: |_| true,
        seconds: 30,
        run: interrupt,
    },
];

/// How often it is killed: what is left once may pile up.
const ROUNDS: u32 = 3;

fn restart_after_kill(bench: &Bench) -> Result<()> {
    let program = bench.program("worker")?;
    for round in 0..=ROUNDS {
        let mut sensor = bench
            .sensor()
            .start()
            .with_context(|| format!("start {round}"))?;
        let mark = format!("mark-{round}");
        Command::new(&program)
            .args(["true", &mark])
            .output_within(EVENT)?
            .with_code(0)?;
        sensor
            .events
            .wait_for("the command's event", EVENT, |event| {
                action(event) == "process.exec" && text(event, "/process/args/2") == mark
            })?;
        if round < ROUNDS {
            sensor.end_with(Signal::KILL)?;
        } else {
            sensor.stop()?;
        }
    }
    Ok(())
}

fn interrupt(bench: &Bench) -> Result<()> {
    let mut sensor = bench.sensor().start()?;
    let status = sensor.end_with(Signal::INT)?;
    ensure!(status.code() == Some(0), "it stopped with {status}");
    Ok(())
}
