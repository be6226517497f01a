//! What goes on while sensors end: what is refused is attempted, and commands with numbers are run.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use serde_json::json;

use super::{CAUGHT_UP, PACE, SECRET, balanced, now, slower, told};
use crate::bench::Bench;
use crate::command::Bounded as _;
use crate::events::{action, text};
use crate::scenario::EVENT;
use crate::sensor::Sensor;

/// What goes on meanwhile: attempts to read the secret, and commands with numbers.
pub(in crate::scenario) struct Load {
    thief: PathBuf,
    worker: PathBuf,
    secret: PathBuf,
    pace: Duration,
    ended: AtomicBool,
    attempts: AtomicU32,
    /// Those that got it: when.
    succeeded: Mutex<Vec<String>>,
    commands: AtomicU32,
}

impl Load {
    pub(super) fn new(bench: &Bench) -> Result<Self> {
        Ok(Self {
            thief: bench.program("thief")?,
            worker: bench.program("worker")?,
            secret: bench.file("secret", SECRET)?,
            pace: PACE * slower(bench),
            ended: AtomicBool::new(false),
            attempts: AtomicU32::new(0),
            succeeded: Mutex::default(),
            commands: AtomicU32::new(0),
        })
    }

    pub(in crate::scenario) fn policy(&self, bench: &Bench) -> Result<PathBuf> {
        let when = format!("file.path == '{}'", self.secret.display());
        let rule = json!([{"id": "secret", "on": ["file.open"], "when": when, "action": "deny"}]);
        bench.policy("secret", &rule)
    }

    pub(super) fn attempt(&self) -> Result<bool> {
        let ended = Command::new(&self.thief)
            .arg("cat")
            .arg(&self.secret)
            .output_within(EVENT)?;
        Ok(ended.stdout.contains(SECRET))
    }

    fn command(&self, number: u32) -> Result<()> {
        Command::new(&self.worker)
            .args(["true", &format!("mark-{number}")])
            .output_within(EVENT)?
            .with_code(0)
            .map(drop)
    }

    fn attempts(&self) -> Result<()> {
        while !self.ended.load(Ordering::Relaxed) {
            self.attempts.fetch_add(1, Ordering::Relaxed);
            if self.attempt()? {
                self.succeeded
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(now());
            }
            thread::sleep(self.pace);
        }
        Ok(())
    }

    fn commands(&self) -> Result<()> {
        while !self.ended.load(Ordering::Relaxed) {
            self.command(self.commands.fetch_add(1, Ordering::Relaxed))?;
            thread::sleep(self.pace);
        }
        Ok(())
    }

    /// Does something while it goes on.
    pub(in crate::scenario) fn during<T>(&self, act: impl FnOnce() -> Result<T>) -> Result<T> {
        thread::scope(|scope| {
            let going = [
                scope.spawn(|| self.attempts()),
                scope.spawn(|| self.commands()),
            ];
            let result = act();
            self.ended.store(true, Ordering::Relaxed);
            for thread in going {
                let ended = thread.join().map_err(|_| anyhow!("the load panicked"))?;
                ended.context("load")?;
            }
            result
        })
    }

    /// Nothing succeeded: of how many attempts.
    pub(in crate::scenario) fn refused(&self) -> Result<u32> {
        let attempts = self.attempts.load(Ordering::Relaxed);
        ensure!(attempts > 0, "nothing was attempted");
        let succeeded = self
            .succeeded
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        ensure!(
            succeeded.is_empty(),
            "{} of {attempts} attempts got the secret, the first at {}, the last at {}",
            succeeded.len(),
            succeeded[0],
            succeeded[succeeded.len() - 1],
        );
        Ok(attempts)
    }

    /// One more command, whose event comes behind all others. Returns its number.
    pub(in crate::scenario) fn last_command(&self, sensor: &Sensor<'_>) -> Result<u32> {
        let last = self.commands.fetch_add(1, Ordering::Relaxed);
        self.command(last)?;
        let mark = format!("mark-{last}");
        sensor
            .events
            .wait_for("the last command's event", CAUGHT_UP, |event| {
                action(event) == "process.exec" && text(event, "/process/args/2") == mark
            })?;
        Ok(last)
    }

    /// Nothing succeeded, and each command stands once in the event file.
    pub(in crate::scenario) fn check(&self, bench: &Bench, sensor: &Sensor<'_>) -> Result<()> {
        let attempts = self.refused()?;
        let last = self.last_command(sensor)?;
        balanced(bench)?;
        let (told, files) = told(bench)?;
        let mut wrong: Vec<(RangeInclusive<u32>, u32)> = Vec::new();
        for number in 0..=last {
            let count = told.get(&number).copied().unwrap_or(0);
            match wrong.last_mut() {
                _ if count == 1 => {}
                Some((numbers, same)) if *same == count && *numbers.end() + 1 == number => {
                    *numbers = *numbers.start()..=number;
                }
                _ => wrong.push((number..=number, count)),
            }
        }
        ensure!(
            wrong.is_empty(),
            "of {last} commands these were told of so often: {:?}; the event files: {files:?}",
            &wrong[..wrong.len().min(10)]
        );
        bench.note(format!(
            "{attempts} attempts refused, {last} commands told of"
        ));
        Ok(())
    }
}
