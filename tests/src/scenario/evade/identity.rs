//! Who did it: numbers that are given again, names and arguments that a process takes for itself.

use std::fs;

use anyhow::{Context as _, Result, ensure};

use super::super::{EVENT, Scenario};
use crate::bench::{BUSYBOX, Bench};
use crate::command::Bounded as _;
use crate::events::{action, number, text};
use crate::place::{Place, Variant};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "evade-identity",
    about: "a number that is given again, overwritten arguments and another name are no disguise",
    // Natively numbers are given by who made this machine.
    at: |place: &Place| place.is_guest() && !place.is_variant(Variant::NoBtf),
    seconds: 60,
    run: identity,
};

/// Times a number is asked for again: another process may be given it.
const TRIES: usize = 20;

fn identity(bench: &Bench) -> Result<()> {
    let file = bench.file("read", "x")?.display().to_string();
    let events = "process.exec,file.open";
    let sensor = bench.sensor().option("events", events).start()?;

    // `ns_last_pid`: the number before the one that is tried first (kernel/pid_namespace.c).
    let again = || -> Result<Option<u32>> {
        let first = bench
            .busybox(&["true"])
            .output_within(EVENT)?
            .with_code(0)?;
        fs::write("/proc/sys/kernel/ns_last_pid", (first.pid - 1).to_string())
            .context("ask for a number again")?;
        let second = bench
            .act(&["read", &file])
            .output_within(EVENT)?
            .with_code(0)?;
        Ok((first.pid == second.pid).then_some(second.pid))
    };
    let found = (0..TRIES).find_map(|_| again().transpose());
    let pid = found.context("no number was given again")??;
    let opened = sensor
        .events
        .wait_for("the open by the second", EVENT, |event| {
            action(event) == "file.open"
                && text(event, "/file/path") == file
                && number(event, "/process/pid") == Some(pid.into())
        })?;
    let execs = sensor.events.matching(|event| {
        action(event) == "process.exec" && number(event, "/process/pid") == Some(pid.into())
    });
    let [first, second] = execs.as_slice() else {
        anyhow::bail!("{pid} was given twice, and these are its execs: {execs:?}");
    };
    let entity = |event| text(event, "/process/entity_id");
    ensure!(
        text(first, "/process/executable") == BUSYBOX && entity(first) != entity(second),
        "the two are one: {first} {second}"
    );
    ensure!(
        entity(&opened) == entity(second),
        "it was the second: {opened}"
    );

    // What it was started as.
    let words = ["called", "disguise", "rewrite-arguments", &file];
    let disguised = bench.act(&words).output_within(EVENT)?.with_code(0)?;
    let opened = sensor
        .events
        .wait_for("the open by the disguised", EVENT, |event| {
            action(event) == "file.open"
                && text(event, "/file/path") == file
                && number(event, "/process/pid") == Some(disguised.pid.into())
        })?;
    ensure!(
        text(&opened, "/process/args/4") == words[2]
            && text(&opened, "/process/executable") == text(second, "/process/executable"),
        "it is known by what it took for itself: {opened}"
    );
    sensor.stop().map(drop)
}
