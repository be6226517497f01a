//! Reloads, one after the other while the machine works: each event is judged by the policies before or by
//! those after.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::{EVENT, Scenario};
use crate::bench::Bench;
use crate::command::{Bounded as _, Ended};
use crate::control;
use crate::events::{action, text};
use crate::place::Place;
use crate::usage::memory;

/// The scenarios of this theme.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "reload-under-load",
        about: "reloads under load: no event is lost, no verdict is wrong, nothing grows",
        at: |place| *place == Place::Native || place.is_stock("6.12"),
        seconds: 90,
        run: |bench| {
            let in_guest = bench.setting.place.is_guest();
            reload_under_load(bench, if in_guest { 20 } else { 120 })
        },
    },
    Scenario {
        name: "reload-log-level",
        about: "config set log.level changes what the running sensor logs, by module, and what is wrong changes nothing",
        at: |place| *place == Place::Native,
        seconds: 60,
        run: log_level,
    },
    Scenario {
        name: "reload-a-thousand-times",
        about: "the same, a thousand times",
        at: |place| *place == Place::Native,
        seconds: 600,
        run: |bench| reload_under_load(bench, 1000),
    },
];

/// Whether it is to be named to be run.
pub fn takes_long(scenario: &Scenario) -> bool {
    scenario.name == "reload-a-thousand-times"
}

/// Between two attempts: all of a thousand reloads' events are kept.
const PACE: Duration = Duration::from_millis(10);
/// Memory settles in this share of the reloads.
const SETTLED: u32 = 4;
/// Files that are open for a moment: connections to the control socket.
const FEW: usize = 8;
/// How much more memory than then there may be in the end, in KiB: an allocator's noise, and much less than a
/// policy's tables times the reloads.
const NOISE_KIB: u64 = 12 * 1024;

fn log_level(bench: &Bench) -> Result<()> {
    let file = bench.file("config.toml", "[log]\nlevel = \"info\"\n")?;
    let sensor = bench.sensor().config(&file).start()?;
    let path = file.display().to_string();
    let set =
        |value: &str| sensor.command(&["config", "set", "--config", &path, "log.level", value]);
    let debugged = || -> Result<bool> {
        let before = sensor.log().len();
        // Each hook that is attached is told of, at this level.
        sensor.command(&["policy", "reload"])?.with_code(0)?;
        let deadline = Instant::now() + Duration::from_secs(2);
        while Instant::now() < deadline {
            if sensor.log()[before..].contains("DEBUG attached") {
                return Ok(true);
            }
            thread::sleep(PACE);
        }
        Ok(false)
    };
    ensure!(!debugged()?, "it logs more than it was told to");
    let wrong = set("info,prob=debug")?;
    ensure!(
        wrong.code() == Some(2) && wrong.stderr.contains("did you mean \"probe\"?"),
        "a module that there is not: {wrong:?}"
    );
    let told = set("info,probe=debug")?.with_code(0)?;
    ensure!(
        told.stdout.contains("logs by info,probe=debug now"),
        "config set says {told:?}"
    );
    ensure!(
        debugged()?,
        "the level was not taken over: {}",
        sensor.log()
    );
    set("warn")?.with_code(0)?;
    ensure!(!debugged()?, "the level was not taken over");
    let other = sensor.command(&["config", "set", "--config", &path, "mode", "enforce"])?;
    ensure!(
        other
            .with_code(0)?
            .stdout
            .contains("when it is started again"),
        "a setting that waits is not told of"
    );
    sensor.stop().map(drop)
}

fn reload_under_load(bench: &Bench, reloads: u32) -> Result<()> {
    let worker = bench.program("worker")?;
    let forbidden = bench.file("forbidden", "secret")?;
    let permitted = bench.file("permitted", "public")?;
    let policy = bench.policy("reloaded", &rules(&worker, &forbidden, 0))?;
    let sensor = bench
        .sensor()
        .policy(&policy)
        .enforce()
        .option("events", "process.exec")
        .start()?;

    let (working, done) = (AtomicBool::new(true), AtomicU32::new(0));
    let (settled, grown) = thread::scope(|scope| {
        let work = scope.spawn(|| -> Result<()> {
            while working.load(Ordering::Relaxed) {
                let number = done.load(Ordering::Relaxed);
                try_once(&worker, &forbidden, &permitted, number)?;
                done.fetch_add(1, Ordering::Relaxed);
                thread::sleep(PACE);
            }
            Ok(())
        });
        let result = (|| -> Result<_> {
            let mut settled = None;
            for number in 1..=reloads {
                bench.policy("reloaded", &rules(&worker, &forbidden, number))?;
                control::ask(bench, "POST", "/v1/reload")
                    .with_context(|| format!("reload {number}"))?;
                if number == reloads / SETTLED {
                    settled = Some(taken(sensor.pid())?);
                }
            }
            Ok((settled.context("no reload")?, taken(sensor.pid())?))
        })();
        working.store(false, Ordering::Relaxed);
        let work = work.join();
        work.unwrap_or_else(|_| Err(anyhow::anyhow!("the work panicked")))?;
        result
    })?;
    let done = done.into_inner();
    bench.note(format!(
        "{reloads} reloads, {done} attempts meanwhile, {} KiB then {} KiB",
        settled.0, grown.0
    ));
    ensure!(
        grown.0 <= settled.0 + NOISE_KIB,
        "the memory grew from {} to {} KiB",
        settled.0,
        grown.0
    );
    ensure!(
        grown.1 <= settled.1 + FEW,
        "there were {} open files, and are {}",
        settled.1,
        grown.1
    );

    let last = mark(done.saturating_sub(1));
    sensor.events.wait_for("the last attempt", EVENT, |event| {
        action(event) == "process.exec" && text(event, "/process/args/3") == last
    })?;
    let events = sensor.stop()?;
    let program = worker.display().to_string();
    let ours = events.matching(|event| text(event, "/process/executable") == program);
    for number in 0..done {
        let mark = mark(number);
        let of_it = |event: &&Value| text(event, "/process/args/3") == mark;
        let count = |wanted: &dyn Fn(&Value) -> bool| {
            ours.iter().filter(of_it).filter(|it| wanted(it)).count()
        };
        let execs = count(&|event| action(event) == "process.exec");
        ensure!(execs == 1, "{mark}: its exec came {execs} times");
        let denials = count(&|event| {
            action(event) == "file.open" && text(event, "/holdfast/action") == "deny"
        });
        ensure!(denials == 1, "{mark}: its denial came {denials} times");
    }
    Ok(())
}

/// Rules that all deny the same, by other rules each time.
fn rules(worker: &Path, forbidden: &Path, number: u32) -> Value {
    /// Rules in front that are about nothing that happens here: so many or fewer.
    const OTHERS: u32 = 40;
    let other = |other: u32| {
        json!({"id": format!("other-{other}"), "on": ["file.open"], "action": "allow",
               "when": format!("file.path == '/nowhere/{number}/{other}'")})
    };
    let deny = json!({"id": format!("deny-{number}"), "on": ["file.open"], "action": "deny",
        "when": format!("process.executable == '{}' && file.path == '{}'",
                        worker.display(), forbidden.display())});
    let others = (0..number % OTHERS).map(other);
    others.chain([deny]).collect()
}

fn mark(number: u32) -> String {
    format!("mark-{number}")
}

/// The forbidden file is not read, and another is.
fn try_once(worker: &Path, forbidden: &Path, permitted: &Path, number: u32) -> Result<()> {
    let denied = cat(worker, forbidden, &mark(number))?;
    ensure!(
        denied.code() != Some(0) && !denied.stdout.contains("secret"),
        "attempt {number}: the forbidden file was read: {:?}",
        denied.stdout
    );
    let allowed = cat(worker, permitted, "allowed")?;
    ensure!(
        allowed.stdout.contains("public"),
        "attempt {number}: the permitted file was not read: {:?}",
        allowed.stderr
    );
    Ok(())
}

fn cat(worker: &Path, file: &Path, mark: &str) -> Result<Ended> {
    // The second file is none: cat says so and goes on.
    Command::new(worker)
        .arg("cat")
        .arg(file)
        .arg(mark)
        .output_within(EVENT)
}

/// Memory of a process that is its own, in KiB, and its open files.
fn taken(pid: u32) -> Result<(u64, usize)> {
    let memory = memory(pid, "RssAnon")?;
    let files = fs::read_dir(format!("/proc/{pid}/fd")).context("list its files")?;
    Ok((memory, files.count()))
}
