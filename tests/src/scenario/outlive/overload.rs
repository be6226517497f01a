//! Killed in overload: each operation is told of, or counted as lost.

use std::collections::HashSet;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::super::ledger;
use crate::bench::Bench;
use crate::events::{action, text};
use crate::load;

/// Opens that are under way each time: many times what the ring has room for.
const OPENS: u32 = 40_000;
const RULES: usize = 60;
/// When it is killed: the opens are under way by then, and go on.
const KILLED_AFTER: [Duration; 4] = [
    Duration::from_millis(300),
    Duration::from_millis(130),
    Duration::from_millis(250),
    Duration::from_millis(170),
];
/// Until what was lost is told.
const TOLD: Duration = Duration::from_secs(30);
/// What the next sensor says of those that one had read.
const READ_AND_LOST: &str = "lost at most";

pub(super) fn killed(bench: &Bench) -> Result<()> {
    let file = bench.file("opened", "")?;
    // Work for user space with each of them, so that records wait there.
    let slow: Vec<Value> = (0..RULES)
        .map(|number| {
            let when = format!("file.path.matches('^/[a-z]+/x{number}[0-9]+/.*x$')");
            json!({"id": format!("slow-{number}"), "on": ["file.open"], "action": "audit", "when": when})
        })
        .collect();
    let policy = bench.policy("slow", &json!(slow))?;
    let start = || {
        let sensor = bench
            .sensor()
            .policy(&policy)
            .option("events", "file.open,sensor.loss");
        let sensor = sensor.option("set", "kernel.file_ring=4MiB");
        sensor.option("set", "log.max_size=1GiB").silent().start()
    };
    let mut sensor = start()?;
    for after in KILLED_AFTER {
        thread::scope(|scope| {
            let opening = scope.spawn(|| load::opens(&file, OPENS));
            thread::sleep(after);
            let killed = sensor.end_with(Signal::KILL);
            let opened = opening.join();
            killed?;
            opened.map_err(|_| anyhow!("the load panicked"))?
        })?;
        sensor = start()?;
    }
    ledger::settled(bench)?;
    let all = KILLED_AFTER.len() as u64 * u64::from(OPENS);
    let deadline = Instant::now() + TOLD;
    let found = loop {
        let found = Found::of(bench, &file.display().to_string())?;
        if found.told + found.lost >= all {
            break found;
        }
        ensure!(
            Instant::now() < deadline,
            "of {all} opens {} were told of and {} counted as lost",
            found.told,
            found.lost
        );
        thread::sleep(Duration::from_millis(500));
    };
    ensure!(found.twice == 0, "{} stand twice in the file", found.twice);
    ensure!(found.told <= all, "{} were told of", found.told);
    ensure!(
        found.read_and_lost > 0,
        "no sensor was killed with records that it had read: of {all} opens {} were told of and {} counted as lost",
        found.told,
        found.lost
    );
    bench.note(format!(
        "of {all} opens {} told of, at most {} counted as lost, {} of them read before",
        found.told, found.lost, found.read_and_lost
    ));
    sensor.stop().map(drop)
}

/// What the event files say of opens.
#[derive(Default)]
struct Found {
    told: u64,
    twice: u64,
    /// By any term.
    lost: u64,
    read_and_lost: u64,
}

impl Found {
    fn of(bench: &Bench, path: &str) -> Result<Self> {
        let (mut found, mut ids) = (Self::default(), HashSet::new());
        for file in fs::read_dir(bench.path("log.d")).context("list the event files")? {
            let file = file.context("list the event files")?.path();
            let content = fs::read_to_string(file).context("read an event file")?;
            // A kill may have torn one.
            let events = content
                .lines()
                .filter_map(|line| serde_json::from_str(line).ok());
            for event in events {
                found.take(&event, path, &mut ids);
            }
        }
        Ok(found)
    }

    fn take(&mut self, event: &Value, path: &str, ids: &mut HashSet<String>) {
        match action(event) {
            "file.open" if text(event, "/file/path") == path => {
                let is_new = ids.insert(text(event, "/event/id").to_owned());
                self.told += u64::from(is_new);
                self.twice += u64::from(!is_new);
            }
            "sensor.loss" => {
                let reason = text(event, "/event/reason");
                let lost = of_opens(reason);
                self.lost += lost;
                if reason.starts_with(READ_AND_LOST) {
                    self.read_and_lost += lost;
                }
            }
            _ => {}
        }
    }
}

/// How many opens a `sensor.loss` counts, in all terms: `… file.open 3 ring_full, 1 dropped; …`.
fn of_opens(reason: &str) -> u64 {
    let Some((_, of_opens)) = reason.split_once("file.open ") else {
        return 0;
    };
    let of_opens = of_opens.split(';').next().unwrap_or_default();
    let terms = of_opens.split(", ");
    let counts = terms.filter_map(|term| term.split(' ').next()?.parse::<u64>().ok());
    counts.sum()
}
