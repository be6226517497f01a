//! A server that is slow, that never answers, that answers nonsense, and whose disk is full.

use std::ffi::CStr;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use serde_json::json;

use super::between::{ANSWERS, Between};
use super::server::Team;
use super::{EVENT, RULE, degraded, nothing_lost, offend, rule, spooled, start};
use crate::bench::Bench;

/// Longer than a sensor waits for an answer.
const GIVEN_UP: Duration = Duration::from_secs(70);
/// The disk of the server: a store with some alerts has a few MiB.
const DISK: &CStr = c"size=16m";
/// Alerts that are made at a time until a full disk is noticed, and how often at most.
const MORE: u32 = 20;
const ROUNDS: u32 = 20;

/// A small disk, until it is dropped.
struct Disk(PathBuf);

impl Disk {
    fn new(path: PathBuf) -> Result<Self> {
        fs::create_dir_all(&path).context("make the server's directory")?;
        mount("none", &path, "tmpfs", MountFlags::empty(), DISK).context("mount a disk")?;
        Ok(Self(path))
    }

    /// Takes all the room that there is; the file that has it.
    fn fill(&self) -> Result<PathBuf> {
        let path = self.0.join("ballast");
        let mut file = File::create(&path).context("make the ballast")?;
        for size in [1 << 20, 4096] {
            while file.write_all(&vec![1; size]).is_ok() {}
        }
        Ok(path)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = unmount(self.0.as_path(), UnmountFlags::DETACH);
    }
}

pub(super) fn trouble(bench: &Bench) -> Result<()> {
    let team = Team::new(bench)?;
    let disk = Disk::new(team.data().to_owned())?;
    let running = team.start()?;
    let key = bench.file("installation.key", team.command(&["key", "create"])?)?;
    let token = team.command(&["token", "create", "scenario"])?;
    let between = Between::start(running.address())?;
    let offender = bench.program("offender")?;
    let policy = bench.policy("alerting", &json!([rule(RULE, &offender, "alert")]))?;
    let sensor = start(bench, &policy, &key, between.address())?;
    let mut made = 0;
    let mut more = |count: u32| -> Result<usize> {
        offend(&offender, made..made + count)?;
        made += count;
        Ok(made as usize)
    };
    let stored = |alerts| running.stored(&token, alerts);
    stored(more(10)?)?;

    // It takes seconds for what is said in none.
    between.slow();
    stored(more(20)?)?;

    // Nobody is there, and nothing says so.
    between.blackhole();
    let all = more(10)?;
    spooled(&sensor, all)?;
    sensor.status_when("it gives the request up", GIVEN_UP, |status| {
        degraded(status, "uplink").is_some_and(|reason| reason.contains("no answer within"))
    })?;
    between.pass();
    stored(all)?;

    // The server has them, and something else answers.
    between.nonsense();
    let all = more(10)?;
    between.swallowed(ANSWERS.len() as u64)?;
    between.pass();
    stored(all)?;

    // It has no room for more.
    let ballast = disk.fill()?;
    let mut all = all;
    for _ in 0..ROUNDS {
        all = more(MORE)?;
        spooled(&sensor, all)?;
        if degraded(&sensor.status()?, "uplink").is_some() {
            break;
        }
    }
    let status = sensor.status_when("it is told that there is no room", EVENT, |status| {
        degraded(status, "uplink").is_some_and(|reason| reason.contains("the store failed"))
    })?;
    ensure!(
        status["uplink"]["spooled"]["alert"].as_u64() > Some(0),
        "a full disk took all: {status}"
    );
    fs::remove_file(ballast).context("remove the ballast")?;
    stored(all)?;

    nothing_lost(&sensor.status()?)?;
    sensor.stop()?;
    bench.note(format!(
        "{all} alerts once each, {} answers were nonsense",
        between.lost()
    ));
    Ok(())
}
