//! Killed, and followed by a sensor that cannot go on with what it has left.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;

use super::{AWAY, Load, told};
use crate::bench::Bench;
use crate::command::Bounded as _;
use crate::events::{action, text};
use crate::scenario::EVENT;

/// What the next sensor says of records that it cannot read.
const UNREADABLE: &str = "of another version, whose records this one cannot read: ";

pub(super) fn by_another_version(bench: &Bench, load: &Load) -> Result<()> {
    let policy = load.policy(bench)?;
    let start = || bench.sensor().policy(&policy).enforce().start();
    let mut sensor = start()?;
    let sensor = load.during(|| {
        thread::sleep(AWAY);
        sensor.end_with(Signal::KILL)?;
        // What says of which version the records are: without it they are of none that is known.
        fs::remove_file(account(&bench.sensor().pin_dir())?).context("remove the account")?;
        thread::sleep(AWAY);
        let sensor = start()?;
        thread::sleep(AWAY);
        Ok(sensor)
    })?;
    let attempts = load.refused()?;
    let last = load.last_command(&sensor)?;
    let told_of = told(bench)?.0;
    let twice: Vec<_> = told_of.iter().filter(|(_, count)| **count > 1).collect();
    ensure!(
        twice.is_empty(),
        "commands that were told of again: {twice:?}"
    );
    let untold = u64::from(last) + 1 - told_of.len() as u64;
    let loss = sensor
        .events
        .wait_for("what is lost is told", EVENT, |event| {
            action(event) == "sensor.loss" && text(event, "/event/reason").contains(UNREADABLE)
        })?;
    let counted = text(&loss, "/event/reason").rsplit_once(UNREADABLE);
    let counted = counted.and_then(|(_, rest)| rest.split(' ').next()?.parse::<u64>().ok());
    let counted = counted.context("the loss has no number")?;
    ensure!(
        (1..=counted).contains(&untold),
        "{untold} commands are not told of, and {counted} records counted as lost"
    );
    bench.note(format!(
        "{attempts} attempts refused; {untold} commands are among {counted} records that are told to be lost"
    ));
    Ok(())
}

pub(super) fn by_a_failing_start(bench: &Bench, load: &Load) -> Result<()> {
    let policy = load.policy(bench)?;
    let start = || bench.sensor().policy(&policy).enforce();
    let mut sensor = start().start()?;
    let sensor = load.during(|| {
        sensor.end_with(Signal::KILL)?;
        let failed = with_few_descriptors(&start().run_command()).output_within(EVENT)?;
        ensure!(
            failed.code() == Some(1) && failed.stderr.contains("go on"),
            "with few descriptors it ended with {failed:?}"
        );
        thread::sleep(AWAY);
        // Whatever it finds.
        let doctor = ["doctor", "--set", "tier=fanotify"];
        bench.sensor().command(&doctor).output_within(EVENT)?;
        thread::sleep(AWAY);
        start().start()
    })?;
    load.check(bench, &sensor)
}

/// The same command with too few descriptors for the maps: a hard limit, which it cannot lift.
fn with_few_descriptors(command: &Command) -> Command {
    let mut limited = Command::new("/bin/sh");
    limited.args(["-c", "ulimit -n 24; exec \"$0\" \"$@\""]);
    limited.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => limited.env(name, value),
            None => limited.env_remove(name),
        };
    }
    limited
}

/// Where what was made of the records is kept.
fn account(pins: &Path) -> Result<PathBuf> {
    let generations = fs::read_dir(pins).context("list the pins")?;
    let accounts = generations.filter_map(|entry| Some(entry.ok()?.path().join("account")));
    let mut accounts = accounts.filter(|path| path.exists());
    accounts.next().context("no account is pinned")
}
